"""Axes that trade places: tokens become channels, channels pixels. A `Permutation` stands only where it must."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deploy
import foreign_neurons as foreign
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.operations.max_pool import MaxPool2d
from deploy.ir.operations.permutation import Permutation
from deploy.ir.populations.lif import Lif
from foreign_models import CLIPS, Model, PerFrame, T, conv_norm, images, models, ready
from processes import HANG_S
from svformer.common.errors import InputError

WIDTH, HEADS, HEIGHT, BREADTH = 8, 2, 4, 6


class Eroded(nn.Module):
    """Spike-driven self-attention for events: max pools of k, v, k v and q mask, the last two over (token, channel)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lif = conv_norm(2, WIDTH), foreign.LIFNode()
        self.q, self.k, self.v = (conv_norm(WIDTH, WIDTH, 1) for _ in "qkv")
        self.q_lif, self.k_lif, self.v_lif = (foreign.LIFNode() for _ in "qkv")
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 1, 1), padding=(0, 1, 1))
        self.mask_lif, self.last_lif = foreign.LIFNode(v_threshold=9.0), foreign.LIFNode()
        self.proj = conv_norm(WIDTH, WIDTH, 1)

    def heads(self, x: Tensor) -> Tensor:
        return x.flatten(3).transpose(-1, -2).unflatten(3, (HEADS, -1)).permute(0, 1, 3, 2, 4)  # [T, B, heads, N, d]

    def forward(self, x: Tensor) -> Tensor:
        current = self.stem(x)
        x = self.lif(current)
        q = self.heads(self.q_lif(self.q(x)))
        k, v = (self.heads(self.pool(lif(conv(x)))) for conv, lif in ((self.k, self.k_lif), (self.v, self.v_lif)))
        mask = self.mask_lif(self.pool(k * v).sum(-2, keepdim=True))
        y = self.pool(q * mask).transpose(3, 4).reshape(*x.shape)
        return self.last_lif(self.proj(y) + current).flatten(3).mean(3)


