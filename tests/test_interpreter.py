"""What a node means: single neurons against closed forms, norse and torch, the rest against sums done by hand."""

import itertools
import math
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from numpy.typing import NDArray

from deploy.ir.graph import infer_shapes
from deploy.ir.interpreter import interpret
from deploy.ir.nodes import Junction, SpikingAttention
from hardware import ConvGeometry
from svformer.errors import InputError

DT_S = 1e-3
seeds = st.integers(0, 2**32 - 1)


def run(node: nir.NIRNode, x_NT: NDArray[Any], **options: Any) -> NDArray[np.float64]:
    """Output of one node for clips [N, T, ...]."""
    nodes = {"in": nir.Input(np.array(x_NT.shape[2:])), "node": node}
    graph = nir.NIRGraph(nodes, [("in", "node")], metadata={"dt": DT_S}, type_check=False)
    signals = interpret(graph, x_NT, **options)
    assert signals["node"].shape == (*x_NT.shape[:2], *infer_shapes(graph)["node"])
    return signals["node"]


def lif(*, tau_s: float, r: float = 1.0, leak: float = 0.0, threshold: float = 1.0, reset: float = 0.0) -> nir.LIF:
    tau, resistance, v_leak, v_threshold, v_reset = (np.array([value]) for value in (tau_s, r, leak, threshold, reset))
    return nir.LIF(tau=tau, r=resistance, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)


def integrate_and_fire(*, r: float, threshold: float = 1.0, reset: float = 0.0) -> nir.IF:
    return nir.IF(r=np.array([r]), v_threshold=np.array([threshold]), v_reset=np.array([reset]))


def spike_steps(node: nir.NIRNode, current: float, *, steps: int = 60) -> list[int]:
    """Steps (counted from 1) at which one neuron fires for a constant current."""
    spikes = run(node, np.full((1, steps, 1), current))
    return [int(t) + 1 for t in np.flatnonzero(spikes)]


def every(first: int, period: int, *, steps: int = 60) -> list[int]:
    return list(range(first, steps + 1, period))


def steps_to(distance_left: float, decay: float) -> int:
    """First t with (1 - decay)^t < distance_left; values too close to a tie are not asked for."""
    exact = math.log(distance_left) / math.log1p(-decay)
    assume(abs(exact - round(exact)) > 1e-6)
    return math.floor(exact) + 1


@given(current=st.floats(0.1, 9), tau=st.floats(1.5, 20))
def test_lif_fires_when_the_exponential_crosses_the_threshold(current: float, tau: float) -> None:
    """v_t = x (1 - (1 - 1/tau)^t) from rest, so the interval between spikes is the first t with v_t > 1."""
    if current <= 1:
        assert spike_steps(lif(tau_s=tau * DT_S), current) == []
        return
    period = steps_to(1 - 1 / current, 1 / tau)
    assert spike_steps(lif(tau_s=tau * DT_S), current) == every(period, period)


@given(
    current=st.floats(0.5, 3),
    r=st.floats(1, 4),
    leak=st.floats(0, 1),
    threshold=st.floats(0.5, 1.2),
    reset=st.floats(-2, 0.4),
)
def test_lif_with_leak_and_reset_potential(
    current: float, r: float, leak: float, threshold: float, reset: float
) -> None:
    """The potential goes from v_0 to v_end = leak + r x as v_end + (v_0 - v_end) (1 - 1/tau)^t; v_0 = 0, or `reset`."""
    tau, end = 5.0, leak + r * current
    assume(end > threshold + 0.01)
    first, period = (steps_to((end - threshold) / (end - start), 1 / tau) for start in (0.0, reset))
    neuron = lif(tau_s=tau * DT_S, r=r, leak=leak, threshold=threshold, reset=reset)
    assert spike_steps(neuron, current) == every(first, period)


@given(current=st.floats(0.05, 3), r=st.floats(100, 900), threshold=st.floats(0.2, 2))
def test_if_fires_when_the_sum_crosses_the_threshold(current: float, r: float, threshold: float) -> None:
    """v_t = r dt x t: without a leak, the interval is floor(threshold / (r dt x)) + 1 steps."""
    exact = threshold / (r * DT_S * current)
    assume(abs(exact - round(exact)) > 1e-6)
    period = math.floor(exact) + 1
    assert spike_steps(integrate_and_fire(r=r, threshold=threshold), current) == every(period, period)


