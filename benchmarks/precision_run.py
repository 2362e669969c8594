"""The cells of `precision_table.py`, one by one; what was measured lies in a file and is not measured again."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precision_measure import Cell, measured
from precision_networks import Row, subject
from precision_ways import WAYS
from rich.console import Console

from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.provenance import Provenance, provenance

LIBRARIES = ("svformer-loihi", "torch", "nir", "numpy")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured of every network."""

    ways: Sequence[str]
    tune: int  # epochs of tuning
    limit: int  # held-out clips
    examples: int  # training clips to tune on
    epochs: int  # of the training of a network of the zoo


@dataclass(frozen=True, kw_only=True)
class Result:
    """A network, and its cells by way."""

    name: str
    cells: Mapping[str, Cell]

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass
class Store:
    """What was measured so far: a list of cells in a file, each with what it depends on and where it comes from."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read what there is; raises `InputError` for a file that this command did not write."""
        if not self.path.is_file():
            return
        try:
            self.entries = list(json.loads(self.path.read_text())["cells"])
            for entry in self.entries:
                Cell.of(entry["cell"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}: not the table of this command; choose another --out") from error

    def find(self, name: str, way: str, depends: Mapping[str, Any]) -> Cell | None:
        """The cell of the same network, clips and settings; None where there is none."""
        for entry in self.entries:
            if (entry["network"], entry["way"], entry["depends"]) == (name, way, depends):
                return Cell.of(entry["cell"])
        return None

    def keep(self, name: str, way: str, depends: Mapping[str, Any], cell: Cell, made: Provenance) -> None:
        """Keep a cell in the place of an older one of the same network and way."""
        others = [entry for entry in self.entries if (entry["network"], entry["way"]) != (name, way)]
        new = {"network": name, "way": way, "depends": dict(depends), "cell": vars(cell), "made": vars(made)}
        self.entries = [*others, new]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps({"cells": self.entries}, indent=2) + "\n")


def run(rows: Sequence[Row], settings: Settings, store: Store, console: Console) -> list[Result]:
    """All cells of these networks; `console` gets a line for each."""
    return [_of_row(row, settings, store, console) for row in rows]


def _of_row(row: Row, settings: Settings, store: Store, console: Console) -> Result:
    found = dict[str, Cell]()
    wanted = subject(row, store.path.parent, limit=settings.limit, examples=settings.examples, epochs=settings.epochs)
    for name in settings.ways:
        way = WAYS[name]
        depends = {"digest": wanted.digest, "way": vars(way), "tune": settings.tune if way.tuned else 0}
        cell = store.find(row.name, name, depends)
        if cell is None:
            cell = measured(wanted, way, settings.tune)
            store.keep(row.name, name, depends, cell, provenance(LIBRARIES))
        found[name] = cell
        console.print(f"{row.name}, {way.title}: {_line(cell)}")
    return Result(name=row.name, cells=found)


def _line(cell: Cell) -> str:
    right = "" if cell.top1 is None or cell.float_top1 is None else f"{100 * cell.top1:.1f} % right "
    right += "" if cell.float_top1 is None else f"(in real numbers {100 * cell.float_top1:.1f} %), "
    return f"{right}same prediction {100 * cell.same:.1f} %, spikes equal {100 * cell.spikes:.2f} %; {cell.tuned}"
