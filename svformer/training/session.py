"""What a command line of `svformer.train` asks for: a recipe, a network, data, and their training to the end."""

import argparse
import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path

import torch

from svformer.assets import TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.common.terminal import SCREEN, new_console, say
from svformer.config import PRESETS, WEIGHT_BITS, SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation.accuracy import accuracy_line, evaluate
from svformer.model.checkpoint import StateDict, load_checkpoint, save_checkpoint
from svformer.model.svformer import SVFormer
from svformer.training.distributed import Processes, joined
from svformer.training.dry_run import estimate, report
from svformer.training.held_out import evaluation_batch_size
from svformer.training.loop import STATE, memory_explained, train
from svformer.training.recipe import RECIPES, Recipe, fine_tuning, overridden
from svformer.training.record import RunFacts, begin_record, end_record
from svformer.training.trainer import Trainer

MOST_WORKERS = 8


def run(arguments: argparse.Namespace) -> None:
    """Train, or estimate, what the command line asks for."""
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


def choose_recipe(arguments: argparse.Namespace) -> Recipe:
    recipe = RECIPES[arguments.preset]
    return overridden(fine_tuning(recipe) if arguments.qat else recipe, arguments)


def starting_point(arguments: argparse.Namespace) -> tuple[SVFormerConfig, StateDict | None]:
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


def build(config: SVFormerConfig, state: StateDict | None, *, classes: int, channels: int) -> SVFormer:
    """A new network for the classes and channels of the data, or the trained one of `state`.

    Raises `InputError` where a trained network has another number of classes than the data.
    """
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
    """Training clips, larger than the network's input where the augmentation crops them, and held-out clips."""
    size, frames, cache = config.image_size, config.frames, not arguments.dry_run
    source = recipe.augmentation.source_size(size) if recipe.augmentation else size
    data = open_dataset(arguments, size=source, frames=frames, train=True, cache=cache)
    return data, open_dataset(arguments, size=size, frames=frames, train=False, cache=cache)


def count_workers(arguments: argparse.Namespace, recipe: Recipe, processes: Processes) -> int:
    """Augmenting takes longer than computing; without it clips are read in this process."""
    if arguments.workers is not None or recipe.augmentation is None:
        return arguments.workers or 0
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // processes.count))


def dry_run(trainer: Trainer) -> None:
    with memory_explained(trainer):
        estimated = estimate(trainer)
    if trainer.processes.writes:
        new_console().print(report(trainer, estimated))
        if SCREEN.json:
            print(json.dumps(dataclasses.asdict(estimated)))


def finish(trainer: Trainer, held_out: ClipDataset, record: RunFacts, out: Path) -> None:
    """Evaluate the trained network; write its checkpoint and complete the record of the run."""
    accuracy = evaluate(trainer.result, held_out, batch_size=evaluation_batch_size(trainer)).accuracy
    save_checkpoint(trainer.result, out / "checkpoint.safetensors", end_record(record, trainer, accuracy, out))
    if SCREEN.json:
        print(json.dumps({"out": str(out), **dataclasses.asdict(accuracy)}))
    say(accuracy_line(accuracy))
    say(f"checkpoint, curve and record in {out}")
