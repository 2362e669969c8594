"""Loops that are faster than their synapses, and the time steps that `--loop-delay` gives them."""

from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy import lower, quantize, simulate
from deploy.ir.interpreter import interpret
from deploy.ir.repairs import repairs_of
from deploy.passes.loop_delay import with_loop_delays
from deploy.passes.loop_speed import fast_loop
from svformer.common.errors import InputError

FRAMES = 12
RELAXED = {"tau": 1e-3}  # one time step: a neuron fires when its input at that very step is above 1


def linear(weight: float, size: int = 1) -> nir.Linear:
    return nir.Linear(np.full((size, size), weight))


def ring(layers: int, *, delay: int | None = None) -> nir.NIRGraph:
    """`layers` neurons one after the other, and the last back to the first; each passes a spike on at once."""
    nodes: dict[str, nir.NIRNode] = {"in": graphs.entry(1)}
    edges = [("in", "n0")]
    for i in range(layers):
        nodes |= {f"n{i}": graphs.lif(1, **RELAXED), f"w{i}": linear(2.0)}
        edges += [(f"n{i}", f"w{i}"), (f"w{i}", f"n{(i + 1) % layers}")]
    if delay is not None:
        nodes["wait"] = nir.Delay(np.array([delay * graphs.DT_S]))
        edges = [*edges[:-1], (f"w{layers - 1}", "wait"), ("wait", "n0")]
    nodes["out"] = graphs.result(1)
    return graphs.graph(nodes, [*edges, (f"n{layers - 1}", "out")], T=FRAMES)


def pulse() -> np.ndarray[Any, Any]:
    x_NT = np.zeros((1, FRAMES, 1))
    x_NT[0, 0] = 2.0
    return x_NT


def fires(graph: nir.NIRGraph, name: str = "n0") -> list[int]:
    """Time steps in which a neuron fires after one pulse at step 0."""
    return np.flatnonzero(interpret(graph, pulse())[name]).tolist()


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_a_ring_takes_as_many_steps_as_synapses(layers: int) -> None:
    """A pulse goes round in the 1 step of NIR's rule before; in as many steps as there are layers after it."""
    fast = ring(layers)
    assert fires(fast) == list(range(FRAMES))
    slow = with_loop_delays(fast, merge="always")
    assert fires(slow) == list(range(0, FRAMES, layers))
    (note,) = repairs_of(slow)
    assert f"adds {layers - 1} time step" in note
    assert note in lower(slow).notes


def test_a_ring_with_a_delay_of_its_own_gets_what_lacks() -> None:
    """Three synapses, a Delay of 2 steps: one more."""
    slow = with_loop_delays(ring(3, delay=2), merge="always")
    assert fires(slow) == [0, 3, 6, 9]
    assert "adds 1 time step" in "".join(repairs_of(slow))


def test_a_loop_that_has_its_time_is_left_as_it_is() -> None:
    for graph in (ring(1), ring(3, delay=3), ring(2, delay=5)):
        slow = with_loop_delays(graph, merge="always")
        assert set(slow.nodes) == set(graph.nodes)
        assert not repairs_of(slow)


def test_every_way_round_gets_its_time() -> None:
    """n0 -> n1 -> n0 lacks 1 step; n0 -> n1 -> n2 -> n0 closes over another edge and lacks 2."""
    graph = ring(3)
    graph.nodes["back"] = linear(2.0)
    graph.edges += [("n1", "back"), ("back", "n0")]
    slow = with_loop_delays(graph, merge="always")
    assert fast_loop(lower(slow).connections) is None
    assert len(repairs_of(slow)) == 2
    assert fires(slow) == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]  # sums of 2 and 3


def test_two_layers_that_hear_each_other_run_as_integers() -> None:
    rng = np.random.default_rng(1)
    nodes = {
        "in": graphs.entry(4),
        "a": graphs.lif(4),
        "there": nir.Linear(rng.normal(1, 2, (6, 4))),
        "b": graphs.lif(6),
        "back": nir.Linear(rng.normal(0, 2, (4, 6))),
        "out": graphs.result(6),
    }
    edges = [("in", "a"), ("a", "there"), ("there", "b"), ("b", "back"), ("back", "a"), ("b", "out")]
    graph = graphs.graph(nodes, edges, T=FRAMES)
    clips = rng.uniform(0, 4, (3, FRAMES, 4))
    with pytest.raises(InputError, match="--loop-delay adds the 1 that it lacks"):
        simulate(quantize(lower(graph), clips), clips, backend="integer")
    slow = with_loop_delays(graph, merge="always")
    network = lower(slow)
    expected, found = interpret(slow, clips), simulate(quantize(network, clips), clips, backend="integer").signals
    same = [np.mean(found[name].reshape(expected[name].shape) == expected[name]) for name in ("a", "b")]
    assert np.mean(expected["b"]) > 0.05
    assert min(same) > 0.9
