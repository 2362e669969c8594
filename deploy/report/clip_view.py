"""All that a page draws of one clip: player, a raster of every layer, where integers differ, what attention selects.

Legend: T time steps, C channels, H rows, W columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.report import bitmaps
from deploy.report.bitmaps import Frame, Raster
from deploy.report.keys.network import NetworkSummary
from deploy.report.keys.report import Report
from deploy.report.keys.run import ClipSummary
from deploy.report.player import Player, player
from deploy.report.shown import AttentionMap, ShownClip


@dataclass(frozen=True, kw_only=True)
class DifferenceMap:
    """Where in a layer the float network's neurons do not do what the integers do."""

    name: str
    share: float  # of all its neuron states
    png: str  # [H, W], mean over channels and time steps; of a layer without positions, its channels in a row


@dataclass(frozen=True, kw_only=True)
class AttentionView:
    """A layer of attention as pictures."""

    name: str
    heads: tuple[str, ...]  # k^T v
    most_pairs: float  # that is black in them
    strip: str  # what q selects at evenly spaced time steps, side by side
    steps: tuple[int, ...]  # these time steps, from 1
    most_selected: float


@dataclass(frozen=True, kw_only=True)
class ClipView:
    """One clip, ready to be drawn; what there is nothing of is empty or None."""

    place: int
    clip: ClipSummary
    clips: int  # of the run
    network: NetworkSummary
    player: Player | None
    film: tuple[Frame, ...]  # the strip above the rasters
    signal: str | None  # the input where it is no picture
    rasters: tuple[Raster, ...]
    ticks: tuple[int, ...]
    differences: tuple[DifferenceMap, ...]
    darkest: float  # share of differing states that is black in their maps
    attention: tuple[AttentionView, ...]


def clip_view(shown: ShownClip, report: Report) -> ClipView:
    """What is drawn of a clip."""
    clip, frames = report.clips[shown.place], shown.frames
    order = [layer.name for layer in report.layers if layer.name in shown.spikes]
    rows = bitmaps.rows_of_rasters(clip.steps, len(order))
    shares = {name: _shares(shown.differences[name], clip.steps) for name in order if name in shown.differences}
    darkest = max((float(share.max()) for share in shares.values()), default=0.0)
    return ClipView(
        place=shown.place,
        clip=clip,
        clips=len(report.clips),
        network=report.network,
        player=player(
            {name: shown.spikes[name] for name in order},
            frames,
            shown.results,
            steps=clip.steps,
            classes=report.network.classes,
        ),
        film=tuple(bitmaps.film_strip(frames)) if bitmaps.are_pictures(frames) else (),
        signal=None if frames is None or bitmaps.are_pictures(frames) else bitmaps.signal_picture(frames),
        rasters=tuple(bitmaps.raster_of(name, shown.spikes[name], rows=rows) for name in order),
        ticks=tuple(bitmaps.ticks(clip.steps)),
        differences=tuple(
            DifferenceMap(name=name, share=float(share.mean()), png=bitmaps.shades(share, darkest))
            for name, share in shares.items()
        ),
        darkest=darkest,
        attention=tuple(map(_attention, shown.attention)),
    )


def _shares(steps_CHW: NDArray[np.int32], steps: int) -> NDArray[np.float64]:
    """Share of the states that differ at every position [H, W]; of every channel [1, C] where there is one position."""
    share = steps_CHW / steps
    return share.reshape(1, -1) if share[0].size == 1 else share.mean(axis=0)


def _attention(found: AttentionMap) -> AttentionView:
    steps = len(found.selected)
    chosen = bitmaps.evenly(steps)
    most_pairs, most_selected = float(found.products.max()), float(found.selected.max())
    return AttentionView(
        name=found.name,
        heads=tuple(bitmaps.shades(head, most_pairs) for head in found.products),
        most_pairs=most_pairs,
        strip=bitmaps.shades(np.concatenate(list(_spaced(found.selected[chosen])), axis=1), most_selected),
        steps=tuple(int(step) + 1 for step in chosen),
        most_selected=most_selected,
    )


def _spaced(maps_THW: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Maps with an empty column between them."""
    for i, one in enumerate(maps_THW):
        yield one if i == len(maps_THW) - 1 else np.pad(one, ((0, 0), (0, 1)))
