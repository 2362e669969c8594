"""What a graph means: loops, graphs in graphs, edges that meet; and what has no meaning."""

import itertools
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from deploy.ir.interpreter import interpret
from deploy.ir.operations.identity import Junction
from graphs import DT_S
from svformer.common.errors import InputError

seeds = st.integers(0, 2**32 - 1)


def recurrent(weight: NDArray[Any], bias: NDArray[Any], **inside: nir.NIRNode) -> nir.NIRGraph:
    """Neurons that get their own spikes back through a dense layer, and nodes in front of it."""
    count = len(bias)
    nodes = {
        "in": graphs.entry(count),
        "lif": graphs.lif(count, r=2.0),
        **inside,
        "w_rec": nir.Affine(weight, bias),
        "out": graphs.result(count),
    }
    back = ["lif", *inside, "w_rec", "lif"]
    edges = [("in", "lif"), *itertools.pairwise(back), ("lif", "out")]
    return graphs.graph(nodes, edges)


@given(seed=seeds, delay=st.integers(0, 3))
def test_recurrence_is_what_a_loop_over_time_gives(seed: int, delay: int) -> None:
    """v[t] = v[t-1] / 2 + x[t] + W s[t-1] + b, as in a recurrent layer of norse or snnTorch; with a Delay of k: s[t-k].

    The bias is there from the first step on.
    """
    rng = np.random.default_rng(seed)
    weight, bias, x = rng.normal(size=(5, 5)), rng.normal(size=5) * 0.3, rng.normal(0.5, 1.0, size=(1, 20, 5))
    held = {"delay": nir.Delay(np.full(5, delay * DT_S))} if delay else {}
    late = max(delay, 1)
    spikes, v = np.zeros((20, 5)), np.zeros(5)
    for t in range(20):
        v = v / 2 + x[0, t] + (weight @ spikes[t - late] if t >= late else 0) + bias
        spikes[t] = v > 1
        v = np.where(spikes[t] > 0, 0, v)
    found = interpret(recurrent(weight, bias, **held), x)
    np.testing.assert_array_equal(found["lif"][0], spikes)
    np.testing.assert_array_equal(found["out"][0], spikes)


def test_layers_in_a_loop_follow_each_other_and_one_edge_is_late() -> None:
    """X -> a -> b -> a: b follows a in the same step, a receives from b a step later. Thresholds 0.5, no memory.

    A pulse in step 0: a and b fire; then a receives b's spike (weight 1) in step 1, and so on: they keep firing.
    """
    neuron = graphs.lif(1, tau=DT_S, v_threshold=0.5)
    nodes = {
        "in": graphs.entry(1),
        "a": neuron,
        "b": neuron,
        "out": graphs.result(1),
    }
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]
    graph = graphs.graph(nodes, edges)
    found = interpret(graph, np.array([0, 1, 0, 0, -1, 0]).reshape(1, 6, 1))
    assert found["a"].ravel().tolist() == [0, 1, 1, 1, 0, 0]
    assert found["b"].ravel().tolist() == [0, 1, 1, 1, 0, 0]


def test_in_a_loop_with_two_entrances_both_edges_are_late() -> None:
    """Neither comes first: x -> a, x -> b, a -> b and b -> a with weight 1: a pulse at a alone goes to and fro."""
    neuron = graphs.lif(1, tau=DT_S, v_threshold=0.5)
    nodes = {
        "in": graphs.entry(2),
        "to_a": nir.Linear(np.array([[1.0, 0.0]])),
        "to_b": nir.Linear(np.array([[0.0, 1.0]])),
        "a": neuron,
        "b": neuron,
    }
    edges = [("in", "to_a"), ("in", "to_b"), ("to_a", "a"), ("to_b", "b"), ("a", "b"), ("b", "a")]
    graph = graphs.graph(nodes, edges)
    x = np.zeros((1, 5, 2))
    x[0, 0, 0] = 1
    found = interpret(graph, x)
    assert found["a"].ravel().tolist() == [1, 0, 1, 0, 1]
    assert found["b"].ravel().tolist() == [0, 1, 0, 1, 0]


def test_a_graph_inside_a_graph_is_as_if_its_nodes_stood_outside() -> None:
    """As snnTorch writes a recurrent layer."""
    rng = np.random.default_rng(0)
    flat = recurrent(rng.normal(size=(4, 4)), rng.normal(size=4))
    inner = nir.NIRGraph(dict(flat.nodes), list(flat.edges), type_check=False)
    nodes = {"input": graphs.entry(4), "layer": inner, "output": graphs.result(4)}
    nested = graphs.chain(nodes)
    x = rng.normal(size=(2, 10, 4))
    found, expected = interpret(nested, x), interpret(flat, x)
    assert list(found) == ["input", "layer.w_rec", "layer.lif", "output"]
    np.testing.assert_array_equal(found["layer.lif"], expected["lif"])
    assert expected["lif"].any()


def test_edges_that_meet_are_summed_also_when_one_is_there_twice() -> None:
    nodes = {
        "in": graphs.entry(1),
        "tenfold": nir.Scale(np.array([10.0])),
        "sum": Junction(np.array([1])),
        "twice": graphs.result(1),
    }
    edges = [("in", "tenfold"), ("in", "sum"), ("tenfold", "sum"), ("sum", "twice"), ("sum", "twice")]
    signals = interpret(graphs.graph(nodes, edges), np.ones((1, 1, 1)))
    assert signals["sum"].item() == 11
    assert signals["twice"].item() == 22


def test_the_time_step_must_be_known() -> None:
    """A wrong time step is the most silent error of NIR: there is no default."""
    nodes = {"in": graphs.entry(1), "lif": graphs.lif(1)}
    graph = nir.NIRGraph(nodes, [("in", "lif")], type_check=False)
    with pytest.raises(InputError, match="no 'dt'"):
        interpret(graph, np.ones((1, 1, 1)))
    # dt / tau = 1/2, v = 0.75 x: no spike for x = 1.2 at dt = 1 ms; at dt = 2 ms v = x at once
    assert interpret(graphs.with_dt(graph, 1e-3), np.full((1, 1, 1), 1.2))["lif"].item() == 0
    assert interpret(graphs.with_dt(graph, 2e-3), np.full((1, 1, 1), 1.2))["lif"].item() == 1


def test_nodes_without_a_meaning_here_are_refused() -> None:
    class Unheard(nir.NIRNode):
        def __init__(self) -> None:
            self.input_type, self.output_type, self.metadata = {"input": None}, {"output": None}, {}

    graph = graphs.chain({"in": graphs.entry(1), "node": Unheard()})
    with pytest.raises(InputError, match="node: nodes of type Unheard are not supported"):
        interpret(graph, np.ones((1, 1, 1)))
