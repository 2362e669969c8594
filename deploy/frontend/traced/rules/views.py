"""Operations that only say how a tensor is looked at: reshapes, permutations, repetition, slices."""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deploy.frontend.traced.axes import Dim, Refused, new_dim, size_of
from deploy.frontend.traced.borders import bordered, padded, side
from deploy.frontend.traced.parts import filled, part_of_time, picked
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Padded, Product, Signal, Steps, StepSum, Value, viewed
from deploy.frontend.traced.walk import At, Walk


def _opened(walk: Walk, value: Value, name: str) -> Signal | Product:
    return value if isinstance(value, Product) else walk.signal(value, name)


def _same(walk: Walk, at: At, value: Value, *_: Any, **__: Any) -> Result:
    return value


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


def _select(walk: Walk, at: At, value: Value, dim: int, index: int) -> Result:
    if isinstance(value, Steps):
        found = dict(value.filled).get(index % value.size) if dim == value.dim else None
        return torch.zeros(at.shape) if found is None else found
    s = walk.signal(value, at.name)
    dim %= len(s.dims)
    index %= size_of(s.dims[dim])
    s = _sliced(walk, at, s, dim, range(index, index + 1))
    return replace(s, dims=(*s.dims[:dim], *s.dims[dim + 1 :]))


def _slice(
    walk: Walk, at: At, value: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Result:
    if isinstance(value, Padded):
        return side(value, dim, range(size_of(value.dims[dim]))[start:end:step])
    s = walk.signal(value, at.name)
    dim %= len(s.dims)
    total = size_of(s.dims[dim])
    wanted = range(total)[start:end:step]
    return s if wanted == range(total) else _sliced(walk, at, s, dim, wanted)


def _sliced(walk: Walk, at: At, s: Signal, dim: int, wanted: range) -> Signal:
    axes: Dim = s.dims[dim]
    if not axes:
        return s
    if any(axis.kind == "clips" for axis in axes):
        raise Refused("a part of the batch is taken; allowed: all clips")
    if walk.time in axes:
        return part_of_time(walk, s, dim, wanted)
    if set(axes) <= set(s.repeated):
        return replace(s, dims=(*s.dims[:dim], new_dim(len(wanted)), *s.dims[dim + 1 :]))
    return picked(walk, s, dim, wanted, at.name)


def _split(walk: Walk, at: At, value: Value, sizes: list[int], dim: int = 0) -> Result:
    s, first, parts = walk.signal(value, at.name), 0, []
    for size in sizes:
        parts.append(_sliced(walk, at, s, dim % len(s.dims), range(first, first + size)))
        first += size
    return parts


def _index_select(walk: Walk, at: At, value: Value, dim: int, index: Tensor) -> Result:
    s = walk.signal(value, at.name)
    return picked(walk, s, dim % len(s.dims), [int(i) for i in index], at.name)


def _written(walk: Walk, at: At, value: Value | Tensor, source: Value | Tensor, dim: int, index: int) -> Result:
    """`value[.., index, ..] = source` along a dimension."""
    if isinstance(source, Tensor) and isinstance(value, Steps):
        raise Refused("a loop over time writes constants; allowed: a signal at every step")
    return filled(walk, value, source, dim % len(at.shape), index, at)


def _written_slice(
    walk: Walk,
    at: At,
    value: Value | Tensor,
    source: Value | Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Result:
    dim %= len(at.shape)
    wanted = range(at.shape[dim])[start:end:step]
    if isinstance(value, Padded):
        return bordered(value, source, dim, wanted)
    if len(wanted) == at.shape[dim]:
        return source
    if len(wanted) == 1 and isinstance(source, Signal) and not source.dims[dim]:
        step_of = replace(source, dims=(*source.dims[:dim], *source.dims[dim + 1 :]))
        return filled(walk, value, step_of, dim, wanted[0], at)
    raise Refused("a part of a signal is written; allowed: a time step of it, or the border of a padded image")


def _padded(walk: Walk, at: At, value: Value, sizes: list[int], fill: float = 0.0) -> Result:
    return padded(walk, at, value, sizes, float(fill))


def _copied(walk: Walk, at: At, _value: Value | Tensor, source: Value | Tensor, *_: Any) -> Result:
    return source


def _item(walk: Walk, at: At, values: Any, index: int) -> Result:
    return values[index]


def _constant_like(fill: float | None) -> Rule:
    def rule(walk: Walk, at: At, value: Value, *given: Any, **_: Any) -> Result:
        return torch.full(at.shape, float(given[0]) if fill is None else fill)

    return rule


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten.view.default", "aten._unsafe_view.default", "aten.reshape.default"), _view),
    **dict.fromkeys(("aten.clone.default", "aten.alias.default", "aten._to_copy.default"), _same),
    **dict.fromkeys(("aten.detach.default", "aten.lift_fresh_copy.default", "aten.contiguous.default"), _same),
    "aten.permute.default": _permute,
    "aten.unsqueeze.default": _unsqueeze,
    **dict.fromkeys(("aten.squeeze.dim", "aten.squeeze.dims"), _squeeze),
    "aten.expand.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.select.int": _select,
    "aten.slice.Tensor": _slice,
    "aten.split_with_sizes.default": _split,
    "aten.index_select.default": _index_select,
    "aten.select_scatter.default": _written,
    "aten.slice_scatter.default": _written_slice,
    "aten.copy.default": _copied,
    "aten.constant_pad_nd.default": _padded,
    str(operator.getitem): _item,
    "aten.full_like.default": _constant_like(None),
    **dict.fromkeys(("aten.zeros_like.default", "aten.empty_like.default"), _constant_like(0.0)),
    "aten.ones_like.default": _constant_like(1.0),
}
