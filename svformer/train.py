"""Train an SVFormer; without arguments the tiny preset on procedural clips, which are generated when missing.

    python -m svformer.train [--preset NAME] [--dataset NAME --root DIR] [--out DIR] [--resume]
    python -m svformer.train --qat --weight-bits N [--checkpoint FILE] [...]

The second form fine-tunes a trained network with rounded weights, decays and thresholds in the loop (qat.py).
The out folder receives checkpoint.safetensors, curve.csv, curve.png, run.json and state.pt (what --resume needs).
"""

import argparse
import dataclasses
import io
import json
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from svformer.assets import TINY_CHECKPOINT
from svformer.checkpoint import State, load_checkpoint, save_checkpoint
from svformer.cli import ArgumentParser, run_cli
from svformer.config import PRESETS, WEIGHT_BITS, Activation, Norm, SVFormerConfig
from svformer.curve import Point, write_curve
from svformer.data.datasets import add_dataset_arguments, open_dataset
from svformer.data.ucf101 import Ucf101
from svformer.errors import InputError
from svformer.evaluate import Accuracy, as_batch, describe, evaluate
from svformer.files import atomic_path, write_bytes
from svformer.model import SVFormer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; the defaults are those of the tiny preset (measured: reference trials, AdamW with one cycle)."""

    epochs: int = 40
    batch_size: int = 32
    peak_lr: float = 4e-3
    weight_decay: float = 0.02  # none on 1-D parameters
    warm_up: float = 0.2  # share of the steps with a rising rate
    gradient_norm: float = 5.0
    seed: int = 6666

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"{self.epochs} epochs with batches of {self.batch_size}; allowed: 1 or more of both")


FINE_TUNING = Recipe(epochs=8, peak_lr=1e-3)  # of a trained network, for `--qat`


class Trainer:
    """One training run: everything that has to be saved to go on later is here."""

    def __init__(self, model: SVFormer, data: Ucf101, recipe: Recipe) -> None:
        self.model, self.data, self.recipe = model, data, recipe
        self.steps_per_epoch = len(data) // recipe.batch_size
        if self.steps_per_epoch == 0:
            raise InputError(f"{len(data)} training clips are fewer than one batch of {recipe.batch_size}")
        self.optimizer = torch.optim.AdamW(parameter_groups(model, recipe.weight_decay), lr=recipe.peak_lr)
        total = self.steps_per_epoch * recipe.epochs
        if total * recipe.warm_up <= 1:
            raise InputError(f"{total} steps are too few for a rising and a falling rate; train more epochs")
        self.schedule = OneCycleLR(self.optimizer, max_lr=recipe.peak_lr, total_steps=total, pct_start=recipe.warm_up)
        self.curve: list[Point] = []

    def run_epoch(self, progress: Progress) -> Point:
        """Train one epoch, add its point to the curve and return it."""
        epoch, started = len(self.curve), time.monotonic()
        self.model.train()
        task = progress.add_task(f"epoch {epoch + 1}/{self.recipe.epochs}", total=self.steps_per_epoch)
        losses, hits = 0.0, 0
        for clips, labels in self._batches(epoch):
            loss, right = self._step(as_batch(clips), labels)
            losses, hits = losses + loss, hits + right
            progress.advance(task)
        progress.remove_task(task)
        seen = self.steps_per_epoch * self.recipe.batch_size
        point = Point(
            epoch=epoch + 1,
            step=(epoch + 1) * self.steps_per_epoch,
            lr=float(self.schedule.get_last_lr()[0]),
            loss=losses / self.steps_per_epoch,
            train_top1=hits / seen,
            seconds=time.monotonic() - started,
        )
        self.curve.append(point)
        return point

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of an epoch; order and crops depend on seed and epoch only, so that a resumed run repeats them."""
        self.data.set_epoch(epoch)
        order = torch.Generator().manual_seed(self.recipe.seed + epoch)
        loader = DataLoader(self.data, batch_size=self.recipe.batch_size, shuffle=True, drop_last=True, generator=order)
        yield from loader

    def _step(self, batch: Tensor, labels: Tensor) -> tuple[float, int]:
        logits = self.model(batch)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_norm)
        self.optimizer.step()
        self.schedule.step()
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "curve": [dataclasses.asdict(point) for point in self.curve],
            "recipe": dataclasses.asdict(self.recipe),
            "config": self.model.config.to_json(),
            "clips": [entry.name for entry in self.data.entries],
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_bytes(path, content.getbuffer())

    def load(self, path: Path) -> None:
        """Continue from `save`; raises `InputError` when the saved run had another recipe, geometry or data."""
        if not path.is_file():
            raise InputError(f"{path}: nothing to resume; start without --resume")
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            saved = (state["recipe"], state["config"], state["clips"])
        except Exception as error:  # what a damaged pickle raises depends on the damage
            raise InputError(f"{path}: not the state of a training run; start without --resume") from error
        clips = [entry.name for entry in self.data.entries]
        if saved != (dataclasses.asdict(self.recipe), self.model.config.to_json(), clips):
            raise InputError(f"{path}: saved with another recipe or preset or other data; resume with the same options")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.curve = [Point(**point) for point in state["curve"]]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only, none on 1-D parameters (norms, biases, time constants)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(trainer: Trainer, out: Path) -> None:
    """Run the epochs that are left; the state is saved after each, so that Ctrl-C loses one epoch at most."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        total = progress.add_task("train", total=trainer.recipe.epochs, completed=len(trainer.curve))
        while len(trainer.curve) < trainer.recipe.epochs:
            point = trainer.run_epoch(progress)
            trainer.save(out / "state.pt")
            write_curve(trainer.curve, out)
            progress.advance(total)
            progress.console.print(
                f"epoch {point.epoch}: loss {point.loss:.3f}, training top-1 {100 * point.train_top1:.1f} %, "
                f"{point.seconds:.0f} s"
            )


def record_run(trainer: Trainer, accuracy: Accuracy, out: Path, *, dataset: str, command: str) -> dict[str, str]:
    """Write run.json; the same facts, as text, go into the checkpoint's metadata."""
    facts = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "norse": version("norse")},
        "seconds": round(sum(point.seconds for point in trainer.curve)),
        "recipe": dataclasses.asdict(trainer.recipe),
        "config": dataclasses.asdict(trainer.model.config),
        "accuracy": dataclasses.asdict(accuracy),
        "dataset": dataset,
        "classes": list(trainer.data.classes),
    }
    with atomic_path(out / "run.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.train", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--norm", choices=get_args(Norm), help="norm statistics over time (default: the preset's)")
    parser.add_argument("--activation", choices=get_args(Activation), help="relu: the twin without spikes")
    parser.add_argument("--qat", action="store_true", help="fine-tune a trained network with rounded weights")
    parser.add_argument("--weight-bits", type=int, help=f"of --qat, with sign: 2 to 8 (default: {WEIGHT_BITS[-1]})")
    parser.add_argument("--checkpoint", type=Path, help="where --qat starts (default: the tiny one that ships)")
    add_dataset_arguments(parser)
    parser.add_argument("--out", type=Path, help="folder for the results (default: runs/PRESET, runs/PRESET_qatN)")
    parser.add_argument("--epochs", type=int, help=f"default: {Recipe.epochs}, with --qat {FINE_TUNING.epochs}")
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run in --out stopped")
    arguments = parser.parse_args()
    check_qat_arguments(arguments)
    return arguments


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
    recipe = FINE_TUNING if arguments.qat else Recipe()
    epochs = recipe.epochs if arguments.epochs is None else arguments.epochs
    return dataclasses.replace(recipe, epochs=epochs, batch_size=arguments.batch_size, seed=arguments.seed)


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


def build(config: SVFormerConfig, state: State | None, *, classes: int) -> SVFormer:
    """A new network for as many classes as the data have, or a trained one, which has to tell as many apart."""
    if state is None:
        return SVFormer(dataclasses.replace(config, num_classes=classes))
    if config.num_classes != classes:
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart, the data have {classes}; "
            "fine-tune on the data that it was trained on"
        )
    model = SVFormer(config)
    model.load_state_dict(state)
    return model


def main() -> None:
    arguments = parse_arguments()
    recipe, (config, state) = choose_recipe(arguments), starting_point(arguments)
    data = open_dataset(arguments, size=config.image_size, frames=config.frames, train=True)
    held_out = open_dataset(arguments, size=config.image_size, frames=config.frames, train=False)
    torch.manual_seed(recipe.seed)
    trainer = Trainer(build(config, state, classes=len(data.classes)), data, recipe)
    out = arguments.out or Path("runs") / (arguments.preset + (f"_qat{config.weight_bits}" if arguments.qat else ""))
    if arguments.resume:
        trainer.load(out / "state.pt")
    train(trainer, out)
    accuracy = evaluate(trainer.model, held_out)
    command = shlex.join(["python", "-m", "svformer.train", *sys.argv[1:]])
    notes = record_run(trainer, accuracy, out, dataset=arguments.dataset, command=command)
    save_checkpoint(trainer.model, out / "checkpoint.safetensors", notes)
    print(describe(accuracy))
    print(f"checkpoint, curve and record in {out}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