class Between(nn.Module):
    """A layer of neurons, what a test says, and a layer of neurons of what comes out; frames [T, B, 2, 4, 6]."""

    def __init__(self, middle: Callable[["Between", Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.lif, self.last = conv_norm(2, WIDTH), foreign.LIFNode(), foreign.LIFNode(v_threshold=0.2)
        self.mask = foreign.LIFNode(v_threshold=0.5)
        torch.manual_seed(3)
        self.tokens, self.channels = nn.Linear(HEIGHT * BREADTH, 5), nn.Linear(WIDTH, WIDTH)
        self.of_head = nn.Linear(WIDTH // HEADS, 3)
        self.along = PerFrame(nn.Conv1d(WIDTH, 4, 3, padding=1))
        self.turned, self.rows = PerFrame(nn.Conv2d(WIDTH, 4, 3)), PerFrame(nn.Conv2d(HEIGHT, 4, 3))
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self, self.lif(self.stem(x))))


def pooled(x: Tensor, pool: Callable[..., Tensor] = F.max_pool2d) -> Tensor:
    """Over the last two dimensions."""
    return pool(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])


def halves(s: Tensor) -> Tensor:
    return s.unflatten(3, (2, HEIGHT // 2))


# What stands between the neurons, of spikes [T, B, C, H, W], and how many permutations it takes.
MIDDLES: dict[str, tuple[Callable[[Between, Tensor], Tensor], int]] = {
    "dense over channels": (lambda net, s: net.channels(s.flatten(3).transpose(2, 3)), 0),
    "convolution of tokens in a row": (lambda net, s: net.along(s.flatten(3)), 1),
    "dense over tokens": (lambda net, s: net.tokens(s.flatten(3)), 1),
    "dense in each head": (lambda net, s: net.of_head(s.flatten(3).transpose(2, 3).unflatten(3, (HEADS, -1))), 1),
    "convolution of a turned image": (lambda net, s: net.turned(s.transpose(3, 4)), 1),
    "rows as channels": (lambda net, s: net.rows(s.transpose(2, 3)), 1),
    "largest of tokens and channels": (lambda net, s: 0.7 * pooled(s.flatten(3)) - 0.1, 1),
    "largest token": (lambda net, s: 0.7 * s.flatten(3).amax(3), 0),
    "largest channel": (lambda net, s: s.max(2).values, 1),
    "largest of rows": (lambda net, s: 0.5 * halves(net.channels(s.transpose(2, 4))).amax((3, 4), keepdim=True), 1),
    "largest of adaptive windows": (lambda net, s: PerFrame(nn.AdaptiveMaxPool2d((2, 3)))(s), 0),
    "largest current": (lambda net, s: pooled(net.along(s.flatten(3)).transpose(2, 3)), 2),
    "mean of tokens and channels": (lambda net, s: pooled(s.flatten(3), F.avg_pool2d), 1),
    "sum over outer rows": (lambda net, s: 0.3 * halves(s).sum(3), 1),
    "sum over inner rows": (lambda net, s: 0.3 * halves(s).sum(4), 0),
    "token mixing meets channel mixing": (
        lambda net, s: net.tokens(s.flatten(3)) + net.channels(s.flatten(3).transpose(2, 3)).mean(2).unsqueeze(3),
        2,
    ),
    "rows mask channels": (
        lambda net, s: s.unflatten(2, (2, HEIGHT)) * net.mask(0.06 * s.sum((2, 4)))[:, :, None, :, None, None],
        1,
    ),
    "inner rows mask both halves": (
        lambda net, s: halves(s) * net.mask(0.03 * halves(s).sum((2, 3, 5)))[:, :, None, None, :, None],
        3,
    ),
}


class Hamming(nn.Module):
    """Channels of q and k that agree, times v: products of 2 q - 1 and 2 k - 1, or these written out."""

    def __init__(self, *, written_out: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (conv_norm(2, WIDTH) for _ in "qkv")
        self.q_lif, self.k_lif, self.v_lif = (foreign.LIFNode() for _ in "qkv")
        self.last, self.written_out = foreign.LIFNode(), written_out

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            lif(conv(x)).flatten(3).transpose(2, 3)  # [T, B, tokens, channels]
            for lif, conv in ((self.q_lif, self.q), (self.k_lif, self.k), (self.v_lif, self.v))
        )
        if not self.written_out:
            return self.last(0.15 * ((2 * q - 1) @ ((2 * k - 1).transpose(2, 3) @ v)))
        both = 2 * (k.transpose(2, 3) @ v) - v.sum(2, keepdim=True)
        return self.last(0.15 * (2 * (q @ both) - both.sum(2, keepdim=True)))


def test_hamming_attention_is_refused_with_how_to_write_it_out() -> None:
    given = ready(Hamming(written_out=False), images(T, CLIPS, 2, HEIGHT, BREADTH), "TBCHW")
    with pytest.raises(InputError, match=r"Hamming attention, 2 q - 1\); .* write \(2 q - 1\) m as 2 \(q m\) - m\.sum"):
        deploy.from_torch(given.model, given.x, axes=given.axes)
    with torch.no_grad():
        expected = given.model(given.x)
        for module in given.model.modules():
            if isinstance(module, foreign.BaseNode):
                module.reset()
        given.model.written_out = True
        torch.testing.assert_close(given.model(given.x), expected)


def imports() -> dict[str, tuple[Model, int]]:
    x = images(T, CLIPS, 2, HEIGHT, BREADTH)
    given = {name: (ready(Between(middle), x, "TBCHW"), count) for name, (middle, count) in MIDDLES.items()}
    written_out = ready(Hamming(written_out=True), x, "TBCHW")
    return given | {"eroded": (ready(Eroded(), x, "TBCHW"), 4), "hamming": (written_out, 0)}


GIVEN = imports()


@pytest.mark.parametrize("name", GIVEN)
def test_every_spike_is_that_of_the_model(name: str) -> None:
    given, count = GIVEN[name]
    imported = deploy.from_torch(given.model, given.x, axes=given.axes)
    check = imported.check(given.x)
    assert check.output_error < 1e-12
    frames = imported.frames(given.x)
    exact, network = interpret(imported.graph, frames), deploy.lower(imported.graph)
    rates = {path: exact[layer.node].mean() for path, layer in imported.layers.items()}
    assert all(0 < rate < 1 for rate in rates.values()), rates
    assert sum(isinstance(node, Permutation) for node in imported.graph.nodes.values()) == count
    lowered = run_float(network, as_images(frames, network))
    for layer, population in network.populations.items():
        if isinstance(population, Lif):
            np.testing.assert_array_equal(lowered[layer].reshape(exact[layer].shape), exact[layer], err_msg=layer)


@pytest.mark.lava
def test_the_attention_of_event_transformers_runs_on_lava() -> None:
    """Its gates are sums and thresholds of spikes, so integers and real numbers have the same ones."""
    given, _ = GIVEN["eroded"]
    imported = deploy.from_torch(given.model, given.x, axes=given.axes)
    assert not any(isinstance(node, MaxPool2d) for node in imported.graph.nodes.values())
    frames = imported.frames(given.x)
    integers = deploy.quantize(deploy.lower(imported.graph), frames)
    found = deploy.simulate(integers, frames, backend="integer").signals
    on_lava = deploy.simulate(integers, frames, backend="lava", timeout_s=HANG_S).signals
    exact = interpret(imported.graph, frames)
    mask = imported.layers["mask_lif"].node
    assert (found[mask].reshape(exact[mask].shape) == exact[mask]).mean() > 0.9
    for name, messages in found.items():
        np.testing.assert_array_equal(on_lava[name], messages, err_msg=name)


def test_models_whose_axes_keep_their_places_have_no_permutation() -> None:
    for name, given in models().items():
        graph = deploy.from_torch(given.model, given.x, axes=given.axes).graph
        assert not any(isinstance(node, Permutation) for node in graph.nodes.values()), name
