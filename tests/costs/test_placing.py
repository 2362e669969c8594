"""A deployed network on the cores of a chip: its events are those of the ledger, and clips add up."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

import ints
from deploy.costs.counting import count_operations
from deploy.costs.placing import PlacedClips, Placing, place_clips, place_rates, placed_network, streams
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.attention import IntAttention
from deploy.ir.types import Frames, Signals
from deploy.passes.schedule import schedule
from hardware import ConvGeometry, OpCounts, load_chip
from random_networks import int_networks

LOIHI_1, LOIHI_2 = load_chip("loihi1"), load_chip("loihi2")
PIXEL = Placing(order="pixel", chips=(LOIHI_1, LOIHI_2))


def ledger(network: IntNetwork, signals: Signals) -> int:
    """Operations in synapses that the ledger counts, attention left out."""
    total = sum(count_operations(network, schedule(network), signals).values(), OpCounts())
    return total.synaptic_ops + total.macs + total.relay_adds + total.comparisons


def tails(network: IntNetwork, signals: Signals) -> int:
    """What a delay hands on behind the end of the clip, which the ledger counts nowhere."""
    late = 0
    for connection in network.connections:
        sent = signals[connection.source][:, network.frames - min(connection.delay, network.frames) :]
        for step in range(sent.shape[1]):
            binary = network.binary(connection.source)
            found = connection.operation.count(sent[:, step], binary=binary, state_memory_bits=1)
            late += found.synaptic_ops + found.macs + found.relay_adds + found.comparisons
    return late


def stand_in(network: IntNetwork, signals: Signals) -> int:
    """One synapse for each q, k and v spike of attention."""
    attention = (c for c in network.connections if isinstance(c.operation, IntAttention))
    return sum(int(np.count_nonzero(signals[c.source])) for c in attention)


@given(drawn=int_networks())
def test_synapses_are_those_of_the_ledger_with_stand_ins_and_tails(drawn: tuple[IntNetwork, Frames]) -> None:
    network, frames = drawn
    signals = run_integer(network, frames)
    found = place_clips(network, schedule(network), signals, PIXEL, first=True)["loihi1"]
    expected = ledger(network, signals) + stand_in(network, signals) + tails(network, signals)
    assert found.events.synapses == expected
    assert found.events.updates == len(frames) * network.frames * sum(map(network.size, network.receivers))


def chain() -> tuple[IntNetwork, Signals]:
    """3x3 convolution of random spikes, two clips of four frames, and a layer that hears it two steps late."""
    shape = ConvGeometry(in_shape=(1, 6, 6), out_channels=2, kernel=(3, 3), padding=(1, 1))
    end = ConvGeometry(in_shape=(2, 6, 6), out_channels=3, kernel=(6, 6))
    network = ints.network(
        {"in": ints.entry((1, 6, 6)), "a": ints.lif((2, 6, 6), threshold=2), "b": ints.integrator((3, 1, 1))},
        ints.link("in", "a", ints.constant(shape)),
        ints.link("a", "b", ints.constant(end), delay=2),
        frames=4,
    )
    frames = (np.random.default_rng(0).random((2, 4, 1, 6, 6)) < 0.4).astype(np.float64)
    return network, run_integer(network, frames)


def test_clips_add_up_and_survive_being_stored() -> None:
    network, signals = chain()
    plan = schedule(network)
    both = place_clips(network, plan, signals, PIXEL, first=True)["loihi1"]
    one, two = (
        place_clips(network, plan, {n: s[i : i + 1] for n, s in signals.items()}, PIXEL, first=i == 0)["loihi1"]
        for i in range(2)
    )
    assert one + two == both
    assert (both.clips, both.steps) == (2, 8)
    assert PlacedClips.of(json.loads(json.dumps(both.plain()))) == both


def test_a_chip_without_times_gets_nothing() -> None:
    network, signals = chain()
    assert list(place_clips(network, schedule(network), signals, PIXEL, first=True)) == ["loihi1"]


def test_a_stream_shows_every_population_the_frame_that_has_reached_it() -> None:
    network, signals = chain()
    plan = schedule(network)
    activity = next(streams(network, plan, signals))
    depth = plan.depths["b"]
    for step in range(network.frames):
        frame = (step - depth) % network.frames
        assert np.array_equal(activity["b"][step], signals["b"][0, frame].ravel() != 0)


def test_time_is_that_of_the_busiest_core_and_of_every_source() -> None:
    network, signals = chain()
    plan = schedule(network)
    found = place_clips(network, plan, signals, PIXEL, first=True)["loihi1"]
    placed = placed_network(network, plan, LOIHI_1, "pixel")
    work = [placed.work(activity) for activity in streams(network, plan, signals)]
    for costs in LOIHI_1.events:
        assert found.seconds[costs.name] == pytest.approx(sum(w.step_s(costs).sum() for w in work))
    assert list(found.seconds) == [case.name for costs in LOIHI_1.events for case in costs.cases]
    assert found.longest_step_s == max(w.step_s(LOIHI_1.events[0]).max() for w in work)


def test_more_cores_are_tried_on_the_first_clip() -> None:
    network, signals = chain()
    more = place_clips(network, schedule(network), signals, PIXEL, first=True)["loihi1"].more
    assert more is not None
    assert more.now.cores == 3
    assert [found.cores for found in more.one_more] == [4, 4]
    assert more.filled is not None
    assert more.filled.clip_s < more.now.clip_s
    assert place_clips(network, schedule(network), signals, PIXEL, first=False)["loihi1"].more is None


def test_events_of_rates_are_linear_in_them() -> None:
    network, _ = chain()
    plan = schedule(network)
    none, every = (place_rates(network, plan, {"a": rate}, PIXEL)["loihi1"] for rate in (0.0, 1.0))
    assert none.events.synapses < every.events.synapses
    assert none.events.updates == every.events.updates
    assert every.steps == network.frames
    half = place_rates(network, plan, {"a": 0.5}, PIXEL)["loihi1"]
    assert half.events.synapses == pytest.approx((none.events.synapses + every.events.synapses) / 2)
    assert replace(half, more=None) == half
