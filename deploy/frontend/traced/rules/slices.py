"""Parts of tensors: what a slice takes, what a loop over time takes and fills, borders that are padded and written."""

from dataclasses import replace

import torch
from torch import Tensor

from deploy.frontend.traced.axes import Dim, Refused, new_dim, size_of
from deploy.frontend.traced.borders import bordered, padded, side
from deploy.frontend.traced.parts import filled, part_of_time, picked
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Padded, Signal, Steps, Value
from deploy.frontend.traced.walk import At, Walk


def _select(walk: Walk, at: At, value: Value, dim: int, index: int) -> Result:
    if isinstance(value, Steps):
        if dim % (len(at.shape) + 1) != value.dim:
            return walk.signal(value, at.name)
        found = dict(value.filled).get(index % value.size)
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


def _indexed(walk: Walk, at: At, value: Value, indices: list[Tensor | None]) -> Result:
    """`value[:, [2, 0, 1]]`: channels in another order."""
    (dim, index), *others = ((i, index) for i, index in enumerate(indices) if index is not None)
    if others or index.ndim != 1 or index.dtype == torch.bool:
        raise Refused("several indices, or a mask; allowed: one list of channels")
    return _index_select(walk, at, value, dim, index)


def _flipped(walk: Walk, at: At, value: Value, dims: list[int]) -> Result:
    s = walk.signal(value, at.name)
    for dim in dims:
        s = _sliced(walk, at, s, dim % len(s.dims), range(size_of(s.dims[dim]) - 1, -1, -1))
    return s


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


RULES: dict[str, Rule] = {
    "aten.select.int": _select,
    "aten.slice.Tensor": _slice,
    "aten.split_with_sizes.default": _split,
    "aten.index_select.default": _index_select,
    "aten.index.Tensor": _indexed,
    "aten.flip.default": _flipped,
    "aten.select_scatter.default": _written,
    "aten.slice_scatter.default": _written_slice,
    "aten.constant_pad_nd.default": _padded,
}
