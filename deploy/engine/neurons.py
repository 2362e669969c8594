"""What a population does in a time step: neurons in one pass over their states, relays with a sum.

`update` takes the currents [C, H, W] of a frame and writes the messages to `out`, [C, H, W], which it returns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.memory import constant, zeros
from deploy.engine.simd import jit
from deploy.ir.integer import (
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    IntIntegrator,
    IntLif,
    IntPopulation,
    IntRelay,
    Running,
    bias_by_step,
)

Array = NDArray[Any]

LOWEST, HIGHEST = 1 - STATE_LIMIT, STATE_LIMIT - 1
DECAY_BITS = 12  # DECAY_ONE is 2^12


class Relay:
    """Graded messages: currents and bias."""

    dtype = np.dtype(np.int32)

    def __init__(self, relay: IntRelay, frames: int) -> None:
        self.bias = [narrowed(bias) for bias in different_steps(bias_by_step(relay, frames))]

    def reset(self) -> None:
        """A relay keeps nothing."""

    def update(self, currents: Array, frame_of_clip: int, out: Array) -> Array:
        return np.add(currents, self.bias[frame_of_clip % len(self.bias)], out=out, casting="unsafe")


class Neurons:
    """Spikes of Loihi's LIF neurons. Their potentials have 24 bits and are kept in 32; sums are made in 64.

    The neurons of a row share decay and threshold: a channel, or a single neuron where these differ within channels.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, lif: IntLif, frames: int) -> None:
        self.shape = lif.shape
        by_channel = all(values.shape[-2:] == (1, 1) for values in (lif.decay, lif.threshold))
        rows = lif.shape[0] if by_channel else int(np.prod(lif.shape))
        self.keep = self._rows(DECAY_ONE - lif.decay, rows)[:, 0].copy()
        self.threshold = self._rows(lif.threshold << STATE_SHIFT, rows)[:, 0].copy()
        self.bias = [narrowed(self._rows(bias, rows)) for bias in different_steps(bias_by_step(lif, frames))]
        self.v = zeros((rows, int(np.prod(lif.shape)) // rows), np.int32)

    def reset(self) -> None:
        self.v[:] = 0

    def update(self, currents: Array, frame_of_clip: int, out: Array) -> Array:
        bias, shape = self.bias[frame_of_clip % len(self.bias)], self.v.shape
        fire(currents.reshape(shape), bias, self.keep, self.threshold, self.v, out.reshape(shape))
        return out

    def _rows(self, values: Array, rows: int) -> Array:
        """[rows, 1] of values that are the same for all neurons of a row, else [rows, neurons of a row]."""
        if values.shape[-2:] == (1, 1) and rows == self.shape[0]:
            return np.broadcast_to(values, (rows, 1, 1)).reshape(rows, 1)
        return np.broadcast_to(values, self.shape).reshape(rows, -1)


class Judged:
    """Neurons of every other kind (a current with memory, a start other than rest, graded potentials), step by step as
    the integer interpreter defines them: exact, and slower.
    """

    def __init__(self, population: IntLif | IntIntegrator, frames: int) -> None:
        self.population, self.frames = population, frames
        self.dtype = message_type(population)
        self.reset()

    def reset(self) -> None:
        self.running = Running(self.population, clips=1, frames=self.frames)

    def update(self, currents: Array, frame_of_clip: int, out: Array) -> Array:
        out[:] = self.running.step(currents[np.newaxis].astype(np.int64), frame_of_clip)[0]
        return out


def populated(population: IntRelay | IntLif | IntIntegrator, frames: int) -> Relay | Neurons | Judged:
    """What runs a population: the fast form where there is one."""
    if isinstance(population, IntRelay):
        return Relay(population, frames)
    extras = (population.current_decay, population.start, population.start_current)
    if isinstance(population, IntLif) and all(values is None for values in extras):
        return Neurons(population, frames)
    return Judged(population, frames)


def message_type(population: IntPopulation) -> np.dtype[Any]:
    """int8 spikes, int32 graded messages."""
    return Neurons.dtype if isinstance(population, IntLif) else Relay.dtype


def different_steps(values: Array) -> Array:
    """[T, ...], or [1, ...] where all time steps share one set."""
    return values[:1] if values.strides[0] == 0 else values


def narrowed(values: Array) -> Array:
    """In 32 bits where they fit: half the memory to read in every time step."""
    limits = np.iinfo(np.int32)
    fits = limits.min <= values.min() and values.max() <= limits.max
    return constant(values.astype(np.int32 if fits else np.int64))


@jit
def fire(currents: Array, bias: Array, keep: Array, threshold: Array, v: Array, spikes: Array) -> None:
    """A time step of `deploy.ir.integer.fire`, in place; all are [rows, neurons], `bias` [rows, 1 or neurons]."""
    neurons_have_biases = bias.shape[1] > 1
    for row in range(v.shape[0]):
        for i in range(v.shape[1]):
            own_bias = bias[row, i] if neurons_have_biases else bias[row, 0]
            charge = charged(v[row, i], currents[row, i], own_bias, keep[row])
            fired = charge > threshold[row]
            spikes[row, i] = fired
            v[row, i] = 0 if fired else charge


@jit
def charged(v: int, current: int, bias: int, keep: int) -> Any:
    """Decay towards zero, integrate a current that wraps, saturate."""
    kept = abs(v) * keep >> DECAY_BITS
    u: Any = np.int64(current) << STATE_SHIFT
    if u > STATE_LIMIT:
        u -= 2 * STATE_LIMIT
    if u <= -STATE_LIMIT:
        u += 2 * STATE_LIMIT
    return min(max((kept if v > 0 else -kept) + u + bias, LOWEST), HIGHEST)
