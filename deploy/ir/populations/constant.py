"""A neuron that fires in every time step, so that a synapse from it is a bias.

Lava's GradedVec and the relays of a chip have no bias of their own; `deploy.passes.chip_form` gives them synapses from
one such neuron, a LIF neuron whose own bias is above its threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from deploy.ir.chip import NEURON, ChipPart
from deploy.ir.intervals import Headroom, Interval
from deploy.ir.populations.base import NO_BIAS, Kind, Receiver
from deploy.ir.running import Running
from deploy.ir.types import IntArray, Shape, Values


@dataclass(frozen=True, kw_only=True)
class IntConstant:
    """Sends a spike in every time step; it receives nothing and keeps nothing.

    Its messages are the same in all time steps, so nothing that comes from it has to wait for a longer path.
    """

    shape: ClassVar[Shape] = (1, 1, 1)
    scale: ClassVar[float] = 1.0
    kind: ClassVar[Kind] = "constant"
    spiking: ClassVar[bool] = True
    message_unit: ClassVar[float] = 1.0
    message_bits: ClassVar[int] = 1
    neuron_updates: ClassVar[int] = 1
    shared_parameters: ClassVar[tuple[IntArray, ...]] = ()

    @property
    def stored_bias(self) -> IntArray:
        return NO_BIAS + 1

    def message_interval(self) -> tuple[int, int]:
        return 0, 1

    def exact(self, unit: float) -> Receiver:
        raise ValueError("a neuron that always fires works in integers alone")

    def bias_by_step(self, frames: int) -> IntArray:
        return np.broadcast_to(self.stored_bias, (frames, *NO_BIAS.shape))

    def lasting(self, frames: int) -> Self:
        return self

    def begin(self, clips: int, frames: int) -> Running:
        return RunningConstant(clips, frames)

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        return [], Interval.spikes(1)

    def share_of_threshold(self, potential: Values) -> None:
        """It always fires."""

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        return {}

    def problems(self) -> Iterator[str]:
        yield from ()

    def chip_parts(self) -> Iterator[ChipPart]:
        yield ChipPart(what="neuron that always fires", process=NEURON)

    def beyond_stock(self) -> Iterator[str]:
        yield from ()


class RunningConstant(Running):
    """The neuron while it runs."""

    def __init__(self, clips: int, frames: int) -> None:
        super().__init__((clips, frames, *IntConstant.shape), current_type=np.int64, message_type=np.uint8)

    def step(self, current: IntArray, frame: int) -> IntArray:
        """1, whatever arrives."""
        return np.ones_like(current)
