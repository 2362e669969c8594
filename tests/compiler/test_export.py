"""SVFormer -> NIR: after a trip through a file, the graph fires every spike of the model."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from deploy.errors import GateError
from deploy.frontend.export import export_checkpoint
from deploy.frontend.from_svformer import export
from deploy.gates.export import check_export
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.model import class_names
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import GainBias, Junction
from deploy.ir.populations.lif import IntLif
from deploy.ir.shapes import infer_shapes
from deploy.ir.storage import widest_weight_bits
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from deploy.report.nodes import node_table
from svformer import SVFormer, SVFormerConfig
from svformer.common.errors import InputError
from svformer.evaluation.recording import run_recorded
from svformer.networks.checkpoint import save_checkpoint

SMALLEST = SVFormerConfig(
    num_classes=2, image_size=32, frames=2, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_dim=4
)


def in_order(spikes: np.ndarray) -> np.ndarray:
    """[T, N, ...] of the model as [N, T, ...] of the graph."""
    return spikes.swapaxes(0, 1)


@pytest.fixture(scope="module")
def signals(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the graph computes after a trip through a file."""
    path = tmp_path_factory.mktemp("export") / "model.nir"
    write_nir(exported.graph, path)
    return interpret(read_nir(path), exported.frames_NTCHW)


def test_every_spike_of_the_model_is_a_spike_of_the_graph(exported: Any, signals: dict[str, np.ndarray]) -> None:
    """All neuron layers, all time steps, both in float64. q, k and v share a node; so do halves of the head's layer."""
    clip = torch.from_numpy(exported.frames_NTCHW).transpose(1, 2)
    logits, spikes = run_recorded(exported.model, clip)
    expected = {name: in_order(layer) for name, layer in spikes.items()}
    for name in [name for name in expected if name.endswith("plif_q")]:
        parts = [expected.pop(f"{name[:-1]}{part}") for part in "qkv"]
        expected[f"{name[:-1]}qkv"] = np.concatenate(parts, axis=2)
    head, width = expected.pop("head.plif"), exported.model.config.embed_dims[3]
    expected["head.plif_local"], expected["head.plif_stage4"] = head[:, :, :width], head[:, :, width:]

    found = {name: signals[name] for name, node in exported.graph.nodes.items() if isinstance(node, nir.LIF)}
    assert found.keys() == expected.keys()
    for name, layer in expected.items():
        np.testing.assert_array_equal(found[name], layer, err_msg=name)
        assert 0.001 < layer.mean() < 0.999, name  # a silent layer would prove nothing
    np.testing.assert_allclose(signals["output"][:, -1], logits.numpy(), rtol=0, atol=1e-9)


def test_attention_and_shortcuts_are_there_once_for_every_block(exported: Any) -> None:
    """Depths 1, 1, 2, 1: three blocks with attention, five with two shortcuts each; two sums and the logits' sum."""
    kinds = [type(node) for node in exported.graph.nodes.values()]
    assert kinds.count(SpikingAttention) == 3
    assert kinds.count(Junction) == 2 * 5 + 3


def test_the_graph_grows_linearly_with_depth() -> None:
    """Shortcuts expanded into edges would grow with its square (16 of them: 171 edges)."""

    def size(depth: int) -> tuple[int, int]:
        graph = export(SVFormer(dataclasses.replace(SMALLEST, depths=(1, 1, depth, 1))).eval())
        return len(graph.nodes), len(graph.edges)

    (nodes1, edges1), (nodes3, edges3), (nodes5, edges5) = size(1), size(3), size(5)
    assert nodes5 - nodes3 == nodes3 - nodes1 > 0
    # Every node of a block has one incoming edge, and each of its two junctions a second one.
    assert edges5 - edges3 == edges3 - edges1 == nodes3 - nodes1 + 2 * 2


def test_metadata_say_what_a_reader_needs(exported: Any) -> None:
    assert exported.graph.metadata["dt"] == 1e-3
    assert exported.graph.metadata["T"] == exported.model.config.frames
    assert infer_shapes(exported.graph)["output"] == (exported.model.config.num_classes,)


