"""Quantisation-aware training: what is rounded and how, merged chains at the border, gradients, integers by hand."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from svformer import SVFormer, SVFormerConfig
from svformer.model.blocks import Mlp
from svformer.model.layers import Conv, TimeNorm
from svformer.model.neurons import PLIF
from svformer.model.qat import (
    StoredConnection,
    best_step,
    input_step,
    largest_mantissa,
    merged_chain,
    quantised,
    quantised_chain,
    quantised_classifier,
    quantised_readout,
    rounded,
)
from tensors import normal as random

SMALL = SVFormerConfig(
    num_classes=3, image_size=64, embed_dims=(4, 6, 8, 8), depths=(1, 1, 1, 1), head_dim=4, frames=3, weight_bits=3
)
BITS = st.integers(2, 8)
SEEDS = st.integers(0, 2**31)


def spikes(*shape: int, seed: int = 0) -> Tensor:
    return (random(*shape, seed=seed) > 0.5).double()


def random_norm(channels: int, seed: int = 0) -> TimeNorm:
    """Statistics and parameters as training could leave them, in evaluation mode."""
    norm = TimeNorm(channels, frames=1, mode="shared").double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(torch.randn(channels, generator=generator))
        norm.running_var.copy_(torch.rand(channels, generator=generator) + 0.1)
    return norm


def trained_model(config: SVFormerConfig) -> SVFormer:
    """In float64, with the statistics of a batch and neurons of different time constants."""
    torch.manual_seed(0)
    floating = SVFormer(dataclasses.replace(config, weight_bits=None)).double()
    for module in floating.modules():
        if isinstance(module, TimeNorm | nn.BatchNorm3d):
            module.momentum = 1.0
        elif isinstance(module, PLIF):
            nn.init.normal_(module.p.w, 0, 0.5)
    floating(random_clips(config, seed=1))
    model = SVFormer(config).double()
    model.load_state_dict(floating.state_dict())
    return model.eval()


def random_clips(config: SVFormerConfig, seed: int = 0) -> Tensor:
    return random(4, config.in_channels, config.frames, config.image_size, config.image_size, seed=seed)


def assert_on_grid(connection: StoredConnection, *, weight_bits: int, base_step: float = 1.0) -> None:
    """Whole mantissas of N bits, times a power of two (and the base step); biases in 1 / 4096."""
    assert connection.step is not None
    exponent = math.log2(connection.step / base_step)
    assert exponent == round(exponent)
    mantissas = connection.weight / connection.step
    assert torch.equal(mantissas, mantissas.round())
    assert mantissas.abs().max() <= 2 ** (weight_bits - 1) - 1
    assert torch.equal(connection.bias * 4096, (connection.bias * 4096).round())


# Rounding


def test_rounding_by_hand() -> None:
    # 3 bits: mantissas -3 .. 3. The largest step tried is 0.5, the first with 3 * step >= 0.9.
    # 0.5:   0.9 -> 2 * 0.5 = 1.0, -0.3 -> -1 * 0.5 = -0.5: squares 0.01 + 0.04
    # 0.25:  0.9 -> 4, clipped to 3: 0.75, -0.3 -> -0.25: squares 0.0225 + 0.0025, the least
    # 0.125: 0.9 -> 7, clipped to 3: 0.375
    found = quantised(
        StoredConnection(weight=torch.tensor([0.9, -0.3]).reshape(1, 2, 1, 1), bias=torch.tensor([[[0.6]]])),
        weight_bits=3,
    )
    assert found.step == 0.25
    assert found.weight.flatten().tolist() == [0.75, -0.25]
    assert found.bias.item() * 4096 == 2458  # 2457.6


@given(bits=BITS, seed=SEEDS, scale=st.floats(1e-6, 1e6), base=st.sampled_from([1.0, 57.375]))
def test_weights_are_on_the_grid_with_the_least_error(bits: int, seed: int, scale: float, base: float) -> None:
    weight = scale * random(4, 3, 2, 2, seed=seed)
    found = quantised(
        StoredConnection(weight=weight, bias=random(4, 1, 1, seed=seed)), weight_bits=bits, base_step=base
    )
    assert_on_grid(found, weight_bits=bits, base_step=base)
    assert found.step is not None
    limit = largest_mantissa(bits)
    steps = base * 2.0 ** np.arange(-60, 40)
    errors = [((weight / s).round().clamp(-limit, limit) * s - weight).square().sum().item() for s in steps]
    assert (found.weight - weight).square().sum().item() == pytest.approx(min(errors))
    clipped = weight.abs() > limit * found.step
    assert ((found.weight - weight).abs() <= found.step * (0.5 + 1e-9))[~clipped].all()


@given(bits=BITS, seed=SEEDS)
def test_rounded_weights_are_not_changed_again(bits: int, seed: int) -> None:
    weight, bias = random(5, 2, 3, 3, seed=seed), random(5, 1, 1, seed=seed)
    once = quantised(StoredConnection(weight=weight, bias=bias), weight_bits=bits)
    twice = quantised(once, weight_bits=bits)
    assert torch.equal(twice.weight, once.weight)
    assert torch.equal(twice.bias, once.bias)


def test_weights_that_are_all_zero_stay() -> None:
    assert best_step(torch.zeros(2, 2), weight_bits=4, base_step=57.375) == 57.375
    found = quantised(StoredConnection(weight=torch.zeros(2, 2, 1, 1), bias=torch.zeros(2, 1, 1)), weight_bits=4)
    assert not found.weight.any()


@given(x=st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_gradients_pass_the_rounding_unchanged_and_the_value_is_exact(x: list[float]) -> None:
    exact = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    found = rounded(exact, 2.0**-6)
    assert torch.equal(found * 64, (exact.detach() * 64).round())
    (gradient,) = torch.autograd.grad((3 * found).sum(), exact)
    assert (gradient == 3).all()


def test_the_grid_of_pixels() -> None:
    """(p / 255 - 0.45) / 0.225: one grey level is 1 / (255 * 0.225) = 1 / 57.375. Event counts have a grid of 1."""
    assert input_step(SMALL) == 57.375
    assert input_step(dataclasses.replace(SMALL, in_channels=2)) == 1.0


# Chains


def test_the_bias_map_by_hand() -> None:
    """A bias of 1 in front of a 3x3 kernel of ones with padding: it counts the neighbours inside the image.

    Norm: gain 2 / sqrt(4) = 1, shift 0.5 - 3 * 1.
    """
    first, second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1)
    for parameter in (first.weight, first.bias, second.weight):
        nn.init.ones_(parameter)
    nn.init.zeros_(second.bias)
    norm = nn.BatchNorm2d(1, eps=0.0)
    norm.running_var.fill_(4)
    norm.running_mean.fill_(3)
    nn.init.constant_(norm.weight, 2)
    nn.init.constant_(norm.bias, 0.5)
    found = merged_chain([first, second], norm, size=3)
    counts = torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]])
    torch.testing.assert_close(found.bias[0], counts - 2.5)
    torch.testing.assert_close(found.weight, torch.ones(1, 1, 3, 3))


@given(
    seed=SEEDS,
    widths=st.tuples(*[st.integers(1, 4)] * 3),
    kernel=st.sampled_from([2, 3, 5]),
    stride=st.integers(1, 2),
    size=st.integers(5, 8),
    place=st.integers(0, 2),
    depthwise=st.booleans(),
)
def test_a_merged_chain_is_the_chain_borders_included(
    seed: int, widths: tuple[int, ...], kernel: int, stride: int, size: int, place: int, depthwise: bool
) -> None:
    """Two 1x1 convolutions and one that looks around, at any place between them, depthwise or not."""
    torch.manual_seed(seed)
    channels, convs = [2, *widths], []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        if i == place:
            groups = inputs if depthwise else 1
            channels[i + 1] = outputs = inputs * 2 if depthwise else outputs
            convs.append(Conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups))
        else:
            convs.append(Conv(channels[i], outputs, 1))
    norm = random_norm(channels[-1], seed)
    x = expected = spikes(2, 3, 2, size, size, seed=seed)
    for conv in convs:
        expected = conv.double()(expected)
    expected = norm(expected)
    merged = merged_chain(convs, norm, size=size)
    torch.testing.assert_close(merged(x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(merged(x[0]), expected[0], rtol=1e-9, atol=1e-9)  # any leading dimensions
    assert merged.bias.shape[1:] == ((1, 1) if place == 0 else expected.shape[-2:])


def test_a_convolution_alone_keeps_its_groups() -> None:
    conv, norm, x = Conv(4, 4, 5, padding=2, groups=4).double(), random_norm(4), spikes(2, 1, 4, 6, 6)
    merged = merged_chain([conv], norm, size=6)
    assert merged.weight.shape == (4, 1, 5, 5)
    assert merged.bias.shape == (4, 1, 1)
    torch.testing.assert_close(merged(x), norm(conv(x)))


# The network


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[StoredConnection, Tensor]]:
    """Every connection that computes, with its input."""
    used: list[tuple[StoredConnection, Tensor]] = []
    call = StoredConnection.__call__

    def look(connection: StoredConnection, x: Tensor) -> Tensor:
        used.append((connection, x))
        return call(connection, x)

    monkeypatch.setattr(StoredConnection, "__call__", look)
    return used


@pytest.mark.parametrize("weight_bits", [2, 3, 8])
@pytest.mark.parametrize("local_neurons", [False, True])
def test_all_that_computes_is_a_connection_on_the_grid(
    weight_bits: int, local_neurons: bool, connections: list[tuple[StoredConnection, Tensor]]
) -> None:
    config = dataclasses.replace(SMALL, weight_bits=weight_bits, local_neurons=local_neurons)
    model = trained_model(config)
    connections.clear()

    def forbidden(module: nn.Module, *_: object) -> None:
        raise AssertionError(f"{module} computes with real weights")

    for module in model.modules():
        if isinstance(module, Conv | TimeNorm | nn.Conv3d | nn.BatchNorm3d | nn.Linear):
            module.register_forward_pre_hook(forbidden)
    model(random_clips(config))
    # Stem; mixer and 2 of the MLP in stages 1 and 2; qkv, proj and 2 of the MLP in 3 and 4; 3 embeddings; local path;
    # 3 frames of the readout; classifier. Local neurons cut each mixer in three.
    assert len(connections) == 1 + 2 * 3 + 2 * 4 + 3 + 1 + 3 + 1 + (4 if local_neurons else 0)
    for place, (connection, x) in enumerate(connections):
        assert_on_grid(connection, weight_bits=weight_bits, base_step=57.375 if place == 0 else 1.0)
        real = place in (0, len(connections) - 1)  # pixels, and the sum of the readout
        assert (set(x.unique().tolist()) <= {0.0, 1.0}) != real


def test_with_8_bits_a_layer_is_nearly_the_float_layer() -> None:
    """Each of 3 * 6 * 6 weights is off by half a step at most, and so is their sum for pixels within -3 .. 3."""
    model = trained_model(dataclasses.replace(SMALL, weight_bits=8))
    frames = random(3, 2, 3, 64, 64).clamp(-3, 3)
    expected = model.stem.norm(model.stem.conv(frames))
    difference = (model.stem(frames) - expected).abs().max()
    step = quantised_chain([model.stem.conv], model.stem.norm, size=64, weight_bits=8, base_step=input_step(SMALL)).step
    assert step is not None
    assert 0 < difference < 108 * 3 * step / 2
    assert difference < 0.05 * expected.abs().max()


def test_parameters_are_those_of_the_float_network() -> None:
    floating = SVFormer(dataclasses.replace(SMALL, weight_bits=None))
    assert SVFormer(SMALL).state_dict().keys() == floating.state_dict().keys()


def test_training_and_evaluation_compute_the_same_and_move_no_statistics() -> None:
    model, clips = trained_model(SMALL), random_clips(SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluated = model(clips)
    assert torch.equal(model.train()(clips), evaluated)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("local_neurons", [False, True])
def test_gradients_reach_every_parameter(local_neurons: bool) -> None:
    model = trained_model(dataclasses.replace(SMALL, local_neurons=local_neurons)).train()
    for name, parameter in model.named_parameters():
        if name.endswith("attn.norm1.bias"):
            nn.init.constant_(parameter, 2.0)  # q, k and v fire often, or the few tokens of SMALL send nothing on
        elif name.endswith("plif_proj.p.w"):
            nn.init.constant_(parameter, 5.0)
    nn.functional.cross_entropy(model(random_clips(SMALL)), torch.arange(4) % 3).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == set()


def test_the_readout_is_the_convolution_over_the_clip_when_its_slices_are_not_rounded() -> None:
    """Weights that are on the grid already, a different one for every frame, through a norm of gain 1 and shift 2."""
    conv, norm = nn.Conv3d(4, 4, (3, 2, 2), groups=2).double(), nn.BatchNorm3d(4, eps=0.0).double().eval()
    nn.init.constant_(norm.bias, 2)
    with torch.no_grad():
        for t in range(3):
            conv.weight[:, :, t] = torch.randint(-3, 4, (4, 2, 2, 2)) * 2.0**-t
            conv.weight[0, 0, t, 0, 0] = 3 * 2.0**-t
        conv.bias.copy_(torch.tensor([0.5, -0.25, 0, 1]))
    slices = quantised_readout(conv, norm, weight_bits=3)
    assert [connection.step for connection in slices] == [1.0, 0.5, 0.25]
    assert [bool(connection.bias.any()) for connection in slices] == [False, False, True]  # with the last frame
    clip = spikes(3, 5, 4, 2, 2)
    summed = sum(connection(frame) for connection, frame in zip(slices, clip, strict=True))
    torch.testing.assert_close(summed, norm(conv(clip.permute(1, 2, 0, 3, 4)))[..., 0, :, :])


def test_the_classifier_by_hand() -> None:
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.9, -0.3]]))
        linear.bias.fill_(0.6)
    found = quantised_classifier(linear, weight_bits=3)(torch.tensor([4.0, 1.5]).reshape(1, 2, 1, 1))
    assert found.item() == 4 * 0.75 - 1.5 * 0.25 + 2458 / 4096


# The integer machine


def test_a_layer_in_integers_by_hand() -> None:
    """Two inputs, one neuron of tau = 2; potentials count in 1/4096, weights 0.75 and -0.25 are 3 and -1 times 1024.

    The bias is 0.6 * 4096 = 2457.6, stored as 2458; the threshold 1 / decay = 2 is 128 / 64, that is 8192.
    spikes      current                     potential (half of the one before stays)
    1 0         3072        + 2458 = 5530   5530
    1 1         3072 - 1024 + 2458 = 4506   2765   + 4506 = 7271
    1 0         3072        + 2458 = 5530   3635.5 + 5530 = 9165.5 >= 8192: fires, 0
    0 0                       2458          2458
    """
    conv, norm = nn.Conv2d(2, 1, 1), nn.BatchNorm2d(1, eps=0.0).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.9, -0.3]).reshape(1, 2, 1, 1))
        conv.bias.fill_(0.6)
    connection = quantised_chain([conv], norm, size=1, weight_bits=3)
    arriving = torch.tensor([[1.0, 0], [1, 1], [1, 0], [0, 0]]).reshape(4, 1, 2, 1, 1)
    current = connection(arriving)
    assert (current.flatten() * 4096).tolist() == [5530, 4506, 5530, 2458]
    assert PLIF(tau=2.0, fixed_point=True)(current).flatten().tolist() == [0, 0, 1, 0]


def test_an_mlp_computes_whole_numbers() -> None:
    """Its currents are sums of mantissas, shifted, and biases in 1 / 4096."""
    torch.manual_seed(0)
    mlp, x = Mlp(6, SMALL).double().eval(), 2 * random(3, 2, 6, 4, 4)
    hidden = quantised_chain([mlp.fc1], mlp.norm1, size=4, weight_bits=3)
    out = quantised_chain([mlp.fc2], mlp.norm2, size=4, weight_bits=3)
    fired = mlp.plif1(x)
    for connection, neuron in ((hidden, mlp.plif2), (out, None)):
        assert connection.step is not None
        mantissas = (connection.weight / connection.step)[:, :, 0, 0].detach().numpy().astype(np.int64)
        exponent = round(math.log2(connection.step)) + 12  # in 1 / 4096
        bias = (connection.bias * 4096).detach().numpy().astype(np.int64)
        sums = np.einsum("oi,tbihw->tbohw", mantissas, fired.detach().numpy().astype(np.int64))
        assert exponent >= 0
        current = torch.from_numpy((sums << exponent) + bias).double() / 4096
        fired = neuron(current) if neuron is not None else current
    assert torch.equal(mlp(x), fired)
