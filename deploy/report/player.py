"""The first screen's player: a clip beside the spikes of the whole network and its results, on one axis of time.

All pictures are complete without a script; templates/player.js moves a cursor over them.

Legend: T time steps, C channels, H rows, W columns, K results.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.report import bitmaps
from deploy.report.bitmaps import Frame
from svformer.pictures.pixels import raster_image

PICTURES = 64  # of a clip at most; a longer one is thinned
STACKED_ROWS = 192  # rows of pixels of all layers together, about
STACKED_PIXELS = 250_000  # of them, about; a longer clip has fewer rows
LAYER_ROWS = 64  # of one layer at most
LEAST_ROWS = 3
NAMED_LAYERS = 28  # as many names have room beside the raster
PIECES = 512  # of a line of results at most
LINES = 5  # classes whose results are drawn
COLOURS = (0, 1, 2, 3, 6)  # of `SERIES`, one for each of these; its grey is too faint for a line
MARGIN = 14.0  # per cent above the largest result and below the smallest, for the figures of the scale


@dataclass(frozen=True, kw_only=True)
class Band:
    """A layer in the raster of the whole network; `share` of its height in per cent."""

    name: str
    neurons: int
    rate: float  # spikes per neuron and time step
    top: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """Results of one class after each time step; `points` of a polyline in a square of 100 by 100."""

    name: str
    colour: int
    results_T: tuple[float, ...]
    points: str


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Results of the best classes, and the scale that they are drawn to."""

    lines: tuple[Line, ...]
    classes: int  # of the network
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Player:
    """All that is drawn of a clip; what there is nothing of is empty."""

    steps: int
    frames: tuple[Frame, ...]  # each stands until the next
    signal: str | None  # of an input that is no picture
    raster: str | None
    bands: tuple[Band, ...]
    results: Lines | None

    @property
    def names_fit(self) -> bool:
        return len(self.bands) <= NAMED_LAYERS


def player(
    spikes: Mapping[str, NDArray[Any]],
    frames: NDArray[np.float32] | None,
    results: NDArray[np.float64] | None,
    *,
    steps: int,
    classes: tuple[str, ...],
) -> Player | None:
    """The player of a clip of `steps` time steps; None where nothing of it was kept.

    `spikes` are [T, C, H, W] of every neuron layer, `frames` [T, *input shape], `results` [T, K] those that the clip
    would have had after each time step.
    """
    if not spikes and frames is None and results is None:
        return None
    shown = {name: layer[:steps] for name, layer in spikes.items()}
    raster, bands = stacked_raster(shown) if shown else (None, ())
    return Player(
        steps=steps,
        frames=tuple(bitmaps.film(frames, PICTURES)) if bitmaps.are_pictures(frames) else (),
        signal=None if frames is None or bitmaps.are_pictures(frames) else bitmaps.signal_picture(frames),
        raster=raster,
        bands=bands,
        results=None if results is None else result_lines(results, classes),
    )


def stacked_raster(spikes: Mapping[str, NDArray[Any]]) -> tuple[str, tuple[Band, ...]]:
    """Spikes [T, C, H, W] of all layers, one below the other, as one picture, and where each of them lies in it."""
    steps = len(next(iter(spikes.values())))
    rows = min(STACKED_ROWS, STACKED_PIXELS // steps)
    most = max(LEAST_ROWS, min(LAYER_ROWS, rows // len(spikes)))
    images = {name: raster_image(layer, rows=most) for name, layer in spikes.items()}
    full, top, bands = sum(map(len, images.values())), 0, list[Band]()
    for name, image in images.items():
        layer = spikes[name]
        bands.append(
            Band(
                name=name,
                neurons=int(np.prod(layer.shape[1:])),
                rate=float(layer.mean()),
                top=100 * top / full,
                share=100 * len(image) / full,
            )
        )
        top += len(image)
    return bitmaps.ink(np.concatenate(list(images.values()))), tuple(bands)


def result_lines(results_TK: NDArray[np.float64], classes: tuple[str, ...]) -> Lines:
    """The classes with the largest results in the end, the largest first."""
    best = np.argsort(-results_TK[-1], kind="stable")[:LINES]
    drawn_TK = results_TK[:, best]
    lowest, highest = float(drawn_TK.min()), float(drawn_TK.max())
    span = highest - lowest or 1.0
    heights_TK = 100 - MARGIN - (100 - 2 * MARGIN) * (drawn_TK - lowest) / span
    return Lines(
        lines=tuple(
            Line(
                name=classes[k] if k < len(classes) else str(k),
                colour=colour,
                results_T=tuple(float(x) for x in results_TK[:, k]),
                points=_stairs(heights_TK[:, i]),
            )
            for i, (k, colour) in enumerate(zip(best.tolist(), COLOURS, strict=False))
        ),
        classes=results_TK.shape[1],
        lowest=lowest,
        highest=highest,
    )


def _stairs(heights_T: NDArray[np.float64]) -> str:
    """A flat piece for each time step, as wide as its column of the raster; of many steps, the last of neighbours."""
    edges = np.linspace(0, len(heights_T), min(PIECES, len(heights_T)) + 1).round().astype(int)
    ends = 100 * edges / len(heights_T)
    pieces = zip(ends[:-1], ends[1:], heights_T[edges[1:] - 1], strict=True)
    return " ".join(f"{left:.3f},{y:.2f} {right:.3f},{y:.2f}" for left, right, y in pieces)
