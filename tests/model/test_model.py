"""The network: the authors' reference numbers, norm and attention by hand, geometry that is refused."""

import copy
import csv
import dataclasses
import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from svformer import PRESETS, InputError, SVFormer, SVFormerConfig, load_checkpoint, record_spikes
from svformer.config import Norm
from svformer.evaluation.recording import run_recorded
from svformer.evaluation.spike_counter import firing_rates
from svformer.model.attention.qkv import spiking_attention
from svformer.model.layers import Conv, TimeNorm
from svformer.model.neurons import PLIF
from tensors import random_clips

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared golden files are not here")

SMALL = SVFormerConfig(
    num_classes=5, image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)
PUBLISHED = SVFormerConfig(num_classes=101, norm="per_step")


@functools.cache
def lively_model(config: SVFormerConfig) -> SVFormer:
    """Random weights in float64, where no rounding decides, with norms that let every layer fire and rest."""
    torch.manual_seed(0)
    model = SVFormer(config).double().train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("attn.norm1.bias"):
                parameter.fill_(2.0)  # q, k and v fire often, or the sums over the few tokens stay too small
            elif name.endswith("plif_proj.p.w"):
                parameter.fill_(5.0)  # tau near 1, for the same reason
        for module in model.modules():
            if isinstance(module, TimeNorm | nn.BatchNorm3d):
                module.momentum = 1.0  # statistics of this one batch
        model(random_clips(config, 4, seed=1))
    return model.eval()


def on_meta(config: SVFormerConfig) -> SVFormer:
    """Shapes without memory."""
    with torch.device("meta"):
        return SVFormer(config)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The published network


@needs_golden
@pytest.mark.parametrize("name", ["tiny_rgb", "small_events"])
def test_golden_logits_and_every_spike_count(name: str) -> None:
    golden = np.load(GOLDEN / f"{name}.npz")
    model = load_checkpoint(GOLDEN / f"{name}.pyth", head_dim=int(golden["head_dim"])).double()
    logits, spikes = run_recorded(model, torch.from_numpy(golden["clip"]).double())
    np.testing.assert_allclose(logits.numpy(), golden["logits"], rtol=0, atol=1e-6)
    assert [layer.size for layer in spikes.values()] == golden["neuron_steps"].tolist()
    found = {name: int(layer.sum()) for name, layer in spikes.items()}
    assert found == dict(zip(spikes, golden["spike_counts"].tolist(), strict=True))  # both in order of execution


def test_parameters_of_the_published_network() -> None:
    assert count(on_meta(PUBLISHED)) == 13_801_612


def test_sharing_the_norm_over_time_saves_15_of_16_sets() -> None:
    # Channels with a norm: stem 128; stage 1: 128 + (256 + 128) = 512; down 256; stage 2: 256 + (512 + 256) = 1024;
    # down 384; stage 3, three times: (1152 + 384) + (768 + 384) = 2688; down 512;
    # stage 4: (1536 + 512) + (1024 + 512) = 3584; local path 512. A set is one scale and one shift.
    channels = 128 + 512 + 256 + 1024 + 384 + 3 * 2688 + 512 + 3584 + 512
    assert count(on_meta(PRESETS["ucf101"])) == 13_801_612 - 15 * 2 * channels


def test_every_layer_of_the_published_table_is_there_with_its_parameters() -> None:
    model = on_meta(PUBLISHED)
    with (ROOT / "hardware" / "data" / "svformer_ucf101_layers.csv").open(newline="") as file:
        table = {row["layer"]: int(row["params"]) for row in csv.DictReader(file) if row["params"]}
    assert {name: count(model.get_submodule(name)) for name in table} == table
    neurons = [name for name, module in model.named_modules() if isinstance(module, PLIF)]
    assert set(neurons) == {name for name in table if "plif" in name}


def test_presets_and_feature_map_sizes() -> None:
    # 224: (224 + 2 - 6) // 4 + 1 = 56, then (56 + 2 - 4) // 2 + 1 = 28, 14, 7.
    assert PRESETS["ucf101"].stage_sizes == (56, 28, 14, 7)
    assert SMALL.stage_sizes == (8, 4, 2, 1)
    assert 0.1e6 < count(on_meta(PRESETS["tiny"])) < 0.3e6


# The whole network


@pytest.mark.parametrize("norm", ["shared", "per_step"])
def test_two_clips_in_a_batch_are_the_clips_alone(norm: Norm) -> None:
    model, clips = lively_model(dataclasses.replace(SMALL, norm=norm)), random_clips(SMALL, 2)
    logits, spikes = run_recorded(model, clips)
    assert logits.shape == (2, 5)
    for clip in range(2):
        alone, alone_spikes = run_recorded(model, clips[clip : clip + 1])
        torch.testing.assert_close(alone, logits[clip : clip + 1], rtol=1e-9, atol=1e-9)
        for name, layer in spikes.items():
            np.testing.assert_array_equal(alone_spikes[name], layer[:, clip : clip + 1], err_msg=name)


