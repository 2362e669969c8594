"""What a population does in a time step: neurons in one pass over their states, relays with a sum.

`update` takes the currents of a frame in one or two parts, [C, H, W] each, which add up, and writes the messages to
`out`, [C, H, W], which it returns.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import constant, zeros
from deploy.engine.ranges import message_type
from deploy.engine.simd import inlined, jit
from deploy.ir.machine import DECAY_BITS, DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from deploy.ir.populations.base import IntReceiver
from deploy.ir.populations.constant import IntConstant
from deploy.ir.populations.gate import IntGate
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import Shape

Array = NDArray[Any]

LOWEST, HIGHEST = 1 - STATE_LIMIT, STATE_LIMIT - 1
LOWER_BITS = (1 << DECAY_BITS) - 1
LARGEST_BIAS = 1 << 29  # 2^30 of a current, 2^23 of a potential and the bias stay below 2^31


class Relay:
    """Graded messages: the sum of currents and bias."""

    dtype = np.dtype(np.int32)
    at_rest = 0

    def __init__(self, relay: IntRelay, frames: int) -> None:
        biases = different_steps(relay.bias_by_step(frames))
        self.bias = [narrowed(by_row(bias, relay.shape, relay.shape[0])) for bias in biases]

    def reset(self) -> None:
        """A relay keeps nothing."""

    def update(self, parts: Sequence[Array], frame_of_clip: int, out: Array) -> Array:
        rows = [part.reshape(len(part), -1) for part in (*parts, out)]
        (add_two if len(parts) == 2 else add_one)(*rows[:-1], self.bias[frame_of_clip % len(self.bias)], rows[-1])
        return out


class Gates:
    """Graded messages: the sum of currents where it is above a threshold."""

    dtype = np.dtype(np.int32)
    at_rest = 0

    def __init__(self, gate: IntGate) -> None:
        self.threshold = gate.threshold

    def reset(self) -> None:
        """A gate keeps nothing."""

    def update(self, parts: Sequence[Array], frame_of_clip: int, out: Array) -> Array:
        first, *others = parts
        np.add(first, others[0] if others else 0, out=out, dtype=np.int32, casting="unsafe")
        out[np.abs(out) <= self.threshold] = 0
        return out


class Constant:
    """A neuron that always fires."""

    dtype = np.dtype(np.int8)
    at_rest = 1

    def reset(self) -> None:
        """It keeps nothing."""

    def update(self, parts: Sequence[Array], frame_of_clip: int, out: Array) -> Array:
        out[:] = 1
        return out


class Neurons:
    """Spikes of Loihi's LIF neurons, all sums in 32 bits; see `fits`.

    The neurons of a row share decay and threshold: a channel, or a single neuron where these differ within channels.
    """

    dtype = np.dtype(np.int8)
    at_rest = 0

    def __init__(self, lif: IntLif, frames: int) -> None:
        by_channel = all(values.shape[-2:] == (1, 1) for values in (lif.decay, lif.threshold))
        rows = lif.shape[0] if by_channel else int(np.prod(lif.shape))
        threshold = np.clip(lif.threshold << STATE_SHIFT, LOWEST - 1, HIGHEST)  # beyond: always or never reached
        self.keep, self.threshold = (
            by_row(values, lif.shape, rows)[:, 0].astype(np.int32) for values in (DECAY_ONE - lif.decay, threshold)
        )
        self.bias = [narrowed(by_row(bias, lif.shape, rows)) for bias in different_steps(lif.bias_by_step(frames))]
        self.v = zeros((rows, int(np.prod(lif.shape)) // rows), np.int32)

    @staticmethod
    def fits(lif: IntLif) -> bool:
        """Whether potential, current (proven to have 24 bits at most) and bias add up in 32 bits, and nothing else is
        kept of a step or there at the start.
        """
        extras = (lif.current_decay, lif.start, lif.start_current, lif.subtract)
        largest = int(np.abs(lif.bias_mantissa).max()) << lif.bias_exponent
        return all(values is None for values in extras) and largest < LARGEST_BIAS

    def reset(self) -> None:
        self.v[:] = 0

    def update(self, parts: Sequence[Array], frame_of_clip: int, out: Array) -> Array:
        bias, shape = self.bias[frame_of_clip % len(self.bias)], self.v.shape
        rows = [part.reshape(shape) for part in parts]
        fire = fire_for_two if len(parts) == 2 else fire_for_one
        fire(*rows, bias, self.keep, self.threshold, self.v, out.reshape(shape))
        return out


class Interpreted:
    """Populations of every other kind (a current with memory, a start other than rest, graded potentials), step by step
    as the integer interpreter defines them: exact, and slower.
    """

    at_rest = 0

    def __init__(self, population: IntReceiver, frames: int) -> None:
        self.population, self.frames = population, frames
        self.dtype = message_type(population)
        self.reset()

    def reset(self) -> None:
        """Begin a clip."""
        self.running = self.population.begin(clips=1, frames=self.frames)

    def update(self, parts: Sequence[Array], frame_of_clip: int, out: Array) -> Array:
        """One time step; see the module."""
        currents = sum(part.astype(np.int64) for part in parts)
        out[:] = self.running.step(np.asarray(currents)[np.newaxis], frame_of_clip)[0]
        return out


def populated(population: IntReceiver, frames: int) -> Relay | Gates | Constant | Neurons | Interpreted:
    """What runs a population: the fast form where there is one. `at_rest` is what it sends outside of clips."""
    if isinstance(population, IntGate):
        return Gates(population)
    if isinstance(population, IntConstant):
        return Constant()
    if isinstance(population, IntRelay):
        return Relay(population, frames)
    if isinstance(population, IntLif) and Neurons.fits(population):
        return Neurons(population, frames)
    return Interpreted(population, frames)


def different_steps(values: Array) -> Array:
    """[T, ...], or [1, ...] where all time steps share one set."""
    return values[:1] if values.strides[0] == 0 else values


def by_row(values: Array, shape: Shape, rows: int) -> Array:
    """[rows, 1] of values that are the same for all neurons of a row, else [rows, neurons of a row]."""
    if values.shape[-2:] == (1, 1) and rows == shape[0]:
        return np.broadcast_to(values, (rows, 1, 1)).reshape(rows, 1)
    return np.broadcast_to(values, shape).reshape(rows, -1)


def narrowed(values: Array) -> Array:
    """In 32 bits where they fit: half the memory to read in every time step."""
    limits = np.iinfo(np.int32)
    fits = limits.min <= values.min() and values.max() <= limits.max
    return constant(values.astype(np.int32 if fits else np.int64))


# Compiled loops. Arrays are [rows, neurons], `bias` [rows, 1 or neurons]. numba makes 64 bits of every sum of 32: they
# are cut back at once, and the compiler leaves them out. Summing the currents of two connections here, instead of
# before, saves writing the sum to memory and reading it again.


@jit
def add_one(currents: Array, bias: Array, out: Array) -> None:
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[row, i] = currents[row, i] + of_row(bias, row, i)


@jit
def add_two(first: Array, second: Array, bias: Array, out: Array) -> None:
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[row, i] = first[row, i] + second[row, i] + of_row(bias, row, i)


@jit
def fire_for_one(currents: Array, bias: Array, keep: Array, threshold: Array, v: Array, spikes: Array) -> None:
    """A time step of `deploy.ir.populations.lif.fire`, in place."""
    for row in range(v.shape[0]):
        for i in range(v.shape[1]):
            charge = charged(v[row, i], np.int32(currents[row, i]), of_row(bias, row, i), keep[row])
            fired = charge > threshold[row]
            spikes[row, i] = fired
            v[row, i] = np.int32(0) if fired else charge


@jit
def fire_for_two(
    first: Array, second: Array, bias: Array, keep: Array, threshold: Array, v: Array, spikes: Array
) -> None:
    """The same for the sum of two currents."""
    for row in range(v.shape[0]):
        for i in range(v.shape[1]):
            current = np.int32(first[row, i] + second[row, i])
            charge = charged(v[row, i], current, of_row(bias, row, i), keep[row])
            fired = charge > threshold[row]
            spikes[row, i] = fired
            v[row, i] = np.int32(0) if fired else charge


@inlined
def of_row(values: Array, row: int, i: int) -> Any:
    return values[row, i] if values.shape[1] > 1 else values[row, 0]


@inlined
def charged(v: int, current: int, bias: int, keep: int) -> Any:
    """Decay towards zero, integrate a current that wraps, saturate. `v` times 12 bits has 36: it is cut in two."""
    size = np.int32(abs(v))
    lower = np.int32((size & LOWER_BITS) * keep) >> DECAY_BITS
    kept = np.int32((size >> DECAY_BITS) * keep + lower)
    u = np.int32(current << STATE_SHIFT)
    if u > STATE_LIMIT:
        u = np.int32(u - 2 * STATE_LIMIT)
    if u <= -STATE_LIMIT:
        u = np.int32(u + 2 * STATE_LIMIT)
    charge: Any = np.int32((kept if v > 0 else -kept) + u + bias)
    return np.int32(min(max(charge, LOWEST), HIGHEST))
