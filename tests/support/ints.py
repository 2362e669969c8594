"""Builders of small integer networks: `import ints`, then `ints.lif(threshold=5)`.

A number stands for all values of a layer, a list for one value a channel, an array for itself. What a test leaves out
has no effect: no bias, no memory, threshold 0, scale 1.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import DECAY_ONE
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import Shape
from hardware import AttentionGeometry, ConvGeometry, PoolGeometry

ONE: Shape = (1, 1, 1)


def values(given: ArrayLike) -> NDArray[np.int64]:
    """An array that broadcasts to (C, H, W)."""
    array = np.asarray(given, dtype=np.int64)
    return array if array.ndim >= 3 else array.reshape(-1, 1, 1)


def entry(shape: Shape = ONE, *, low: int = 0, high: int = 1, scale: float = 1.0) -> IntInput:
    return IntInput(shape=shape, scale=scale, low=low, high=high)


def relay(shape: Shape = ONE, bias: ArrayLike = 0, *, scale: float = 1.0) -> IntRelay:
    return IntRelay(shape=shape, scale=scale, bias=values(bias))


def lif(shape: Shape = ONE, *, threshold: ArrayLike = 0, **fields: Any) -> IntLif:
    """Neurons that fire when the current is above the threshold; `fields` are those of `IntMembrane`."""
    return IntLif(shape=shape, threshold=values(threshold), **_membrane(fields))


def integrator(shape: Shape = ONE, **fields: Any) -> IntIntegrator:
    return IntIntegrator(shape=shape, **_membrane(fields))


def _membrane(fields: dict[str, Any]) -> dict[str, Any]:
    fields = {"scale": 1.0, "bias_exponent": 0, "bias_mantissa": 0, "decay": DECAY_ONE, **fields}
    return {name: field if name in ("scale", "bias_exponent") else values(field) for name, field in fields.items()}


def same(shape: Shape = ONE, out_shape: Shape | None = None, *, multiplier: int = 1, exponent: int = 0) -> IntIdentity:
    return IntIdentity(in_shape=shape, out_shape=out_shape or shape, multiplier=multiplier, exponent=exponent)


def conv(mantissa_OIHW: ArrayLike, in_shape: Shape, *, exponent: int = 0, **geometry: Any) -> IntConvolution:
    """`geometry` is stride, padding, dilation and groups of `ConvGeometry`."""
    mantissa = np.asarray(mantissa_OIHW, dtype=np.int16)
    height, width = mantissa.shape[2:]
    shape = ConvGeometry(in_shape=in_shape, out_channels=len(mantissa), kernel=(height, width), **geometry)
    return IntConvolution(mantissa=mantissa, exponent=exponent, geometry=shape)


def dense(mantissa_OI: ArrayLike, *, exponent: int = 0) -> IntConvolution:
    """A 1x1 convolution of one pixel."""
    mantissa = np.asarray(mantissa_OI)[:, :, None, None]
    return conv(mantissa, (mantissa.shape[1], 1, 1), exponent=exponent)


def constant(geometry: ConvGeometry, weight: int = 1) -> IntConvolution:
    """All weights are the same."""
    return IntConvolution(mantissa=np.full(geometry.weight_shape, weight, np.int16), exponent=0, geometry=geometry)


def drawn(geometry: ConvGeometry, rng: np.random.Generator, largest: int, *, exponent: int = 0) -> IntConvolution:
    """Weights from -largest to largest."""
    mantissa = rng.integers(-largest, largest + 1, geometry.weight_shape, dtype=np.int16)
    return IntConvolution(mantissa=mantissa, exponent=exponent, geometry=geometry)


def attention(in_shape: Shape, *, heads: int = 1, multiplier: int = 1, exponent: int = 0) -> IntAttention:
    """Its input has three channels, q, k and v, for each of its output."""
    channels, height, width = in_shape
    geometry = AttentionGeometry(channels=channels // 3, tokens=height * width, heads=heads)
    return IntAttention(geometry=geometry, in_shape=in_shape, multiplier=multiplier, exponent=exponent)


def max_pool(
    in_shape: Shape,
    kernel: tuple[int, ...],
    *,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    multiplier: int = 1,
    exponent: int = 0,
) -> IntMaxPool:
    (ky, kx), (sy, sx), (py, px) = kernel, stride, padding
    geometry = PoolGeometry(
        in_shape=in_shape,
        out_channels=in_shape[0],
        kernel=(ky, kx),
        stride=(sy, sx),
        padding=(py, px),
        groups=in_shape[0],
    )
    return IntMaxPool(geometry=geometry, multiplier=multiplier, exponent=exponent)


def link(source: str, target: str, operation: IntOperation, **fields: Any) -> IntConnection:
    return IntConnection(source=source, target=target, operation=operation, **fields)


def network(populations: dict[str, IntPopulation], *connections: IntConnection, frames: int) -> IntNetwork:
    """The last population is the output."""
    return IntNetwork(populations=populations, connections=connections, output=list(populations)[-1], frames=frames)


def image_to_value(*, size: int = 4, channels: int = 3, hidden: int = 5, frames: int = 4) -> IntNetwork:
    """A 3x3 convolution to neurons, and one of them to a single value that is passed on."""
    first = ConvGeometry(in_shape=(channels, size, size), out_channels=hidden, kernel=(3, 3), padding=(1, 1))
    last = ConvGeometry(in_shape=first.out_shape, out_channels=1, kernel=first.out_shape[1:])
    rng = np.random.default_rng(0)
    return network(
        {
            "in": entry(first.in_shape, low=-9, high=9),
            "hidden": lif(first.out_shape, decay=DECAY_ONE // 2, threshold=20),
            "out": relay(),
        },
        link("in", "hidden", drawn(first, rng, 9)),
        link("hidden", "out", drawn(last, rng, 9)),
        frames=frames,
    )


def chain(frames: int, **populations: IntPopulation) -> IntNetwork:
    """Populations of one shape in a row, joined by identities."""
    shape = next(iter(populations.values())).shape
    return network(populations, *(link(a, b, same(shape)) for a, b in itertools.pairwise(populations)), frames=frames)
