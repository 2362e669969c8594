"""The training curve: loss and accuracy over epochs, as a table."""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from svformer.common.errors import InputError
from svformer.common.files import atomic_path


@dataclass(frozen=True, kw_only=True)
class Point:
    """One epoch of the training curve."""

    epoch: int
    step: int
    lr: float
    loss: float
    train_top1: float
    seconds: float


def write_curve(curve: list[Point], out: Path) -> None:
    """curve.csv: loss and training accuracy over epochs; `svformer.pictures.plot.draw_curve` draws them."""
    with atomic_path(out / "curve.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Point)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(point) for point in curve)


def read_curve(path: Path) -> list[Point]:
    """The points of a curve.csv; raises `InputError` where it is none."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [_point(row) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a training curve ({error}); `python -m svformer.train` writes one") from error


def _point(row: dict[str, str]) -> Point:
    kinds: dict[str, type] = {"epoch": int, "step": int}
    return Point(**{name: kinds.get(name, float)(value) for name, value in row.items()})
