"""Dense layers, norms with fixed statistics, matrix products, and neurons."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from deploy.frontend.traced.axes import Dim, Refused, flat, new_dim
from deploy.frontend.traced.constants import affine
from deploy.frontend.traced.draft import Conv
from deploy.frontend.traced.known import numbers
from deploy.frontend.traced.products import multiplied
from deploy.frontend.traced.rules.neurons import neuron, potential
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Image, Signal, Value
from deploy.frontend.traced.trace import NEURON, POTENTIAL
from deploy.frontend.traced.walk import At, Walk
from deploy.ir.types import Array


def _dense(walk: Walk, at: At, bias: Tensor, x: Value, weight: Tensor, **_: Any) -> Result:
    """`bias + x @ weight`, weights [I, O]."""
    return _linear(walk, at, x, numbers(weight).T, numbers(bias))


def _matrix(walk: Walk, at: At, x: Any, y: Any) -> Result:
    if isinstance(y, Tensor):
        return _linear(walk, at, x, numbers(y).T, np.zeros(y.shape[-1]))
    if isinstance(x, Tensor):
        turned = walk.signal(y, at.name)
        made = _linear(walk, at, replace(turned, dims=turned.dims[::-1]), numbers(x), np.zeros(len(x)))
        return replace(made, dims=made.dims[::-1])
    raise Refused("a product of two signals over all clips; allowed: attention, each clip by itself")


def _batched(walk: Walk, at: At, x: Any, y: Any) -> Result:
    if isinstance(y, Tensor) or isinstance(x, Tensor):
        constant = numbers(y if isinstance(y, Tensor) else x)
        if (constant != constant[:1]).any():
            raise Refused("a product with other weights for every part of a batch; allowed: the same weights")
        if isinstance(y, Tensor):
            return _linear(walk, at, x, constant[0].T, np.zeros(constant.shape[2]))
        raise Refused("a product of constants and a signal from the left; allowed: layers over channels")
    return multiplied(walk, x, y, at.name)


def _linear(walk: Walk, at: At, x: Value, weight: Array, bias: Array) -> Signal:
    """Weights [O, I] of the last dimension: all channels at every pixel, or channels and pixels together."""
    s = walk.whole(x, at.name)
    last, lead = s.dims[-1], tuple(axis for axis in flat(s.dims[:-1]) if axis.kind == "place")
    outputs = new_dim(len(weight))
    if any(axis.kind != "place" for axis in last):
        raise Refused("a dense layer over time or clips; allowed: over channels, or pixels, of each time step")
    if set(last) != set(s.image.channels) and lead:
        s = walk.arranged(s, Image(channels=last, columns=lead), at.name)
    if set(last) == set(s.image.channels):
        kernel = _arranged(weight, last, s.image.channels)[:, :, None, None]
        image = replace(s.image, channels=outputs)
    else:
        kernel = _arranged(weight, last, s.image.axes).reshape(len(weight), *s.image.shape)
        image = Image(channels=outputs)
    node = walk.draft.conv(at.name, Conv(weight=kernel, bias=bias), s.node)
    return replace(s, node=node, image=image, dims=(*s.dims[:-1], outputs))


def _arranged(weight: Array, have: Dim, want: Dim) -> Array:
    """Weights [O, I] whose inputs run over axes in one order, with the inputs in another order."""
    apart = weight.reshape(len(weight), *(axis.size for axis in have))
    turned = apart.transpose(0, *(1 + have.index(axis) for axis in want))
    return np.ascontiguousarray(turned.reshape(len(weight), -1))


def _norm(
    walk: Walk,
    at: At,
    x: Value,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    _momentum: float,
    eps: float,
) -> Result:
    """A batch norm with running statistics is a gain and a bias."""
    gain = (1.0 if weight is None else numbers(weight)) / np.sqrt(numbers(variance) + eps)
    shift = (0.0 if bias is None else numbers(bias)) - numbers(mean) * gain
    s = walk.signal(x, at.name)
    shape = (-1, *(1,) * (len(s.dims) - 2))
    made = affine(walk, at, s, gain.reshape(shape), np.asarray(shift).reshape(shape))
    return (made, None, None)


RULES: dict[str, Rule] = {
    NEURON: neuron,
    POTENTIAL: potential,
    "aten.addmm.default": _dense,
    "aten.mm.default": _matrix,
    "aten.bmm.default": _batched,
    "aten._native_batch_norm_legit_no_training.default": _norm,
}
