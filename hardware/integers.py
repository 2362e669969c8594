"""A network of integers as a run leaves it (`integers.h5`, docs/recount.md), in plain values.

Its group `integer` is that of docs/integer_files.md. Beside it lie how long each connection holds its messages back
(`lags`), the widths of registers (`widths`), and what the input sent in the clips that were kept (`input`).
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware import geometry
from hardware.errors import ChipError
from hardware.hdf5 import opened

Ints = NDArray[np.int64]
Fields = dict[str, Any]
KINDS: dict[str, Any] = {kind.__name__: kind for kind in geometry.GEOMETRIES}
WIDTHS = ("state", "bias", "gain", "graded")
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class StoredPopulation:
    """A population: its kind by the page, its shape (C, H, W), and its other fields."""

    kind: str
    shape: tuple[int, int, int]
    fields: Fields

    @property
    def spiking(self) -> bool:
        return self.kind == "IntLif"

    @property
    def binary(self) -> bool:
        """Whether it sends 0 and 1 alone: spikes, or clips of nothing else."""
        return self.spiking or (self.kind == "IntInput" and (self.fields["low"], self.fields["high"]) == (0, 1))

    @property
    def bias(self) -> Ints:
        """The biases as they are stored."""
        return np.asarray(self.fields["bias" if self.kind == "IntRelay" else "bias_mantissa"])

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class StoredConnection:
    """A connection: its operation by the page, with the geometry where it has one, and its gain."""

    source: str
    target: str
    delay: int
    lag: int  # time steps for which it holds messages back
    kind: str
    operation: Fields
    gain: Fields | None

    @property
    def geometry(self) -> Any:
        """Which neurons a message reaches."""
        return self.operation.get("geometry") or geometry.IdentityGeometry(shape=tuple(self.operation["in_shape"]))


@dataclass(frozen=True, kw_only=True)
class StoredNetwork:
    """All of it, and what the input sent in the clips that were kept, [N, T, C, H, W]."""

    populations: dict[str, StoredPopulation]
    connections: tuple[StoredConnection, ...]
    widths: dict[str, int]  # bits of state, bias, gain and graded message
    sent: Ints

    def into(self, name: str) -> list[StoredConnection]:
        return [c for c in self.connections if c.target == name]


def read_integers(path: Path) -> StoredNetwork:
    """The network of a file; raises ChipError for one that cannot be read or is of another form."""
    try:
        with opened(path) as file:
            return _network(_plain(file))
    except (OSError, AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ChipError(f"{path}: no integers of a run ({error}); run_lava.py writes them, docs/recount.md") from error


def _plain(group: h5py.Group) -> Fields:
    """Groups as dictionaries, texts as str, whole arrays as int64."""
    return {name: _plain(item) if isinstance(item, h5py.Group) else _value(item[()]) for name, item in group.items()}


def _value(found: Any) -> Any:
    if isinstance(found, bytes):
        return found.decode()
    array = np.asarray(found)
    if array.ndim == 0:
        return array.item()
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _network(file: Fields) -> StoredNetwork:
    group = file["integer"]
    if group["version"] != VERSION:
        raise ValueError(f"version {group['version']}; allowed: {VERSION}")
    order, lags = json.loads(group["order"]), file["lags"]
    connections = group.get("connections", {})
    return StoredNetwork(
        populations={name: _population(group["populations"][name]) for name in order},
        connections=tuple(
            _connection(connections[place], int(lag)) for place, lag in zip(sorted(connections), lags, strict=True)
        ),
        widths={name: int(np.asarray(file["widths"][name]).item()) for name in WIDTHS},
        sent=file["input"],
    )


def _population(fields: Fields) -> StoredPopulation:
    channels, height, width = _sizes(fields["shape"])
    return StoredPopulation(kind=fields["kind"], shape=(channels, height, width), fields=fields)


def _connection(fields: Fields, lag: int) -> StoredConnection:
    operation = dict(fields["operation"])
    if "geometry" in operation:
        operation["geometry"] = _geometry(operation["geometry"])
    return StoredConnection(
        source=fields["source"],
        target=fields["target"],
        delay=fields["delay"],
        lag=lag,
        kind=operation["kind"],
        operation=operation,
        gain=fields.get("gain"),
    )


def _geometry(fields: Fields) -> Any:
    if fields["kind"] not in KINDS:
        raise ValueError(f"geometry {fields['kind']}; allowed: {', '.join(KINDS)}")
    kind = KINDS[fields["kind"]]
    named = {field.name: fields[field.name] for field in dataclasses.fields(kind) if field.name in fields}
    return kind(**{name: _size(value) if name != "reached" else value.astype(bool) for name, value in named.items()})


def _size(value: Any) -> int | tuple[int, ...]:
    return _sizes(value) if isinstance(value, np.ndarray) else int(value)


def _sizes(value: Any) -> tuple[int, ...]:
    found = np.asarray(value)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"sizes {found.tolist()}; allowed: whole numbers in a row")
    return tuple(map(int, found))
