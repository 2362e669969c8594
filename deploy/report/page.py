"""report.html: one self-contained page drawn from report.json and the spikes; it needs no network and no script."""

import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from platform import platform, python_version
from typing import Any, TypeGuard

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from deploy.report import bitmaps as plot
from deploy.report.by_cause import SECOND_MODEL, all_causes, main_models, memory_as_one, redrawn
from deploy.report.cost_chart import cost_chart
from deploy.report.markdown import markdown
from deploy.report.typeset import FILTERS
from svformer.common.files import atomic_path

CLIPS_LISTED = 500  # rows of the table of clips; report.json holds them all
REGISTERS_SHOWN = 8  # closest registers shown at once; the rest is folded away
VARIED = ("cmos45_lemaire", SECOND_MODEL)  # models whose constants are varied
CHARTED = ("cmos45_fp32", "cmos45_lemaire")  # models whose cost is drawn against the rate

LIBRARIES = ("svformer-loihi", "torch", "norse", "nir", "lava-nc", "lava-dl", "numpy")

# Lines of the ledger: key of report["totals"], its name, what one of them is.
LEDGER = (
    ("synaptic_ops", "synaptic operations", "a weight added to a neuron, caused by a spike"),
    ("macs", "multiply-accumulates of graded messages", "a weight times a non-zero value of the input or of a relay"),
    ("attention_coincidences", "attention: coincidences", "KᵀV: a k and a v spike of one token and head"),
    ("attention_gated_adds", "attention: gated additions", "Q (KᵀV): a q spike adds a row entry, zeros included"),
    ("relay_adds", "relay additions", "a graded value passed on over a shortcut, without a weight"),
    ("weight_bits_read", "weight bits read", "each operation above fetches a weight, as wide as its connection needs"),
    ("gain_macs", "gains of time steps", "a current times the gain of its time step (per-step norm)"),
    ("bias_adds", "bias additions", "one for each neuron with a bias, each time step"),
    ("neuron_updates", "neuron updates", "leak, sum, comparison and reset, each time step"),
    ("parameter_reads", "parameters read", "weights, gains and biases: one for each operation with one"),
    ("state_reads", "potentials and sums read", "by each operation, and once a time step by each neuron and relay"),
    ("state_writes", "potentials and sums written", "the same"),
    ("spikes", "spikes sent", "once each, however many neurons they reach"),
    ("graded_messages", "graded messages sent", "non-zero values of the input and of relays"),
    ("deliveries", "messages delivered", "once for each connection that a message takes"),
    ("traffic_bits", "bits between layers", "address of the sender, and 24 bits of a graded value"),
    ("held_messages", "messages held in delay lines", "until a longer path has caught up, or the last frame is there"),
    ("held_steps", "time steps held", "of all of them together"),
    ("dense_macs", "dense equivalent", "multiply-accumulates if every input were non-zero, borders exact"),
)


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What a chip cannot hold, and the layers that ask for it."""

    what: str
    layers: tuple[str, ...]


def write_page(
    report: dict[str, Any], spikes: dict[str, NDArray[np.uint8]], frames: NDArray[np.float32] | None, path: Path
) -> None:
    """Write the page of a run.

    `report` is report.json's content; `spikes` holds [clips, T, C, H, W] of every neuron layer and `frames`
    [T, *input shape], both beginning with the first clip, the one whose rasters are drawn.
    """
    html = render(report, spikes, frames)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render(report: dict[str, Any], spikes: dict[str, NDArray[np.uint8]], frames: NDArray[np.float32] | None) -> str:
    """The page as text; arguments as of `write_page`."""
    order = [layer["name"] for layer in report["layers"] if layer["name"] in spikes]
    return (
        environment()
        .get_template("page.html")
        .render(
            **report,
            rasters=[plot.raster(name, spikes[name][0]) for name in order],
            film=plot.film_strip(frames) if _are_pictures(frames) else [],
            signal=None if frames is None or _are_pictures(frames) else plot.signal_picture(frames),
            ticks=plot.ticks(report["network"]["frames"]),
            clips_listed=CLIPS_LISTED,
            ledger=LEDGER,
            models=main_models(report["energy"]),
            causes=all_causes(report["energy"]),
            memory_as_one=memory_as_one,
            redrawn=redrawn(report),
            varied=[report["energy"]["models"][name] for name in VARIED if name in report["energy"]["models"]],
            charts=[chart for name in CHARTED if (chart := cost_chart(report, name))],
            markdown=markdown(report),
            closest=sorted(report["headroom"], key=lambda register: -register["share"]),
            registers_shown=REGISTERS_SHOWN,
            obstacles={chip: grouped(fitted["obstacles"]) for chip, fitted in report["fit"].items()},
            run=provenance(),
        )
    )


def _are_pictures(frames: NDArray[np.float32] | None) -> TypeGuard[NDArray[np.float32]]:
    """Whether frames are [T, C, H, W] with more than one pixel."""
    return frames is not None and frames.ndim == 4 and frames.shape[2] * frames.shape[3] > 1


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


def grouped(obstacles: list[str]) -> list[Obstacle]:
    """Lines "layer: what" put together where the same stands in the way of several layers."""
    layers: dict[str, list[str]] = {}
    for line in obstacles:
        layer, _, what = line.partition(": ")
        layers.setdefault(what, []).append(layer)
    return [Obstacle(what=what, layers=tuple(names)) for what, names in layers.items()]


def provenance() -> dict[str, Any]:
    """What ran where and when."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(sys.argv),
        "versions": {"Python": python_version(), **{name: _version(name) for name in LIBRARIES}},
        "machine": platform(),
    }


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
