# PYTHON_ARGCOMPLETE_OK
"""Train an SVFormer; without arguments the tiny preset on procedural clips, which are generated when missing.

    python -m svformer.train                                  # the tiny preset, to runs/tiny
    python -m svformer.train --dataset folder --root DIR --out runs/mine --dry-run     # memory and time first
    python -m svformer.train --qat --weight-bits 4 --checkpoint runs/tiny/checkpoint.safetensors
    torchrun --nproc-per-node 4 -m svformer.train --preset ucf101 --dataset ucf101 --root DIR --resume

`--qat` fine-tunes a trained network with rounded weights, decays and thresholds in the loop (qat.py). Several processes
share every batch. The out folder receives checkpoint.safetensors, curve.csv, curve.png,
run.json, tensorboard/ and state.pt (what --resume needs).
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

from svformer.common.cli import ArgumentParser, add_device_argument, run_cli
from svformer.common.errors import InputError
from svformer.config import PRESETS, WEIGHT_BITS, Activation, Norm
from svformer.data.arguments import add_dataset_arguments
from svformer.training.recipe import add_recipe_arguments


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.train", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="geometry and recipe")
    parser.add_argument("--norm", choices=get_args(Norm), help="norm statistics over time (default: the preset's)")
    parser.add_argument("--activation", choices=get_args(Activation), help="relu: the twin without spikes")
    parser.add_argument("--qat", action="store_true", help="fine-tune a trained network with rounded weights")
    parser.add_argument("--weight-bits", type=int, help=f"of --qat, with sign: 2 to 8 (default: {WEIGHT_BITS[-1]})")
    parser.add_argument("--checkpoint", type=Path, help="where --qat starts (default: the tiny one that ships)")
    add_dataset_arguments(parser)
    add_recipe_arguments(parser)
    add_run_arguments(parser)
    arguments = parser.parse_args()
    check_qat_arguments(arguments)
    for name in ("save_every", "workers"):
        if (getattr(arguments, name) or 0) < 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(arguments, name)}; allowed: 0 or more")
    return arguments


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what changes where and how fast a run goes, not what comes out."""
    group = parser.add_argument_group("run")
    group.add_argument("--out", type=Path, help="folder for the results (default: runs/PRESET, runs/PRESET_qatN)")
    group.add_argument("--resume", action="store_true", help="go on where an earlier run in --out stopped")
    group.add_argument("--force", action="store_true", help="start anew in an --out that holds a run")
    group.add_argument("--save-every", type=int, default=0, metavar="STEPS", help="besides after every epoch")
    group.add_argument("--dry-run", action="store_true", help="print shapes, memory and time, and train nothing")
    group.add_argument("--workers", type=int, help="processes that read clips (default: with augmentation one a core)")
    group.add_argument("--checkpoint-activations", action="store_true", help="compute twice: less memory, more time")
    add_device_argument(group)
    group.add_argument("--json", action="store_true", help="print the accuracy, or the figures of --dry-run, as JSON")


def check_qat_arguments(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for options that do not go together."""
    if not arguments.qat and (arguments.weight_bits is not None or arguments.checkpoint):
        raise InputError("--weight-bits and --checkpoint belong to --qat; add it, or leave them out")
    if arguments.qat and (arguments.norm or arguments.activation):
        raise InputError("--qat takes the geometry of its checkpoint; leave out --norm and --activation")
    ships = (arguments.preset, arguments.dataset) == ("tiny", "procedural")
    if arguments.qat and arguments.checkpoint is None and not ships:
        raise InputError(
            f"--qat starts from a trained network, and none ships for preset {arguments.preset} on "
            f"{arguments.dataset}; train one without --qat, then give it as --checkpoint FILE"
        )


def main() -> None:
    arguments = parse_arguments()

    from svformer.training.session import run

    run(arguments)


if __name__ == "__main__":
    sys.exit(run_cli(main))
