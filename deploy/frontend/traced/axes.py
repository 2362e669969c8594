"""What the dimensions of a tensor run over: rows of axes that a reshape splits and joins.

A dimension is a row of axes, the outermost first: of a tensor [T B, C, H W] the first has the axes of time and of
clips. An axis of one entry is none at all, so a dimension of size 1 is the empty row. Axes are told apart by identity;
two values of a traced graph never share one but time and clips, of which there is one each.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from svformer.common.errors import InputError

Kind = Literal["time", "clips", "place"]

# What a mean over time may be followed by: it is one value a clip, known at the clip's last frame.
BEHIND_MEAN = "allowed: linear layers up to the output; take the mean over time behind this, or one over pixels here"


class Refused(ValueError):  # noqa: N818 - what it says of a model, not of the program
    """What one operation does has no counterpart; the message says what, and what works."""


class ModelError(InputError, ValueError):
    """A model that cannot be imported: one line that names its modules, what was found there, and what works."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of at least two entries; a place is a channel, a row, a column or a part of one."""

    size: int
    kind: Kind = "place"

    def __repr__(self) -> str:
        return f"{self.size}" if self.kind == "place" else f"{self.size} {self.kind}"


Dim = tuple[Axis, ...]
Swap = Mapping[Axis, Dim]  # axes, and the rows that stand for them


def new_dim(size: int, kind: Kind = "place") -> Dim:
    """A dimension of one axis; of none for a single entry."""
    return (Axis(size, kind),) if size > 1 else ()


def size_of(axes: Iterable[Axis]) -> int:
    """Entries of a row of axes."""
    return math.prod(axis.size for axis in axes)


def swapped(dim: Dim, swap: Swap) -> Dim:
    """The row with other rows in place of some axes."""
    return tuple(new for axis in dim for new in swap.get(axis, (axis,)))


def flat(dims: Iterable[Dim]) -> Dim:
    """All axes of several dimensions in a row."""
    return tuple(axis for dim in dims for axis in dim)


def split(axes: Dim, sizes: Sequence[int]) -> tuple[Swap, tuple[Dim, ...]]:
    """Cut a row of axes into rows of these sizes: what stands for the axes that were cut, and the rows.

    Raises `Refused` where a cut would have to go through an axis whose size it does not divide.
    """
    rest, rows, swap = list(axes), list[Dim](), dict[Axis, Dim]()
    for size in sizes:
        row, left = list[Axis](), size
        while left > 1:
            axis = rest.pop(0) if rest else _mixed(axes, sizes)
            if left % axis.size == 0:
                row.append(axis)
                left //= axis.size
                continue
            outer, inner = _cut(axis, left)
            swap[axis] = (outer, inner)
            row.append(outer)
            rest.insert(0, inner)
            left = 1
        rows.append(tuple(row))
    if rest:
        _mixed(axes, sizes)
    return _resolved(swap), tuple(rows)


def matched(a: Dim, b: Dim) -> tuple[Swap, Swap]:
    """Cut two rows of axes until they agree, axis by axis; raises `Refused` where they cannot."""
    of_a, of_b = dict[Axis, Dim](), dict[Axis, Dim]()
    left_a, left_b = list(a), list(b)
    while left_a and left_b:
        x, y = left_a.pop(0), left_b.pop(0)
        if x.size > y.size:
            of_a[x] = _cut(x, y.size)
            left_a.insert(0, of_a[x][1])
        elif y.size > x.size:
            of_b[y] = _cut(y, x.size)
            left_b.insert(0, of_b[y][1])
        elif x.kind != y.kind:
            raise Refused(f"an axis of {x} meets one of {y}; allowed: time with time, clips with clips")
    if left_a or left_b:
        raise Refused(f"axes that do not fit each other, {list(a)} and {list(b)}")
    return _resolved(of_a), _resolved(of_b)


def _cut(axis: Axis, outer: int) -> tuple[Axis, Axis]:
    if axis.kind != "place":
        raise Refused(f"a reshape cuts the axis of {axis}; allowed: time and clips stay whole")
    if axis.size % outer:
        raise Refused(f"a reshape mixes axes: {outer} does not divide {axis.size}; allowed: to split and join them")
    return Axis(outer), Axis(axis.size // outer)


def _mixed(axes: Dim, sizes: Sequence[int]) -> Axis:
    raise Refused(f"a reshape mixes axes: {list(axes)} into {list(sizes)}; allowed: to split and join them")


def _resolved(swap: dict[Axis, Dim]) -> Swap:
    """The same with no axis on the right that was itself cut."""
    while any(axis in swap for row in swap.values() for axis in row):
        swap = {axis: swapped(row, swap) for axis, row in swap.items()}
    return swap
