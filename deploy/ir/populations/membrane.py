"""What neurons with and without a threshold share: a current and a potential that leak.

In real numbers, for every frame of a clip:

    u <- (1 - current_decay) u + current        without a current decay: u = current
    v <- (1 - decay) v + u + bias

In integers the same with Loihi's rounding: see `RunningIntMembrane.charge`, which is the definition of the machine.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from deploy.ir.intervals import BIAS, CURRENT, Headroom, Interval
from deploy.ir.machine import (
    BIAS_MANTISSA_LIMIT,
    CURRENT_LIMIT,
    DECAY_BITS,
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    STATE_UNIT,
)
from deploy.ir.populations.base import Receiver, by_time_step, changes_with_time, first_steps, outside
from deploy.ir.rounding import relative_error, round_bias, round_decay, round_state
from deploy.ir.running import Running
from deploy.ir.types import Array, IntArray, Shape

NOTHING = np.zeros((1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class Membrane:
    """`u <- (1 - current_decay) u + x` (without a current decay, u = x); `v <- (1 - decay) v + u + bias`.

    A clip begins with `v = start` and `u = start_current` (0 where there are none).
    """

    shape: Shape
    bias: Array  # broadcasts to shape; [T, ...] where it has a value of its own for every time step
    decay: Array  # broadcasts to shape, 0 (no leak) to 1 (no memory)
    current_decay: Array | None = None
    start: Array | None = None
    start_current: Array | None = None

    def decays(self) -> Mapping[str, Array]:
        found = {"dt / tau": self.decay, "dt / tau_syn": self.current_decay}
        return {what: decay for what, decay in found.items() if decay is not None}

    def problems(self) -> Iterator[str]:
        yield from outside(1, {"decay": self.decay, "current_decay": self.current_decay})

    def charging(self, current: Interval, frames: int) -> Interval:
        """Range of what v takes in a time step, `u + bias`, for currents in this range."""
        remembered = current.accumulated(self.current_decay, frames).begun(self.start_current)
        return remembered + Interval.of(self.bias, self.shape[0])

    def with_input_bias(self, bias: Array, frames: int) -> Self:
        """The neurons that receive `bias` as a constant input (or one for every time step), exactly.

        A current with memory turns a constant b into b / current_decay after a while: that is the bias of the
        potential, and the while is a current that a clip begins with.
        """
        decay = self.current_decay
        if decay is None:
            return replace(self, bias=self.bias + bias)
        if bias.ndim == len(self.shape) and (decay > 0).all():
            settled, start = bias / decay, self.start_current
            start = -settled if start is None else start - settled
            return replace(self, bias=self.bias + settled, start_current=start)
        by_step = np.broadcast_to(bias, (frames, *np.broadcast_shapes(bias.shape[-3:], decay.shape)))
        currents = itertools.accumulate(by_step, lambda u, b: (1 - decay) * u + b)
        return replace(self, bias=self.bias + np.stack(list(currents)))

    def rounded_membrane(self, scale: float, drift: Array, threshold: Array, frames: int) -> "IntMembrane":
        """The membrane in integers; its bias takes back `drift`, what rounded weights add to its mean current
        (Nagel et al., ICCV 2019). `threshold` is in units, for ties (`round_bias`).
        """
        bias = (self.bias - drift * _mean_gain(self.current_decay, frames)) * scale
        mantissa, exponent = round_bias(bias, threshold)
        return IntMembrane(
            shape=self.shape,
            scale=scale,
            bias_mantissa=mantissa,
            bias_exponent=exponent,
            decay=round_decay(self.decay),
            current_decay=None if self.current_decay is None else round_decay(self.current_decay),
            start=round_state(self.start, scale),
            start_current=round_state(self.start_current, scale),
        )


def _mean_gain(current_decay: Array | None, frames: int) -> Array:
    """What a current with memory makes of a constant input of 1, on average over a clip."""
    if current_decay is None:
        return np.ones((1, 1, 1))
    return np.mean(np.cumsum([(1 - current_decay) ** k for k in range(frames)], axis=0), axis=0)


class RunningMembrane(Running):
    """Neurons while they run, in real numbers."""

    def __init__(self, population: Membrane, clips: int, frames: int) -> None:
        super().__init__((clips, frames, *population.shape), current_type=np.float64, message_type=np.float64)
        self.population = population
        self.bias_T = np.broadcast_to(population.bias, (frames, *population.shape))
        self.v = NOTHING if population.start is None else population.start
        self.u = NOTHING if population.start_current is None else population.start_current

    def charge(self, current: Array, frame: int) -> Array:
        """Integrate a current [N, C, H, W]; returns the potential before a reset, which probes see."""
        population = self.population
        self.u = current if population.current_decay is None else (1 - population.current_decay) * self.u + current
        self.v = (1 - population.decay) * self.v + (self.u + self.bias_T[frame])
        self.on_potential(self.v)
        return self.v


@dataclass(frozen=True, kw_only=True)
class IntMembrane:
    """A layer of Loihi neurons: `u` loses current_decay / 4096 of itself and takes the current, `v` decay / 4096, and
    takes u and the bias.

    Without a current decay u has no memory (Lava: du = 4095; else du = current_decay - 1). The bias is `bias_mantissa
    << bias_exponent`, in 1/64 of the unit of the weights, as are `start` and `start_current`, with which v and u begin
    a clip (0 where there are none). Decays and threshold broadcast to the shape (a chip core holds one set, so a layer
    takes one group of cores for each).
    """

    shape: Shape
    scale: float
    bias_mantissa: IntArray
    bias_exponent: int
    decay: IntArray  # 0..4096
    current_decay: IntArray | None = None  # 1..4096
    start: IntArray | None = None
    start_current: IntArray | None = None

    @property
    def stored_bias(self) -> IntArray:
        return self.bias_mantissa

    @property
    def neuron_updates(self) -> int:
        return int(np.prod(self.shape))

    @property
    def shared_parameters(self) -> tuple[IntArray, ...]:
        """The decays; every neuron has a bias of its own."""
        return (self.decay,) if self.current_decay is None else (self.decay, self.current_decay)

    def bias_by_step(self, frames: int) -> IntArray:
        return by_time_step(self.bias_mantissa << self.bias_exponent, frames)

    def lasting(self, frames: int) -> Self:
        return replace(self, bias_mantissa=first_steps(self.bias_mantissa, frames))

    def exact_membrane(self, unit: float) -> Membrane:
        """The membrane in real numbers, where `unit` of its integers are 1.0."""

        def real(state: IntArray | None) -> Array | None:
            return None if state is None else state / (STATE_UNIT * unit)

        return Membrane(
            shape=self.shape,
            bias=(self.bias_mantissa << self.bias_exponent) / (STATE_UNIT * unit),
            decay=self.decay / DECAY_ONE,
            current_decay=_share(self.current_decay),
            start=real(self.start),
            start_current=real(self.start_current),
        )

    def charging(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        """Registers of current and bias, and the range of what v takes in a time step, in the unit of the weights."""
        channels = self.shape[0]
        remembered = current.accumulated(_share(self.current_decay), frames).begun(_in_units(self.start_current))
        found = [
            Headroom(where=name, what=CURRENT, worst=remembered.magnitude, limit=CURRENT_LIMIT - 1),
            Headroom(
                where=name,
                what=BIAS,
                worst=int(np.abs(self.bias_mantissa).max()),
                limit=BIAS_MANTISSA_LIMIT - 1,
            ),
        ]
        bias = Interval.of(self.bias_mantissa, channels).scaled(2.0**self.bias_exponent / STATE_UNIT)
        return found, remembered + bias

    def potential(self, charge: Interval, frames: int) -> Interval:
        """Range of a potential that is never reset, in the unit of the weights."""
        return charge.accumulated(self.decay / DECAY_ONE, frames).begun(_in_units(self.start))

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        assert isinstance(exact, Membrane)
        found = {"decay_error": relative_error(self.decay / DECAY_ONE, exact.decay)}
        if exact.current_decay is not None and self.current_decay is not None:
            found["current_decay_error"] = relative_error(self.current_decay / DECAY_ONE, exact.current_decay)
        return found

    def problems(self) -> Iterator[str]:
        yield from outside(DECAY_ONE, {"decay": self.decay, "current_decay": self.current_decay})

    def beyond_a_bias_and_rest(self) -> Iterator[str]:
        """What neither Lava's LIF with a reset between clips nor a chip's can do."""
        if changes_with_time(self.bias_mantissa):
            yield "a bias of every time step"
        if self.start is not None or self.start_current is not None:
            yield "a start other than rest after every clip"


def _share(decay: IntArray | None) -> Array | None:
    return None if decay is None else decay / DECAY_ONE


def _in_units(state: IntArray | None) -> Array | None:
    """A state in the unit of the weights."""
    return None if state is None else state / STATE_UNIT


class RunningIntMembrane(Running):
    """Neurons while they run, in the integers of the machine."""

    def __init__(self, population: IntMembrane, clips: int, frames: int, message_type: type[np.generic]) -> None:
        super().__init__((clips, frames, *population.shape), current_type=np.int64, message_type=message_type)
        self.population, self.bias_T = population, population.bias_by_step(frames)
        self.v = _begin(population.start)
        self.u = _begin(population.start_current)

    def charge(self, current: IntArray, frame: int) -> IntArray:
        """Integrate a current; returns the potential before a reset, which probes see.

        `current` [N, C, H, W] is the sum of what the synapses delivered for this frame, in the unit of the weights,
        each already shifted by its exponent and multiplied by its gain. u, v and the bias count in 1/64 of that unit.
        Order of events, as in Lava's PyLifModelBitAcc:

        1. u keeps `(4096 - current_decay) / 4096` of itself, rounded towards zero, or nothing without a current decay.
        2. u takes the current times 64; a register that overflows its 24 bits wraps (bounds.py proves that none does).
        3. v keeps `(4096 - decay) / 4096` of itself, rounded towards zero, and takes u and the bias of the time step.
        4. v saturates at the ends of its 24 bits.
        """
        population = self.population
        remembered = 0 if population.current_decay is None else decayed(self.u, population.current_decay)
        self.u = wrapped(remembered + (current << STATE_SHIFT))
        v = decayed(self.v, population.decay) + self.u + self.bias_T[frame]
        self.v = np.clip(v, -STATE_LIMIT + 1, STATE_LIMIT - 1)
        self.on_potential(self.v)
        return self.v


def _begin(state: IntArray | None) -> IntArray:
    return np.zeros((1, 1, 1), dtype=np.int64) if state is None else state


def decayed(state: IntArray, decay: IntArray) -> IntArray:
    """What a time step leaves of a state: 12 bits of decay, rounded towards zero."""
    return np.sign(state) * ((np.abs(state) * (DECAY_ONE - decay)) >> DECAY_BITS)


def wrapped(u: IntArray) -> IntArray:
    """A 24-bit register that overflows wraps (once, as in Lava)."""
    if u.max(initial=0) <= STATE_LIMIT and u.min(initial=0) > -STATE_LIMIT:
        return u
    u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, u)
    return np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u)
