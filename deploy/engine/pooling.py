"""Max pooling of one frame of messages, in one pass for every place of the window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.ranges import MessageRange, scaled, sum_type
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.pooling import largest_into

Array = NDArray[Any]


class LargestOfWindows:
    """The largest message of every window: as it is, where it has no factor."""

    by_spike = False

    def __init__(self, operation: IntMaxPool, messages: MessageRange) -> None:
        self.geometry, self.multiplier, self.exponent = operation.geometry, operation.multiplier, operation.exponent
        self.is_factor_one = (self.multiplier, self.exponent) == (1, 0)
        self.largest = zeros((1, *operation.out_shape), np.int32)  # an input of few values comes in 32 bits, too
        widest = sum_type(max(1, messages.magnitude) * self.multiplier, self.exponent)
        self.out = zeros(operation.out_shape, widest)

    def __call__(self, messages: Array) -> Array:
        largest: Array = largest_into(self.largest, messages[None], self.geometry)[0]
        return largest if self.is_factor_one else scaled(largest, self.multiplier, self.exponent, self.out)
