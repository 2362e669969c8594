"""Drawing for the notebooks, so that their cells hold only what they are about.

Legend: T time steps, C channels, H rows, W columns; time steps are counted from 1, as in the reports.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from deploy.report.plot import raster_image

INK, SOFT, LINE = "#1d1c1a", "#67635b", "#dedad1"
BLUE, AMBER, RED, GREEN, GREY, TEAL, VIOLET = (
    "#2f6690", "#d08a2e", "#a2455d", "#7f9c4a", "#9b948a", "#3a9188", "#75619d"
)  # fmt: skip
WIDTH = 10.5  # inches

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.edgecolor": SOFT,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "legend.frameon": False,
        "image.cmap": "Greys",
        "image.interpolation": "nearest",
    }
)


def film_strip(frames_TCHW: NDArray[np.uint8], times_s: NDArray[np.float64]) -> Figure:
    """All frames of a clip in two rows, each with its time in the clip."""
    figure, axes = plt.subplots(2, -(-len(frames_TCHW) // 2), figsize=(WIDTH, 3.0))
    for ax in axes.flat:
        ax.axis("off")
    for ax, frame_CHW, time_s in zip(axes.flat, frames_TCHW, times_s, strict=False):
        ax.imshow(np.moveaxis(frame_CHW, 0, -1))
        ax.set_title(f"{time_s:.2f} s", fontsize=8, color=SOFT, loc="center", pad=2)
    return figure


def rasters(layers: Mapping[str, NDArray[Any]]) -> Figure:
    """Spikes [T, C, H, W] of several layers side by side, the firing rate of every time step above each."""
    figure, axes = plt.subplots(
        2, len(layers), figsize=(WIDTH, 4.4), sharex=True, sharey="row", height_ratios=(1, 4), squeeze=False
    )
    for (name, spikes_TCHW), (above, below) in zip(layers.items(), axes.T, strict=True):
        draw_rate(above, spikes_TCHW)
        draw_raster(below, spikes_TCHW)
        shape = " x ".join(map(str, spikes_TCHW.shape[1:]))
        above.set_title(f"{name}\n{shape} neurons, rate {spikes_TCHW.mean():.3f}", fontsize=8)
    axes[0, 0].set_ylabel("firing rate")
    axes[1, 0].set_ylabel("neurons, in channel order")
    figure.supxlabel("time step", fontsize=9, color=SOFT)
    return figure


def draw_rate(ax: Axes, spikes_TCHW: NDArray[Any]) -> None:
    """Share of the neurons that fire at each time step."""
    ax.bar(steps(spikes_TCHW), spikes_TCHW.reshape(len(spikes_TCHW), -1).mean(axis=1), width=0.9, color=BLUE)


def draw_raster(ax: Axes, spikes_TCHW: NDArray[Any]) -> None:
    """Time steps on x, neurons on y; where a layer has more neurons than rows, neighbours share one (see report)."""
    picture = raster_image(spikes_TCHW)
    ax.imshow(picture, aspect="auto", vmin=0, vmax=255, extent=(0.5, len(spikes_TCHW) + 0.5, 1, 0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_yticks([])


def draw_difference(ax: Axes, first_TN: NDArray[Any], second_TN: NDArray[Any]) -> None:
    """Two recordings of the same neurons in one raster: ink where both fire, colour where only one does."""
    which = (first_TN != 0) + 2 * (second_TN != 0)
    colours = ListedColormap(["white", AMBER, BLUE, INK])
    extent = (0.5, len(which) + 0.5, which.shape[1] + 0.5, 0.5)
    ax.imshow(which.T, cmap=colours, vmin=0, vmax=3, aspect="auto", extent=extent)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_stacked(ax: Axes, amounts: Mapping[str, Mapping[str, float]], kinds: Mapping[str, tuple[str, str]]) -> None:
    """A horizontal bar for every row of `amounts`, its kinds side by side, each with its label and colour."""
    left = np.zeros(len(amounts))
    for kind, (label, colour) in kinds.items():
        width = np.array([row[kind] for row in amounts.values()])
        ax.barh(list(amounts), width, left=left, color=colour, label=label)
        left += width
    ax.tick_params(axis="y", labelsize=7)
    ax.invert_yaxis()
    ax.legend(loc="lower right")


def steps(spikes_TCHW: NDArray[Any]) -> NDArray[np.int64]:
    """The time steps of a recording, from 1."""
    return np.arange(1, len(spikes_TCHW) + 1)
