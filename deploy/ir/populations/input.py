"""The input: where a clip enters."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deploy.ir.machine import GRADED_BITS
from deploy.ir.populations.base import Kind
from deploy.ir.types import IntArray, Shape, Values


@dataclass(frozen=True, kw_only=True)
class Input:
    """A clip enters as it is."""

    shape: Shape

    kind: ClassVar[Kind] = "input"
    spiking: ClassVar[bool] = False

    def rounded(self, scale: float, input_range: tuple[float, float]) -> "IntInput":
        """The input in integers, `scale` units for 1.0, for values in this range."""
        low, high = (int(np.rint(x * scale)) for x in input_range)
        return IntInput(shape=self.shape, scale=scale, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class IntInput:
    """A clip enters as signed integers: `round(x * scale)`, clipped to low..high."""

    shape: Shape
    scale: float
    low: int
    high: int

    kind: ClassVar[Kind] = "input"
    spiking: ClassVar[bool] = False
    message_bits: ClassVar[int] = GRADED_BITS

    @property
    def message_unit(self) -> float:
        return self.scale

    def message_interval(self) -> tuple[int, int]:
        return self.low, self.high

    def exact(self, unit: float) -> Input:
        return Input(shape=self.shape)

    def quantize(self, frames_NTCHW: Values) -> IntArray:
        """Integers of the same shape."""
        return np.clip(np.rint(frames_NTCHW * self.scale), self.low, self.high).astype(np.int64)

    def clipped(self, frames_NTCHW: Values) -> int:
        """How many values lie outside the range that calibration showed."""
        steps = np.rint(frames_NTCHW * self.scale)
        return int(((steps < self.low) | (steps > self.high)).sum())
