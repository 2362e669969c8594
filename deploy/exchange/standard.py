"""Operations and neurons in real numbers as nodes of NIR; what standard nodes cannot hold is an `IntegerPart`.

Signals of one pixel are vectors in NIR, those of one row lines where the network's clips are lines; see `node_shape`.
"""

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from deploy.exchange.biases import changes
from deploy.ir.network import Connection
from deploy.ir.nodes import GainBias, IntegerPart, MaxPool2d, SpikingAttention
from deploy.ir.operations.attention import Attention
from deploy.ir.operations.base import Operation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.operations.max_pool import MaxPool
from deploy.ir.operations.product import Product
from deploy.ir.operations.segment import Segment
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.primitives import NodeShape
from deploy.ir.products import Segment as SegmentNode
from deploy.ir.products import SignalProduct
from deploy.ir.types import Array, Shape

NO_LEAK = 2.0**-40  # the share that a neuron without a leak loses in a time step where other neurons of its layer leak


def node_shape(shape: Shape, *, lines: bool) -> NodeShape:
    """The shape of a signal (C, H, W) between nodes: (C,) for one pixel, (C, W) for one row where there are `lines`."""
    if shape[1:] == (1, 1):
        return shape[:1]
    return shape[::2] if lines and shape[1] == 1 else shape


def nodes_of(connection: Connection, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode]:
    """The nodes of a connection behind its delay, in a row; a convolution's have a `bias` for every channel."""
    operation, gain = connection.operation, connection.gain
    for kind, nodes in OPERATIONS.items():
        if isinstance(operation, kind) and (found := nodes(operation, bias, before, after)) is not None:
            break
    else:
        return [IntegerPart(np.array(before), np.array(after))]
    if gain is None:
        return found
    if changes(gain):
        wide = np.broadcast_to(gain, (len(gain), *operation.out_shape)).reshape(-1, *after)
        return [*found, GainBias(np.array(after), gain=wide, bias=np.zeros((1,) * wide.ndim))]
    return [*found, nir.Scale(np.broadcast_to(gain, (1, *operation.out_shape)).reshape(after).copy())]


def _identity(operation: Identity, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
    if before == after:
        return []
    return [_flatten(before)] if len(after) == 1 else None


def _attention(
    operation: Attention, bias: Array | None, before: NodeShape, after: NodeShape
) -> list[nir.NIRNode] | None:
    if (before, after) != (operation.in_shape, operation.out_shape):
        return None
    return [SpikingAttention(np.array(before), heads=operation.geometry.heads, scale=operation.scale)]


def _convolution(
    operation: Convolution, bias: Array | None, before: NodeShape, after: NodeShape
) -> list[nir.NIRNode] | None:
    g, weight = operation.geometry, operation.weight
    if g.kernel == g.in_shape[1:] and g.out_shape[1:] == (1, 1) and g.groups == 1 and g.padding == (0, 0):
        dense = weight.reshape(len(weight), -1)
        node = nir.Linear(dense) if bias is None else nir.Affine(dense, bias)
        return [node] if len(before) == 1 else [_flatten(before), node]
    bias, flat = np.zeros(len(weight)) if bias is None else bias, [_flatten(g.out_shape)] if len(after) == 1 else []
    if len(before) == 3 and len(after) in (1, 3):
        return [nir.Conv2d(g.in_shape[1:], weight, g.stride, g.padding, g.dilation, g.groups, bias), *flat]
    if len(before) == len(after) == 2 and g.kernel[0] == 1 and g.padding[0] == 0:
        along = (g.stride[1], g.padding[1], g.dilation[1])
        return [nir.Conv1d(g.in_shape[2], weight[:, :, 0], *along, g.groups, bias)]
    return None


def _max_pool(operation: MaxPool, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
    g = operation.geometry
    if (before, after) != (g.in_shape, g.out_shape):
        return None
    sizes = (np.array(values) for values in (g.kernel, g.stride, g.padding))
    return [MaxPool2d(np.array(before), *sizes)]


def _segment(operation: Segment, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
    return [SegmentNode(np.array(before), np.array(after), operation.first)]


def _product(operation: Product, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode] | None:
    g = operation.geometry
    axes = (np.array(row) for row in (before, g.sizes, g.left, g.right, g.output, after))
    return [SignalProduct(*axes, scale=operation.scale)] if len(after) == 3 else None


OPERATIONS: dict[type[Operation], Callable[..., list[nir.NIRNode] | None]] = {
    MaxPool: _max_pool,
    Segment: _segment,
    Product: _product,
    Identity: _identity,
    Attention: _attention,
    Convolution: _convolution,
}


def _flatten(shape: NodeShape) -> nir.Flatten:
    return nir.Flatten({"input": np.array(shape)}, 0, -1)


def neuron_of(population: Lif | Integrator, bias: Array, shape: NodeShape, dt_s: float) -> nir.NIRNode | None:
    """The node of neurons that a constant `bias` drives; None where standard nodes cannot hold them.

    They begin a clip at 0: potentials are counted from where they do. Time constants are such that one Euler step of
    `dt_s` is one of the network.
    """
    sends_it = population.start is not None and isinstance(population, Integrator)
    if sends_it or population.start_current is not None or getattr(population, "subtract", None) is not None:
        return None

    def full(values: Array) -> Array:
        return np.broadcast_to(values, population.shape).reshape(shape).astype(np.float64)

    share = np.maximum(full(population.decay), NO_LEAK)
    begin = np.zeros(shape) if population.start is None else full(population.start)
    fields: dict[str, Any] = {"r": 1 / share, "v_leak": full(bias) / share - begin}
    if isinstance(population, Lif):
        fields |= {"v_threshold": full(population.threshold) - begin, "v_reset": -begin}
    if population.current_decay is not None:
        fast = np.maximum(full(population.current_decay), NO_LEAK)
        kind = nir.CubaLIF if isinstance(population, Lif) else nir.CubaLI
        return kind(tau_syn=dt_s / fast, tau_mem=dt_s / share, w_in=1 / fast, **fields)
    if not population.decay.any() and not bias.any():
        del fields["v_leak"]
        return (nir.IF if isinstance(population, Lif) else nir.I)(**fields | {"r": np.full(shape, 1 / dt_s)})
    return (nir.LIF if isinstance(population, Lif) else nir.LI)(tau=dt_s / share, **fields)