def test_no_spike_depends_on_a_later_frame_and_all_logits_do_on_the_last() -> None:
    model, clip = lively_model(SMALL), random_clips(SMALL, 1)
    changed = clip.clone()
    changed[:, :, 2:] = random_clips(SMALL, 1, seed=5)[:, :, 2:]
    (logits, before), (other_logits, after) = run_recorded(model, clip), run_recorded(model, changed)
    for name, layer in before.items():
        np.testing.assert_array_equal(layer[:2], after[name][:2], err_msg=name)
    assert sum(int((layer[2:] != after[name][2:]).sum()) for name, layer in before.items()) > 100
    assert (logits != other_logits).all()


def test_the_order_of_the_frames_matters() -> None:
    model, clip = lively_model(SMALL), random_clips(SMALL, 1)
    assert not torch.allclose(model(clip), model(clip.flip(2)))


@pytest.mark.parametrize(
    "shape",
    [
        (1, 4, 3, 32, 32),  # time before channels
        (3, 4, 32, 32),  # no batch
        (1, 3, 5, 32, 32),
        (1, 3, 4, 32, 64),
        (1, 1, 4, 32, 32),
    ],
)
def test_a_clip_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as refusal:
        SVFormer(SMALL)(torch.zeros(shape))
    assert str(list(shape)) in str(refusal.value)
    assert "[B, 3, 4, 32, 32]" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_gradients_reach_every_parameter() -> None:
    model = copy.deepcopy(lively_model(SMALL)).train()
    nn.functional.cross_entropy(model(random_clips(SMALL, 4)), torch.arange(4)).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9}
    # A constant that reaches a norm as a constant is taken away with the mean; conv1's meets borders before it.
    convolutions = [name for name, module in model.named_modules() if isinstance(module, Conv | nn.Conv3d)]
    assert without == {f"{name}.bias" for name in convolutions if not name.endswith("local.conv1")}


# Recording


def stage_shape(stage: int, channels: int) -> tuple[int, ...]:
    """[T, B, C, H, W] of a layer of SMALL for two clips."""
    size = SMALL.stage_sizes[stage - 1]
    return (4, 2, channels, size, size)


def test_recording_gives_every_layer_in_order_of_execution() -> None:
    model, clips = lively_model(SMALL), random_clips(SMALL, 2)
    spikes = record_spikes(model, clips)
    local, mlp = ("local.plif",), ("mlp.plif1", "mlp.plif2")
    attention = tuple(f"attn.plif_{part}" for part in ("in", "q", "k", "v", "proj"))
    assert list(spikes) == [
        *(f"stage1.block0.{name}" for name in local + mlp),
        "down2.plif",
        *(f"stage2.block0.{name}" for name in local + mlp),
        "down3.plif",
        "localpath.plif",
        *(f"stage3.block0.{name}" for name in attention + mlp),
        "down4.plif",
        *(f"stage4.block0.{name}" for name in attention + mlp),
        "head.plif",
    ]
    shapes = {name: layer.shape for name, layer in spikes.items()}
    assert shapes["stage1.block0.mlp.plif2"] == stage_shape(1, 2 * 8)
    assert shapes["down2.plif"] == stage_shape(1, 8)  # a neuron in front of the convolution: still the large map
    assert shapes["localpath.plif"] == shapes["stage3.block0.attn.plif_q"] == stage_shape(3, 16)
    assert shapes["head.plif"] == stage_shape(4, 2 * 16)
    for name, layer in spikes.items():
        assert layer.dtype == np.uint8, name
        assert set(np.unique(layer)) == {0, 1}, name  # lively: every layer both fires and rests


def test_recording_changes_nothing_and_leaves_no_hook() -> None:
    model, clips = lively_model(SMALL), random_clips(SMALL, 2)
    logits, _ = run_recorded(model, clips)
    assert torch.equal(logits, model(clips))
    with pytest.raises(InputError):
        record_spikes(model, clips[:, :, :2])
    assert not any(module._forward_hooks for module in model.modules())


def test_firing_rates_by_hand() -> None:
    spikes = np.zeros((2, 1, 1, 2, 2), dtype=np.uint8)
    spikes[0, 0, 0, 0, 0] = spikes[1, 0, 0, 1, 1] = spikes[1, 0, 0, 0, 0] = 1
    assert firing_rates({"layer": spikes}) == {"layer": 3 / 8}  # 3 spikes of 4 neurons in 2 steps


