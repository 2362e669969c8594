"""NIR nodes that the standard does not have. Their specification is docs/nir_extensions.md.

A reader that does not know them must refuse the file; stock `nir.read` does.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

# Keys in the metadata of a Conv2d whose weights were trained on a grid: the bits of a weight, with its sign, and the
# step, a float of which all weights are whole multiples. Files before weight_step have the first key alone.
TRAINED_BITS, WEIGHT_STEP = "weight_bits", "weight_step"
IntArray = NDArray[np.int64]


@dataclass(eq=False)
class SpikingAttention(nir.NIRNode):
    """`scale * q (k^T v)` in every head, without softmax, for the spikes of one time step.

    Input [3C, H, W]: the channels of q, then k, then v; each is `heads` heads of C / heads channels; tokens are the
    H x W positions. Output [C, H, W]. No state (arXiv 2406.15034, eq. 8).
    """

    input_shape: IntArray  # (3C, H, W)
    heads: int
    scale: float
    version: int = 1

    def __post_init__(self) -> None:
        self.input_shape = np.asarray(self.input_shape, dtype=np.int64)
        channels, *positions = self.input_shape.tolist()
        if channels % (3 * int(self.heads)):
            raise ValueError(f"SpikingAttention: {channels} channels are not q, k, v of {self.heads} heads")
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": np.array([channels // 3, *positions])}


@dataclass(eq=False)
class Junction(nir.NIRNode):
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


@dataclass(eq=False)
class GainBias(nir.NIRNode):
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

    def at(self, t: int) -> "GainBias":
        """The node as it is at one time step."""
        gain, bias = (values[t : t + 1] if len(values) > 1 else values for values in (self.gain, self.bias))
        return GainBias(self.shape, gain=gain, bias=bias)


def fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `target`, dimension by dimension."""
    return len(shape) == len(target) and all(n in (1, full) for n, full in zip(shape, target, strict=True))


EXTENSIONS: dict[str, type[nir.NIRNode]] = {cls.__name__: cls for cls in (SpikingAttention, Junction, GainBias)}
VERSION = 1
