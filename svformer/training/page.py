"""run.html: a training as one page without a script, written anew after every epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from svformer.common.files import atomic_path
from svformer.evaluation.curve import Point, best_point


@dataclass(frozen=True, kw_only=True)
class CurveLine:
    """Values over the epochs; `points` of a polyline in a square of 100 by 100."""

    name: str
    colour: str
    points: str


@dataclass(frozen=True, kw_only=True)
class CurveChart:
    """Lines from 0 to `most`, which is their top."""

    title: str
    most: str
    lines: tuple[CurveLine, ...]


def write_run_page(curve: Sequence[Point], facts: Mapping[str, Any], path: Path) -> None:
    """Write the page of a run: its curve so far, and the content of its run.json."""
    environment = Environment(
        loader=PackageLoader("svformer.training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    epochs = int(facts["recipe"]["epochs"])
    html = environment.get_template("run.html").render(
        curve=curve,
        facts=facts,
        epochs=epochs,
        charts=charts(curve, epochs),
        last=curve[-1] if curve else None,
        best=best_point(curve),
        accuracy=facts.get("accuracy"),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def charts(curve: Sequence[Point], epochs: int) -> tuple[CurveChart, ...]:
    """Loss, and the shares of training samples and held-out clips that were recognised, over all epochs to come."""
    if not curve:
        return ()
    most = max(point.loss for point in curve) or 1.0
    held_out = {point.epoch: point.test_top1 for point in curve if point.test_top1 is not None}
    shares = [_line("training", "one", {point.epoch: point.train_top1 for point in curve}, epochs, 1.0)]
    if held_out:
        shares.append(_line("held out", "two", held_out, epochs, 1.0))
    losses = _line("loss", "one", {point.epoch: point.loss for point in curve}, epochs, most)
    return (
        CurveChart(title="loss", most=f"{most:.3g}", lines=(losses,)),
        CurveChart(title="top-1", most="100 %", lines=tuple(shares)),
    )


def _line(name: str, colour: str, by_epoch: Mapping[int, float], epochs: int, most: float) -> CurveLine:
    """Epoch 1 on the left edge, the last one of the run on the right; a lone point is a short dash."""
    across = 100 / max(epochs - 1, 1)
    places = [((epoch - 1) * across, 100 - 100 * value / most) for epoch, value in by_epoch.items()]
    if len(places) == 1:
        (x, y), half = places[0], 1.0
        places = [(max(x - half, 0.0), y), (min(x + half, 100.0), y)]
    return CurveLine(name=name, colour=colour, points=" ".join(f"{x:.2f},{y:.2f}" for x, y in places))
