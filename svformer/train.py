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
import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import get_args

import torch

from svformer.assets import TINY_CHECKPOINT
from svformer.checkpoint import State, load_checkpoint, save_checkpoint
from svformer.cli import ArgumentParser, run_cli
from svformer.config import PRESETS, WEIGHT_BITS, Activation, Norm, SVFormerConfig
from svformer.data.dataset import ClipDataset
from svformer.data.datasets import add_dataset_arguments, open_dataset
from svformer.devices import add_device_argument
from svformer.errors import InputError
from svformer.evaluate import describe, evaluate
from svformer.model import SVFormer
from svformer.terminal import SCREEN, new_console, say
from svformer.training.distributed import Processes, joined
from svformer.training.dry_run import estimate, report
from svformer.training.loop import STATE, memory_explained, train
from svformer.training.optimise import parameter_groups
from svformer.training.recipe import FINE_TUNING, RECIPES, Recipe, add_recipe_arguments, fine_tuning, overridden
from svformer.training.record import Facts, begin_record, end_record
from svformer.training.trainer import Trainer

__all__ = ["FINE_TUNING", "Recipe", "Trainer", "parameter_groups", "train"]

MOST_WORKERS = 8
MOST_EVALUATED = 32  # clips at once


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


def choose_recipe(arguments: argparse.Namespace) -> Recipe:
    recipe = RECIPES[arguments.preset]
    return overridden(fine_tuning(recipe) if arguments.qat else recipe, arguments)


def starting_point(arguments: argparse.Namespace) -> tuple[SVFormerConfig, State | None]:
    """The geometry, and with `--qat` the trained parameters, which the new network rounds."""
    if arguments.qat:
        trained = load_checkpoint(arguments.checkpoint or TINY_CHECKPOINT)
        bits = WEIGHT_BITS[-1] if arguments.weight_bits is None else arguments.weight_bits
        return dataclasses.replace(trained.config, weight_bits=bits), trained.state_dict()
    preset = PRESETS[arguments.preset]
    activation = arguments.activation or preset.activation
    order = "qk_first" if activation == "relu" else preset.attention_order
    norm = arguments.norm or preset.norm
    return dataclasses.replace(preset, norm=norm, activation=activation, attention_order=order), None


def build(config: SVFormerConfig, state: State | None, *, classes: int, channels: int) -> SVFormer:
    """A new network for the classes and channels of the data, or a trained one, which has to tell as many apart."""
    if state is None:
        return SVFormer(dataclasses.replace(config, num_classes=classes, in_channels=channels))
    if config.num_classes != classes:
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart, the data have {classes}; "
            "fine-tune on the data that it was trained on"
        )
    model = SVFormer(config)
    model.load_state_dict(state)
    return model


def choose_out(arguments: argparse.Namespace, config: SVFormerConfig) -> Path:
    """The folder for the results; raises `InputError` where it holds a run that is neither resumed nor given up."""
    name = arguments.preset + (f"_qat{config.weight_bits}" if arguments.qat else "")
    out: Path = arguments.out or Path("runs") / name
    starts = not (arguments.resume or arguments.force or arguments.dry_run)
    if starts and (out / STATE).exists():
        raise InputError(f"{out}: holds a run; go on with --resume, choose another --out, or replace it with --force")
    return out


def open_parts(
    arguments: argparse.Namespace, recipe: Recipe, config: SVFormerConfig
) -> tuple[ClipDataset, ClipDataset]:
    """Training clips, as large as the augmentation wants them, and held-out clips."""
    size, frames, cache = config.image_size, config.frames, not arguments.dry_run
    source = recipe.augmentation.source_size(size) if recipe.augmentation else size
    data = open_dataset(arguments, size=source, frames=frames, train=True, cache=cache)
    return data, open_dataset(arguments, size=size, frames=frames, train=False, cache=cache)


def count_workers(arguments: argparse.Namespace, recipe: Recipe, processes: Processes) -> int:
    """Augmenting takes longer than computing; without it clips are read in this process."""
    if arguments.workers is not None or recipe.augmentation is None:
        return arguments.workers or 0
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // processes.count))


def main() -> None:
    arguments = parse_arguments()
    recipe, (config, state) = choose_recipe(arguments), starting_point(arguments)
    out = choose_out(arguments, config)
    with joined(arguments.device) as processes:
        with processes.first_alone():
            data, held_out = open_parts(arguments, recipe, config)
        torch.manual_seed(recipe.seed)
        trainer = Trainer(
            build(config, state, classes=len(data.classes), channels=data.channels),
            data,
            recipe,
            processes=processes,
            workers=count_workers(arguments, recipe, processes),
            checkpoint_activations=arguments.checkpoint_activations,
        )
        if arguments.dry_run:
            dry_run(trainer)
            return
        if arguments.resume:
            trainer.load(out / STATE)
        command = shlex.join(["python", "-m", "svformer.train", *sys.argv[1:]])
        record = begin_record(trainer, out, dataset=arguments.dataset, command=command)
        train(trainer, out, save_every=arguments.save_every)
    if processes.writes:
        finish(trainer, held_out, record, out)


def dry_run(trainer: Trainer) -> None:
    with memory_explained(trainer):
        estimated = estimate(trainer)
    if trainer.processes.writes:
        new_console().print(report(trainer, estimated))
        if SCREEN.json:
            print(json.dumps(dataclasses.asdict(estimated)))


def finish(trainer: Trainer, held_out: ClipDataset, record: Facts, out: Path) -> None:
    """Evaluate the trained network and write what a run leaves."""
    at_once = min(MOST_EVALUATED, trainer.clips_at_once * trainer.recipe.repeats)  # takes less than training did
    accuracy = evaluate(trainer.result, held_out, batch_size=at_once)
    save_checkpoint(trainer.result, out / "checkpoint.safetensors", end_record(record, trainer, accuracy, out))
    if SCREEN.json:
        print(json.dumps({"out": str(out), **dataclasses.asdict(accuracy)}))
    say(describe(accuracy))
    say(f"checkpoint, curve and record in {out}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
