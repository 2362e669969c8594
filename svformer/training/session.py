"""A training request carried out: a network, its data, and their training to the end."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from svformer.common.terminal import SCREEN, new_console, say
from svformer.config import SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.choice import with_stride
from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation.accuracy import accuracy_line, evaluate
from svformer.evaluation.curve import Point, best_point
from svformer.networks.checkpoint import read_notes, save_checkpoint
from svformer.training.distributed import Processes, joined
from svformer.training.dry_run import estimate, report
from svformer.training.held_out import evaluation_batch_size
from svformer.training.loop import memory_explained, train
from svformer.training.page import write_run_page
from svformer.training.recipe import Recipe
from svformer.training.record import RunFacts, as_texts, begin_record, end_record
from svformer.training.request import BEST, PAGE, STATE, TrainingRequest
from svformer.training.start import Start, new_network, starting_point, trained_file
from svformer.training.trainer import Trainer

MOST_LOADERS = 8


@dataclass(frozen=True, kw_only=True)
class BeforeRounding:
    """Held-out accuracy of the network that `--qat` started from; shares of clips, from 0 to 1."""

    real_top1: float  # in real numbers
    rounded_top1: float  # rounded without training

    def __str__(self) -> str:
        real, rounded = 100 * self.real_top1, 100 * self.rounded_top1
        return f"top-1 {real:.2f} % in real numbers, {rounded:.2f} % rounded without training"


def run(request: TrainingRequest) -> None:
    """Train, or estimate, what is asked for; raises `InputError` for what the data or the machine cannot give."""
    recipe, out, start = request.chosen_recipe, request.folder, starting_point(request)
    with joined(request.device) as processes:
        with processes.first_alone():
            data, held_out = open_parts(request, start.config)
        if not request.dry_run:
            data.fill_cache()  # before loader workers fork, which end with every epoch and share what is there
        torch.manual_seed(recipe.seed)
        trainer = Trainer(
            new_network(start, classes=data.classes, channels=data.channels),
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
        elif processes.writes:
            (out / BEST).unlink(missing_ok=True)  # of an earlier run
        record = begin_record(trainer, out, dataset=request.dataset.name, command=request.command)
        with interruption_explained(trainer, out):
            train(
                trainer,
                out,
                save_every=request.save_every,
                held_out=held_out if request.evaluate_every else None,
                evaluate_every=request.evaluate_every,
                on_best=lambda point: keep_best(trainer, point, record, out),
                on_epoch=lambda: write_run_page(trainer.curve, record, out / PAGE),
            )
    if processes.writes:
        before = before_rounding(start, trainer, held_out) if request.qat else None
        finish(trainer, held_out, record, out, before)


def open_parts(request: TrainingRequest, config: SVFormerConfig) -> tuple[ClipDataset, ClipDataset]:
    """Training clips, larger than the network's input where the augmentation crops them, and held-out clips."""
    size, frames, cache = config.image_size, config.frames, not request.dry_run
    augmentation = request.chosen_recipe.augmentation
    source = augmentation.source_size(size) if augmentation else size
    trained = trained_file(request)
    dataset = with_stride(request.dataset, read_notes(trained) if trained else {})
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


def before_rounding(start: Start, trainer: Trainer, held_out: ClipDataset) -> BeforeRounding:
    """Held-out accuracy of the network that `--qat` started from."""

    def top1(bits: int | None) -> float:
        begun = dataclasses.replace(start, config=dataclasses.replace(start.config, weight_bits=bits))
        network = new_network(begun, classes=held_out.classes, channels=held_out.channels)
        device, size = trainer.processes.device, evaluation_batch_size(trainer)
        return evaluate(network.to(device), held_out, batch_size=size).accuracy.top1

    return BeforeRounding(real_top1=top1(None), rounded_top1=top1(start.config.weight_bits))


def keep_best(trainer: Trainer, point: Point, record: RunFacts, out: Path) -> None:
    """Write the network of this epoch as the best so far."""
    facts = record | {"best": {"epoch": point.epoch, "test_top1": point.test_top1}}
    save_checkpoint(trainer.result, out / BEST, as_texts(facts))


def finish(
    trainer: Trainer, held_out: ClipDataset, record: RunFacts, out: Path, before: BeforeRounding | None = None
) -> None:
    """Evaluate the trained network; write its checkpoint and complete the record of the run."""
    accuracy = evaluate(trainer.result, held_out, batch_size=evaluation_batch_size(trainer)).accuracy
    facts = record | ({"before": dataclasses.asdict(before)} if before else {})
    if best := best_point(trainer.curve):
        facts |= {"best": {"epoch": best.epoch, "test_top1": best.test_top1}}
    facts = end_record(facts, trainer, accuracy, out)
    save_checkpoint(trainer.result, out / "checkpoint.safetensors", as_texts(facts))
    write_run_page(trainer.curve, facts, out / PAGE)
    if SCREEN.json:
        print(json.dumps({"out": str(out), **dataclasses.asdict(accuracy)}))
    if before:
        say(f"before: {before}")
    say(accuracy_line(accuracy))
    if best:
        chosen = f"epoch {best.epoch} of {trainer.recipe.epochs}, held-out top-1 {100 * (best.test_top1 or 0):.2f} %"
        say(f"best: {chosen}, in {out / BEST}; chosen by these very clips, so others may find it lower")
    say(f"checkpoint, curve and record in {out}; look at {out / PAGE}")
