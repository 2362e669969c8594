"""A training request carried out: a network, its data, and their training to the end."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from svformer.assets import TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.common.terminal import SCREEN, new_console, say
from svformer.config import ACTIVATIONS, PRESETS, SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.choice import with_stride
from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation.accuracy import accuracy_line, evaluate
from svformer.model.network import Network
from svformer.networks import build
from svformer.networks.checkpoint import StateDict, load_checkpoint, read_notes, save_checkpoint
from svformer.training.distributed import Processes, joined
from svformer.training.dry_run import estimate, report
from svformer.training.held_out import evaluation_batch_size
from svformer.training.loop import memory_explained, train
from svformer.training.recipe import Recipe
from svformer.training.record import RunFacts, begin_record, end_record
from svformer.training.request import STATE, TrainingRequest
from svformer.training.trainer import Trainer

MOST_LOADERS = 8


def run(request: TrainingRequest) -> None:
    """Train, or estimate, what is asked for; raises `InputError` for what the data or the machine cannot give."""
    recipe, out, (config, state) = request.chosen_recipe, request.folder, starting_point(request)
    with joined(request.device) as processes:
        with processes.first_alone():
            data, held_out = open_parts(request, config)
        torch.manual_seed(recipe.seed)
        trainer = Trainer(
            new_network(config, state, classes=len(data.classes), channels=data.channels),
            data,
            recipe,
            processes=processes,
            workers=count_loaders(request, recipe, processes),
            checkpoint_activations=request.checkpoint_activations,
        )
        if request.dry_run:
            dry_run(trainer)
            return
        if request.resume:
            trainer.load(out / STATE)
        record = begin_record(trainer, out, dataset=request.dataset.name, command=request.command)
        with interruption_explained(trainer, out):
            train(
                trainer,
                out,
                save_every=request.save_every,
                held_out=held_out if request.evaluate_every else None,
                evaluate_every=request.evaluate_every,
            )
    if processes.writes:
        finish(trainer, held_out, record, out)


def starting_point(request: TrainingRequest) -> tuple[SVFormerConfig, StateDict | None]:
    """The geometry, and with `qat` the trained parameters, which the new network rounds."""
    if request.qat:
        trained = load_checkpoint(request.checkpoint or TINY_CHECKPOINT)
        return dataclasses.replace(trained.config, weight_bits=request.bits), trained.state_dict()
    preset = PRESETS[request.preset]
    activation = request.activation or ACTIVATIONS.get(request.model, preset.activation)
    order = "qk_first" if activation == "relu" else preset.attention_order
    return dataclasses.replace(
        preset,
        norm=request.norm or preset.norm,
        activation=activation,
        attention=request.attention or preset.attention,
        head_dim=request.head_dim or preset.head_dim,
        attention_order=order,
        model=request.model,
    ), None


def new_network(config: SVFormerConfig, state: StateDict | None, *, classes: int, channels: int) -> Network:
    """A new network for the classes and channels of the data, or the trained one of `state`.

    Raises `InputError` where a trained network has another number of classes than the data.
    """
    if state is None:
        return build(dataclasses.replace(config, num_classes=classes, in_channels=channels))
    if config.num_classes != classes:
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart, the data have {classes}; "
            "fine-tune on the data that it was trained on"
        )
    model = build(config)
    model.load_state_dict(state)
    return model


def open_parts(request: TrainingRequest, config: SVFormerConfig) -> tuple[ClipDataset, ClipDataset]:
    """Training clips, larger than the network's input where the augmentation crops them, and held-out clips."""
    size, frames, cache = config.image_size, config.frames, not request.dry_run
    augmentation = request.chosen_recipe.augmentation
    source = augmentation.source_size(size) if augmentation else size
    notes = read_notes(request.checkpoint or TINY_CHECKPOINT) if request.qat else {}
    dataset = with_stride(request.dataset, notes)
    data = open_dataset(dataset, size=source, frames=frames, train=True, cache=cache)
    return data, open_dataset(dataset, size=size, frames=frames, train=False, cache=cache)


def count_loaders(request: TrainingRequest, recipe: Recipe, processes: Processes) -> int:
    """Processes that read clips: augmenting takes longer than computing; without it this process reads them."""
    if request.loaders is not None or recipe.augmentation is None:
        return request.loaders or 0
    return max(1, min(MOST_LOADERS, (os.cpu_count() or 1) // processes.count))


@contextmanager
def interruption_explained(trainer: Trainer, out: Path) -> Iterator[None]:
    """After Ctrl-C, say how to go on; before the first saved state there is nothing to go on from."""
    try:
        yield
    except KeyboardInterrupt:
        if not (out / STATE).is_file():
            raise
        done = f"{len(trainer.curve)} of {trainer.recipe.epochs} epochs are done"
        raise KeyboardInterrupt(f"{done}; go on with the same command and --resume") from None


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
