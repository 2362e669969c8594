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
from numpy.typing import NDArray

import random_networks
from deploy.ir.interpreter import interpret
from deploy.ir.nodes import Junction, SpikingAttention
from deploy.ir.shapes import infer_shapes
from hardware import ConvGeometry
from svformer.common.errors import InputError

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
    """The potential goes from v_0 to v_end = leak + r x as v_end + (v_0 - v_end) (1 - 1/tau)^t.

    It begins at v_0 = leak, and after every spike again at v_0 = reset.
    """
    tau, end = 5.0, leak + r * current
    assume(end > threshold + 0.01 > leak + 0.02)
    first, period = (steps_to((end - threshold) / (end - start), 1 / tau) for start in (leak, reset))
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
    expected = run_norse(norse.LIFBoxCell(p=parameters, dt=DT_S), x_TN)
    shape = (16,)
    node = nir.LIF(
        tau=np.full(shape, tau_s),
        r=np.ones(shape),
        v_leak=np.full(shape, leak),
        v_threshold=np.full(shape, threshold),
        v_reset=np.full(shape, -0.2),
    )
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], expected)


def run_norse(cell: torch.nn.Module, x_TN: NDArray[Any]) -> NDArray[np.float64]:
    """What a norse cell sends, from the state that it begins with."""
    state, sent = None, []
    for x_N in torch.from_numpy(x_TN):
        out, state = cell(x_N, state)
        sent.append(out.detach().numpy())
    return np.array(sent)


def tensors(count: int, **values: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(np.broadcast_to(v, count).astype(np.float64)) for name, v in values.items()}


def arrays(count: int, **values: Any) -> dict[str, NDArray[np.float64]]:
    return {name: np.broadcast_to(v, count).astype(np.float64) for name, v in values.items()}


@given(seed=seeds, leak=st.floats(-0.5, 0.5))
def test_li_is_norses_li_box_cell(seed: int, leak: float) -> None:
    rng = np.random.default_rng(seed)
    x_TN, tau_s = rng.normal(size=(30, 16)), rng.uniform(2, 20, size=16) * DT_S
    cell = norse.LIBoxCell(p=norse.LIBoxParameters(**tensors(16, tau_mem_inv=1 / tau_s, v_leak=leak)), dt=DT_S)
    found = run(nir.LI(**arrays(16, tau=tau_s, r=1.0, v_leak=leak)), x_TN[np.newaxis])[0]
    np.testing.assert_allclose(found, run_norse(cell, x_TN), atol=1e-12)


@given(seed=seeds, reset=st.floats(-0.5, 0.5))
def test_if_is_norses_iaf_cell(seed: int, reset: float) -> None:
    """Norse adds the input as it is, which is r dt = 1, and begins at its reset potential."""
    x_TN = np.random.default_rng(seed).normal(0.3, 1.0, size=(30, 16))
    cell = norse.IAFCell(norse.IAFParameters(**tensors(16, v_th=1.0, v_reset=reset)))
    node = nir.IF(**arrays(16, r=1 / DT_S, v_threshold=1.0, v_reset=reset))
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], run_norse(cell, x_TN))


@given(seed=seeds)
def test_cubalif_is_norses_lif_cell_when_a_spike_adds_one_to_its_current(seed: int) -> None:
    """In NIR a spike adds w_in dt / tau_syn; norse's current jumps by 1, which is w_in = tau_syn / dt."""
    rng = np.random.default_rng(seed)
    x_TN = rng.normal(0.5, 1.0, size=(30, 16))
    tau_syn_s, tau_mem_s = rng.uniform(2, 20, size=(2, 16)) * DT_S
    inverse = tensors(16, tau_syn_inv=1 / tau_syn_s, tau_mem_inv=1 / tau_mem_s, v_th=0.7)
    cell = norse.LIFCell(norse.LIFParameters(**inverse, **tensors(16, v_leak=0.1, v_reset=-0.2)), dt=DT_S).double()
    values = arrays(16, r=1.0, v_leak=0.1, v_threshold=0.7, v_reset=-0.2, w_in=tau_syn_s / DT_S)
    node = nir.CubaLIF(tau_syn=tau_syn_s, tau_mem=tau_mem_s, **values)
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], run_norse(cell, x_TN))


