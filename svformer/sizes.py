# PYTHON_ARGCOMPLETE_OK
"""What a geometry costs when everything is dense: parameters, multiply-accumulates, normalised values of one clip.

    python -m svformer.sizes                                 # all presets beside each other
    python -m svformer.sizes --preset ucf101 --json

The model runs on torch's meta device, which works out shapes and no values.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from rich.table import Column, Table

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.terminal import new_console
from svformer.config import PRESETS


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.sizes", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), help="default: all")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    from svformer.networks.dense_counts import Sizes, sizes

    chosen = arguments.preset
    counted = {name: sizes(PRESETS[name]) for name in ([chosen] if chosen else PRESETS)}
    if arguments.json:
        print(json.dumps({name: dataclasses.asdict(found) for name, found in counted.items()}))
        return
    table = Table("one clip", *(Column(name, justify="right", no_wrap=True) for name in counted))
    for field in dataclasses.fields(Sizes):
        figures = (f"{getattr(size, field.name):,}" for size in counted.values())
        table.add_row(field.name.replace("_", " "), *figures)
    new_console().print(table)


if __name__ == "__main__":
    sys.exit(run_cli(main))
