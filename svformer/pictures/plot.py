"""Plots of clips, spikes, membranes, attention and training; notebooks draw with these functions.

Every function draws into `ax` (new axes where it is None) and returns the axes. A notebook calls `use_style` once, in
its first cell. Time steps are counted from 1 on the x axis, so that pictures with a common x axis are aligned.

Legend: T time steps, C channels, H rows, W columns; N neurons = C * H * W.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from svformer.evaluation.curve import Point
from svformer.evaluation.recording import MembraneTrace
from svformer.pictures.palette import BLUE, GREY, HEAT, INK, LINE, ORANGE, SOFT, STYLE, VERMILLION
from svformer.pictures.pixels import Pixels, raster_image

WIDTH = 10.5  # inches: the width of a page
SMALL = 7.5  # points: the font size of long lists of layer names


def use_style() -> None:
    """Set matplotlib's fonts, lines and frames for all later pictures."""
    plt.style.use(dict(STYLE))


def new_axes(ax: Axes | None, *, height: float = 2.4) -> Axes:
    """The given axes, or those of a new picture, `height` inches high."""
    return plt.figure(figsize=(WIDTH, height), layout="constrained").subplots() if ax is None else ax


def steps_of(signal: NDArray[Any]) -> NDArray[np.int64]:
    """The time steps of a signal [T, ...], from 1 to T."""
    return np.arange(1, len(signal) + 1)


def _time_axis(ax: Axes, steps: int) -> None:
    ax.set_xlim(0.5, steps + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True, steps=[1, 2, 5, 10]))


# A clip and its spikes


