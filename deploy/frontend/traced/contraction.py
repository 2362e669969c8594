"""Products of any number of signals as `SignalProduct` nodes: values times the spikes that they meet, one by one.

Every signal but the first has to be spikes, or neurons of several levels, whose spikes have one more axis, of levels;
the first may be anything. Both are put into one vector, which the node reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from deploy.frontend.traced.axes import Axis, Refused, flat, size_of
from deploy.frontend.traced.draft import FIRED
from deploy.frontend.traced.signals import Image, Product, Signal
from deploy.ir.operations.product import SignalProduct
from deploy.ir.operations.segment import Segment

if TYPE_CHECKING:
    from deploy.frontend.traced.walk import Walk


@dataclass(frozen=True, kw_only=True)
class Order:
    """Factors in the order in which they are multiplied, and the axes that are left behind each of them."""

    factors: tuple[Signal, ...]
    kept: tuple[frozenset[Axis], ...]

    @property
    def cost(self) -> int:
        """Values on the way."""
        return sum(size_of(axes) for axes in self.kept[1:-1])


def contracted(walk: "Walk", product: Product, name: str, step: int | None) -> Signal:
    """The signal of a product. Raises `Refused` where two of its factors are no spikes."""
    order = _best(walk, product)
    found, *others = order.factors
    gain = product.gain
    for number, spikes in enumerate(others, start=1):
        planes, size = walk.draft.planes(spikes.node)
        image = _image(product, order.factors, order.kept[number])
        scale, gain = gain * size, 1.0
        node = _node(walk, f"{name}.product", found, [replace(spikes, node=plane) for plane in planes], image, scale)
        found = Signal(node=node, dims=product.dims, image=image)
    return replace(found, step=step)


def _best(walk: "Walk", product: Product) -> Order:
    """The order with the smallest signals on the way of those in which all but the first are spikes."""
    graded = [factor for factor in product.factors if not walk.draft.planes(factor.node)[0]]
    if len(graded) > 1:
        raise Refused(
            f"a product of {len(graded)} signals of real numbers; allowed: of one with spikes, as neurons send them"
        )
    out = frozenset(axis for axis in flat(product.dims) if axis.kind == "place")
    orders = (_order(row, out) for row in permutations(product.factors) if not graded or row[0] is graded[0])
    return min(orders, key=lambda order: order.cost)


def _order(factors: Sequence[Signal], out: frozenset[Axis]) -> Order:
    axes = [frozenset(factor.image.axes) for factor in factors]
    kept = []
    for number in range(1, len(factors) + 1):
        wanted = out.union(*axes[number:])
        kept.append(frozenset().union(*axes[:number]) & wanted)
    return Order(factors=tuple(factors), kept=tuple(kept))


def _image(product: Product, factors: Sequence[Signal], kept: frozenset[Axis]) -> Image:
    """An image of axes, with the pixels of the factor of which most stay to the end, of the last such one: values are
    like weights of the spikes behind them. The other axes are channels.
    """
    last = frozenset(flat(product.dims))
    whole = [factor.image for factor in reversed(factors) if set(factor.image.pixels) <= kept]
    best = max(whole, key=lambda image: size_of(last & set(image.pixels)), default=Image(channels=()))
    known = dict.fromkeys([*flat(product.dims), *(axis for factor in product.factors for axis in factor.image.axes)])
    channels = tuple(axis for axis in known if axis in kept and axis not in best.pixels)
    return Image(channels=channels, rows=best.rows, columns=best.columns)


def _node(walk: "Walk", name: str, values: Signal, planes: Sequence[Signal], image: Image, scale: float) -> str:
    """The node of a product of values with spikes, which have a plane for every level."""
    draft = walk.draft
    values, *planes = (walk.scaled(factor, name) for factor in (values, *planes))
    level = (Axis(len(planes)),) if len(planes) > 1 else ()
    left, right = values.image.axes or (Axis(1),), level + planes[0].image.axes or (Axis(1),)
    number = {axis: i for i, axis in enumerate(dict.fromkeys((*left, *right)))}
    rows = ([number[axis] for axis in row] for row in (left, right, image.axes))
    sizes = np.array([axis.size for axis in number])
    vector = _vector(walk, name, [values.node, *(plane.node for plane in planes)])
    shapes = (np.array(shape) for shape in (draft.shapes[vector], image.shape))
    node = SignalProduct(next(shapes), sizes, *map(np.array, rows), next(shapes), scale=scale)
    return draft.node(name, node, vector)


def _vector(walk: "Walk", name: str, parts: Sequence[str]) -> str:
    """The node that holds the values of several, one behind the other; it fires where all of them do."""
    draft = walk.draft
    lengths = [int(np.prod(draft.shapes[part])) for part in parts]
    firsts, vector = np.cumsum([0, *lengths]), np.array([sum(lengths), 1, 1])
    segments = [
        draft.node(f"{name}.segment{number}", Segment(np.array(draft.shapes[part]), vector, int(first)), part)
        for number, (part, first) in enumerate(zip(parts, firsts, strict=False))
    ]
    if all(part in draft.spiking for part in parts):
        return draft.gate(f"{name}.spikes", FIRED, *segments)
    return draft.sum(f"{name}.vector", *segments)
