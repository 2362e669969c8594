"""Neurons that are reset by subtraction: their spikes by hand, in integers, through quantisation, on Lava."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import ints
import reals
from deploy.errors import GateError
from deploy.execution.simulate import simulate
from deploy.ir.contracts import check_network
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import Network, run_float
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import IntLif, Lif
from deploy.ir.types import Values
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from processes import HANG_S
from svformer.common.errors import InputError

FRAMES = 6


def subtracting(amount: float = 1.0) -> Lif:
    """Threshold 1, no leak; a reset takes `amount` off."""
    return replace(reals.lif(decay=0.0, threshold=1.0), subtract=reals.values(amount))


def real_network(neurons: Lif, weight: float) -> Network:
    populations = {"in": Input(shape=(1, 1, 1)), "lif": neurons}
    return reals.network(populations, reals.link("in", "lif", reals.dense([[weight]])), frames=FRAMES)


def int_network(neurons: IntLif) -> IntNetwork:
    link = ints.link("in", "lif", ints.dense([[1]]))
    return ints.network({"in": ints.entry(low=-9, high=9), "lif": neurons}, link, frames=FRAMES)


def spikes_of(network: Network, clip: list[float]) -> list[int]:
    frames: NDArray[np.float64] = np.reshape(clip, (1, FRAMES, 1, 1, 1))
    return run_float(network, frames)["lif"].ravel().astype(int).tolist()


def test_what_is_above_the_threshold_stays_for_the_next_step() -> None:
    """2.5 at once: v = 2.5, 1.5, 0.5 after one and two spikes; then 0.7 more makes 1.2. Reset to zero fires at once
    only, and 0.7 does not reach the threshold.
    """
    clip = [2.5, 0.0, 0.0, 0.7, 0.0, 0.0]
    assert spikes_of(real_network(subtracting(), 1.0), clip) == [1, 1, 0, 1, 0, 0]
    assert spikes_of(real_network(reals.lif(decay=0.0), 1.0), clip) == [1, 0, 0, 0, 0, 0]


def test_a_reset_may_subtract_another_amount_than_the_threshold() -> None:
    """3 at once, 2 off at a time, threshold 1: v = 3, then 1, which is not above the threshold."""
    neurons = subtracting(2.0)
    assert spikes_of(real_network(neurons, 1.0), [3.0, 0, 0, 0, 0, 0]) == [1, 0, 0, 0, 0, 0]


def test_the_integer_machine_by_hand() -> None:
    """Threshold 5, 5 off, half of v kept. 9 > 5 leaves 4; that becomes 2; 1 + 6 = 7 > 5 leaves 2; 1; 0.5; 0.25."""
    network = int_network(ints.lif(threshold=5, decay=2048, subtract=5))
    clip: Values = np.reshape([9, 0, 6, 0, 0, 0], (1, FRAMES, 1, 1, 1))
    assert run_integer(network, clip)["lif"].ravel().tolist() == [1, 0, 1, 0, 0, 0]


@pytest.mark.lava
@pytest.mark.parametrize("seed", range(3))
def test_lava_sends_what_the_interpreter_sends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neurons = ints.lif((4, 2, 2), threshold=[3, 5, 8, 2], subtract=[3, 4, 9, 1], decay=[0, 100, 2048, 4000])
    entry = ints.entry((4, 2, 2), low=-9, high=20)
    network = ints.network({"in": entry, "lif": neurons}, ints.link("in", "lif", ints.same((4, 2, 2))), frames=FRAMES)
    clips = rng.integers(-9, 21, size=(2, FRAMES, 4, 2, 2)).astype(float)
    expected = simulate(network, clips, backend="integer").signals["lif"]
    found = simulate(network, clips, backend="lava", timeout_s=HANG_S).signals["lif"]
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(found, expected)
    harder = replace(network, populations={**network.populations, "lif": replace(neurons, subtract=None)})
    assert (simulate(harder, clips, backend="integer").signals["lif"] != expected).any()


def test_it_survives_quantisation() -> None:
    """Inputs on a grid of 1/4, weight 1: nothing is rounded away, and every spike is that of the real numbers."""
    network = real_network(subtracting(), 1.0)
    clips = np.random.default_rng(0).integers(-2, 8, size=(8, FRAMES, 1, 1, 1)) / 4
    integers = quantize(network, clips)
    expected = run_float(network, clips)["lif"]
    np.testing.assert_array_equal(run_integer(integers, clips)["lif"], expected)
    neurons = integers.populations["lif"]
    assert isinstance(neurons, IntLif)
    assert neurons.subtract is not None
    assert neurons.subtract.item() == round(neurons.scale)


@pytest.mark.lava
def test_lavas_own_neurons_and_the_chip_refuse_it() -> None:
    from deploy.lava_network.stock import build_stock  # only this test needs Lava's own processes

    network = int_network(ints.lif(threshold=5, subtract=5))
    plan = schedule(network)
    (obstacle,) = obstacles(mapping(network, plan))
    assert obstacle == "lif (LIF neurons): a reset by subtraction"
    with pytest.raises(InputError, match="lif: a reset by subtraction; use --blocks fused"):
        build_stock(network, plan, np.zeros((FRAMES, 1, 1, 1), np.int32), {})


def test_a_reset_has_to_subtract_something() -> None:
    with pytest.raises(GateError, match="lif: what a reset subtracts is not positive"):
        check_network(real_network(subtracting(0.0), 1.0), after="a test")
