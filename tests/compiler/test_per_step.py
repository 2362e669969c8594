"""A gain and a bias of its own for every time step: from the model's norm to Lava, exact at every level."""

from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import graphs
import reals
from deploy.costs.counting import count_operations
from deploy.costs.resources import layer_resources
from deploy.execution.simulate import simulate
from deploy.frontend.from_svformer import export
from deploy.gates.export import check_export
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntGain
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.operations.identity import GainBias
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from deploy.ir.rounding import round_gain
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import merge_linear_chains
from deploy.passes.normalise_gains import normalise_gains
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from svformer import SVFormer, SVFormerConfig
from svformer.common.errors import InputError

FRAMES = 4
GAIN = np.array([[2.0, -1.0], [0.5, 0.0], [1.0, 1.0], [3.0, 2.0]]).reshape(FRAMES, 2, 1, 1)
BIAS = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.5]]).reshape(FRAMES, 2, 1, 1)


def graph_of(node: GainBias, *, frames: int = FRAMES) -> nir.NIRGraph:
    nodes = {"input": graphs.entry(*node.shape), "norm": node, "output": graphs.result(*node.shape)}
    return graphs.chain(nodes, T=frames)


def per_step_model() -> SVFormer:
    """Every time step has a norm of its own, and they differ."""
    torch.manual_seed(3)
    config = SVFormerConfig(
        num_classes=5,
        image_size=32,
        frames=FRAMES,
        embed_dims=(8, 12, 16, 24),
        depths=(1, 1, 1, 1),
        head_dim=8,
        norm="per_step",
    )
    model = SVFormer(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.2)
            torch.nn.init.uniform_(module.weight, 0.4, 1.6)
            torch.nn.init.normal_(module.bias, 0.4, 0.4)
    return model.double().eval()


def clips(count: int = 2) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, FRAMES, 3, 32, 32))


def test_the_node_by_hand() -> None:
    node = GainBias(np.array([2, 1, 1]), gain=GAIN, bias=BIAS)
    x = np.array([[1.0, 2.0], [4.0, 7.0], [5.0, 6.0], [1.0, 1.0]]).reshape(1, FRAMES, 2, 1, 1)
    found = interpret(graph_of(node), x)["output"].reshape(FRAMES, 2)
    # 2*1+0, -1*2+1; 0.5*4+1, 0*7+0; 5, 6; 3*1-1, 2*1+0.5
    assert found.tolist() == [[2.0, -1.0], [3.0, 0.0], [5.0, 6.0], [2.0, 2.5]]


def test_the_node_survives_a_file(tmp_path: Path) -> None:
    write_nir(graph_of(GainBias(np.array([2, 1, 1]), gain=GAIN, bias=BIAS)), tmp_path / "a.nir")
    node = read_nir(tmp_path / "a.nir").nodes["norm"]
    assert isinstance(node, GainBias)
    assert np.array_equal(node.gain, GAIN)
    assert np.array_equal(node.bias, BIAS)