def test_a_potential_at_the_threshold_does_not_fire() -> None:
    assert spike_steps(lif(tau_s=DT_S), 1.0) == []
    assert spike_steps(lif(tau_s=DT_S), 1.0 + 1e-15) == every(1, 1)
    assert run(nir.Threshold(np.array([1.0])), np.array([[[0.9], [1.0], [1.1]]])).ravel().tolist() == [0, 0, 1]


@given(seed=seeds, leak=st.floats(-0.5, 0.5), threshold=st.floats(0.2, 2))
def test_lif_is_norses_lif_box_cell(seed: int, leak: float, threshold: float) -> None:
    """With norse's time step of 1e-3 s, over 30 steps of random currents."""
    rng = np.random.default_rng(seed)
    x_TN = rng.normal(1.0, 2.0, size=(30, 16))
    tau_s = rng.uniform(2, 20) * DT_S
    values = {"tau_mem_inv": 1 / tau_s, "v_leak": leak, "v_th": threshold, "v_reset": -0.2}
    parameters = norse.LIFBoxParameters(**{n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()})
    cell, expected = norse.LIFBoxCell(p=parameters, dt=DT_S), []
    state = LIFBoxFeedForwardState(v=torch.zeros(16, dtype=torch.float64))  # norse's own default is v_leak
    for x_N in torch.from_numpy(x_TN):
        spikes, state = cell(x_N, state)
        expected.append(spikes.numpy())
    shape = (16,)
    node = nir.LIF(
        tau=np.full(shape, tau_s),
        r=np.ones(shape),
        v_leak=np.full(shape, leak),
        v_threshold=np.full(shape, threshold),
        v_reset=np.full(shape, -0.2),
    )
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], expected)


