"""Weights of the first layers by two synapses each: 13 bits of 8 and 5, and nothing else is changed."""

import numpy as np
import pytest

import ints
import reals
import residual_networks
from deploy.gates.fidelity import fidelity
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.machine import WEIGHT_BITS, largest_mantissa
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.input import Input
from deploy.passes.bounds import prove
from deploy.passes.calibrate import calibrate
from deploy.passes.quantize import quantize_calibrated
from deploy.passes.refine_first_layers import refine_first_layers

CLIPS = residual_networks.clips(3, size=8)


def network(layers: int = 0) -> Network:
    exact = residual_networks.residual((1, 1, 1), width=4, size=8)
    return refine_first_layers(exact, layers=layers)


def rounded(layers: int, weight_bits: int = WEIGHT_BITS) -> IntNetwork:
    exact = network(layers)
    return quantize_calibrated(exact, calibrate(exact, CLIPS), weight_bits=weight_bits, search=False)


def mantissas(found: IntNetwork, target: str) -> list[IntConvolution]:
    return [c.operation for c in found.into(target) if isinstance(c.operation, IntConvolution)]


def test_the_first_layers_are_marked_and_said() -> None:
    """Of 3 layers: the stem, the second neurons of the first block, and the stream behind it."""
    exact, plain = network(3), network()
    assert [c.target for c in exact.connections if c.fine] == ["stem", "stage0.0.b", "stage0.0"]
    held, weights = 3 * 4 * 9 + 2 * 4 * 4 * 9, sum(c.operation.weights for c in plain.connections)
    assert exact.notes[-1] == (
        f"two synapses for each of {held:,} weights of {weights:,}: those of stem, stage0.0.b, stage0.0"
    )
    assert list(exact.populations) == list(plain.populations)
    assert refine_first_layers(plain, layers=0) is plain


def test_what_8_bits_hold_or_a_gain_multiplies_stays() -> None:
    """Weights of 1/4 are on a grid of 8 bits; a gain of every time step brings its own rounding."""
    gain = np.array([1.0, 2.0]).reshape(2, 1, 1, 1)
    exact = reals.network(
        {"in": Input(shape=reals.ONE), "pool": reals.relay(), "gained": reals.relay((2, 1, 1))},
        reals.link("in", "pool", reals.dense([[0.25]])),
        reals.link("pool", "gained", reals.dense([[np.pi], [1.0]]), gain=gain),
        frames=2,
    )
    assert not any(c.fine for c in refine_first_layers(exact, layers=2).connections)


@pytest.mark.parametrize(("weight", "high", "low"), [(1000, 31, 8), (-1000, -31, -8), (31, 0, 31), (4095, 127, 31)])
def test_a_weight_is_taken_apart(weight: int, high: int, low: int) -> None:
    """1000 = 31 x 32 + 8, and its exponent of 2 becomes 7 and 2."""
    whole = ints.dense([[weight]], exponent=2)
    parts = whole.split(5)
    assert [(int(part.mantissa.item()), part.exponent) for part in parts] == [(high, 7), (low, 2)]
    assert parts[0].joined(parts[1]).mantissa.item() == weight
    x = np.array([[[[3]]]])
    assert parts[0](x) + parts[1](x) == whole(x)


def test_two_synapses_of_8_bits_stand_for_a_weight() -> None:
    found = rounded(3)
    high, low = mantissas(found, "stage0.0.b")
    assert high.exponent == low.exponent + 5
    assert np.abs(low.mantissa).max() <= 31
    for c in found.connections:
        if isinstance(c.operation, IntConvolution):
            assert np.abs(c.operation.mantissa).max() <= largest_mantissa(WEIGHT_BITS)
    assert [c.target for c in found.connections if c.refines] == ["stem", "stage0.0.b", "stage0.0"]
    assert max(h.share for h in prove(found)) <= 1


def test_few_bits_get_few_more() -> None:
    """A synapse of 3 bits has 2 beside its sign: weights of 5 bits."""
    high, low = mantissas(rounded(3, weight_bits=3), "stage0.0.b")
    assert (np.abs(high.mantissa).max(), np.abs(low.mantissa).max()) == (3, 3)


def test_weights_are_many_times_closer_and_more_spikes_are_equal() -> None:
    exact, layers = network(), {count: rounded(count) for count in (0, 3)}
    errors, same = {}, {}
    for count, found in layers.items():
        by_name = {layer.name: layer for layer in fidelity(network(count), found, prove(found), CLIPS).layers}
        errors[count] = by_name["stage0.0.b"].weight_error
        before, after = run_float(exact, CLIPS), run_integer(found, CLIPS)
        same[count] = np.mean([(before[name] == after[name]).mean() for name in exact.neuron_layers])
    assert errors[0] is not None
    assert errors[3] is not None
    assert errors[3] < errors[0] / 8
    assert same[3] > same[0]
