"""Draw docs/images/clip_to_energy.png, the picture of the README: tools/readme_picture.py [OUT.png]

What the project does: frames of a shipped clip, the spikes that the shipped network fires in integers (bit for bit
those of Lava), and the energy of the clip's operations: counts times published constants.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

import deploy
from deploy.clips.files import shipped
from deploy.clips.read import known_range, load_clips
from deploy.clips.source import input_format
from deploy.costs.counting import count_operations
from deploy.frontend.export import export_checkpoint
from deploy.ir.integer import IntNetwork
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Frames, Signals
from deploy.passes.schedule import schedule
from deploy.pipeline import RATED_CLIPS, firing_rates
from deploy.report import charts as deploy_plot
from hardware import OpCounts, load_chip, price
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS, TINY_CHECKPOINT
from svformer.pictures import plot
from svformer.pictures.palette import INK, SOFT
from svformer.pictures.pixels import frame_pixels

OUT = Path(__file__).parents[1] / "docs" / "images" / "clip_to_energy.png"
CHIP = "cmos45_fp32"
SHOWN = 96  # neurons of every part, evenly spaced
PARTS = {  # rows of the picture, and what the names of their populations begin with
    "stage 1": ("input", "stem", "stage1"),
    "stage 2": ("down2", "stage2"),
    "stage 3": ("down3", "stage3"),
    "stage 4": ("down4", "stage4"),
    "readout": ("localpath", "head", "output"),
}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=OUT, metavar="OUT.png", help="default: that of the README")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    out = parse_arguments(argv).out
    integer, frames_TCHW, signals = run()
    figure = draw(integer, frames_TCHW, signals)
    content = io.BytesIO()
    figure.savefig(content, dpi=200)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(content).convert("RGB").save(out, optimize=True)
    print(f"{out.name}: {out.stat().st_size / 1e3:.0f} kB")


def run() -> tuple[IntNetwork, Frames, Signals]:
    """The integer network that `run_lava.py` deploys, the frames of a clip [T, C, H, W], and what all populations send.

    What a population sends is [T, C, H, W].
    """
    graph = export_checkpoint(TINY_CHECKPOINT)[1]
    network = deploy.lower(graph)
    wanted, calibration = input_format(graph, network.frames), shipped(CALIBRATION_CLIPS)
    calibration_NTCHW = load_clips(calibration, wanted)
    network = deploy.lower(graph, rates=firing_rates(graph, network, calibration_NTCHW[:RATED_CLIPS]))
    integer = deploy.quantize(network, calibration_NTCHW, input_range=known_range(calibration))
    clip_NTCHW = load_clips(shipped(DEMO_CLIPS)[:1], wanted)
    signals = deploy.simulate(integer, clip_NTCHW, backend="integer").signals
    return integer, clip_NTCHW[0], {name: signal[0] for name, signal in signals.items()}


def draw(integer: IntNetwork, frames_TCHW: Frames, signals: Signals) -> Figure:
    plot.use_style()
    layout = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0, wspace=0.02)
    figure = plt.figure(figsize=(8, 4.6), layout=layout)
    grid = figure.add_gridspec(1 + len(PARTS), 2, width_ratios=(3.6, 1), height_ratios=(0.62, *[1] * len(PARTS)))
    film = plot.film(frame_pixels(frames_TCHW), figure.add_subplot(grid[0, 0]))
    film.set_title("a video clip, one frame a time step")
    rasters = [figure.add_subplot(grid[row, 0], sharex=film) for row in range(1, 1 + len(PARTS))]
    for ax, (part, prefixes) in zip(rasters, PARTS.items(), strict=True):
        layers = [name for name in members(integer, prefixes) if isinstance(integer.populations[name], IntLif)]
        spikes_TN = np.concatenate([signals[name].reshape(len(frames_TCHW), -1) for name in layers], axis=1)
        chosen = np.linspace(0, spikes_TN.shape[1] - 1, SHOWN).astype(int)
        plot.raster(spikes_TN[:, chosen], ax)
        label = f"{part}\n{spikes_TN.shape[1]:,} neurons\n{100 * spikes_TN.mean():.0f} % fire"
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=plot.SMALL, color=INK)
        ax.tick_params(labelbottom=ax is rasters[-1], length=0)
    film.tick_params(labelbottom=False)
    rasters[0].set_title(f"its spikes ({SHOWN} neurons of every stage)")
    rasters[-1].set_xlabel("time step")
    energy = figure.add_subplot(grid[1:, 1])
    draw_energy(energy, integer, signals)
    inner = energy.get_legend()
    assert inner is not None
    causes = [handle for handle in inner.legend_handles if handle is not None]
    figure.legend(handles=causes, ncols=len(causes), loc="outside lower right", fontsize=plot.SMALL, labelcolor=SOFT)
    inner.remove()
    return figure


def draw_energy(ax: Axes, integer: IntNetwork, signals: Signals) -> None:
    counts = count_operations(
        integer, schedule(integer), {name: signal[np.newaxis] for name, signal in signals.items()}
    )
    chip = load_chip(CHIP)
    by_part = {
        part: price(sum((counts[name] for name in members(integer, prefixes)), OpCounts()), chip)
        for part, prefixes in PARTS.items()
    }
    assert np.isclose(sum(e.total_pj for e in by_part.values()), price(sum(counts.values(), OpCounts()), chip).total_pj)
    deploy_plot.energy_bars(by_part, ax)
    ax.set(ylim=(len(PARTS) - 0.5, -0.5), yticks=[], title="the clip's operations", xlabel="µJ, 45 nm constants")


def members(integer: IntNetwork, prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in integer.populations if name.split(".")[0] in prefixes]


if __name__ == "__main__":
    main()
