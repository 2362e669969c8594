"""NIR graph -> network: the same signals as the graph, and all that has no exact counterpart refused by name."""

import itertools
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy.ir.contracts import check_network
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Junction
from deploy.ir.populations.lif import Lif
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from graphs import DT_S, cubalif, lif
from svformer.common.errors import InputError


def chain(*middle: nir.NIRNode, shape: tuple[int, ...] = (2,)) -> nir.NIRGraph:
    """Input, nodes in a row under the names n0, n1, .., and an output that takes what the last gives."""
    nodes = {"in": graphs.entry(*shape), **{f"n{i}": node for i, node in enumerate(middle)}}
    given = middle[-1].output_type["output"] if middle else np.array(shape)
    return graphs.chain({**nodes, "out": nir.Output(given)}, T=3)


def refused(graph: nir.NIRGraph, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        from_nir(graph, **options)
    return str(caught.value)


def test_every_node_gives_what_the_graph_gives() -> None:
    """Neurons of three kinds, each with its own time constant, gain and threshold; a shortcut; delays; attention."""
    rng = np.random.default_rng(0)
    shape = (6, 4, 4)
    nodes = {
        "in": nir.Input(np.array([2, 4, 4])),
        "conv": nir.Conv2d((4, 4), rng.normal(size=(6, 1, 3, 3)), 1, "same", 1, 2, rng.normal(size=6), metadata={}),
        "lif": lif(*shape, tau=rng.uniform(1e-3, 4e-3, shape), r=rng.uniform(1, 3, shape)),
        "attention": SpikingAttention(np.array(shape), heads=2, scale=0.3),
        "if": graphs.integrate_and_fire(2, 4, 4, r=rng.uniform(300, 3000, (2, 4, 4))),
        "delay": nir.Delay(np.full((2, 4, 4), 2 * DT_S)),
        "sum": Junction(np.array([2, 4, 4])),
        "flat": nir.Flatten(np.array([2, 4, 4]), 0, -1),
        "linear": nir.Linear(rng.normal(size=(5, 32))),
        "threshold": nir.Threshold(rng.uniform(0.1, 1, 5)),
        "affine": nir.Affine(rng.normal(size=(3, 5)), rng.normal(size=3)),
        "out": nir.Output(np.array([3])),
    }
    names = [name for name in nodes if name != "delay"]
    edges = [*itertools.pairwise(names), ("in", "delay"), ("delay", "sum")]
    graph = graphs.graph(nodes, edges, T=6)
    frames = rng.normal(size=(2, 6, 2, 4, 4))
    network, expected = from_nir(graph), interpret(graph, frames)
    check_network(network, after="from_nir")
    found = run_float(network, frames)
    assert list(found) == list(expected)
    for name, signal in expected.items():
        np.testing.assert_allclose(found[name].reshape(signal.shape), signal, atol=1e-9, err_msg=name)
        if isinstance(network.populations[name], Lif):
            assert 0 < signal.mean() < 1, name  # a silent layer would prove nothing


def test_a_gain_moves_into_the_threshold() -> None:
    """`v <- v + dt / tau (r x - v)` with tau = 4 dt, r = 2: v' = v tau / (r dt), decay 1/4, threshold 1 * 4 / 2."""
    neurons = from_nir(chain(lif(2, tau=4e-3, r=2.0))).populations["n0"]
    assert isinstance(neurons, Lif)
    assert neurons.decay.tolist() == [[[0.25]]]
    assert neurons.threshold.tolist() == [[[2.0]]]


def test_potentials_are_counted_from_the_reset_potential() -> None:
    """V <- v + (0.3 - v + 2 x) / 4, threshold 1, reset to -0.5, at rest at 0.3; one unit of x adds 2 / 4 = 0.5 to v.

    So threshold (1 + 0.5) / 0.5 = 3, a leak current of (0.3 + 0.5) / 4 / 0.5 = 0.4, a start at (0.3 + 0.5) / 0.5 = 1.6.
    """
    neurons = from_nir(chain(lif(2, tau=4e-3, r=2.0, v_leak=0.3, v_reset=-0.5))).populations["n0"]
    assert isinstance(neurons, Lif)
    values = [values.item() for values in (neurons.threshold, neurons.bias, neurons.start)]
    assert values == pytest.approx([3.0, 0.4, 1.6])
    assert from_nir(chain(lif(2, v_leak=0.2, v_reset=0.2))).populations["n0"].start is None  # at rest where it resets


def test_a_negative_gain_stands_in_front_of_the_neurons() -> None:
    network = from_nir(chain(lif(2, tau=4e-3, r=np.array([2.0, -4.0]))))
    neurons, operation = network.populations["n0"], network.connections[0].operation
    assert isinstance(neurons, Lif)
    assert isinstance(operation, Convolution)
    assert operation.weight.ravel().tolist() == [1, -1]
    assert neurons.threshold.ravel().tolist() == [2, 1]


def test_a_current_with_memory_is_loihis() -> None:
    """U <- u + (w x - u) / 3 and v <- v + (r u - v) / 4: in units of one unit of x, which adds r w / 12 in all."""
    neurons = from_nir(chain(cubalif(2, w_in=3.0, r=2.0))).populations["n0"]
    assert isinstance(neurons, Lif)
    assert neurons.current_decay is not None
    assert (neurons.current_decay.item(), neurons.decay.item()) == pytest.approx((1 / 3, 1 / 4))
    assert neurons.threshold.item() == pytest.approx(1 / (3 * 2 / 12))


def test_a_bias_in_front_of_a_current_with_memory() -> None:
    """X = b always: u = b (1 - (1 - c)^t) / c; a bias of b / c for v, and a current that begins at -b / c."""
    network = lower(chain(nir.Affine(np.eye(2), np.array([0.6, -0.3])), cubalif(2)))
    neurons = network.populations["n1"]
    assert isinstance(neurons, Lif)
    assert neurons.bias.ravel() == pytest.approx([1.8, -0.9])
    assert neurons.start_current is not None
    assert neurons.start_current.ravel() == pytest.approx([-1.8, 0.9])
    spikes = run_float(network, np.zeros((1, 8, 2, 1, 1)))["n1"]
    expected = interpret(chain(nir.Affine(np.eye(2), np.array([0.6, -0.3])), cubalif(2)), np.zeros((1, 8, 2)))["n1"]
    np.testing.assert_array_equal(spikes.reshape(expected.shape), expected)


def test_a_threshold_that_is_not_positive_gets_a_bias() -> None:
    """X > -2, x > 0 and x > 3 as y > 2, y > 1 and y > 3, with y = x + 4, x + 1 and x: the chip's neurons start at 0."""
    graph = chain(nir.Threshold(np.array([-2.0, 0.0, 3.0])), shape=(3,))
    neurons = from_nir(graph).populations["n0"]
    assert isinstance(neurons, Lif)
    assert neurons.threshold.ravel().tolist() == [2, 1, 3]
    assert neurons.bias.ravel().tolist() == [4, 1, 0]
    x = np.array([[[-2.0, 0.0, 3.0], [-1.9, 0.1, 3.1], [-3.0, -1.0, -5.0]]])
    assert interpret(graph, x)["n0"].tolist() == [[[0, 0, 0], [1, 1, 1], [0, 0, 0]]]


def test_a_factor_for_every_channel_is_a_depthwise_convolution_and_one_for_every_pixel_a_gain() -> None:
    by_channel = np.arange(1.0, 4.0)[:, None, None] * np.ones((3, 2, 2))
    (connection,) = from_nir(chain(nir.Scale(by_channel), shape=(3, 2, 2))).into("n0")
    assert isinstance(connection.operation, Convolution)
    assert connection.operation.geometry.groups == 3
    assert connection.operation.weight.ravel().tolist() == [1, 2, 3]
    by_pixel = np.arange(12.0).reshape(3, 2, 2)
    (connection,) = from_nir(chain(nir.Scale(by_pixel), shape=(3, 2, 2))).into("n0")
    assert connection.gain is not None
    assert connection.gain.tolist() == [by_pixel.tolist()]


def test_neurons_with_delays_of_their_own_get_a_connection_for_each() -> None:
    network = from_nir(chain(nir.Delay(np.array([0.0, 2e-3, 2e-3])), shape=(3,)))
    at_once, late = network.into("n0")
    assert (at_once.delay, late.delay) == (0, 2)
    assert [c.operation.weight.ravel().tolist() for c in (at_once, late)] == [[1, 0, 0], [0, 1, 1]]


def recurrent(*behind: nir.NIRNode, node: nir.NIRNode) -> nir.NIRGraph:
    """A node that receives its own messages through those behind it, and sends to the output."""
    graph, last = chain(node, *behind), f"n{len(behind)}"
    graph.edges = [edge for edge in graph.edges if edge[1] != "out"] + [(last, "n0"), ("n0", "out")]
    return graph


def test_a_loop_through_neurons_is_mapped_with_its_delay() -> None:
    network = from_nir(recurrent(nir.Linear(np.eye(2)), node=lif(2)))
    assert {(c.source, c.target): c.delay for c in network.connections if c.delay} == {("n0", "n1"): 1}
    assert network.notes == ("n0 -> n1 closes a loop: late by 1 time step",)
    lowered = lower(recurrent(nir.Linear(np.eye(2)), node=lif(2)))
    assert [(c.source, c.target, c.delay) for c in lowered.connections if c.source == c.target] == [("n0", "n0", 1)]


def test_a_loop_that_nothing_bounds_is_refused_by_name() -> None:
    leaky = nir.LI(tau=np.full(2, 2e-3), r=np.ones(2), v_leak=np.zeros(2))
    graph = recurrent(nir.Linear(np.eye(2)), node=leaky)
    assert interpret(graph, np.ones((1, 3, 2)))["n0"].any()  # it has a meaning
    assert "n0, n1: a loop of graded values, which nothing bounds" in refused(graph).replace("n1, n0", "n0, n1")


def test_parameters_are_kept_as_compact_as_they_are() -> None:
    one, three = np.ones((3, 2, 2)), np.arange(1.0, 4.0)[:, None, None] * np.ones((3, 2, 2))
    pixel = one.copy()
    pixel[0, 0, 1] = 2
    for threshold, shape in [(one, (1, 1, 1)), (three, (3, 1, 1)), (pixel, (3, 2, 2))]:
        neurons = from_nir(chain(lif(3, 2, 2, v_threshold=threshold), shape=(3, 2, 2))).populations["n0"]
        assert isinstance(neurons, Lif)
        assert neurons.threshold.shape == shape


def test_time_step_and_clip_length_come_from_the_graph_or_from_the_call() -> None:
    graph = chain(lif(2, tau=4e-3))
    assert from_nir(graph).frames == 3
    assert from_nir(graph, frames=7).frames == 7
    neurons = from_nir(graph, dt_s=2e-3).populations["n0"]
    assert isinstance(neurons, Lif)
    assert neurons.decay.item() == 0.5
    graph.metadata = {"dt": DT_S}
    assert "no 'T'" in refused(graph)
    graph.metadata = {"T": 3}
    assert "no 'dt'" in refused(graph)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (lif(2, tau=0.5e-3), "tau is shorter than one time step of 0.001 s (dt / tau up to 2)"),
        (lif(2, tau=[-1e-3, -5e-3]), "tau down to -0.005 s (2 of 2 neurons); allowed: above 0"),
        (cubalif(2, tau_syn=np.inf), "tau_syn with values that are not finite"),
        (lif(2, r=np.inf), "r with values that are not finite"),
        (lif(2, v_threshold=-np.inf), "v_threshold with values that are not finite"),
        (cubalif(2, tau_syn=0.5e-3), "tau_syn is shorter than one time step of 0.001 s (dt / tau_syn up to 2)"),
        (lif(2, v_threshold=0.0), "a threshold that is not above the reset potential"),
        (lif(2, v_reset=1.0), "a threshold that is not above the reset potential"),
        (lif(2, v_threshold=np.nan), "v_threshold with values that are not finite numbers"),
        (nir.Linear(np.full((3, 2), np.inf)), "weight with values that are not finite numbers"),
        (graphs.integrate_and_fire(2, v_threshold=0.0), "a threshold that is not above"),
        (nir.Delay(np.array([1e-3, 1.5e-3])), "a delay of [1.0, 1.5] time steps"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused(node: nir.NIRNode, reason: str) -> None:
    assert reason in refused(chain(node))


def test_all_offenders_are_named_at_once() -> None:
    message = refused(chain(nir.Scale(np.full(2, np.nan)), lif(2), lif(2, v_threshold=-1.0)))
    assert message.startswith("2 nodes cannot be mapped: n0: scale with values that are not finite")
    assert "; n2: a threshold" in message


def test_a_dense_layer_over_anything_but_a_vector_is_refused() -> None:
    """Torch's Linear maps the last dimension and keeps the others; here that would be another layer."""
    behind = (lif(2, 4), nir.Linear(np.ones((3, 4))), lif(2, 3))
    assert "put a Flatten in front" in refused(chain(*behind, shape=(2, 4)))
    side_by_side = (lif(2, 4), nir.Linear(np.ones((2, 3, 4))), lif(2, 3))
    assert "put a Flatten in front" in refused(chain(*side_by_side, shape=(2, 4)))


def test_attention_takes_the_spikes_of_one_layer() -> None:
    """It is not linear: two edges into it are not two attentions; and its bounds hold for spikes only."""
    shape = (3, 2, 2)
    attention, junction = SpikingAttention(np.array(shape), heads=1, scale=1.0), Junction(np.array(shape))
    assert "found Input" in refused(chain(attention, shape=shape))
    assert "found Junction" in refused(chain(lif(*shape), junction, attention, shape=shape))
    graph = chain(lif(*shape), attention, shape=shape)
    graph.nodes["other"] = lif(*shape)
    graph.edges += [("in", "other"), ("other", "n1")]
    assert "found LIF + LIF" in refused(graph)


def test_an_input_and_an_output_are_needed() -> None:
    graph = chain(lif(2))
    del graph.nodes["out"]
    graph.edges.remove(("n0", "out"))
    assert "an Input and an Output node are needed, found ['in'] and []" in refused(graph)


def test_a_graph_that_does_not_hang_together_is_refused() -> None:
    graph = chain(lif(2), lif(2))
    graph.edges.append(("n1", "n0"))
    graph.nodes |= {"n0": nir.Scale(np.ones(2)), "n1": nir.Scale(np.ones(2))}
    assert "a loop through n0, n1 without a neuron or a delay" in refused(graph)
    assert "takes shape (3,), found (2,)" in refused(chain(lif(3)))
