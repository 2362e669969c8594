# PYTHON_ARGCOMPLETE_OK
"""Deploy several checkpoints on the same clips and set accuracy, operations, memory and energy side by side.

    python deploy/compare.py svformer/assets/tiny/checkpoint.safetensors --weight-bits 8 4 3
    python deploy/compare.py runs/tiny/checkpoint.safetensors runs/relu/checkpoint.safetensors --limit 50
    python deploy/compare.py a.safetensors b.safetensors --dataset folder --root DIR --out runs/a_or_b

Spiking networks run in the integer machine at every asked width (those of `svformer.train --qat` at the one they were
trained for), the ReLU twin in PyTorch. The out folder receives comparison.json and comparison.html.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.arguments import MERGE_HELP, check_weight_bits
from deploy.ir.machine import WEIGHT_BITS
from deploy.passes.defaults import DEFAULT_MERGE
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.terminal import new_console
from svformer.data.arguments import add_dataset_arguments

if TYPE_CHECKING:
    from deploy.comparison.rows import Row


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help=".safetensors or .pyth")
    parser.add_argument("--head-dim", type=int, default=64, help="channels of a head, of an authors' .pyth")
    parser.add_argument("--weight-bits", type=int, nargs="+", default=[WEIGHT_BITS], help="2 to 8 (default: 8)")
    add_dataset_arguments(parser)
    parser.add_argument("--merge", default=DEFAULT_MERGE, metavar="CHIP|always|never", help=MERGE_HELP)
    parser.add_argument("--limit", type=int, help="run at most so many videos, evenly spread over the held-out ones")
    parser.add_argument("--backend", choices=("lava", "integer"), default="integer", help="bit for bit the same")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="folder for the results")
    parser.add_argument("--json", action="store_true", help="print comparison.json instead of the table")
    arguments = parser.parse_args()

    from deploy.passes.merge_linear_chains import read_merge

    arguments.merge = read_merge(arguments.merge)
    for bits in arguments.weight_bits:
        check_weight_bits(bits)
    missing = [str(path) for path in arguments.checkpoints if not path.is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)}: no such checkpoint; `python -m svformer.train` makes one")
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}; allowed: 1 or more")
    return arguments


def compare(arguments: argparse.Namespace, console: Console) -> "list[Row]":
    from deploy.clips.choose import CALIBRATION_VIDEOS, dataset_clips, spread
    from deploy.comparison.rows import rows_of

    held_out = dataset_clips(arguments, train=False)
    clips = held_out if arguments.limit is None else spread(held_out, arguments.limit)
    calibration = spread(dataset_clips(arguments, train=True), CALIBRATION_VIDEOS)
    rows: list[Row] = []
    for path in arguments.checkpoints:
        rows += rows_of(path, clips, calibration, arguments, console)
    return rows


def main() -> None:
    arguments = parse_arguments()

    from deploy.comparison.tables import print_tables, write_comparison

    console = new_console()
    rows = compare(arguments, console)
    values = [dataclasses.asdict(row) for row in rows]
    with atomic_path(arguments.out / "comparison.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    write_comparison(rows, arguments.dataset, arguments.out / "comparison.html")
    print_tables(rows, console)
    if arguments.json:
        print(json.dumps(values))
    console.print(f"look at {arguments.out / 'comparison.html'}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
