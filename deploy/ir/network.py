"""The lowered network: populations joined by connections, in real numbers.

A population is an input, a layer of neurons, a layer of integrators that send their potential, or a relay that passes
on the sum of what it receives (a junction). A connection is a linear map, or spiking attention, with a delay in whole
time steps. Populations are kept in an order in which each comes after its sources, but for loops, which have a delay.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from deploy.ir.linear import attend, convolve
from deploy.ir.loops import grouped, is_loop
from deploy.ir.running import Watching, execute
from hardware.geometry import AttentionGeometry, ConvGeometry, IdentityGeometry

Array = NDArray[np.float64]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Input:
    """Where a clip enters."""

    shape: Shape


@dataclass(frozen=True, kw_only=True)
class Relay:
    """Sends the sum of its inputs and its bias, a real number, in the same time step."""

    shape: Shape
    bias: Array  # broadcasts to shape; [T, ...] where it has a value of its own for every time step


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


@dataclass(frozen=True, kw_only=True)
class Lif(Membrane):
    """Sends a spike when `v > threshold`; then `v <- 0`.

    A membrane equation with a gain, `v <- v + (x - v) / tau`, has it moved into the threshold: `decay = 1 / tau`,
    `threshold = tau`, potential `tau v`. So all inputs of a shortcut stream keep one scale. A potential to reset to
    other than 0 is where v is counted from.
    """

    threshold: Array


@dataclass(frozen=True, kw_only=True)
class Integrator(Membrane):
    """Sends v, a real number, in every time step, and never resets it within a clip."""


Population = Input | Relay | Lif | Integrator


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """Also every other linear map: a kernel as large as the image is a dense layer."""

    weight: Array  # [O, C / groups, kh, kw]
    geometry: ConvGeometry
    trained_bits: int | None = None  # the weights lie on a grid of so many bits, which passes must keep

    def __call__(self, x_NCHW: Array) -> Array:
        return convolve(x_NCHW, self.weight, self.geometry)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Passes values on; the shapes may differ where the order of the values is the same (a flattened image)."""

    in_shape: Shape
    out_shape: Shape

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Array) -> Array:
        return x_NCHW.reshape(len(x_NCHW), *self.out_shape)


@dataclass(frozen=True, kw_only=True)
class Attention:
    """`scale * q (k^T v)` of the 3C channels q, k, v of one population (arXiv 2406.15034, eq. 8)."""

    geometry: AttentionGeometry
    in_shape: Shape
    scale: float

    def __call__(self, x_NCHW: Array) -> Array:
        return attend(x_NCHW, heads=self.geometry.heads) * self.scale


Operation = Convolution | Identity | Attention


@dataclass(frozen=True, kw_only=True)
class Connection:
    """`operation` from source to target; its input is `delay` time steps old, and 0 before the first frame.

    `gain` multiplies what arrives at frame t with `gain[t]`: a norm of its own for every time step, which no static
    weight can hold.
    """

    source: str
    target: str
    operation: Operation
    delay: int = 0
    gain: Array | None = None  # broadcasts to [T, C, H, W] of the target

    def __call__(self, x_NTCHW: NDArray[Any]) -> NDArray[Any]:
        """What arrives at the target when the source sends x."""
        arrived = apply_over_time(self.operation, x_NTCHW, self.delay)
        return arrived if self.gain is None else arrived * self.gain

    def at(self, frame: int, x_NCHW: NDArray[Any]) -> NDArray[Any]:
        """What arrives at one frame when the source sent x so many time steps before as the delay says.

        Clip by clip, as `execute` does it.
        """
        arrived = np.concatenate([self.operation(x_NCHW[clip : clip + 1]) for clip in range(len(x_NCHW))])
        return arrived if self.gain is None else arrived * self.gain[frame % len(self.gain)]


@dataclass(frozen=True, kw_only=True)
class Network:
    """Populations come after those that they need in the same time step; loops have a delay.

    `output` names the population whose value at the last time step is the result of a clip.
    """

    populations: dict[str, Population]
    connections: tuple[Connection, ...]
    output: str
    frames: int  # T
    notes: tuple[str, ...] = ()  # what the passes decided, for the report

    def into(self, name: str) -> list[Connection]:
        return [c for c in self.connections if c.target == name]

    def out_of(self, name: str) -> list[Connection]:
        return [c for c in self.connections if c.source == name]

    def spiking(self, name: str) -> bool:
        """Whether the messages of a population are spikes (0 or 1) or graded."""
        return isinstance(self.populations[name], Lif)

    def begin(self, name: str, clips: int, frames: int) -> "Running":
        """A population at the beginning of so many clips."""
        population = self.populations[name]
        assert not isinstance(population, Input)
        return Running(population, clips, frames)

    def without(self, name: str, connections: Iterable[Connection], biased: Iterable[tuple[str, Array]]) -> "Network":
        """The network with population `name` and all its connections replaced by `connections`.

        `biased` says what other populations receive as a constant input in its place.
        """
        populations = {n: p for n, p in self.populations.items() if n != name}
        for target, bias in biased:
            population = populations[target]
            assert not isinstance(population, Input)
            populations[target] = with_input_bias(population, bias, self.frames)
        kept = tuple(c for c in self.connections if name not in (c.source, c.target))
        return replace(self, populations=populations, connections=(*kept, *connections))