@given(
    current=st.floats(-2, 2),
    decay=st.floats(0.05, 0.9),
    synaptic=st.floats(0.05, 0.9),
    r=st.floats(0.5, 2),
    w_in=st.floats(-2, 2),
    leak=st.floats(-1, 1),
)
def test_integrators_follow_their_exponentials(
    current: float, decay: float, synaptic: float, r: float, w_in: float, leak: float
) -> None:
    """For a constant input, with a = 1 - decay and b = 1 - synaptic, t steps after rest:

    I   r dt x t
    LI  leak + r x (1 - a^t)
    CubaLI  leak + r w x (1 - a^t - decay b (a^t - b^t) / (a - b))
    """
    assume(abs(decay - synaptic) > 1e-3)
    t, a, b = np.arange(1, 41), 1 - decay, 1 - synaptic
    x = np.full((1, 40, 1), current)
    values = arrays(1, r=r, v_leak=leak)
    times = {"tau_mem": np.array([DT_S / decay]), "tau_syn": np.array([DT_S / synaptic])}
    np.testing.assert_allclose(run(nir.I(r=values["r"]), x).ravel(), r * DT_S * current * t, atol=1e-12)
    leaky = run(nir.LI(tau=times["tau_mem"], **values), x).ravel()
    np.testing.assert_allclose(leaky, leak + r * current * (1 - a**t), atol=1e-10)
    cuba = run(nir.CubaLI(**times, **values, w_in=np.array([w_in])), x).ravel()
    shape = 1 - a**t - decay * b * (a**t - b**t) / (a - b)
    np.testing.assert_allclose(cuba, leak + r * w_in * current * shape, atol=1e-9)


def test_cubalif_fires_when_its_cubali_crosses_the_threshold() -> None:
    times = arrays(1, tau_syn=4e-3, tau_mem=8e-3, r=1.5, v_leak=0.2, w_in=2.0)
    x = np.full((1, 30, 1), 0.8)
    potential = run(nir.CubaLI(**times), x).ravel()
    fired = run(nir.CubaLIF(**times, **arrays(1, v_threshold=0.9, v_reset=-1.0)), x).ravel()
    first = int(np.argmax(potential > 0.9))
    assert first == np.argmax(fired) > 0
    assert not fired[first + 1]  # from -1 it needs more than a step


@given(geometry=random_networks.convolutions(), seed=seeds)
def test_conv2d_is_torchs_conv2d(geometry: ConvGeometry, seed: int) -> None:
    """Any stride, padding, dilation and groups, each axis on its own."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=geometry.weight_shape)
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


EVEN_KERNELS = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


@EVEN_KERNELS
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2) | st.sampled_from(["same", "valid"]),
    dilation=st.integers(1, 3),
    groups=st.integers(1, 2),
    seed=seeds,
)
def test_conv1d_is_torchs_conv1d(
    kernel: int, stride: int, padding: int | str, dilation: int, groups: int, seed: int
) -> None:
    """Also `same` for an even kernel, where torch puts the odd value of the padding at the end."""
    assume(padding != "same" or stride == 1)
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(4, 4 // groups, kernel)), rng.normal(size=4)
    x = rng.normal(size=(2, 3, 4, 11))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = torch.nn.functional.conv1d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.from_numpy(bias), **options
    )
    found = run(nir.Conv1d(11, weight, bias=bias, **options), x)
    np.testing.assert_allclose(found, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)


@EVEN_KERNELS
@given(kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_padding_same_is_torchs_for_even_kernels_too(kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(4, 2, *kernel)), rng.normal(size=(1, 2, 2, 8, 9))
    tensors = (torch.from_numpy(x[0]), torch.from_numpy(weight))
    expected = torch.nn.functional.conv2d(*tensors, padding="same", dilation=dilation)
    found = run(nir.Conv2d((8, 9), weight, 1, "same", dilation, 1, np.zeros(4)), x)
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-12)


@given(
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_pooling_is_torchs(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
    """An average counts the zeros of the padding (torch's default); a sum is kernel size times an average."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 7, 8))
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(x).flatten(0, 1), kernel, stride, padding)
    options = [np.array(values) for values in (kernel, stride, padding)]
    average, total = run(nir.AvgPool2d(*options), x), run(nir.SumPool2d(*options), x)
    np.testing.assert_allclose(average, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)
    np.testing.assert_allclose(total, average * kernel[0] * kernel[1], atol=1e-12)


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


def test_every_neuron_may_have_a_delay_of_its_own() -> None:
    x = np.array([[[1.0, 4.0, 7.0], [2.0, 5.0, 8.0], [3.0, 6.0, 9.0]]])
    found = run(nir.Delay(np.array([0, 1e-3, 2e-3])), x)
    assert found[0].T.tolist() == [[1, 2, 3], [0, 4, 5], [0, 0, 7]]


