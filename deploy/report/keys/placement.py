"""Which core of a chip holds what."""

from dataclasses import dataclass, field

from hardware.keys import key
from hardware.packing import Method
from hardware.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class PlacedPart:
    """A part of a layer in a core."""

    layer: str = field(metadata=key("population; the input for relays that hold its messages back"))
    delay: int = field(
        metadata=key("0: the population; n: relays that hold its messages n time steps back", "time steps")
    )
    channels: tuple[int, int] = field(metadata=key("the first of its channels, and how many"))
    positions: tuple[int, int] = field(metadata=key("the first of its positions, row after row, and how many"))
    neurons: int = field(metadata=key("channels x positions"))


@dataclass(frozen=True, kw_only=True)
class PlacedCore:
    """A core that is used."""

    chip: int = field(metadata=key("which chip, from 0"))
    column: int | None = field(metadata=key("column of its tile in the mesh, from 0; null: the chip file has no mesh"))
    row: int | None = field(metadata=key("row of its tile in the mesh, from 0; null as above"))
    fill: dict[str, float] = field(metadata=key("by limit of a core: the share that is taken"))
    parts: tuple[PlacedPart, ...] = field(metadata=key("parts of layers that it holds"))


@dataclass(frozen=True, kw_only=True)
class MeshSummary:
    """Where the cores of a chip lie."""

    columns: int = field(metadata=key("tiles in a row"))
    rows: int = field(metadata=key("rows of tiles"))
    cores_per_tile: int = field(metadata=key("cores that share a router"))
    source: str = field(metadata=key("who says so, and how sure it is"))


@dataclass(frozen=True, kw_only=True)
class PlacementSummary:
    """Every neuron in a core, within all limits of the chip file: hardware/placement.py."""

    cores: int = field(metadata=key("cores that are used"))
    chips: int = field(metadata=key("chips that they lie on"))
    least_cores: int = field(metadata=key("no packing of the same parts of layers takes fewer cores"))
    method: Method = field(metadata=key("what found which parts share a core"))
    fill: dict[str, float] = field(metadata=key("by limit of a core: the share that is taken, mean of all cores"))
    mesh: MeshSummary | None = field(metadata=key("rows and columns; null: the chip file does not say"))
    traffic: Traffic | None = field(
        metadata=key("messages of the mean clip between cores; null before a run, and without a mesh")
    )
    map: tuple[PlacedCore, ...] = field(metadata=key("every core"))