def endless_loops(network: Network) -> list[tuple[str, ...]]:
    """Loops in which no population spikes, so that their values could grow without end."""
    graded = [name for name in network.populations if not network.spiking(name)]
    edges = {(c.source, c.target) for c in network.connections if {c.source, c.target} <= set(graded)}
    return [group for group in grouped(graded, edges) if is_loop(group, edges)]


def operation_shapes(operation: Operation) -> tuple[Shape, Shape]:
    """Shapes that an operation takes and gives."""
    if isinstance(operation, Identity):
        return operation.in_shape, operation.out_shape
    if isinstance(operation, Attention):
        channels, height, width = operation.in_shape
        return operation.in_shape, (channels // 3, height, width)
    return operation.geometry.in_shape, operation.geometry.out_shape


def apply_over_time(operation: Callable[[Any], Any], x_NTCHW: NDArray[Any], delay: int) -> NDArray[Any]:
    """An operation on every frame of a delayed signal; what has not arrived yet is zero."""
    y = operation(delayed(x_NTCHW, delay).reshape(-1, *x_NTCHW.shape[2:]))
    return y.reshape(*x_NTCHW.shape[:2], *y.shape[1:])


def delayed(x_NT: NDArray[Any], steps: int) -> NDArray[Any]:
    """A signal [N, T, ...] so many time steps later; zeros enter, also when that is longer than the clip."""
    late = np.zeros_like(x_NT)
    late[:, steps:] = x_NT[:, : max(x_NT.shape[1] - steps, 0)]
    return late


def with_input_bias(population: Relay | Lif | Integrator, bias: Array, frames: int) -> Relay | Lif | Integrator:
    """A population that receives `bias` as a constant input (or one for every time step), exactly.

    A current with memory turns a constant b into b / current_decay after a while: that is the bias of the potential,
    and the while is a current that a clip begins with.
    """
    if isinstance(population, Relay) or population.current_decay is None:
        return replace(population, bias=population.bias + bias)
    decay = population.current_decay
    if bias.ndim == len(population.shape) and (decay > 0).all():
        settled, start = bias / decay, population.start_current
        start = -settled if start is None else start - settled
        return replace(population, bias=population.bias + settled, start_current=start)
    by_step = np.broadcast_to(bias, (frames, *np.broadcast_shapes(bias.shape[-3:], decay.shape)))
    currents = itertools.accumulate(by_step, lambda u, b: (1 - decay) * u + b)
    return replace(population, bias=population.bias + np.stack(list(currents)))


def run_float(
    network: Network,
    frames_NTCHW: NDArray[Any],
    start: "Callable[[str, int, int], Running] | None" = None,
    **options: Unpack[Watching],
) -> dict[str, Array]:
    """Messages of every population for a batch of clips: spikes (0 or 1) or graded values, [N, T, C, H, W].

    `start` begins a population, by its name, for so many clips and frames, where somebody wants to watch it; the
    options are those of `execute`.
    """
    entry = next(name for name, population in network.populations.items() if isinstance(population, Input))
    signal = np.asarray(frames_NTCHW, dtype=np.float64)
    return execute(network.populations, network.connections, (entry, signal), start or network.begin, **options)


class Running:
    """A population while it runs: takes currents [N, C, H, W] of one frame, gives its messages."""

    def __init__(self, population: Relay | Lif | Integrator, clips: int, frames: int) -> None:
        self.population = population
        self.currents: Array = np.zeros((clips, frames, *population.shape))
        self.messages: Array = np.zeros((clips, frames, *population.shape))
        self.bias = np.broadcast_to(population.bias, (frames, *population.shape))
        if isinstance(population, Membrane):
            nothing = np.zeros((1, 1, 1))
            self.v, self.u = (nothing if s is None else s for s in (population.start, population.start_current))

    def step(self, current: Array, frame: int) -> Array:
        population = self.population
        if isinstance(population, Relay):
            return current + self.bias[frame]
        self.u = current if population.current_decay is None else (1 - population.current_decay) * self.u + current
        self.v = (1 - population.decay) * self.v + (self.u + self.bias[frame])
        self.reached(self.v)
        if isinstance(population, Integrator):
            return self.v
        spikes = self.v > population.threshold
        self.v = np.where(spikes, 0.0, self.v)
        return spikes.astype(np.float64)

    def reached(self, v: Array) -> None:
        """Potentials of one frame, before a reset: for those who want to see them."""
