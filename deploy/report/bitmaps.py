"""Pictures of a report as data URIs: spike rasters and the frames that caused them, from `svformer.pictures.pixels`.

Only what has a pixel for every value is a bitmap. Bars and dots are SVG that the templates draw in per cent, so that
they keep readable text on a phone and follow the colours of the page.

Legend: T time steps, C channels, H rows, W columns, N neurons = C * H * W.
"""

import base64
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from svformer.pictures.pixels import RASTER_ROWS, Pixels, frame_pixels, grey_pixels, raster_image, row_means

FRAMES_SHOWN = 16  # frames of a film strip, and time steps labelled below, at most
FRAME_SIZE = 96  # pixels of the longer side of a frame in the strip at most
PLAYED_SIZE = 256  # the same of one that is played
PLAYED_CHARACTERS = 1_000_000  # of all frames that are played, as PNG; more are JPEG
STRIP_CHARACTERS = 300_000  # the same of those of the strip
JPEG_QUALITY = 80
RASTER_PIXELS = 800_000  # of all rasters of a clip, about; longer clips have rasters of fewer rows
LEAST_ROWS = 8
RATE_COLUMNS = 128  # columns of a curve of rates at most


@dataclass(frozen=True, kw_only=True)
class RateColumn:
    """The mean rate of neighbouring time steps, counted from 1."""

    first: int
    last: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Spikes of one layer during one clip, ready to be drawn."""

    name: str
    shape_CHW: tuple[int, ...]
    neurons: int
    neurons_per_row: int  # at most
    png: str  # data URI
    rates_T: tuple[float, ...]  # spikes per neuron at each time step
    columns: tuple[RateColumn, ...]  # the same as it is drawn

    @property
    def rate(self) -> float:
        return float(np.mean(self.rates_T))

    @property
    def peak(self) -> float:
        return max(self.rates_T)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame of a clip."""

    step: int  # counted from 1
    uri: str


def rows_of_rasters(steps: int, layers: int) -> int:
    """Rows that each of so many rasters of a clip has at most, so that all of them have room on a page."""
    return min(RASTER_ROWS, max(LEAST_ROWS, RASTER_PIXELS // (steps * max(layers, 1))))


def raster_of(name: str, spikes_TCHW: NDArray[Any], *, rows: int = RASTER_ROWS) -> Raster:
    """Raster of a layer's spikes [T, C, H, W], of at most `rows` rows."""
    neurons = int(np.prod(spikes_TCHW.shape[1:]))
    rates_T = spikes_TCHW.reshape(len(spikes_TCHW), -1).mean(axis=1)
    return Raster(
        name=name,
        shape_CHW=spikes_TCHW.shape[1:],
        neurons=neurons,
        neurons_per_row=-(-neurons // rows),
        png=ink(raster_image(spikes_TCHW, rows=rows)),
        rates_T=tuple(float(rate) for rate in rates_T),
        columns=tuple(_columns(rates_T)),
    )


def _columns(rates_T: NDArray[np.float64]) -> Iterator[RateColumn]:
    edges = np.linspace(0, len(rates_T), min(RATE_COLUMNS, len(rates_T)) + 1).round().astype(int)
    for first, last in itertools.pairwise(edges.tolist()):
        yield RateColumn(first=first + 1, last=last, rate=float(rates_T[first:last].mean()))


def film_strip(frames: NDArray[np.float32]) -> list[Frame]:
    """Frames [T, C, H, W] as pictures, evenly spaced where there are more than fit in a row.

    Colour clips are shown as they were before normalisation, others as the mean over channels in grey.
    """
    chosen = evenly(len(frames))
    shrunk = [_shrunk(frame, FRAME_SIZE) for frame in frame_pixels(frames)[chosen]]
    return _pictures(chosen, shrunk, STRIP_CHARACTERS)


def evenly(steps: int) -> NDArray[np.int64]:
    """Up to `FRAMES_SHOWN` time steps, from 0, evenly spaced."""
    shown = min(steps, FRAMES_SHOWN)
    return ((np.arange(shown) + 0.5) * steps / shown).astype(np.int64)


def film(frames: NDArray[np.float32], most: int) -> list[Frame]:
    """Frames [T, C, H, W] to be played: at most `most`, evenly spaced from the first on.

    They are exact, or JPEG where exact pictures would make the page heavy.
    """
    shown = min(len(frames), most)
    chosen = np.arange(shown) * len(frames) // shown
    shrunk = [_shrunk(frame, PLAYED_SIZE) for frame in frame_pixels(frames)[chosen]]
    return _pictures(chosen, shrunk, PLAYED_CHARACTERS)


def _pictures(steps: NDArray[np.int64], pixels: list[Pixels], most: int) -> list[Frame]:
    """Frames at these time steps, from 0: exact, or JPEG where exact ones have more than `most` characters in all."""
    pictures = [_png(frame) for frame in pixels]
    if sum(map(len, pictures)) > most:
        pictures = [_jpeg(frame) for frame in pixels]
    return [Frame(step=int(step) + 1, uri=uri) for step, uri in zip(steps, pictures, strict=True)]


def are_pictures(frames: NDArray[np.float32] | None) -> TypeGuard[NDArray[np.float32]]:
    """Whether frames are [T, C, H, W] with more than one pixel."""
    return frames is not None and frames.ndim == 4 and frames.shape[2] * frames.shape[3] > 1


def signal_picture(frames: NDArray[np.float32]) -> str:
    """An input that is no picture, [T, ...]: time steps from left to right, values from top to bottom, in grey."""
    return _png(grey_pixels(row_means(frames, RASTER_ROWS)))


def ticks(steps: int) -> list[int]:
    """Time steps that are labelled, from 1."""
    return list(range(1, steps + 1, -(-steps // FRAMES_SHOWN)))


def _shrunk(frame_HWC: Pixels, size: int) -> Pixels:
    """Means over blocks, so that the longer side has at most `size` pixels."""
    block = -(-max(frame_HWC.shape[:2]) // size)
    rows, columns = (np.arange(0, side, block) for side in frame_HWC.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(frame_HWC.astype(np.float64), rows, axis=0), columns, axis=1)
    counts = np.outer(
        *(np.diff([*starts, side]) for starts, side in zip((rows, columns), frame_HWC.shape, strict=False))
    )
    return np.round(sums / counts[..., None]).astype(np.uint8)


def ink(darkness: Pixels) -> str:
    """Black ink of that opacity on nothing: the page's own background shows through."""
    return _png(np.dstack([np.zeros((*darkness.shape, 3), np.uint8), darkness]))


def shades(values: NDArray[np.float64], most: float) -> str:
    """Values [H, W] of 0 to `most` as ink on nothing, on a square root scale."""
    return ink(np.round(255 * np.sqrt(values / (most or 1.0))).astype(np.uint8))


def _png(pixels: Pixels) -> str:
    """Pixels [H, W, 3 or 4] as a data URI."""
    return _uri(pixels, "png")


def _jpeg(pixels: Pixels) -> str:
    """Pixels [H, W, 3] as a data URI that is smaller and not exact."""
    return _uri(pixels, "jpeg", quality=JPEG_QUALITY)


def _uri(pixels: Pixels, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
