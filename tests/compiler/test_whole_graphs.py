"""Graphs with several Inputs and Outputs, with parts that no Input reaches, and with parameters without end."""

import itertools
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy.ir.canonical import canonical
from deploy.ir.integer import as_images, run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.loops import late_edges
from deploy.ir.network import run_float
from deploy.ir.types import Array
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from graphs import entry, lif, result
from svformer.common.errors import InputError

STEPS = 12
RNG = np.random.default_rng(0)
W, V = RNG.normal(size=(2, 5, 5))
Nodes = dict[str, nir.NIRNode]
Edges = list[tuple[str, str]]


def euler(current_TC: Array, *, leak: float = 0.0, rate: Any = 0.5, kept: Any = 1.0) -> Array:
    """Spikes of neurons `v <- v + rate (kept (leak - v) + x)` above 1, from v = leak, reset to 0: plain NumPy."""
    v, spikes = np.zeros(current_TC.shape[1:]) + leak, np.zeros_like(current_TC)
    for t, current in enumerate(current_TC):
        v = v + rate * (kept * (leak - v) + current)
        spikes[t] = v > 1
        v = np.where(spikes[t], 0.0, v)
    return spikes


def clip(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, 2, (1, STEPS, *shape)).astype(np.float64)


def agree(nodes: Nodes, edges: Edges, x: Array, **expected: Array) -> tuple[str, ...]:
    """The notes of a graph whose layers give these spikes: interpreted, lowered, and (but for a few spikes) in
    integers.
    """
    graph = graphs.graph(nodes, edges, T=STEPS)
    network, signals = lower(graph), interpret(graph, x)
    found = run_float(network, as_images(x, network))
    integer = quantize(network, as_images(x, network))
    rounded = run_integer(integer, as_images(x, network))
    for name, spikes in expected.items():
        assert 0 < spikes.mean() < 1, name  # a silent layer would prove nothing
        np.testing.assert_array_equal(signals[name][0], spikes, err_msg=name)
        np.testing.assert_array_equal(found[name].reshape(signals[name].shape)[0], spikes, err_msg=name)
        assert np.mean(rounded[name].reshape(signals[name].shape)[0] != spikes) < 0.05, name
    return network.notes


def refused(nodes: Nodes, edges: Edges, **metadata: Any) -> str:
    with pytest.raises(InputError) as caught:
        from_nir(graphs.graph(nodes, edges, T=STEPS, **metadata))
    return str(caught.value)


# Inputs


def test_several_inputs_are_one_of_all_their_channels() -> None:
    """Channels 0 to 1 of the clip are those of a, 2 to 4 those of b."""
    nodes = {
        "a": entry(2),
        "b": entry(3),
        "l": nir.Linear(W[:, :2]),
        "m": nir.Linear(W[:, 2:]),
        "n": lif(5),
        "out": result(5),
    }
    edges = [("a", "l"), ("b", "m"), ("l", "n"), ("m", "n"), ("n", "out")]
    x = clip(5)
    notes = agree(nodes, edges, x, n=euler(x[0] @ W.T))
    assert notes[0] == "2 Inputs are one of shape [5], whose channels are a 0 to 1, b 2 to 4"


@pytest.mark.parametrize("pixels", [(3,), (3, 2)], ids=["lines", "images"])
def test_inputs_of_images_are_one_image(pixels: tuple[int, ...]) -> None:
    nodes = {
        "a": entry(1, *pixels),
        "b": entry(2, *pixels),
        "n": lif(1, *pixels),
        "m": lif(2, *pixels),
        "out": result(2, *pixels),
    }
    x = clip(3, *pixels)
    edges = [("a", "n"), ("b", "m"), ("m", "out")]
    agree(nodes, edges, 3 * x, n=euler(3 * x[0, :, :1]), m=euler(3 * x[0, :, 1:]))


def test_inputs_that_are_no_channels_of_one_image_are_refused() -> None:
    nodes = {"a": entry(2), "b": entry(2, 3, 3), "n": lif(2), "m": lif(2, 3, 3), "out": result(2)}
    message = refused(nodes, [("a", "n"), ("b", "m"), ("n", "out")])
    assert (
        "Inputs that do not go into one: a [2], b [2, 3, 3]; allowed: the same shape but for the first axis" in message
    )


def test_an_edge_into_an_input_is_refused() -> None:
    nodes = {"in": entry(2), "n": lif(2), "out": result(2)}
    message = refused(nodes, [("in", "n"), ("n", "out"), ("n", "in")])
    assert "edge n -> in leads into an Input; allowed: edges out of it" in message


# Outputs


def two_outputs() -> tuple[Nodes, Edges]:
    nodes = {"in": entry(2), "n": lif(2), "m": lif(2), "o": result(2), "p": result(2)}
    return nodes, [("in", "n"), ("n", "o"), ("n", "m"), ("m", "p")]


