"""The map of a placement: every core as a cell of its chip's mesh, filled by the stages of the network that it holds.

A stage is the part of a layer's name before its first dot. Lengths are in widths of a tile, from the upper left corner
of a chip; the page and `deploy.report.charts.core_map` draw them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.report.keys.placement import MeshSummary, PlacedCore, PlacementSummary
from deploy.report.typeset import percent

GAP = 0.06  # around a core
COLOURS = 9  # stages with a colour of their own; smaller ones share the next
OTHERS = "others"
CHIPS_DRAWN = 24  # of a placement


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of the map."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Filling(Box):
    """The part of a cell that one part of a layer takes, as high as its share of the core's neurons."""

    colour: int
    held_back: bool  # relays of a delay line


@dataclass(frozen=True, kw_only=True)
class Cell(Box):
    """A core."""

    title: str
    fillings: tuple[Filling, ...]


@dataclass(frozen=True, kw_only=True)
class ChipMap:
    """A chip: its cores that are used, and the places of the others."""

    number: int  # from 0
    cells: tuple[Cell, ...]
    free: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class CoreMap:
    """All that is drawn of one placement."""

    columns: int
    rows: int
    chips: tuple[ChipMap, ...]
    left_out: int  # chips that are not drawn
    stages: dict[str, int]  # by stage: its colour


def core_map(placement: PlacementSummary) -> CoreMap | None:
    """The map of a placement; None where the chip file has no mesh."""
    mesh = placement.mesh
    if mesh is None:
        return None
    stages = _stages(placement)
    of_chip: dict[int, list[PlacedCore]] = {}
    for core in placement.map:
        of_chip.setdefault(core.chip, []).append(core)
    chips = [_chip(number, cores, mesh, stages) for number, cores in of_chip.items()]
    named = {stage: colour for stage, colour in stages.items() if colour < COLOURS}
    if len(named) < len(stages):
        named[OTHERS] = COLOURS
    return CoreMap(
        columns=mesh.columns,
        rows=mesh.rows,
        chips=tuple(chips[:CHIPS_DRAWN]),
        left_out=len(chips[CHIPS_DRAWN:]),
        stages=named,
    )


def stage_of(layer: str) -> str:
    """The part of a layer's name before its first dot."""
    return layer.partition(".")[0]


def _stages(placement: PlacementSummary) -> dict[str, int]:
    """Colours by stage, in order of execution: one each for those with the most neurons, the next for all others."""
    neurons: dict[str, int] = {}
    for core in placement.map:
        for part in core.parts:
            stage = stage_of(part.layer)
            neurons[stage] = neurons.get(stage, 0) + part.neurons
    largest = sorted(neurons, key=lambda stage: -neurons[stage])[:COLOURS]
    coloured = [stage for stage in neurons if stage in largest]
    return {stage: coloured.index(stage) if stage in largest else COLOURS for stage in neurons}


def _chip(number: int, cores: list[PlacedCore], mesh: MeshSummary, stages: dict[str, int]) -> ChipMap:
    places = _places(mesh)
    waiting: dict[tuple[int, int], Iterator[Box]] = {tile: iter(boxes) for tile, boxes in places.items()}
    cells = tuple(_cell(core, next(waiting[core.column or 0, core.row or 0]), stages) for core in cores)
    return ChipMap(number=number, cells=cells, free=tuple(box for left in waiting.values() for box in left))


def _places(mesh: MeshSummary) -> dict[tuple[int, int], list[Box]]:
    """By column and row of a tile: the places of its cores, in rows and columns of the tile."""
    across = math.ceil(math.sqrt(mesh.cores_per_tile))
    side = 1 / across
    return {
        (column, row): [
            Box(
                x=column + side * (core % across) + GAP * side,
                y=row + side * (core // across) + GAP * side,
                width=side * (1 - 2 * GAP),
                height=side * (1 - 2 * GAP),
            )
            for core in range(mesh.cores_per_tile)
        ]
        for row in range(mesh.rows)
        for column in range(mesh.columns)
    }


def _cell(core: PlacedCore, box: Box, stages: dict[str, int]) -> Cell:
    return Cell(**vars(box), title=_title(core), fillings=tuple(_fillings(core, box, stages)))


def _fillings(core: PlacedCore, box: Box, stages: dict[str, int]) -> Iterator[Filling]:
    """From the ground up, the share of the core's neurons that each part takes."""
    neurons = sum(part.neurons for part in core.parts)
    bottom = box.y + box.height
    for part in core.parts:
        height = box.height * core.fill["neurons"] * part.neurons / neurons
        bottom -= height
        yield Filling(
            x=box.x,
            y=bottom,
            width=box.width,
            height=height,
            colour=stages[stage_of(part.layer)],
            held_back=part.delay > 0,
        )


def _title(core: PlacedCore) -> str:
    """What a core holds, and how full its limits are, in lines."""
    parts = (
        f"{part.layer}{f', {part.delay} steps late' if part.delay else ''}: {part.neurons:,} neurons"
        for part in core.parts
    )
    fill = ", ".join(f"{limit.replace('_', ' ')} {percent(share)}" for limit, share in core.fill.items() if share)
    return "\n".join([f"column {core.column}, row {core.row}: {fill}", *parts])
