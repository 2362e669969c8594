"""A random pre-activation residual network with a graded stream, as MS-ResNet's (arXiv 2112.08954), in real numbers.

Every block adds to the stream what two convolutions make of its spikes; at the end of a stage the stream is averaged
over 2 x 2 pixels and a 1x1 kernel doubles its channels. Kernels are drawn as a batch norm with the given gain leaves
them: no mean, and currents with a standard deviation of `gain` where spikes come at `RATE`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import reals
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Population
from deploy.ir.populations.input import Input
from deploy.ir.types import Shape

RATE, THRESHOLD, DECAY, FRAMES, CLASSES = 0.2, 0.5, 0.75, 4, 5
COLOURS = 3


@dataclass
class _Builder:
    rng: np.random.Generator
    gain: float
    populations: dict[str, Population] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)

    def kernel(self, in_shape: Shape, outputs: int, size: int, *, deviation: float, stride: int = 1) -> Convolution:
        """For messages of this standard deviation."""
        weight = self.rng.normal(size=(outputs, in_shape[0], size, size))
        weight -= weight.mean(axis=(1, 2, 3), keepdims=True)
        weight *= self.gain / (deviation * np.sqrt(weight[0].size))
        return reals.conv(weight, in_shape, stride=(stride, stride), padding=(size // 2, size // 2))

    def relay(self, name: str, shape: Shape, *, bias: float = 0.2) -> None:
        self.populations[name] = reals.relay(shape, self.rng.normal(0, bias, shape[0]))

    def neurons(self, name: str, shape: Shape) -> None:
        bias = self.rng.normal(0, 0.2, shape[0])
        self.populations[name] = reals.lif(shape, threshold=THRESHOLD, decay=DECAY, bias=bias)

    def link(self, source: str, target: str, operation: Convolution | None = None) -> None:
        shape = self.populations[source].shape
        self.connections.append(reals.link(source, target, operation or reals.same(shape)))

    def block(self, name: str, stream: str, outputs: int, stride: int) -> str:
        """A block behind a stream; returns the stream behind the block."""
        shape, spikes = self.populations[stream].shape, np.sqrt(RATE * (1 - RATE))
        first = self.kernel(shape, outputs, 3, deviation=spikes, stride=stride)
        second = self.kernel(first.out_shape, outputs, 3, deviation=spikes)
        self.neurons(f"{name}.a", shape)
        self.link(stream, f"{name}.a")
        shortcut, operation = stream, None
        if stride > 1:
            shortcut = f"{name}.pool"
            average = np.full((shape[0], 1, stride, stride), 1 / stride**2)
            pool = reals.conv(average, shape, stride=(stride, stride), groups=shape[0])
            self.relay(shortcut, pool.out_shape, bias=0)
            self.link(stream, shortcut, pool)
            operation = self.kernel(pool.out_shape, outputs, 1, deviation=1.0)
        self.neurons(f"{name}.b", first.out_shape)
        self.link(f"{name}.a", f"{name}.b", first)
        self.relay(name, second.out_shape)
        self.link(shortcut, name, operation)
        self.link(f"{name}.b", name, second)
        return name


def residual(depths: tuple[int, ...], *, width: int = 8, gain: float = 0.5, size: int = 16, seed: int = 0) -> Network:
    """Stages of `depths` blocks, the first `width` channels wide, each later one twice as wide at half the size."""
    build = _Builder(np.random.default_rng(seed), gain)
    build.populations["input"] = Input(shape=(COLOURS, size, size))
    build.relay("stem", (width, size, size))
    build.link("input", "stem", build.kernel((COLOURS, size, size), width, 3, deviation=np.sqrt(1 / 12)))
    stream = "stem"
    for name, outputs, stride in _blocks(depths, width):
        stream = build.block(name, stream, outputs, stride)
    shape = build.populations[stream].shape
    build.neurons("last", shape)
    build.link(stream, "last")
    head = reals.conv(build.rng.normal(0, 1 / shape[1] ** 2, (CLASSES, shape[0], *shape[1:])), shape)
    build.relay("output", head.out_shape)
    build.link("last", "output", head)
    return reals.network(build.populations, *build.connections, frames=FRAMES)


def _blocks(depths: tuple[int, ...], width: int) -> Iterator[tuple[str, int, int]]:
    for stage, depth in enumerate(depths):
        for block in range(depth):
            yield f"stage{stage}.{block}", width << stage, 2 if stage and not block else 1


def clips(count: int, *, size: int = 16, seed: int = 1) -> NDArray[np.float64]:
    """Images of 256 levels from 0 to 1, each shown in every time step, [N, T, C, H, W]."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 1, COLOURS, size, size)) / 255
    return np.repeat(images, FRAMES, axis=1)
