"""NIR nodes that the standard does not have. Their specification is docs/nir_extensions.md.

A stateless one answers for itself: what it computes (`run`), and what it is in the network (`lowered`). A new one is a
class here and its name in `EXTENSIONS`. A neuron of ours is one more case of the equation of all (`deploy.ir.neurons`).
A reader that does not know a node must refuse the file; stock `nir.read` does.
"""

from dataclasses import dataclass
from typing import ClassVar

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.extension import ExtensionNode, LoweredNode, fits
from deploy.ir.kernels import by_clip
from deploy.ir.linear import attend
from deploy.ir.operations.attention import Attention
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.operations.max_pool import MaxPool
from deploy.ir.pooling import largest
from deploy.ir.products import Segment, SignalProduct
from deploy.ir.soft_reset import SubtractLIF
from deploy.ir.types import Array, IntArray, Shape
from hardware.geometry import AttentionGeometry, ConvGeometry, PoolGeometry
from svformer.common.errors import InputError

# Keys in the metadata of a Conv2d whose weights were trained on a grid: the bits of a weight, with its sign, and the
# step, a float of which all weights are whole multiples. Files before weight_step have the first key alone.
TRAINED_BITS, WEIGHT_STEP = "weight_bits", "weight_step"
LOST_INTEGERS = "they are not in the graph's metadata; read the file as it was written"


@dataclass(eq=False)
class SpikingAttention(ExtensionNode):
    """`scale * q (k^T v)` in every head, without softmax, for the spikes of one time step.

    Input [3C, H, W]: the channels of q, then k, then v; each is `heads` heads of C / heads channels; tokens are the
    H x W positions. Output [C, H, W]. No state (arXiv 2406.15034, eq. 8).
    """

    input_shape: IntArray  # (3C, H, W)
    heads: int
    scale: float
    version: int = 1

    takes_spikes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.input_shape = np.asarray(self.input_shape, dtype=np.int64)
        channels, *positions = self.input_shape.tolist()
        if channels % (3 * int(self.heads)):
            raise ValueError(f"SpikingAttention: {channels} channels are not q, k, v of {self.heads} heads")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": np.array([channels // 3, *positions])}

    def run(self, x_NT: Array) -> Array:
        return by_clip(lambda frames: attend(frames, heads=int(self.heads)), x_NT) * self.scale

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        channels, height, width = out_shape
        geometry = AttentionGeometry(channels=channels, tokens=height * width, heads=int(self.heads))
        return LoweredNode(operation=Attention(geometry=geometry, in_shape=in_shape, scale=float(self.scale)))


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


@dataclass(eq=False)
class IntegerPart(ExtensionNode):
    """A part of a network of integers that no other node holds; it is said in the graph's metadata alone.

    Neurons that are reset by subtraction, potentials that are sent and do not begin a clip at 0, a reshape to an image
    (docs/integer_files.md). Its presence makes a reader that does not take the integers refuse the graph.
    """

    input_shape: IntArray
    output_shape: IntArray
    frames: int = 1  # time steps that it has values for; 1 when they are the same at every step
    version: int = 1

    def __post_init__(self) -> None:
        self.input_shape, self.output_shape = (
            np.asarray(shape, dtype=np.int64) for shape in (self.input_shape, self.output_shape)
        )
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}

    def run(self, x_NT: Array) -> Array:
        raise InputError(f"an IntegerPart is run by its integers alone; {LOST_INTEGERS}")

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        raise ValueError(f"an IntegerPart is its integers alone; {LOST_INTEGERS}")


def _as_images(values: Array, shape: tuple[int, ...], image: Shape) -> Array:
    """Values that broadcast to [T, *shape], as values that broadcast to [T, C, H, W]."""
    if values.ndim == 4:
        return values.astype(np.float64)
    return np.broadcast_to(values, (len(values), *shape)).reshape(len(values), *image).astype(np.float64)


@dataclass(eq=False)
class MaxPool2d(ExtensionNode):
    """The largest value of every window, channel by channel; what lies outside the image is never the largest.

    As torch's MaxPool2d without dilation and `ceil_mode`: sizes, strides and paddings of two axes each, a window of at
    least twice its padding.
    """

    input_shape: IntArray  # (C, H, W)
    kernel_size: IntArray
    stride: IntArray
    padding: IntArray
    version: int = 1

    takes_sum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.input_shape = np.asarray(self.input_shape, dtype=np.int64)
        if self.input_shape.shape != (3,):
            raise ValueError(f"MaxPool2d: input_shape {self.input_shape.tolist()}; allowed: [C, H, W]")
        for name in ("kernel_size", "stride", "padding"):
            setattr(self, name, np.broadcast_to(np.asarray(getattr(self, name), dtype=np.int64), (2,)).copy())
        if (2 * self.padding > self.kernel_size).any():
            wide, kernel = self.padding.tolist(), self.kernel_size.tolist()
            raise ValueError(f"MaxPool2d: padding {wide} of a window of {kernel}; allowed: half the window at most")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": np.array(self.geometry.out_shape)}

    @property
    def geometry(self) -> PoolGeometry:
        """Its windows; raises `ChipError`, a `ValueError`, where one is larger than the padded image."""
        channels, height, width = self.input_shape.tolist()
        (ky, kx), (sy, sx), (py, px) = (v.tolist() for v in (self.kernel_size, self.stride, self.padding))
        return PoolGeometry(
            in_shape=(channels, height, width),
            out_channels=channels,
            kernel=(ky, kx),
            stride=(sy, sx),
            padding=(py, px),
            groups=channels,
        )

    def run(self, x_NT: Array) -> Array:
        return by_clip(lambda frames: largest(frames, self.geometry), x_NT)

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        return LoweredNode(operation=MaxPool(geometry=self.geometry))

    def lowered_behind_spikes(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        """The largest of spikes is a spike, where any arrives: their sum is above half a spike."""
        sums = ConvGeometry(**vars(self.geometry))
        operation = Convolution(weight=np.ones(sums.weight_shape), geometry=sums)
        return LoweredNode(operation=operation, threshold=np.full((1, 1, 1), 0.5))


NODES = (SpikingAttention, Junction, GainBias, MaxPool2d, SubtractLIF, Segment, SignalProduct, IntegerPart)
EXTENSIONS: dict[str, type[nir.NIRNode]] = {cls.__name__: cls for cls in NODES}
VERSION = 1
