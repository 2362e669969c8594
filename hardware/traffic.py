"""Messages between the cores of a placement, and how far they go.

A message of a neuron goes once to every core that holds a part of the connection's target that it reaches; where
delays are relays, it goes from relay to relay first. All neurons of a layer are taken to send equally often. Distances
are those of a mesh whose messages go along rows and columns; the chips are taken to lie side by side in one row, since
how they are joined depends on the board. The input of the network comes from outside and is not counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware.chip import Chip, Mesh
from hardware.geometry import Geometry, IdentityGeometry
from hardware.keys import key
from hardware.placement import Core, Placement
from hardware.resources import LayerResources
from hardware.sharing import Part, Window, window

# Legend: S parts of a source, P parts of a target, T cores of a target.
Layer = tuple[str, int]  # name, and time steps that its messages are held back


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Messages of one clip on a placement."""

    sent: float = field(metadata=key("messages from core to core, also to the own one", "messages"))
    between_cores: float = field(metadata=key("those that leave their core", "messages"))
    between_chips: float = field(metadata=key("those that leave their chip", "messages"))
    hops: float = field(metadata=key("tiles that they pass, over all messages", "hops"))


@dataclass
class _Placed:
    """The parts of one layer, and the numbers of their cores."""

    layer: LayerResources
    parts: list[Part]
    cores: list[int]


def traffic(placement: Placement, chip: Chip, sent: Mapping[str, float]) -> Traffic | None:
    """Messages between cores in a clip in which every population sends `sent`; None for a chip without a mesh."""
    if chip.mesh is None:
        return None
    places = np.array([_position(core, chip.mesh) for core in placement.cores])
    chips = np.array([core.chip for core in placement.cores])
    total = np.zeros(4)
    for sources, targets, messages_ST in _connections(placement, chip, sent):
        hops_ST = np.abs(places[sources][:, None] - places[targets][None]).sum(axis=2)
        elsewhere_ST = sources[:, None] != targets[None]
        abroad_ST = chips[sources][:, None] != chips[targets][None]
        total += [(messages_ST * factor).sum() for factor in (1, elsewhere_ST, abroad_ST, hops_ST)]
    found, between_cores, between_chips, hops = map(float, total)
    return Traffic(sent=found, between_cores=between_cores, between_chips=between_chips, hops=hops)


def _position(core: Core, mesh: Mesh) -> tuple[int, int]:
    assert core.place is not None
    column, row = core.place
    return core.chip * mesh.columns.value + column, row


def _connections(
    placement: Placement, chip: Chip, sent: Mapping[str, float]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """For every connection between placed layers: cores of the source's parts, cores of the target, messages [S, T]."""
    placed = _by_layer(placement)
    for target in placed.values():
        for incoming in target.layer.inputs:
            source = placed.get((incoming.source, incoming.lag if chip.traits.relayed_delays else 0))
            if source is None:
                continue
            needed_SP = _needed(incoming.geometry, source, target)
            cores, core_of = np.unique(target.cores, return_inverse=True)
            of_core_PT = (core_of[:, None] == np.arange(len(cores))).astype(np.float64)
            held_S1 = np.array([[part.neurons] for part in source.parts])
            each = sent[incoming.source] / source.layer.neurons
            yield np.array(source.cores), cores, each * np.minimum(needed_SP @ of_core_PT, held_S1)


def _by_layer(placement: Placement) -> dict[Layer, _Placed]:
    found: dict[Layer, _Placed] = {}
    for number, core in enumerate(placement.cores):
        for part in core.slices:
            layer = part.layer
            placed = found.setdefault((layer.name, layer.delay_step), _Placed(layer, [], []))
            placed.parts.append(part.part)
            placed.cores.append(number)
    return found


def _needed(geometry: Geometry, source: _Placed, target: _Placed) -> NDArray[np.float64]:
    """Neurons of every part of the source that every part of the target needs, [S, T]."""
    held_S = np.array([part.neurons for part in source.parts], dtype=np.float64)
    if not _same_places(geometry, source.layer, target.layer):
        return np.repeat(held_S[:, None], len(target.parts), axis=1)
    windows = [window(geometry, part) for part in target.parts]
    channels = np.array([(p.first_channel, p.first_channel + p.channels) for p in source.parts])[:, None]
    wanted = np.array([w.channels for w in windows])[None]
    shared = np.minimum(channels[..., 1], wanted[..., 1]) - np.maximum(channels[..., 0], wanted[..., 0])
    starts = np.array([p.first_position for p in source.parts])
    ends = starts + [p.positions for p in source.parts]
    width = geometry.in_shape[2]
    positions = np.stack([_before(ends, w, width) - _before(starts, w, width) for w in windows], axis=1)
    return np.asarray(np.maximum(shared, 0) * positions, dtype=np.float64)


def _same_places(geometry: Geometry, source: LayerResources, target: LayerResources) -> bool:
    """Whether the connection counts channels and positions as its layers do; else a part may need all that is sent."""
    if isinstance(geometry, IdentityGeometry) and geometry.places is not None:
        return False
    ends = ((source, geometry.in_shape), (target, geometry.out_shape))
    return all(layer.shape[0] == shape[0] and layer.neurons == np.prod(shape) for layer, shape in ends)


def _before(position: NDArray[np.int64], found: Window, width: int) -> NDArray[np.int64]:
    """Positions of a window that lie before a position, row after row."""
    row, column = np.divmod(position, width)
    top, bottom = found.rows
    left, right = found.columns
    whole = np.clip(row - top, 0, bottom - top) * (right - left)
    begun = np.where((row >= top) & (row < bottom), np.clip(column - left, 0, right - left), 0)
    return np.asarray(whole + begun)
