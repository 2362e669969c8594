"""NIR graph -> network: the same signals as the graph, and all that has no exact counterpart refused by name."""

import itertools
from typing import Any

import nir
import numpy as np
import pytest

from deploy.frontend.from_nir import from_nir
from deploy.ir.contracts import check_network
from deploy.ir.interpreter import interpret
from deploy.ir.network import Lif, run_float
from deploy.ir.nodes import Junction, SpikingAttention
from svformer.errors import InputError

DT_S = 1e-3


def chain(*middle: nir.NIRNode, shape: tuple[int, ...] = (2,)) -> nir.NIRGraph:
    """Input, nodes in a row under the names n0, n1, .., and an output that takes what the last gives."""
    nodes = {"in": nir.Input(np.array(shape)), **{f"n{i}": node for i, node in enumerate(middle)}}
    given = middle[-1].output_type["output"] if middle else np.array(shape)
    nodes["out"] = nir.Output(given)
    metadata = {"dt": DT_S, "T": 3}
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata=metadata, type_check=False)


def lif(*shape: int, **changes: Any) -> nir.LIF:
    values = {"tau": 2e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(**{name: np.broadcast_to(value, shape).copy() for name, value in values.items()})


def cubalif(*shape: int, **changes: Any) -> nir.CubaLIF:
    values = {"tau_syn": 3e-3, "tau_mem": 4e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.CubaLIF(**{name: np.broadcast_to(value, shape).copy() for name, value in values.items()})


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
        "if": nir.IF(r=rng.uniform(300, 3000, (2, 4, 4)), v_threshold=np.ones((2, 4, 4)), v_reset=np.zeros((2, 4, 4))),
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
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": DT_S, "T": 6}, type_check=False)
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
        (lif(2, tau=-1e-3), "tau is shorter than one time step"),
        (cubalif(2, tau_syn=0.5e-3), "tau_syn is shorter than one time step of 0.001 s (dt / tau_syn up to 2)"),
        (lif(2, v_threshold=0.0), "a threshold that is not above the reset potential"),
        (lif(2, v_reset=1.0), "a threshold that is not above the reset potential"),
        (lif(2, v_threshold=np.nan), "v_threshold with values that are not finite numbers"),
        (nir.Linear(np.full((3, 2), np.inf)), "weight with values that are not finite numbers"),
        (nir.IF(r=np.ones(2), v_threshold=np.zeros(2), v_reset=np.zeros(2)), "a threshold that is not above"),
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


def test_one_input_and_one_output_are_needed() -> None:
    graph = chain(lif(2))
    graph.nodes["in2"] = nir.Input(np.array([2]))
    graph.edges.append(("in2", "n0"))
    assert "found ['in', 'in2'] and ['out']" in refused(graph)


def test_a_graph_that_does_not_hang_together_is_refused() -> None:
    graph = chain(lif(2), lif(2))
    graph.edges.append(("n1", "n0"))
    graph.nodes |= {"n0": nir.Scale(np.ones(2)), "n1": nir.Scale(np.ones(2))}
    assert "a loop through n0, n1 without a neuron or a delay" in refused(graph)
    assert "takes shape (3,), found (2,)" in refused(chain(lif(3)))
