"""Products of two signals by BLAS, in the narrowest float type that holds every sum exactly."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.ranges import MessageRange, exact_type, scaled, sum_type
from deploy.ir.operations.product import IntProduct
from hardware import contract

Array = NDArray[Any]


class MatrixProduct:
    """Values times the spikes that they meet; the result lies in a buffer that the next call overwrites."""

    by_spike = False

    def __init__(self, operation: IntProduct, messages: MessageRange) -> None:
        self.geometry, self.multiplier, self.exponent = operation.geometry, operation.multiplier, operation.exponent
        terms = self.geometry.dense_ops() // int(np.prod(self.geometry.out_shape))
        worst = terms * max(1, messages.magnitude)
        self.dtype = exact_type(worst)
        self.out = zeros(operation.out_shape, sum_type(worst * abs(self.multiplier), self.exponent))

    def __call__(self, messages: Array) -> Array:
        flat = messages.reshape(1, -1)
        values, spikes = flat[:, : self.geometry.values], flat[:, self.geometry.values :]
        found = contract(values.astype(self.dtype), (spikes != 0).astype(self.dtype), self.geometry)
        np.copyto(self.out, found[0], casting="unsafe")
        return scaled(self.out, self.multiplier, self.exponent, self.out)
