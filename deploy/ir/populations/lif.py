"""LIF neurons: they send a spike when the potential is above the threshold, and are reset."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deploy.ir.chip import NEURONS, ChipPart
from deploy.ir.intervals import NEVER, THRESHOLD, Headroom, Interval, in_the_middle, ratio
from deploy.ir.machine import CURRENT_LIMIT, DECAY_ONE, POTENTIAL_LIMIT, STATE_SHIFT
from deploy.ir.populations.base import Kind, Receiver
from deploy.ir.populations.membrane import IntMembrane, Membrane, RunningIntMembrane, RunningMembrane
from deploy.ir.rounding import relative_error
from deploy.ir.running import Running
from deploy.ir.types import Array, BoolArray, IntArray, Values

THRESHOLD_STEPS = 2.0**10  # a threshold keeps as many steps, even if potentials far below zero saturate


@dataclass(frozen=True, kw_only=True)
class Lif(Membrane):
    """Sends a spike when `v > threshold`; then `v <- 0`, or `v <- v - subtract` where a neuron resets by subtraction.

    A membrane equation with a gain, `v <- v + (x - v) / tau`, has it moved into the threshold: `decay = 1 / tau`,
    `threshold = tau`, potential `tau v`. So all inputs of a shortcut stream keep one scale. A potential to reset to
    other than 0 is where v is counted from.

    `silent` marks neurons that no input brings to their threshold (`deploy.passes.silent_neurons`): in integers they
    never fire, and their thresholds take no part in the choice of a scale.
    """

    threshold: Array  # broadcasts to shape
    subtract: Array | None = None  # broadcasts to shape; positive
    silent: BoolArray | None = None  # broadcasts to shape

    kind: ClassVar[Kind] = "lif"
    spiking: ClassVar[bool] = True

    def begin(self, clips: int, frames: int) -> Running:
        return RunningLif(self, clips, frames)

    def interval(self, current: Interval, frames: int) -> Interval:
        """Range of `u + bias`: what brings the potential to its threshold within a time step."""
        return self.charging(current, frames)

    def with_unit(self, factors: Array) -> "Lif":
        """Neurons that fire as these do, where potentials, and all that enters, are multiplied by positive factors."""
        fields = ("bias", "threshold", "subtract", "start", "start_current")
        given = {name: value for name in fields if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value * factors for name, value in given.items()})

    @property
    def reachable(self) -> Array:
        """The thresholds of all neurons but silent ones, in a row."""
        if self.silent is None:
            return self.threshold.ravel()
        threshold, silent = np.broadcast_arrays(self.threshold, self.silent)
        return threshold[~silent]

    def largest_scale(self, found: Interval) -> float:
        highest = float(self.reachable.max(initial=0.0))
        return min(ratio(POTENTIAL_LIMIT, highest), ratio(CURRENT_LIMIT, found.magnitude))

    def unsaturated_scale(self, lowest: float, highest: float) -> float:
        """Scale at which the potentials that the calibration clips show still fit, with `THRESHOLD_STEPS` at least for
        the threshold in the middle.

        Nothing proves those: they saturate. An inhibited neuron then comes back too early, and one that is reset by
        subtraction forgets spikes that it still has to send; above a threshold that resets to 0 nothing is lost.
        """
        furthest = max(-lowest, 0.0 if self.subtract is None else highest)
        if furthest <= 0 or not self.reachable.size:
            return float("inf")
        return max(POTENTIAL_LIMIT / furthest, THRESHOLD_STEPS / float(np.median(self.reachable)))

    def least_currents(self, frames: int) -> Array:
        """The threshold times what a neuron loses of it in a time step, or has to gain in each of a clip's."""
        current = self.threshold * np.maximum(self.decay, 1 / frames)
        middle = in_the_middle(current if self.silent is None else np.where(self.silent, np.inf, current))
        return np.broadcast_to(middle, self.shape[0])

    def rounding_cost(self, scale: float) -> float:
        exact = self.reachable * scale
        return float(np.mean((_rounded_up_to_one(exact) / exact - 1) ** 2)) if exact.size else 0.0

    def share_of_threshold(self, potential: Values) -> Array:
        return potential / self.threshold

    def rounded(self, scale: float, drift: Array, frames: int) -> "IntLif":
        threshold = self.threshold * scale
        if self.silent is not None:
            threshold = np.where(self.silent, POTENTIAL_LIMIT - 1, threshold)
        membrane = self.rounded_membrane(scale, drift, threshold, frames)
        if self.silent is not None:  # without a memory the potential is a current, which has as many bits
            membrane = replace(membrane, decay=np.where(self.silent, DECAY_ONE, membrane.decay))
        return IntLif(
            **vars(membrane),
            threshold=_rounded_up_to_one(threshold).astype(np.int64),
            subtract=None if self.subtract is None else _rounded_up_to_one(self.subtract * scale).astype(np.int64),
            silent=self.silent,
        )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not (self.threshold > 0).all():
            yield "threshold not positive"
        if self.subtract is not None and not (self.subtract > 0).all():
            yield "what a reset subtracts is not positive"


