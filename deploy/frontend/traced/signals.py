"""Values of a traced graph: what a tensor of the model is in terms of NIR nodes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from deploy.frontend.traced.axes import Axis, Dim, Swap, new_dim, size_of, split, swapped
from deploy.ir.types import Shape


@dataclass(frozen=True, kw_only=True)
class Image:
    """The axes that a NIR node's output [C, H, W] has, outermost first."""

    channels: Dim
    rows: Dim = ()
    columns: Dim = ()

    @classmethod
    def new(cls, shape: Iterable[int]) -> "Image":
        channels, rows, columns = map(new_dim, shape)
        return cls(channels=channels, rows=rows, columns=columns)

    @property
    def parts(self) -> tuple[Dim, Dim, Dim]:
        return self.channels, self.rows, self.columns

    @property
    def pixels(self) -> Dim:
        """Axes of rows, then of columns: the tokens of a transformer."""
        return self.rows + self.columns

    @property
    def axes(self) -> Dim:
        return self.channels + self.pixels

    @property
    def shape(self) -> Shape:
        return size_of(self.channels), size_of(self.rows), size_of(self.columns)

    def swapped(self, swap: Swap) -> "Image":
        channels, rows, columns = (swapped(part, swap) for part in self.parts)
        return Image(channels=channels, rows=rows, columns=columns)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """`gain * x + shift` of channels of a node's output x, at all time steps, at one, or averaged over them.

    Every axis of `image` is in one of the dimensions. A place in a dimension that `image` lacks is one along which the
    tensor repeats itself. A signal without the axis of time that is neither at a step nor averaged is the same at every
    step: it depends on an image that the model repeats.
    """

    node: str
    dims: tuple[Dim, ...]
    image: Image
    gain: float = 1.0
    shift: float = 0.0
    picked: tuple[int, ...] | None = None  # channels of the node, in the order of `image`; None: all
    step: int | None = None
    averaged: bool = False

    @property
    def axes(self) -> Dim:
        """All axes of the tensor."""
        return tuple(axis for dim in self.dims for axis in dim)

    @property
    def repeated(self) -> Dim:
        """Places along which the tensor repeats itself."""
        return tuple(axis for axis in self.axes if axis.kind == "place" and axis not in self.image.axes)

    @property
    def exact(self) -> bool:
        """Whether it is its node's output as it is."""
        return self.picked is None and self.gain == 1 and self.shift == 0

    @property
    def form(self) -> tuple[object, ...]:
        """What is equal for two signals that differ at most in their step and in the names of their axes."""
        names = {axis: (place, axis.size) for place, axis in enumerate(self.image.axes)}
        dims = tuple(tuple(names.get(axis, (axis.kind, axis.size)) for axis in dim) for dim in self.dims)
        parts = tuple(len(part) for part in self.image.parts)
        return self.node, dims, parts, self.gain, self.shift, self.picked, self.averaged

    def swapped(self, swap: Swap) -> "Signal":
        dims = tuple(swapped(dim, swap) for dim in self.dims)
        return replace(self, dims=dims, image=self.image.swapped(swap))


@dataclass(frozen=True, kw_only=True)
class Product:
    """Sum over the axes that `dims` lacks of the product of factors, times `gain`: matrix products in a row."""

    factors: tuple[Signal, ...]
    dims: tuple[Dim, ...]
    gain: float = 1.0

    def swapped(self, swap: Swap) -> "Product":
        dims = tuple(swapped(dim, swap) for dim in self.dims)
        return replace(self, dims=dims, factors=tuple(factor.swapped(swap) for factor in self.factors))


@dataclass(frozen=True, kw_only=True)
class Padded:
    """A signal with a border of `width` pixels on all sides; `written` is what the model wrote there, by side."""

    signal: Signal
    width: int
    value: float = 0.0
    written: tuple[tuple[int, bool, tuple[float, ...]], ...] = ()  # dimension, at its end, a value for each channel

    @property
    def dims(self) -> tuple[Dim, ...]:
        inner = self.signal.dims
        return (*inner[:-2], *(new_dim(size_of(dim) + 2 * self.width) for dim in inner[-2:]))


@dataclass(frozen=True, kw_only=True)
class Side:
    """A part of the border of a padded signal, where the model may write."""

    padded: Padded
    dim: int
    end: bool

    @property
    def dims(self) -> tuple[Dim, ...]:
        inner, width = self.padded.dims, self.padded.width
        return (*inner[: self.dim], new_dim(width), *inner[self.dim + 1 :])


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A tensor that a loop fills time step by time step, along a dimension of `size`; the steps that it has so far."""

    dim: int
    size: int
    filled: tuple[tuple[int, Signal], ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepSum:
    """A sum over time that a loop computes; the steps that it has so far."""

    signal: Signal  # without a step
    steps: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Potential:
    """The state of a neuron, which nothing but the neuron itself may use."""

    neuron: str


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """What comes out of an operation that was refused; so the walk goes on and tells the others, too."""


Value = Signal | Product | Padded | Side | Steps | StepSum | Potential | Unknown
Moved = TypeVar("Moved", Signal, Product)


def fresh(value: Moved, *, but: Iterable[Axis] = ()) -> Moved:
    """The value with new axes of places: nothing is shared with the one that it came from."""
    kept = set(but)
    factors = value.factors if isinstance(value, Product) else (value,)
    axes = {axis for dim in value.dims for axis in dim} | {axis for factor in factors for axis in factor.axes}
    return value.swapped({a: (Axis(a.size),) for a in axes if a.kind == "place" and a not in kept})


def viewed(value: Moved, shape: Sequence[int]) -> Moved:
    """The value as a tensor of another shape, with its entries in the same order; raises `Refused` for a mixture."""
    swap, dims = split(tuple(axis for dim in value.dims for axis in dim), shape)
    return replace(value.swapped(swap), dims=dims)
