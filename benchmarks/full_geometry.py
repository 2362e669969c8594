# PYTHON_ARGCOMPLETE_OK
"""The energy ledger of the published geometry, deployed: 224 x 224 pixels, 16 frames, the published firing rates.

    python benchmarks/full_geometry.py --out full.json
    python benchmarks/full_geometry.py --merge never         # a relay behind every convolution
    python benchmarks/full_geometry.py --preset tiny         # a try in seconds

The weights are random; every neuron layer's threshold is set so that it fires at its published rate on a real clip
(`clip_times.published`). So operations, traffic, memory and cores are those of such a network, and no accuracy
is. One clip in the integer interpreter; the full geometry takes a minute of a quiet machine, and 2.1 GB.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_times.published import calibrated_model
from numpy.typing import NDArray
from rich.console import Console

from deploy.arguments import add_merge_argument
from deploy.clips.files import shipped
from deploy.clips.read import load
from deploy.clips.source import ClipSource, InputFormat
from deploy.costs.counting import count_by_clip, count_by_step
from deploy.costs.placing import Placing, place_clips
from deploy.execution.deployment import Deployment
from deploy.execution.tally import ClipResult, Tally
from deploy.frontend.from_svformer import export
from deploy.ir.integer import run_integer
from deploy.passes.chain_choice import Merge
from deploy.passes.defaults import Form
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import deploy
from deploy.report.energy import energy
from deploy.report.keys.energy import EnergySummary
from deploy.report.keys.report import Estimate
from deploy.report.record import estimate
from deploy.report.summary import print_estimate
from hardware import OpCounts, load_chip, shipped_chips
from hardware.spread import ORDERS, Order
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.terminal import duration, new_console
from svformer.config import PRESETS, SVFormerConfig


def deployed(
    config: SVFormerConfig, source: ClipSource, merge: Merge, console: Console, *, form: Form = "fused"
) -> tuple[Deployment, NDArray[Any]]:
    """The network with its published rates, and the clip that they hold for, [1, T, C, H, W]."""
    wanted = InputFormat.of(config)
    frames = load(source, wanted)[np.newaxis]
    model = calibrated_model(config, torch.from_numpy(frames).transpose(1, 2))
    graph = export(model.double())
    console.print("weights calibrated to the published rates")
    return deploy(graph, [source], console.print, merge=merge, search=False, form=form), frames


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known before a run, energy and bill of one clip, and the counts of every layer."""

    estimate: Estimate
    energy: EnergySummary
    counts: dict[str, OpCounts]

    def plain(self) -> dict[str, Any]:
        """All figures as plain values, as in report.json."""
        counts = {name: vars(counts) for name, counts in self.counts.items()}
        return {**self.estimate.plain(), "energy": dataclasses.asdict(self.energy), "counts": counts}


def measure(config: SVFormerConfig, merge: Merge, console: Console, *, order: Order = "pixel") -> Measured:
    """Energy, bill and fit of one clip, and energy and time of the network on the cores of chips with times."""
    source = shipped(CALIBRATION_CLIPS)[0]
    deployment, frames = deployed(config, source, merge, console)
    signals = run_integer(deployment.integer, frames)
    logits = deployment.integer.logits(signals)[0]
    (counts,) = count_by_clip(deployment.integer, deployment.plan, signals)
    clip = ClipResult(source=source, verdict=None, logits=logits, seconds=0.0, counts=counts)
    chips = tuple(map(load_chip, shipped_chips()))
    began = time.monotonic()
    placed = place_clips(deployment.integer, deployment.plan, signals, Placing(order=order, chips=chips), first=True)
    console.print(f"placed in {duration(time.monotonic() - began)}")
    steps = count_by_step(deployment.integer, deployment.plan, signals)
    tally = Tally(clips=[clip], steps=steps, placed=placed)
    found = energy(deployment, tally, chips, order=order)
    known = estimate(deployment, placed=placed, order=order, of_rates=False)
    return Measured(estimate=known, energy=found, counts=tally.counts)


def print_result(found: Measured, console: Console) -> None:
    print_estimate(found.estimate, console)
    totals, energy = sum(found.counts.values(), OpCounts()), found.energy
    for name, value in vars(totals).items():
        console.print(f"{name}: {value:,}")
    console.print(
        f"{energy.geometry_difference} Weighted layers at 45 nm FP32: {energy.ratio_to_paper:.1%} of the paper's "
        f"{energy.paper_mj_per_video:g} mJ, {energy.paper.views['15']:.4g} mJ for 15 views"
    )
    for model in energy.models.values():
        if model.mj_per_view is not None:
            console.print(f"{model.title}: {model.weighted_layers_mj:.4g} mJ, all {model.mj_per_view:.4g} mJ")
            if static := model.static:
                console.print(f"  static, {static.chips} chips for {static.latency_s:g} s: {static.mj:.4g} mJ")
    for entry in energy.bill:
        priced = ", ".join(
            f"{energy.models[chip].title} {mj:.4g} mJ" for chip, mj in entry.mj.items() if mj is not None
        )
        console.print(f"{entry.item}, {entry.choice}: {priced}; {entry.memory_kib:,.0f} KiB")
    if energy.break_even:
        console.print(f"{energy.break_even.words} a clip")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/full_geometry.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="ucf101")
    add_merge_argument(parser)
    place_help = "how neurons are dealt out over cores, for energy and time of the placed network (default: pixel)"
    parser.add_argument("--place", choices=ORDERS, default="pixel", help=place_help)
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    found = measure(PRESETS[arguments.preset], read_merge(arguments.merge), console, order=arguments.place)
    print_result(found, console)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps(found.plain(), indent=2) + "\n")
    if arguments.json:
        print(json.dumps(found.plain()))


if __name__ == "__main__":
    sys.exit(run_cli(main))
