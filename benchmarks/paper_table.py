# PYTHON_ARGCOMPLETE_OK
"""The comparison of the SVFormer paper on one data set: networks trained, evaluated, counted and priced alike.

    python benchmarks/paper_table.py --dataset ucf101 --root DIR
    python benchmarks/paper_table.py --dataset ucf101 --root DIR --take tsm=runs/tsm svformer=runs/mine   # trained ones
    python benchmarks/paper_table.py --networks svformer tsm --epochs 10 --limit 24                       # a first look

What is not trained yet is trained into OUT/NAME; a run that was stopped goes on, and what was measured is read from
there the next time. OUT receives table.md, table.json and table.png, accuracy against energy with the paper's own
points beside it: those are of all of UCF101, 224 x 224 pixels and 13.8 M parameters.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from paper_table_rows import NETWORKS, TableRequest, TableRow, rows
from rich import box
from rich.table import Table

from deploy.comparison.rows import CHIPS
from deploy.report import typeset
from hardware.paper_ledger import PAPER_ACCURACY, PAPER_MJ_PER_VIDEO, recomputed_mj
from hardware.shown import CONVENTION
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.options import positive_int, views
from svformer.common.terminal import duration, new_console, print_wide
from svformer.config import PRESETS
from svformer.data.arguments import add_dataset_arguments, chosen_dataset
from svformer.pictures.trade_off import Point, draw_trade_off
from svformer.training.recipe import add_recipe_arguments, overridden, preset_recipe


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/paper_table.py", description=__doc__)
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="rows of the table (default: all)")
    add("--take", nargs="+", default=[], metavar="NAME=DIR", help="folders of runs of `svformer.train`")
    add("--preset", choices=sorted(PRESETS), default="tiny", help="geometry and recipe of all networks")
    steps_help = "time steps of a frame of the converted network, a row each (default: 2 4 8)"
    add("--steps", type=positive_int, nargs="+", default=[2, 4, 8], metavar="N", help=steps_help)
    add("--views", type=views, default=(1, 1), metavar="TxS", help="of the accuracy in real numbers (default: 1x1)")
    add("--limit", type=positive_int, metavar="N", help="clips that are counted and deployed (default: all held out)")
    add("--out", type=Path, help="folder for runs and results (default: runs/table_DATASET)")
    add("--json", action="store_true", help="print table.json instead of the table")
    add_dataset_arguments(parser)
    add_recipe_arguments(parser)
    return parser.parse_args(argv)


def taken(pairs: Sequence[str]) -> dict[str, Path]:
    """Folders of runs by the name of their row; raises `InputError` for a name that there is not."""
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if wrong := [pair for pair in pairs if pair.partition("=")[0] not in NETWORKS or "=" not in pair]:
        raise InputError(f"--take {wrong[0]}; allowed: NAME=DIR, with a NAME of {', '.join(NETWORKS)}")
    return {name: Path(folder) for name, folder in found.items()}


def shown(found: Sequence[TableRow]) -> Table:
    """The table, a row for each network."""
    table = Table("network", *_columns(found[0]), box=box.MARKDOWN)
    for row in found:
        table.add_row(row.title, *_columns(row).values())
    return table


def _columns(row: TableRow) -> Mapping[str, str]:
    """What stands in a row, by its heading."""
    energies = {
        f"{chip}, {'weighted layers' if chip == CONVENTION else 'all'}, mJ": _number(row.energy_mj[chip])
        for chip in CHIPS
    }
    return {
        "parameters": f"{row.parameters:,}",
        "dense MACs, M": _number(row.dense_macs / 1e6),
        "synaptic operations, M": _number(row.synaptic_ops / 1e6 or None),
        "MACs, M": _number(row.macs / 1e6),
        **energies,
        "top-1, %": _percent(row.top1),
        "top-5, %": _percent(row.top5),
        "one frame, %": _percent(row.one_frame_top1),
        "8 bits, %": _percent(row.deployed_top1),
        "same prediction, %": _percent(row.agreement),
        "training": typeset.NONE if row.training_s is None else duration(row.training_s),
    }


def _number(value: float | None) -> str:
    return typeset.NONE if value is None else typeset.significant(value)


def _percent(share: float | None) -> str:
    return typeset.NONE if share is None else f"{100 * share:.2f}"


def points(found: Sequence[TableRow]) -> list[Point]:
    """Accuracy in real numbers against the energy that papers report, of the rows that have both."""
    energies = [(row, row.energy_mj[CONVENTION]) for row in found]
    return [Point(name=row.title, energy_mj=mj, accuracy=row.top1) for row, mj in energies if mj is not None]


def papers_points() -> list[Point]:
    """What the paper says of itself, and what its logged operations add up to."""
    one_view, all_views = PAPER_ACCURACY[1] / 100, PAPER_ACCURACY[15] / 100
    return [
        Point(name="SVFormer, paper, as stated", energy_mj=PAPER_MJ_PER_VIDEO, accuracy=all_views),
        Point(name="SVFormer, paper, recomputed of one view", energy_mj=recomputed_mj(), accuracy=one_view),
    ]


def write(found: Sequence[TableRow], out: Path, command: Mapping[str, object]) -> None:
    """Write table.md, table.json and table.png."""
    columns = list(_columns(found[0]))
    lines = ["| network | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row.title} | " + " | ".join(_columns(row).values()) + " |" for row in found]
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    with atomic_path(out / "table.json") as temporary:
        content = {**command, "rows": [dataclasses.asdict(row) for row in found]}
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    with atomic_path(out / "table.png") as temporary:
        draw_trade_off(points(found), papers_points(), temporary, theirs="the paper's: UCF101, 224 x 224, 13.8 M")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    request = TableRequest(
        networks=arguments.networks,
        taken=taken(arguments.take),
        preset=arguments.preset,
        recipe=overridden(preset_recipe(arguments.preset, qat=False), vars(arguments)),
        steps=arguments.steps,
        views=arguments.views,
        limit=arguments.limit,
        dataset=chosen_dataset(arguments),
        out=arguments.out or Path("runs") / f"table_{arguments.dataset}",
    )
    console = new_console()
    found = rows(request, console)
    about = {"dataset": request.dataset.name, "preset": request.preset, "recipe": dataclasses.asdict(request.recipe)}
    write(found, request.out, about)
    if arguments.json:
        print((request.out / "table.json").read_text())
        return
    print_wide(shown(found), console)
    console.print(f"look at {request.out / 'table.md'} and {request.out / 'table.png'}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
