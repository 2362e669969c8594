"""Arrays as pixels: rasters of spikes, frames of a clip, counts of events. No matplotlib, no files.

Legend: T time steps, C channels, H rows, W columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from svformer.data.clips import MEAN, STD
from svformer.pictures.palette import BRIGHTER, DARKER

RASTER_ROWS = 128  # largest number of rows in the picture of a raster

Pixels = NDArray[np.uint8]


def raster_image(spikes_TCHW: NDArray[Any], *, rows: int = RASTER_ROWS) -> Pixels:
    """Darkness [rows, T] of a raster: time steps from left to right, neurons in channel order from top to bottom.

    Up to `rows` neurons have a row each, with 255 for a spike. With more neurons, neighbours share a row; its darkness
    is 255 times the square root of the share that fires, so that one spike among many neurons stays visible.
    """
    return np.round(255 * np.sqrt(row_means(spikes_TCHW, rows))).astype(np.uint8)


def row_means(values: NDArray[Any], rows: int) -> NDArray[np.float64]:
    """Values [T, ...] as [rows, T]; with more than `rows` values a step, neighbours share a row that has their mean."""
    values_TN = values.reshape(len(values), -1).astype(np.float64)
    count = values_TN.shape[1]
    edges = np.linspace(0, count, min(rows, count) + 1).round().astype(int)
    return (np.add.reduceat(values_TN, edges[:-1], axis=1) / np.diff(edges)).T


def frame_pixels(frames_TCHW: NDArray[Any]) -> Pixels:
    """Frames [T, C, H, W] as [T, H, W, 3].

    Bytes of three channels are pixels; real numbers of three channels are normalised pixels and are converted back;
    all other frames are shown as the mean over their channels, in grey.
    """
    if frames_TCHW.shape[1] != 3:
        return grey_pixels(frames_TCHW.mean(axis=1))
    colours_THWC = np.moveaxis(frames_TCHW, 1, -1)
    if colours_THWC.dtype == np.uint8:
        return np.ascontiguousarray(colours_THWC)
    return np.round(255 * np.clip(colours_THWC * STD + MEAN, 0, 1)).astype(np.uint8)


def grey_pixels(values: NDArray[Any]) -> Pixels:
    """Values [...] as [..., 3]: the smallest is black, the largest white."""
    span = float(np.ptp(values)) or 1.0
    return np.repeat(np.round(255 * (values - values.min()) / span).astype(np.uint8)[..., None], 3, axis=-1)


def event_pixels(counts_T2HW: NDArray[Any]) -> Pixels:
    """Counts of events, darker and brighter, as [T, H, W, 3]: a colour for each polarity on white.

    The intensity is the square root of the count, so that single events stay visible beside busy pixels.
    """
    strength = np.sqrt(counts_T2HW / max(1, counts_T2HW.max()))
    colours = np.array([_rgb(DARKER), _rgb(BRIGHTER)])
    ink_THWC = np.einsum("tphw,pc->thwc", strength, 1 - colours)
    return np.round(255 * np.clip(1 - ink_THWC, 0, 1)).astype(np.uint8)


def _rgb(colour: str) -> tuple[float, ...]:
    """A colour "#rrggbb" as three numbers from 0 to 1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