def _rounded_up_to_one(values: Array) -> Array:
    """To the nearest whole number from 1: a threshold, and what a reset subtracts, is never 0."""
    return np.maximum(np.rint(values), 1)


class RunningLif(RunningMembrane):
    """LIF neurons while they run, in real numbers."""

    population: Lif

    def step(self, current: Array, frame: int) -> Array:
        """Spikes, 0.0 or 1.0: `v > threshold` after the charge; then the reset."""
        v, population = self.charge(current, frame), self.population
        spikes = v > population.threshold
        self.v = np.where(spikes, 0.0 if population.subtract is None else v - population.subtract, v)
        return spikes.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class IntLif(IntMembrane):
    """Sends a spike when `v > threshold`; then `v <- 0`, or `v <- v - subtract`."""

    threshold: IntArray  # in the unit of the weights
    subtract: IntArray | None = None  # in the unit of the weights
    silent: BoolArray | None = None  # neurons that never fire; broadcasts to shape

    kind: ClassVar[Kind] = "lif"
    spiking: ClassVar[bool] = True
    message_unit: ClassVar[float] = 1.0
    message_bits: ClassVar[int] = 1

    @property
    def shared_parameters(self) -> tuple[IntArray, ...]:
        """The decays, the threshold, and what a reset subtracts."""
        resets = () if self.subtract is None else (self.subtract,)
        return (*super().shared_parameters, self.threshold, *resets)

    def message_interval(self) -> tuple[int, int]:
        return 0, 1

    def begin(self, clips: int, frames: int) -> Running:
        return RunningIntLif(self, clips, frames)

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        found, charge = self.charging(name, current, frames)
        threshold, silent = np.broadcast_arrays(self.threshold, False if self.silent is None else self.silent)
        largest = int(threshold[~silent].max(initial=0))
        found.insert(1, Headroom(where=name, what=THRESHOLD, worst=largest, limit=POTENTIAL_LIMIT - 1))
        if self.silent is not None:  # they keep nothing, so their potential is what they take in one step
            channels = np.broadcast_to(self.silent, self.shape).any(axis=(1, 2))
            highest = float(charge.high[channels].max(initial=0.0))
            found.append(Headroom(where=name, what=NEVER, worst=highest, limit=POTENTIAL_LIMIT - 1))
        return found, Interval.spikes(self.shape[0])

    def exact(self, unit: float) -> Lif:
        return Lif(
            **vars(self.exact_membrane(unit)),
            threshold=self.threshold / unit,
            subtract=None if self.subtract is None else self.subtract / unit,
            silent=self.silent,
        )

    def share_of_threshold(self, potential: Values) -> Array:
        return potential / (self.threshold << STATE_SHIFT)

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        assert isinstance(exact, Lif)
        fires = np.broadcast_to(True if self.silent is None else ~self.silent, self.shape)

        def error(rounded: Values, wanted: Array) -> float | None:
            return relative_error(*(np.broadcast_to(values, self.shape)[fires] for values in (rounded, wanted)))

        return {
            **super().rounding_errors(exact),
            "decay_error": error(self.decay / DECAY_ONE, exact.decay),
            "threshold_error": error(self.threshold / self.scale, exact.threshold),
        }

    def chip_parts(self) -> Iterator[ChipPart]:
        resets = [] if self.subtract is None else ["a reset by subtraction"]
        needs = ", ".join([*self.beyond_a_bias_and_rest(), *resets])
        yield ChipPart(what="LIF neurons", process="" if needs else NEURONS, microcode=needs)

    def beyond_stock(self) -> Iterator[str]:
        yield from self.beyond_a_bias_and_rest()
        if self.current_decay is not None and np.ptp(self.current_decay):
            yield "currents whose memory differs from neuron to neuron"
        if self.subtract is not None:
            yield "a reset by subtraction"


class RunningIntLif(RunningIntMembrane):
    """LIF neurons while they run, in the integers of the machine."""

    population: IntLif

    def __init__(self, population: IntLif, clips: int, frames: int) -> None:
        super().__init__(population, clips, frames, np.uint8)

    def step(self, current: IntArray, frame: int) -> NDArray[np.bool_]:
        """Spikes: `v > threshold` after the charge; then v is 0, or loses `subtract`."""
        v, population = self.charge(current, frame), self.population
        spikes = v > (population.threshold << STATE_SHIFT)
        self.v = np.where(spikes, 0 if population.subtract is None else v - (population.subtract << STATE_SHIFT), v)
        return spikes


def fire(lif: IntLif, current_NTCHW: IntArray) -> NDArray[np.uint8]:
    """Spikes of a layer for its currents over whole clips, [N, T, C, H, W]."""
    running, spikes = lif.begin(*current_NTCHW.shape[:2]), np.zeros(current_NTCHW.shape, dtype=np.uint8)
    for t in range(current_NTCHW.shape[1]):
        spikes[:, t] = running.step(current_NTCHW[:, t], t)
    return spikes
