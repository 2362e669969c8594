"""A network spread over cores: every layer on cores of its own, as many as the rule of `hardware.fit` says.

The neurons of a layer are dealt out evenly, in the order of pixels (all channels of a position lie together) or of
channels. It is the plain placement that energy and time of single units are counted on (`hardware.placed`); axons of a
core are not limited here, as they are in `hardware.placement`, which has none for the largest networks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hardware.chip import Chip, Limits, Mesh
from hardware.errors import ChipError
from hardware.fit import fit
from hardware.placement import tile_place
from hardware.resources import LayerResources, Shape

Order = Literal["pixel", "channel"]
ORDERS: tuple[Order, ...] = get_args(Order)
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Cores of every population, one population after the other."""

    chip: Chip
    order: Order
    shapes: dict[str, Shape]
    numbers: dict[str, int]  # cores of every population

    @cached_property
    def first(self) -> dict[str, int]:
        """The first core of every population."""
        starts = np.cumsum([0, *self.numbers.values()])
        return {name: int(start) for name, start in zip(self.numbers, starts[:-1], strict=True)}

    @property
    def cores(self) -> int:
        return sum(self.numbers.values())

    @property
    def chips(self) -> int:
        return -(-self.cores // self._limits.cores.value)

    @property
    def room(self) -> int:
        """Cores of the chips that are used."""
        return self.chips * self._limits.cores.value

    @property
    def tiles(self) -> int:
        """Tiles with a core in use, on all chips."""
        per_tile, per_chip = self._mesh.cores.value, self._limits.cores.value
        full, rest = divmod(self.cores, per_chip)
        return full * (per_chip // per_tile) + -(-rest // per_tile)

    def cores_of(self, name: str) -> IntArray:
        """Core of every neuron of a population, from its own first one; [neurons] in the order C, H, W."""
        shape = self.shapes[name]
        numbers = np.arange(int(np.prod(shape))).reshape(shape)
        ordered = numbers.transpose(1, 2, 0) if self.order == "pixel" else numbers
        found = np.empty(numbers.size, dtype=np.int64)
        for core, part in enumerate(np.array_split(ordered.ravel(), self.numbers[name])):
            found[part] = core
        return found

    def places(self, name: str) -> IntArray:
        """Column and row of every core of a population, [cores, 2]; the chips lie side by side in one row."""
        return self._places[self.first[name] : self.first[name] + self.numbers[name]]

    def chips_of(self, name: str) -> IntArray:
        """Chip of every core of a population."""
        return (self.first[name] + np.arange(self.numbers[name])) // self._limits.cores.value

    def with_one_more(self, name: str) -> "Spread":
        """The same with another core for one population."""
        return replace(self, numbers={**self.numbers, name: self.numbers[name] + 1})

    @cached_property
    def _places(self) -> IntArray:
        columns, per_tile = self._mesh.columns.value, self._mesh.cores.value
        found = []
        for core in range(self.cores):
            chip, within = divmod(core, self._limits.cores.value)
            column, row = tile_place(within // per_tile, columns)
            found.append((chip * columns + column, row))
        return np.array(found, dtype=np.int64)

    @property
    def _limits(self) -> Limits:
        assert self.chip.limits is not None  # of a chip with events
        return self.chip.limits

    @property
    def _mesh(self) -> Mesh:
        assert self.chip.mesh is not None
        return self.chip.mesh


def spread(layers: Iterable[LayerResources], entries: Mapping[str, Shape], chip: Chip, order: Order) -> Spread:
    """Deal out the neurons of every layer, and of the `entries` (the inputs of the network) before them.

    An entry takes as many cores as its values fill by the neurons of a core, a layer those of `fit`. Raises ChipError
    for a chip without times, and for a network without layers.
    """
    layers = list(layers)
    if not chip.events or chip.limits is None:
        raise ChipError(f"{chip.title} has no times: {chip.why_no_times}; nothing to place a network on")
    held = chip.limits.neurons.value
    taken = {name: -(-int(np.prod(shape)) // held) for name, shape in entries.items()}
    neurons = {layer.name: layer.neurons for layer in layers}
    fitted = {found.name: min(found.cores, neurons[found.name]) for found in fit(layers, chip).layers}
    shapes = {**entries, **{layer.name: layer.shape for layer in layers}}
    return Spread(chip=chip, order=order, shapes=dict(shapes), numbers={**taken, **fitted})
