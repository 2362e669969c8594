"""Operations that only say how a tensor is looked at: reshapes, permutations, repetition, precision."""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deploy.frontend.traced.axes import Refused, size_of
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Product, Signal, StepSum, Value, viewed
from deploy.frontend.traced.walk import At, Walk


def _opened(walk: Walk, value: Value, name: str) -> Signal | Product:
    return value if isinstance(value, Product) else walk.signal(value, name)


def _same(walk: Walk, at: At, value: Value, *_: Any, **__: Any) -> Result:
    return value


def _converted(walk: Walk, at: At, value: Value, *, dtype: torch.dtype | None = None, **_: Any) -> Result:
    """Another precision; whole numbers and truth values only of spikes, which stay what they are."""
    if dtype is None or dtype.is_floating_point:
        return value
    s = walk.signal(value, at.name)
    if s.node not in walk.draft.spiking or (s.gain, s.shift) != (1, 0) or s.averaged:
        raise Refused(f"real numbers are cut to {dtype}; allowed: spikes, or floating point")
    return s


def _view(walk: Walk, at: At, value: Value, _sizes: Any) -> Result:
    if isinstance(value, StepSum):
        return replace(value, signal=viewed(value.signal, at.shape))
    if isinstance(value, Product):
        return viewed(value, at.shape)
    return viewed(walk.signal(value, at.name), at.shape)


def _permute(walk: Walk, at: At, value: Value, order: list[int]) -> Result:
    s = _opened(walk, value, at.name)
    return replace(s, dims=tuple(s.dims[i] for i in order))


def _unsqueeze(walk: Walk, at: At, value: Value, dim: int) -> Result:
    s = _opened(walk, value, at.name)
    place = dim % (len(s.dims) + 1)
    return replace(s, dims=(*s.dims[:place], (), *s.dims[place:]))


def _squeeze(walk: Walk, at: At, value: Value, dims: int | list[int]) -> Result:
    s = _opened(walk, value, at.name)
    gone = {dim % len(s.dims) for dim in ([dims] if isinstance(dims, int) else dims)}
    return replace(s, dims=tuple(dim for i, dim in enumerate(s.dims) if dim or i not in gone))


def _expand(walk: Walk, at: At, value: Value, *_: Any, **__: Any) -> Result:
    s = _opened(walk, value, at.name)
    dims = ((),) * (len(at.shape) - len(s.dims)) + s.dims
    if all(size_of(dim) == size for dim, size in zip(dims, at.shape, strict=True)):
        return replace(s, dims=dims)
    s = walk.signal(s, at.name)
    for i, size in enumerate(at.shape):
        if size_of(dims[i]) != size:
            dims = (*dims[:i], walk.grown(replace(s, dims=dims), size), *dims[i + 1 :])
    return replace(s, dims=dims)


def _repeat(walk: Walk, at: At, value: Value, counts: list[int]) -> Result:
    s = walk.signal(value, at.name)
    s = replace(s, dims=((),) * (len(counts) - len(s.dims)) + s.dims)
    for i, count in enumerate(counts):
        if count > 1:  # entry r * n + k is entry k: the repetition is the outer axis
            s = replace(s, dims=(*s.dims[:i], walk.grown(s, count) + s.dims[i], *s.dims[i + 1 :]))
    return s


def _copied(walk: Walk, at: At, _value: Value | Tensor, source: Value | Tensor, *_: Any) -> Result:
    """`value[..] = source`, which repeats itself where it is smaller."""
    return source.expand(at.shape) if isinstance(source, Tensor) else _expand(walk, at, source)


def _item(walk: Walk, at: At, values: Any, index: int) -> Result:
    return values[index]


def _constant_like(fill: float | None) -> Rule:
    def rule(walk: Walk, at: At, value: Value, *given: Any, **_: Any) -> Result:
        return torch.full(at.shape, float(given[0]) if fill is None else fill)

    return rule


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten.view.default", "aten._unsafe_view.default", "aten.reshape.default"), _view),
    **dict.fromkeys(("aten.clone.default", "aten.alias.default"), _same),
    "aten._to_copy.default": _converted,
    **dict.fromkeys(("aten.detach.default", "aten.lift_fresh_copy.default", "aten.contiguous.default"), _same),
    "aten.permute.default": _permute,
    "aten.unsqueeze.default": _unsqueeze,
    **dict.fromkeys(("aten.squeeze.dim", "aten.squeeze.dims"), _squeeze),
    "aten.expand.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.copy.default": _copied,
    str(operator.getitem): _item,
    "aten.full_like.default": _constant_like(None),
    **dict.fromkeys(("aten.zeros_like.default", "aten.empty_like.default"), _constant_like(0.0)),
    "aten.ones_like.default": _constant_like(1.0),
}
