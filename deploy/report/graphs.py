"""Graphs as pictures: NIR graphs and lowered networks, from left to right in rows, as a text is read.

A node stands in the column of its longest way from the input; the longest way of all is the top line of its row, what
runs beside it stands below. Many side by side that differ by a number alone (one for every frame) are one.
"""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypedDict

import nir
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from deploy.ir.network import Network
from deploy.ir.operations.base import Operation
from deploy.ir.shapes import execution_order
from svformer.pictures.palette import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PURPLE, SKY, SOFT, VERMILLION
from svformer.pictures.plot import SMALL, new_axes

COLUMNS = 18  # columns in a row
ROW_INCHES, LANE = 1.15, 0.5  # LANE: distance of what runs side by side, in rows
FOLD_FROM = 3  # from this number on, nodes that are alike are drawn as one
ROUND, SQUARE, DIAMOND = "o", "s", "D"
LOOKS = {  # kind of a node or population: colour, marker
    "Input": (GREY, SQUARE),
    "Output": (GREY, SQUARE),
    "Conv2d": (BLUE, SQUARE),
    "LIF": (VERMILLION, ROUND),
    "Lif": (VERMILLION, ROUND),
    "Integrator": (PURPLE, ROUND),
    "Junction": (GREEN, DIAMOND),
    "Relay": (GREEN, DIAMOND),
    "SpikingAttention": (ORANGE, SQUARE),
    "SignalProduct": (ORANGE, SQUARE),
    "Delay": (SKY, SQUARE),
    "GainBias": (PURPLE, SQUARE),
}
OTHER = (BROWN, SQUARE)
WEIGHTED, MULTIPLIED, PASSED_ON = BLUE, ORANGE, SOFT  # connections: with weights, products of signals, all others
EVERYWHERE = {"": PASSED_ON}  # edges between nodes are of no kind

BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # the box behind a name that lines may cross
LETTER = 0.09  # width of a letter of a block's name, in columns
STUB = 0.12  # how far the beginning of a line that goes on elsewhere leads up, in rows


class Line(TypedDict):
    """How a line looks."""

    color: str
    linewidth: float
    zorder: int


Edge = tuple[str, str, str]  # source, target, kind


@dataclass(frozen=True, kw_only=True)
class NodePlace:
    """Where a node is drawn."""

    row: int
    column: int
    lane: int  # 0 is the top line of the row
    y: float  # in rows of one line, downwards negative

    @property
    def x(self) -> float:
        return float(self.column)


def nir_graph(graph: nir.NIRGraph, ax: Axes | None = None) -> Axes:
    """Draw the nodes of a NIR graph, by kind."""
    order = [name for name in execution_order(graph) if name in graph.nodes]
    kinds = {name: type(graph.nodes[name]).__name__ for name in order}
    return _draw(kinds, [(a, b, "") for a, b in graph.edges], ax)


def network(lowered: Network, ax: Axes | None = None) -> Axes:
    """Draw the populations of a network, by kind, and what its connections do, by colour."""
    kinds = {name: type(population).__name__ for name, population in lowered.populations.items()}
    edges = [(c.source, c.target, type(c.operation).__name__) for c in lowered.connections]
    return _draw(kinds, edges, ax, {type(c.operation).__name__: _colour(c.operation) for c in lowered.connections})


def _colour(operation: Operation) -> str:
    if operation.geometry.multiplies_signals:
        return MULTIPLIED
    return WEIGHTED if operation.largest_weight is not None else PASSED_ON


def _draw(
    kinds: Mapping[str, str], edges: Sequence[Edge], ax: Axes | None, colours: Mapping[str, str] = EVERYWHERE
) -> Axes:
    """`colours` of the edges, by kind."""
    kinds, edges, multiples = _folded(kinds, edges)
    places = _placed(list(kinds), edges)
    bottom = min(place.y for place in places.values()) - 0.45
    ax = new_axes(ax, height=0.3 + ROW_INCHES * (0.5 - bottom))
    for source, target, kind in edges:
        _draw_edge(ax, places[source], places[target], colours[kind])
    for kind in dict.fromkeys(kinds.values()):
        colour, marker = LOOKS.get(kind, OTHER)
        chosen = [places[name] for name in kinds if kinds[name] == kind]
        xy = [p.x for p in chosen], [p.y for p in chosen]
        ax.plot(*xy, marker, color=colour, markersize=8, markeredgecolor="white", label=kind, zorder=3)
    for kind in dict.fromkeys(kind for _, _, kind in edges if kind):
        ax.plot([], [], color=colours[kind], label=kind)
    _label(ax, places, multiples)
    ax.set(xlim=(-0.8, COLUMNS - 0.2), ylim=(bottom, 0.5))
    ax.axis("off")
    ax.legend(ncols=len(LOOKS), loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=SMALL)
    return ax


