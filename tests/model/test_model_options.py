"""Options of the architecture: neurons inside the local block, the order of attention, the twin without spikes."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deploy.frontend.from_svformer import export
from deploy.ir.interpreter import interpret
from svformer import InputError, SVFormer, SVFormerConfig, record_spikes
from svformer.evaluation.recording import run_recorded
from svformer.model.attention.qkv import softmax_attention, spiking_attention
from svformer.model.layers import TimeNorm
from svformer.model.neurons import PLIF
from tensors import random_clips

SMALL = SVFormerConfig(num_classes=3, image_size=32, embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), head_dim=4, frames=2)
LOCAL = dataclasses.replace(SMALL, local_neurons=True)
TWIN = dataclasses.replace(SMALL, activation="relu", attention_order="qk_first")


def new_model(config: SVFormerConfig) -> SVFormer:
    """In float64, after one batch of statistics."""
    torch.manual_seed(0)
    model = SVFormer(config).double()
    for module in model.modules():
        if isinstance(module, TimeNorm | nn.BatchNorm3d):
            module.momentum = 1.0
    model(random_clips(config, 4, seed=1))
    return model.eval()


@st.composite
def configs(draw: st.DrawFn) -> SVFormerConfig:
    """Small legal geometries with every combination of the options."""
    head_dim = draw(st.sampled_from([1, 2, 4]))
    activation = draw(st.sampled_from(["spiking", "relu"]))
    norm = draw(st.sampled_from(["shared", "per_step"]))
    quantisable = (norm, activation) == ("shared", "spiking")
    return SVFormerConfig(
        num_classes=draw(st.integers(1, 4)),
        in_channels=draw(st.integers(1, 3)),
        frames=draw(st.integers(1, 5)),
        image_size=32 * draw(st.integers(1, 2)),
        embed_dims=draw(st.tuples(*[st.integers(1, 3)] * 2, st.just(2 * head_dim), st.just(4 * head_dim))),
        depths=draw(st.tuples(*[st.integers(1, 2)] * 4)),
        head_dim=head_dim,
        norm=norm,
        local_neurons=draw(st.booleans()),
        attention_order="qk_first" if activation == "relu" else draw(st.sampled_from(["kv_first", "qk_first"])),
        activation=activation,
        weight_bits=draw(st.none() | st.integers(2, 8)) if quantisable else None,
    )


@given(config=configs())
@settings(max_examples=25)
def test_every_legal_combination_runs_and_keeps_its_configuration(config: SVFormerConfig) -> None:
    logits = SVFormer(config).eval()(random_clips(config, 2).float())
    assert logits.shape == (2, config.num_classes)
    assert logits.isfinite().all()
    assert SVFormerConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"local_neurons": 1}, "local_neurons must be true or false, found 1"),
        ({"local_neurons": "no"}, "local_neurons must be true or false, found no"),
        ({"attention_order": "vk_first"}, "attention_order must be 'kv_first' or 'qk_first', found 'vk_first'"),
        ({"activation": "gelu"}, "activation must be 'spiking' or 'relu', found 'gelu'"),
        ({"activation": "relu"}, "activation='relu' .* needs attention_order='qk_first', found 'kv_first'"),
        *(({"weight_bits": bits}, f"weight_bits must be 2 to 8, .*found {bits}") for bits in (1, 9, 0, -3, 4.0, "4")),
        ({"weight_bits": True}, "weight_bits must be 2 to 8"),
        ({"weight_bits": 4, "norm": "per_step"}, "weight_bits needs norm='shared' .*found 'per_step'"),
        (
            {"weight_bits": 4, "activation": "relu", "attention_order": "qk_first"},
            "weight_bits needs .*activation='spiking', found 'shared', 'relu'",
        ),
    ],
)
def test_what_is_illegal_is_refused_with_the_rule(wrong: dict[str, object], rule: str) -> None:
    with pytest.raises(InputError, match=f"cannot be built: .*{rule}") as refusal:
        dataclasses.replace(SMALL, **wrong)
    assert "\n" not in str(refusal.value)


def test_an_older_configuration_has_the_defaults() -> None:
    fields = json.loads(SMALL.to_json())
    for name in ("local_neurons", "attention_order", "activation", "weight_bits"):
        del fields[name]
    assert SVFormerConfig.from_json(json.dumps(fields)) == SMALL


# Neurons inside the local block


def test_local_neurons_fire_in_order_between_the_convolutions() -> None:
    spikes = record_spikes(new_model(LOCAL), random_clips(LOCAL, 2))
    names = [f"stage1.block0.local.{name}" for name in ("plif", "plif2", "plif3")]
    assert list(spikes)[:3] == names
    assert all(0 < spikes[name].mean() < 1 for name in names)


def test_every_convolution_of_the_local_block_takes_spikes_with_local_neurons_only() -> None:
    def graded_inputs(config: SVFormerConfig) -> list[str]:
        model, found = new_model(config), []
        mixer = model.stage1.block0.local
        for name in ("conv1", "dwconv", "conv2"):

            def look(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor, name: str = name) -> None:
                if not set(inputs[0].unique().tolist()) <= {0.0, 1.0}:
                    found.append(name)

            getattr(mixer, name).register_forward_hook(look)
        model(random_clips(config, 1))
        return found

    assert graded_inputs(LOCAL) == []
    assert graded_inputs(SMALL) == ["dwconv", "conv2"]


def test_local_neurons_are_exported_with_every_spike() -> None:
    model = new_model(LOCAL)
    frames = random_clips(LOCAL, 2).transpose(1, 2).numpy()
    signals = interpret(export(model), frames)
    logits, spikes = run_recorded(model, random_clips(LOCAL, 2))
    for stage in (1, 2):
        for name in ("plif", "plif2", "plif3"):
            layer = f"stage{stage}.block0.local.{name}"
            np.testing.assert_array_equal(signals[layer], spikes[layer].swapaxes(0, 1), err_msg=layer)
    np.testing.assert_allclose(signals["output"][:, -1], logits.numpy(), rtol=0, atol=1e-9)


# The order of attention


@given(
    seed=st.integers(0, 2**31),
    frames=st.integers(1, 3),
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 5),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_both_orders_give_the_same_numbers(
    seed: int, frames: int, heads: int, head_dim: int, size: tuple[int, int]
) -> None:
    """Bit for bit, since products of spikes are whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.rand(3, frames, 2, heads * head_dim, *size, generator=generator) < 0.4).float()
    kv_first, qk_first = (spiking_attention(q, k, v, heads=heads, order=order) for order in ("kv_first", "qk_first"))
    assert torch.equal(kv_first, qk_first)


