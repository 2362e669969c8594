"""Which neurons a message reaches: the shape of a connection, independent of what is sent over it.

Legend: C channels, H rows, W columns, of one time step. All counts are per time step.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.errors import ChipError


class Geometry(Protocol):
    """What every connection says of itself."""

    multiplies_signals: ClassVar[bool]  # whether both operands are signals, so that no weight is stored

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """C, H, W of the input."""

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """C, H, W of the output."""

    @property
    def weights(self) -> int:
        """Weights, each stored once."""

    @property
    def inputs(self) -> int:
        """Neurons that send into this connection."""

    @property
    def synapses(self) -> int:
        """Pairs of input and output neuron that a weight connects."""


@dataclass(frozen=True, kw_only=True)
class ConvGeometry:
    """A 2-D convolution. Any linear layer is one: 1x1 over tokens, or a kernel as large as its input.

    Raises ChipError where the numbers make no convolution (a kernel larger than the padded input, channels
    that the groups do not divide, a size below one).
    """

    in_shape: tuple[int, int, int]  # C, H, W
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)  # on both sides of each axis
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    multiplies_signals: ClassVar[bool] = False

    def __post_init__(self) -> None:
        sizes = (*self.in_shape, self.out_channels, *self.kernel, *self.stride, *self.dilation, self.groups)
        if min(sizes) < 1 or min(self.padding) < 0:
            raise ChipError(f"{self}: sizes must be at least 1 and padding at least 0")
        if self.in_shape[0] % self.groups or self.out_channels % self.groups:
            raise ChipError(f"{self}: {self.groups} groups must divide the channels of input and output")
        if min(self.out_shape) < 1:
            raise ChipError(f"{self}: the kernel is larger than the padded input")

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """C, H, W of the output."""
        return self.out_channels, self._out_size(0), self._out_size(1)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """O, C of a group, height and width of the kernel."""
        return self.out_channels, self.in_shape[0] // self.groups, *self.kernel

    @property
    def weights(self) -> int:
        """Weights of the kernel, each stored once."""
        return self.out_channels * self._weights_per_output

    @property
    def inputs(self) -> int:
        """Neurons that send into this connection."""
        return int(np.prod(self.in_shape))

    @property
    def synapses(self) -> int:
        """Pairs of input and output neuron that a weight connects; padding has no neuron."""
        return self.in_shape[0] * int(self.fan_out_map().sum())

    def fan_out_map(self) -> NDArray[np.int64]:
        """int64 [H, W]: output neurons that one spike at (y, x) reaches, in whichever input channel it is."""
        rows, columns = self._reached(0), self._reached(1)
        return np.outer(rows, columns) * (self.out_channels // self.groups)

    def dense_macs(self) -> int:
        """Multiply-accumulates per time step if every input were non-zero; padding is no work."""
        return self.synapses

    def padded_macs(self) -> int:
        """The same by the field's convention: outputs x weights per output, so padding is counted as work."""
        return int(np.prod(self.out_shape)) * self._weights_per_output

    @property
    def _weights_per_output(self) -> int:
        return self.in_shape[0] // self.groups * self.kernel[0] * self.kernel[1]

    def _out_size(self, axis: int) -> int:
        span = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (self.in_shape[1 + axis] + 2 * self.padding[axis] - span) // self.stride[axis] + 1

    def _reached(self, axis: int) -> NDArray[np.int64]:
        """Output positions along one axis (0 rows, 1 columns) that each input position contributes to."""
        return self._taps(axis).sum(axis=1, dtype=np.int64)

    def _taps(self, axis: int) -> NDArray[np.int64]:
        """int64 [size, kernel] of 0 and 1: whether an input position reaches an output through a tap of the kernel."""
        along = (self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis])
        return _taps(self.in_shape[1 + axis], self._out_size(axis), *along)


