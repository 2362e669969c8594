"""The network as pictures of a page, SVG written by the templates: the NIR graph as it was read, and what runs.

Legend: x to the right, y downwards, both in pixels of the picture at its own size.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import nir

from deploy.execution.deployment import Deployment
from deploy.ir.integer import IntConnection
from deploy.ir.shapes import infer_shapes
from deploy.report import typeset
from deploy.report.graph_layout import (
    COLUMNS,
    LOOKS,
    OTHER,
    GraphLayout,
    NodePlace,
    kind_of,
    labels,
    of_network,
    of_nir,
)
from deploy.report.keys.report import Report
from deploy.report.keys.run import LayerSummary
from deploy.report.kinds import WORDS
from deploy.report.nodes import parameters
from svformer.common.terminal import counted

COLUMN, ROW, MARGIN, TOP = 58.0, 86.0, 34.0, 56.0
STUB = 0.12  # how far the beginning of a line that goes on elsewhere leads up, in rows
MOST_NODES = 500  # a larger picture says nothing any more, and weighs too much

Facts = tuple[tuple[str, str], ...]  # what and how much
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DrawnNode:
    """A node, and what a click on it says."""

    name: str
    x: float
    y: float
    colour: str
    marker: str  # of `deploy.report.graph_layout`
    below: tuple[str, ...]
    above: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class DrawnEdge:
    """A line."""

    path: str  # of SVG
    colour: str
    goes_on: bool  # it is only the beginning and the end of a line


@dataclass(frozen=True, kw_only=True)
class NetworkPicture:
    """A graph, ready to be drawn."""

    key: str  # its own on the page
    title: str
    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    kinds: dict[str, tuple[str, str]]  # by kind of node: colour and marker
    lines: dict[str, str]  # by kind of connection: colour
    width: float
    height: float


def network_pictures(deployment: Deployment, report: Report) -> tuple[NetworkPicture, ...]:
    """What runs, and the graph that it was made of; graphs of more than `MOST_NODES` nodes are left out."""
    after, before = of_network(deployment.integer), of_nir(deployment.graph)
    pictures = (
        _picture(
            "lowered", "What runs, after lowering", "population", after, dict(_of_populations(deployment, report))
        ),
        _picture("graph", "The NIR graph, before lowering", "node", before, dict(_of_nodes(deployment.graph))),
    )
    return tuple(picture for picture in pictures if len(picture.nodes) <= MOST_NODES)


def _of_nodes(graph: nir.NIRGraph) -> Iterator[tuple[str, Facts]]:
    shapes = infer_shapes(graph)
    for name, node in graph.nodes.items():
        facts = [("kind", type(node).__name__), ("output", typeset.size(shapes.get(name, ())))]
        if count := parameters(node):
            facts.append(("parameters", typeset.count(count)))
        yield name, tuple((what, text) for what, text in facts if text)


def _of_populations(deployment: Deployment, report: Report) -> Iterator[tuple[str, Facts]]:
    energies = report.energy.models[report.energy.convention].by_layer
    for layer in report.layers:
        facts = [
            ("kind", WORDS[layer.kind].label),
            ("shape", typeset.size(layer.shape)),
            ("hears", "; ".join(_heard(deployment.integer.into(layer.name)))),
            ("sees frame 1 at", f"time step {deployment.plan.first_step(layer.name)}"),
            *_counted(layer),
            ("energy of a clip", typeset.energy(sum(energies.get(layer.name, {}).values()))),
        ]
        yield layer.name, tuple((what, text) for what, text in facts if text)


def _counted(layer: LayerSummary) -> Iterator[tuple[str, str]]:
    """What was counted in the mean clip, where there is any."""
    if layer.neurons:
        yield "neurons", typeset.count(layer.neurons)
    if layer.rate is not None:
        yield "firing rate", typeset.percent(layer.rate, 2)
    if layer.spike_match is not None:
        yield "states as in float", typeset.percent(layer.spike_match, 2)
    for what, count in (
        ("spikes", layer.spikes),
        ("synaptic operations", layer.synaptic_ops),
        ("MACs", layer.macs),
        ("attention", layer.attention_coincidences + layer.attention_gated_adds),
    ):
        if count:
            yield what, typeset.count(count)


def _heard(connections: Iterable[IntConnection]) -> Iterator[str]:
    """What a population hears; connections that differ by their delay are one."""
    delays: dict[tuple[str, str], list[int]] = {}
    for connection in connections:
        delays.setdefault((connection.source, kind_of(connection.operation)), []).append(connection.delay)
    for (source, kind), found in delays.items():
        times = f" x{len(found)}" if len(found) > 1 else ""
        late = f", up to {counted(max(found), 'time step')} late" if max(found) else ""
        yield f"{source} ({kind}{times}{late})"


def _picture(key: str, title: str, noun: str, layout: GraphLayout, facts: Mapping[str, Facts]) -> NetworkPicture:
    places = layout.places
    stands_for = {name: (("stands for", f"{layout.multiples[name]} nodes"),) for name in places}
    nodes = [
        DrawnNode(
            name=label.name,
            x=_x(places[label.name]),
            y=_y(places[label.name].y),
            colour=LOOKS.get(layout.kinds[label.name], OTHER)[0],
            marker=LOOKS.get(layout.kinds[label.name], OTHER)[1],
            below=label.below,
            above=label.above,
            facts=facts.get(label.name, (("kind", layout.kinds[label.name]), *stands_for[label.name])),
        )
        for label in labels(layout)
    ]
    return NetworkPicture(
        key=key,
        title=f"{title}: {counted(sum(layout.multiples.values()), noun)}",
        nodes=tuple(nodes),
        edges=tuple(_edge(places[a], places[b], layout.colours[kind]) for a, b, kind in layout.edges),
        kinds={kind: LOOKS.get(kind, OTHER) for kind in dict.fromkeys(layout.kinds.values())},
        lines={kind: layout.colours[kind] for kind in dict.fromkeys(kind for _, _, kind in layout.edges if kind)},
        width=2 * MARGIN + COLUMN * min(COLUMNS - 1, max(place.column for place in places.values())),
        height=_y(layout.bottom) + MARGIN,
    )


def _x(place: NodePlace) -> float:
    return MARGIN + COLUMN * place.x


def _y(rows: float) -> float:
    return TOP - ROW * rows


def _edge(start: NodePlace, end: NodePlace, colour: str) -> DrawnEdge:
    """A line, an arc over what it passes by, or the beginning and the end of one that goes on in another row."""
    first, last = (_x(start), _y(start.y)), (_x(end), _y(end.y))
    if start.row != end.row:
        out = (first[0] + 0.45 * COLUMN, first[1] - STUB * ROW)
        into = (last[0] - 0.45 * COLUMN, last[1] - STUB * ROW)
        return DrawnEdge(path=_lines(first, out) + _lines(into, last), colour=colour, goes_on=True)
    if start.lane != end.lane:
        corner = max(start.x, end.x - 1) if start.lane > end.lane else min(end.x, start.x + 1)
        low = max(start, end, key=lambda place: place.lane)
        path = _lines(first, (MARGIN + COLUMN * corner, _y(low.y)), last)
    elif abs(end.column - start.column) == 1:
        path = _lines(first, last)
    else:
        path = _arc(first, last)
    return DrawnEdge(path=path, colour=colour, goes_on=False)


def _lines(*points: Point) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _arc(first: Point, last: Point) -> str:
    """Over what lies between, higher the farther it leads; of a node to itself, a loop above it."""
    if first == last:
        x, y = first
        return f"M{x:.1f} {y:.1f}c-16 -26 16 -26 0 0"
    height = min(0.25 * abs(last[0] - first[0]), 0.45 * ROW)
    middle = (first[0] + last[0]) / 2, first[1] - 2 * height
    return f"M{first[0]:.1f} {first[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {last[0]:.1f} {last[1]:.1f}"