# Norm


def sequence(values: list[list[float]]) -> Tensor:
    """One channel, one clip, one row: [T, 1, 1, 1, W]."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


def test_norm_statistics_by_hand() -> None:
    x = sequence([[1, 3], [5, 7]])
    # Shared: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5. Per step: means 2 and 6, variance 1 each.
    shared = TimeNorm(1, frames=2, mode="shared").double()
    torch.testing.assert_close(shared(x), (x - 4) / (5 + 1e-5) ** 0.5)
    per_step = TimeNorm(1, frames=2, mode="per_step").double()
    torch.testing.assert_close(per_step(x), sequence([[-1, 1], [-1, 1]]) / (1 + 1e-5) ** 0.5)
    # Running averages move by a tenth; the variance is the unbiased one, 20 / 3 and 2 / 1.
    assert shared.running_mean.tolist() == pytest.approx([0.1 * 4])
    assert shared.running_var.tolist() == pytest.approx([0.9 + 0.1 * 20 / 3])
    assert per_step.running_mean.tolist() == pytest.approx([0.1 * 2, 0.1 * 6])
    assert per_step.running_var.tolist() == pytest.approx([0.9 + 0.1 * 2] * 2)


def test_per_step_sets_are_ordered_by_time_then_channel() -> None:
    norm = TimeNorm(2, frames=3, mode="per_step").double().eval()
    with torch.no_grad():
        norm.weight.copy_(torch.arange(6.0))  # t * C + c
        norm.bias.copy_(10 * torch.arange(6.0))
    normed = norm(torch.ones(3, 4, 2, 5, 5, dtype=torch.float64))
    assert normed.shape == (3, 4, 2, 5, 5)
    for t, c in itertools.product(range(3), range(2)):
        expected = (t * 2 + c) / (1 + 1e-5) ** 0.5 + 10 * (t * 2 + c)
        torch.testing.assert_close(normed[t, :, c], torch.full((4, 5, 5), expected, dtype=torch.float64))


@given(seed=st.integers(0, 2**31), frames=st.integers(1, 4), channels=st.integers(1, 4))
def test_per_step_with_equal_sets_is_the_shared_norm(seed: int, frames: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shared, per_step = (TimeNorm(channels, frames=frames, mode=mode).eval() for mode in ("shared", "per_step"))
    state = {name: torch.rand(channels, generator=generator) + 0.1 for name in ("weight", "bias", "running_mean")}
    state["running_var"] = torch.rand(channels, generator=generator) + 0.1
    shared.load_state_dict(state, strict=False)
    per_step.load_state_dict({name: value.repeat(frames) for name, value in state.items()}, strict=False)
    x = torch.randn(frames, 2, channels, 3, 3, generator=generator)
    torch.testing.assert_close(shared(x), per_step(x))


# Attention


def random_spikes(*shape: int, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def attention_slowly(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Eq. 8 as loops: channel i of a head's output at a token = sum over tokens n, channels j of q_j k_jn v_in."""
    frames, batch, channels, height, width = q.shape
    dim, out = channels // heads, torch.zeros_like(q)
    places = list(itertools.product(range(height), range(width)))
    for t, b, head in itertools.product(range(frames), range(batch), range(heads)):
        first = head * dim
        for (y, x), i in itertools.product(places, range(dim)):
            total = 0.0
            for j, (n_y, n_x) in itertools.product(range(dim), places):
                query, key = q[t, b, first + j, y, x], k[t, b, first + j, n_y, n_x]
                total += float(query * key * v[t, b, first + i, n_y, n_x])
            out[t, b, first + i, y, x] = total * dim**-0.5
    return out


def test_attention_by_hand() -> None:
    # One head of 2 channels, 2 tokens; rows are channels. k of token 0 is (1, 1), of token 1 (0, 1); v (1, 0), (1, 1).
    # k^T v = (1, 1)^T (1, 0) + (0, 1)^T (1, 1) = [[1, 0], [1, 0]] + [[0, 0], [1, 1]] = [[1, 0], [2, 1]].
    # q of token 0 is (1, 0): row 0 = (1, 0). q of token 1 is (1, 1): rows 0 + 1 = (3, 1). Scale 1 / sqrt 2.
    q, k, v = (
        torch.tensor(x, dtype=torch.float64).reshape(1, 1, 2, 1, 2)
        for x in ([[1, 1], [0, 1]], [[1, 0], [1, 1]], [[1, 1], [0, 1]])
    )
    expected = torch.tensor([[1, 3], [0, 1]], dtype=torch.float64).reshape(1, 1, 2, 1, 2) * 2**-0.5
    torch.testing.assert_close(spiking_attention(q, k, v, heads=1), expected)


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_attention_equals_the_loops(heads: int) -> None:
    q, k, v = (random_spikes(2, 2, 6, 2, 3, seed=seed) for seed in range(3))
    torch.testing.assert_close(spiking_attention(q, k, v, heads=heads), attention_slowly(q, k, v, heads))


