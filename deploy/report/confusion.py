"""The confusion matrix of a run: videos by their class and by what the deployed network took them for.

Legend: V views of a video, K outputs.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from deploy.clips.labels import class_number
from deploy.report.keys.report import Report
from deploy.report.keys.run import ClipSummary
from svformer.evaluation.scores import mean_scores

CLASSES_DRAWN = 40  # a larger matrix is no longer read; its wrong cells are listed
CELLS_LISTED = 40


@dataclass(frozen=True, kw_only=True)
class ConfusedClass:
    """A row of the matrix."""

    name: str
    videos: int
    right: int
    counts: tuple[int, ...]  # by prediction, in the order of the columns


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A cell beside the diagonal."""

    label: str
    taken_for: str
    videos: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Classes that occur as class or prediction, in the network's order, and all mistakes, the most frequent first."""

    columns: tuple[str, ...]
    rows: tuple[ConfusedClass, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def videos(self) -> int:
        return sum(row.videos for row in self.rows)

    @property
    def right(self) -> int:
        return sum(row.right for row in self.rows)

    @property
    def is_drawn(self) -> bool:
        return len(self.columns) <= CLASSES_DRAWN

    @property
    def listed(self) -> tuple[Mistake, ...]:
        return self.mistakes[:CELLS_LISTED]


def confusion(report: Report) -> Confusion | None:
    """The matrix of a run; None where fewer than two videos have a class of the network."""
    cells = Counter(_cells(report))
    if cells.total() < 2:
        return None
    shown = sorted({number for cell in cells for number in cell})
    names = [class_name(number, report.network.classes) for number in shown]
    return Confusion(
        columns=tuple(names),
        rows=tuple(
            ConfusedClass(
                name=name,
                videos=sum(cells[label, taken] for taken in shown),
                right=cells[label, label],
                counts=tuple(cells[label, taken] for taken in shown),
            )
            for label, name in zip(shown, names, strict=True)
            if any(cells[label, taken] for taken in shown)
        ),
        mistakes=tuple(
            Mistake(
                label=class_name(label, report.network.classes),
                taken_for=class_name(taken, report.network.classes),
                videos=videos,
            )
            for (label, taken), videos in cells.most_common()
            if label != taken
        ),
    )


def class_name(number: int, classes: tuple[str, ...]) -> str:
    """The name of an output, or its number where the network names none."""
    return classes[number] if number < len(classes) else str(number)


def _cells(report: Report) -> list[tuple[int, int]]:
    """Class and prediction of every video whose class is one of the network's; scores are averaged over its views."""
    videos: dict[str, list[ClipSummary]] = {}
    for clip in report.clips:
        videos.setdefault(clip.source, []).append(clip)
    found = []
    for views in videos.values():
        number = class_number(views[0].label, report.network.classes, len(views[0].logits))
        if number is not None:
            scores_K = mean_scores(np.array([view.logits for view in views]))
            found.append((number, int(scores_K.argmax())))
    return found
