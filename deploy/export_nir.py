# PYTHON_ARGCOMPLETE_OK
"""Export a checkpoint to a NIR file and prove that it gives the model's spikes; without arguments, the shipped one.

    python deploy/export_nir.py                                       # the shipped network, to runs/model.nir
    python deploy/export_nir.py --checkpoint runs/tiny/checkpoint.safetensors --out runs/mine.nir
    python deploy/export_nir.py --checkpoint published.pyth --head-dim 64 --out runs/published.nir
    python deploy/export_nir.py --checkpoint small.safetensors --portable --dt 1e-4     # for snnTorch
    python deploy/export_nir.py --json | jq .spikes_compared          # for scripts

--portable writes only nodes that stock simulators import (docs/nir_portable.md).
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.arguments import MAX_NEURONS
from svformer.assets import TINY_CHECKPOINT
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.terminal import new_console, size, working

if TYPE_CHECKING:
    import nir

CHECKED_CLIPS = 3


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=TINY_CHECKPOINT, help=".safetensors, or an authors' .pyth")
    parser.add_argument("--head-dim", type=int, default=64, help="channels of a head, of an authors' .pyth")
    parser.add_argument("--out", type=Path, help="default: runs/model.nir, or runs/portable.nir")
    parser.add_argument("--portable", action="store_true", help="only nodes that stock simulators import")
    parser.add_argument("--dt", type=float, help="seconds of a time step of the portable file (snnTorch's: 1e-4)")
    parser.add_argument("--max-neurons", type=int, help=f"refuse a portable file of more (default: {MAX_NEURONS:,})")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    if not arguments.portable and (arguments.dt is not None or arguments.max_neurons is not None):
        raise InputError("--dt and --max-neurons are for --portable; leave them out, or add it")
    if arguments.max_neurons is not None and arguments.max_neurons < 1:
        raise InputError(f"--max-neurons {arguments.max_neurons}; allowed: a whole number from 1")
    if arguments.dt is not None and not 0 < arguments.dt < float("inf"):
        raise InputError(f"--dt {arguments.dt:g}; allowed: a positive number of seconds")
    arguments.out = arguments.out or Path("runs/portable.nir" if arguments.portable else "runs/model.nir")
    return arguments


def make_portable(graph: "nir.NIRGraph", arguments: argparse.Namespace, console: Console) -> "nir.NIRGraph":
    from deploy.frontend import portable

    own, added = portable.count_neurons(graph)
    console.print(f"the portable form takes {own + added:,} neurons: the model's {own:,}, {added:,} for attention")
    most = MAX_NEURONS if arguments.max_neurons is None else arguments.max_neurons
    return portable.portable(graph, dt_s=arguments.dt, max_neurons=most)


def main() -> None:
    arguments = parse_arguments()

    from deploy.clips.read import example_clips
    from deploy.clips.source import InputFormat
    from deploy.frontend import portable
    from deploy.frontend.export import export_checkpoint
    from deploy.gates.export import TIE_MARGIN, check_export
    from deploy.ir.graph import write_nir
    from deploy.report.nodes import node_table

    console = new_console()
    model, graph = export_checkpoint(arguments.checkpoint, head_dim=arguments.head_dim)
    config = model.config
    tie_margin = TIE_MARGIN
    if arguments.portable:
        graph, tie_margin = make_portable(graph, arguments, console), portable.TIE_MARGIN * config.threshold
    wanted = InputFormat(frames=config.frames, shape=(config.in_channels, config.image_size, config.image_size))
    clips = example_clips(wanted, CHECKED_CLIPS)
    with working("comparing PyTorch and NIR, spike by spike"):
        check = check_export(model, graph, clips, tie_margin=tie_margin)
    write_nir(graph, arguments.out)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "nodes": len(graph.nodes), **dataclasses.asdict(check)}))
        return
    console.print(node_table(graph))
    logits = "" if check.logit_error is None else f", logits within {check.logit_error:.1e}"
    console.print(
        f"PyTorch = NIR on {len(clips)} clips: {check.spikes_compared:,} spikes compared (every layer, every time "
        f"step), {check.ties} differ at ties{logits}"
    )
    console.print(f"written: {arguments.out} ({size(arguments.out.stat().st_size)})")


if __name__ == "__main__":
    sys.exit(run_cli(main))
