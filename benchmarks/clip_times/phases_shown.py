"""The tables and the picture of `layer_times.py`."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from clip_times.phases import PHASES
from svformer.common.files import atomic_path
from svformer.common.terminal import print_wide
from svformer.pictures.palette import BLUE, GREEN, GREY, ORANGE, VERMILLION

REST = "Lava and waiting"
COLOURS = dict(zip((*PHASES, REST), (BLUE, ORANGE, GREEN, VERMILLION, GREY), strict=True))
LISTED = 15  # layers that take the most


def print_result(found: dict[str, Any], console: Console) -> None:
    """Sums over all layers for each number of cores, and the layers that take the most of one core."""
    sums = Table("cores", *COLOURS, "CPU, all", "passed", title="milliseconds a clip", title_style="bold")
    for run in found["runs"]:
        used = [run["ms"][phase] for phase in COLOURS]
        sums.add_row(str(run["cores"]), *(f"{ms:.2f}" for ms in (*used, sum(used), run["passed_ms"])))
    print_wide(sums, console)
    one, total = found["runs"][0], sum(found["runs"][0]["ms"][phase] for phase in PHASES)
    layers = Table("layer", "neurons", *PHASES, "all", "share, %", "kernels", title="one core, milliseconds a clip")
    for layer in sorted(one["layers"], key=_all_ms, reverse=True)[:LISTED]:
        numbers = [f"{layer['ms'][phase]:.3f}" for phase in PHASES]
        share = f"{100 * _all_ms(layer) / total:.1f}"
        layers.add_row(
            layer["name"],
            f"{layer['neurons']:,}",
            *numbers,
            f"{_all_ms(layer):.3f}",
            share,
            ", ".join(layer["kernels"]),
        )
    print_wide(layers, console)
    console.print(_where(found))


def _all_ms(layer: dict[str, Any]) -> float:
    return sum(layer["ms"].values())


def draw(found: dict[str, Any], path: Path) -> None:
    """Above, what each number of cores spends; below, all layers of one core in the order of the network."""
    layers = found["runs"][0]["layers"]
    figure = Figure(figsize=(10, 2.4 + 0.17 * len(layers)), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[0.35 * len(found["runs"]), 0.17 * len(layers)])
    names = [f"{run['cores']} core{'s' if run['cores'] > 1 else ''}" for run in found["runs"]]
    _stacked(above, names, [run["ms"] for run in found["runs"]])
    _stacked(below, [layer["name"] for layer in layers], [layer["ms"] for layer in layers])
    above.set_xlabel("milliseconds a clip on all cores of the run: CPU time of the layers, and the rest")
    below.set_xlabel("milliseconds of CPU time a clip, one core")
    above.legend(frameon=False, fontsize="small", ncols=len(COLOURS), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.suptitle(_where(found), fontsize="medium")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix("."))


def _stacked(ax: Any, names: list[str], parts: list[dict[str, float]]) -> None:
    left = [0.0] * len(names)
    for phase, colour in COLOURS.items():
        widths = [part.get(phase, 0.0) for part in parts]
        if phase in parts[0]:
            ax.barh(range(len(names)), widths, left=left, color=colour, label=phase)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)


def _where(found: dict[str, Any]) -> str:
    made = found["provenance"]
    what = (
        f"{found['preset']}, --merge {found['merge']}, {found['clips']} clips streamed, recorded: {found['recorded']}"
    )
    return f"{what}; {made['processor']}, {made['date']}, commit {made['commit']}"
