"""The training curve: loss and accuracy over epochs, as a table and as a picture."""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from svformer.errors import InputError
from svformer.files import atomic_path
from svformer.palette import STYLE


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
    """curve.csv and curve.png: loss and training accuracy over epochs."""
    with atomic_path(out / "curve.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Point)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(point) for point in curve)
    with atomic_path(out / "curve.png") as temporary:
        draw_curve(curve, temporary)


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


def draw_curve(points: list[Point], path: Path) -> None:
    from matplotlib import style  # imported here: a second that only this picture needs
    from matplotlib.figure import Figure

    from svformer.plot import curve

    with style.context(dict(STYLE)):
        figure = Figure(figsize=(6, 3.2))
        curve(points, figure.subplots())
        figure.savefig(path, dpi=120)
