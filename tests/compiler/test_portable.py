"""The portable form: the model's spikes out of nodes that stock simulators have."""

import dataclasses
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
from deploy import export_nir
from deploy.errors import GateError
from deploy.execution.simulate import simulate
from deploy.frontend.coincidence import expand_attention
from deploy.frontend.from_svformer import export
from deploy.frontend.portable import below_float32, count_neurons, portable
from deploy.frontend.standard import StandardGraph, dense, one_hot
from deploy.gates.export import check_export
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.linear import convolve
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import Junction
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from hardware import ConvGeometry
from svformer import SVFormer, SVFormerConfig
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.networks.checkpoint import save_checkpoint

SMALL = SVFormerConfig(num_classes=2, image_size=64, frames=3, embed_dims=(4, 4, 4, 8), depths=(1, 1, 1, 1), head_dim=4)


def attention_alone(node: SpikingAttention, dt_s: float = 1e-3) -> nir.NIRGraph:
    """Input of q|k|v spikes -> what stands for the node -> output."""
    three, size, _ = node.input_shape.tolist()
    graph = StandardGraph(dt_s)
    entry = graph.add("input", nir.Input(node.input_shape))
    q, k, v = (
        graph.pick(name, one_hot(np.arange(i * three // 3, (i + 1) * three // 3), three), entry)
        for i, name in enumerate("qkv")
    )
    found = expand_attention(graph, "attention", node, q, k, v)
    graph.add("output", nir.Output(np.array([three // 3, size, size])), found)
    return nir.NIRGraph(graph.nodes, graph.edges, metadata={"dt": dt_s})


@settings(max_examples=25)
@given(
    heads=st.integers(1, 2),
    head_dim=st.integers(1, 3),
    size=st.integers(1, 3),
    rate=st.sampled_from([0.2, 0.6, 1.0]),
    seed=st.integers(0, 9),
)
def test_coincidences_and_thermometers_are_attention(
    heads: int, head_dim: int, size: int, rate: float, seed: int
) -> None:
    """Whole numbers in between, so equal up to the scale; the frames of a clip do not know each other."""
    node = SpikingAttention(np.array([3 * heads * head_dim, size, size]), heads=heads, scale=0.25)
    spikes = (np.random.default_rng(seed).random((2, 3, *node.input_shape)) < rate).astype(float)
    inner = nir.NIRGraph(
        {
            "input": nir.Input(node.input_shape),
            "a": node,
            "output": nir.Output(np.array([heads * head_dim, size, size])),
        },
        [("input", "a"), ("a", "output")],
        type_check=False,
    )
    expected = interpret(graphs.with_dt(inner, 1e-3), spikes)["output"]
    np.testing.assert_array_equal(interpret(attention_alone(node), spikes)["output"], expected)


def test_attention_of_one_spike_by_hand() -> None:
    """Tokens 0..3, one head of 2 channels. k0 fires at tokens 0 and 2, v1 at 0, 2 and 3: they meet twice. q0 fires
    at token 1 alone: 2 of its thermometer neurons fire there, and channel 1 gets 0.5 x 2 = 1.
    """
    node = SpikingAttention(np.array([6, 2, 2]), heads=1, scale=0.5)
    spikes = np.zeros((1, 1, 6, 4))
    spikes[0, 0, 0, 1] = 1
    spikes[0, 0, 2, [0, 2]] = 1
    spikes[0, 0, 5, [0, 2, 3]] = 1
    found = interpret(attention_alone(node), spikes.reshape(1, 1, 6, 2, 2))
    assert [found[f"attention.head0.at_least_{t}"].sum() for t in (1, 2, 3, 4)] == [1, 1, 0, 0]
    assert found["attention.head0.kv"].sum() == 2
    assert found["output"].reshape(2, 4).tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]


def test_a_dense_convolution_is_the_grouped_one() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 2, 3, 3)), rng.normal(size=(2, 4, 5, 5))
    grouped = ConvGeometry(in_shape=(4, 5, 5), out_channels=6, kernel=(3, 3), padding=(1, 1), groups=2)
    whole = dataclasses.replace(grouped, groups=1)
    np.testing.assert_allclose(convolve(x, dense(weight, 2), whole), convolve(x, weight, grouped), atol=1e-12)


def test_thresholds_are_what_float32_has() -> None:
    """Next to 1 in float64 is 1 in float32, and `v > 1` would miss a potential of just 1."""
    below = below_float32(float(np.nextafter(1.0, 0)))
    assert below == 1 - 2.0**-24 == float(np.float32(below))
    assert below_float32(0.75) == 0.75


def test_every_spike_of_the_model(exported: Any) -> None:
    graph = portable(exported.graph)
    check = check_export(exported.model, graph, exported.frames_NTCHW, tie_margin=1e-7)
    own, _ = count_neurons(exported.graph)
    clips, frames = exported.frames_NTCHW.shape[:2]
    assert check.spikes_compared == clips * frames * own
    assert (check.ties, check.logit_error) == (0, None)


def test_the_gate_sees_a_changed_weight(exported: Any) -> None:
    graph = portable(exported.graph)
    graph.nodes["stage1.block0.mlp.fc1"].weight *= 1.1
    with pytest.raises(GateError, match=r"first in layer stage1.block0.mlp.plif2, .* not a tie"):
        check_export(exported.model, graph, exported.frames_NTCHW, tie_margin=1e-7)


def test_another_time_step_changes_no_spike(exported: Any) -> None:
    """Time constants follow it: the same share dt / tau, which is all that a neuron knows of time."""
    found = [interpret(portable(exported.graph, dt_s=dt_s), exported.frames_NTCHW) for dt_s in (1e-3, 1e-4)]
    np.testing.assert_array_equal(found[0]["output"], found[1]["output"])
    layer = portable(exported.graph, dt_s=1e-4).nodes["stage1.block0.local.plif"]
    (tau_s,) = np.unique(exported.graph.nodes["stage1.block0.local.plif"].tau)
    np.testing.assert_allclose(layer.tau, 0.1 * tau_s, rtol=1e-12)


def test_neurons_are_counted_before_they_are_made() -> None:
    """Stage 3: 16 tokens, a head of 4 channels: 4 x 4 x 16 coincidences and 16 times as many thermometer neurons.
    Stage 4: 4 tokens, two heads. One neuron for every neuron of the model.
    """
    graph = export(SVFormer(SMALL).eval())
    made = portable(graph)
    sizes = {name: node.v_threshold.size for name, node in made.nodes.items() if isinstance(node, nir.LIF)}
    own, added = count_neurons(graph)
    assert added == 4 * 4 * 16 * (1 + 16) + 2 * 4 * 4 * 4 * (1 + 4) == 4992
    assert added == sum(size for name, size in sizes.items() if ".attention." in name)
    assert own == sum(size for name, size in sizes.items() if ".attention." not in name)


def test_only_nodes_that_all_simulators_import(exported: Any, tmp_path: Path) -> None:
    """As stock nir reads them, its type check included; square kernels; layers of equal neurons; r = 1 (norse ignores
    it), v_leak = 0 (snnTorch refuses others).
    """
    write_nir(portable(exported.graph), tmp_path / "portable.nir")
    graph = nir.read(tmp_path / "portable.nir")
    assert {type(node) for node in graph.nodes.values()} == {nir.Input, nir.Conv2d, nir.LIF, nir.Output}
    assert len(set(graph.edges)) == len(graph.edges)
    assert graph.metadata["dt"] == 1e-3
    assert graph.metadata["T"] == exported.model.config.frames
    for node in graph.nodes.values():
        if isinstance(node, nir.Conv2d):
            assert int(node.groups) == 1
            assert node.weight.shape[2] == node.weight.shape[3]
        if isinstance(node, nir.LIF):
            assert len(np.unique(node.tau)) == len(np.unique(node.v_threshold)) == 1
            assert (node.r == 1).all()
            assert not node.v_leak.any()
            assert not node.v_reset.any()


def test_edges_of_a_shortcut_reach_every_layer_that_needs_the_sum() -> None:
    """In front of the second MLP of a stage: what entered the stage, and three branches."""
    graph = portable(export(SVFormer(dataclasses.replace(SMALL, depths=(2, 1, 1, 1))).eval()))
    names = sorted(a for a, b in graph.edges if b == "stage1.block1.mlp.plif1")
    assert names == ["stage1.block0.local.conv2", "stage1.block0.mlp.fc2", "stage1.block1.local.conv2", "stem.conv"]


def test_a_model_of_trained_bits_with_bias_maps() -> None:
    """The bias that differs at the border comes from a neuron that always fires."""
    torch.manual_seed(2)
    model = SVFormer(dataclasses.replace(SMALL, weight_bits=4))
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.1)
            torch.nn.init.normal_(module.bias, 0.4, 0.3)
    model.double().eval()
    size, frames = SMALL.image_size, SMALL.frames
    pixels = np.random.default_rng(4).integers(0, 256, size=(2, frames, 3, size, size))
    graph = portable(export(model))
    assert "always" in graph.nodes
    check = check_export(model, graph, (pixels / 255 - 0.45) / 0.225, tie_margin=1e-7)
    assert check.ties == 0


def test_norms_of_every_time_step_are_refused_by_name() -> None:
    graph = export(SVFormer(dataclasses.replace(SMALL, norm="per_step")).eval())
    with pytest.raises(InputError, match=r"stem.norm, stage1.block0.local.norm, .*svformer.fold_time"):
        portable(graph)


def test_too_many_neurons_are_refused_with_their_number() -> None:
    graph = export(SVFormer(SMALL).eval())
    total = sum(count_neurons(graph))
    assert portable(graph, max_neurons=total)
    with pytest.raises(InputError, match=f"takes {total:,} neurons, allowed: {total - 1:,}; attention takes 4,992"):
        portable(graph, max_neurons=total - 1)


def test_what_has_no_portable_form_is_refused() -> None:
    graph = export(SVFormer(SMALL).eval())
    scale = nir.Scale(np.ones((4, 16, 16)))
    edges = [("stem.conv", "extra"), ("extra", "stage1.block0.local.plif"), *graph.edges]
    with pytest.raises(InputError, match="extra: Scale nodes have no portable form"):
        portable(nir.NIRGraph({**graph.nodes, "extra": scale}, edges, metadata=graph.metadata, type_check=False))
    edges = [("stage3.block0.attn.plif_qkv", "extra"), ("extra", "head.plif_local"), *graph.edges]
    extra = {"extra": Junction(np.array([12, 4, 4]))}
    with pytest.raises(InputError, match="plif_qkv -> extra: q, k and v in one node"):
        portable(nir.NIRGraph({**graph.nodes, **extra}, edges, metadata=graph.metadata, type_check=False))


def test_the_same_signal_twice_is_refused() -> None:
    """An edge is there or not: a simulator would add it once."""
    graph = StandardGraph(1e-3)
    entry = graph.add("input", nir.Input(np.array([1, 2, 2])))
    with pytest.raises(ValueError, match="sum takes the same signal twice"):
        graph.pick("sum", np.ones((1, 1)), entry, entry)


def test_the_integer_machine_runs_it(exported: Any, tmp_path: Path) -> None:
    """As any other NIR file. Every neuron of attention does in integers exactly what the spikes in front of it say:
    coincidences are products, and as many thermometer neurons fire as they are, where q does.
    """
    write_nir(portable(exported.graph), tmp_path / "portable.nir")
    graph, frames = read_nir(tmp_path / "portable.nir"), exported.frames_NTCHW[:1]
    signals = simulate(quantize(lower(graph), frames, search=False), frames, backend="integer").signals
    for name, node in exported.graph.nodes.items():
        if isinstance(node, SpikingAttention):
            assert_attention(signals, name, int(node.heads))


def assert_attention(signals: dict[str, Any], name: str, heads: int) -> None:
    block = name.rpartition(".")[0]
    q, k, v = (signals[f"{block}.plif_{part}"].astype(int) for part in "qkv")
    clips, frames, channels, *image = q.shape
    d = channels // heads
    for head in range(heads):
        own = slice(head * d, (head + 1) * d)
        both = k[:, :, own, None] * v[:, :, None, own]  # [N, T, i, j, H, W]
        found = signals[f"{name}.head{head}.kv"]
        np.testing.assert_array_equal(found, both.reshape(clips, frames, d * d, *image))
        products = q[:, :, own, None] * both.sum((-2, -1), keepdims=True)
        bits = [signal for n, signal in signals.items() if n.startswith(f"{name}.head{head}.at_least_")]
        assert len(bits) == np.prod(image)
        np.testing.assert_array_equal(sum(bits), products.reshape(clips, frames, d * d, *image))
        assert products.any()


@pytest.mark.lava
def test_lava_runs_attention_out_of_coincidences() -> None:
    """Bit for bit the integers, which here are exactly the real numbers."""
    node = SpikingAttention(np.array([6, 2, 2]), heads=1, scale=0.5)
    graph = attention_alone(node)
    graph.metadata["T"] = 4
    spikes = (np.random.default_rng(0).random((2, 4, 6, 2, 2)) < 0.9).astype(float)
    integer = quantize(lower(graph), spikes)
    judged, lava = (simulate(integer, spikes, backend=backend).signals for backend in ("integer", "lava"))
    exact = interpret(graph, spikes)
    for name, signal in judged.items():
        np.testing.assert_array_equal(lava[name], signal, err_msg=name)
    for name in ("kv", *(f"at_least_{t}" for t in (1, 2, 3, 4))):
        fired = judged[f"attention.head0.{name}"]
        np.testing.assert_array_equal(fired, exact[f"attention.head0.{name}"], err_msg=name)
        assert fired.any()


def run_export(arguments: list[Any]) -> int:
    return run_cli(export_nir.main, [*map(str, arguments)])


def test_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of neurons comes first, and is all that is printed when it is too much."""
    torch.manual_seed(0)
    save_checkpoint(SVFormer(SMALL), tmp_path / "a.safetensors")
    out = tmp_path / "portable.nir"
    arguments = ["--checkpoint", tmp_path / "a.safetensors", "--portable", "--dt", "1e-4", "--out", out]
    assert run_export(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("the portable form takes ")
    assert "4,992 for attention" in printed.replace("\n", " ").splitlines()[0]
    assert read_nir(out).metadata["dt"] == 1e-4
    out.unlink()
    assert run_export([*arguments, "--max-neurons", 100]) == 2
    printed, error = capsys.readouterr()
    assert "4,992 for attention" in printed.replace("\n", " ")
    assert error.count("\n") == 1
    assert "allowed: 100;" in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dt", "1e-4"], "--dt and --max-neurons are for --portable"),
        (["--portable", "--dt", "0"], "--dt 0; allowed: a positive number of seconds"),
        (["--portable", "--max-neurons", "0"], "--max-neurons 0; allowed: 1 or more"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_export(arguments) == 2
    assert complaint in capsys.readouterr().err
