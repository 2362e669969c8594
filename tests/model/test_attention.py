"""The kinds of attention: sums by hand, operators against loops, and where each is refused."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from small_models import as_if_trained
from svformer import (
    InputError,
    SVFormer,
    SVFormerConfig,
    attention_maps,
    load_checkpoint,
    record_spikes,
    save_checkpoint,
)
from svformer.assets import CHIP_CHECKPOINT, TINY_CHECKPOINT
from svformer.config import PRESETS, Attention
from svformer.model.attention import ATTENTIONS, SelfAttention, SpikeDrivenAttention, TokenAttention
from svformer.model.attention.qkta import head_sums
from svformer.model.attention.sdsa import coincidences
from svformer.networks.dense_counts import sizes
from svformer.training.request import TrainingRequest
from svformer.training.start import starting_point
from tensors import random_clips

SMALL = SVFormerConfig(num_classes=3, image_size=64, embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), head_dim=4, frames=4)
SDSA = dataclasses.replace(SMALL, attention="sdsa")
QKTA = dataclasses.replace(SMALL, attention="qkta")
BOTH = pytest.mark.parametrize("config", [SDSA, QKTA], ids=lambda config: config.attention)
Spikes = NDArray[np.int64]


def currents_for(spikes: Spikes) -> Tensor:
    """Currents for which a neuron layer at the start of training fires just these spikes.

    With tau = 2 a current of 10 brings the potential from 0 to 5, above the threshold of 1; after a spike it is 0, and
    without a current it stays 0.
    """
    return torch.as_tensor(10.0 * spikes)


@torch.no_grad()
def fired(attn: SelfAttention, *parts: Spikes) -> Spikes:
    """What the operator sends for spikes [T, B, C, H, W] of its parts."""
    return attn.attend(*map(currents_for, parts)).numpy().astype(np.int64)


def sn(counts_T: Spikes) -> Spikes:
    """Neurons inside an operator at the start of training, by loops: tau = 2, threshold 1/2, `>=`, reset to 0."""
    v, fired = np.zeros(counts_T.shape[1:]), []
    for counts in counts_T:
        v = v + (counts - v) / 2
        spikes = v >= 0.5
        v = np.where(spikes, 0.0, v)
        fired.append(spikes)
    return np.array(fired, dtype=np.int64)


# By hand


def test_coincidences_by_hand() -> None:
    # One channel, 2 x 2 tokens: k = 1 1 / 0 1, v = 1 0 / 1 1 fire together at tokens 0 and 3. Count: 2.
    k, v = torch.tensor([[1.0, 1], [0, 1]]), torch.tensor([[1.0, 0], [1, 1]])
    found = coincidences(k.expand(3, 2, 1, 2, 2), v.expand(3, 2, 1, 2, 2))
    assert found.shape == (3, 2, 1, 1, 1)
    assert (found == 2).all()


def test_head_sums_by_hand() -> None:
    # Two heads of two channels, one token each in a row of 1 x 1: q = 1, 1 | 0, 1. Sums: 2 and 1.
    found = head_sums(torch.tensor([1.0, 1, 0, 1]).reshape(1, 1, 4, 1, 1), heads=2)
    assert found.flatten().tolist() == [2, 1]


def test_spike_driven_attention_by_hand() -> None:
    """Channel 0: k and v meet at token 1 in frame 0 only; channel 1: never.

    Frame 0: count 1, v = 1/2 reaches the threshold of 1/2: q passes everywhere in channel 0, v <- 0. Frame 1: count 0.
    """
    width = 2
    attn = SpikeDrivenAttention(width, dataclasses.replace(SMALL, head_dim=1))
    q = np.array([[[1, 1, 0], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]])  # [T = 2, C = 2, N = 3]
    k = np.array([[[0, 1, 0], [1, 0, 0]], [[1, 1, 0], [1, 1, 1]]])
    v = np.array([[[1, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 0]]])
    found = fired(attn, *(x.reshape(2, 1, width, 1, 3) for x in (q, k, v)))
    expected = [[[1, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert found.reshape(2, width, 3).tolist() == expected


def test_token_attention_by_hand() -> None:
    """One head of two channels. Token 0: q fires in a channel in frame 0, v = 1/2: k passes. Token 1: q never fires."""
    attn = TokenAttention(2, dataclasses.replace(SMALL, head_dim=2))
    q = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 0]]])  # [T = 2, C = 2, N = 2]
    k = np.array([[[1, 1], [1, 0]], [[1, 1], [1, 1]]])
    found = fired(attn, *(x.reshape(2, 1, 2, 1, 2) for x in (q, k)))
    assert found.reshape(2, 2, 2).tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]


# Against loops

shapes = st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
cases = given(
    shape=shapes, head_dim=st.integers(1, 3), rate=st.sampled_from([0.2, 0.5, 0.9]), seed=st.integers(0, 2**31)
)


def spikes(shape: tuple[int, int, int, int, int], head_dim: int, rate: float, seed: int, parts: int) -> Spikes:
    """[parts, T, B, C, H, W], with `shape` (T, B, heads, H, W)."""
    frames, batch, heads, height, width = shape
    random = np.random.default_rng(seed).random((parts, frames, batch, heads * head_dim, height, width))
    return (random < rate).astype(np.int64)


@cases
def test_spike_driven_attention_is_its_formula_written_as_loops(
    shape: tuple[int, int, int, int, int], head_dim: int, rate: float, seed: int
) -> None:
    q, k, v = spikes(shape, head_dim, rate, seed, parts=3)
    counts = np.zeros((*q.shape[:3], 1, 1), dtype=np.int64)
    for y, x in np.ndindex(q.shape[3:]):
        counts[..., 0, 0] += k[..., y, x] * v[..., y, x]
    attn = SpikeDrivenAttention(q.shape[2], dataclasses.replace(SMALL, head_dim=1))
    assert (fired(attn, q, k, v) == q * sn(counts)).all()


@cases
def test_token_attention_is_its_formula_written_as_loops(
    shape: tuple[int, int, int, int, int], head_dim: int, rate: float, seed: int
) -> None:
    q, k = spikes(shape, head_dim, rate, seed, parts=2)
    expected = np.zeros_like(k)
    for head in range(shape[2]):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        passing = sn(sum(q[:, :, channel] for channel in range(rows.start, rows.stop)))
        expected[:, :, rows] = passing[:, :, np.newaxis] * k[:, :, rows]
    widths = (4, 4, q.shape[2], 2 * q.shape[2])
    attn = TokenAttention(q.shape[2], dataclasses.replace(SMALL, embed_dims=widths, head_dim=head_dim))
    assert attn.heads == shape[2]
    assert (fired(attn, q, k) == expected).all()


# In the model


def test_the_table_holds_every_kind_that_a_configuration_names() -> None:
    assert tuple(ATTENTIONS) == get_args(Attention)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (SMALL, ["plif_in", "plif_q", "plif_k", "plif_v", "plif_proj"]),
        (SDSA, ["plif_in", "plif_q", "plif_k", "plif_v", "plif_kv"]),
        (QKTA, ["plif_in", "plif_q", "plif_k", "plif_token"]),
    ],
)
def test_every_neuron_layer_is_recorded_under_its_name(config: SVFormerConfig, names: list[str]) -> None:
    found = record_spikes(as_if_trained(config), random_clips(config, 2))
    for stage in (3, 4):
        block = f"stage{stage}.block0.attn."
        layers = {name.removeprefix(block): layer for name, layer in found.items() if name.startswith(block)}
        assert sorted(layers) == sorted(names)
        assert all(layer.any() for layer in layers.values())
    size = 4  # 64 pixels, a stride of 4, halved twice
    expected = {"plif_kv": (4, 2, 8, 1, 1), "plif_token": (4, 2, 2, size, size)}  # T, B, then C or heads
    for name in expected.keys() & set(names):
        assert found[f"stage3.block0.attn.{name}"].shape == expected[name]


@BOTH
def test_clips_do_not_know_each_other(config: SVFormerConfig) -> None:
    """Neurons inside the operator begin every clip at rest, as all others do."""
    model, clips = as_if_trained(config), random_clips(config, 3)
    together = model(clips)
    for i in range(3):
        torch.testing.assert_close(model(clips[i : i + 1])[0], together[i], rtol=0, atol=1e-12)


def test_heads_change_nothing_in_spike_driven_attention() -> None:
    models = [as_if_trained(dataclasses.replace(SDSA, head_dim=n)) for n in (1, 4)]
    one, four = (model(random_clips(SDSA, 2)) for model in models)
    assert torch.equal(one, four)


@BOTH
@pytest.mark.parametrize("weight_bits", [None, 4])
def test_gradients_reach_every_parameter_of_the_attention(config: SVFormerConfig, weight_bits: int | None) -> None:
    model = as_if_trained(dataclasses.replace(config, weight_bits=weight_bits)).train()
    nn.functional.cross_entropy(model(random_clips(config, 4)), torch.arange(4) % 3).backward()
    learning = [p for name, p in model.named_parameters() if name.endswith((".p.w", "conv.weight", "proj.weight"))]
    assert len(learning) > 20
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in learning)


@BOTH
def test_rounded_weights_train_and_compute_with_spikes(config: SVFormerConfig) -> None:
    """With `weight_bits` the threshold of a neuron is a whole multiple of 2^-6 / tau, in the operator, too."""
    model = as_if_trained(dataclasses.replace(config, weight_bits=4))
    layer = model.stage3.block0.attn.plif_kv if config.attention == "sdsa" else model.stage3.block0.attn.plif_token
    steps = layer.threshold / layer.decay * 2**6
    assert steps == pytest.approx(round(steps), abs=1e-9)
    assert model(random_clips(config, 2)).isfinite().all()


def test_sizes_by_hand() -> None:
    """T = 4, stage 3 with 16 tokens and stage 4 with 4, 8 channels each; two heads of 4 channels.

    Beside q (k^T v), sdsa has C neurons for the C N of plif_proj; qkta N heads for them and for the C N of v, and a
    third of the first convolution less: C C weights, C biases, C gains and C shifts.
    Products: 2 C N in a frame, 2 * 8 * (16 + 4) * 4 frames = 1,280; of q (k^T v), head_dim times as many.
    """
    qkv, sdsa, qkta = (sizes(config) for config in (SMALL, SDSA, QKTA))
    assert sdsa.neurons == qkv.neurons - 8 * (16 + 4) + 2 * 8
    assert qkta.neurons == qkv.neurons - 2 * 8 * (16 + 4) + 2 * (16 + 4)
    assert sdsa.parameters == qkv.parameters
    assert qkta.parameters == qkv.parameters - 2 * (8 * 8 + 3 * 8) - 2  # and a neuron layer less in each stage
    assert (sdsa.attention_macs, qkta.attention_macs, qkv.attention_macs) == (1280, 1280, 4 * 1280)


def test_the_preset_for_the_chip_is_tiny_with_heads_of_one_channel() -> None:
    assert PRESETS["chip"] == dataclasses.replace(PRESETS["tiny"], head_dim=1)
    assert sizes(PRESETS["chip"]).parameters == sizes(PRESETS["tiny"]).parameters


# Checkpoints and refusals


@BOTH
def test_a_checkpoint_holds_its_attention(config: SVFormerConfig, tmp_path: Path) -> None:
    model = as_if_trained(config).float()
    save_checkpoint(model, tmp_path / "a.safetensors")
    loaded, clips = load_checkpoint(tmp_path / "a.safetensors"), random_clips(config, 2).float()
    assert loaded.config == config
    assert torch.equal(loaded(clips), model(clips))


def test_a_checkpoint_from_before_there_was_a_choice_loads(tmp_path: Path) -> None:
    """The one that ships is such a file; and a new file without the field is read as one."""
    with safe_open(TINY_CHECKPOINT, framework="pt") as file:
        assert "attention" not in json.loads(file.metadata()["config"])
    assert load_checkpoint(TINY_CHECKPOINT).config == PRESETS["tiny"]
    model = SVFormer(SMALL)
    fields = {name: value for name, value in json.loads(SMALL.to_json()).items() if name != "attention"}
    metadata = {"format": "svformer-checkpoint/1", "config": json.dumps(fields)}
    save_file(model.state_dict(), tmp_path / "old.safetensors", metadata)
    assert load_checkpoint(tmp_path / "old.safetensors").config == SMALL


def test_the_shipped_network_for_the_chip_is_its_preset() -> None:
    """Heads of one channel, so that attention takes few neurons there; its record says how it was trained."""
    assert load_checkpoint(CHIP_CHECKPOINT).config == PRESETS["chip"]
    record = json.loads((CHIP_CHECKPOINT.parent / "run.json").read_text())
    assert record["config"]["head_dim"] == 1
    assert record["accuracy"]["clips"] == 336


def test_weights_of_another_attention_are_refused(tmp_path: Path) -> None:
    metadata = {"format": "svformer-checkpoint/1", "config": QKTA.to_json()}
    save_file(SVFormer(SDSA).state_dict(), tmp_path / "a.safetensors", metadata)
    with pytest.raises(InputError, match=r"missing stage3.block0.attn.plif_token.*unknown stage3.block0.attn.plif_kv"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"attention": "softmax"}, "attention must be 'qkv', 'sdsa' or 'qkta', found 'softmax'"),
        ({"attention": "sdsa", "attention_order": "qk_first"}, "attention_order='qk_first' belongs to attention='qkv'"),
        (
            {"attention": "qkta", "activation": "relu", "attention_order": "qk_first"},
            "attention='qkta' has no counterpart without spikes; activation must be 'spiking', found 'relu'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(wrong: dict[str, str], rule: str) -> None:
    with pytest.raises(InputError, match=rule) as refusal:
        dataclasses.replace(SMALL, **wrong)
    assert "\n" not in str(refusal.value)


def test_a_training_starts_with_the_attention_and_heads_that_were_asked_for() -> None:
    start = starting_point(TrainingRequest(attention="qkta", head_dim=4))
    assert start.config == dataclasses.replace(PRESETS["tiny"], attention="qkta", head_dim=4)
    assert start.state is None
    assert starting_point(TrainingRequest(preset="chip")).config == PRESETS["chip"]
    with pytest.raises(InputError, match="attention='sdsa' has no counterpart without spikes"):
        starting_point(TrainingRequest(attention="sdsa", activation="relu"))
    with pytest.raises(InputError, match="head_dim=5 must divide"):
        starting_point(TrainingRequest(head_dim=5))
    with pytest.raises(InputError, match="--head-dim 0; allowed: 1 or more"):
        TrainingRequest(head_dim=0)


@BOTH
def test_maps_of_counts_are_refused_where_there_are_none(config: SVFormerConfig) -> None:
    model = as_if_trained(config)
    with pytest.raises(InputError, match=f"this model has attention='{config.attention}'; maps are of attention='qkv'"):
        attention_maps(model, record_spikes(model, random_clips(config, 1)))