@pytest.mark.parametrize("delays_s", [[1.5e-3, 1.5e-3], [1e-3, 0.9e-3], [-1e-3, -1e-3]])
def test_a_delay_that_is_no_whole_number_of_steps_is_refused(delays_s: list[float]) -> None:
    with pytest.raises(InputError, match="allowed: whole numbers from 0; check dt"):
        run(nir.Delay(np.array(delays_s)), np.zeros((1, 2, 2)))


def test_dense_layers_side_by_side_have_weights_of_their_own() -> None:
    """Weights [2, 3, 4] on a signal [2, 4]: block by block, as `nir` types them."""
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(2, 3, 4)), rng.normal(size=(1, 5, 2, 4))
    found = run(nir.Linear(weight), x)
    np.testing.assert_allclose(found[..., 1, :], x[..., 1, :] @ weight[1].T)


def recurrent(weight: NDArray[Any], bias: NDArray[Any], **inside: nir.NIRNode) -> nir.NIRGraph:
    """Neurons that get their own spikes back through a dense layer, and nodes in front of it."""
    count = len(bias)
    parameters = arrays(count, tau=2 * DT_S, r=2.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0)
    nodes = {
        "in": nir.Input(np.array([count])),
        "lif": nir.LIF(**parameters),
        **inside,
        "w_rec": nir.Affine(weight, bias),
        "out": nir.Output(np.array([count])),
    }
    back = ["lif", *inside, "w_rec", "lif"]
    edges = [("in", "lif"), *itertools.pairwise(back), ("lif", "out")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT_S}, type_check=False)


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
    """X -> a -> b -> a: b answers a in the same step, a hears b a step later. Thresholds 0.5, no memory.

    A pulse in step 0: a and b fire; then a hears b (weight 1) in step 1, and so on: they keep firing.
    """
    memoryless = arrays(1, tau=DT_S, r=1.0, v_leak=0.0, v_threshold=0.5, v_reset=0.0)
    nodes = {
        "in": nir.Input(np.array([1])),
        "a": nir.LIF(**memoryless),
        "b": nir.LIF(**memoryless),
        "out": nir.Output(np.array([1])),
    }
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": DT_S}, type_check=False)
    found = interpret(graph, np.array([0, 1, 0, 0, -1, 0]).reshape(1, 6, 1))
    assert found["a"].ravel().tolist() == [0, 1, 1, 1, 0, 0]
    assert found["b"].ravel().tolist() == [0, 1, 1, 1, 0, 0]


def test_in_a_loop_with_two_entrances_both_edges_are_late() -> None:
    """Nobody comes first: x -> a, x -> b, a -> b and b -> a with weight 1: a pulse at a alone goes to and fro."""
    memoryless = arrays(1, tau=DT_S, r=1.0, v_leak=0.0, v_threshold=0.5, v_reset=0.0)
    nodes = {
        "in": nir.Input(np.array([2])),
        "to_a": nir.Linear(np.array([[1.0, 0.0]])),
        "to_b": nir.Linear(np.array([[0.0, 1.0]])),
        "a": nir.LIF(**memoryless),
        "b": nir.LIF(**memoryless),
    }
    edges = [("in", "to_a"), ("in", "to_b"), ("to_a", "a"), ("to_b", "b"), ("a", "b"), ("b", "a")]
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": DT_S}, type_check=False)
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
    nodes = {"input": nir.Input(np.array([4])), "layer": inner, "output": nir.Output(np.array([4]))}
    nested = nir.NIRGraph(nodes, [("input", "layer"), ("layer", "output")], metadata={"dt": DT_S}, type_check=False)
    x = rng.normal(size=(2, 10, 4))
    found, expected = interpret(nested, x), interpret(flat, x)
    assert list(found) == ["input", "layer.w_rec", "layer.lif", "output"]
    np.testing.assert_array_equal(found["layer.lif"], expected["lif"])
    assert expected["lif"].any()


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
    class Unheard(nir.NIRNode):
        def __init__(self) -> None:
            self.input_type, self.output_type, self.metadata = {"input": None}, {"output": None}, {}

    graph = nir.NIRGraph(
        {"in": nir.Input(np.array([1])), "node": Unheard()}, [("in", "node")], metadata={"dt": DT_S}, type_check=False
    )
    with pytest.raises(InputError, match="node: nodes of type Unheard are not supported"):
        interpret(graph, np.ones((1, 1, 1)))
