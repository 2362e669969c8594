"""The training curve: loss and accuracy over epochs, as a table and as a picture."""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from svformer.files import atomic_path


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


def draw_curve(curve: list[Point], path: Path) -> None:
    from matplotlib.figure import Figure  # imported here: a second that only this picture needs

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    loss_axis = figure.subplots()
    epochs = [point.epoch for point in curve]
    loss_axis.plot(epochs, [point.loss for point in curve], color="tab:blue")
    loss_axis.set(xlabel="epoch", ylabel="cross-entropy loss (blue)", ylim=(0, None))
    top1_axis = loss_axis.twinx()
    top1_axis.plot(epochs, [100 * point.train_top1 for point in curve], color="tab:orange")
    top1_axis.set(ylabel="training top-1, % (orange)", ylim=(0, 100))
    figure.savefig(path, dpi=120)
