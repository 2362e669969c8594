"""Gates: relays with a threshold, which pass a sum on only where it is large.

A gate is how a chip without a product of two signals multiplies a count by a spike: for a count c from 0 to A - 1 and a
spike q (0 or 1), the sum c + A q is above A - 1 only where q is 1. `deploy.passes.chip_form` puts them in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deploy.ir.chip import RELAY, ChipPart
from deploy.ir.intervals import MESSAGE, Headroom, Interval
from deploy.ir.machine import GRADED_BITS, STATE_LIMIT
from deploy.ir.populations.base import NO_BIAS, Kind, Receiver
from deploy.ir.running import Running
from deploy.ir.types import IntArray, Shape, Values


@dataclass(frozen=True, kw_only=True)
class IntGate:
    """Sends the sum of its inputs as a graded message where its magnitude is above `threshold`, else nothing.

    Lava's GradedVec with `vth = threshold`. `scale` units are 1.0 of the float network.
    """

    shape: Shape
    scale: float
    threshold: int

    kind: ClassVar[Kind] = "gate"
    spiking: ClassVar[bool] = False
    message_bits: ClassVar[int] = GRADED_BITS
    shared_parameters: ClassVar[tuple[IntArray, ...]] = ()

    @property
    def message_unit(self) -> float:
        return self.scale

    @property
    def stored_bias(self) -> IntArray:
        return NO_BIAS

    @property
    def neuron_updates(self) -> int:
        """Every gate compares its sum with the threshold in every time step."""
        return int(np.prod(self.shape))

    def message_interval(self) -> None:
        """What it sends depends on what it receives."""

    def exact(self, unit: float) -> Receiver:
        raise ValueError("a gate works in integers alone")

    def bias_by_step(self, frames: int) -> IntArray:
        return np.broadcast_to(NO_BIAS, (frames, *NO_BIAS.shape))

    def lasting(self, frames: int) -> Self:
        return self

    def begin(self, clips: int, frames: int) -> Running:
        return RunningGate(self, clips, frames)

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        found = Headroom(where=name, what=MESSAGE, worst=current.magnitude, limit=STATE_LIMIT - 1)
        return [found], current.with_zero()

    def share_of_threshold(self, potential: Values) -> None:
        """A gate has no potential to compare."""

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        return {}

    def problems(self) -> Iterator[str]:
        if not 0 <= self.threshold < STATE_LIMIT:
            yield f"threshold {self.threshold} outside 0..{STATE_LIMIT - 1}"

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(what="gates", process=RELAY)

    def beyond_stock(self) -> Iterator[str]:
        yield from ()


class RunningGate(Running):
    """Gates while they run: they keep nothing from one time step to the next."""

    def __init__(self, population: IntGate, clips: int, frames: int) -> None:
        super().__init__((clips, frames, *population.shape), current_type=np.int64, message_type=np.int32)
        self.threshold = population.threshold

    def step(self, current: IntArray, frame: int) -> IntArray:
        """`current` where its magnitude is above the threshold, else 0."""
        return np.where(np.abs(current) > self.threshold, current, 0)