def test_the_order_of_the_configuration_is_the_one_that_runs() -> None:
    orders = [
        new_model(dataclasses.replace(SMALL, attention_order=order)).stage3.block0.attn.product.keywords["order"]
        for order in ("kv_first", "qk_first")
    ]
    assert orders == ["kv_first", "qk_first"]


# The twin


def test_the_twin_has_the_weights_of_the_network_but_no_time_constants() -> None:
    spiking = {name: tensor.shape for name, tensor in SVFormer(SMALL).state_dict().items()}
    twin = {name: tensor.shape for name, tensor in SVFormer(TWIN).state_dict().items()}
    assert twin == {name: shape for name, shape in spiking.items() if not name.endswith(".p.w")}
    model = SVFormer(TWIN)
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == sum(
        isinstance(module, PLIF) for module in SVFormer(SMALL).modules()
    )
    assert all((module.weight == 1).all() for module in model.modules() if isinstance(module, TimeNorm))


def test_softmax_attention_by_hand() -> None:
    # One head of 1 channel, 2 tokens: q = (1, 2), k = (0, log 2), v = (3, 6), scale 1.
    # Token 0: weights exp(0) : exp(log 2) = 1 : 2 -> (3 + 2 * 6) / 3 = 5.  Token 1: 1 : 4 -> (3 + 4 * 6) / 5 = 5.4.
    log2 = float(np.log(2))
    q, k, v = (torch.tensor(x, dtype=torch.float64).reshape(1, 1, 1, 1, 2) for x in ([1, 2], [0, log2], [3, 6]))
    torch.testing.assert_close(softmax_attention(q, k, v, heads=1).flatten().tolist(), [5.0, 5.4])


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_softmax_attention_in_every_frame_clip_and_head(heads: int) -> None:
    q, k, v = torch.randn(3, 2, 2, 6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, dim = softmax_attention(q, k, v, heads=heads), 6 // heads
    for t, b, head in np.ndindex(2, 2, heads):
        rows = slice(head * dim, (head + 1) * dim)
        queries, keys, values = (x[t, b, rows].flatten(1).T for x in (q, k, v))  # [tokens, dim]
        expected = torch.softmax(queries @ keys.T * dim**-0.5, dim=1) @ values
        torch.testing.assert_close(found[t, b, rows].flatten(1).T, expected)


def test_no_frame_of_the_twin_sees_another_before_the_readout() -> None:
    """Without membrane potentials a frame is a picture of its own."""
    model, clip = new_model(TWIN), random_clips(TWIN, 1)
    alone = model.stem(clip.permute(2, 0, 1, 3, 4)[1:])
    torch.testing.assert_close(model.stage1(alone)[0], model.stage1(model.stem(clip.permute(2, 0, 1, 3, 4)))[1])


def test_gradients_reach_every_parameter_of_the_twin_but_biases_before_a_norm() -> None:
    model = new_model(TWIN).train()
    nn.functional.cross_entropy(model(random_clips(TWIN, 4)), torch.arange(4) % 3).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    assert all(name.endswith(".bias") and "norm" not in name for name in without), without


def test_the_twin_has_no_spikes_to_record_or_to_export() -> None:
    model = SVFormer(TWIN).eval()
    with pytest.raises(InputError, match="activation='relu' and no spikes to record; allowed: activation='spiking'"):
        record_spikes(model, random_clips(TWIN, 1))
    with pytest.raises(InputError, match="no spikes to export"):
        export(model)
