"""Graphs as pictures of matplotlib: NIR graphs and lowered networks (`deploy.report.graph_layout`)."""

from typing import TypedDict

import nir
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from deploy.ir.network import Network
from deploy.report.graph_layout import (
    COLUMNS,
    LOOKS,
    OTHER,
    GraphLayout,
    NodePlace,
    labels,
    of_network,
    of_nir,
)
from svformer.pictures.palette import INK, SOFT
from svformer.pictures.plot import SMALL, new_axes

ROW_INCHES = 1.15
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # the box behind a name that lines may cross
STUB = 0.12  # how far the beginning of a line that goes on elsewhere leads up, in rows


class Line(TypedDict):
    """How a line looks."""

    color: str
    linewidth: float
    zorder: int


def nir_graph(graph: nir.NIRGraph, ax: Axes | None = None) -> Axes:
    """Draw the nodes of a NIR graph, by kind."""
    return draw(of_nir(graph), ax)


def network(lowered: Network, ax: Axes | None = None) -> Axes:
    """Draw the populations of a network, by kind, and what its connections do, by colour."""
    return draw(of_network(lowered), ax)


def draw(layout: GraphLayout, ax: Axes | None = None) -> Axes:
    """Draw a graph, its kinds and connections in a legend."""
    kinds, places = layout.kinds, layout.places
    bottom = layout.bottom - 0.45
    ax = new_axes(ax, height=0.3 + ROW_INCHES * (0.5 - bottom))
    for source, target, kind in layout.edges:
        _draw_edge(ax, places[source], places[target], layout.colours[kind])
    for kind in dict.fromkeys(kinds.values()):
        colour, marker = LOOKS.get(kind, OTHER)
        chosen = [places[name] for name in kinds if kinds[name] == kind]
        xy = [p.x for p in chosen], [p.y for p in chosen]
        ax.plot(*xy, marker, color=colour, markersize=8, markeredgecolor="white", label=kind, zorder=3)
    for kind in dict.fromkeys(kind for _, _, kind in layout.edges if kind):
        ax.plot([], [], color=layout.colours[kind], label=kind)
    _label(ax, layout)
    ax.set(xlim=(-0.8, COLUMNS - 0.2), ylim=(bottom, 0.5))
    ax.axis("off")
    ax.legend(ncols=len(LOOKS), loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=SMALL)
    return ax


def _label(ax: Axes, layout: GraphLayout) -> None:
    for label in labels(layout):
        place = layout.places[label.name]
        if label.above:
            ax.text(place.x - 0.1, place.y + 0.33, label.above, fontsize=SMALL, color=SOFT, bbox=BEHIND)
        below = "\n".join(label.below)
        ax.text(place.x, place.y - 0.1, below, ha="center", va="top", fontsize=SMALL - 1, color=INK)


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
