"""Run a network on Lava's CPU backend, check it bit for bit, and price the spikes that were fired.

    python deploy/run_lava.py [--nir FILE.nir] [--clip FILE ...] [--dataset NAME --root DIR] [--out DIR]

Without arguments: the shipped network on the shipped clips. The out folder receives report.json, report.html,
spikes.h5 and model.nir.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import nir
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deploy.export import check_export, export_checkpoint
from deploy.inputs import ClipSource, batches, from_files, shipped, with_views
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import graph_dt_s
from deploy.pipeline import Deployment, Tally, deploy, input_format, run
from deploy.report.page import write_page
from deploy.report.record import estimate, record
from deploy.report.spikes import write_spikes
from deploy.report.summary import print_estimate, print_summary
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS, TINY_CHECKPOINT
from svformer.cli import run_cli
from svformer.data.datasets import add_dataset_arguments, open_dataset
from svformer.errors import InputError
from svformer.files import atomic_path

LOIHI_MISSING = (
    "--backend loihi2 needs Intel's Loihi 2 extension of Lava (lava-loihi, from INRC) and a board; neither is here. "
    "allowed on this machine: lava, integer"
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nir", type=Path, help="network to run (default: the shipped checkpoint, exported first)")
    parser.add_argument("--clip", type=Path, nargs="+", help="video files, or .npy [T, *input shape]")
    add_dataset_arguments(parser, default=None)
    parser.add_argument("--limit", type=int, help="run at most so many videos of the data set")
    parser.add_argument("--views", default="1x1", help="temporal x spatial views of every video, e.g. 5x3")
    parser.add_argument("--backend", choices=("lava", "integer", "loihi2"), default="lava")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the results")
    parser.add_argument("--timeout", type=float, help="seconds that one batch of clips may take on Lava")
    parser.add_argument("--estimate", action="store_true", help="plan and fit only, simulate nothing")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the summary")
    arguments = parser.parse_args()
    if arguments.backend == "loihi2":
        raise InputError(LOIHI_MISSING)
    if arguments.clip and arguments.dataset:
        raise InputError("--clip and --dataset are both given; choose one")
    return arguments


def read_network(arguments: argparse.Namespace, console: Console) -> nir.NIRGraph:
    """The graph of --nir, or of the shipped checkpoint, which is exported and checked first."""
    if arguments.nir:
        return read_nir(arguments.nir)
    model, graph = export_checkpoint(TINY_CHECKPOINT)
    _, clips = next(batches(shipped(CALIBRATION_CLIPS), input_format(graph, model.config.frames), 2))
    check = check_export(model, graph, clips)
    path = arguments.out / "model.nir"
    write_nir(graph, path)
    console.print(f"exported {path}: PyTorch = NIR on {check.spikes_compared:,} spikes, {check.ties} differ at ties")
    return read_nir(path)


def choose_clips(arguments: argparse.Namespace, graph: nir.NIRGraph) -> list[ClipSource]:
    """The clips to run, every view of them."""
    if arguments.clip:
        sources = from_files(arguments.clip)
    elif arguments.dataset:
        size = input_format(graph, 1).shape[-1]
        data = open_dataset(arguments, size=size, frames=int(graph.metadata["T"]), train=False)
        sources = [ClipSource(path=e.path, label=data.classes[e.label]) for e in data.entries][: arguments.limit]
    else:
        sources = shipped(DEMO_CLIPS)
    return with_views(sources, *parse_views(arguments.views))


def parse_views(text: str) -> tuple[int, int]:
    """Temporal and spatial views, "5x3"."""
    temporal, _, spatial = text.partition("x")
    if not (temporal.isdigit() and spatial.isdigit() and int(temporal) and int(spatial)):
        raise InputError(f"--views {text}; allowed: temporal x spatial counts from 1, such as 5x3")
    return int(temporal), int(spatial)


def calibration_clips(graph: nir.NIRGraph, sources: list[ClipSource]) -> list[ClipSource]:
    """The shipped clips for a network that takes video; the clips to run for any other."""
    takes_video = len(shape := input_format(graph, 1).shape) == 3 and shape[0] == 3
    return shipped(CALIBRATION_CLIPS) if takes_video else sources


def run_with_progress(
    deployment: Deployment, sources: list[ClipSource], arguments: argparse.Namespace, console: Console
) -> Tally:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{len(sources)} clips on {arguments.backend}", total=len(sources))
        return run(
            deployment,
            sources,
            backend=arguments.backend,
            timeout_s=arguments.timeout,
            on_clips=lambda clips: progress.update(task, completed=clips),
        )


def write_json(report: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    arguments = parse_arguments()
    console = Console(quiet=arguments.json)
    graph = read_network(arguments, console)
    sources = choose_clips(arguments, graph)
    deployment = deploy(graph, calibration_clips(graph, sources), say=console.print)
    if arguments.estimate:
        report = estimate(deployment)
        print_estimate(report, console)
    else:
        tally = run_with_progress(deployment, sources, arguments, console)
        report = record(deployment, tally, backend=arguments.backend)
        write_spikes(tally.kept, arguments.out / "spikes.h5", dt_s=graph_dt_s(graph))
        write_page(report, tally.kept, tally.shown_frames, arguments.out / "report.html")
        print_summary(report, console)
    write_json(report, arguments.out / "report.json")
    if arguments.json:
        print(json.dumps(report))
    console.print(f"look at {arguments.out / ('report.json' if arguments.estimate else 'report.html')}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
