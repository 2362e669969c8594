"""The confusion matrix of an evaluation as a picture, and tables of classes and layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rich.table import Column, Table
from torch import Tensor


class ClassResult(TypedDict):
    """The clips of one class and how they were classified."""

    name: str
    clips: int
    top1: float | None  # share of the clips that are recognised, from 0 to 1; None without clips
    taken_for: str | None  # the most frequent wrong class; None without wrong clips


def per_class(confusion_KK: Tensor, classes: Sequence[str]) -> list[ClassResult]:
    """The results of every class, from clips by class (rows) and by prediction (columns)."""
    rows = list[ClassResult]()
    for label, name in enumerate(classes):
        counts = confusion_KK[label].clone()
        clips, right = int(counts.sum()), int(counts[label])
        counts[label] = 0
        taken_for = classes[int(counts.argmax())] if right < clips else None
        rows.append({"name": name, "clips": clips, "top1": right / clips if clips else None, "taken_for": taken_for})
    return rows


def class_table(rows: Sequence[ClassResult]) -> Table:
    """One row for every class."""
    table = Table("class", Column("clips", justify="right"), Column("top-1", justify="right"), "most often taken for")
    for row in rows:
        top1 = "" if row["top1"] is None else f"{100 * row['top1']:.1f} %"
        table.add_row(row["name"], str(row["clips"]), top1, row["taken_for"] or "")
    return table


def firing_rate_table(firing_rates: Mapping[str, float]) -> Table:
    """One row for every neuron layer; rates from 0 to 1 are shown in per cent."""
    table = Table(Column("layer", no_wrap=True), Column("firing rate", justify="right"))
    for name, rate in firing_rates.items():
        table.add_row(name, f"{100 * rate:.2f} %")
    return table


def _with_top1(confusion_KK: Tensor, classes: Sequence[str]) -> list[str]:
    """Every class with its accuracy; a class without clips alone."""
    rows = per_class(confusion_KK, classes)
    return [row["name"] if row["top1"] is None else f"{row['name']}  {100 * row['top1']:.0f} %" for row in rows]


def draw_confusion(confusion_KK: Tensor, classes: Sequence[str], path: Path) -> None:
    """Write a confusion matrix as a .png file: rows are the clips' classes and how many are right, columns predictions.

    The shade is the square root of a cell's share of its row, so that single clips stay visible.
    """
    from matplotlib.colors import PowerNorm  # imported here: a second that only this picture needs
    from matplotlib.figure import Figure

    shares = 100 * confusion_KK.double() / confusion_KK.sum(1, keepdim=True).clamp(min=1)
    side = 2.5 + 0.2 * len(classes)  # inches: names at 7 points stay apart
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100))
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=90, fontsize=7)
    axes.set_yticks(ticks, _with_top1(confusion_KK, classes), fontsize=7)
    axes.set(xlabel="prediction", ylabel="class")
    figure.colorbar(image, label="share of the class, %", shrink=0.8)
    figure.savefig(path, dpi=120)
