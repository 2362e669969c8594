"""Operations of the integer network on tensors: one function for each kind, found by its type.

Legend: N frames (any batch of them), C channels, H rows, W columns.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.base import IntOperation, Operation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.operations.permutation import IntPermutation, Permuted
from deploy.ir.operations.product import IntProduct
from deploy.ir.operations.segment import IntSegment
from deploy.ir.types import Shape
from deploy.torch_network.arithmetic import exactly, shifted
from hardware import ProductGeometry
from hardware.geometry import AttentionGeometry, PoolGeometry
from svformer.common.errors import InputError


@functools.singledispatch
def applied(operation: IntOperation | Operation, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    """The result [N, O, H', W'] of messages [N, C, H, W]; `mantissa` are the weights of an operation that has some.

    Raises `InputError` for an operation that has no form here.
    """
    raise InputError(f"{type(operation).__name__} has no form in torch; allowed: the backends lava and integer")


@applied.register
def _(operation: IntConvolution, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    assert mantissa is not None
    g = operation.geometry
    # cuDNN may take Winograd's or Fourier's way, whose sums on the way are not whole numbers.
    with torch.backends.cudnn.flags(enabled=False, allow_tf32=False):
        total = F.conv2d(x_NCHW, mantissa, None, g.stride, g.padding, g.dilation, g.groups)
    return shifted(total, operation.exponent)


@applied.register
def _(operation: IntAttention, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    return shifted(attended(x_NCHW, operation.geometry) * operation.multiplier, operation.exponent)


@applied.register
def _(operation: IntIdentity, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    values = x_NCHW.reshape(len(x_NCHW), *operation.out_shape)
    return shifted(values * operation.multiplier, operation.exponent)


@applied.register
def _(operation: IntSegment, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    return shifted(placed(x_NCHW, operation.first, operation.out_shape) * operation.multiplier, operation.exponent)


@applied.register
def _(operation: IntPermutation, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    return shifted(moved(x_NCHW, operation) * operation.multiplier, operation.exponent)


@applied.register
def _(operation: IntMaxPool, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    return shifted(pooled(x_NCHW, operation.geometry) * operation.multiplier, operation.exponent)


@applied.register
def _(operation: IntProduct, x_NCHW: Tensor, mantissa: Tensor | None) -> Tensor:
    return shifted(contracted(x_NCHW, operation.geometry) * operation.multiplier, operation.exponent)


def attended(qkv_NCHW: Tensor, geometry: AttentionGeometry) -> Tensor:
    """`q (k^T v)` of every frame and head, unscaled: [N, 3C, H, W] -> [N, C, H, W]."""
    n, channels, height, width = qkv_NCHW.shape
    q, k, v = qkv_NCHW.reshape(n, 3, geometry.heads, -1, height * width).unbind(1)
    return ((v @ k.mT) @ q).reshape(n, channels // 3, height, width)


def placed(x_NCHW: Tensor, first: int, out_shape: Shape) -> Tensor:
    """The values at the places from `first` of images that are zero elsewhere."""
    values = x_NCHW.flatten(1)
    behind = math.prod(out_shape) - first - values.shape[1]
    return F.pad(values, (first, behind)).reshape(len(values), *out_shape)


def moved(x_NCHW: Tensor, permutation: IntPermutation | Permuted) -> Tensor:
    """The values in another order, as another image."""
    axes = x_NCHW.reshape(-1, *permutation.sizes).permute(0, *(1 + axis for axis in permutation.order))
    return axes.reshape(-1, *permutation.out_shape)


def pooled(x_NCHW: Tensor, geometry: PoolGeometry) -> Tensor:
    """The largest value of every window; what lies outside the image is never it."""
    (rows, columns), (tall, wide) = geometry.padding, geometry.kernel
    framed = F.pad(x_NCHW, (columns, columns + wide, rows, rows + tall), value=-torch.inf)
    return F.max_pool2d(framed, geometry.kernel, geometry.stride)[..., : geometry.out_shape[1], : geometry.out_shape[2]]


def contracted(x_NCHW: Tensor, geometry: ProductGeometry) -> Tensor:
    """Sums of the values that meet spikes (`hardware.contract`)."""
    flat = x_NCHW.flatten(1)
    values, spikes = flat[:, : geometry.values], _fired(flat[:, geometry.values :])
    left, right, output = (
        [0, *(1 + axis for axis in axes)] for axes in (geometry.left, geometry.right, geometry.output)
    )
    a = values.reshape(len(flat), *geometry.shape(geometry.left))
    b = spikes.reshape(len(flat), *geometry.shape(geometry.right))
    return torch.einsum(a, left, b, right, output).reshape(len(flat), *geometry.out_shape)


def _fired(spikes: Tensor) -> Tensor:
    """1 for a message other than zero, a spike times the scale of its place; its gradient is that of the spike."""
    where = (spikes != 0).to(spikes.dtype)
    unit = spikes.detach().abs().amax().clamp(min=1)
    return exactly(where, spikes / unit)
