# PYTHON_ARGCOMPLETE_OK
"""Train an SVFormer; without arguments the tiny preset on procedural clips, which are generated when missing.

    python -m svformer.train                                  # the tiny preset, to runs/tiny
    python -m svformer.train --dataset folder --root DIR --out runs/mine --dry-run     # memory and time first
    python -m svformer.train --model tsm --dataset ucf101 --root DIR                  # a network to compare with
    python -m svformer.train --qat --weight-bits 4 --init runs/tiny/checkpoint.safetensors
    torchrun --nproc-per-node 4 -m svformer.train --preset ucf101 --dataset ucf101 --root DIR --resume

`--init` starts from a trained network; data of other classes get a new classifier. `--qat` fine-tunes it with rounded
weights, decays and thresholds in the loop (qat.py) and says what that changes. Several processes share every batch. The
out folder receives checkpoint.safetensors, with --evaluate-every best.safetensors, run.html (the curve,
while it trains), curve.csv, curve.png, run.json, tensorboard/ and state.pt (what --resume needs).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from svformer.common.cli import ArgumentParser, add_device_argument, command_line, run_cli
from svformer.common.options import at_least, fields_of, positive_int
from svformer.config import PRESETS, TRAINED, WEIGHT_BITS, Activation, Attention, Norm
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, chosen_dataset
from svformer.training.recipe import RECIPE_OPTIONS, add_recipe_arguments, overridden, preset_recipe
from svformer.training.request import WIDTHS, TrainingRequest

PROGRAM = "python -m svformer.train"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="geometry and recipe")
    model_help = "svformer (default), or a network that it is compared with, of the preset's widths: 2-D convolutions "
    model_help += "with a temporal shift, (2+1)-D ones, divided attention, recurrent spiking neurons"
    parser.add_argument("--model", choices=TRAINED, default="svformer", help=model_help)
    parser.add_argument("--norm", choices=get_args(Norm), help="norm statistics over time (default: the preset's)")
    parser.add_argument("--activation", choices=get_args(Activation), help="relu: the ANN counterpart, without spikes")
    attention_help = "sdsa: spike-driven self-attention; qkta: Q-K token attention (default: the preset's)"
    parser.add_argument("--attention", choices=get_args(Attention), help=attention_help)
    head_help = "channels of an attention head (default: the preset's)"
    parser.add_argument("--head-dim", type=positive_int, metavar="N", help=head_help)
    parser.add_argument("--qat", action="store_true", help="fine-tune a trained network with rounded weights")
    bits_help = f"of --qat, sign included: 2 to 8 (default: {WEIGHT_BITS[-1]})"
    parser.add_argument("--weight-bits", type=WIDTHS, metavar="BITS", help=bits_help)
    init_help = "trained network to start from (default: random weights; of --qat the tiny one that ships)"
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help=init_help)
    add_dataset_arguments(parser)
    add_recipe_arguments(parser)
    add_run_arguments(parser)
    return parser.parse_args(argv)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what changes where and how fast a run goes, not what comes out."""
    group = parser.add_argument_group("run")
    group.add_argument("--out", type=Path, help="folder for the results (default: runs/PRESET, runs/PRESET_MODEL, ..)")
    group.add_argument("--resume", action="store_true", help="go on where an earlier run in --out stopped")
    group.add_argument("--force", action="store_true", help="start anew in an --out that holds a run")
    save_help = "save the state after every STEPS steps, besides after every epoch"
    group.add_argument("--save-every", type=at_least(0), default=0, metavar="STEPS", help=save_help)
    evaluate_help = "measure held-out accuracy after every EPOCHS epochs and the last (default: 0, after the run only)"
    group.add_argument("--evaluate-every", type=at_least(0), default=0, metavar="EPOCHS", help=evaluate_help)
    dry_help = "train nothing: measure one step, print shapes, memory and time"
    group.add_argument("--dry-run", action="store_true", help=dry_help)
    loaders_help = "processes that read and augment clips (default: with augmentation one a core, else none)"
    group.add_argument("--loaders", type=at_least(0), metavar="N", help=loaders_help)
    group.add_argument("--checkpoint-activations", action="store_true", help="compute twice: less memory, more time")
    add_device_argument(group)
    group.add_argument("--json", action="store_true", help="print the accuracy, or the figures of --dry-run, as JSON")


def asked_for(arguments: argparse.Namespace, command: str) -> TrainingRequest:
    recipe = overridden(preset_recipe(arguments.preset, qat=arguments.qat), vars(arguments))
    options = fields_of(TrainingRequest, arguments, apart=(*DATASET_OPTIONS, *RECIPE_OPTIONS, "json"))
    return TrainingRequest(recipe=recipe, dataset=chosen_dataset(arguments), command=command, **options)


def main(argv: Sequence[str] | None = None) -> None:
    request = asked_for(parse_arguments(argv), command_line(PROGRAM, argv))

    from svformer.training.session import run

    run(request)


if __name__ == "__main__":
    sys.exit(run_cli(main))
