# PYTHON_ARGCOMPLETE_OK
"""How the cost of a clip on Lava grows with time steps, image size, firing rate and depth, beside dense PyTorch.

    python benchmarks/growth.py --out growth.json --picture growth.png
    python benchmarks/growth.py --clips 2 --repeats 1        # a first look

One quantity at a time departs from the middle: the tiny preset's channels at 96 x 96 pixels, T = 16, layers firing at
10 %. Seconds of a clip are those of a stream of clips, so the depth of the pipeline is shared by them; memory is what
all processes together take beyond this one before the run. Minutes on 2 cores; nothing else may run beside it.
"""

import argparse
import ctypes
import dataclasses
import gc
import json
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_times.measuring import Memory, children, median_s, memory_of
from clip_times.published import calibrated_model, fit_threshold
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from deploy.clips.files import shipped
from deploy.clips.read import known_range, load
from deploy.clips.source import InputFormat
from deploy.execution.simulate import simulate
from deploy.frontend.from_svformer import export
from deploy.ir.populations.lif import IntLif
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import quantize
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.options import positive_int
from svformer.common.provenance import Provenance, provenance
from svformer.common.terminal import new_console
from svformer.config import PRESETS, SVFormerConfig
from svformer.model.neurons import PLIF
from svformer.model.svformer import SVFormer

LIBRARIES = ("torch", "numpy", "lava-nc")
MIDDLE_RATE = 0.1
MERGED = read_merge("cmos45_fp32")  # the form of convolutions in a row that the published times are of
TORCH_REPEATS = 25  # a forward pass of some 20 ms: single ones differ by a factor of two
LOOK_S = 0.01
MIDDLE = dataclasses.replace(PRESETS["tiny"], image_size=96, frames=16)
SWEEPS: dict[str, tuple[float, ...]] = {
    "frames": (4, 8, 16, 32),
    "image_size": (32, 64, 96, 128),
    "rate": (0.01, 0.05, 0.1, 0.2, 0.4),
    "blocks": (4, 8, 12, 16),
}
AXES = {
    "frames": ("time steps T", 1),
    "image_size": ("image size, pixels a side", 1),
    "rate": ("firing rate, %", 100),
    "blocks": ("depth, transformer blocks", 1),
}
LAVA, TORCH = "#0072B2", "#D55E00"  # of the colour-blind safe set of Okabe and Ito


