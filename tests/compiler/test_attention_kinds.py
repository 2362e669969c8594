"""sdsa and qkta on their way to a chip: nodes of NIR's own, products that no rounding touches, operations by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from deploy import lower, quantize
from deploy.costs.counting import count_operations
from deploy.frontend import portable
from deploy.frontend.attention import EXPORTS
from deploy.frontend.from_svformer import export
from deploy.gates.export import check_export
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntNetwork, as_images, run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.types import Signals
from deploy.passes.mapping import mapping
from deploy.passes.schedule import schedule
from small_models import as_if_trained
from svformer import SVFormer, SVFormerConfig
from svformer.model.attention import ATTENTIONS
from tensors import random_clips

SMALL = SVFormerConfig(num_classes=2, image_size=64, frames=3, embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), head_dim=4)
KINDS = ("sdsa", "qkta")
BLOCKS = ("stage3.block0.attn", "stage4.block0.attn")


def frames_of(config: SVFormerConfig, clips: int, seed: int = 0) -> NDArray[Any]:
    """[N, T, C, H, W], as the graph takes them."""
    return random_clips(config, clips, seed=seed).transpose(1, 2).numpy()


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest) -> tuple[SVFormer, nir.NIRGraph, NDArray[Any]]:
    config = dataclasses.replace(SMALL, attention=request.param)
    model = as_if_trained(config)
    return model, export(model), frames_of(config, 2)


def of_attention(graph: nir.NIRGraph) -> dict[str, nir.NIRNode]:
    """Nodes of the attention blocks, without the shortcut around them."""
    return {name: node for name, node in graph.nodes.items() if ".attn." in name and not name.endswith(".add")}


def test_every_kind_has_its_form_in_nir() -> None:
    assert EXPORTS.keys() == set(ATTENTIONS.values())


def test_attention_is_made_of_the_nodes_of_the_standard(exported: Any, tmp_path: Path) -> None:
    """Stock `nir.read` takes a file of these nodes alone."""
    model, graph, _ = exported
    nodes = of_attention(graph)
    assert {type(node) for node in nodes.values()} == {nir.Conv2d, nir.LIF, nir.Threshold}
    assert (
        sum(isinstance(node, nir.Threshold) for node in nodes.values())
        == {"sdsa": 4, "qkta": 2}[model.config.attention]
    )
    inside = [edge for edge in graph.edges if nodes.keys() >= set(edge)]
    path = tmp_path / "attention.nir"
    nir.write(path, nir.NIRGraph(nodes, inside, type_check=False))
    assert nir.read(path, type_check=False).nodes.keys() >= nodes.keys()


def test_every_spike_of_the_model_is_a_spike_of_the_graph(exported: Any, tmp_path: Path) -> None:
    model, graph, frames = exported
    write_nir(graph, tmp_path / "model.nir")
    check = check_export(model, read_nir(tmp_path / "model.nir"), frames)
    neurons = sum(int(node.v_threshold.size) for node in graph.nodes.values() if isinstance(node, nir.LIF))
    assert check.spikes_compared == 2 * 3 * neurons
    assert check.ties == 0
    signals = interpret(graph, frames)
    for block in BLOCKS:
        assert 0 < signals[f"{block}.gated"].mean() < 1  # a silent layer would prove nothing


@st.composite
def configs(draw: st.DrawFn) -> SVFormerConfig:
    """Small geometries with images of 4 x 4 to 1 x 1 tokens and every option that goes with these kinds."""
    head_dim, heads = draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 2))
    width, norm = head_dim * heads, draw(st.sampled_from(["shared", "per_step"]))
    return SVFormerConfig(
        num_classes=2,
        frames=draw(st.integers(1, 4)),
        image_size=32 * draw(st.integers(1, 2)),
        embed_dims=(2, 3, width, 2 * width),
        depths=(1, 1, draw(st.integers(1, 2)), 1),
        head_dim=head_dim,
        norm=norm,
        attention=draw(st.sampled_from(KINDS)),
        weight_bits=draw(st.none() | st.integers(2, 8)) if norm == "shared" else None,
    )


@settings(max_examples=8)
@given(config=configs(), seed=st.integers(0, 9))
def test_any_small_network_is_exported_with_every_spike(config: SVFormerConfig, seed: int) -> None:
    """Rounded weights bring potentials just to a threshold, where the last bit of a decay decides (`tau_of`): a tie."""
    model = as_if_trained(config, seed=seed)
    graph, frames = export(model), frames_of(config, 2, seed=seed + 1)
    assert check_export(model, graph, frames).ties == 0 or config.weight_bits
    network = quantize(lower(graph), frames)
    assert_products_are_right(network, run_integer(network, as_images(frames, network)))


def test_the_portable_form_has_every_spike(exported: Any) -> None:
    """Gates are LIF nodes without memory there; it takes as many neurons as the command says before."""
    model, graph, frames = exported
    found = portable.portable(graph)
    assert {type(node) for node in found.nodes.values()} == {nir.Input, nir.Conv2d, nir.LIF, nir.Output}
    assert check_export(model, found, frames, tie_margin=portable.TIE_MARGIN).ties == 0
    neurons = sum(int(node.v_threshold.size) for node in found.nodes.values() if isinstance(node, nir.LIF))
    assert neurons == sum(portable.count_neurons(graph))
    gates = {"sdsa": 2, "qkta": 1}[model.config.attention]
    assert portable.count_neurons(graph)[1] == gates * 8 * (16 + 4)  # C N of stages 3 and 4


# Integers


def assert_products_are_right(network: IntNetwork, sent: Signals) -> None:
    """Every product is that of the spikes in front of it, in every block, bit for bit."""
    for gated in (name for name in sent if name.endswith(".gated")):
        block = gated.removesuffix(".gated")
        k = sent[f"{block}.plif_k"]
        if f"{block}.plif_kv" in sent:
            np.testing.assert_array_equal(sent[f"{block}.kv"], k & sent[f"{block}.plif_v"])
            expected = sent[f"{block}.plif_q"] & sent[f"{block}.plif_kv"]
        else:
            passing = sent[f"{block}.plif_token"]
            expected = np.repeat(passing, k.shape[2] // passing.shape[2], axis=2) & k
        np.testing.assert_array_equal(sent[gated], expected)


@pytest.mark.parametrize("weight_bits", range(2, 9))
def test_products_are_right_whatever_the_width_of_weights(exported: Any, weight_bits: int) -> None:
    _, graph, frames = exported
    network = quantize(lower(graph, weight_bits=weight_bits), frames, weight_bits=weight_bits)
    sent = run_integer(network, as_images(frames, network))
    assert_products_are_right(network, sent)
    assert all(sent[f"{block}.gated"].any() for block in BLOCKS)


def gate(width: int, size: int, weight: float) -> nir.NIRGraph:
    """Input of 2 C channels -> spikes a | b -> weight (a + b) by 1x1 convolutions -> a threshold half-way -> output."""
    shape = (width, size, size)
    pick = np.eye(2 * width)[:, :, np.newaxis, np.newaxis]
    conv: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "input_shape": (size, size)}
    nodes = {
        "input": nir.Input(np.array((2 * width, size, size))),
        "spikes": nir.Threshold(np.full((2 * width, size, size), 0.5)),
        "a": nir.Conv2d(weight=weight * pick[:width], bias=np.zeros(width), **conv),
        "b": nir.Conv2d(weight=weight * pick[width:], bias=np.zeros(width), **conv),
        "both": nir.Threshold(np.full(shape, 1.5 * weight)),
        "output": nir.Output(np.array(shape)),
    }
    edges = [("input", "spikes"), ("spikes", "a"), ("spikes", "b"), ("a", "both"), ("b", "both"), ("both", "output")]
    return graphs.with_dt(nir.NIRGraph(nodes, edges, metadata={"T": 4}), 1e-3)


@pytest.mark.parametrize("weight_bits", range(2, 9))
@pytest.mark.parametrize("weight", [1.0, 0.37, 3.0, 1000.0])
def test_a_product_by_convolutions_is_right_whatever_its_weight(weight: float, weight_bits: int) -> None:
    """All four pairs of spikes, through weights that are no powers of two, rounded to few bits."""
    frames = np.random.default_rng(0).integers(0, 2, size=(3, 4, 4, 3, 3)).astype(float)
    network = quantize(lower(gate(2, 3, weight), weight_bits=weight_bits), frames, weight_bits=weight_bits)
    sent = run_integer(network, as_images(frames, network))
    np.testing.assert_array_equal(sent["both"], frames[:, :, :2].astype(bool) & frames[:, :, 2:].astype(bool))


# Costs


def test_operations_by_hand(exported: Any) -> None:
    """A spike of k, v or q meets one gate; a product of sdsa is added to one count, a count's spike reaches N gates.

    In qkta a spike of q is added to one sum, and one of SN reaches the d channels of its head.
    """
    model, graph, frames = exported
    network = quantize(lower(graph), frames)
    plan, sent = schedule(network), run_integer(network, as_images(frames, network))
    counted = {name: ops.synaptic_ops + ops.relay_adds for name, ops in count_operations(network, plan, sent).items()}
    for block, tokens in zip(BLOCKS, (16, 4), strict=True):
        fired = {name.removeprefix(f"{block}."): int(layer.sum()) for name, layer in sent.items() if block in name}
        if model.config.attention == "sdsa":
            assert counted[f"{block}.kv"] == fired["plif_k"] + fired["plif_v"]
            assert counted[f"{block}.plif_kv"] == fired["kv"]
            assert counted[f"{block}.gated"] == fired["plif_q"] + tokens * fired["plif_kv"]
        else:
            assert counted[f"{block}.plif_token"] == fired["plif_q"]
            assert counted[f"{block}.gated"] == fired["plif_k"] + 4 * fired["plif_token"]


def test_no_part_of_the_attention_needs_microcode(exported: Any) -> None:
    """On a Loihi 2 every gate, count and neuron is one that Lava has."""
    _, graph, frames = exported
    network = quantize(lower(graph), frames)
    rows = [row for row in mapping(network, schedule(network)) if ".attn." in row.where and ".add" not in row.where]
    assert len(rows) > 20
    assert [row.where for row in rows if not row.maps] == []


@pytest.mark.lava
def test_lava_sends_what_the_integer_interpreter_sends(exported: Any) -> None:
    from deploy import simulate
    from processes import HANG_S

    _, graph, frames = exported
    network = quantize(lower(graph), frames)
    expected = run_integer(network, as_images(frames, network))
    found = simulate(network, frames, backend="lava", timeout_s=HANG_S).signals
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
        assert not name.endswith((".gated", ".plif_kv", ".plif_token")) or values.any(), name