@pytest.mark.parametrize(("dimension", "name"), [(0, "frames"), (1, "clips")])
def test_attention_mixes_no_frames_and_no_clips(dimension: int, name: str) -> None:
    q, k, v = (random_spikes(3, 3, 4, 2, 2, seed=seed) for seed in range(3))
    before = spiking_attention(q, k, v, heads=2)
    for x in (q, k, v):
        x.select(dimension, 1).logical_not_()
    changed = spiking_attention(q, k, v, heads=2) != before
    assert changed.select(dimension, 1).any()
    for other in (0, 2):
        assert not changed.select(dimension, other).any(), name


def test_attention_mixes_no_heads_but_all_positions() -> None:
    q, k, v = (torch.ones(1, 1, 4, 3, 3, dtype=torch.float64) for _ in range(3))
    before = spiking_attention(q, k, v, heads=2)
    v[0, 0, 0, 2, 2] = 0  # channel 0, of the first head, at one position
    changed = spiking_attention(q, k, v, heads=2) != before
    assert changed[0, 0].any(dim=(1, 2)).tolist() == [True, False, False, False]
    assert changed[0, 0, 0].all()


# Configuration


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"depths": (1, 1, 1)}, r"four stages are needed, found .*depths=\(1, 1, 1\)"),
        ({"embed_dims": (8, 8, 16)}, r"four stages are needed, found embed_dims=\(8, 8, 16\)"),
        ({"embed_dims": ()}, "four stages are needed"),
        ({"head_dim": 0}, "at least 1"),
        ({"frames": 2.5}, "whole number"),
        ({"image_size": 32.0}, "whole number"),
        ({"num_classes": 0}, "at least 1"),
        ({"in_channels": 0}, "at least 1"),
        ({"frames": -1}, "at least 1"),
        ({"depths": (1, 0, 1, 1)}, "at least 1"),
        ({"mlp_ratio": 0}, "at least 1"),
        ({"head_dim": -8}, "at least 1"),
        ({"head_dim": 5}, r"head_dim=5 must divide the widths of stages 3 and 4, \(16, 16\)"),
        ({"embed_dims": (8, 8, 16, 15), "head_dim": 1}, "last width must be even .*found embed_dims=.* 15"),
        ({"norm": "layer"}, "'shared' or 'per_step', found 'layer'"),
        ({"threshold": 0.0}, "threshold must be positive, found 0.0"),
        ({"initial_tau": 1.0}, "initial_tau must be above 1 time step, found 1.0"),
        ({"initial_tau": float("nan")}, "initial_tau must be above 1 time step, found nan"),
        ({"image_size": 0}, "multiple of 32 .*found 0"),
        ({"image_size": 48}, "multiple of 32 .*found 48"),
    ],
)
def test_a_geometry_that_breaks_a_rule_is_refused(wrong: dict[str, object], rule: str) -> None:
    with pytest.raises(InputError, match=f"cannot be built: .*{rule}") as refusal:
        dataclasses.replace(SMALL, **wrong)
    assert "\n" not in str(refusal.value)


def test_all_broken_rules_are_told_at_once() -> None:
    with pytest.raises(InputError, match=r"multiple of 32") as refusal:
        dataclasses.replace(SMALL, image_size=33, threshold=-1.0, head_dim=3)
    assert "threshold" in str(refusal.value)
    assert "head_dim=3" in str(refusal.value)


@pytest.mark.parametrize("config", [SMALL, PUBLISHED, *PRESETS.values()], ids=lambda config: str(config.embed_dims))
def test_json_keeps_the_configuration(config: SVFormerConfig) -> None:
    assert SVFormerConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "text", ["", "{", "3", "null", "[]", "{}", '{"num_classes": 3}', '{"embed_dims": 3, "depths": [1, 1, 1, 1]}']
)
def test_json_that_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not an SVFormer configuration"):
        SVFormerConfig.from_json(text)


@pytest.mark.parametrize("change", [{"attention": "softmax"}, {"head_dim": "8"}, {"frames": None}])
def test_json_with_an_unknown_field_or_a_wrong_type_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"not an SVFormer configuration|cannot be built"):
        SVFormerConfig.from_json(json.dumps(json.loads(SMALL.to_json()) | change))