def at(quantity: str, value: float) -> tuple[SVFormerConfig, float]:
    """Geometry and firing rate where one quantity departs from the middle."""
    if quantity == "rate":
        return MIDDLE, value
    if quantity == "blocks":
        return dataclasses.replace(MIDDLE, depths=(int(value) // 4,) * 4), MIDDLE_RATE
    if quantity == "image_size":
        return dataclasses.replace(MIDDLE, image_size=int(value)), MIDDLE_RATE
    return dataclasses.replace(MIDDLE, frames=int(value)), MIDDLE_RATE


def at_rate(model: SVFormer, clip_BCTHW: Tensor, rate: float) -> SVFormer:
    """The model with thresholds that make every layer fire at this rate, set from front to back."""
    neurons = [module for module in model.modules() if isinstance(module, PLIF)]
    handles = [module.register_forward_pre_hook(fit_threshold(rate)) for module in neurons]
    with torch.no_grad():
        model(clip_BCTHW)
    for handle in handles:
        handle.remove()
    return model


class Growing(Memory):
    """Memory of this process and its children together, looked at often: how far it rose above where it was."""

    def __enter__(self) -> "Growing":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system now, not while Lava runs
        self.before_mb = self.peak_mb = _together_mb()
        super().__enter__()
        return self

    @property
    def added_mb(self) -> float:
        return self.peak_mb - self.before_mb

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.peak_mb = max(self.peak_mb, _together_mb())


def _together_mb() -> float:
    return sum(memory_of(pid).get("Pss", 0) for pid in [os.getpid(), *children(os.getpid())]) / 1024


def measure(quantity: str, value: float, *, clips: int, repeats: int) -> dict[str, Any]:
    config, rate = at(quantity, value)
    source = shipped(CALIBRATION_CLIPS)[0]
    wanted = InputFormat.of(config)
    frames = load(source, wanted)[np.newaxis]
    clip = torch.from_numpy(frames).transpose(1, 2)
    model = at_rate(calibrated_model(config, clip), clip, rate)
    lowered = lower(export(model.double()), merge=MERGED)
    network = quantize(lowered, frames, search=False, input_range=known_range([source]))
    model.float()
    with torch.no_grad():
        model(clip)
        torch_s = median_s(lambda: model(clip), TORCH_REPEATS)
    runs = [simulate(network, np.repeat(frames, clips, axis=0)) for _ in range(repeats)]
    with Growing() as memory:  # a run of its own, since looking so often takes time
        simulate(network, np.repeat(frames, clips, axis=0))
    spiking = [name for name, p in network.populations.items() if isinstance(p, IntLif)]
    signals = runs[0].signals
    fired = sum(int(signals[name].sum()) for name in spiking)
    return {
        "quantity": quantity,
        "value": value,
        "image_size": config.image_size,
        "frames": config.frames,
        "depths": list(config.depths),
        "neurons": sum(int(np.prod(network.populations[name].shape)) for name in spiking),
        "rate": fired / sum(signals[name].size for name in spiking),
        "torch_s_per_clip": torch_s,
        "lava_s_per_clip": statistics.median(run.run_s for run in runs) / clips,
        "lava_build_s": statistics.median(run.build_s for run in runs),
        "lava_mb": memory.added_mb,
    }


def draw(points: Iterable[dict[str, Any]], made: Provenance, clips: int, path: Path) -> None:
    """Seconds above, memory below; one column for each quantity."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(2, len(SWEEPS), sharex="col")
    points = list(points)
    for column, quantity in enumerate(SWEEPS):
        label, factor = AXES[quantity]
        swept = sorted((p for p in points if p["quantity"] == quantity), key=lambda p: p["value"])
        x = [p["value"] * factor for p in swept]
        seconds, memory = panels[:, column]
        seconds.plot(x, [p["lava_s_per_clip"] for p in swept], "o-", color=LAVA, label="Lava, streamed")
        seconds.plot(x, [p["torch_s_per_clip"] for p in swept], "s--", color=TORCH, label="PyTorch, dense")
        memory.plot(x, [p["lava_mb"] for p in swept], "o-", color=LAVA)
        memory.set_xlabel(label)
        for panel in (seconds, memory):
            panel.set_ylim(0, 1.1 * panel.dataLim.y1)
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        seconds.set_xticks(x)
    panels[0, 0].set_ylabel("seconds a clip")
    panels[1, 0].set_ylabel("memory of Lava, MB")
    panels[0, 0].legend(frameon=False, fontsize="small", loc="upper left")
    middle = f"{MIDDLE.image_size} x {MIDDLE.image_size} pixels, T = {MIDDLE.frames}, rate {100 * MIDDLE_RATE:g} %"
    figure.suptitle(
        f"Cost of a clip around {middle}, {sum(MIDDLE.depths)} blocks; {clips} clips streamed\n"
        f"{made.processor}, {os.cpu_count()} cores, {made.date}, commit {made.commit}",
        fontsize="medium",
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def print_table(points: Iterable[dict[str, Any]], console: Console) -> None:
    table = Table("quantity", "value", "neurons", "rate, %", "Lava, s a clip", "PyTorch, s a clip", "Lava, MB")
    for p in points:
        numbers = (f"{100 * p['rate']:.1f}", f"{p['lava_s_per_clip']:.3f}", f"{p['torch_s_per_clip']:.3f}")
        table.add_row(p["quantity"], f"{p['value']:g}", f"{p['neurons']:,}", *numbers, f"{p['lava_mb']:.0f}")
    console.print(table)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/growth.py", description=__doc__)
    parser.add_argument("--clips", type=positive_int, default=8, help="clips that stream back to back (default: 8)")
    parser.add_argument("--repeats", type=positive_int, default=3, help="runs of each; the median counts (default: 3)")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--picture", type=Path, help="draw them, .png or .svg")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console, made = new_console(), provenance(LIBRARIES)
    points: list[dict[str, Any]] = []
    measured: dict[Any, dict[str, Any]] = {}
    for quantity, values in SWEEPS.items():
        for value in values:
            geometry = at(quantity, value)  # the middle belongs to every sweep and is measured once
            if geometry not in measured:
                measured[geometry] = measure(quantity, value, clips=arguments.clips, repeats=arguments.repeats)
                console.print(f"{quantity} {value:g}: {measured[geometry]['lava_s_per_clip']:.3f} s a clip")
            points.append({**measured[geometry], "quantity": quantity, "value": value})
    print_table(points, console)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            found = {**vars(made), "clips": arguments.clips, "repeats": arguments.repeats, "points": points}
            temporary.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.picture:
        draw(points, made, arguments.clips, arguments.picture)


if __name__ == "__main__":
    sys.exit(run_cli(main))
