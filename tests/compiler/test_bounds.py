"""Worst cases: never exceeded by any run, reached where they are exact, and refused by name where they do not fit."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
import random_networks
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.intervals import Headroom, Interval
from deploy.ir.machine import DECAY_ONE
from deploy.ir.network import apply_over_time, run_float
from deploy.ir.operations.base import shifted
from deploy.ir.operations.convolution import IntConvolution, kernel_interval
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.passes.bounds import float_ranges, prove
from deploy.passes.lowering import lower
from hardware import ConvGeometry
from svformer.common.errors import InputError


def neurons(**fields: int) -> IntLif:
    return ints.lif(**{"decay": 0, "threshold": 1, **fields})


def chain(low: int, high: int, *populations: IntPopulation) -> IntNetwork:
    """An input of this range, and populations of one value behind it, joined by identities."""
    return ints.chain(2, **{"in": ints.entry(low=low, high=high)}, **{f"p{i}": p for i, p in enumerate(populations)})


def worst(network: IntNetwork) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for h in prove(network):
        found[h.where, h.what] = max(h.worst, found.get((h.where, h.what), 0.0))
    return found


@given(case=random_networks.int_networks())
def test_no_run_leaves_the_proven_range(case: tuple[IntNetwork, NDArray[Any]]) -> None:
    """Random networks and clips: every message, synaptic sum and current stays below what was proven for it."""
    network, frames = case
    proven, signals = worst(network), run_integer(network, frames)
    for name, population in network.populations.items():
        if isinstance(population, IntInput):
            continue
        current = np.zeros((*frames.shape[:2], *population.shape), dtype=np.int64)
        for c in network.into(name):
            current += c(signals[c.source])
            if isinstance(c.operation, IntConvolution):
                sums = replace(c.operation, exponent=0)
                seen = np.abs(apply_over_time(sums, signals[c.source], c.delay)).max()
                assert seen <= proven[f"{c.source} -> {name}", "synaptic sum"]
        if isinstance(population, IntRelay):
            assert np.abs(current + population.bias_by_step(network.frames)).max() <= proven[name, "graded message"]
        else:
            assert np.abs(current).max() <= proven[name, "input current"]


@given(seed=st.integers(0, 2**32 - 1), padding=st.integers(0, 1))
def test_the_bound_of_spikes_is_reached_by_some_input(seed: int, padding: int) -> None:
    """All 2^8 inputs of two channels of 2 x 2 pixels: the smallest and largest sum of each output channel."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-9, 10, size=(3, 2, 2, 2)).astype(np.int16)
    operation = ints.conv(weight, (2, 2, 2), padding=(padding, padding))
    every_input = np.array(list(itertools.product((0, 1), repeat=8))).reshape(-1, 2, 2, 2)
    sums = operation(every_input)
    found = kernel_interval(weight, operation.geometry, Interval(low=np.zeros(2), high=np.ones(2)))
    assert found.low.tolist() == sums.min(axis=(0, 2, 3)).tolist()
    assert found.high.tolist() == sums.max(axis=(0, 2, 3)).tolist()


def test_groups_see_their_own_channels_only() -> None:
    """Group 0 sees -2..3 with weight 10, group 1 sees 0..5 with weight -1."""
    geometry = ConvGeometry(in_shape=(2, 1, 1), out_channels=2, kernel=(1, 1), groups=2)
    x = Interval(low=np.array([-2.0, 0.0]), high=np.array([3.0, 5.0]))
    found = kernel_interval(np.array([10, -1]).reshape(2, 1, 1, 1), geometry, x)
    assert found.low.tolist() == [-20, -5]
    assert found.high.tolist() == [30, 0]


def test_what_is_delayed_lets_zeros_in() -> None:
    """An input of 5..7 and a bias of -10: -5..-3, but -10 while nothing has arrived."""
    late = ints.link("in", "p0", ints.same(), delay=1)
    network = ints.network({"in": ints.entry(low=5, high=7), "p0": ints.relay(bias=-10)}, late, frames=2)
    assert worst(network)["p0", "graded message"] == 10
    assert run_integer(network, np.full((1, 2, *ints.ONE), 6.0))["p0"].ravel().tolist() == [-10, -4]


@pytest.mark.parametrize(
    ("network", "limit", "where", "what"),
    [
        (lambda n: chain(0, n, neurons()), 2**17 - 1, "p0", "input current"),
        (lambda n: chain(-n, 0, neurons()), 2**17 - 1, "p0", "input current"),
        (lambda n: chain(0, 1, neurons(threshold=n)), 2**17 - 1, "p0", "threshold"),
        (lambda n: chain(0, 1, neurons(bias_mantissa=n)), 2**12 - 1, "p0", "bias mantissa"),
        (lambda n: chain(0, 1, neurons(bias_mantissa=-n)), 2**12 - 1, "p0", "bias mantissa"),
        (lambda n: chain(0, n, ints.relay()), 2**23 - 1, "p0", "graded message"),
        (lambda n: chain(0, 1, ints.relay(bias=n - 1)), 2**23 - 1, "p0", "graded message"),
    ],
)
def test_every_register_is_used_up_to_its_last_value(network: Any, limit: int, where: str, what: str) -> None:
    """At the limit it is proven; one above, it is refused with the layer, the value, the limit and the margin."""
    assert worst(network(limit))[where, what] == limit
    with pytest.raises(InputError) as caught:
        prove(network(limit + 1))
    assert f"overflow: {where}: {what} up to {limit + 1}, allowed {limit} (1.00 x)" in str(caught.value)


