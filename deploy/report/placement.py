"""The placement of a network on one chip, as report.json has it."""

from collections.abc import Iterable, Mapping

from deploy.report.keys.placement import MeshSummary, PlacedCore, PlacedPart, PlacementSummary
from hardware import Chip, LayerResources, place, traffic
from hardware.chip import Mesh
from hardware.cutting import Slice
from hardware.placement import Core

DIGITS = 4  # of a share


def placed(layers: Iterable[LayerResources], chip: Chip, sent: Mapping[str, float] | None = None) -> PlacementSummary:
    """Every neuron in a core; `sent` are the messages of every population in the mean clip, where they are known.

    Raises ChipError where one neuron asks for more than a core has.
    """
    found = place(layers, chip)
    return PlacementSummary(
        cores=len(found.cores),
        chips=found.chips,
        least_cores=found.least_cores,
        method=found.method,
        fill=_rounded(found.fill),
        mesh=None if chip.mesh is None else _mesh(chip.mesh),
        traffic=None if sent is None else traffic(found, chip, sent),
        map=tuple(map(_core, found.cores)),
    )


def _mesh(mesh: Mesh) -> MeshSummary:
    return MeshSummary(
        columns=mesh.columns.value,
        rows=mesh.rows.value,
        cores_per_tile=mesh.cores.value,
        source=f"{mesh.columns.origin}; cores of a tile: {mesh.cores.origin}",
    )


def _core(core: Core) -> PlacedCore:
    column, row = core.place or (None, None)
    return PlacedCore(
        chip=core.chip, column=column, row=row, fill=_rounded(core.fill), parts=tuple(map(_part, core.slices))
    )


def _part(found: Slice) -> PlacedPart:
    part = found.part
    return PlacedPart(
        layer=found.layer.name,
        delay=found.layer.delay_step,
        channels=(part.first_channel, part.channels),
        positions=(part.first_position, part.positions),
        neurons=part.neurons,
    )


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, DIGITS) for name, share in shares.items()}
