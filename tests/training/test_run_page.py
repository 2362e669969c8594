"""The page of a training: its lines by hand, what it says before, while and after it, and names that are markup."""

from typing import Any

import pytest

from svformer.evaluation.curve import Point
from svformer.training.page import charts, write_run_page

HOSTILE = "<script>alert(1)</script>"


def point(epoch: int, loss: float, train: float, test: float | None = None) -> Point:
    return Point(epoch=epoch, step=epoch, lr=0.1, loss=loss, train_top1=train, seconds=1.0, test_top1=test)


def facts(**changes: Any) -> dict[str, Any]:
    known = {
        "command": "python -m svformer.train",
        "date": "2026-01-01",
        "machine": "a machine",
        "versions": {"python": "3.12"},
        "recipe": {"epochs": 3, "batch_size": 8},
        "config": {"model": "svformer", "frames": 4},
        "dataset": "procedural",
        "clips": 24,
        "classes": ["a"],
        "sessions": [{}],
    }
    return known | changes


def test_lines_by_hand() -> None:
    """Three epochs are 50 % apart; a loss of 1 of at most 2 lies half way up, an accuracy of 0.25 at a quarter."""
    loss, top1 = charts([point(1, 2.0, 0.25), point(2, 1.0, 0.5, 0.25)], epochs=3)
    assert (loss.most, loss.lines[0].points) == ("2", "0.00,0.00 50.00,50.00")
    assert [(line.name, line.points) for line in top1.lines] == [
        ("training", "0.00,75.00 50.00,50.00"),
        ("held out", "49.00,75.00 51.00,75.00"),
    ]
    assert charts([], epochs=3) == ()


@pytest.mark.parametrize(
    ("curve", "more", "said"),
    [
        ([], {}, "0 of 3 epochs"),
        ([point(1, 2.0, 0.5)], {}, "Loss 2.000, training top-1 50.0 %."),
        ([point(1, 2.0, 0.5, 0.75)], {}, "Best: epoch 1 with 75.00 %"),
        ([point(1, 2.0, 0.5)], {"accuracy": {"top1": 0.5, "clips": 12}}, "50.00 % of 12 clips."),
    ],
)
def test_what_it_says(curve: list[Point], more: dict[str, Any], said: str, tmp_path: Any) -> None:
    write_run_page(curve, facts(**more), tmp_path / "run.html")
    assert said in (tmp_path / "run.html").read_text("utf-8")


def test_names_stay_text(tmp_path: Any) -> None:
    write_run_page([point(1, 2.0, 0.5)], facts(command=HOSTILE, dataset=HOSTILE), tmp_path / "run.html")
    html = (tmp_path / "run.html").read_text("utf-8")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 3, "title, heading, command"
