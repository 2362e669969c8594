"""Quantisation-aware training: the network computes with values that a chip stores, and gradients pass the rounding.

Before:  spikes -> conv -> conv -> conv -> norm               real weights, statistics of the batch
After:   spikes -> connection                                 one kernel, N-bit mantissas times one step, a bias map

The rounded kernel is the one that a chip would hold: the norm (fixed statistics, trainable gain and shift) is folded
in, and convolutions in a row are merged. The gradient of the identity stands for that of the rounding
("straight-through estimator", Bengio et al., arXiv 1308.3432). Training, evaluation and export call the same functions.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svformer.config import SVFormerConfig
from svformer.data.clips import STD
from svformer.model.layers import gain_and_shift

BIAS_STEP = 2.0**-12
DECAY_STEP = 2.0**-12  # the decay of a chip has 12 bits
THRESHOLD_STEP = 2.0**-6  # the step of threshold / decay
STEPS_TRIED = 5  # each is half of the one before; the first holds the largest weight, the last clips above 1/16 of it


@dataclass(frozen=True, kw_only=True)
class StoredConnection:
    """A convolution in the form that a chip stores: one kernel, and a bias for every neuron."""

    weight: Tensor  # [O, I / groups, kh, kw]
    bias: Tensor  # [O, H', W'], or [O, 1, 1] where it is the same at every pixel
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    groups: int = 1
    step: float | None = None  # all weights are whole multiples of the step; None for real weights

    def __call__(self, x: Tensor) -> Tensor:
        """The convolution of every image: [..., I, H, W] -> [..., O, H', W']."""
        images = x.reshape(-1, *x.shape[-3:])
        out = F.conv2d(images, self.weight, None, self.stride, self.padding, groups=self.groups)
        return (out + self.bias).unflatten(0, x.shape[:-3])


def quantised_chain(
    convs: Sequence[nn.Conv2d], norm: nn.BatchNorm2d, *, size: int, weight_bits: int, base_step: float = 1.0
) -> StoredConnection:
    """Convolutions in a row and the norm behind them as one rounded connection, for images of `size` x `size` pixels.

    The step of the weights is `base_step` times a power of two (see `input_step`).
    """
    return quantised(merged_chain(convs, norm, size=size), weight_bits=weight_bits, base_step=base_step)


def quantised_readout(conv: nn.Conv3d, norm: nn.BatchNorm3d, *, weight_bits: int) -> tuple[StoredConnection, ...]:
    """A convolution over the whole clip with its norm: T connections, one for each frame, each with its own step.

    Their results are summed when the last frame arrives; the last connection has the bias.
    """
    gain, shift = gain_and_shift(norm)
    slices = (conv.weight * gain[:, None, None, None, None]).unbind(2)
    bias = (_present(conv.bias) * gain + shift)[:, None, None]
    last = len(slices) - 1
    return tuple(
        quantised(
            StoredConnection(weight=weight, bias=bias if t == last else torch.zeros_like(bias), groups=conv.groups),
            weight_bits=weight_bits,
        )
        for t, weight in enumerate(slices)
    )


def quantised_classifier(linear: nn.Linear, *, weight_bits: int) -> StoredConnection:
    """A linear layer as a 1x1 convolution of an image of one pixel, rounded."""
    connection = StoredConnection(weight=linear.weight[:, :, None, None], bias=linear.bias[:, None, None])
    return quantised(connection, weight_bits=weight_bits)


def input_step(config: SVFormerConfig) -> float:
    """The base step of the first layer's weights: 255 * STD for video, 1 for events.

    Normalised pixels are whole multiples of 1 / (255 * STD) (up to an offset). A machine whose inputs count these
    multiples stores the weights divided by 255 * STD, so it is these that have to be powers of two times a mantissa.
    """
    return 255 * STD if config.in_channels == 3 else 1.0


# A chain as one convolution


def merged_chain(convs: Sequence[nn.Conv2d], norm: nn.BatchNorm2d, *, size: int) -> StoredConnection:
    """Convolutions in a row and the norm behind them as one connection with real weights; exact, borders included.

    At most one kernel may be larger than 1x1. The bias is the chain's response to zeros: at the border of the image a
    padded kernel covers fewer values of an inner bias, so the bias is a map [O, H', W'] there.
    """
    gain, shift = gain_and_shift(norm)
    spatial = [conv for conv in convs if conv.kernel_size != (1, 1)] or [convs[0]]
    assert len(spatial) == 1
    assert isinstance(spatial[0].padding, tuple)
    return StoredConnection(
        weight=_merged_weight(convs) * gain[:, None, None, None],
        bias=_response_to_zeros(convs, size) * gain[:, None, None] + shift[:, None, None],
        stride=spatial[0].stride,
        padding=spatial[0].padding,
        groups=convs[0].groups if len(convs) == 1 else 1,
    )


def _merged_weight(convs: Sequence[nn.Conv2d]) -> Tensor:
    """The product of the channel matrices at every offset of the one larger kernel, [O, I / groups, kh, kw]."""
    if len(convs) == 1:
        return convs[0].weight
    product = functools.reduce(lambda inner, outer: outer @ inner, map(_channel_matrices, convs))
    return product.permute(2, 3, 0, 1)


def _channel_matrices(conv: nn.Conv2d) -> Tensor:
    """The kernel as a matrix for every offset, [kh, kw, O, I], with zeros between channels of different groups."""
    by_group = conv.weight.unflatten(0, (conv.groups, -1))
    apart = torch.eye(conv.groups, dtype=conv.weight.dtype, device=conv.weight.device)
    return torch.einsum("goiyx,gh->yxgohi", by_group, apart).flatten(4, 5).flatten(2, 3)


def _response_to_zeros(convs: Sequence[nn.Conv2d], size: int) -> Tensor:
    """The output of the chain for zeros, before the norm: [O, H', W'], or [O, 1, 1] where all later kernels are 1x1."""
    first, *later = convs
    side = 1 if all(conv.kernel_size == (1, 1) for conv in later) else size
    response = _present(first.bias)[None, :, None, None].expand(1, -1, side, side)
    for conv in later:
        response = F.conv2d(response, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)
    return response[0]


def _present(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # every convolution and norm of the model has its parameters
    return tensor


# Rounding


def quantised(connection: StoredConnection, *, weight_bits: int, base_step: float = 1.0) -> StoredConnection:
    """The connection with weights of `weight_bits` bits (with sign) and rounded biases; gradients pass the rounding."""
    step = best_step(connection.weight, weight_bits=weight_bits, base_step=base_step)
    weight = _on_grid(connection.weight.detach(), step, weight_bits)
    return StoredConnection(
        weight=straight_through(weight, connection.weight),
        bias=rounded(connection.bias, BIAS_STEP),
        stride=connection.stride,
        padding=connection.padding,
        groups=connection.groups,
        step=step,
    )


@torch.no_grad()
def best_step(weight: Tensor, *, weight_bits: int, base_step: float = 1.0) -> float:
    """The step, `base_step` times a power of two, for which rounding and clipping change the weights least.

    The change is the sum of squares over all weights.
    """
    peak = float(weight.abs().max()) / base_step
    if peak == 0:
        return base_step
    largest = base_step * 2.0 ** math.ceil(math.log2(peak / largest_mantissa(weight_bits)))
    candidates = [largest * 2.0**-i for i in range(STEPS_TRIED)]
    return min(candidates, key=lambda step: float((_on_grid(weight, step, weight_bits) - weight).square().sum()))


def largest_mantissa(weight_bits: int) -> int:
    """The largest multiple of the step that a weight of `weight_bits` bits (with sign) can be."""
    return int(2 ** (weight_bits - 1)) - 1


def _on_grid(weight: Tensor, step: float, weight_bits: int) -> Tensor:
    limit = largest_mantissa(weight_bits)
    return torch.round(weight / step).clamp(-limit, limit) * step


def rounded(x: Tensor, step: float) -> Tensor:
    """The nearest whole multiple of `step`, with the gradient of x."""
    return straight_through(torch.round(x.detach() / step) * step, x)


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """`value`, exactly, with the gradient of `source`."""
    return value + (source - source.detach())
