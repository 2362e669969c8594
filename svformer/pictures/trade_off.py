"""Accuracy against energy: networks as points, those that no other beats in both joined by a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svformer.pictures.palette import BLUE, SOFT, VERMILLION


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network: its name, the energy of a clip in mJ, and its accuracy from 0 to 1."""

    name: str
    energy_mj: float
    accuracy: float


def best(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in energy and accuracy, by rising energy."""
    front = list[Point]()
    for point in sorted(points, key=lambda p: (p.energy_mj, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def draw_trade_off(ours: Sequence[Point], published: Sequence[Point], path: Path, *, theirs: str) -> None:
    """Write the picture as a .png file; `published` are points of other measurements, which `theirs` describes."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    front = best(ours)
    axes.plot([p.energy_mj for p in front], [100 * p.accuracy for p in front], color=SOFT, linewidth=1, zorder=1)
    _marked(axes, ours, "measured here", facecolors=BLUE, edgecolors=BLUE)
    _marked(axes, published, theirs, facecolors="none", edgecolors=VERMILLION)
    axes.set_xscale("log")
    axes.set(xlabel="energy of a clip, weighted layers, 45 nm FP32, mJ", ylabel="top-1, %")
    axes.margins(x=0.3, y=0.1)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _marked(axes: Axes, points: Sequence[Point], label: str, *, facecolors: str, edgecolors: str) -> None:
    x, y = [p.energy_mj for p in points], [100 * p.accuracy for p in points]
    axes.scatter(x, y, s=36, label=label, facecolors=facecolors, edgecolors=edgecolors, zorder=2)
    for point in points:
        at = (point.energy_mj, 100 * point.accuracy)
        axes.annotate(point.name, at, xytext=(3, 4), textcoords="offset points", fontsize=6, color=SOFT, rotation=20)