@functools.lru_cache(maxsize=1000)  # asked for at every count
def _taps(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> NDArray[np.int64]:
    """Output o reads input y through tap k where y + padding = o * stride + k * dilation; not to be written to."""
    positions = np.arange(size)[:, np.newaxis] + padding - np.arange(kernel) * dilation
    output, remainder = np.divmod(positions, stride)
    taps = ((remainder == 0) & (output >= 0) & (output < outputs)).astype(np.int64)
    taps.flags.writeable = False
    return taps


@dataclass(frozen=True, kw_only=True)
class SparseConvGeometry(ConvGeometry):
    """A convolution whose weights of zero are no synapses: a message reaches only where a weight is not zero.

    `reached` says so for every weight, bool [O, C / groups, kernel height, kernel width]. The kernel is still stored
    whole (`weights`). Geometries of equal shape compare as equal, whatever their weights.
    """

    reached: NDArray[np.bool_] = field(repr=False, compare=False)

    @property
    def synapses(self) -> int:
        """Pairs of input and output neuron that a weight other than zero connects."""
        return int(self.fan_out_map().sum())

    def fan_out_map(self) -> NDArray[np.int64]:
        """int64 [C, H, W]: output neurons that a spike of every input neuron reaches."""
        channels, height, width = self.in_shape
        of_group = self.reached.reshape(self.groups, -1, channels // self.groups, *self.kernel)
        outputs = of_group.sum(axis=1, dtype=np.int64).reshape(channels, *self.kernel)  # by input channel and tap
        rows, columns = self._taps(0), self._taps(1)
        return np.einsum("ckl,yk,xl->cyx", outputs, rows, columns).reshape(channels, height, width)


@dataclass(frozen=True, kw_only=True)
class SpreadConvGeometry(SparseConvGeometry):
    """A dilated or shifted kernel that is written out with zeros between its weights, which nobody stores."""

    @property
    def weights(self) -> int:
        return int(self.reached.sum())


@dataclass(frozen=True, kw_only=True)
class PoolGeometry(ConvGeometry):
    """The windows of a max pool, channel by channel: values are compared, not weighted, so no kernel is stored."""

    @property
    def weights(self) -> int:
        """Zero: the largest value is passed on as it is."""
        return 0

    def dense_macs(self) -> int:
        """Zero: nothing is multiplied."""
        return 0

    def padded_macs(self) -> int:
        """Zero, as in the field's convention, which does not count max pools."""
        return 0


@dataclass(frozen=True, kw_only=True)
class IdentityGeometry:
    """A relay: every value reaches one neuron, with weight one."""

    shape: tuple[int, int, int]  # C, H, W
    places: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)  # of the neurons; None: its own

    multiplies_signals: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ChipError(f"{self}: sizes must be at least 1")

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """C, H, W of the input."""
        return self.shape

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """C, H, W of the output."""
        return self.shape

    @property
    def weights(self) -> int:
        """One weight, shared by all."""
        return 1

    @property
    def inputs(self) -> int:
        """Neurons that send into this connection."""
        return int(np.prod(self.shape))

    @property
    def synapses(self) -> int:
        """One for every neuron."""
        return self.inputs

    def fan_out_map(self) -> NDArray[np.int64]:
        """int64 [H, W] of ones."""
        return np.ones(self.shape[1:], dtype=np.int64)

    def dense_macs(self) -> int:
        """Zero: nothing is multiplied on a relay."""
        return 0

    def padded_macs(self) -> int:
        """Zero, as in the field's convention, which does not count shortcuts."""
        return 0


LinearGeometry = ConvGeometry | IdentityGeometry


@dataclass(frozen=True, kw_only=True)
class AttentionGeometry:
    """Spiking self-attention Q (K^T V) over the tokens of one time step, without softmax."""

    channels: int  # channels of q (k and v have as many), all heads together
    tokens: int
    heads: int

    multiplies_signals: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.channels, self.tokens, self.heads) < 1 or self.channels % self.heads:
            raise ChipError(f"{self}: sizes must be at least 1 and the heads must divide the channels")

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels of q, k and v, and the tokens in one row."""
        return 3 * self.channels, 1, self.tokens

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Channels, and the tokens in one row."""
        return self.channels, 1, self.tokens

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.channels // self.heads

    @property
    def weights(self) -> int:
        """Zero: both operands are signals."""
        return 0

    @property
    def inputs(self) -> int:
        """Neurons that send into it: q, k and v."""
        return 3 * self.channels * self.tokens

    @property
    def synapses(self) -> int:
        """Zero: both operands are signals."""
        return 0

    def dense_ops(self) -> int:
        """Operations per time step if all q, k and v fired: tokens x head_dim^2 per head and product."""
        return 2 * self.tokens * self.channels * self.head_dim


@dataclass(frozen=True, kw_only=True)
class ProductGeometry:
    """A sum of products of two signals, which lie in a vector one behind the other: the values, then the spikes.

    Axes are numbers; both signals have a row of them, outermost first, and the output those that are left. Values and
    spikes that agree in all axes of both are multiplied, and summed over what is not in the output. Raises ChipError
    where axes are none of `sizes`, occur twice in a row, or are in the output alone.
    """

    sizes: tuple[int, ...]  # of every axis
    left: tuple[int, ...]  # axes of the values
    right: tuple[int, ...]  # axes of the spikes
    output: tuple[int, ...]
    out_shape: tuple[int, int, int]  # C, H, W of the output

    multiplies_signals: ClassVar[bool] = True

    def __post_init__(self) -> None:
        rows, known = (self.left, self.right, self.output), set(self.left) | set(self.right)
        if any(len(set(row)) < len(row) for row in rows) or known != set(range(len(self.sizes))):
            raise ChipError(f"{self}: axes that occur twice, or are not those of {len(self.sizes)} sizes")
        if not set(self.output) <= known or min(self.sizes, default=0) < 1:
            raise ChipError(f"{self}: sizes below 1, or an output along axes that no signal has")
        if math.prod(self.shape(self.output)) != math.prod(self.out_shape):
            raise ChipError(f"{self}: an output of {self.out_shape}, which its axes do not fill")

    def shape(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of a row of axes."""
        return tuple(self.sizes[axis] for axis in axes)

    @property
    def values(self) -> int:
        """Neurons that send the values; those behind them send the spikes."""
        return math.prod(self.shape(self.left))

    @property
    def inputs(self) -> int:
        """Neurons that send into it: values and spikes."""
        return self.values + math.prod(self.shape(self.right))

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """A vector of values and spikes."""
        return self.inputs, 1, 1

    @property
    def weights(self) -> int:
        """Zero: both operands are signals."""
        return 0

    @property
    def synapses(self) -> int:
        """Zero: both operands are signals."""
        return 0

    def dense_ops(self) -> int:
        """Operations per time step if everything fired: one for every pair of a value and a spike."""
        return math.prod(self.sizes)


GEOMETRIES = (
    *(ConvGeometry, SparseConvGeometry, SpreadConvGeometry, PoolGeometry, AttentionGeometry, ProductGeometry),
)
