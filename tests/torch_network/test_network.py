"""The networks in torch compute what the interpreters do: integers bit for bit, real numbers but for rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import ints
import random_networks
from deploy.ir.exact import exact_network
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import run_float
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.product import IntProduct
from deploy.ir.operations.segment import IntSegment
from deploy.ir.readout import OF_SPIKES, READOUTS, Readout, read_out
from deploy.ir.types import Signals
from deploy.passes.chip_form import chip_form
from deploy.torch_network import network as torch_network
from deploy.torch_network.network import IntegerNetwork, RealNetwork, TorchNetwork
from deploy.torch_network.trained import TrainedNetwork
from hardware import ProductGeometry


def run_torch(module: TorchNetwork, frames: np.ndarray) -> Signals:
    found = module(module.sent(frames), record=module.populations)
    return {name: message.detach().numpy().astype(np.float64) for name, message in found.items()}


def require_equal(network: IntNetwork, frames: np.ndarray) -> Signals:
    """All messages, of the fixed and of the trained form; returns them."""
    expected = run_integer(network, frames)
    for module in (IntegerNetwork(network), TrainedNetwork(network, weight_bits=8)):
        found = run_torch(module, frames)
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{name}, {type(module).__name__}")
    return expected


@settings(max_examples=60)
@given(case=random_networks.int_networks())
def test_random_networks_send_the_same(case: tuple[IntNetwork, np.ndarray]) -> None:
    """Convolutions of any geometry, attention, pooling, identities, delays, gains and biases of every time step."""
    require_equal(*case)


@pytest.mark.parametrize("seed", range(5))
def test_currents_with_memory_starts_and_a_reset_by_subtraction(seed: int) -> None:
    """In a loop, whose messages come one time step after the other."""
    rng = np.random.default_rng(seed)
    shape = (4, 1, 1)
    neurons = ints.lif(
        shape,
        threshold=rng.integers(50, 300, shape),
        decay=rng.integers(0, 2000, shape),
        current_decay=rng.integers(1, 4097, shape),
        start=rng.integers(-5000, 5000, shape),
        start_current=rng.integers(-5000, 5000, shape),
        subtract=rng.integers(1, 300, shape),
    )
    readout = ints.integrator((3, 1, 1), decay=rng.integers(0, 4097, (3, 1, 1)), bias_mantissa=[100, -7, 3])
    network = ints.network(
        {"input": ints.entry((2, 1, 1), low=-4, high=4), "neurons": neurons, "out": readout},
        ints.link("input", "neurons", ints.dense(rng.integers(-90, 90, (4, 2)))),
        ints.link("neurons", "neurons", ints.dense(rng.integers(-60, 60, (4, 4))), delay=1),
        ints.link("neurons", "out", ints.dense(rng.integers(-127, 128, (3, 4)), exponent=-1)),
        frames=12,
    )
    sent = require_equal(network, rng.integers(-4, 5, (3, 12, 2, 1, 1)).astype(np.float64))
    assert 0 < sent["neurons"].mean() < 1
    assert np.ptp(sent["out"]) > 10


def test_a_register_that_overflows_wraps_and_a_potential_saturates() -> None:
    """What no proven network does, and the machine does all the same."""
    network = ints.network(
        {"input": ints.entry(high=2**17), "out": ints.integrator(decay=0, bias_mantissa=0)},
        ints.link("input", "out", ints.same()),
        frames=3,
    )
    frames = np.array([2**17, 2**17 - 1, 2**17 - 1], dtype=np.float64).reshape(1, 3, 1, 1, 1)
    sent = require_equal(network, frames)
    assert sent["out"].ravel().tolist() == run_integer(network, frames)["out"].ravel().tolist()


def test_gates_and_neurons_that_always_fire() -> None:
    """The chip form of attention with a bias."""
    rng, qkv = np.random.default_rng(0), (6, 2, 2)
    network = ints.network(
        {"input": ints.entry(qkv), "spikes": ints.lif(qkv), "out": ints.relay((2, 2, 2), [300, -2])},
        ints.link("input", "spikes", ints.same(qkv)),
        ints.link("spikes", "out", ints.attention(qkv, multiplier=3, exponent=2)),
        frames=4,
    )
    form = chip_form(network).network
    assert {"gate", "constant"} <= {population.kind for population in form.populations.values()}
    frames = rng.integers(0, 2, (2, 4, *qkv)).astype(np.float64)
    np.testing.assert_array_equal(require_equal(form, frames)["out"], run_integer(network, frames)["out"])


@pytest.mark.parametrize("scale", [1, 5])
def test_products_of_values_and_spikes(scale: int) -> None:
    """[2, 3] values times [3, 4] spikes, matrix by matrix; a spike is `scale` units there."""
    rng = np.random.default_rng(0)
    geometry = ProductGeometry(sizes=(2, 3, 4), left=(0, 1), right=(1, 2), output=(2, 0), out_shape=(4, 2, 1))
    segments = [IntSegment(in_shape=(n, 1, 1), out_shape=(18, 1, 1), first=first) for n, first in ((6, 0), (12, 6))]
    network = ints.network(
        {
            "input": ints.entry((18, 1, 1), low=-9, high=9),
            "values": ints.relay((6, 1, 1)),
            "spikes": ints.lif((12, 1, 1)),
            "vector": ints.relay((18, 1, 1)),
            "out": ints.relay((4, 2, 1)),
        },
        ints.link("input", "values", ints.dense(np.eye(6, 18, dtype=np.int64))),
        ints.link("input", "spikes", ints.dense(np.eye(12, 18, 6, dtype=np.int64))),
        ints.link("values", "vector", segments[0]),
        ints.link("spikes", "vector", replace(segments[1], multiplier=scale)),
        ints.link("vector", "out", IntProduct(geometry=geometry, multiplier=-3, exponent=-1)),
        frames=3,
    )
    sent = require_equal(network, rng.integers(-9, 10, (2, 3, 18, 1, 1)).astype(np.float64))
    values, spikes = sent["values"].reshape(6, 2, 3).astype(int), sent["spikes"].reshape(6, 3, 4).astype(int)
    by_hand = np.einsum("nij,njk->nki", values, spikes) * -3 >> 1
    np.testing.assert_array_equal(sent["out"].reshape(6, 4, 2), by_hand)


@settings(max_examples=20)
@given(case=random_networks.int_networks())
def test_random_networks_in_real_numbers(case: tuple[IntNetwork, np.ndarray]) -> None:
    network, frames = case
    exact = exact_network(network)
    expected, found = run_float(exact, frames), run_torch(RealNetwork(exact), frames)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_a_gradient_by_hand() -> None:
    """One weight of 4 units and one neuron with a threshold of 10 that gets 3 messages: v = 64 x 12, at 1.2.

    The surrogate's slope there is 1 / (1 + (pi 0.2)^2), less the one of a potential that counts, as a share of the
    threshold; the neuron's potential moves by 64 x 3 for a unit of weight.
    """
    network = ints.network(
        {"input": ints.entry(high=3), "out": ints.lif(threshold=10)},
        ints.link("input", "out", ints.conv([[[[4]], [[1]]]], (2, 1, 1))),
        frames=1,
    )
    network = replace(network, populations=network.populations | {"input": ints.entry((2, 1, 1), high=3)})
    module = TrainedNetwork(network, weight_bits=8)
    result = module.results(module.sent(np.array([3.0, 0.0]).reshape(1, 1, 2, 1, 1)))
    assert result.item() == 1
    result.sum().backward()
    (weight,) = module.weights.values()
    unit = np.sqrt((16 + 1) / 2)  # the root mean square of 4 and 1
    x = (64 * 12 - 64 * 10 - 1) / (64 * 10)
    slope = 1 / (1 + (np.pi * x) ** 2) / (64 * 10)
    np.testing.assert_allclose(weight.grad.ravel().numpy(), [slope * 64 * 3 * unit, 0], rtol=1e-5)


@settings(max_examples=20)
@given(case=random_networks.int_networks())
def test_what_is_trained_goes_back_as_it_came(case: tuple[IntNetwork, np.ndarray]) -> None:
    network, _ = case
    again = TrainedNetwork(network, weight_bits=8).integers()
    for before, after in zip(network.connections, again.connections, strict=True):
        if isinstance(before.operation, IntConvolution):
            assert isinstance(after.operation, IntConvolution)
            np.testing.assert_array_equal(after.operation.mantissa, before.operation.mantissa)
    for name, population in network.receivers.items():
        np.testing.assert_array_equal(again.receivers[name].stored_bias, population.stored_bias)


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts(readout: Readout) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (5, 6, 3, 1, 1)) if readout in OF_SPIKES else rng.normal(size=(5, 6, 3, 1, 1))
    found = torch_network.read_out(torch.as_tensor(values.astype(np.float64)), readout)
    np.testing.assert_allclose(found.numpy(), read_out(values, readout))


def test_a_threshold_of_0_is_reached_by_the_smallest_potential() -> None:
    """Potentials of -1/64, 0 and 1/64 of a unit, by the bias alone."""
    network = ints.network(
        {"input": ints.entry((3, 1, 1)), "out": ints.lif((3, 1, 1), threshold=0, decay=4096, bias_mantissa=[-1, 0, 1])},
        ints.link("input", "out", ints.same((3, 1, 1))),
        frames=1,
    )
    assert require_equal(network, np.zeros((1, 1, 3, 1, 1)))["out"].ravel().tolist() == [0, 0, 1]
