"""report.html: one self-contained page drawn from report.json and the spikes; it needs no network and no script."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from deploy.report import bitmaps, kinds, placed_rows, rows
from deploy.report.by_cause import all_parts, main_models, redrawn, stands_in
from deploy.report.core_map import core_map
from deploy.report.cost_chart import cost_chart
from deploy.report.keys.report import Report
from deploy.report.markdown import BACKENDS, markdown
from deploy.report.player import player
from deploy.report.typeset import FILTERS
from hardware.causes import LABELS, PARTS, memory_as_one
from hardware.shown import shown_in
from svformer.common.files import atomic_path

CLIPS_LISTED = 500  # rows of the table of clips; report.json holds them all
REGISTERS_SHOWN = 8  # closest registers shown at once; the rest is folded away


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What a chip cannot hold, and the layers that ask for it."""

    what: str
    layers: tuple[str, ...]


def write_page(
    report: Report,
    spikes: dict[str, NDArray[np.uint8]],
    frames: NDArray[np.float32] | None,
    results: NDArray[np.float64] | None,
    path: Path,
) -> None:
    """Write the page of a run.

    `spikes` holds [clips, T, C, H, W] of every neuron layer, beginning with the first clip, the one that is drawn;
    `frames` [T, *input shape] and `results` [T, K] after each time step are those of this clip; None: not kept.
    """
    html = render(report, spikes, frames, results)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render(
    report: Report,
    spikes: dict[str, NDArray[np.uint8]],
    frames: NDArray[np.float32] | None,
    results: NDArray[np.float64] | None,
) -> str:
    """The page as text; arguments as of `write_page`."""
    order = [layer.name for layer in report.layers if layer.name in spikes]
    models = report.energy.models
    return (
        environment()
        .get_template("page.html")
        .render(
            **vars(report),
            report=report,
            rows=rows,
            placed_rows=placed_rows,
            at_rates=placed_rows.at_rates(report),
            kinds=kinds,
            backends={**BACKENDS, "lava": "Lava’s CPU backend"},
            rasters=[bitmaps.raster_of(name, spikes[name][0]) for name in order],
            film=bitmaps.film_strip(frames) if bitmaps.are_pictures(frames) else [],
            signal=None if frames is None or bitmaps.are_pictures(frames) else bitmaps.signal_picture(frames),
            player=player(
                {name: spikes[name][0] for name in order},
                frames,
                results,
                steps=report.clips[0].steps,
                classes=report.network.classes,
            ),
            ticks=bitmaps.ticks(report.network.frames),
            clips_listed=CLIPS_LISTED,
            models=main_models(report.energy),
            all_parts=PARTS,
            causes=all_parts(report.energy),
            cause_labels=LABELS,
            stands_in=stands_in,
            memory_as_one=memory_as_one,
            redrawn=redrawn(report),
            varied=[models[name] for name in shown_in("constants") if name in models],
            charts=[chart for name in shown_in("rates") if (chart := cost_chart(report, name))],
            markdown=markdown(report),
            closest=sorted(report.headroom, key=lambda register: -register.share),
            registers_shown=REGISTERS_SHOWN,
            obstacles={chip: grouped(fitted.obstacles) for chip, fitted in report.fit.items()},
            core_maps={name: core_map(fitted.placement) for name, fitted in report.fit.items() if fitted.placement},
        )
    )


def environment() -> Environment:
    """The templates of this package, with the filters that write numbers."""
    found = Environment(
        loader=PackageLoader("deploy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    return found


def grouped(obstacles: tuple[str, ...]) -> list[Obstacle]:
    """Lines "layer: what" put together where several layers meet the same obstacle."""
    layers: dict[str, list[str]] = {}
    for line in obstacles:
        layer, _, what = line.partition(": ")
        layers.setdefault(what, []).append(layer)
    return [Obstacle(what=what, layers=tuple(names)) for what, names in layers.items()]
