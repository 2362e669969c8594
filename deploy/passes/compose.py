"""Connections in a row as one connection: when that is exact, and which one it is.

A kernel composes with a kernel where padding and dilation allow it, an identity with everything that keeps its shape, a
factor for every channel (a depthwise 1x1 kernel) with any kernel. What is exact of two need not be of three in a row.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deploy.ir.network import Connection
from deploy.ir.operations.base import Operation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.types import Array
from hardware.geometry import ConvGeometry, IdentityGeometry


def composable(first: Connection, second: Connection) -> bool:
    """Whether a connection and the one behind it are exactly one."""
    kinds = _operations_compose(first.operation, second.operation)
    return kinds and _gain_stays_last([first, second])


def exact_in_row(connections: Sequence[Connection]) -> bool:
    """Whether connections that are composable pair by pair are exactly one."""
    return _exact([c.operation for c in connections]) and _gain_stays_last(connections)


def _operations_compose(first: Operation, second: Operation) -> bool:
    if isinstance(second, Identity):
        return isinstance(first, Identity) or second.in_shape == second.out_shape
    if not isinstance(second, Convolution):
        return False  # attention is not linear: it needs the sum itself
    if isinstance(first, Identity):
        return first.in_shape == first.out_shape or _covers_image(second)
    if not isinstance(first, Convolution) or first.trained_bits is not None or second.trained_bits is not None:
        return False  # a product of weights would not lie on their grid
    return _exact([first, second])


def _gain_stays_last(row: Sequence[Connection]) -> bool:
    """Whether gains can be applied at the end.

    A kernel mixes the positions or channels that they belong to, a delay the time steps; a factor for every channel
    does not matter.
    """
    for i, connection in enumerate(row):
        if connection.gain is None:
            continue
        behind, by_step = row[i + 1 :], len(connection.gain) > 1
        if any(not isinstance(c.operation, Identity) and not _is_diagonal(c.operation) for c in behind):
            return False
        if by_step and any(c.delay for c in behind):
            return False
    return True


def _exact(operations: list[Operation]) -> bool:
    """Whether convolutions in a row are one convolution at the border of the image, too.

    Outside the image the inner signal is zero padding. A composed kernel would see the outer rim of the earlier
    convolutions there, unless none of them has a rim (all 1x1) or the later one never looks outside.
    """
    convolutions = [operation for operation in operations if isinstance(operation, Convolution)]
    if any(c.geometry.dilation != (1, 1) for c in convolutions) and sum(not _is_diagonal(c) for c in convolutions) > 1:
        return False
    kernels = [c.geometry for c in convolutions]
    rimless = [g.kernel == (1, 1) and g.padding == (0, 0) for g in kernels]
    return all(g.padding == (0, 0) or all(rimless[:i]) for i, g in enumerate(kernels))


def _covers_image(operation: Convolution) -> bool:
    """Whether a convolution is a dense layer of a vector."""
    g = operation.geometry
    return g.in_shape[1:] == g.kernel == (1, 1) and g.padding == (0, 0) and g.groups == 1


def _is_diagonal(operation: Operation) -> bool:
    """Whether an operation only multiplies every channel with a factor."""
    if not isinstance(operation, Convolution):
        return False
    g = operation.geometry
    plain = g.kernel == (1, 1) and g.stride == (1, 1) and g.padding == (0, 0)
    return plain and _is_depthwise(operation)


def _is_depthwise(operation: Convolution) -> bool:
    """Whether every channel has a kernel of its own, and mixes with no other."""
    g = operation.geometry
    return g.groups == g.in_shape[0] == g.out_channels


def joined(first: Connection, second: Connection) -> Connection:
    """A connection and the one behind it, as one."""
    gains = [gain for gain in (_behind(first.gain, second.operation), second.gain) if gain is not None]
    return Connection(
        source=first.source,
        target=second.target,
        operation=compose(first.operation, second.operation),
        delay=first.delay + second.delay,
        gain=functools.reduce(np.multiply, gains) if gains else None,
    )


def _behind(gain: Array | None, second: Operation) -> Array | None:
    """A gain in the shape that the signal has behind an identity."""
    if gain is None or not isinstance(second, Identity) or second.in_shape == second.out_shape:
        return gain
    return np.broadcast_to(gain, (len(gain), *second.in_shape)).reshape(len(gain), *second.out_shape)


def compose(first: Operation, second: Operation) -> Operation:
    """`second` after `first`, as one operation; see `composable` for what is exact."""
    if isinstance(first, Identity):
        return _behind_identity(first, second)
    if isinstance(second, Identity):
        return first
    assert isinstance(first, Convolution)
    assert isinstance(second, Convolution)
    if _is_diagonal(second):
        return replace(first, weight=first.weight * second.weight)
    if _is_diagonal(first):
        return replace(second, weight=second.weight * _by_input(first.weight, second.geometry))
    geometry = _composed_geometry(first.geometry, second.geometry)
    (sy, sx), (ky, kx) = first.geometry.stride, first.geometry.kernel
    weight, product = np.zeros(geometry.weight_shape), _product(first, second, geometry.groups)
    for y, x in np.ndindex(*second.geometry.kernel):
        weight[..., y * sy : y * sy + ky, x * sx : x * sx + kx] += product(y, x)
    return Convolution(weight=weight, geometry=geometry)


def _product(first: Convolution, second: Convolution, groups: int) -> Callable[[int, int], Array]:
    """What a place of the second kernel makes of the first one, [O, C / groups, kh, kw]; a kernel that keeps channels
    apart only multiplies, so no zeros between its channels are written out.
    """
    if _is_depthwise(second):
        return lambda y, x: second.weight[:, :, y, x, np.newaxis, np.newaxis] * first.weight
    if _is_depthwise(first):
        inputs = _by_input(first.weight, second.geometry)
        return lambda y, x: second.weight[:, :, y, x, np.newaxis, np.newaxis] * inputs
    outer, inner = _blocks(second, groups), _blocks(first, groups)
    columns, kernel = inner.reshape(*inner.shape[:2], -1), inner.shape[2:]
    return lambda y, x: (outer[..., y, x] @ columns).reshape(-1, *kernel)


def _behind_identity(first: Identity, second: Operation) -> Operation:
    if isinstance(second, Identity):
        return Identity(in_shape=first.in_shape, out_shape=second.out_shape)
    if first.in_shape == first.out_shape:
        return second
    assert isinstance(second, Convolution)  # a dense layer behind a flattened image looks at the whole image
    channels, height, width = first.in_shape
    weight = second.weight.reshape(-1, channels, height, width)
    geometry = ConvGeometry(in_shape=first.in_shape, out_channels=len(weight), kernel=(height, width))
    return Convolution(weight=weight, geometry=geometry)


def _by_input(values: Array, geometry: ConvGeometry) -> Array:
    """Values of input channels [C, 1, kh, kw] as they stand at the weights of every output, [O, C / groups, kh, kw]."""
    by_group = values.reshape(geometry.groups, 1, -1, *values.shape[2:])
    outputs = geometry.out_channels // geometry.groups
    return np.broadcast_to(by_group, (geometry.groups, outputs, *by_group.shape[2:])).reshape(-1, *by_group.shape[2:])


def _composed_geometry(first: ConvGeometry, second: ConvGeometry) -> ConvGeometry:
    def along(axis: int) -> tuple[int, int, int]:
        stride = first.stride[axis]
        kernel = first.kernel[axis] + (second.kernel[axis] - 1) * stride
        return kernel, stride * second.stride[axis], first.padding[axis] + second.padding[axis] * stride

    (ky, sy, py), (kx, sx, px) = along(0), along(1)
    dilation = second.dilation if first.kernel == (1, 1) else first.dilation  # one is 1x1 where this is not 1
    return ConvGeometry(
        in_shape=first.in_shape,
        out_channels=second.out_channels,
        kernel=(ky, kx),
        stride=(sy, sx),
        padding=(py, px),
        dilation=dilation,
        groups=math.gcd(first.groups, second.groups),
    )


def _blocks(operation: Convolution, count: int) -> Array:
    """The kernel as `count` independent blocks, with zeros between the groups of a block: [count, O, C, kh, kw]."""
    groups = operation.geometry.groups // count
    weight = operation.weight.reshape(count, groups, -1, *operation.weight.shape[1:])
    _, _, outputs, inputs, *kernel = weight.shape
    dense = np.zeros((count, groups, outputs, groups, inputs, *kernel))
    for g in range(groups):
        dense[:, g, :, g] = weight[:, g]
    return dense.reshape(count, groups * outputs, groups * inputs, *kernel)


def composed_geometry(operations: Sequence[Operation]) -> ConvGeometry | IdentityGeometry:
    """Geometry of the operations composed into one; that of the first where none has a kernel."""
    kernels = [operation.geometry for operation in operations if isinstance(operation, Convolution)]
    if kernels:
        return functools.reduce(_composed_geometry, kernels)
    first = operations[0]
    assert isinstance(first, Identity)  # attention is no part of a row
    return first.geometry
