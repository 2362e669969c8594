# PYTHON_ARGCOMPLETE_OK
"""Deploy several checkpoints on the same clips and set accuracy, operations, memory and energy side by side.

    python deploy/compare.py svformer/assets/tiny/checkpoint.safetensors --weight-bits 8 4 3
    python deploy/compare.py runs/tiny/checkpoint.safetensors runs/relu/checkpoint.safetensors --limit 50
    python deploy/compare.py a.safetensors b.safetensors --dataset folder --root DIR --out runs/a_or_b

Spiking networks run in the integer machine at every width (those of `svformer.train --qat` at the width of their
training), ReLU networks in PyTorch. The out folder receives comparison.json and comparison.html.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.arguments import WIDTHS, add_merge_argument
from deploy.execution.backends import BACKENDS
from deploy.ir.machine import WEIGHT_BITS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path, require_new
from svformer.common.options import fields_of, positive_int
from svformer.common.terminal import new_console
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, chosen_dataset

if TYPE_CHECKING:
    from deploy.comparison.request import ComparisonRequest


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help=".safetensors or .pyth")
    add("--head-dim", type=positive_int, default=64, help="channels of a head, of an authors' .pyth")
    add("--weight-bits", type=WIDTHS, nargs="+", default=[WEIGHT_BITS], metavar="BITS", help="2 to 8 (default: 8)")
    add_dataset_arguments(parser)
    add_merge_argument(parser)
    add("--limit", type=positive_int, metavar="N", help="run at most N held-out videos, evenly of the classes")
    add("--backend", choices=tuple(BACKENDS), default="integer", help="bit for bit the same")
    add("--out", type=Path, default=Path("runs/comparison"), help="folder for the results (default: runs/comparison)")
    add("--force", action="store_true", help="replace a comparison in --out")
    add("--json", action="store_true", help="print comparison.json instead of the table")
    return parser.parse_args(argv)


def asked_for(arguments: argparse.Namespace) -> "ComparisonRequest":
    from deploy.comparison.request import ComparisonRequest

    options = fields_of(ComparisonRequest, arguments, apart=(*DATASET_OPTIONS, "out", "force", "json"))
    return ComparisonRequest(dataset=chosen_dataset(arguments), **options)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    request, out = asked_for(arguments), arguments.out
    require_new(out / "comparison.json", force=arguments.force)

    from deploy.comparison.run import compare
    from deploy.comparison.tables import print_tables, write_comparison

    console = new_console()
    rows = compare(request, console)
    values = [row.plain() for row in rows]
    with atomic_path(out / "comparison.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    write_comparison(rows, request.dataset.name, out / "comparison.html")
    print_tables(rows, console)
    if arguments.json:
        print(json.dumps(values))
    console.print(f"look at {out / 'comparison.html'}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
