"""Calibration in chunks of clips: sums by hand, and the same result, bit for bit, however many run at a time."""

import dataclasses
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.execution.memory import calibration_need, clips_at_once
from deploy.gates.fidelity import fidelity
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import Network, run_float
from deploy.passes.bounds import prove
from deploy.passes.calibrate import Calibration, calibrate
from deploy.passes.lowering import lower
from deploy.passes.probes import SpikeCounts
from deploy.passes.quantize import quantize_calibrated as quantize
from deploy.passes.statistics import Count, MessageSums, chunks
from deploy.pipeline import firing_rates
from svformer.common.errors import InputError

CLIPS = 5


@pytest.fixture(scope="module")
def frames(exported: Any) -> NDArray[Any]:
    return np.random.default_rng(2).normal(size=(CLIPS, *exported.frames_NTCHW.shape[1:]))


@pytest.fixture(scope="module")
def network(exported: Any) -> Network:
    return lower(exported.graph, merge="always")


@pytest.fixture(scope="module")
def calibration(network: Network, frames: NDArray[Any]) -> Calibration:
    return calibrate(network, frames)


@pytest.fixture(scope="module")
def integers(network: Network, calibration: Calibration) -> IntNetwork:
    return quantize(network, calibration)


def require_same(one: Any, other: Any) -> None:
    """Equal in every bit: arrays, and what holds them."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        one, other = ({f.name: getattr(x, f.name) for f in dataclasses.fields(x)} for x in (one, other))
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            require_same(a, b)
    else:
        np.testing.assert_array_equal(one, other, strict=isinstance(one, np.ndarray))


def test_sums_of_messages_by_hand() -> None:
    """One channel of two neurons. First clip (1, 2), (3, -2): sums 4 and 0, squares 1 + 4 + 9 + 4 = 18; means 2 and 0,
    mean square 18 / 4. With a second clip of one step, (2, 6): sums 6 and 6, squares 58; of three steps 2, 2, 58 / 6.
    """
    first = MessageSums.of(np.array([[1.0, 2.0], [3.0, -2.0]]).reshape(2, 1, 1, 2))
    assert (first.mean.ravel().tolist(), first.mean_square.tolist()) == ([2, 0], [4.5])
    both = first + MessageSums.of(np.array([2.0, 6.0]).reshape(1, 1, 1, 2))
    assert (both.total.ravel().tolist(), both.squares.tolist(), both.steps) == ([6, 6], [58], 3)
    assert (both.mean.ravel().tolist(), both.mean_square.tolist()) == ([2, 2], [58 / 6])


def test_a_mean_square_is_that_of_a_channel() -> None:
    """Two channels of one neuron: 1 and 3 in the one step there is."""
    found = MessageSums.of(np.array([1.0, 3.0]).reshape(1, 2, 1, 1))
    assert found.mean_square.tolist() == [1, 9]


def test_counts_add() -> None:
    """2 of 8 spikes and 1 of 4: 3 of 12; in channels, 3 of the first, none of the second. Of another layer, none."""
    assert (Count(found=2, of=8) + Count(found=1, of=4)).share == 0.25
    counts = SpikeCounts(["lif"])
    for clip in ([1, 0, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0]):
        messages = np.array(clip).reshape(1, -1, 2, 1, 1)
        counts.add("lif", messages.astype(np.uint8))
        counts.add("relay", messages.astype(np.int32))
    assert counts.rates == {"lif": 0.25}
    assert counts.by_channel["lif"].tolist() == [3, 0]


def test_chunks_hold_every_clip_once_in_order() -> None:
    clips = np.arange(5)
    assert [part.tolist() for part in chunks(clips, 2)] == [[0, 1], [2, 3], [4]]
    assert [part.tolist() for part in chunks(clips, None)] == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("at_once", [1, 2, CLIPS])
def test_calibration_does_not_depend_on_how_many_clips_run_at_a_time(
    network: Network, frames: NDArray[Any], calibration: Calibration, at_once: int
) -> None:
    found = calibrate(network, frames, at_once=at_once)
    require_same(dataclasses.replace(found, at_once=None), calibration)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_integer_network_does_not_depend_on_it(
    network: Network, frames: NDArray[Any], integers: IntNetwork, at_once: int
) -> None:
    require_same(quantize(network, calibrate(network, frames, at_once=at_once)), integers)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_fixed_point_report_does_not_depend_on_it(
    network: Network, frames: NDArray[Any], integers: IntNetwork, at_once: int
) -> None:
    assert fidelity(network, integers, prove(integers), frames, at_once=at_once) == fidelity(
        network, integers, prove(integers), frames
    )


def test_firing_rates_do_not_depend_on_it(exported: Any, network: Network, frames: NDArray[Any]) -> None:
    rates = firing_rates(exported.graph, network, frames)
    assert rates == firing_rates(exported.graph, network, frames, at_once=2)
    signals = run_float(network, frames)
    assert rates == {name: signals[name].mean() for name in network.populations if network.spiking(name)}
    assert any(rates.values())


def test_what_nobody_hears_any_more_is_given_back(network: Network, integers: IntNetwork, frames: NDArray[Any]) -> None:
    """While a population is shown, only it, the sources of what runs from here on, and the input are in memory."""
    for net, run in ((network, run_float), (integers, run_integer)):
        names, seen = list(net.populations), dict[str, Any]()

        def look(
            name: str, messages: NDArray[Any], names: list[str] = names, seen: dict[str, Any] = seen, net: Any = net
        ) -> None:
            seen[name] = weakref.ref(messages)
            there = {n for n, ref in seen.items() if ref() is not None}
            sources = {c.source for c in net.connections if names.index(c.target) >= names.index(name)}
            assert there <= sources | {name, names[0]}

        found = run(net, frames[:1], record=[net.output], on_population=look)  # type: ignore[operator]
        assert list(seen) == names
        assert list(found) == [net.output]
        np.testing.assert_array_equal(found[net.output], run(net, frames[:1])[net.output])  # type: ignore[operator]


def test_as_many_clips_run_as_fit_and_at_least_one(network: Network) -> None:
    need = calibration_need(network)
    for free, clips, expected in ((need.of(3), 9, 3), (need.of(3), 2, 2), (need.of(1), 9, 1), (10**13, 9, 9)):
        assert clips_at_once(network, clips, available=free) == expected
    assert clips_at_once(network, 9, chunk=2.5 * need.per_clip) == 2
    assert clips_at_once(network, 9, chunk=1) == 1
    with pytest.raises(InputError, match=r"calibration: 1 clip needs about .*not one fits"):
        clips_at_once(network, 9, available=need.of(1) - 1)
