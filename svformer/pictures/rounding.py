"""What rounding costs networks: accuracy lost or won, predictions and spikes kept, a row of points for each network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from svformer.pictures.palette import LINE, SERIES, SOFT

MARKERS = "osD^vPX*"
PANELS = {
    "points": "accuracy, rounded less float, points",
    "same": "same prediction, %",
    "spikes": "spikes equal, %",
}


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A network rounded in one way."""

    way: str
    points: float | None  # of accuracy, rounded less in real numbers; None where clips have no classes
    same: float  # percent of the predictions
    spikes: float  # percent of neurons and time steps


def draw_rounding(networks: Mapping[str, Sequence[Rounded]], path: Path) -> None:
    """Write the picture as a .png file, with a panel for each figure and a line for each network."""
    figure = Figure(figsize=(10, 1.6 + 0.5 * len(networks)), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    ways = list(dict.fromkeys(found.way for rounded in networks.values() for found in rounded))
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        for number, way in enumerate(ways):
            at = [
                (value, row + 0.12 * (number - (len(ways) - 1) / 2))
                for row, rounded in enumerate(networks.values())
                for found in rounded
                if found.way == way and (value := getattr(found, name)) is not None
            ]
            style = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}
            axes.scatter([x for x, _ in at], [y for _, y in at], s=26, label=way, **style)
        axes.set_xlabel(label, color=SOFT)
        axes.grid(axis="x", color=LINE)
        axes.set_axisbelow(True)
    panels[0].axvline(0, color=SOFT, linewidth=1)
    panels[0].set_yticks(range(len(networks)), list(networks))
    panels[0].invert_yaxis()
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
