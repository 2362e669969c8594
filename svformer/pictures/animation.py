"""A clip beside its spikes as an animated PNG: browsers and notebooks play it, and a print shows time step 1."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from svformer.pictures import plot
from svformer.pictures.palette import VERMILLION
from svformer.pictures.pixels import Pixels

DPI, COLOURS = 80, 128


def play(pixels_THW3: Pixels, layers: Mapping[str, NDArray[Any]], *, step_ms: int = 400) -> bytes:
    """The frames of a clip on the left, on the right the rasters of layers [T, C, H, W] with the frame's time marked.

    Returns the content of a PNG file that repeats without end, `step_ms` milliseconds for each frame.
    """
    figure = Figure(figsize=(plot.WIDTH, 0.5 + 0.5 * len(layers)), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.6), squeeze=False)[0]
    shown = left.subplots()
    picture = shown.imshow(pixels_THW3[0], interpolation="nearest")
    shown.axis("off")
    axes = plot.aligned({}, layers, right)
    marks = [ax.axvspan(0.5, 1.5, facecolor=VERMILLION, alpha=0.35) for ax in axes]
    pages = []
    for step, pixels in enumerate(pixels_THW3, start=1):
        picture.set_data(pixels)
        shown.set_title(f"time step {step}", loc="left")
        for mark in marks:
            mark.set_x(step - 0.5)
        canvas.draw()  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")  # the layout of the first page holds for all pages
        pages.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())  # type: ignore[no-untyped-call]
    return _animated(pages, step_ms)


def _animated(pages: list[Pixels], step_ms: int) -> bytes:
    """The content of a PNG file; all pages have one palette, so that parts without motion take no space."""
    palette = Image.fromarray(np.concatenate(pages)).quantize(COLOURS, dither=Image.Dither.NONE)
    images = [Image.fromarray(page).quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    content = io.BytesIO()
    images[0].save(content, "PNG", save_all=True, append_images=images[1:], duration=step_ms, loop=0, optimize=True)
    return content.getvalue()