def _label(ax: Axes, places: Mapping[str, NodePlace], multiples: Mapping[str, int]) -> None:
    """The last part of a name stands below its node; what comes before it, the block, at the block's first node.

    In the top line of a row a block's name is left out where the one before it is still being read.
    """
    blocks: dict[int, str] = {}
    ends: dict[int, float] = {}  # by row: where the last block's name ends
    for name, place in places.items():
        block, last = _split(name)
        label = f"{last} x{multiples[name]}" if multiples[name] > 1 else last
        if blocks.get(place.lane) != block and place.lane:
            label += f"\n{block}"
        elif blocks.get(place.lane) != block and ends.get(place.row, 0.0) <= place.x:
            ends[place.row] = place.x + LETTER * len(block)
            ax.text(place.x - 0.1, place.y + 0.33, block, fontsize=SMALL, color=SOFT, bbox=BEHIND)
        blocks[place.lane] = block
        ax.text(place.x, place.y - 0.1, label, ha="center", va="top", fontsize=SMALL - 1, color=INK)


def _split(name: str) -> tuple[str, str]:
    """Block and last part of a name; of a layer that is several ("a.q.lif+a.v.lif"), the block of all."""
    blocks, lasts = zip(*(part.rpartition(".")[::2] for part in name.split("+")), strict=True)
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*(block.split(".") for block in blocks), strict=False))
    return ".".join(parts[0] for parts in common), "+".join(dict.fromkeys(lasts))


def _folded(kinds: Mapping[str, str], edges: Sequence[Edge]) -> tuple[dict[str, str], list[Edge], Counter[str]]:
    """Nodes side by side that differ by their number become one, "name*": kinds, edges, how many each node stands for.

    Nodes of which one is behind another stay apart: many frameworks number the layers of a network.
    """
    before, ancestors = _before(list(kinds), edges), dict[str, set[str]]()
    for name in kinds:
        ancestors[name] = set(before[name]).union(*(ancestors[source] for source in before[name]))
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, kind in kinds.items():
        alike[re.sub(r"\d+$", "*", name), kind].append(name)
    shown = {name: name for name in kinds}
    for (pattern, _), names in alike.items():
        if len(names) >= FOLD_FROM and not any(ancestors[name] & set(names) for name in names):
            shown |= dict.fromkeys(names, pattern)
    joined = dict.fromkeys((shown[a], shown[b], kind) for a, b, kind in edges)
    return {shown[name]: kind for name, kind in kinds.items()}, list(joined), Counter(shown.values())


def _before(order: Sequence[str], edges: Iterable[Edge]) -> dict[str, list[str]]:
    """Where edges into every node come from; those that lead back (loops) do not count."""
    index = {name: i for i, name in enumerate(order)}
    found: dict[str, list[str]] = {name: [] for name in order}
    for source, target, _ in edges:
        if index[source] < index[target]:
            found[target].append(source)
    return found


def _placed(order: Sequence[str], edges: Iterable[Edge]) -> dict[str, NodePlace]:
    """Where everything stands; edges that lead back (loops) do not count."""
    before = _before(order, edges)
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[source] + 1 for source in before[name]), default=0)
    spine = set(_longest_way(depth, before))
    lanes: dict[str, int] = {}
    taken: dict[int, int] = defaultdict(int)
    for name in order:
        taken[depth[name]] += name not in spine
        lanes[name] = 0 if name in spine else taken[depth[name]]
    starts = _row_starts(depth, edges)
    rows = {name: bisect.bisect_right(starts, depth[name]) - 1 for name in order}
    tops = [0.0]
    for row in range(len(starts)):
        tops.append(tops[-1] - 1 - LANE * max(lanes[name] for name in order if rows[name] == row))
    return {
        n: NodePlace(row=rows[n], column=depth[n] - starts[rows[n]], lane=lanes[n], y=tops[rows[n]] - LANE * lanes[n])
        for n in order
    }


def _row_starts(depth: Mapping[str, int], edges: Iterable[Edge]) -> list[int]:
    """The depth at which every row begins: where fewest lines have to be cut, but no row much shorter than another."""
    spans = [(depth[source], depth[target]) for source, target, _ in edges]
    starts = [0]
    while max(depth.values()) >= starts[-1] + COLUMNS:
        choices = range(starts[-1] + COLUMNS, starts[-1] + COLUMNS // 2, -1)
        starts.append(min(choices, key=lambda at: sum(a < at <= b for a, b in spans)))
    return starts


def _longest_way(depth: Mapping[str, int], before: Mapping[str, list[str]]) -> Iterable[str]:
    name: str | None = max(depth, key=lambda n: depth[n])
    while name is not None:
        yield name
        name = max(before[name], key=lambda n: depth[n], default=None)


def _draw_edge(ax: Axes, start: NodePlace, end: NodePlace, colour: str) -> None:
    """A line, an arc over what it passes by, or the beginning and the end of one that goes on in another row."""
    line = Line(color=colour, linewidth=1, zorder=1)
    if start.row != end.row:
        ax.plot([start.x, start.x + 0.45], [start.y, start.y + STUB], linestyle=":", **line)
        ax.plot([end.x - 0.45, end.x], [end.y + STUB, end.y], linestyle=":", **line)
    elif start.lane != end.lane:
        corner = max(start.x, end.x - 1) if start.lane > end.lane else min(end.x, start.x + 1)
        ax.plot([start.x, corner, end.x], [start.y, max(start, end, key=lambda p: p.lane).y, end.y], **line)
    else:
        bend = "arc3,rad=-0.25" if abs(end.column - start.column) > 1 else "arc3"
        ends = (start.x, start.y), (end.x, end.y)
        ax.add_patch(FancyArrowPatch(*ends, arrowstyle="-", connectionstyle=bend, shrinkA=0, shrinkB=0, **line))
