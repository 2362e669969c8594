"""Sums of products of two signals in plain NumPy: one matrix product, whatever their axes.

Legend: N frames (any batch of them).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.geometry import ProductGeometry

Array = NDArray[Any]


def contract(values_N: Array, spikes_N: Array, geometry: ProductGeometry) -> Array:
    """The products of values [N, ..] and spikes [N, ..], summed as the geometry says: [N, C, H, W].

    Works in the promoted type of its operands.
    """
    left, right, output = (set(row) for row in (geometry.left, geometry.right, geometry.output))
    both = [axis for axis in geometry.left if axis in right and axis in output]
    summed = [axis for axis in geometry.left if axis in right and axis not in output]
    rows = [axis for axis in geometry.left if axis in output - right]
    columns = [axis for axis in geometry.right if axis in output - left]
    a = _arranged(values_N, geometry, geometry.left, (both, rows, summed))
    b = _arranged(spikes_N, geometry, geometry.right, (both, summed, columns))
    found = [*both, *rows, *columns]
    apart = (a @ b).reshape(len(a), *geometry.shape(tuple(found)))
    turned = apart.transpose(0, *(1 + found.index(axis) for axis in geometry.output))
    return turned.reshape(len(a), *geometry.out_shape)


def _arranged(x_N: Array, geometry: ProductGeometry, have: Sequence[int], want: Sequence[Sequence[int]]) -> Array:
    """A signal as [N, .., .., ..] with its axes in three rows; summed over those that are in none."""
    kept = [axis for row in want for axis in row]
    apart = x_N.reshape(len(x_N), *geometry.shape(tuple(have)))
    gone = tuple(1 + place for place, axis in enumerate(have) if axis not in kept)
    left = [axis for axis in have if axis in kept]
    turned = apart.sum(axis=gone).transpose(0, *(1 + left.index(axis) for axis in kept))
    return turned.reshape(len(x_N), *(int(np.prod(geometry.shape(tuple(row)))) for row in want))
