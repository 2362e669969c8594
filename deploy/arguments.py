"""What the commands of this folder share on their command lines; nothing here takes long to import."""

import argparse
from typing import Literal

from deploy.ir.machine import LEAST_WEIGHT_BITS, WEIGHT_BITS
from deploy.passes.defaults import DEFAULT_MERGE
from svformer.common.cli import complete_with
from svformer.common.options import between, positive_int

MAX_NEURONS = 1_000_000  # of a portable file: some minutes of a stock simulator for a clip
Check = int | Literal["all", "sample"]  # how many clips of a run the interpreters judge

KEPT_CLIPS = 8  # clips whose spikes are kept for spikes.h5, where nobody says another number
WIDTHS = between(LEAST_WEIGHT_BITS, WEIGHT_BITS)  # of weights, sign included


def add_merge_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--merge`, which `deploy.passes.merge_linear_chains.read_merge` reads."""
    merge = parser.add_argument(
        "--merge",
        default=DEFAULT_MERGE,
        metavar="CHIP|always|never",
        help="convolutions in a row without a neuron between: merge where this chip (name or file) spends less energy, "
        f"always, or never (default: {DEFAULT_MERGE})",
    )
    complete_with(merge, _merges)


def clips_to_keep(text: str) -> int | Literal["all"]:
    """The value of `--keep-clips`: a whole number from 1, or all."""
    return "all" if text == "all" else positive_int(text)


def clips_to_check(text: str) -> Check:
    """The value of `--check`: a whole number from 1, all, or sample."""
    match text:
        case "all" | "sample":
            return text
        case _:
            return positive_int(text)


def _merges() -> list[str]:
    from hardware import load_chip, shipped_chips  # only where Tab asks

    return ["always", "never", *(name for name in shipped_chips() if load_chip(name).energy)]
