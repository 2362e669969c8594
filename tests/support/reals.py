"""Builders of small networks of real numbers, as `ints` builds those of integers: `import reals`, then `reals.lif()`.

A number stands for all values of a layer, a list for one value a channel, an array for itself.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deploy.ir.network import Connection, Network
from deploy.ir.operations.attention import Attention
from deploy.ir.operations.base import Operation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.base import Population
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.relay import Relay
from deploy.ir.types import Shape
from hardware import AttentionGeometry, ConvGeometry

ONE: Shape = (1, 1, 1)


def values(given: ArrayLike) -> NDArray[np.float64]:
    """An array that broadcasts to (C, H, W)."""
    array = np.asarray(given, dtype=np.float64)
    return array if array.ndim >= 3 else array.reshape(-1, 1, 1)


def relay(shape: Shape = ONE, bias: ArrayLike = 0.0) -> Relay:
    return Relay(shape=shape, bias=values(bias))


def lif(shape: Shape = ONE, *, threshold: ArrayLike = 1.0, decay: ArrayLike = 0.5, bias: ArrayLike = 0.0) -> Lif:
    return Lif(shape=shape, threshold=values(threshold), decay=values(decay), bias=values(bias))


def same(shape: Shape = ONE, out_shape: Shape | None = None) -> Identity:
    return Identity(in_shape=shape, out_shape=out_shape or shape)


def conv(weight_OIHW: ArrayLike, in_shape: Shape, **geometry: Any) -> Convolution:
    """`geometry` is stride, padding, dilation and groups of `ConvGeometry`."""
    weight = np.asarray(weight_OIHW, dtype=np.float64)
    height, width = weight.shape[2:]
    shape = ConvGeometry(in_shape=in_shape, out_channels=len(weight), kernel=(height, width), **geometry)
    return Convolution(weight=weight, geometry=shape)


def dense(weight_OI: ArrayLike) -> Convolution:
    """A 1x1 convolution of one pixel."""
    weight = np.asarray(weight_OI, dtype=np.float64)[:, :, None, None]
    return conv(weight, (weight.shape[1], 1, 1))


def attention(in_shape: Shape, scale: float, *, heads: int = 1) -> Attention:
    """Its input has three channels, q, k and v, for each of its output."""
    channels, height, width = in_shape
    geometry = AttentionGeometry(channels=channels // 3, tokens=height * width, heads=heads)
    return Attention(geometry=geometry, in_shape=in_shape, scale=scale)


def link(source: str, target: str, operation: Operation, **fields: Any) -> Connection:
    return Connection(source=source, target=target, operation=operation, **fields)


def network(populations: dict[str, Population], *connections: Connection, frames: int) -> Network:
    """The last population is the output."""
    return Network(populations=populations, connections=connections, output=list(populations)[-1], frames=frames)
