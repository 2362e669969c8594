"""The NIR graph while it is made: nodes of images [C, H, W], each there once, however often a loop asks for it."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import nir
import numpy as np

from deploy.ir.operations.identity import Junction
from deploy.ir.shapes import output_shape
from deploy.ir.types import Array, Shape

Pair = tuple[int, int]
ONE, NONE = (1, 1), (0, 0)
FIRED = 0.5  # threshold of a single spike
OUTPUT = "output"  # name of the node behind which the graph ends; no other has it
SAID = ("input_type", "output_type", "metadata")  # fields of a node that follow from the others


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a kernel moves over the image, as in NIR's Conv2d and pools."""

    stride: Pair = ONE
    padding: Pair = NONE
    dilation: Pair = ONE

    @property
    def still(self) -> bool:
        """Whether a 1x1 kernel sees every pixel once, and nothing else."""
        return self.stride == ONE and self.padding == NONE


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution before it is a node: weights [O, C / groups, kh, kw] and a bias [O]."""

    weight: Array
    bias: Array
    groups: int = 1
    window: Window = Window()

    @property
    def pointwise(self) -> bool:
        """Whether it mixes no pixels."""
        return self.weight.shape[2:] == (1, 1) and self.window.still

    @property
    def channelwise(self) -> bool:
        """Whether it is a gain and a bias for each channel."""
        return self.pointwise and self.groups == len(self.weight) and self.weight.shape[1] == 1


@dataclass(frozen=True, kw_only=True)
class Border:
    """An image with `width` more pixels on every side that hold one value for each channel."""

    width: int
    values: Array


@dataclass(frozen=True, kw_only=True)
class Attention:
    """q (k^T v) of three images of spikes."""

    heads: int
    scale: float


Made: TypeAlias = Conv | Border | Attention | nir.NIRNode


@dataclass(kw_only=True)
class Draft:
    """Nodes and edges so far. Methods add nodes behind `sources` and return the name of the last."""

    nodes: dict[str, Made] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spiking: set[str] = field(default_factory=set)  # nodes that send 0 or 1
    levels: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)  # sums: of which spikes, times what
    back: list[tuple[str, str]] = field(default_factory=list)  # edges that close a loop, one time step late
    made: dict[Hashable, str] = field(default_factory=dict)

    def add(
        self, name: str, node: Made, *sources: str, shape: Shape, spiking: bool = False, alone: bool = False
    ) -> str:
        """A node of an output shape; the one that is there where the same was asked before. `alone`: by its name."""
        key = (name if alone else "", _key(node), sources)
        if key in self.made:
            return self.made[key]
        name = name if isinstance(node, nir.Output) else self.free(name)
        self.made[key] = name
        self.nodes[name], self.shapes[name], self.sources[name] = node, shape, sources
        if spiking:
            self.spiking.add(name)
        return name

    def free(self, name: str) -> str:
        """The name, or with a number behind it where it is taken."""
        taken, count = name, 2
        while taken in self.nodes or taken == OUTPUT:
            taken, count = f"{name}_{count}", count + 1
        return taken

    def conv(self, name: str, conv: Conv, source: str) -> str:
        shape = output_shape(as_node(conv, self.shapes[source]), self.shapes[source])
        return self.add(name, conv, source, shape=_image(shape))

    def channelwise(self, name: str, source: str, gain: Array | float, bias: Array | float = 0.0) -> str:
        """A gain and a bias for each channel."""
        channels = self.shapes[source][0]
        weight = np.broadcast_to(gain, (channels,)).astype(np.float64)[:, None, None, None]
        conv = Conv(weight=weight, bias=np.broadcast_to(bias, (channels,)).astype(np.float64), groups=channels)
        return self.conv(name, conv, source)

    def mixed(self, name: str, source: str, matrix: Array) -> str:
        """Every output channel is the weighted sum of channels that its row [O, C] says."""
        conv = Conv(weight=matrix[:, :, None, None].astype(np.float64), bias=np.zeros(len(matrix)))
        return self.conv(name, conv, source)

    def node(self, name: str, node: nir.NIRNode, source: str, *, spiking: bool = False, alone: bool = False) -> str:
        """A node of NIR or of ours behind one source."""
        shape = _image(output_shape(node, self.shapes[source]))
        return self.add(name, node, source, shape=shape, spiking=spiking, alone=alone)

    def sum(self, name: str, *sources: str) -> str:
        shape = self.shapes[sources[0]]
        return self.add(name, Junction(np.array(shape)), *sorted(set(sources)), shape=shape)

    def gate(self, name: str, threshold: float, *sources: str) -> str:
        """Neurons without memory: a spike where the sum of the sources is above the threshold."""
        shape = self.shapes[sources[0]]
        node = nir.Threshold(threshold=np.full(shape, threshold))
        return self.add(name, node, *sorted(set(sources)), shape=shape, spiking=True)

    def planes(self, name: str) -> tuple[tuple[str, ...], float]:
        """The nodes whose spikes a node sends, of each of its levels, and what multiplies them; none: real numbers."""
        return ((name,), 1.0) if name in self.spiking else self.levels.get(name, ((), 1.0))

    def heard_by(self, name: str) -> list[str]:
        return [node for node, sources in self.sources.items() if name in sources]

    def replace(self, name: str, node: Made, *sources: str) -> None:
        """Another node in the place of one."""
        self.made.clear()  # which was found by what it was
        self.nodes[name], self.sources[name] = node, sources

    def remove(self, name: str, *, hears: str) -> None:
        """Take a node out; what heard it hears `hears`."""
        for node in self.heard_by(name):
            self.sources[node] = tuple(hears if source == name else source for source in self.sources[node])
        self.forget(name)

    def forget(self, name: str) -> None:
        self.made.clear()
        del self.nodes[name], self.shapes[name], self.sources[name]


def as_node(conv: Conv, shape: Shape) -> nir.Conv2d:
    """The node of a convolution of an image of this shape."""
    window = conv.window
    return nir.Conv2d(
        input_shape=np.array(shape[1:]),
        weight=conv.weight,
        bias=conv.bias,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=conv.groups,
    )


def shifted(conv: Conv, gain: Array | float, bias: Array | float = 0.0) -> Conv:
    """The convolution with a gain and a bias for each channel behind it."""
    each = np.broadcast_to(gain, (len(conv.weight),))
    return replace(conv, weight=conv.weight * each[:, None, None, None], bias=conv.bias * each + bias)


def _image(shape: Sequence[int]) -> Shape:
    channels, rows, columns = shape
    return channels, rows, columns


def _key(node: Made) -> Hashable:
    fields = sorted((name, value) for name, value in vars(node).items() if name not in SAID)
    return (type(node), *((name, _hashable(value)) for name, value in fields))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), hashlib.blake2b(np.ascontiguousarray(value).tobytes()).digest())
    return value if isinstance(value, Hashable) else repr(value)
