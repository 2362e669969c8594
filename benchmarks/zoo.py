# PYTHON_ARGCOMPLETE_OK
"""Spiking transformers and spiking convolutional networks side by side, on the same deployed arithmetic.

    python benchmarks/zoo.py --out runs/zoo
    python benchmarks/zoo.py --families Spikformer QKFormer --bits 8 --limit 2      # a first look
    python benchmarks/zoo.py --bits 8 4 3 --json | jq '.families[].deployed[].spike_match'

A small network of each family, written from the formulas of its paper (`zoo_models/`), with one neuron, one input and
one class of width and depth. Each goes from PyTorch to NIR (every spike equal), to integers of each width, to Lava
(every message of a clip equal), and is counted and priced on half of the videos that ship. Weights are random, norms
have the statistics of the other half: nothing is said about accuracy. Reports of all runs lie in --out.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from zoo_measure import WEIGHTED, WHOLE, Deployed, Measured, measure
from zoo_models import FAMILIES, Size

from deploy.arguments import WIDTHS
from deploy.gates.agreement import Agreement
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path, require_new
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console, print_wide, track

LIBRARIES = ("svformer-loihi", "torch", "nir", "lava-nc", "numpy")
Cell = Callable[[Deployed], str]
CAPTION = (
    "Random weights, norms with the statistics of other clips: no accuracy is claimed, and rates and matches "
    "are those of this recipe, not of trained networks."
)


def priced(at: Deployed, chip: str) -> str:
    """Energy on a chip, and the share of it that stands in for figures that the chip has not."""
    share = at.stand_in[chip]
    return f"{at.whole_mj[chip]:.3f}" + (f" ({share:.0%})" if share else "")


def formed(at: Deployed, figure: str) -> str:
    """A figure of the chip form, where there is one."""
    return "none" if at.chip_form.size is None else f"{getattr(at.chip_form.size, figure):,}"


COLUMNS: dict[str, Cell] = {
    "rate, %": lambda at: f"{100 * at.rate:.1f}",
    "spikes": lambda at: f"{at.spikes:,.0f}",
    "spikes as in float, %": lambda at: f"{100 * at.spike_match:.1f}",
    "synaptic operations, M": lambda at: f"{at.synaptic_ops / 1e6:.2f}",
    "MACs, M": lambda at: f"{at.macs / 1e6:.2f}",
    "attention, M": lambda at: f"{at.attention_ops / 1e6:.2f}",
    f"{WEIGHTED}, weighted layers, mJ": lambda at: f"{at.weighted_mj:.4f}",
    **{f"{name}, all, mJ (stand-in)": partial(priced, chip=name) for name in WHOLE},
    "Lava: messages that differ": lambda at: f"{at.lava.different} of {at.lava.compared:,}",
    "Loihi 2, as quantised: obstacles": lambda at: str(at.obstacles),
    "cores": lambda at: f"{at.quantised.cores:,}",
    "chip steps": lambda at: f"{at.quantised.chip_steps:,}",
    "chip form: neurons and relays": partial(formed, figure="neurons"),
    "its cores": partial(formed, figure="cores"),
    "its chip steps": partial(formed, figure="chip_steps"),
}


def table(found: Iterable[Measured]) -> Table:
    """A row for each family; where widths of weights give different figures, all of them stand in their order."""
    shown = Table("family", "dense MACs, M", "neurons", *COLUMNS, box=box.MARKDOWN)
    for family in found:
        cells = (" / ".join(dict.fromkeys(map(cell, family.deployed))) for cell in COLUMNS.values())
        shown.add_row(family.family, f"{family.dense_macs / 1e6:.1f}", f"{family.neurons:,}", *cells)
    return shown


def proven(found: Measured) -> str:
    """What was compared of a family, in a line."""
    lava = sum((at.lava for at in found.deployed), Agreement())
    why_not = found.deployed[0].chip_form.why_not
    return (
        f"{found.family}: PyTorch = NIR on {found.check.spikes_compared:,} spikes, {found.check.ties} differ at ties; "
        f"integers = Lava on {lava.compared:,} messages, {lava.different} differ" + (f"; {why_not}" if why_not else "")
    )


def zoo(
    families: Sequence[str],
    widths: Sequence[int],
    out: Path,
    console: Console,
    *,
    size: Size | None = None,
    limit: int | None = None,
) -> list[Measured]:
    """These families, one after the other; each with a folder of its own in `out`."""
    found = []
    for family in track(families, "families", total=len(families)):
        found.append(measure(family, widths, size or Size(), out / family, limit=limit))
        console.print(proven(found[-1]))
    return found


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/zoo.py", description=__doc__)
    parser.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), metavar="NAME", help=", ".join(FAMILIES)
    )
    parser.add_argument("--bits", nargs="+", type=WIDTHS, default=[8, 4], help="widths of weights (default: 8 4)")
    parser.add_argument("--limit", type=positive_int, help="clips to run (default: 12)")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder for zoo.json and all reports")
    parser.add_argument("--force", action="store_true", help="replace the results of an earlier run")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console, file = new_console(), arguments.out / "zoo.json"
    require_new(file, force=arguments.force)
    made = provenance(LIBRARIES)
    found = zoo(arguments.families, arguments.bits, arguments.out, console, limit=arguments.limit)
    plain = {**vars(made), "families": [dataclasses.asdict(family) for family in found]}
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(plain, indent=2) + "\n")
    print_wide(table(found), console)
    console.print(f"{' / '.join(map(str, arguments.bits))} bits, means of the clips. {CAPTION}")
    console.print(f"{made.date}, commit {made.commit}, {made.processor}; all figures: {file}")
    if arguments.json:
        print(json.dumps(plain))


if __name__ == "__main__":
    sys.exit(run_cli(main))
