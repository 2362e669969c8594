"""Pictures of a deployed network: its pipeline, what quantisation changed, operations and energy.

Every function draws into `ax` (a new one where it is None) and returns it. `deploy.report.graphs` draws graphs,
`svformer.pictures.plot`, whose style and colours these have, what a network does with a clip.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from deploy.gates.agreement import Agreement
from deploy.ir.plan import Plan
from deploy.report import core_map as core_maps
from deploy.report.keys.placement import PlacementSummary
from hardware import OpCounts
from hardware.causes import PARTS, RULES, memory_as_one
from hardware.energy import EnergyBreakdown
from svformer.pictures.palette import BLUE, CAUSES, GREY, INK, LINE, ORANGE, SERIES, SOFT, VERMILLION
from svformer.pictures.plot import SMALL, new_axes

UJ_PER_MJ = 1e3
COUNTED = {  # parts of the ledger that are operations, by the rule that counts them
    rule.part: rule for rule in RULES if not (rule.memory or rule.drawn_with or rule.figure == "spike")
}
ROUNDED_FROM_UJ = 100.0  # labels of larger energies have no decimals
HELD_BACK = 0.45  # opacity of relays that hold messages back
BOTH, FIRST, SECOND = INK, ORANGE, BLUE  # where both of two recordings fire, only the first, only the second


def _height(rows: int) -> float:
    """Inches of a chart with `rows` lines of text, and room for a legend."""
    return 1.0 + max(1.2, 0.17 * rows)


def _rows(ax: Axes) -> None:
    """The y axis holds names, the first on top."""
    ax.tick_params(axis="y", labelsize=SMALL, length=0)
    ax.invert_yaxis()
    ax.margins(y=0.01)


def pipeline(plan: Plan, ax: Axes | None = None, *, clips: int = 2) -> Axes:
    """When every population (rows) works on which clip: a diagonal, since every synapse takes one time step."""
    names, starts = list(plan.depths), np.array([plan.first_step(name) for name in plan.depths])
    ax = new_axes(ax, height=_height(len(names)))
    for clip in range(clips):
        colour, first = SERIES[clip % len(SERIES)], starts + clip * plan.frames
        ax.barh(names, plan.frames - 0.2, left=first - 0.4, color=colour, alpha=0.3)
        ax.plot(first, names, "o", color=colour, markersize=5, label=f"frame 1 of clip {clip + 1}: neurons are reset")
    ax.set(xlabel="time step", xlim=(0, plan.steps(clips) + 1))
    _rows(ax)
    ax.legend(loc="upper right")
    return ax


def difference(first_TN: NDArray[Any], second_TN: NDArray[Any], ax: Axes | None = None) -> Axes:
    """Two recordings of the same neurons in one raster: ink where both fire, a colour where only one does."""
    ax = new_axes(ax)
    which = (first_TN != 0) + 2 * (second_TN != 0)
    colours = ListedColormap(["white", FIRST, SECOND, BOTH])
    extent = (0.5, len(which) + 0.5, which.shape[1] + 0.5, 0.5)
    ax.imshow(which.T, cmap=colours, vmin=0, vmax=3, aspect="auto", extent=extent)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="time step", yticks=[])
    return ax


def agreement(layers: Mapping[str, Agreement], ax: Axes | None = None) -> Axes:
    """Share of the values of every layer that two executions do not have in common."""
    ax = new_axes(ax, height=_height(len(layers)))
    ax.barh(list(layers), [100 * (1 - found.share) for found in layers.values()], color=GREY)
    ax.set_xlabel("values that differ, %")
    _rows(ax)
    return ax


def pairs(rows: Mapping[str, tuple[float, float]], names: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Two values a row, as a ring and a dot: where they are equal, the dot is in the ring."""
    ax = new_axes(ax, height=_height(len(rows)))
    rings, dots = ([pair[i] for pair in rows.values()] for i in range(2))
    ax.plot(rings, list(rows), "o", color=BLUE, markersize=8, fillstyle="none", label=names[0])
    ax.plot(dots, list(rows), "o", color=INK, markersize=3.5, label=names[1])
    ax.grid(axis="y", color=LINE, linewidth=0.6)
    ax.set_xlim(left=0)
    _rows(ax)
    ax.set_ylim(len(rows) - 0.4, -0.6)  # rings are not cut
    ax.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def operations(counts: Mapping[str, OpCounts], ax: Axes | None = None) -> Axes:
    """Operations of every population and of the synapses that end in it, kind by kind."""
    ax = new_axes(ax, height=_height(len(counts)))
    amounts = {
        name: {part: float(rule.count(count)) for part, rule in COUNTED.items()} for name, count in counts.items()
    }
    _stacked(ax, amounts, _colours(amounts))
    ax.set_xlabel("operations")
    ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.legend(handles=_legend(amounts), loc="lower right")
    return ax