def test_a_checkpoint_brings_its_class_names_along(tmp_path: Path) -> None:
    model = SVFormer(SMALLEST)
    save_checkpoint(model, tmp_path / "a.safetensors", {"classes": '["left", "right"]', "dataset": "drawn"})
    loaded, graph = export_checkpoint(tmp_path / "a.safetensors")
    assert class_names(graph.metadata) == ("left", "right")
    assert graph.metadata["dataset"] == "drawn"
    assert next(loaded.parameters()).dtype == torch.float64
    save_checkpoint(model, tmp_path / "b.safetensors")
    assert class_names(export_checkpoint(tmp_path / "b.safetensors")[1].metadata) == ()


def test_the_table_of_nodes_names_every_kind(exported: Any) -> None:
    table = node_table(exported.graph)
    kinds = {type(node).__name__ for node in exported.graph.nodes.values()}
    assert all(any(kind in cell for cell in table.columns[1].cells) for kind in kinds)


def test_the_gate_passes_the_exported_graph(exported: Any) -> None:
    check = check_export(exported.model, exported.graph, exported.frames_NTCHW)
    neurons = sum(
        int(np.prod(shape))
        for name, shape in infer_shapes(exported.graph).items()
        if isinstance(exported.graph.nodes[name], nir.LIF)
    )
    clips, frames = exported.frames_NTCHW.shape[:2]
    assert check.spikes_compared == clips * frames * neurons
    assert check.ties == 0
    assert check.logit_error < 1e-9


def with_changed(graph: nir.NIRGraph, name: str, **fields: Any) -> nir.NIRGraph:
    """The graph with other values in one node."""
    node = copy.copy(graph.nodes[name])
    vars(node).update(fields)
    return nir.NIRGraph({**graph.nodes, name: node}, graph.edges, metadata=graph.metadata, type_check=False)


@pytest.mark.parametrize(
    ("changed", "layer"),
    [
        ("stem.conv", "stage1.block0.local.plif"),
        ("stage2.block0.mlp.fc1", "stage2.block0.mlp.plif2"),
        ("stage3.block1.attn.qkv", "stage3.block1.attn.plif_qkv"),
        ("stage4.block0.mlp.fc2", "head.plif_stage4"),
    ],
)
def test_the_gate_names_where_a_changed_weight_is_first_seen(exported: Any, changed: str, layer: str) -> None:
    """The layer behind the changed weight, and its earliest time step in the first clip that differs; in whichever
    order a file has the nodes.
    """
    graph = with_changed(exported.graph, changed, weight=exported.graph.nodes[changed].weight * 1.1)
    graph.nodes = dict(reversed(graph.nodes.items()))
    different = (
        interpret(graph, exported.frames_NTCHW)[layer] != interpret(exported.graph, exported.frames_NTCHW)[layer]
    )
    clip, step, *neuron = np.argwhere(different)[0]
    with pytest.raises(GateError) as caught:
        check_export(exported.model, graph, exported.frames_NTCHW)
    where = f"first in layer {layer}, time step {step}, neuron {tuple(map(int, neuron))} of clip {clip}, "
    assert where in str(caught.value)
    assert str(caught.value).endswith("from the threshold: not a tie")


def test_the_gate_sees_a_changed_classifier_behind_the_last_spikes(exported: Any) -> None:
    graph = with_changed(exported.graph, "head.local.fc", bias=exported.graph.nodes["head.local.fc"].bias + 0.25)
    with pytest.raises(GateError, match=r"the same spikes, but their logits differ by 0\.25"):
        check_export(exported.model, graph, exported.frames_NTCHW)


def at_the_threshold() -> tuple[SVFormer, nir.NIRGraph]:
    """A model whose first neurons take in exactly 2 from a stem without weights: v = 0 + (2 - 0) / 2 = threshold."""
    torch.manual_seed(0)
    model = SVFormer(SMALLEST).double().eval()
    for parameter in model.stem.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(model.stem.norm.bias, 2.0)
    return model, export(model)


def test_a_potential_at_the_threshold_fires_in_both() -> None:
    model, graph = at_the_threshold()
    frames = np.zeros((1, 2, 3, 32, 32))
    assert interpret(graph, frames)["stage1.block0.local.plif"].all()
    assert check_export(model, graph, frames).ties == 0


