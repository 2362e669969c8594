# PYTHON_ARGCOMPLETE_OK
"""Set networks side by side: checkpoints, deployed on the same clips, or the reports of finished runs.

    python deploy/compare.py runs/demo runs/chip                   # folders of run_lava.py: nothing is run again
    python deploy/compare.py svformer/assets/tiny/checkpoint.safetensors --weight-bits 8 4 3 --tune 3
    python deploy/compare.py runs/tiny/checkpoint.safetensors runs/relu/checkpoint.safetensors --limit 50
    python deploy/compare.py a.safetensors b.safetensors --dataset folder --root DIR --out runs/a_or_b

Spiking networks run in the integer machine at every width (those of `svformer.train --qat` at the width of their
training), ReLU networks in PyTorch. The out folder receives comparison.json and comparison.html: of finished runs
accuracy against energy, cores and latency, and every figure that one of them has.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.arguments import WIDTHS, add_merge_argument
from deploy.execution.backends import BACKENDS
from deploy.ir.machine import WEIGHT_BITS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path, require_new
from svformer.common.options import fields_of, positive_int
from svformer.common.terminal import new_console
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, chosen_dataset

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.comparison.request import ComparisonRequest


OF_RUNS = {"checkpoints", "out", "force", "json", "of_runs"}  # what can be said of finished runs


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT|RUN", help=".safetensors or .pyth; or folders of runs")
    add("--head-dim", type=positive_int, default=64, help="channels of a head, of an authors' .pyth")
    add("--weight-bits", type=WIDTHS, nargs="+", default=[WEIGHT_BITS], metavar="BITS", help="2 to 8 (default: 8)")
    fine_help = "hold the weights of the first N layers by two synapses each, 13 bits (default: 0)"
    add("--fine-layers", type=positive_int, default=0, metavar="N", help=fine_help)
    tune_help = "train the rounded weights for N epochs on the training clips (default: 0)"
    add("--tune", type=positive_int, default=0, metavar="N", help=tune_help)
    add_dataset_arguments(parser)
    add_merge_argument(parser)
    add("--limit", type=positive_int, metavar="N", help="run at most N held-out videos, evenly of the classes")
    add("--backend", choices=tuple(BACKENDS), default="integer", help="bit for bit the same")
    add("--out", type=Path, default=Path("runs/comparison"), help="folder for the results (default: runs/comparison)")
    add("--force", action="store_true", help="replace a comparison in --out")
    add("--json", action="store_true", help="print comparison.json instead of the table")
    arguments = parser.parse_args(argv)
    arguments.of_runs = any(path.is_dir() or path.suffix == ".json" for path in arguments.checkpoints)
    changed = [name for name, value in vars(arguments).items() if value != parser.get_default(name)]
    if arguments.of_runs and (others := sorted(set(changed) - OF_RUNS)):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        parser.error(f"{names}: for checkpoints, which are deployed; finished runs are taken as they are")
    return arguments


def asked_for(arguments: argparse.Namespace) -> "ComparisonRequest":
    from deploy.comparison.request import ComparisonRequest

    options = fields_of(ComparisonRequest, arguments, apart=(*DATASET_OPTIONS, "out", "force", "json", "of_runs"))
    return ComparisonRequest(dataset=chosen_dataset(arguments), **options)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    out, console = arguments.out, new_console()
    values = of_reports(arguments, console) if arguments.of_runs else of_networks(arguments, console)
    with atomic_path(out / "comparison.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(values))
    console.print(f"look at {out / 'comparison.html'}")


def of_networks(arguments: argparse.Namespace, console: "Console") -> list[dict[str, Any]]:
    """Deploy the checkpoints and write their page; the rows as comparison.json has them."""
    request = asked_for(arguments)
    require_new(arguments.out / "comparison.json", force=arguments.force)

    from deploy.comparison.run import compare
    from deploy.comparison.tables import print_tables, write_comparison

    rows = compare(request, console)
    write_comparison(rows, request.dataset.name, arguments.out / "comparison.html")
    print_tables(rows, console)
    return [row.plain() for row in rows]


def of_reports(arguments: argparse.Namespace, console: "Console") -> list[dict[str, Any]]:
    """Read the reports of finished runs and write their page; the rows as comparison.json has them."""
    from deploy.comparison.run_pages import print_runs, write_runs
    from deploy.comparison.runs import compare_runs, read_runs

    runs = read_runs(arguments.checkpoints)
    require_new(arguments.out / "comparison.json", force=arguments.force)
    found = compare_runs(runs)
    write_runs(found, arguments.out / "comparison.html")
    print_runs(found, console)
    return found.plain()


if __name__ == "__main__":
    sys.exit(run_cli(main))
