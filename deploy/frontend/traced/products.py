"""Products of signals, as transformers have them: matrix products in a row, masks.

q (k^T v) of spikes is one node, in whichever order. Any other product is a row of `SignalProduct`s, each of values
with the spikes of neurons (of all levels, where there are several), in the order that leaves the smallest signals on
the way.
"""

from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

from deploy.frontend.traced.axes import BEHIND_MEAN, Axis, Dim, Refused, matched, size_of
from deploy.frontend.traced.contraction import contracted
from deploy.frontend.traced.draft import Attention
from deploy.frontend.traced.pairing import paired
from deploy.frontend.traced.signals import Image, Product, Signal, Value, fresh

if TYPE_CHECKING:
    from deploy.frontend.traced.walk import Walk

IN_TIME = "attention joins time steps: a frame would need frames that come after it; allowed: tokens of one time step"


def multiplied(walk: "Walk", x: Value, y: Value, name: str) -> Product:
    """The product [b, n, m] of matrices [b, n, k] and [b, k, m], which stays open until something else uses it."""
    a, b = _open(walk, x, name), fresh(_open(walk, y, name), but=walk.shared)
    for dim in (a.dims[1], a.dims[2], b.dims[1], b.dims[2]):
        if any(axis.kind == "time" for axis in dim):
            raise Refused(IN_TIME)
        if any(axis.kind == "clips" for axis in dim):
            raise Refused("a matrix product joins the clips of a batch; allowed: each clip by itself")
    for of_a, of_b in ((0, 0), (2, 1)):
        in_a, in_b = matched(a.dims[of_a], b.dims[of_b])
        a, b = a.swapped(in_a), b.swapped(in_b)
        b = b.swapped({y: (x,) for x, y in zip(a.dims[of_a], b.dims[of_b], strict=True) if x is not y})
    return Product(factors=a.factors + b.factors, dims=(a.dims[0], a.dims[1], b.dims[2]), gain=a.gain * b.gain)


def _open(walk: "Walk", value: Value, name: str) -> Product:
    """A factor as a product of its own."""
    if isinstance(value, Product):
        return value
    s = walk.signal(value, name)
    return _factor(walk, walk.whole(s, name) if s.repeated else s, name)


def _factor(walk: "Walk", s: Signal, name: str) -> Product:
    if s.averaged:
        raise Refused(f"a matrix product of means or sums over time; {BEHIND_MEAN}")
    if s.shift and walk.draft.planes(s.node)[0]:
        raise Refused(
            "a matrix product of spikes that a constant is added to (Hamming attention, 2 q - 1); allowed: spikes; "
            "write (2 q - 1) m as 2 (q m) - m.sum(over the channels of q), and (2 k - 1)^T v likewise"
        )
    s = walk.scaled(s, name) if s.shift else s
    return Product(factors=(replace(s, gain=1.0),), dims=s.dims, gain=s.gain)


def masked(walk: "Walk", name: str, x: Signal, y: Signal) -> Signal:
    """The product of two signals element by element, of which one is spikes."""
    step, averaged = walk.together(x, y)
    if averaged:
        raise Refused(f"a product of means or sums over time; {BEHIND_MEAN}")
    x, y = (walk.whole(s, name) if s.repeated else s for s in (x, y))
    a, b = (_factor(walk, s, name) for s in paired(x, fresh(y, but=walk.shared)))
    product = Product(factors=a.factors + b.factors, dims=a.dims, gain=a.gain * b.gain)
    return contracted(walk, product, name, step)


def closed(walk: "Walk", product: Product, name: str) -> Signal:
    """The signal of a product; raises `Refused` for one that has no node."""
    step = _one_step(walk, product)
    roles = _roles(walk, product) if len(product.factors) == 3 else None
    if roles is None:
        return contracted(walk, product, name, step)
    q, k, v, heads = roles.q, roles.k, roles.v, roles.heads
    parts = _parts(walk, name, q, k, v, [heads + roles.inner, heads + roles.inner, heads + roles.value])
    shape = (size_of(heads + roles.value), *q.image.shape[1:])
    node = Attention(heads=size_of(heads), scale=product.gain)
    found = walk.draft.add(f"{name}.attention", node, *parts, shape=shape)
    image = Image(channels=heads + roles.value, rows=q.image.rows, columns=q.image.columns)
    return Signal(node=found, dims=product.dims, image=image, step=step)


@dataclass(frozen=True, kw_only=True)
class _Roles:
    """Which factor of a product is q, k and v, and what the axes of their channels are."""

    q: Signal
    k: Signal
    v: Signal

    @property
    def heads(self) -> Dim:
        shared = set(self.k.image.channels) & set(self.v.image.channels)
        return tuple(axis for axis in self.q.image.channels if axis in shared)

    @property
    def inner(self) -> Dim:
        """Over which q and k are multiplied."""
        return tuple(axis for axis in self.q.image.channels if axis not in self.heads)

    @property
    def value(self) -> Dim:
        """Channels of a head of v, and of the result."""
        return tuple(axis for axis in self.v.image.channels if axis not in self.heads)

    def hold(self, out: set[Axis]) -> bool:
        """Whether the product is q (k^T v): summed over the tokens of k and v, and over the channels of q and k; with
        v as wide as q, of the same image.
        """
        tokens, summed = set(self.k.image.pixels), {*self.inner, *self.k.image.pixels}
        return (
            self.q.image.shape[1:] == self.k.image.shape[1:]
            and size_of(self.inner) == size_of(self.value)
            and self.k.image.parts[1:] == self.v.image.parts[1:]
            and set(self.k.image.channels) == set(self.q.image.channels)
            and not summed & out
            and not tokens & set(self.q.image.pixels)
            and out == {*self.heads, *self.value, *self.q.image.pixels}
        )


def _roles(walk: "Walk", product: Product) -> _Roles | None:
    """Which spikes are q, k and v; None for a product that is no `SpikingAttention`."""
    if not all(factor.node in walk.draft.spiking for factor in product.factors):
        return None
    out = {axis for dim in product.dims for axis in dim if axis.kind == "place"}
    found = (_Roles(q=q, k=k, v=v) for q, k, v in permutations(product.factors))
    return next((roles for roles in found if roles.hold(out)), None)


def _one_step(walk: "Walk", product: Product) -> int | None:
    """The time step of the factors; raises `Refused` where they are of several."""
    if len({(f.step, f.averaged, walk.time in f.axes) for f in product.factors}) > 1:
        raise Refused(IN_TIME)
    if walk.timed(product.factors[0]) and not walk.timed(product):
        raise Refused(IN_TIME)
    return product.factors[0].step


def _parts(walk: "Walk", name: str, q: Signal, k: Signal, v: Signal, rows: list[Dim]) -> list[str]:
    """The nodes that hold q, k and v; a single one where they are the thirds of one layer, in this order."""
    ordered = all(f.image.channels == row for f, row in zip((q, k, v), rows, strict=True))
    picked = [f.picked for f in (q, k, v)]
    channels = [channel for part in picked for channel in part or ()]
    same = len({f.node for f in (q, k, v)}) == 1 and None not in picked
    if ordered and same and channels == list(range(walk.draft.shapes[q.node][0])):
        return [q.node]
    whole = [walk.scaled(f, name) for f in (q, k, v)]
    return [walk.ordered(f, row, name).node for f, row in zip(whole, rows, strict=True)]