@pytest.mark.parametrize(
    ("gain", "bias", "message"),
    [
        (np.ones((4, 3, 1, 1)), BIAS, r"gain of shape \(4, 3, 1, 1\) does not broadcast to \[T, \[2, 1, 1\]\]"),
        (GAIN[..., 0], BIAS, "does not broadcast"),
        (GAIN, BIAS[:3], r"different numbers of time steps, \[3, 4\]"),
    ],
)
def test_values_that_do_not_fit_are_refused(gain: np.ndarray, bias: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GainBias(np.array([2, 1, 1]), gain=gain, bias=bias)


def test_a_clip_of_another_length_is_refused() -> None:
    graph = graph_of(GainBias(np.array([2, 1, 1]), gain=GAIN, bias=BIAS), frames=3)
    with pytest.raises(InputError, match="norm: values for 4 time steps, a clip has 3"):
        from_nir(graph)
    with pytest.raises(InputError, match="4 time steps in a clip of 3"):
        interpret(graph, np.ones((1, 3, 2, 1, 1)))


def test_a_vector_takes_gains_too() -> None:
    node = GainBias(np.array([3]), gain=np.arange(12.0).reshape(4, 3), bias=np.ones((1, 1)))
    x = np.random.default_rng(0).normal(size=(2, FRAMES, 3))
    network = from_nir(graph_of(node))
    found = run_float(network, x.reshape(2, FRAMES, 3, 1, 1))["output"].reshape(2, FRAMES, 3)
    assert found == pytest.approx(interpret(graph_of(node), x)["output"])


@given(seed=st.integers(0, 2**32 - 1), delay=st.integers(0, 2), static=st.booleans())
def test_lowering_keeps_every_value(seed: int, delay: int, static: bool) -> None:
    """Neurons -> 3x3 with bias -> 1x1 with bias -> gain and bias of every step -> shortcut sum -> neurons."""
    rng = np.random.default_rng(seed)
    shape = (3, 5, 4)
    kernels = [
        reals.conv(rng.normal(size=(3, 3, size, size)), shape, padding=(size // 2, size // 2)) for size in (3, 1)
    ]
    same, steps = reals.same(shape), 1 if static else FRAMES
    gain, biases = rng.normal(size=(steps, 3, 1, 1)), rng.normal(size=(2, 3, 1, 1))
    populations = {
        "input": Input(shape=shape),
        "first": reals.lif(shape, threshold=0.5),
        "inner": reals.relay(shape, biases[0]),
        "outer": reals.relay(shape, biases[1]),
        "norm": reals.relay(shape, rng.normal(size=(FRAMES, 3, 1, 1))),
        "add": reals.relay(shape),
        "last": reals.lif(shape, threshold=0.5),
    }
    connections = (
        reals.link("input", "first", same),
        reals.link("first", "inner", kernels[0], delay=delay),
        reals.link("inner", "outer", kernels[1]),
        reals.link("outer", "norm", same, gain=gain),
        reals.link("norm", "add", same),
        reals.link("input", "add", same),
        reals.link("add", "last", same),
    )
    before = reals.network(populations, *connections, frames=FRAMES)
    merged = merge_linear_chains(before, merge="always")
    after = normalise_gains(merged)
    assert "norm" not in after.populations
    frames = rng.normal(size=(2, FRAMES, *shape)) * 2
    expected, found = run_float(before, frames), run_float(after, frames)
    assert found["first"] == pytest.approx(expected["first"])
    assert found["last"] == pytest.approx(expected["last"])
    gains = [c.gain for c in after.connections if c.gain is not None]
    assert len(gains) == (0 if static else 1)
    for left in gains:  # what all steps have in common went into the weights
        assert np.sqrt((left**2).mean(axis=0)) == pytest.approx(np.ones((3, 1, 1)))


def test_a_kernel_behind_a_gain_is_not_merged_with_it() -> None:
    """A kernel mixes positions and channels, which by then have different factors; here it would even be the same."""
    shape = (2, 1, 1)
    network = reals.network(
        {"input": Input(shape=shape), "norm": reals.relay(shape), "out": reals.lif(shape)},
        reals.link("input", "norm", reals.same(shape), gain=GAIN),
        reals.link("norm", "out", reals.dense(np.ones((2, 2)))),
        frames=FRAMES,
    )
    assert merge_linear_chains(network, merge="always").connections == network.connections


def test_integer_gains_by_hand() -> None:
    gain = IntGain(multiplier=np.array([3, -3]).reshape(2, 1, 1, 1), exponent=-2)
    x = np.array([5, 5, 6, 6]).reshape(2, 2, 1, 1)  # two time steps, two channels
    # 3 * 5 / 4 = 3.75 -> 4;  -3 * 6 / 4 = -4.5 -> -4 (halves go up)
    assert gain(x).ravel().tolist() == [4, 4, -4, -4]
    assert [gain.at(t, x[t]).ravel().tolist() for t in (0, 1)] == [[4, 4], [-4, -4]]
    assert IntGain(multiplier=np.array([[3]]), exponent=2).at(0, np.array([5])).tolist() == [60]


@given(st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=20))
def test_rounded_gains_are_within_half_a_bit_of_12(values: list[float]) -> None:
    gain = np.array(values)
    multiplier, exponent = round_gain(gain)
    step = 2.0**exponent
    assert np.abs(multiplier).max() <= 4095
    assert np.abs(multiplier * step - gain).max() <= step / 2
    if np.abs(gain).max() > 0:
        assert step <= np.abs(gain).max() / 2046  # the largest uses the top bit


@pytest.mark.lava
def test_a_models_norms_of_every_time_step_reach_lava() -> None:
    """PyTorch = NIR, float = lowered, integer = Lava bit for bit; operations and obstacles are spoken of."""
    model, frames = per_step_model(), clips()
    graph = export(model)
    check = check_export(model, graph, frames)
    assert check.ties == 0
    # 2 local and 2 global blocks: stem, 3 downs, local path; local and 2 of the MLP each; attention 2 and MLP 2
    assert sum(isinstance(node, GainBias) for node in graph.nodes.values()) == 1 + 3 + 1 + 2 * 3 + 2 * 4

    network = lower(graph)
    assert sum(c.gain is not None for c in network.connections) == 19
    exact = run_float(network, frames)
    names = [name for name, p in network.populations.items() if isinstance(p, Lif)]
    expected = interpret(graph, frames)
    assert all(np.array_equal(exact[name], expected[name]) for name in names)
    assert 0.01 < np.mean([exact[name].mean() for name in names]) < 0.9

    integer = quantize(network, frames)
    judged = simulate(integer, frames, backend="integer")
    found = simulate(integer, frames, backend="lava")
    assert all(np.array_equal(judged.signals[name], found.signals[name]) for name in integer.populations)

    down2 = count_operations(integer, schedule(integer), judged.signals)["down2.norm"]
    assert down2.gain_macs == 2 * FRAMES * 12 * 4 * 4
    obstacles = [need for need in layer_resources(integer, schedule(integer)) if need.changes_with_time]
    assert len(obstacles) == 19


def test_a_static_norm_is_no_obstacle(exported: object) -> None:
    integer = quantize(lower(exported.graph), exported.frames_NTCHW)  # type: ignore[attr-defined]
    assert not any(need.changes_with_time for need in layer_resources(integer, schedule(integer)))
