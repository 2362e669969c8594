# PYTHON_ARGCOMPLETE_OK
"""What rounding to integers costs networks, and what each remedy gives back: a table with a row for each network.

    python benchmarks/precision_table.py                                        # the shipped network and the zoo's
    python benchmarks/precision_table.py tiny MS-ResNet --ways 8 8_fine slayer  # some rows and columns
    python benchmarks/precision_table.py mine=runs/mine/checkpoint.safetensors,folder,DIR tiny --tune 5
    python benchmarks/precision_table.py --limit 24 --examples 24 --tune 1      # a first look

A row is tiny, a family of the zoo (trained briefly, on the easy procedural set; its weights are random with --epochs
0), or NAME=FILE,DATASET[,DIR]: a trained checkpoint and its data. Every network runs its held-out clips in real numbers
and in the integer machine, which Lava equals bit for bit; slayer's rounding runs in real numbers. OUT receives
table.json, which is written after every cell and read the next time, table.md and table.png.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from precision_ways import USUAL, WAYS

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.options import at_least, positive_int
from svformer.common.terminal import new_console


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/precision_table.py", description=__doc__)
    add = parser.add_argument
    rows_help = "tiny, a family of `zoo.py`, or NAME=FILE,DATASET[,DIR] (default: tiny Spikformer MS-ResNet)"
    add("rows", nargs="*", default=["tiny", "Spikformer", "MS-ResNet"], metavar="ROW", help=rows_help)
    ways_help = "; ".join(f"{name}: {way.title}" for name, way in WAYS.items())
    add("--ways", nargs="+", choices=WAYS, default=list(USUAL), metavar="WAY", help=ways_help)
    add("--tune", type=positive_int, default=3, metavar="N", help="epochs of tuning (default: 3)")
    add("--limit", type=positive_int, default=240, metavar="N", help="held-out clips of a network (default: 240)")
    add("--examples", type=positive_int, default=320, metavar="N", help="training clips to tune on (default: 320)")
    add("--epochs", type=at_least(0), default=30, metavar="N", help="of the zoo's training; 0: random (default: 30)")
    add("--root", type=Path, metavar="DIR", help="folder of the easy procedural set (default: data/procedural)")
    add("--out", type=Path, default=Path("runs/precision"), help="folder for the results (default: runs/precision)")
    add("--json", action="store_true", help="print table.json instead of the table")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    from precision_networks import row_of
    from precision_run import Settings, Store, run
    from precision_shown import as_table, write

    from svformer.common.terminal import print_wide

    rows = [row_of(text, arguments.root) for text in arguments.rows]
    settings = Settings(
        ways=arguments.ways,
        tune=arguments.tune,
        limit=arguments.limit,
        examples=arguments.examples,
        epochs=arguments.epochs,
    )
    console = new_console()
    store = Store(arguments.out / "table.json")
    found = run(rows, settings, store, console)
    write(found, arguments.out)
    if arguments.json:
        print(json.dumps([result.plain() for result in found]))
        return
    print_wide(as_table(found), console)
    console.print(f"look at {arguments.out / 'table.md'} and {arguments.out / 'table.png'}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
