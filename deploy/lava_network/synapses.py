"""Operations of an integer network as Lava's own synapses: Conv or Sparse, as `deploy.ir.chip.synapses_of` says.

Images are (rows, columns, channels) here, as Lava's Conv wants them.
"""

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import coo_matrix, csr_matrix

from deploy.ir.chip import SPARSE, synapses_of
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.types import IntArray, Shape
from hardware.geometry import IdentityGeometry

GRADED_BITS = 24  # of a message; 0 would take every message for a spike


def channels_last(shape_CHW: tuple[int, ...]) -> Shape:
    """(C, H, W) as (H, W, C)."""
    channels, height, width = shape_CHW
    return height, width, channels


def synapse(operation: IntOperation) -> Conv | Sparse:
    """Lava's process for an operation that has one; its ports are (H, W, C) for a Conv, flat for a Sparse."""
    if _moves(operation):
        return sparse(operation)
    kernel = as_convolution(operation)
    return sparse(kernel) if synapses_of(kernel.geometry) == SPARSE else conv(kernel)


def conv(operation: IntConvolution) -> Conv:
    """Lava's kernels are (out, rows, columns, in) and flipped: a convolution, not a correlation."""
    geometry = operation.geometry
    weight = operation.mantissa[:, :, ::-1, ::-1].astype(np.int32)
    return Conv(
        weight=np.moveaxis(weight, 1, -1).copy(),
        weight_exp=operation.exponent,
        input_shape=channels_last(geometry.in_shape),
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
        num_message_bits=GRADED_BITS,
    )


def as_convolution(operation: IntOperation) -> IntConvolution:
    """The operation as a convolution; an identity has one weight for every channel."""
    if isinstance(operation, IntConvolution):
        return operation
    assert isinstance(operation, IntIdentity)
    geometry = operation.as_convolution()
    mantissa = np.full(geometry.weight_shape, operation.multiplier, dtype=np.int16)
    return IntConvolution(mantissa=mantissa, exponent=operation.exponent, geometry=geometry)


def sparse(operation: IntOperation, entering: slice = slice(None)) -> Sparse:
    """A weight for every pair of values that an operation connects; of the input's (H, W, C), those of some channels.

    Lava's weights of mixed sign are even, so twice the weight goes with half the factor.
    """
    if _moves(operation):
        weights, exponent = _moved(operation), operation.exponent
    else:
        kernel = as_convolution(operation)
        weights, exponent = _unrolled(kernel), kernel.exponent
    places = np.arange(weights.shape[1]).reshape(channels_last(operation.in_shape))[..., entering]
    return Sparse(
        weights=2 * weights[:, places.ravel()],
        weight_exp=exponent - 1,
        sign_mode=SignMode.MIXED,
        num_message_bits=GRADED_BITS,
    )


def _moves(operation: IntOperation) -> bool:
    """Whether values go to other places, or to the same in the order of another shape: no image of Lava has that."""
    geometry, reshaped = operation.geometry, operation.in_shape != operation.out_shape
    return isinstance(geometry, IdentityGeometry) and (geometry.places is not None or reshaped)


def _moved(operation: IntOperation) -> csr_matrix:
    """One weight for every value, from its place in (H, W, C) to that where it arrives."""
    columns, rows = (_channels_last(shape) for shape in (operation.in_shape, operation.out_shape))
    geometry, factor = operation.geometry, operation.unit_factor
    assert isinstance(geometry, IdentityGeometry)
    assert factor is not None
    places = np.arange(len(columns)) if geometry.places is None else geometry.places
    weights = np.full(len(columns), round(factor * 2.0**-operation.exponent), dtype=np.int32)
    return csr_matrix((weights, (rows[places], columns)), shape=(len(rows), len(columns)))


def _channels_last(shape: Shape) -> IntArray:
    """For every value in the order of (C, H, W) its place in that of (H, W, C)."""
    values = np.arange(int(np.prod(shape)))
    return np.argsort(np.moveaxis(values.reshape(shape), 0, -1).ravel())


def _unrolled(operation: IntConvolution) -> csr_matrix:
    """One weight for every pair of neurons that a convolution connects, [H' W' O, H W C]."""
    g, weight = operation.geometry, operation.mantissa
    (channels, height, width), (outputs, rows_out, columns_out) = g.in_shape, g.out_shape
    inputs_of_group, outputs_of_group = channels // g.groups, outputs // g.groups
    out, within, tap_y, tap_x = np.nonzero(weight)
    channel = out // outputs_of_group * inputs_of_group + within
    y, x = (grid.ravel()[:, np.newaxis] for grid in np.mgrid[:rows_out, :columns_out])
    from_y = y * g.stride[0] - g.padding[0] + tap_y * g.dilation[0]
    from_x = x * g.stride[1] - g.padding[1] + tap_x * g.dilation[1]
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    target = (y * columns_out + x) * outputs + out
    source = (from_y * width + from_x) * channels + channel
    values = np.broadcast_to(weight[out, within, tap_y, tap_x].astype(np.int32), inside.shape)
    shape = (rows_out * columns_out * outputs, height * width * channels)
    return coo_matrix((values[inside], (target[inside], source[inside])), shape=shape).tocsr()
