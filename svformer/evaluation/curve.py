"""The training curve: loss and accuracy over epochs, as a table."""

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svformer.common.errors import InputError
from svformer.common.files import atomic_path


@dataclass(frozen=True, kw_only=True)
class Point:
    """One epoch of the training curve."""

    epoch: int  # from 1
    step: int  # steps of the optimiser from the start of the run to the end of the epoch
    lr: float  # learning rate of the last step
    loss: float  # mean over the epoch's samples
    train_top1: float  # share of training samples that were recognised, from 0 to 1
    seconds: float  # duration of the training, evaluation excluded
    test_top1: float | None = None  # share of held-out clips, from 0 to 1; None for an epoch that was not evaluated


def best_point(curve: Sequence[Point]) -> Point | None:
    """The first epoch with the highest held-out accuracy; None where none was evaluated."""
    evaluated = [point for point in curve if point.test_top1 is not None]
    return max(evaluated, key=lambda point: point.test_top1 or 0.0, default=None)


def write_curve(curve: list[Point], out: Path) -> None:
    """Write OUT/curve.csv, one line for each epoch; `svformer.pictures.plot.draw_curve` draws the same points."""
    with atomic_path(out / "curve.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Point)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(point) for point in curve)


def read_curve(path: Path) -> list[Point]:
    """The points of a curve.csv, with or without a column test_top1; raises `InputError` for any other file."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [_point(row) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a training curve ({error}); `python -m svformer.train` writes one") from error


def _point(row: dict[str, str]) -> Point:
    kinds: dict[str, type] = {"epoch": int, "step": int}
    values = {name: value for name, value in row.items() if value or name != "test_top1"}
    return Point(**{name: kinds.get(name, float)(value) for name, value in values.items()})
