"""The identity: every value goes on to one place, perhaps as part of another shape, perhaps times one factor."""

from collections.abc import Iterator
from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.chip import SPARSE, ChipPart, synapses_of
from deploy.ir.extension import ExtensionNode, LoweredNode, Operator, fits
from deploy.ir.intervals import Interval
from deploy.ir.kernels import flatten
from deploy.ir.operations.base import IntPassedOn, WithoutWeights, shifted
from deploy.ir.operations.convolution import Convolution
from deploy.ir.rounding import Rounding, round_factor
from deploy.ir.types import Array, IntArray, NodeShape, Shape, Values
from hardware.geometry import ConvGeometry, IdentityGeometry
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Identity(WithoutWeights):
    """Passes values on; the shapes may differ where the order of the values is the same (a flattened image)."""

    in_shape: Shape
    out_shape: Shape

    passes_on, keeps_unit = True, True

    @property
    def linear(self) -> "Identity":
        return self

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Array, /) -> Array:
        return x_NCHW.reshape(len(x_NCHW), *self.out_shape)

    def interval(self, x: Interval) -> Interval:
        return _spread(x, self.in_shape, self.out_shape)

    def rounded(self, rounding: Rounding) -> "IntIdentity":
        multiplier, exponent = round_factor(rounding.factor)
        return IntIdentity(in_shape=self.in_shape, out_shape=self.out_shape, multiplier=multiplier, exponent=exponent)

    def as_nodes(self, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
        if before == after:
            return []
        return [flatten(before)] if len(after) == 1 else None


@dataclass(frozen=True, kw_only=True)
class IntIdentity(IntPassedOn):
    """Passes values on, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    in_shape: Shape
    out_shape: Shape

    passes_on = True

    @property
    def linear(self) -> Identity | Convolution | None:
        if self.unit_factor == 1:
            return self.exact(1.0)[0]
        if self.in_shape != self.out_shape:
            return None
        weight = np.full((self.in_shape[0], 1, 1, 1), self.unit_factor)
        return Convolution(weight=weight, geometry=self.as_convolution())

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: Values, /) -> IntArray:
        values = x_NCHW.reshape(len(x_NCHW), *self.out_shape).astype(np.int64)
        return shifted(values * self.multiplier, self.exponent)

    def exact(self, unit: float) -> tuple[Identity, float]:
        return Identity(in_shape=self.in_shape, out_shape=self.out_shape), self.unit_factor / unit

    def sum_interval(self, x: Interval) -> Interval:
        return _spread(x, self.in_shape, self.out_shape).scaled(self.multiplier)

    def as_convolution(self) -> ConvGeometry:
        """One weight for every channel; for shapes that are the same."""
        channels = self.in_shape[0]
        return ConvGeometry(in_shape=self.in_shape, out_channels=channels, kernel=(1, 1), groups=channels)

    def chip_parts(self) -> Iterator[ChipPart]:
        if self.in_shape == self.out_shape:
            yield ChipPart(what="identity", process=synapses_of(self.as_convolution()))
        else:
            yield ChipPart(what="identity of another shape", process=SPARSE)


def _spread(x: Interval, in_shape: Shape, out_shape: Shape) -> Interval:
    """Every value has the range of its channel, wherever it lies then; a delay lets zeros in before the first frame."""
    values = x.with_zero()
    if in_shape[0] == out_shape[0]:
        return values
    size = int(np.prod(in_shape[1:]))
    low, high = (np.repeat(end, size).reshape(out_shape[0], -1) for end in (values.low, values.high))
    return Interval(low=low.min(axis=1), high=high.max(axis=1))


@dataclass(eq=False)
class Junction(ExtensionNode):
    """The sum of all incoming edges, passed on: where a shortcut meets its branch.

    Standard NIR sums edges into a node, but has no node that does nothing else; without one, shortcuts in a row need
    a number of edges that grows with the square of the depth.
    """

    shape: IntArray
    version: int = 1

    def __post_init__(self) -> None:
        self.shape = np.asarray(self.shape, dtype=np.int64)
        self.input_type = {"input": self.shape}
        self.output_type = {"output": self.shape}

    def run(self, x_NT: Array) -> Array:
        return x_NT

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=Identity(in_shape=in_shape, out_shape=out_shape))


@dataclass(eq=False)
class GainBias(ExtensionNode):
    """`y[t] = gain[t] * x[t] + bias[t]`, where t counts the frames of a clip: a batch norm of its own for every step.

    `gain` and `bias` broadcast to [T, *shape]; a first dimension of 1 means the same at every time step. It is the
    norm of arXiv 2406.15034 (statistics for every time step and channel), which no static weights can hold.
    """

    shape: IntArray
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]
    version: int = 1

    def __post_init__(self) -> None:
        self.shape = np.asarray(self.shape, dtype=np.int64)
        for name in ("gain", "bias"):
            found = getattr(self, name).shape
            if len(found) != len(self.shape) + 1 or not fits(found, (found[0], *self.shape.tolist())):
                raise ValueError(f"GainBias: {name} of shape {found} does not broadcast to [T, {self.shape.tolist()}]")
        steps = {len(self.gain), len(self.bias)} - {1}
        if len(steps) > 1:
            raise ValueError(f"GainBias: gain and bias have different numbers of time steps, {sorted(steps)}")
        self.input_type = {"input": self.shape}
        self.output_type = {"output": self.shape}

    @property
    def frames(self) -> int:
        """Time steps that the node has values for; 1 when they are the same at every step."""
        return max(len(self.gain), len(self.bias))

    def run(self, x_NT: Array) -> Array:
        if self.frames not in (1, x_NT.shape[1]):
            raise InputError(
                f"a GainBias of {self.frames} time steps in a clip of {x_NT.shape[1]}; allowed: the same number"
            )
        return self.gain * x_NT + self.bias

    def at(self, t: int) -> "GainBias":
        gain, bias = (values[t : t + 1] if len(values) > 1 else values for values in (self.gain, self.bias))
        return GainBias(self.shape, gain=gain, bias=bias)

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        if self.frames not in (1, frames):
            raise ValueError(f"values for {self.frames} time steps, a clip has {frames}")
        gain, bias = (_as_images(values, tuple(self.shape), out_shape) for values in (self.gain, self.bias))
        identity = Identity(in_shape=in_shape, out_shape=out_shape)
        return LoweredNode(operation=identity, gain=None if (gain == 1).all() else gain, bias=bias)


def _as_images(values: Array, shape: tuple[int, ...], image: Shape) -> Array:
    """Values that broadcast to [T, *shape], as values that broadcast to [T, C, H, W]."""
    if values.ndim == 4:
        return values.astype(np.float64)
    return np.broadcast_to(values, (len(values), *shape)).reshape(len(values), *image).astype(np.float64)


OPERATOR = Operator(integer=IntIdentity, nodes=(Junction, GainBias))
