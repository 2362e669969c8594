"""Integrators: neurons without a threshold, which send their potential (NIR's LI, I and CubaLI)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import POTENTIAL, Headroom, Interval, ratio
from deploy.ir.machine import CURRENT_LIMIT, GRADED_BITS, POTENTIAL_LIMIT, STATE_SHIFT
from deploy.ir.populations.base import Kind
from deploy.ir.populations.membrane import NOTHING, IntMembrane, Membrane, RunningIntMembrane, RunningMembrane
from deploy.ir.running import Running
from deploy.ir.types import Array, IntArray, Values

ROOM = 8.0  # times the furthest potential of the calibration clips, for those that reach further


@dataclass(frozen=True, kw_only=True)
class Integrator(Membrane):
    """Sends v, a real number, in every time step, and never resets it within a clip.

    One that `may_saturate` has a scale for the potentials that the calibration clips show, not for the worst case,
    which a sum over a whole clip hardly ever comes near: the register saturates, and a run counts where it does.
    """

    may_saturate: bool = False  # only where no population reads it (`deploy.passes.quantize`)

    kind: ClassVar[Kind] = "integrator"
    spiking: ClassVar[bool] = False

    def begin(self, clips: int, frames: int) -> Running:
        return RunningIntegrator(self, clips, frames)

    def interval(self, current: Interval, frames: int) -> Interval:
        """Range of the potential, which it sends; of what it takes in a time step, where the potential may saturate."""
        if self.may_saturate:
            return self.charging(current, frames)
        return self.charging(current, frames).accumulated(self.decay, frames).begun(self.start)

    def largest_scale(self, found: Interval) -> float:
        return ratio(CURRENT_LIMIT if self.may_saturate else POTENTIAL_LIMIT, found.magnitude)

    def unsaturated_scale(self, lowest: float, highest: float) -> float:
        return ratio(POTENTIAL_LIMIT, ROOM * max(-lowest, highest)) if self.may_saturate else float("inf")

    def least_currents(self, frames: int) -> None:
        """There is no threshold to reach."""

    def rounding_cost(self, scale: float) -> float:
        return 0.0

    def share_of_threshold(self, potential: Values) -> None:
        """An integrator has no threshold."""

    def rounded(self, scale: float, drift: Array, frames: int) -> "IntIntegrator":
        membrane = self.rounded_membrane(scale, drift, NOTHING, frames)
        return IntIntegrator(**vars(membrane), may_saturate=self.may_saturate)


class RunningIntegrator(RunningMembrane):
    """Integrators while they run, in real numbers."""

    def step(self, current: Array, frame: int) -> Array:
        """The potential after the charge."""
        return self.charge(current, frame)


@dataclass(frozen=True, kw_only=True)
class IntIntegrator(IntMembrane):
    """Sends v as a graded message, rounded to the unit of the weights, and does not reset."""

    may_saturate: bool = False  # whether a potential beyond its 24 bits is cut off there; else it is proven to fit

    kind: ClassVar[Kind] = "integrator"
    spiking: ClassVar[bool] = False
    message_bits: ClassVar[int] = GRADED_BITS

    @property
    def message_unit(self) -> float:
        return self.scale

    def message_interval(self) -> None:
        """What it sends depends on what it receives."""

    def exact(self, unit: float) -> Integrator:
        return Integrator(**vars(self.exact_membrane(unit)), may_saturate=self.may_saturate)

    def saturated(self, messages: IntArray) -> int:
        """How many messages stand at an end of the register."""
        return int((np.abs(messages.astype(np.int64)) >= POTENTIAL_LIMIT).sum()) if self.may_saturate else 0

    def begin(self, clips: int, frames: int) -> Running:
        return RunningIntIntegrator(self, clips, frames)

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        found, charge = self.charging(name, current, frames)
        if self.may_saturate:
            ends = np.full(self.shape[0], float(POTENTIAL_LIMIT))
            return found, Interval(low=-ends, high=ends)
        potential = self.potential(charge, frames)
        found.append(Headroom(where=name, what=POTENTIAL, worst=potential.magnitude, limit=POTENTIAL_LIMIT - 1))
        return found, potential.rounded_out()

    def share_of_threshold(self, potential: Values) -> None:
        """An integrator has no threshold."""

    def chip_parts(self) -> Iterator[ChipPart]:
        needs = ["a potential as graded message", *self.beyond_a_bias_and_rest()]
        yield ChipPart(what="neurons that send their potential", microcode=", ".join(needs))

    def beyond_stock(self) -> Iterator[str]:
        yield from self.beyond_a_bias_and_rest()
        yield "graded potentials"


class RunningIntIntegrator(RunningIntMembrane):
    """Integrators while they run, in the integers of the machine."""

    def __init__(self, population: IntIntegrator, clips: int, frames: int) -> None:
        super().__init__(population, clips, frames, np.int32)

    def step(self, current: IntArray, frame: int) -> IntArray:
        """The potential after the charge, in the unit of the weights, halves rounded up."""
        return rounded_message(self.charge(current, frame))


def rounded_message(v: IntArray) -> IntArray:
    """A potential in the unit of the weights, halves up."""
    return (v + (1 << (STATE_SHIFT - 1))) >> STATE_SHIFT
