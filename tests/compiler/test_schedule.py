"""The plan: depths and delay lines by hand, and that all branches of any network deliver one frame at one step."""

import itertools
from typing import Any

import pytest
from hypothesis import given

import ints
import random_networks
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.passes.schedule import MAX_DELAY, schedule
from svformer.common.errors import InputError


def network(*edges: tuple[str, str] | tuple[str, str, int], frames: int = 4) -> IntNetwork:
    """Relays of one value joined by identities; edges are source, target and the model's own delay."""
    names = list(dict.fromkeys(["in", *(edge[1] for edge in edges)]))
    populations = {name: ints.relay() if name != "in" else ints.entry() for name in names}
    connections = [ints.link(a, b, ints.same(), delay=sum(delay)) for a, b, *delay in edges]
    return ints.network(populations, *connections, frames=frames)


def test_a_shortcut_over_two_synapses_waits_two_steps() -> None:
    """The branch in -> a -> b -> sum takes three synapses, the shortcut one: it holds its messages two steps longer."""
    plan = schedule(network(("in", "a"), ("a", "b"), ("in", "sum"), ("b", "sum"), ("sum", "out")))
    assert plan.depths == {"in": 0, "a": 1, "b": 2, "sum": 3, "out": 4}
    assert plan.lags == (0, 0, 2, 0, 0)
    assert plan.depth == 4


def test_a_delay_of_the_model_comes_on_top_of_the_balance() -> None:
    """Three branches, 0, 1 and 2 frames late; the first is one synapse longer, so the others wait one step more."""
    plan = schedule(network(("in", "a"), ("a", "sum"), ("in", "sum", 1), ("in", "sum", 2)))
    assert plan.depths["sum"] == 2
    assert plan.lags == (0, 0, 1 + 1, 1 + 2)


def test_steps_of_clips_back_to_back() -> None:
    """Depth 2, T = 4: frame 0 is seen at steps 1, 2, 3; the last of three clips has come out after 3 * 4 + 2."""
    plan = schedule(network(("in", "a"), ("a", "out")))
    assert [plan.first_step(name) for name in ("in", "a", "out")] == [1, 2, 3]
    assert [plan.steps(clips) for clips in (1, 3)] == [6, 14]


def test_a_synapse_holds_62_steps_and_no_more() -> None:
    assert MAX_DELAY == 62
    assert schedule(network(("in", "a", 62))).lags == (62,)
    with pytest.raises(InputError, match=r"delays above 62 time steps: in -> a 63 \(63 of the model\); b -> c 64"):
        schedule(network(("in", "a", 63), ("in", "b"), ("b", "c", 64)))


def test_a_shortcut_over_too_many_synapses_is_refused_too() -> None:
    """64 relays in a row and a shortcut over all: it would have to wait 64 steps, none of them of the model."""
    names = ["in", *(f"r{i}" for i in range(64))]
    edges = [*itertools.pairwise(names), ("in", "sum"), (names[-1], "sum")]
    with pytest.raises(InputError, match=r"in -> sum 64 \(0 of the model\)"):
        schedule(network(*edges))


def test_a_loop_has_the_steps_that_its_delays_hold_back() -> None:
    """One frame late is one synapse and one step, without a delay line; two frames late wait one step in it."""
    plan = schedule(network(("in", "a"), ("a", "a", 1), ("a", "a", 2), ("a", "out")))
    assert plan.depths == {"in": 0, "a": 1, "out": 2}
    assert plan.lags == (0, 0, 1, 0)


def test_a_loop_over_two_layers_needs_two_steps() -> None:
    """With delays 0 + 2 (a -> b -> a): b is one synapse behind a, so the way back has 2 - 1 - 1 = 0 steps to wait.

    With delays 1 + 1, b may see a frame when a does, or a step later: the longest path decides. A third layer outside
    waits for both.
    """
    plan = schedule(network(("in", "a"), ("a", "b"), ("b", "a", 2), ("b", "out")))
    assert plan.depths == {"in": 0, "a": 1, "b": 2, "out": 3}
    assert plan.lags == (0, 0, 0, 0)
    plan = schedule(network(("in", "a"), ("in", "b"), ("a", "b", 1), ("b", "a", 1), ("a", "out"), ("b", "out")))
    assert plan.depths == {"in": 0, "a": 1, "b": 1, "out": 2}
    assert plan.lags == (0, 0, 0, 0, 0, 0)


def test_a_loop_that_is_faster_than_its_synapses_is_refused() -> None:
    with pytest.raises(InputError, match=r"(a -> b -> a|b -> a -> b) \(2 synapses, delay 1\) has no time .* needs 2"):
        schedule(network(("in", "a"), ("a", "b"), ("b", "a", 1), ("b", "out")))


@given(case=random_networks.int_networks())
def test_every_branch_delivers_the_same_frame(case: tuple[IntNetwork, Any]) -> None:
    """Frame f, sent at first_step + f and held `lag` steps, arrives with frame f + delay of the target."""
    net, _ = case
    plan: Plan = schedule(net)
    for c, lag in zip(net.connections, plan.lags, strict=True):
        assert lag >= c.delay
        assert plan.first_step(c.source) + lag + 1 == plan.first_step(c.target) + c.delay
    assert min(plan.depths.values()) == 0
    assert plan.depth < len(net.populations)
