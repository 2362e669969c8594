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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.arguments import MAX_NEURONS
from svformer.assets import TINY_CHECKPOINT
from svformer.common.cli import ArgumentParser, positive_int, positive_seconds, run_cli
from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.common.terminal import new_console, size, working

if TYPE_CHECKING:
    import nir

CHECKED_CLIPS = 3


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, help=".safetensors, or an authors' .pyth (default: the one that ships)")
    add("--head-dim", type=positive_int, default=64, help="channels of a head, of an authors' .pyth")
    add("--out", type=Path, help="file to write (default: runs/model.nir, or runs/portable.nir)")
    add("--force", action="store_true", help="overwrite --out")
    add("--portable", action="store_true", help="only nodes that stock simulators import")
    dt_help = "time step that the portable file is written for (snnTorch's: 1e-4)"
    add("--dt", type=positive_seconds, metavar="SECONDS", help=dt_help)
    add("--max-neurons", type=positive_int, help=f"refuse a portable file of more (default: {MAX_NEURONS:,})")
    add("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args(argv)
    if not arguments.portable and (arguments.dt is not None or arguments.max_neurons is not None):
        raise InputError("--dt and --max-neurons are for --portable; leave them out, or add it")
    return arguments


def choose_out(arguments: argparse.Namespace) -> Path:
    """The file to write; that of the shipped network, where the user names none, is written anew."""
    out: Path = arguments.out or Path("runs/portable.nir" if arguments.portable else "runs/model.nir")
    shipped = arguments.out is None and arguments.checkpoint is None
    require_new(out, force=arguments.force or shipped)
    return out


def make_portable(graph: "nir.NIRGraph", arguments: argparse.Namespace, console: Console) -> "nir.NIRGraph":
    from deploy.frontend import portable

    own, added = portable.count_neurons(graph)
    console.print(f"the portable form takes {own + added:,} neurons: the model's {own:,}, {added:,} for attention")
    return portable.portable(graph, dt_s=arguments.dt, max_neurons=arguments.max_neurons or MAX_NEURONS)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    out = choose_out(arguments)

    from deploy.clips.read import example_clips
    from deploy.clips.source import InputFormat
    from deploy.frontend import portable
    from deploy.frontend.export import export_checkpoint
    from deploy.gates.export import TIE_MARGIN, check_export
    from deploy.ir.graph import write_nir
    from deploy.report.nodes import node_table

    console = new_console()
    model, graph = export_checkpoint(arguments.checkpoint or TINY_CHECKPOINT, head_dim=arguments.head_dim)
    tie_margin = TIE_MARGIN
    if arguments.portable:
        graph, tie_margin = make_portable(graph, arguments, console), portable.TIE_MARGIN * model.config.threshold
    clips = example_clips(InputFormat.of(model.config), CHECKED_CLIPS)
    with working("comparing PyTorch and NIR, spike by spike"):
        check = check_export(model, graph, clips, tie_margin=tie_margin)
    write_nir(graph, out)
    if arguments.json:
        print(json.dumps({"out": str(out), "nodes": len(graph.nodes), **dataclasses.asdict(check)}))
        return
    console.print(node_table(graph))
    logits = "" if check.logit_error is None else f", logits within {check.logit_error:.1e}"
    console.print(
        f"PyTorch = NIR on {len(clips)} clips: {check.spikes_compared:,} spikes compared (every layer, every time "
        f"step), {check.ties} differ at ties{logits}"
    )
    console.print(f"written: {out} ({size(out.stat().st_size)})")


if __name__ == "__main__":
    sys.exit(run_cli(main))
