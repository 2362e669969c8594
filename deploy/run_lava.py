# PYTHON_ARGCOMPLETE_OK
"""Run a network on Lava's CPU backend, check it bit for bit, and price the spikes that were fired.

    python deploy/run_lava.py                                      # the shipped network on the shipped clips
    python deploy/run_lava.py --clip my.mp4 --out runs/my          # ... on a video of yours
    python deploy/run_lava.py --dataset folder --root DIR --workers 8     # the same again with --resume goes on
    python deploy/run_lava.py --nir FILE.nir --clip FILE.npz --dt 1e-4       # a network of another framework
    python deploy/run_lava.py --estimate                           # does it fit? --why: which rounding flips spikes?

The out folder receives report.json, report.html, report.md, model.nir, spikes.h5 and integers.h5 (python -m
hardware.recount OUT). A run of many clips keeps its finished batches in OUT/parts until it ends well; --resume goes on
from them after Ctrl-C or a crash. Results that lie in an --out are replaced with --force alone; runs/demo and
runs/estimate are written anew by every run without --out.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.arguments import KEPT_CLIPS, WIDTHS, add_merge_argument, clips_to_check, clips_to_keep
from deploy.execution.backends import BACKENDS, BLOCKS, BOARDS, MODELS
from deploy.ir.dialects import CHOICES, DIALECTS
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.readout import READOUTS
from deploy.passes.defaults import FORMS, STEP_NAMES
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.options import fields_of, pixels, positive_fps, positive_int, positive_ms, positive_seconds, views
from svformer.common.terminal import counted, new_console
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, optional_dataset

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.passes.defaults import Step
    from deploy.request import Request


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--nir", type=Path, help="network to run (default: the shipped checkpoint, exported first)")
    add("--net", type=Path, help="network of lava-dl (.net) to run in its place, as the integers that it holds")
    readout_help = "what of the output over a clip is the result (default: what the graph says, or spikes are counted)"
    add("--readout", choices=READOUTS, help=readout_help)
    from_help = "framework that wrote --nir: how its neurons decay, reset and begin (docs/nir_import.md)"
    add("--from", dest="dialect", choices=DIALECTS, metavar="FRAMEWORK", help=from_help)
    add("--reset", choices=CHOICES["reset"], help="of the neurons of --nir (default: as --from says, else value)")
    loop_help = "give loops of --nir that are faster than their synapses the time steps that they lack"
    add("--loop-delay", action="store_true", help=loop_help)
    clip_help = "videos, events (.aedat, .npy), or arrays [T, *input shape] (.npy, .npz, .csv, .pt, .h5)"
    add("--clip", dest="clips", type=Path, nargs="+", default=[], help=clip_help)
    add("--labels", type=Path, metavar="FILE.csv", help="classes of the clips: rows of file name and class")
    calibrate_help = "files to choose scales by (default: the clips, of a data set its training part)"
    add("--calibrate", type=Path, nargs="+", default=[], metavar="FILE", help=calibrate_help)
    add("--frames", type=positive_int, metavar="N", help="frames of videos and of events where the network says no T")
    add("--bin-ms", type=positive_ms, metavar="MS", help="events: frames of so many milliseconds, as many as it takes")
    add("--sensor", type=pixels, metavar="WxH", help="events: size of the camera's picture, e.g. 240x180")
    add_dataset_arguments(parser, default=None)
    add("--limit", type=positive_int, metavar="N", help="run at most N videos of the data set, evenly of its classes")
    dt_help = "time step of a --nir that does not say it, or another one"
    add("--dt", dest="dt_s", type=positive_seconds, metavar="SECONDS", help=dt_help)
    add(
        "--output",
        dest="result",
        metavar="NODE",
        help="Output of a --nir that is the result of a clip (default: first)",
    )
    add("--views", type=views, default=(1, 1), metavar="TxS", help="temporal x spatial views of every video, e.g. 5x3")
    add("--weight-bits", type=WIDTHS, default=WEIGHT_BITS, metavar="BITS", help="2 to 8, sign included (default: 8)")
    fine_help = "hold the weights of the first N layers by two synapses each, 13 bits (default: 0)"
    add("--fine-layers", type=positive_int, default=0, metavar="N", help=fine_help)
    tune_help = "train the rounded weights for N epochs, by what the network says in real numbers (default: 0)"
    add("--tune", type=positive_int, default=0, metavar="N", help=tune_help)
    add_merge_argument(parser)
    form_help = "chip: attention and biases of what a Loihi 2 holds (default: fused; on a board: chip)"
    add("--form", choices=FORMS, help=form_help)
    add("--backend", choices=(*BACKENDS, *BOARDS), default="lava", help="what computes the spikes (default: lava)")
    blocks_help = "stock: Lava's own Conv and LIF; chip: Lava's own processes alone (default: fused; --form chip: chip)"
    add("--blocks", choices=BLOCKS, help=blocks_help)
    models_help = "what runs Lava's own processes: fast models of ours, or Lava's (default: fast)"
    add("--models", choices=MODELS, default="fast", help=models_help)
    add("--processes", type=positive_int, default=1, help="Lava processes that share the layers (default: 1)")
    timeout_help = "time that one batch of clips may take on Lava"
    add("--timeout", dest="timeout_s", type=positive_seconds, metavar="SECONDS", help=timeout_help)
    where = parser.add_mutually_exclusive_group()
    workers_help = "processes of this machine that share the clips, with a Lava network each (default: this one alone)"
    where.add_argument("--workers", type=positive_int, metavar="N", help=workers_help)
    where.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers share the clips")
    insecure_help = "let --scheduler be on another machine without TLS, inside a network that you trust"
    add("--insecure", action="store_true", help=insecure_help)
    chip_help = "chip files of your own (as in hardware/chips), priced beside those that ship"
    add("--chip", dest="chips", nargs="+", type=Path, default=[], metavar="FILE", help=chip_help)
    place_help = "how neurons are dealt out over cores, for energy and time of the placed network (default: pixel)"
    add("--place", choices=("pixel", "channel"), default="pixel", help=place_help)
    fps_help = "frames of the video a second, at which static energy is stated (default: 30)"
    add("--fps", type=positive_fps, metavar="N", help=fps_help)
    max_cores_help = "refuse a network that takes more cores of Loihi 2 (its placement), before anything is simulated"
    add("--max-cores", type=positive_int, metavar="N", help=max_cores_help)
    add("--reference", type=Path, help="spikes of another simulator (nir.write_data) to compare with")
    check_help = "clips that both interpreters run, too (default: all of up to 500, else a sample of 100)"
    add("--check", type=clips_to_check, metavar="N|all|sample", help=check_help)
    keep_help = f"spikes.h5 and integers.h5 hold the first N clips, or all (default: {KEPT_CLIPS})"
    add("--keep-clips", type=clips_to_keep, metavar="N|all", help=keep_help)
    write_help = "file for the integer network (docs/integer_files.md): .nir, or .net for lava-dl's netx"
    add("--write-integer", type=Path, metavar="FILE", help=write_help)
    short = parser.add_mutually_exclusive_group()
    estimate_help = "simulate nothing: quantise, plan, and say what fits which chip"
    short.add_argument("--estimate", action="store_true", help=estimate_help)
    stop_help = "deploy no further than this step, show the network as it is then, and write nothing"
    short.add_argument("--stop-after", choices=STEP_NAMES, help=stop_help)
    why_help = "say what rounding costs: one part of the network at a time, layer by layer, and write nothing"
    short.add_argument("--why", action="store_true", help=why_help)
    add("--out", type=Path, help="folder for the results (default: runs/demo, /clips, /DATASET, /estimate)")
    add("--resume", action="store_true", help="go on where an earlier run in --out stopped")
    add("--force", action="store_true", help="replace what an earlier run has left in --out")
    cache_help = "export and quantise anew, also what an earlier run has kept in ~/.cache/svformer-loihi/networks"
    add("--no-cache", dest="cache", action="store_false", help=cache_help)
    add(
        "--clear-cache",
        action="store_true",
        help="remove the networks that earlier runs kept there, nothing else",
    )
    add("--json", action="store_true", help="print report.json instead of the summary")
    arguments = parser.parse_args(argv)
    shown_alone = next((o for o in ("stop_after", "why") if getattr(arguments, o)), None)
    for option in ("json", "write_integer"):
        if shown_alone and getattr(arguments, option):
            names = (f"--{name.replace('_', '-')}" for name in (option, shown_alone))
            parser.error("{}: allowed for a run or an estimate; {} shows tables and writes nothing".format(*names))
    return arguments


def asked_for(arguments: argparse.Namespace) -> "Request":
    from deploy.request import Request

    dataset = optional_dataset(arguments)
    events_by = None if dataset else arguments.events_by  # a data set has its own
    options = fields_of(Request, arguments, apart=(*DATASET_OPTIONS, "stop_after", "why", "clear_cache", "json"))
    return Request(dataset=dataset, events_by=events_by, **options)


def show_draft(request: "Request", last: "Step", console: "Console") -> None:
    from deploy.report.draft import print_draft
    from deploy.session import draft

    print_draft(draft(request, last, console.print), last, console)


def show_why(request: "Request", console: "Console") -> None:
    from deploy.report.precision import print_precision
    from deploy.session import why

    print_precision(why(request, console.print), console)


def clear_cache(console: "Console") -> None:
    from deploy.execution.entries import Entries

    entries = Entries()
    console.print(f"{entries.folder}: removed {counted(entries.clear(), 'network')}")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    if arguments.clear_cache:
        clear_cache(console)
        return
    request = asked_for(arguments)
    if arguments.stop_after:
        show_draft(request, arguments.stop_after, console)
        return
    if arguments.why:
        show_why(request, console)
        return

    from deploy.session import print_outcome, run

    outcome = run(request, console.print)
    print_outcome(outcome, console)
    if arguments.json:
        print(json.dumps(outcome.report.plain()))
    console.print(f"look at {outcome.page}")


def command() -> int:
    """The command of an installed package; returns its exit code."""
    return run_cli(main)


if __name__ == "__main__":
    sys.exit(command())