def energy_bars(energies: Mapping[str, EnergyBreakdown], ax: Axes | None = None) -> Axes:
    """Microjoule by cause, a bar for each row; hatched where the figure of a synaptic operation stands in."""
    ax = new_axes(ax, height=_height(2 * len(energies)))
    parts = {name: by_part_uj(energy) for name, energy in energies.items()}
    stand_ins = {(name, cause.cause) for name, energy in energies.items() for cause in energy.causes if cause.stand_in}
    _stacked(ax, parts, _colours(parts), hatched=stand_ins)
    for name, causes in parts.items():
        uj = sum(causes.values())
        ax.annotate(f" {uj:,.0f} µJ" if uj >= ROUNDED_FROM_UJ else f" {uj:.3g} µJ", (uj, name), va="center")
    ax.set_xlabel("microjoule")
    ax.margins(x=0.12)
    ax.legend(handles=_legend(parts), ncols=4, loc="lower left", bbox_to_anchor=(0, 1), handlelength=1)
    return ax


def by_part_uj(energy: EnergyBreakdown) -> dict[str, float]:
    """Microjoule of every part, with all that memory costs as one."""
    return {part: mj * UJ_PER_MJ for part, mj in memory_as_one(energy.by_cause_mj()).items()}


def ledger(terms: Mapping[str, float], ax: Axes | None = None, *, target: float | None = None) -> Axes:
    """Terms that are added up one after the other: each bar begins where the one before ended; a line at `target`."""
    ax = new_axes(ax, height=_height(2 * len(terms)))
    sums = np.cumsum([0.0, *terms.values()])
    ax.barh(list(terms), list(terms.values()), left=sums[:-1], color=BLUE)
    for name, end in zip(terms, sums[1:], strict=True):
        ax.annotate(f" {end:.2f}", (end, name), va="center", color=SOFT)
    if target is not None:
        ax.axvline(target, color=VERMILLION, linewidth=1.5)
        ax.annotate(f"{target:g} ", (target, 0), ha="right", va="center", color=VERMILLION)
    ax.set(xlim=(0, 1.08 * max([*sums, target or 0.0])))
    _rows(ax)
    return ax


def cores(by_chip: Mapping[str, Mapping[str, int]], ax: Axes | None = None) -> Axes:
    """Cores that every layer (rows) asks of each chip."""
    rows = list(dict.fromkeys(name for layers in by_chip.values() for name in layers))
    ax = new_axes(ax, height=_height(len(rows)))
    thick = 0.8 / len(by_chip)
    for i, (chip, layers) in enumerate(by_chip.items()):
        at = np.arange(len(rows)) + (i - (len(by_chip) - 1) / 2) * thick
        ax.barh(at, [layers.get(name, 0) for name in rows], height=thick, color=SERIES[i], label=chip)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel("cores")
    _rows(ax)
    ax.legend(loc="lower right")
    return ax


def core_map(placement: PlacementSummary, ax: Axes | None = None) -> Axes:
    """Cores of all chips, one below the other, as cells of their mesh, filled by the stages that they hold."""
    found = core_maps.core_map(placement)
    if found is None:
        raise ValueError("the chip file has no mesh, so no core has a place")
    ax = new_axes(ax, height=0.5 + 0.5 * found.rows * len(found.chips))
    for chip in found.chips:
        top = chip.number * (found.rows + 0.5)
        for boxes, colour in ((chip.free, "none"), (chip.cells, LINE)):
            for box in boxes:
                place = (box.x, top + box.y)
                ax.add_patch(Rectangle(place, box.width, box.height, facecolor=colour, edgecolor=LINE))
        for part in (part for cell in chip.cells for part in cell.fillings):
            where, alpha = (part.x, top + part.y), HELD_BACK if part.held_back else 1.0
            colour = CAUSES[part.colour]
            ax.add_patch(Rectangle(where, part.width, part.height, color=colour, alpha=alpha, linewidth=0))
    ax.set(xlim=(0, found.columns), ylim=(len(found.chips) * (found.rows + 0.5), 0), aspect="equal")
    ax.set_axis_off()
    handles = [Patch(color=CAUSES[colour], label=stage) for stage, colour in found.stages.items()]
    ax.legend(handles=handles, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), handlelength=1)
    return ax


def _colours(parts: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Colours of the parts that are anything in any row, in the order of the palette."""
    present = {part for row in parts.values() for part, amount in row.items() if amount}
    ordered = sorted(present, key=lambda part: PARTS[part].colour)
    return {part: CAUSES[PARTS[part].colour] for part in ordered}


def _legend(parts: Mapping[str, Mapping[str, float]]) -> list[Patch]:
    return [Patch(color=colour, label=PARTS[part].label) for part, colour in _colours(parts).items()]


def _stacked(
    ax: Axes,
    amounts: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    *,
    hatched: Collection[tuple[str, str]] = (),
) -> None:
    """A horizontal bar for every row, its kinds side by side; `hatched` are (row, kind)."""
    left = np.zeros(len(amounts))
    for kind, colour in colours.items():
        width = np.array([row.get(kind, 0.0) for row in amounts.values()])
        bars = ax.barh(list(amounts), width, left=left, color=colour)
        for row, bar in zip(amounts, bars, strict=True):
            if (row, kind) in hatched:
                bar.set(hatch="////", edgecolor="white")
        left += width
    _rows(ax)