def test_a_tie_that_rounding_decides_is_counted_not_raised() -> None:
    """A potential misses the threshold by 5e-13, as another order of additions could make it: all later differences
    follow from that. By 5e-4 it is an error.
    """
    model, graph = at_the_threshold()
    frames, bias = np.zeros((1, 2, 3, 32, 32)), graph.nodes["stem.conv"].bias
    check = check_export(model, with_changed(graph, "stem.conv", bias=bias - 1e-12), frames)
    assert check.ties >= 4 * 8 * 8  # all neurons of the first layer, at least at the first step
    with pytest.raises(GateError, match=r"layer stage1.block0.local.plif, time step 0, neuron \(0, 0, 0\) of clip 0"):
        check_export(model, with_changed(graph, "stem.conv", bias=bias - 1e-3), frames)


@pytest.fixture(scope="module")
def trained_to_four_bits() -> SVFormer:
    """A model that computes with 4-bit weights, with norms as training could leave them."""
    torch.manual_seed(2)
    model = SVFormer(dataclasses.replace(SMALLEST, weight_bits=4))
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.1)
            torch.nn.init.normal_(module.bias, 0.4, 0.3)
    return model.double().eval()


def test_weights_that_were_trained_on_a_grid_reach_the_chip_as_they_are(trained_to_four_bits: SVFormer) -> None:
    """PyTorch = NIR; lowering merges nothing; quantisation, asked for 8 bits, finds the 4 that are there."""
    model, config = trained_to_four_bits, trained_to_four_bits.config
    size = config.image_size
    pixels = np.random.default_rng(4).integers(0, 256, size=(3, config.frames, 3, size, size))
    frames = (pixels / 255 - 0.45) / 0.225
    graph = export(model)
    assert check_export(model, graph, frames).ties == 0
    network = lower(graph)
    integer = quantize(network, frames, input_range=(-2.0, (1 - 0.45) / 0.225))
    exact = {(c.source, c.target, c.delay): c.operation for c in network.connections}
    for c in integer.connections:
        if isinstance(c.operation, IntConvolution):
            assert c.operation.weight_bits <= 4
            source, target = integer.populations[c.source], integer.populations[c.target]
            unit = (1.0 if isinstance(source, IntLif) else source.scale) / target.scale
            found = c.operation.mantissa * 2.0**c.operation.exponent * unit
            weight = exact[c.source, c.target, c.delay].weight
            assert np.abs(found - weight).max() <= 1e-6 * np.abs(weight).max()
    assert widest_weight_bits(integer) == 4
    borders = [name for name, node in graph.nodes.items() if isinstance(node, GainBias)]
    assert borders == ["stage1.block0.local.norm", "stage2.block0.local.norm"]  # a 5x5 kernel behind a 1x1 with bias


def test_the_file_says_the_step_of_every_trained_grid(trained_to_four_bits: SVFormer, tmp_path: Path) -> None:
    """Weights are -7 .. 7 times the step: a power of two, for pixels (multiples of 1 / 57.375) 57.375 times one."""
    write_nir(export(trained_to_four_bits), tmp_path / "trained.nir")
    nodes = read_nir(tmp_path / "trained.nir").nodes
    convolutions = {name: node for name, node in nodes.items() if isinstance(node, nir.Conv2d)}
    assert len(convolutions) > 10
    for name, node in convolutions.items():
        step = float(node.metadata["weight_step"])
        mantissas = node.weight / step
        np.testing.assert_allclose(mantissas, mantissas.round(), rtol=0, atol=1e-12)
        assert np.abs(mantissas).max() <= 7
        assert int(node.metadata["weight_bits"]) == 4
        assert np.frexp(step / (57.375 if name == "stem.conv" else 1.0))[0] == 0.5  # a power of two


def test_real_weights_have_no_step(exported: Any) -> None:
    assert not any({"weight_bits", "weight_step"} & set(node.metadata) for node in exported.graph.nodes.values())


def test_names_of_classes_are_a_list_of_texts() -> None:
    """As JSON, which HDF5 keeps as bytes, or as an array of texts; anything else is refused in one line."""
    for held in ('["a", "b"]', b'["a", "b"]', np.array([b"a", b"b"]), ["a", "b"]):
        assert class_names({"classes": held}) == ("a", "b")
    assert class_names({}) == ()
    for held in ("a, b", '{"a": 1}', "[1, 2]", 3.0, np.ones((2, 2))):
        with pytest.raises(InputError, match=r"the graph's metadata has 'classes' .* allowed: a list of names"):
            class_names({"classes": held})
