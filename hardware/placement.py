"""A placement: which core of which chip holds which neurons of which layer.

Layers, and the relays of delay lines where a chip needs them, are cut into parts that a core can hold
(`hardware.cutting`), and the parts are packed into cores (`hardware.packing`): small layers share cores. Cores are
numbered in the order of their first layer and lie on the mesh row by row, every other row backwards, so that layers
that follow each other are neighbours. Which core lies where is our choice; no core of the chip is broken.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hardware.chip import Chip, Limits, Mesh
from hardware.cutting import Slice, cut
from hardware.demand import capacity, together
from hardware.errors import ChipError
from hardware.packing import Method, pack
from hardware.resources import LayerResources, relays

SOLVER_NODES = 100  # of its search tree that the solver may look at


@dataclass(frozen=True, kw_only=True)
class Core:
    """A core and the parts of layers that it holds."""

    chip: int  # from 0
    place: tuple[int, int] | None  # column and row of its tile; None where the chip file has no mesh
    slices: tuple[Slice, ...]
    fill: dict[str, float]  # by limit: the share that is taken

    @property
    def fullest(self) -> float:
        return max(self.fill.values())


@dataclass(frozen=True, kw_only=True)
class Placement:
    """All cores that a network takes."""

    cores: tuple[Core, ...]
    method: Method  # that found which parts share a core
    least_cores: int  # no packing of these parts takes fewer

    @property
    def chips(self) -> int:
        return self.cores[-1].chip + 1

    @property
    def optimal(self) -> bool:
        """Whether these parts are proven to need as many cores; other parts might need fewer."""
        return len(self.cores) == self.least_cores

    @property
    def fill(self) -> dict[str, float]:
        """By limit: the mean share of a core that is taken."""
        return {limit: float(np.mean([core.fill[limit] for core in self.cores])) for limit in self.cores[0].fill}


def place(layers: Iterable[LayerResources], chip: Chip, *, solver_nodes: int = SOLVER_NODES) -> Placement:
    """Place every neuron once, within all limits that the chip file gives.

    Raises ChipError for a chip without limits, for a network without layers, and where one neuron asks for more than
    a core has.
    """
    if chip.limits is None:
        raise ChipError(f"{chip.title} has no limits in its chip file: nothing to place a network on")
    slices = [found for layer in in_order(layers, chip) for found in cut(layer, chip, chip.limits)]
    if not slices:
        raise ChipError("no layers to place")
    held = capacity(chip.limits)
    sizes = np.array([[found.asked[limit] for limit in held] for found in slices])
    packing = pack(sizes, np.array(list(held.values())), solver_nodes=solver_nodes)
    bins = sorted(sorted(items) for items in packing.bins)
    cores = tuple(
        _core(index, tuple(slices[item] for item in items), chip.mesh, chip.limits) for index, items in enumerate(bins)
    )
    return Placement(cores=cores, method=packing.method, least_cores=packing.least)


def in_order(layers: Iterable[LayerResources], chip: Chip) -> Iterator[LayerResources]:
    """Every layer, and behind it the relays that hold its messages back; those of the input come first."""
    layers = list(layers)
    lines = {line.source: line.steps for line in relays(layers)} if chip.traits.relayed_delays else {}
    names = {layer.name for layer in layers}
    yield from (step for source, steps in lines.items() if source not in names for step in steps)
    for layer in layers:
        yield layer
        yield from lines.get(layer.name, ())


def _core(index: int, slices: tuple[Slice, ...], mesh: Mesh | None, limits: Limits) -> Core:
    chip, within = divmod(index, limits.cores.value)
    asked = together(found.asked for found in slices)
    return Core(
        chip=chip,
        place=None if mesh is None else tile_place(within // mesh.cores.value, mesh.columns.value),
        slices=slices,
        fill={limit: asked[limit] / amount for limit, amount in capacity(limits).items()},
    )


def tile_place(tile: int, columns: int) -> tuple[int, int]:
    """Column and row of a tile: row by row, every other row backwards."""
    row, column = divmod(tile, columns)
    return (column if row % 2 == 0 else columns - 1 - column), row
