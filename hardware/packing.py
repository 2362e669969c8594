"""Items of several sizes (neurons, words, axons, ..) packed into as few bins of equal capacities as can be found.

What can have nothing beside it gets a bin of its own. The rest is packed by first-fit decreasing, which is quick and
good. Where that takes more bins than the sum of the sizes asks for, and the problem is small, a solver (HiGHS, through
scipy.optimize.milp) searches a packing with fewer bins, or proves that there is none.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

MOST_VARIABLES = 20_000  # of the solver; larger problems are left to first-fit decreasing
SOLVED, INFEASIBLE = 0, 2  # status of scipy.optimize.milp

Method = Literal["first-fit decreasing", "mixed-integer program"]
Sizes = NDArray[np.int64]  # [items, limits]


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Items by bin, and how they were found."""

    bins: tuple[tuple[int, ...], ...]
    method: Method
    least: int  # no packing of these items takes fewer bins

    @property
    def optimal(self) -> bool:
        return len(self.bins) == self.least


def pack(sizes: Sizes, held: NDArray[np.int64], *, solver_nodes: int) -> Packing:
    """Pack items, each of which fits into a bin.

    The solver may look at `solver_nodes` nodes of its search tree, a bound that is the same on every machine; with 0
    it is not asked.
    """
    alone = _alone(sizes, held)
    singles, others = np.flatnonzero(alone), np.flatnonzero(~alone)
    greedy = first_fit_decreasing(sizes[others], held)
    least = least_bins(sizes[others], held)
    found: list[list[int]] = greedy
    method: Method = "first-fit decreasing"
    if len(greedy) > least and solver_nodes > 0:
        better, least = solve(sizes[others], held, fewer_than=len(greedy), least=least, solver_nodes=solver_nodes)
        if better is not None:
            found, method = better, "mixed-integer program"
    shared = [tuple(int(others[item]) for item in items) for items in found]
    bins = (*((int(item),) for item in singles), *shared)
    return Packing(bins=bins, method=method, least=len(singles) + least)


def least_bins(sizes: Sizes, held: NDArray[np.int64]) -> int:
    """Bins that the sum of the sizes asks for, by the scarcest limit."""
    return int(np.max(-(-sizes.sum(axis=0) // held), initial=0)) if len(sizes) else 0


def first_fit_decreasing(sizes: Sizes, held: NDArray[np.int64]) -> list[list[int]]:
    """Each item into the first bin that has room for it, the largest (by its scarcest limit) first."""
    order = np.argsort(-(sizes / held).max(axis=1, initial=0), kind="stable")
    room, bins = np.empty((len(sizes), len(held)), dtype=np.int64), list[list[int]]()
    for item in order:
        fitting = np.flatnonzero((room[: len(bins)] >= sizes[item]).all(axis=1))
        if len(fitting):
            chosen = int(fitting[0])
        else:
            chosen = len(bins)
            bins.append([])
            room[chosen] = held
        room[chosen] -= sizes[item]
        bins[chosen].append(int(item))
    return bins


def solve(
    sizes: Sizes, held: NDArray[np.int64], *, fewer_than: int, least: int, solver_nodes: int
) -> tuple[list[list[int]] | None, int]:
    """A packing into fewer bins than `fewer_than` (None where none was found), and the least that is proven.

    Items of the same sizes are counted, not told apart: x[k, b] of kind k lie in bin b, which is used where y[b] is 1.
    """
    kinds, kind_of, many = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
    bins = fewer_than - 1
    if bins < 1 or (len(kinds) + 1) * bins > MOST_VARIABLES:
        return None, least
    n = len(kinds) * bins
    k, b = (index.ravel() for index in np.indices((len(kinds), bins)))
    placed = coo_array((np.ones(n), (k, np.arange(n))), shape=(len(kinds), n + bins))
    full = [_room(kinds[:, limit] / held[limit], b, k, bins) for limit in range(len(held))]
    in_order = csr_array(np.eye(bins - 1, bins) - np.eye(bins - 1, bins, 1))  # y[b] >= y[b + 1]
    in_order.resize((bins - 1, bins))
    constraints = [
        LinearConstraint(placed.tocsr(), many, many),
        *(LinearConstraint(rows, -np.inf, 0) for rows in full),
    ]
    if bins > 1:
        y = coo_array(in_order)
        shifted = coo_array((y.data, (y.row, y.col + n)), shape=(bins - 1, n + bins))
        constraints.append(LinearConstraint(shifted.tocsr(), 0, np.inf))
    result = milp(
        np.r_[np.zeros(n), np.ones(bins)],
        integrality=np.ones(n + bins),
        bounds=Bounds(np.r_[np.zeros(n), np.arange(bins) < least], np.r_[many[k], np.ones(bins)]),
        constraints=constraints,
        options={"node_limit": solver_nodes},
    )
    if result.status == INFEASIBLE:
        return None, fewer_than
    if result.x is None:
        return None, least
    found = _by_bin(np.rint(result.x[:n]).astype(int).reshape(len(kinds), bins), kind_of)
    return found, len(found) if result.status == SOLVED else least


def _room(shares: NDArray[np.float64], b: NDArray[np.intp], k: NDArray[np.intp], bins: int) -> csr_array:
    """Rows of `sum of shares in a bin - y[bin] <= 0`, one for each bin."""
    n = len(b)
    data, rows = np.r_[shares[k], -np.ones(bins)], np.r_[b, np.arange(bins)]
    return coo_array((data, (rows, np.arange(n + bins))), shape=(bins, n + bins)).tocsr()


def _by_bin(counts: NDArray[np.int64], kind_of: NDArray[np.intp]) -> list[list[int]]:
    """Items of every bin that is used; any item of a kind is as good as another."""
    waiting = [list(np.flatnonzero(kind_of.ravel() == kind)) for kind in range(len(counts))]
    bins = [
        [int(waiting[kind].pop()) for kind, number in enumerate(found) for _ in range(number)] for found in counts.T
    ]
    return [items for items in bins if items]


def _alone(sizes: Sizes, held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Items beside which no other fits: with the least of every size that another has, they exceed a limit."""
    if len(sizes) < 2:
        return np.zeros(len(sizes), dtype=bool)
    least, second = np.sort(sizes, axis=0)[:2]
    others = np.where(sizes == least, second, least)  # the least of every size among all but the item itself
    return (sizes + others > held).any(axis=1)