def film(pixels_THW3: Pixels, ax: Axes | None = None) -> Axes:
    """Frames (`svformer.pictures.pixels` makes them) in a row, each as wide as its time step."""
    ax = new_axes(ax, height=1.1)
    steps, height, width, _ = pixels_THW3.shape
    gap = max(1, width // 32)
    framed = np.pad(pixels_THW3, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    strip = np.concatenate(list(framed), axis=1)
    ax.imshow(strip, extent=(0.5, steps + 0.5, height / width, 0), aspect="auto", interpolation="antialiased")
    ax.set(yticks=[], frame_on=False)
    _time_axis(ax, steps)
    ax.tick_params(length=0)
    return ax


def raster(spikes_TCHW: NDArray[Any], ax: Axes | None = None) -> Axes:
    """Spikes in black: neurons from top to bottom in channel order; many share a row as in `raster_image`."""
    ax = new_axes(ax)
    steps = len(spikes_TCHW)
    ax.imshow(raster_image(spikes_TCHW), aspect="auto", cmap="Greys", vmin=0, vmax=255, extent=(0.5, steps + 0.5, 1, 0))
    ax.set_yticks([])
    _time_axis(ax, steps)
    return ax


def rate(spikes_TCHW: NDArray[Any], ax: Axes | None = None) -> Axes:
    """The share of the neurons that fire at each time step."""
    ax = new_axes(ax, height=1.5)
    by_step = spikes_TCHW.reshape(len(spikes_TCHW), -1).mean(axis=1)
    ax.bar(steps_of(spikes_TCHW), by_step, width=0.9, color=BLUE)
    ax.set_ylabel("firing rate")
    _time_axis(ax, len(spikes_TCHW))
    return ax


def rate_map(layers: Mapping[str, NDArray[Any]], ax: Axes | None = None) -> Axes:
    """Firing rate of every layer (rows, from spikes [T, C, H, W]) at every time step (columns), as heat."""
    ax = new_axes(ax, height=0.6 + 0.17 * len(layers))
    rates = np.array([spikes.reshape(len(spikes), -1).mean(axis=1) for spikes in layers.values()])
    edges = np.arange(rates.shape[1] + 1) + 0.5, np.arange(len(rates) + 1) - 0.5
    heat = ax.pcolormesh(*edges, rates, cmap=HEAT, vmin=0)
    ax.set_yticks(range(len(layers)), list(layers), fontsize=SMALL)
    ax.invert_yaxis()
    ax.set(xlabel="time step")
    ax.tick_params(length=0)
    _time_axis(ax, rates.shape[1])
    ax.figure.colorbar(heat, ax=ax, label="firing rate", pad=0.01)
    return ax


def aligned(
    strips: Mapping[str, Pixels],
    layers: Mapping[str, NDArray[Any]],
    figure: Figure | SubFigure | None = None,
    *,
    row: float = 0.42,
) -> list[Axes]:
    """Strips of frames [T, H, W, 3], and below them the raster of every layer [T, C, H, W], with a common time axis.

    `row` is the height of a raster in inches. Returns the axes from top to bottom.
    """
    frame = (WIDTH - 2) / len(next(iter(layers.values())))
    heights = [min(frame, 1.0)] * len(strips) + [row] * len(layers)
    if figure is None:
        figure = plt.figure(figsize=(WIDTH, 0.4 + 1.12 * sum(heights)), layout="constrained")
    axes = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    for ax, (name, pixels) in zip(axes, strips.items(), strict=False):
        _name(film(pixels, ax), name)
    for ax, (name, spikes) in zip(axes[len(strips) :], layers.items(), strict=True):
        _name(raster(spikes, ax), f"{name}\n{'x'.join(map(str, spikes.shape[1:]))}, rate {spikes.mean():.2f}")
        ax.tick_params(length=0)
    axes[-1].set_xlabel("time step")
    return axes


def _name(ax: Axes, name: str) -> None:
    ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL)


def membrane(trace: MembraneTrace, neuron: tuple[int, int, int], ax: Axes | None = None, *, clip: int = 0) -> Axes:
    """Current, membrane potential and spikes of one neuron (c, y, x); `clip` is its number in the trace's batch."""
    ax = new_axes(ax)
    channel, y, x = neuron
    signals = (trace.current, trace.potential, trace.spikes)
    current, potential, spikes = (signal[:, clip, channel, y, x] for signal in signals)
    t = steps_of(potential)
    path = np.stack([potential, np.where(spikes, 0.0, potential)], axis=1).ravel()
    ax.bar(t, current, width=0.5, color=GREY, alpha=0.45, label="current")
    ax.plot(np.repeat(t, 2), path, color=BLUE, linewidth=1.2, label="potential, then its reset")
    ax.plot(t, potential, "o", color=BLUE, markersize=3)
    ax.plot(t[spikes == 1], potential[spikes == 1], "o", color=VERMILLION, markersize=7, label="spike")
    ax.axhline(trace.threshold, color=INK, linewidth=0.8, linestyle="--")
    ax.axhline(0, color=SOFT, linewidth=0.6)
    _time_axis(ax, len(t))
    return ax


# Attention


def attention(amounts: NDArray[Any], ax: Axes | None = None, *, row: int | None = None) -> Axes:
    """Counts of coincidences, k^T v [d, d], as heat; `row`, the one that a spike of q selects, gets a frame."""
    ax = new_axes(ax, height=2.8)
    heat = ax.imshow(amounts, cmap=HEAT, vmin=0)
    if row is not None:
        ax.add_patch(Rectangle((-0.5, row - 0.5), amounts.shape[1], 1, fill=False, color=VERMILLION, linewidth=2))
    ax.set(xlabel="channel of v", ylabel="channel of k, and of q")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.figure.colorbar(heat, ax=ax, shrink=0.8, label="coincidences")
    return ax


def positions(
    fired_HW: NDArray[Any], ax: Axes | None = None, *, frame_HW3: Pixels | None = None, colour: str = ORANGE
) -> Axes:
    """Amounts at the positions of a feature map [H, W], as shades of a colour over a frame of the clip."""
    ax = new_axes(ax, height=2.4)
    height, width = fired_HW.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if frame_HW3 is not None:
        grey = frame_HW3.mean(axis=-1)
        ax.imshow(160 + grey * (95 / 255), cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased")
    shade = np.zeros((height, width, 4))
    shade[..., :3] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    shade[..., 3] = 0.8 * fired_HW / max(1, fired_HW.max())
    ax.imshow(shade, extent=extent, interpolation="nearest")
    ax.set_xticks(np.arange(width + 1) - 0.5, [])
    ax.set_yticks(np.arange(height + 1) - 0.5, [])
    ax.grid(color=LINE, linewidth=0.6)
    ax.tick_params(length=0)
    return ax


# Training and results


def curve(points: Sequence[Point], ax: Axes | None = None) -> Axes:
    """Loss (left) and accuracies (right) over the epochs of a run; returns the axes of the loss.

    Accuracy is shown on the training samples, and on held-out clips for the epochs at which it was measured.
    """
    ax = new_axes(ax)
    epochs = [point.epoch for point in points]
    ax.plot(epochs, [point.loss for point in points], color=BLUE)
    ax.set(xlabel="epoch", ylim=(0, None))
    ax.set_ylabel("loss", color=BLUE)
    right = ax.twinx()
    style: dict[str, Any] = {"color": VERMILLION, "clip_on": False}  # clipping would halve a line at 100 %
    right.plot(epochs, [100 * point.train_top1 for point in points], linestyle="--", **style)
    test = [(point.epoch, 100 * point.test_top1) for point in points if point.test_top1 is not None]
    if test:
        right.plot(*zip(*test, strict=True), marker=".", **style)
    kinds = "top-1, % (dashed: training, solid: held out)" if test else "training top-1, % (dashed)"
    right.set_ylabel(kinds, color=VERMILLION)
    right.set_ylim(0, 100)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def scores(logits_K: NDArray[Any], classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """The logits of a clip, the largest in colour."""
    ax = new_axes(ax, height=2.0)
    best = int(np.argmax(logits_K))
    ax.bar(list(classes), logits_K, color=[BLUE if k == best else GREY for k in range(len(classes))])
    ax.axhline(0, color=SOFT, linewidth=0.8)
    ax.set_ylabel("logit")
    ax.tick_params(axis="x", rotation=30)
    return ax


def draw_curve(points: list[Point], path: Path) -> None:
    """Write `curve` as a .png file."""
    with plt.style.context(dict(STYLE)):
        figure = Figure(figsize=(6, 3.2))
        curve(points, figure.subplots())
        figure.savefig(path, dpi=120)
