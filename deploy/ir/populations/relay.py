"""Relays: they pass on the sum of what they receive, as graded messages, in the same time step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from deploy.ir.chip import RELAY, ChipPart
from deploy.ir.intervals import MESSAGE, Headroom, Interval, ratio
from deploy.ir.machine import GRADED_BITS, STATE_LIMIT
from deploy.ir.populations.base import Kind, Receiver, by_time_step, changes_with_time, first_steps
from deploy.ir.running import Running
from deploy.ir.types import Array, IntArray, Shape, Values


@dataclass(frozen=True, kw_only=True)
class Relay:
    """Sends the sum of its inputs and its bias, a real number, in the same time step."""

    shape: Shape
    bias: Array  # broadcasts to shape; [T, ...] where it has a value of its own for every time step

    kind: ClassVar[Kind] = "relay"
    spiking: ClassVar[bool] = False

    def begin(self, clips: int, frames: int) -> Running:
        return RunningRelay(self.shape, np.broadcast_to(self.bias, (frames, *self.shape)), clips, np.float64)

    def interval(self, current: Interval, frames: int) -> Interval:
        return current + Interval.of(self.bias, self.shape[0])

    def with_input_bias(self, bias: Array, frames: int) -> "Relay":
        return replace(self, bias=self.bias + bias)

    def largest_scale(self, found: Interval) -> float:
        return ratio(STATE_LIMIT, found.magnitude)

    def unsaturated_scale(self, lowest: float, highest: float) -> float:
        return float("inf")

    def least_currents(self, frames: int) -> None:
        """There is no threshold to reach."""

    def rounding_cost(self, scale: float) -> float:
        return 0.0

    def rounded(self, scale: float, drift: Array, frames: int) -> "IntRelay":
        whole = np.rint((self.bias - drift) * scale).astype(np.int64)
        return IntRelay(shape=self.shape, scale=scale, bias=whole)

    def share_of_threshold(self, potential: Values) -> None:
        """A relay has no threshold."""

    def decays(self) -> Mapping[str, Array]:
        return {}

    def problems(self) -> Iterator[str]:
        yield from ()


@dataclass(frozen=True, kw_only=True)
class IntRelay:
    """Sends the sum of its inputs and its bias as a graded message; `scale` units are 1.0 of the float network."""

    shape: Shape
    scale: float
    bias: IntArray  # broadcasts to shape; [T, ...] where it has a value of its own for every time step

    kind: ClassVar[Kind] = "relay"
    spiking: ClassVar[bool] = False
    message_bits: ClassVar[int] = GRADED_BITS
    neuron_updates: ClassVar[int] = 0
    shared_parameters: ClassVar[tuple[IntArray, ...]] = ()

    @property
    def message_unit(self) -> float:
        return self.scale

    @property
    def stored_bias(self) -> IntArray:
        return self.bias

    def message_interval(self) -> None:
        """What it sends depends on what it receives."""

    def bias_by_step(self, frames: int) -> IntArray:
        return by_time_step(self.bias, frames)

    def lasting(self, frames: int) -> "IntRelay":
        return replace(self, bias=first_steps(self.bias, frames))

    def exact(self, unit: float) -> Relay:
        return Relay(shape=self.shape, bias=self.bias / unit)

    def begin(self, clips: int, frames: int) -> Running:
        return RunningRelay(self.shape, self.bias_by_step(frames), clips, np.int32)

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        total = current + Interval.of(self.bias, self.shape[0])
        return [Headroom(where=name, what=MESSAGE, worst=total.magnitude, limit=STATE_LIMIT - 1)], total

    def share_of_threshold(self, potential: Values) -> None:
        """A relay has no threshold."""

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        return {}

    def problems(self) -> Iterator[str]:
        if not np.issubdtype(self.bias.dtype, np.integer):
            yield "bias is not integer"

    def chip_parts(self) -> Iterator[ChipPart]:
        needs = "a bias of every time step" if changes_with_time(self.bias) else "a bias" if np.any(self.bias) else ""
        yield ChipPart(what="graded relay", process="" if needs else RELAY, microcode=needs)

    def beyond_stock(self) -> Iterator[str]:
        yield from ()


class RunningRelay(Running):
    """A relay while it runs, in real numbers or integers: it keeps nothing from one time step to the next."""

    def __init__(self, shape: Shape, bias_T: Values, clips: int, message_type: type[np.generic]) -> None:
        super().__init__((clips, len(bias_T), *shape), current_type=bias_T.dtype.type, message_type=message_type)
        self.bias_T = bias_T

    def step(self, current: Values, frame: int) -> Values:
        """`current + bias`, of this time step."""
        return current + self.bias_T[frame]
