"""report.html: one self-contained page drawn from report.json and the spikes; it needs no network and no script."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from deploy.execution.backends import title_of
from deploy.report import kinds, placed_rows, rows
from deploy.report.by_cause import all_parts, main_models, redrawn, stands_in
from deploy.report.clip_rows import silent_layers, undecided, wrong_first
from deploy.report.clip_view import ClipView, clip_view
from deploy.report.confusion import confusion
from deploy.report.core_map import core_map
from deploy.report.cost_chart import cost_chart
from deploy.report.keys.report import Estimate, Report
from deploy.report.markdown import markdown
from deploy.report.network_picture import NetworkPicture
from deploy.report.plan import needs_microcode
from deploy.report.scripts import script
from deploy.report.shown import ShownClip
from deploy.report.typeset import FILTERS
from hardware.causes import LABELS, PARTS, memory_as_one
from hardware.shown import shown_in
from svformer.common.files import atomic_path

CLIPS_LISTED = 500  # rows of the table of clips; report.json holds them all
PAGE_BYTES = 3_000_000  # of a page at most; clips that find no room are left out
OPTION_BYTES = 1000  # of what the rest of the page says of a clip
SCRIPTS = ("page.js", "player.js", "clips.js", "network.js", "ledger.js", "rate.js")
REGISTERS_SHOWN = 8  # closest registers shown at once; the rest is folded away


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What a chip cannot hold, and the layers that ask for it."""

    what: str
    layers: tuple[str, ...]


def write_page(
    report: Report, shown: Iterable[ShownClip], path: Path, *, pictures: Sequence[NetworkPicture] = ()
) -> None:
    """Write the page of a run, with as many of the `shown` clips as it has room for; the first is drawn at once.

    `pictures` are those of its network (`deploy.report.network_picture`).
    """
    html = render(report, shown, pictures)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render(report: Report, shown: Iterable[ShownClip], pictures: Sequence[NetworkPicture] = ()) -> str:
    """The page as text; arguments as of `write_page`."""
    clips = (clip_view(clip, report) for clip in shown)
    first = next(clips, None) or clip_view(ShownClip(), report)
    alone = _rendered(report, first, [], pictures)
    others = list(_fitting(clips, PAGE_BYTES - len(alone.encode())))
    return _rendered(report, first, others, pictures) if others else alone


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """A clip that the script puts in the place of the first one."""

    view: ClipView
    html: str


def _fitting(views: Iterable[ClipView], room: int) -> Iterable[StoredClip]:
    """Views as text, up to the first that finds no room in so many bytes."""
    template = environment().get_template("stored_clip.html")
    for view in views:
        html = template.render(view=view)
        room -= len(html.encode()) + OPTION_BYTES
        if room < 0:
            return
        yield StoredClip(view=view, html=html)


def _rendered(report: Report, first: ClipView, others: Sequence[StoredClip], pictures: Sequence[NetworkPicture]) -> str:
    models, behaviour = report.energy.models, script(*SCRIPTS)
    return (
        environment()
        .get_template("page.html")
        .render(
            **vars(report),
            report=report,
            rows=rows,
            warnings=[line for line in (undecided(report), silent_layers(report)) if line],
            placed_rows=placed_rows,
            at_rates=placed_rows.at_rates(report),
            kinds=kinds,
            backend_title=title_of(report.backend),
            view=first,
            others=others,
            pictures=pictures,
            script=behaviour,
            clips_listed=CLIPS_LISTED,
            confusion=confusion(report),
            listed=wrong_first(report)[:CLIPS_LISTED],
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
            **deployment_parts(report),
        )
    )


def deployment_parts(report: Estimate) -> dict[str, Any]:
    """What the page of a run and that of an estimate draw of the deployment."""
    return {
        "closest": sorted(report.headroom, key=lambda register: -register.share),
        "registers_shown": REGISTERS_SHOWN,
        "microcode": needs_microcode(report.mapping),
        "microcode_parts": [part for part in report.mapping if part.microcode],
        "obstacles": {chip: grouped(fitted.obstacles) for chip, fitted in report.fit.items()},
        "core_maps": {name: core_map(fitted.placement) for name, fitted in report.fit.items() if fitted.placement},
    }


@functools.cache
def environment() -> Environment:
    """The templates of this package, each compiled once, with the filters that write numbers."""
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