def weighted(high: int, mantissa: int, exponent: int) -> IntNetwork:
    """An input 0..high, one weight, a relay."""
    weight = ints.link("in", "p0", ints.dense([[mantissa]], exponent=exponent))
    return ints.network({"in": ints.entry(high=high), "p0": ints.relay()}, weight, frames=2)


def test_the_synaptic_sum_counts_before_its_shift() -> None:
    """127 x 2^17 needs 24 bits and a sign, although the shift by -4 makes it small again."""
    with pytest.raises(
        InputError, match=rf"in -> p0: synaptic sum up to {127 * 2**17}, allowed {2**23 - 1} \(1.98 x\)"
    ):
        prove(weighted(2**17, 127, -4))
    assert shifted(np.array([127 * 2**17]), -4).item() < 2**23


@pytest.mark.parametrize(("mantissa", "largest"), [(1, 2), (-1, 3)])
def test_a_right_shift_rounds_down_on_both_sides(mantissa: int, largest: int) -> None:
    """Half of 5 is 2, half of -5 is -3."""
    assert worst(weighted(5, mantissa, -1))["p0", "graded message"] == largest


@pytest.mark.parametrize(
    ("decay", "gain"),
    [(None, 1), (DECAY_ONE, 1), (DECAY_ONE // 2, 2 - 1 / 8), (0, 4)],  # 1 + 1/2 + 1/4 + 1/8; 4 times as much
)
def test_a_current_with_memory_adds_up_over_the_clip(decay: int | None, gain: float) -> None:
    """Inputs of 100 in each of 4 time steps: proven, and reached by some input."""
    memory = {} if decay is None else {"current_decay": decay}
    population = neurons(threshold=2**17 - 1, **memory)
    network = replace(chain(-30, 100, population), frames=4)
    assert worst(network)["p0", "input current"] == 100 * gain
    started = replace(population, start_current=ints.values(64 * 7))
    assert worst(replace(chain(-30, 100, started), frames=4))["p0", "input current"] == 100 * gain + 7


def test_the_potential_of_an_integrator_is_proven_and_what_it_sends() -> None:
    """Decay 1/2, inputs up to 100, 3 steps, bias 2, from 8: (100 + 2) (1 + 1/2 + 1/4) + 8 at most; then halved."""
    integrator = ints.integrator(bias_mantissa=128, decay=DECAY_ONE // 2, start=8 * 64)
    network = replace(chain(0, 100, integrator, ints.relay()), frames=3)
    assert worst(network)["p0", "potential"] == 102 * 1.75 + 8
    assert worst(network)["p1", "graded message"] == np.ceil(102 * 1.75 + 8)
    full = run_integer(network, np.full((1, 3, *ints.ONE), 100.0))
    assert full["p0"].ravel().tolist() == [106, 155, 180]  # 8 / 2 + 102, 53 + 102, 77.5 + 102 = 179.5
    forever = replace(integrator, decay=ints.values(0))
    with pytest.raises(InputError, match=r"p0: potential up to 3060008, allowed 131071 \(23\.35 x\)"):
        prove(replace(chain(0, 10_198, forever), frames=300))


def test_a_loop_of_spikes_is_bounded_and_a_loop_of_values_is_not() -> None:
    """Neurons that receive their own spikes get at most the input and one; sums that come back have no bound."""
    back = ints.link("p0", "p0", ints.same(), delay=1)
    spiking, graded = chain(0, 9, neurons()), chain(0, 9, ints.relay())
    assert worst(replace(spiking, connections=(*spiking.connections, back)))["p0", "input current"] == 10
    with pytest.raises(InputError, match="loops of graded values, which nothing bounds: p0; put neurons into them"):
        prove(replace(graded, connections=(*graded.connections, back)))


def test_all_layers_that_could_overflow_are_named() -> None:
    network = chain(0, 2**23, ints.relay(), neurons(threshold=2**18), neurons())
    with pytest.raises(InputError) as caught:
        prove(network)
    offenders = str(caught.value).removeprefix("the integer network could overflow: ").split("; ")[:-1]
    assert [offender.split(" up to ")[0] for offender in offenders] == [
        "p0: graded message",
        "p1: input current",
        "p1: threshold",
    ]


def test_headroom_says_how_much_of_a_register_is_used() -> None:
    headroom = Headroom(where="a -> b", what="synaptic sum", worst=300.0, limit=400)
    assert headroom.share == 0.75
    assert str(headroom) == "a -> b: synaptic sum up to 300, allowed 400 (0.75 x)"


def test_the_float_network_stays_within_its_ranges(exported: Any) -> None:
    """A whole SVFormer, attention and shortcuts included, for inputs that reach the ends of the range."""
    network = lower(exported.graph)
    frames: NDArray[np.float64] = np.clip(exported.frames_NTCHW, -1, 1)
    signals = run_float(network, frames)
    for name, interval in float_ranges(network, (-1.0, 1.0)).items():
        population = network.populations[name]
        current = np.broadcast_to(population.bias, population.shape) + sum(
            apply_over_time(c.operation, signals[c.source], c.delay) for c in network.into(name)
        )
        by_channel = np.moveaxis(current, 2, 0).reshape(len(interval.low), -1)
        assert (by_channel.min(axis=1) >= interval.low - 1e-9).all(), name
        assert (by_channel.max(axis=1) <= interval.high + 1e-9).all(), name
