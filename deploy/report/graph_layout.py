"""Where the nodes of a graph stand in a picture, from left to right in rows, as a text is read.

A node stands in the column of its longest way from the input; the longest way of all is the top line of its row, what
runs beside it stands below. Many side by side that differ by a number alone (one for every frame) are one.
"""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import nir

from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network
from deploy.ir.operations.base import IntOperation, Operation
from deploy.ir.shapes import execution_order
from svformer.pictures.palette import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, SKY, SOFT, VERMILLION

COLUMNS = 18  # columns in a row
LANE = 0.5  # distance of what runs side by side, in rows
LETTER = 0.09  # width of a letter of a block's name, in columns
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
INTEGER = re.compile("^Int(?=[A-Z])")  # of the kinds in integers: IntLif, IntConvolution
# By operation of a connection; all others pass values on.
WEIGHTED, MULTIPLIED, PASSED_ON = BLUE, ORANGE, SOFT  # connections: with weights, products of signals, all others

EVERYWHERE = {"": PASSED_ON}  # edges between nodes are of no kind

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


@dataclass(frozen=True, kw_only=True)
class GraphLayout:
    """A graph with every node at its place."""

    kinds: dict[str, str]  # by node
    edges: tuple[Edge, ...]
    places: dict[str, NodePlace]
    multiples: Mapping[str, int]  # how many nodes each one stands for
    colours: Mapping[str, str]  # of edges, by kind

    @property
    def bottom(self) -> float:
        """The height of the lowest node, in rows of one line."""
        return min(place.y for place in self.places.values())


def of_nir(graph: nir.NIRGraph) -> GraphLayout:
    """The nodes of a NIR graph, by kind."""
    order = [name for name in execution_order(graph) if name in graph.nodes]
    kinds = {name: type(graph.nodes[name]).__name__ for name in order}
    return laid_out(kinds, [(a, b, "") for a, b in graph.edges])


def of_network(network: Network | IntNetwork) -> GraphLayout:
    """The populations of a network, by kind, and what its connections do; those in integers are of the same kinds."""
    kinds = {name: kind_of(population) for name, population in network.populations.items()}
    colours = {kind_of(c.operation): _colour(c.operation) for c in network.connections}
    return laid_out(kinds, [(c.source, c.target, kind_of(c.operation)) for c in network.connections], colours)


def _colour(operation: Operation | IntOperation) -> str:
    if operation.geometry.multiplies_signals:
        return MULTIPLIED
    return WEIGHTED if operation.weights else PASSED_ON


def kind_of(part: object) -> str:
    """The kind of a population or operation."""
    name = type(part).__name__
    return INTEGER.sub("", name)


def laid_out(kinds: Mapping[str, str], edges: Sequence[Edge], colours: Mapping[str, str] = EVERYWHERE) -> GraphLayout:
    """A graph whose nodes stand in order of execution; `colours` are those of its edges, by kind."""
    shown, joined, multiples = folded(kinds, edges)
    places = placed(list(shown), joined)
    return GraphLayout(kinds=shown, edges=tuple(joined), places=places, multiples=multiples, colours=colours)


@dataclass(frozen=True, kw_only=True)
class Label:
    """What stands beside a node."""

    name: str
    below: tuple[str, ...]  # lines
    above: str  # the block that begins here; empty where none is named


def labels(layout: GraphLayout) -> Iterator[Label]:
    """The last part of a name stands below its node; what comes before it, the block, at the block's first node.

    In the top line of a row a block's name is left out where the one before it is still being read.
    """
    blocks: dict[int, str] = {}
    ends: dict[int, float] = {}  # by row: where the last block's name ends
    for name, place in layout.places.items():
        block, last = split_name(name)
        below, above = [f"{last} x{layout.multiples[name]}" if layout.multiples[name] > 1 else last], ""
        if blocks.get(place.lane) != block and place.lane:
            below.append(block)
        elif blocks.get(place.lane) != block and ends.get(place.row, 0.0) <= place.x:
            ends[place.row] = place.x + LETTER * len(block)
            above = block
        blocks[place.lane] = block
        yield Label(name=name, below=tuple(below), above=above)


def split_name(name: str) -> tuple[str, str]:
    """Block and last part of a name; of a layer that is several ("a.q.lif+a.v.lif"), the block of all."""
    blocks, lasts = zip(*(part.rpartition(".")[::2] for part in name.split("+")), strict=True)
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*(block.split(".") for block in blocks), strict=False))
    return ".".join(parts[0] for parts in common), "+".join(dict.fromkeys(lasts))


def folded(kinds: Mapping[str, str], edges: Sequence[Edge]) -> tuple[dict[str, str], list[Edge], Counter[str]]:
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


def placed(order: Sequence[str], edges: Iterable[Edge]) -> dict[str, NodePlace]:
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
