# PYTHON_ARGCOMPLETE_OK
"""Run a network on Lava's CPU backend, check it bit for bit, and price the spikes that were fired.

    python deploy/run_lava.py                                      # the shipped network on the shipped clips
    python deploy/run_lava.py --clip my.mp4 --out runs/my          # ... on a video of yours
    python deploy/run_lava.py --dataset folder --root DIR --workers 8     # the same again with --resume goes on
    python deploy/run_lava.py --nir FILE.nir --clip FILE.npy --dt 1e-4       # a network of another framework
    python deploy/run_lava.py --estimate                           # does it fit? nothing is simulated

The out folder receives report.json, report.html, report.md, spikes.h5 and model.nir. A run of many clips keeps its
finished batches in OUT/parts until it ends well; --resume goes on from them after Ctrl-C or a crash.
"""

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.arguments import DEFAULT_MERGE, MERGE_HELP
from deploy.ir.machine import WEIGHT_BITS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.terminal import counting, new_console
from svformer.data.arguments import add_dataset_arguments

if TYPE_CHECKING:
    from deploy.clips.source import ClipSource
    from deploy.execution.collect import Runner
    from deploy.execution.deployment import Deployment
    from deploy.execution.tally import Tally
    from deploy.report.keys.report import Estimate


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--nir", type=Path, help="network to run (default: the shipped checkpoint, exported first)")
    clip_help = "video files, events (.aedat, .npy), or .npy [T, *input shape]"
    parser.add_argument("--clip", type=Path, nargs="+", help=clip_help)
    add_dataset_arguments(parser, default=None)
    parser.add_argument("--dt", type=float, help="seconds of a time step, for a .nir that does not say (or another)")
    parser.add_argument("--limit", type=int, help="run at most so many videos of the data set")
    parser.add_argument("--views", default="1x1", help="temporal x spatial views of every video, e.g. 5x3")
    parser.add_argument("--weight-bits", type=int, default=WEIGHT_BITS, help="2 to 8, sign included (default: 8)")
    parser.add_argument("--merge", default=DEFAULT_MERGE, metavar="CHIP|always|never", help=MERGE_HELP)
    parser.add_argument("--backend", choices=("lava", "integer", "loihi2"), default="lava")
    parser.add_argument("--blocks", choices=("fused", "stock"), default="fused", help="stock: Lava's own Conv and LIF")
    parser.add_argument("--processes", type=int, default=1, help="Lava processes that share the layers (default: 1)")
    parser.add_argument("--out", type=Path, help="default: runs/demo, /clips, /DATASET, /estimate")
    parser.add_argument("--timeout", type=float, help="seconds that one batch of clips may take on Lava")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run in --out stopped")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="processes on this machine that share the clips")
    where.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers share the clips")
    parser.add_argument("--chip", nargs="+", default=[], metavar="FILE", help="chip files of your own (hardware/chips)")
    parser.add_argument("--reference", type=Path, help="spikes of another simulator (nir.write_data) to compare with")
    parser.add_argument("--estimate", action="store_true", help="plan and fit only, simulate nothing")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the summary")
    arguments = parser.parse_args()

    from deploy.execution.resume import FOLDER, PartFolder
    from deploy.passes.merge_linear_chains import read_merge
    from deploy.request import check_arguments, default_out, read_chips

    check_arguments(arguments)
    arguments.merge = read_merge(arguments.merge)
    arguments.chip = read_chips(arguments.chip)
    arguments.out = arguments.out or default_out(arguments)
    arguments.parts = PartFolder(arguments.out / FOLDER, resume=arguments.resume)
    return arguments


def run_with_progress(deployment: "Deployment", sources: "list[ClipSource]", arguments: argparse.Namespace) -> "Tally":
    from deploy.pipeline import run

    with runner_of(arguments) as runner, counting(len(sources), _what(sources, arguments, runner)) as on_clips:
        return run(
            deployment,
            sources,
            backend=arguments.backend,
            blocks=arguments.blocks,
            processes=arguments.processes,
            timeout_s=arguments.timeout,
            runner=runner,
            parts=arguments.parts,
            on_clips=on_clips,
        )


def _what(sources: "list[ClipSource]", arguments: argparse.Namespace, runner: "Runner") -> str:
    workers = f", {runner.workers} workers" if runner.workers > 1 else ""
    return f"{len(sources)} clips on {arguments.backend}{workers}"


def runner_of(arguments: argparse.Namespace) -> "AbstractContextManager[Runner]":
    """Where the clips run; dask is imported only if it is asked for."""
    if arguments.workers is None and arguments.scheduler is None:
        from deploy.execution.collect import Here

        return nullcontext(Here())
    from deploy.execution.cluster import local_workers, workers_of

    return workers_of(arguments.scheduler) if arguments.scheduler else local_workers(arguments.workers)


def main() -> None:
    arguments = parse_arguments()

    from deploy.clips.choose import calibration_clips, choose_clips
    from deploy.clips.read import batches
    from deploy.execution.on_loihi2 import run_chip
    from deploy.execution.tally import KEPT_CLIPS
    from deploy.gates.reference import compare
    from deploy.ir.interpreter import graph_dt_s
    from deploy.pipeline import deploy
    from deploy.report.files import write_markdown
    from deploy.report.loihi2 import board_report, print_board_report
    from deploy.report.page import write_page
    from deploy.report.record import estimate, record
    from deploy.report.spikes import write_spikes
    from deploy.report.summary import print_estimate, print_summary
    from deploy.request import check_files, read_network

    console = new_console()
    graph = read_network(arguments, console.print)
    sources = choose_clips(arguments, graph)
    check_files(arguments, graph, sources)
    calibration = calibration_clips(arguments, graph, sources)
    deployment = deploy(graph, calibration, console.print, weight_bits=arguments.weight_bits, merge=arguments.merge)
    if arguments.backend == "loihi2" and not arguments.estimate:
        on_board = board_report(deployment, run_chip(deployment, sources))
        on_board.write(arguments.out / "loihi2.json")
        print_board_report(on_board, console)
        return
    report: Estimate
    if arguments.estimate:
        report = estimate(deployment, chips=arguments.chip)
        print_estimate(report, console)
    else:
        tally = run_with_progress(deployment, sources, arguments)
        compared = None
        if arguments.reference:
            _, frames = next(batches(sources, deployment.input_format, KEPT_CLIPS))
            compared = compare(arguments.reference, graph, frames, tally.kept)
        found = report = record(deployment, tally, backend=arguments.backend, chips=arguments.chip, reference=compared)
        write_spikes(tally.kept, arguments.out / "spikes.h5", dt_s=graph_dt_s(graph))
        write_page(found, tally.kept, tally.shown_frames, arguments.out / "report.html")
        write_markdown(found, arguments.out / "report.md")
        print_summary(found, console)
    report.write(arguments.out / "report.json")
    if not arguments.estimate:
        arguments.parts.remove()
    if arguments.json:
        print(json.dumps(report.plain()))
    console.print(f"look at {arguments.out / ('report.json' if arguments.estimate else 'report.html')}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