@given(data=st.data(), seed=seeds)
def test_conv2d_is_torchs_conv2d(data: st.DataObject, seed: int, conv_geometries: Any) -> None:
    """Any stride, padding, dilation and groups, each axis on its own."""
    geometry: ConvGeometry = data.draw(conv_geometries)
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(geometry.out_channels, geometry.in_shape[0] // geometry.groups, *geometry.kernel))
    bias, x = rng.normal(size=geometry.out_channels), rng.normal(size=(2, 3, *geometry.in_shape))
    options = {name: getattr(geometry, name) for name in ("stride", "padding", "dilation", "groups")}
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.from_numpy(bias), **options
    )
    found = run(nir.Conv2d(geometry.in_shape[1:], weight, bias=bias, **options), x)
    np.testing.assert_allclose(found, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_in_words_is_torchs(padding: str) -> None:
    rng = np.random.default_rng(0)
    weight, bias, x = rng.normal(size=(4, 2, 3, 5)), rng.normal(size=4), rng.normal(size=(1, 2, 2, 8, 9))
    tensors = (torch.from_numpy(x[0]), torch.from_numpy(weight), torch.from_numpy(bias))
    expected = torch.nn.functional.conv2d(*tensors, padding=padding, dilation=(2, 1)).numpy()
    found = run(nir.Conv2d((8, 9), weight, (1, 1), padding, (2, 1), 1, bias), x)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


@given(heads=st.integers(1, 3), head_dim=st.integers(1, 3), height=st.integers(1, 3), seed=seeds)
def test_attention_is_its_formula_written_as_loops(heads: int, head_dim: int, height: int, seed: int) -> None:
    """A[n, j] = scale * sum over i, m of Q[n, i] K[m, i] V[m, j], head by head; tokens n, m; channels i, j."""
    channels, width = heads * head_dim, 2
    qkv = np.random.default_rng(seed).integers(0, 2, size=(3 * channels, height, width))
    q, k, v = qkv.reshape(3, heads, head_dim, height * width)
    expected = np.zeros((heads, head_dim, height * width))
    tokens, of_head = range(height * width), range(head_dim)
    for h, n, m, i, j in itertools.product(range(heads), tokens, tokens, of_head, of_head):
        expected[h, j, n] += 0.25 * q[h, i, n] * k[h, i, m] * v[h, j, m]
    node = SpikingAttention(np.array(qkv.shape), heads=heads, scale=0.25)
    found = run(node, qkv[np.newaxis, np.newaxis])[0, 0]
    np.testing.assert_array_equal(found, expected.reshape(channels, height, width))


def test_attention_never_mixes_time_steps_or_clips() -> None:
    """One clip: q fires at one step, k and v at the next; another clip: all at one step."""
    q, k, v = np.eye(3).reshape(3, 3, 1, 1)
    node = SpikingAttention(np.array([3, 1, 1]), heads=1, scale=1.0)
    apart, together = np.stack([q, k + v]), np.stack([q + k + v, 0 * q])
    assert run(node, np.stack([apart, together])).reshape(2, 2).tolist() == [[0, 0], [1, 0]]


def test_a_dense_layer_a_scale_and_a_flatten_by_hand() -> None:
    x = np.array([1.0, 2.0]).reshape(1, 1, 2)
    weight = np.array([[1.0, 10.0], [0.0, -1.0], [5.0, 0.0]])
    assert run(nir.Linear(weight), x).ravel().tolist() == [21, -2, 5]
    assert run(nir.Affine(weight, np.array([0.5, 0, -1])), x).ravel().tolist() == [21.5, -2, 4]
    assert run(nir.Scale(np.array([3.0, -1.0])), x).ravel().tolist() == [3, -2]
    image = np.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert run(nir.Flatten(np.array([2, 2, 2]), 0, -1), image).ravel().tolist() == list(range(8))


@pytest.mark.parametrize(("delay_s", "expected"), [(0, [1, 2, 3]), (1e-3, [0, 1, 2]), (3e-3, [0] * 3), (9e-3, [0] * 3)])
def test_a_delay_lets_zeros_in(delay_s: float, expected: list[int]) -> None:
    """Also one that is longer than the clip."""
    assert run(nir.Delay(np.array([delay_s])), np.array([[[1.0], [2.0], [3.0]]])).ravel().tolist() == expected


@pytest.mark.parametrize("delays_s", [[1.5e-3, 1.5e-3], [1e-3, 2e-3], [-1e-3, -1e-3]])
def test_a_delay_that_is_not_one_whole_number_of_steps_is_refused(delays_s: list[float]) -> None:
    with pytest.raises(InputError, match="one whole number for all neurons"):
        run(nir.Delay(np.array(delays_s)), np.zeros((1, 2, 2)))


def test_edges_that_meet_are_summed_also_when_one_is_there_twice() -> None:
    nodes = {
        "in": nir.Input(np.array([1])),
        "tenfold": nir.Scale(np.array([10.0])),
        "sum": Junction(np.array([1])),
        "twice": nir.Output(np.array([1])),
    }
    edges = [("in", "tenfold"), ("in", "sum"), ("tenfold", "sum"), ("sum", "twice"), ("sum", "twice")]
    signals = interpret(nir.NIRGraph(nodes, edges, metadata={"dt": DT_S}, type_check=False), np.ones((1, 1, 1)))
    assert signals["sum"].item() == 11
    assert signals["twice"].item() == 22


def test_the_time_step_must_be_known() -> None:
    """A wrong time step is the most silent error of NIR: there is no default."""
    nodes = {"in": nir.Input(np.array([1])), "lif": lif(tau_s=2e-3)}
    graph = nir.NIRGraph(nodes, [("in", "lif")], type_check=False)
    with pytest.raises(InputError, match="no 'dt'"):
        interpret(graph, np.ones((1, 1, 1)))
    # dt / tau = 1/2, v = 0.75 x: no spike for x = 1.2 at dt = 1 ms; at dt = 2 ms v = x at once
    assert interpret(graph, np.full((1, 1, 1), 1.2), dt_s=1e-3)["lif"].item() == 0
    assert interpret(graph, np.full((1, 1, 1), 1.2), dt_s=2e-3)["lif"].item() == 1


def test_nodes_without_a_meaning_here_are_refused() -> None:
    with pytest.raises(InputError, match="CubaLI are not supported yet"):
        run(nir.CubaLI(*np.ones((4, 1))), np.ones((1, 1, 1)))
