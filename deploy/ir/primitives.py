"""NIR's primitives without state: what each takes and gives, and what it computes. One record for each kind of node.

Neurons are one equation (`deploy.ir.neurons`), extension nodes answer for themselves (`deploy.ir.extension`); what each
becomes in the network is said in `deploy.passes.from_nir`, whose table has the same keys (a test compares them).

Shapes: N clips, T time steps, then the node's own shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.extension import ExtensionNode
from deploy.ir.kernels import CONVOLUTIONS, POOLINGS, bias_of, by_clip, kernel_of, kernel_output
from deploy.ir.linear import convolve
from deploy.ir.loops import STATEFUL
from deploy.ir.network import delayed
from deploy.ir.types import Array, NodeShape
from svformer.common.errors import InputError

Run = Callable[[Any, Array, float], Array]  # node, signal [N, T, *shape], seconds of a time step

ELEMENTWISE = (*STATEFUL, nir.Threshold, nir.Delay, nir.Scale)


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """One kind of node.

    Attributes:
        output_shape: Shape that a node gives for an input of a shape; raises `ValueError` when it cannot take it.
        run: What it computes; None for the kinds that the interpreter knows by itself (the input, and neurons).
        rank: Dimensions that a node takes, where its kind says it.
    """

    output_shape: Callable[[Any, NodeShape], NodeShape]
    run: Run | None
    rank: Callable[[Any], int | None] = lambda node: None


def as_shape(value: Any) -> NodeShape:
    """A shape as a node's types hold it."""
    return tuple(int(n) for n in np.asarray(value).ravel())


def _declared(node: nir.NIRNode, shape: NodeShape) -> NodeShape:
    """The node says itself what it takes and gives."""
    _expect(as_shape(next(iter(node.input_type.values()))), shape)
    return as_shape(next(iter(node.output_type.values())))


def _expect(allowed: NodeShape, found: NodeShape) -> None:
    if found and allowed != found:
        raise ValueError(f"takes shape {allowed}, found {found}")


def _run_kernel(node: nir.NIRNode, x: Array, dt: float) -> Array:
    weight, geometry = kernel_of(node, x.shape[2:])
    bias, out_shape = bias_of(node), kernel_output(node, x.shape[2:])
    y = by_clip(lambda frames: convolve(frames.reshape(-1, *geometry.in_shape), weight, geometry) + bias, x)
    return y.reshape(*x.shape[:2], *out_shape)


def _rank_of_kernel(node: nir.NIRNode) -> int:
    return 2 if isinstance(node, nir.Conv1d) else 3


def _dense_shape(node: nir.Linear | nir.Affine, shape: NodeShape) -> NodeShape:
    *blocks, outputs, inputs = node.weight.shape
    if shape == (outputs,) != (inputs,) and not blocks:
        turned = f"its weights [{outputs}, {inputs}] look like [inputs, outputs], NIR's are [outputs, inputs]"
        raise ValueError(f"takes shape {(inputs,)}, found {shape}: {turned}")
    _expect((*(blocks or shape[:-1]), inputs), shape)
    return (*shape[:-1], outputs)


def _run_dense(node: nir.Linear | nir.Affine, x: Array, dt: float) -> Array:
    weight = node.weight.astype(np.float64)
    y = x @ weight.T if weight.ndim == 2 else (weight @ x[..., np.newaxis])[..., 0]
    return y + node.bias if isinstance(node, nir.Affine) else y


def _rank_of_dense(node: nir.Linear | nir.Affine) -> int:
    return int(node.weight.ndim - 1)


def _run_scale(node: nir.Scale, x: Array, dt: float) -> Array:
    return x * node.scale


def _flat_shape(node: nir.Flatten, shape: NodeShape) -> NodeShape:
    for axis in (int(node.start_dim), int(node.end_dim)):
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"joins axis {axis} of shape {shape}; allowed: {-len(shape)} to {len(shape) - 1}")
    first, last = int(node.start_dim) % len(shape), int(node.end_dim) % len(shape)
    return (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])


def _run_flatten(node: nir.Flatten, x: Array, dt: float) -> Array:
    return x.reshape(*x.shape[:2], *_flat_shape(node, x.shape[2:]))


def _run_delay(node: nir.Delay, x: Array, dt: float) -> Array:
    return held_back(node, dt, lambda k: delayed(x, k))


def held_back(node: nir.Delay, dt: float, late: Callable[[int], Array]) -> Array:
    """What a Delay gives, when `late(k)` is its input k time steps before."""
    steps = delay_steps(node, dt)
    first, *others = np.unique(steps).tolist()
    y = late(first)
    for k in others:
        y = np.where(steps == k, late(k), y)
    return y


def delay_steps(node: nir.Delay, dt: float) -> NDArray[np.int64]:
    """The delay of every neuron in time steps; raises `InputError` where that is no whole number."""
    steps = np.round(np.asarray(node.delay, dtype=np.float64) / dt, 6)
    if (steps < 0).any() or (steps != np.rint(steps)).any():
        raise InputError(f"a delay of {np.unique(steps).tolist()} time steps; allowed: whole numbers from 0; check dt")
    return steps.astype(np.int64)


def _run_extension(node: ExtensionNode, x: Array, dt: float) -> Array:
    return node.run(x)


def _pass_on(node: nir.NIRNode, x: Array, dt: float) -> Array:
    return x


PRIMITIVES: dict[type | tuple[type, ...], Primitive] = {
    nir.Input: Primitive(output_shape=lambda node, shape: as_shape(node.input_type["input"]), run=None),
    (*CONVOLUTIONS, *POOLINGS): Primitive(output_shape=kernel_output, run=_run_kernel, rank=_rank_of_kernel),
    (nir.Linear, nir.Affine): Primitive(output_shape=_dense_shape, run=_run_dense, rank=_rank_of_dense),
    nir.Scale: Primitive(output_shape=_declared, run=_run_scale),
    nir.Flatten: Primitive(output_shape=_flat_shape, run=_run_flatten),
    nir.Delay: Primitive(output_shape=_declared, run=_run_delay),
    (*STATEFUL, nir.Threshold): Primitive(output_shape=_declared, run=None),
    ExtensionNode: Primitive(output_shape=_declared, run=_run_extension),
    nir.Output: Primitive(output_shape=_declared, run=_pass_on),
}


def rank_of(node: nir.NIRNode) -> int | None:
    """Dimensions that a node takes; None where its kind does not say it, or is not supported."""
    return next((primitive.rank(node) for kind, primitive in PRIMITIVES.items() if isinstance(node, kind)), None)


def own_input_shape(node: nir.NIRNode) -> NodeShape:
    """The shape that a node takes by itself, whatever arrives; () where its kind or its values leave that open."""
    if isinstance(node, (nir.Linear, nir.Affine)):
        return (*node.weight.shape[:-2], node.weight.shape[-1])
    if isinstance(node, CONVOLUTIONS) and node.input_shape is not None:
        return (node.weight.shape[1] * int(node.groups), *as_shape(node.input_shape))
    if isinstance(node, (*ELEMENTWISE, ExtensionNode)):
        return as_shape(node.input_type["input"])
    return ()


def primitive_of(node: nir.NIRNode) -> Primitive:
    """The record of a node's kind; raises `ValueError` for a kind that is not supported."""
    for kind, primitive in PRIMITIVES.items():
        if isinstance(node, kind):
            return primitive
    raise ValueError(f"nodes of type {type(node).__name__} are not supported")
