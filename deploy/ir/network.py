"""The lowered network: populations joined by connections, in real numbers.

A population is an input, a layer of neurons, or a relay that passes on the sum of what it receives (a junction). A
connection is a linear map, or spiking attention, with a delay in whole time steps. Populations are kept in an order
in which each comes after its sources.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.linear import attend, convolve
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
class Lif:
    """`v <- (1 - decay) v + x + bias`; a spike when `v > threshold`, then `v <- 0`; `v = 0` before the first frame.

    A membrane equation with a gain, `v <- v + (x - v) / tau`, has it moved into the threshold: `decay = 1 / tau`,
    `threshold = tau`, potential `tau v`. So all inputs of a shortcut stream keep one scale.
    """

    shape: Shape
    bias: Array
    decay: Array  # broadcasts to shape, 0 (no leak) to 1 (no memory)
    threshold: Array


Population = Input | Relay | Lif


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


@dataclass(frozen=True, kw_only=True)
class Network:
    """`output` names the population whose value at the last time step is the result of a clip."""

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

    def without(self, name: str, connections: Iterable[Connection], biased: dict[str, Array]) -> "Network":
        """The network with population `name` and all its connections replaced by `connections`.

        `biased` holds what is added to the bias of other populations.
        """
        populations = {n: p for n, p in self.populations.items() if n != name}
        for target, bias in biased.items():
            population = populations[target]
            assert not isinstance(population, Input)
            populations[target] = replace(population, bias=population.bias + bias)
        kept = tuple(c for c in self.connections if name not in (c.source, c.target))
        return replace(self, populations=populations, connections=(*kept, *connections))


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


def run_float(network: Network, frames_NTCHW: NDArray[Any]) -> dict[str, Array]:
    """Messages of every population for a batch of clips: spikes (0 or 1) or graded values, [N, T, C, H, W]."""
    signals: dict[str, Array] = {}
    for name, population in network.populations.items():
        if isinstance(population, Input):
            signals[name] = np.asarray(frames_NTCHW, dtype=np.float64)
            continue
        current = _current(network, name, population, signals, frames_NTCHW.shape[:2])
        signals[name] = _fire(population, current) if isinstance(population, Lif) else current
    return signals


def _current(
    network: Network, name: str, population: Relay | Lif, signals: dict[str, Array], batch: tuple[int, ...]
) -> Array:
    current = np.broadcast_to(population.bias, (*batch, *population.shape)).copy()
    for connection in network.into(name):
        current += connection(signals[connection.source])
    return current


def _fire(lif: Lif, current_NTCHW: Array) -> Array:
    spikes = np.zeros_like(current_NTCHW)
    v = np.zeros_like(current_NTCHW[:, 0])
    for t in range(current_NTCHW.shape[1]):
        v = (1 - lif.decay) * v + current_NTCHW[:, t]
        spikes[:, t] = v > lif.threshold
        v = np.where(spikes[:, t] > 0, 0.0, v)
    return spikes