def test_the_first_output_is_the_result_and_the_metadata_may_name_another() -> None:
    nodes, edges = two_outputs()
    first = from_nir(graphs.graph(nodes, edges, T=STEPS))
    assert first.output == "o"
    assert "p" not in first.populations
    assert "m" in first.populations  # what leads to the other Output runs all the same
    assert first.notes == ("the result is read at o; other Outputs: p (--output chooses)",)
    assert from_nir(graphs.graph(nodes, edges, T=STEPS, output="p")).output == "p"
    assert "the result is to be read at q; allowed: o, p" in refused(nodes, edges, output="q")


# Parts without input


def test_a_layer_without_input_runs_on_its_leak() -> None:
    """V <- v + (1.5 - v) / 2 from 1.5: spikes at steps 0, 2, 4, ..: 0.75 after a reset, then 1.125."""
    nodes = {
        "in": entry(5),
        "l": nir.Linear(W),
        "osc": lif(5, v_leak=1.5),
        "w": nir.Linear(V),
        "n": lif(5),
        "out": result(5),
    }
    edges = [("in", "l"), ("l", "n"), ("osc", "w"), ("w", "n"), ("n", "out")]
    x, osc = clip(5), euler(np.zeros((STEPS, 5)), leak=1.5)
    assert osc[:, 0].tolist() == [1, 0] * (STEPS // 2)
    notes = agree(nodes, edges, x, osc=osc, n=euler(x[0] @ W.T + osc @ V.T))
    assert "osc: no edge leads to it, so nothing arrives there" in notes


def test_a_dense_layer_without_input_gives_its_bias() -> None:
    bias = np.arange(5.0)
    nodes = {"in": entry(5), "b": nir.Affine(np.ones((5, 3)), bias), "n": lif(5), "out": result(5)}
    edges = [("in", "n"), ("b", "n"), ("n", "out")]
    x = clip(5)
    agree(nodes, edges, x, n=euler(x[0] + bias))


def test_a_node_that_does_not_say_its_shape_needs_an_input() -> None:
    nodes = {"in": entry(5), "one": lif(), "n": lif(5), "out": result(5)}
    edges = [("in", "n"), ("one", "n"), ("n", "out")]
    assert "one (LIF) has no input, and does not say what shape it takes" in refused(nodes, edges)


def test_a_node_without_any_edge_is_left_out() -> None:
    nodes = {"in": entry(5), "n": lif(5), "x": lif(7), "out": result(5), "p": result(3)}
    network = from_nir(graphs.graph(nodes, [("in", "n"), ("n", "out")], T=STEPS))
    assert list(network.populations) == ["in", "n", "out"]
    assert network.notes == ("x (LIF) has no edge, and is left out", "p (Output) has no edge, and is left out")


def alone(leads_on: bool) -> tuple[Nodes, Edges, Array]:
    """A layer that hears itself a step later, and that no Input reaches; its spikes by hand."""
    nodes = {"in": entry(5), "r": lif(5, v_leak=1.3), "w": nir.Linear(V), "n": lif(5), "out": result(5)}
    edges = [("in", "n"), ("r", "w"), ("w", "r"), ("n", "out"), *([("r", "n")] if leads_on else [])]
    v, before, spikes = np.full(5, 1.3), np.zeros(5), np.zeros((STEPS, 5))
    for t in range(STEPS):
        v = v + 0.5 * (1.3 - v + V @ before)
        spikes[t] = before = (v > 1) * 1.0
        v = np.where(before, 0.0, v)
    return nodes, edges, spikes


def test_a_loop_that_no_input_reaches_runs() -> None:
    x = 3 * clip(5)
    nodes, edges, spikes = alone(leads_on=True)
    notes = agree(nodes, edges, x, r=spikes, n=euler(x[0] + spikes))
    assert "r -> w closes a loop: late by 1 time step" in notes
    nodes, edges, spikes = alone(leads_on=False)
    agree(nodes, edges, x, r=spikes, n=euler(x[0]))


def test_a_loop_that_no_input_reaches_has_to_fit_itself() -> None:
    nodes = {"in": entry(5), "r": lif(5), "w": nir.Linear(np.ones((4, 5))), "out": result(5)}
    message = refused(nodes, [("r", "w"), ("w", "r"), ("in", "out")])
    assert "takes shape (5,), found (4,)" in message
    nodes |= {"r": lif(), "w": nir.Threshold(np.array(0.5))}
    assert "has no input, and does not say what shape it takes" in refused(
        nodes, [("r", "w"), ("w", "r"), ("in", "out")]
    )


def test_a_loop_begins_where_a_node_without_input_enters_it() -> None:
    """As from an Input: the edge back is late. With another entrance there is none."""
    nodes = {name: lif(1) for name in "sAB"} | {"in": entry(1)}
    assert late_edges(nodes, [("s", "A"), ("A", "B"), ("B", "A")]) == {("B", "A"): 1}
    assert late_edges(nodes, [("s", "A"), ("in", "B"), ("A", "B"), ("B", "A")]) == {("A", "B"): 1, ("B", "A"): 1}
    assert late_edges(nodes, [("A", "B"), ("B", "A")]) == {("A", "B"): 1, ("B", "A"): 1}


def test_what_nothing_reaches_begins_behind_the_entry() -> None:
    """Frame 0 is at the input's depth 0; a layer without input is reset with the layers at depth 1."""
    nodes, edges, _ = alone(leads_on=False)
    x = clip(5)
    network = lower(graphs.graph(nodes, edges, T=STEPS))
    plan = schedule(quantize(network, as_images(x, network)))
    assert plan.depths == {"in": 0, "r": 1, "n": 1}


# Names


def test_an_inner_name_that_an_outer_node_bears_gets_another() -> None:
    inner = graphs.chain({"i": entry(2), "B": lif(2), "o": result(2)})
    nodes = {"x": entry(2), "n.B": lif(2), "n": inner, "y": result(2)}
    found = canonical(graphs.graph(nodes, [("x", "n.B"), ("n.B", "n"), ("n", "y")]))
    assert sorted(found.edges) == [("n.B", "n.B_2"), ("n.B_2", "y"), ("x", "n.B")]
    assert from_nir(found, frames=1).notes == ("n.B: another node bears this name; the one inside n is n.B_2",)


# Parameters without end


def through(node: nir.NIRNode, *behind: nir.NIRNode) -> tuple[Nodes, Edges]:
    nodes = {
        "in": entry(5),
        "l": nir.Linear(W),
        "n": node,
        **{f"b{i}": b for i, b in enumerate(behind)},
        "out": result(5),
    }
    names = list(nodes)
    return nodes, list(itertools.pairwise(names))


def test_an_infinite_time_constant_with_an_infinite_r_adds_the_input() -> None:
    """A framework of steps writes tau = dt / (1 - beta) and r = tau / dt; with beta = 1, v <- v + x."""
    x = clip(5)
    notes = agree(*through(lif(5, tau=np.inf, r=np.inf)), x, n=euler(x[0] @ W.T, rate=1.0, kept=0.0))
    assert notes[0] == "n: 5 of 5 neurons have an infinite time constant and do not leak"


def test_in_a_mixed_layer_it_adds_what_its_neighbours_add() -> None:
    """Tau = 2 ms and 4 ms with r / tau = 250 / s: an input of 1 adds 0.25 in a step of 1 ms, in all of them."""
    tau, r = np.array([2e-3, np.inf, 4e-3, np.inf, 4e-3]), np.array([0.5, np.inf, 1.0, np.inf, 1.0])
    v, spikes, x = np.zeros(5), np.zeros((STEPS, 5)), 4 * clip(5)
    for t in range(STEPS):
        v = v - np.array([0.5, 0, 0.25, 0, 0.25]) * v + 0.25 * (W @ x[0, t])
        spikes[t] = v > 1
        v = np.where(spikes[t], 0.0, v)
    agree(*through(lif(5, tau=tau, r=r)), x, n=spikes)


def test_an_infinite_time_constant_with_a_finite_r_hears_nothing() -> None:
    """The limit of dt / tau r x is 0."""
    nodes, edges = through(lif(5, tau=np.array([2e-3, 2e-3, 2e-3, 2e-3, np.inf])))
    x = 3 * clip(5)
    expected = euler(3 * (x[0] / 3) @ W.T) * np.array([1, 1, 1, 1, 0])
    notes = agree(nodes, edges, x, n=expected)
    assert "n: 1 of 5 neurons have an infinite time constant and a finite r: no input moves them" in notes


def test_an_infinite_threshold_is_never_reached() -> None:
    """Neither in one neuron nor in a whole layer; the thresholds of the others keep their scale."""
    x = clip(5)
    nodes, edges = through(
        lif(5, v_threshold=np.array([1, 1, np.inf, 1, 1])), nir.Linear(V), lif(5, v_threshold=np.inf)
    )
    expected = euler(x[0] @ W.T) * np.array([1, 1, 0, 1, 1])
    notes = agree(nodes, edges, x, n=expected)
    assert "b1: 5 of 5 neurons have an infinite threshold and never fire; an LI would send its potential" in notes
    network = lower(graphs.graph(nodes, edges, T=STEPS))
    assert not run_float(network, as_images(100 * x, network))["b1"].any()
