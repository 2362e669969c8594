# PYTHON_ARGCOMPLETE_OK
"""Export a network to a NIR file and prove that it gives PyTorch's spikes; without arguments, the one that ships.

    python deploy/export_nir.py                                       # the shipped network, to runs/model.nir
    python deploy/export_nir.py --checkpoint runs/tiny/checkpoint.safetensors --out runs/mine.nir
    python deploy/export_nir.py --checkpoint published.pyth --head-dim 64 --out runs/published.nir
    python deploy/export_nir.py --checkpoint small.safetensors --portable --dt 1e-4     # for snnTorch
    python deploy/export_nir.py --model my_net.py:build --axes TBCHW --out runs/mine.nir   # any spiking PyTorch model

--portable writes only nodes that stock simulators import (docs/nir_portable.md). --model runs code of the module that
it names: a function that returns a model, or a model and an example of its input (docs/from_torch.md). --json is for
scripts.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.arguments import MAX_NEURONS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.options import fields_of, positive_int, positive_seconds
from svformer.common.terminal import new_console, size


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, help=".safetensors, or an authors' .pyth (default: the one that ships)")
    add("--head-dim", type=positive_int, default=64, help="channels of a head, of an authors' .pyth")
    add("--model", metavar="MODULE:FUNCTION", help="function that builds a spiking model; also FILE.py:FUNCTION")
    add("--weights", type=Path, help="weights of --model: .safetensors, or what torch.save wrote")
    add("--example", type=Path, help="input of --model: .npy or .pt (default: what the function returns)")
    add("--axes", help="axes of that input, a letter each: T time, B batch, C H W, or N; without T an image")
    add("--out", type=Path, help="file to write (default: runs/model.nir, or runs/portable.nir)")
    add("--force", action="store_true", help="overwrite --out")
    add("--portable", action="store_true", help="only nodes that stock simulators import")
    dt_help = "time step that the portable file is written for (snnTorch's: 1e-4)"
    add("--dt", dest="dt_s", type=positive_seconds, metavar="SECONDS", help=dt_help)
    add("--max-neurons", type=positive_int, help=f"refuse a portable file of more (default: {MAX_NEURONS:,})")
    add("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    from deploy.exporting import export
    from deploy.report.nodes import node_table
    from deploy.request import ExportRequest

    console = new_console()
    exported = export(ExportRequest(**fields_of(ExportRequest, arguments, apart=("json",))), console.print)
    file, check, nodes = exported.file, exported.check, exported.graph.nodes
    if arguments.json:
        print(json.dumps({"out": str(file), "nodes": len(nodes), **dataclasses.asdict(check)}))
        return
    console.print(node_table(exported.graph))
    output = "" if exported.output_error is None else f", outputs within {exported.output_error:.1e}"
    console.print(
        f"PyTorch = NIR on {exported.clips} clips: {check.spikes_compared:,} spikes compared (every layer, every time "
        f"step), {check.ties} differ at ties{output}"
    )
    console.print(f"written: {file} ({size(file.stat().st_size)})")


def command() -> int:
    """The command of an installed package; returns its exit code."""
    return run_cli(main)


if __name__ == "__main__":
    sys.exit(command())
