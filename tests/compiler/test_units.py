"""A network in other units: weights times a, what they meet divided by a. It is the same network, so the integers are.

A LIF neuron of NIR is v <- v + dt / tau (v_leak - v + r x), a spike at v > v_threshold. It fires the same where the
weights in front are multiplied by a and r divided by a; where r, v_leak, v_threshold and v_reset are multiplied by a;
and where the inputs are multiplied by a and the first weights divided by a.
"""

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from deploy.ir.integer import IntNetwork, as_images, run_integer
from deploy.ir.network import run_float
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.quantize import quantize_calibrated

STEPS, INPUTS, HIDDEN, OUTPUTS = 60, 6, 8, 3
DECADES = [10.0**k for k in range(-5, 6)]
Clips = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Units:
    """What everything is multiplied by, in numbers of the network as it is drawn."""

    inputs: float = 1.0
    first: float = 1.0  # weights and bias in front of the first layer
    second: float = 1.0  # weights in front of the second layer
    volts: float = 1.0  # potentials of the first layer


def network(units: Units) -> nir.NIRGraph:
    """Two layers of neurons behind dense layers; every gain takes back what the units in front of it multiply."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(0, 1, (HIDDEN, INPUTS)), rng.normal(0, 0.1, HIDDEN)
    to_second = rng.normal(0.2, 0.5, (OUTPUTS, HIDDEN))
    nodes = {
        "in": graphs.entry(INPUTS),
        "fc1": nir.Affine(weight * units.first / units.inputs, bias * units.first),
        "a": graphs.lif(
            HIDDEN,
            tau=1e-2,
            r=5 * units.volts / units.first,
            v_leak=0.1 * units.volts,
            v_threshold=units.volts,
            v_reset=-0.1 * units.volts,
        ),
        "fc2": nir.Linear(to_second * units.second),
        "b": graphs.cubalif(OUTPUTS, tau_mem=5e-3, r=2 / units.second),
        "out": graphs.result(OUTPUTS),
    }
    return graphs.chain(nodes, T=STEPS)


def clips(kind: str, units: Units) -> Clips:
    rng, shape = np.random.default_rng(1), (2, STEPS, INPUTS)
    drawn = {
        "spikes": (rng.random(shape) < 0.3) * 1.0,
        "counts": rng.poisson(0.5, shape) * 1.0,
        "real": rng.normal(0.3, 1, shape),
    }
    return drawn[kind] * units.inputs


def integers(units: Units, kind: str, *, search: bool = False) -> tuple[IntNetwork, Clips]:
    lowered = lower(network(units))
    frames = as_images(clips(kind, units).astype(np.float32), lowered)
    return quantize_calibrated(lowered, calibrate(lowered, frames), search=search), frames


def stored(network: IntNetwork) -> list[Any]:
    """Every number that a chip stores."""
    found: list[Any] = [network.input.low, network.input.high]
    for c in network.connections:
        weights = c.operation.mantissa.tolist() if isinstance(c.operation, IntConvolution) else []
        found += [weights, c.operation.exponent]
    for population in network.receivers.values():
        found.append(population.stored_bias.tolist())
        if isinstance(population, IntLif):
            found += [population.threshold.tolist(), population.decay.tolist(), population.bias_exponent]
    return found


def spikes_of(signal_NTCHW: NDArray[Any]) -> NDArray[np.int64]:
    """Of every neuron."""
    return signal_NTCHW.sum(axis=(0, 1)).astype(np.int64)


def test_the_networks_that_are_compared_fire() -> None:
    """As often as in real numbers, each neuron within a spike: a comparison of silent layers would say nothing."""
    for kind in ("spikes", "counts", "real"):
        rounded, frames = integers(Units(), kind)
        found, exact = run_integer(rounded, frames), run_float(lower(network(Units())), frames)
        for name, least in (("a", 100), ("b", 15)):
            assert exact[name].sum() > least, kind
            assert np.abs(spikes_of(found[name]) - spikes_of(exact[name])).max() <= 1, kind


@pytest.mark.parametrize("kind", ["spikes", "counts", "real"])
@pytest.mark.parametrize("what", ["inputs", "first", "second", "volts"])
def test_the_integers_are_the_same_in_every_unit(what: str, kind: str) -> None:
    """Ten decades, for each layer by itself; also of inputs that are no whole numbers then, in float32."""
    wanted = stored(integers(Units(), kind)[0])
    for factor in (*DECADES, 3.7):
        assert stored(integers(replace(Units(), **{what: factor}), kind)[0]) == wanted, factor


def test_so_are_the_best_of_several() -> None:
    """The search compares results, whose unit is another, too."""
    units = Units(inputs=1e4, first=1e-3, second=1e-4, volts=70.0)
    assert stored(integers(units, "real", search=True)[0]) == stored(integers(Units(), "real", search=True)[0])


exponents = st.integers(-17, 17)


@settings(max_examples=15)
@given(inputs=exponents, first=exponents, second=exponents, volts=exponents, kind=st.sampled_from(["counts", "real"]))
def test_powers_of_two_change_no_bit(inputs: int, first: int, second: int, volts: int, kind: str) -> None:
    """They change no mantissa of a float64, so nothing can be rounded otherwise."""
    units = Units(inputs=2.0**inputs, first=2.0**first, second=2.0**second, volts=2.0**volts)
    assert stored(integers(units, kind)[0]) == stored(integers(Units(), kind)[0])


decades = st.floats(-5, 5)


@settings(max_examples=15)
@given(inputs=decades, first=decades, second=decades, volts=decades)
def test_any_units_fire_the_same(inputs: float, first: float, second: float, volts: float) -> None:
    """Other factors round in the last bit of a float64: a value at a half can be rounded otherwise, no more."""
    units = Units(inputs=10**inputs, first=10**first, second=10**second, volts=10**volts)
    rounded, frames = integers(units, "real")
    found, wanted = run_integer(rounded, frames), run_integer(*integers(Units(), "real"))
    for name in ("a", "b"):
        assert np.abs(spikes_of(found[name]) - spikes_of(wanted[name])).max() <= 1


@pytest.mark.parametrize("factor", DECADES)
def test_each_neuron_can_have_a_unit_of_its_own(factor: float) -> None:
    """One row of weights times a, the r of its neuron divided by a: the others keep 5 bits and more, and so does it.

    Each fires within a spike, or one in twenty, of real numbers; where its row had no bits left it would fall silent.
    """
    graph, unlike = network(Units()), np.ones(HIDDEN)
    unlike[3] = factor
    fc1, a = graph.nodes["fc1"], graph.nodes["a"]
    fc1.weight, fc1.bias, a.r = fc1.weight * unlike[:, np.newaxis], fc1.bias * unlike, a.r / unlike
    lowered = lower(graph)
    frames = as_images(clips("spikes", Units()), lowered)
    found = run_integer(quantize_calibrated(lowered, calibrate(lowered, frames)), frames)["a"]
    exact = run_float(lowered, frames)["a"]
    assert exact[:, :, 3].sum() > 20
    assert (np.abs(spikes_of(found) - spikes_of(exact)) <= np.maximum(1, spikes_of(exact) / 20)).all()


@pytest.mark.parametrize("factor", DECADES)
def test_results_follow_the_unit_of_a_readout(factor: float) -> None:
    """An integrator sends its potential: a times the weights in front are a times the result."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(OUTPUTS, INPUTS))

    def readout(a: float) -> tuple[IntNetwork, Clips]:
        li = nir.LI(**graphs.filled((OUTPUTS,), tau=2e-2, r=3.0, v_leak=0.0))
        nodes = {"in": graphs.entry(INPUTS), "fc": nir.Linear(weight * a), "li": li, "out": graphs.result(OUTPUTS)}
        lowered = lower(graphs.chain(nodes, T=STEPS))
        frames = as_images(clips("real", Units()), lowered)
        rounded = quantize_calibrated(lowered, calibrate(lowered, frames))
        assert isinstance(rounded.populations["li"], IntIntegrator)
        return rounded, rounded.logits(run_integer(rounded, frames))

    (wanted, results), (found, scaled) = readout(1.0), readout(factor)
    assert stored(found) == stored(wanted)
    np.testing.assert_allclose(scaled, results * factor, rtol=1e-9)
