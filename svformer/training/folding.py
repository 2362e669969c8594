"""The work of a command line of `svformer.fold_time`: fold, fine-tune, compare on held-out clips, write the result."""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Subset

from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.terminal import progress, track
from svformer.config import SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.choice import with_stride
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import as_batch
from svformer.evaluation.agreement import Measured, compare_networks
from svformer.model.svformer import SVFormer
from svformer.networks.checkpoint import load_checkpoint, read_notes, save_checkpoint
from svformer.training.recipe import Recipe
from svformer.training.request import FoldingRequest
from svformer.training.shared_norms import fold
from svformer.training.trainer import Trainer

REFERENCE = "per_step"  # name of the network that the others are compared with


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Results of folding: the content of the .json file beside the checkpoint, and the figures of every network."""

    report: dict[str, Any]
    measured: dict[str, Measured]


def load_per_step(path: Path, *, head_dim: int) -> SVFormer:
    """The model of a checkpoint; raises `InputError` where it has no norms of single time steps, or no spikes."""
    model = load_checkpoint(path, head_dim=head_dim)
    if model.config.norm == "shared":
        raise InputError(f"{path}: its norms are shared over time already; allowed: norm per_step; nothing to fold")
    if model.config.activation != "spiking":
        raise InputError(f"{path}: has activation={model.config.activation!r} and no spikes; allowed: 'spiking'")
    return model


def check_classes(config: SVFormerConfig, notes: Mapping[str, str], data: ClipDataset) -> None:
    """Raise `InputError` where the classes of the data are not those of the network; `notes` are of `read_notes`."""
    if len(data.classes) != config.num_classes:
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart, the data have {len(data.classes)}; "
            "fold on the data that it was trained on (--dataset, --root)"
        )
    trained = json.loads(notes["classes"]) if "classes" in notes else list(data.classes)
    others = [f"{a}, the data {b}" for a, b in zip(trained, data.classes, strict=True) if a != b]
    if others:
        raise InputError(f"the checkpoint's classes are others than the data's, first: it has {others[0]}")


def calibration_batches(data: ClipDataset, *, clips: int, batch_size: int) -> Iterator[Tensor]:
    """Normalised batches [B, C, T, H, W] of `clips` clips, evenly spaced in the data, so that all classes occur."""
    chosen = [i * len(data) // clips for i in range(clips)]
    loader = DataLoader(Subset(data, chosen), batch_size)
    for batch, _ in track(loader, "read calibration clips"):
        yield as_batch(batch)


def new_trainer(config: SVFormerConfig, data: ClipDataset, request: FoldingRequest) -> Trainer | None:
    """A trainer for the folded network, made before folding so that impossible options are refused at once."""
    if request.epochs == 0:
        return None
    recipe = Recipe(epochs=request.epochs, batch_size=request.batch_size, peak_lr=request.lr)
    return Trainer(SVFormer(dataclasses.replace(config, norm="shared")), data, recipe)


def fine_tune(trainer: Trainer, folded: SVFormer) -> SVFormer:
    """Train the folded network for the epochs of the trainer's recipe; returns it in evaluation mode."""
    trainer.model.load_state_dict(folded.state_dict())
    with progress() as bars:
        for _ in range(trainer.recipe.epochs):
            trainer.run_epoch(bars)
    folded.load_state_dict(trainer.model.state_dict())
    return folded.eval()


def _facts(trainer: Trainer) -> dict[str, Any]:
    return {"recipe": dataclasses.asdict(trainer.recipe), "loss": [point.loss for point in trainer.curve]}


def record(request: FoldingRequest, measured: Mapping[str, Measured], **facts: Any) -> dict[str, Any]:
    """Write the .json file beside the checkpoint and return its content."""
    report = {
        "command": request.command,
        "date": datetime.now(UTC).date().isoformat(),
        "checkpoint": str(request.checkpoint),
        "dataset": request.dataset.name,
        **facts,
        "networks": {name: dataclasses.asdict(m) for name, m in measured.items()},
    }
    with atomic_path(request.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    return report


def run(request: FoldingRequest) -> Folded:
    """Fold, and fine-tune, what is asked for; raises `InputError` where network and data do not go together."""
    per_step, notes = load_per_step(request.checkpoint, head_dim=request.head_dim), read_notes(request.checkpoint)
    config, batch_size = per_step.config, request.batch_size
    size, frames = config.image_size, config.frames
    dataset = with_stride(request.dataset, notes)
    data = open_dataset(dataset, size=size, frames=frames, train=True, cache=request.epochs > 0)
    held_out = open_dataset(dataset, size=size, frames=frames, train=False, cache=False)
    check_classes(config, notes, data)
    trainer = new_trainer(config, data, request)
    clips, started = min(request.calibration_clips, len(data)), time.monotonic()
    folded = fold(per_step, calibration_batches(data, clips=clips, batch_size=batch_size))
    networks, seconds = {REFERENCE: per_step, "recalibrated": folded}, {"fold": time.monotonic() - started}
    if trainer:
        folded = networks["fine_tuned"] = fine_tune(trainer, folded)
        seconds["fine_tune"] = sum(point.seconds for point in trainer.curve)
    measured = compare_networks(networks, held_out, batch_size=batch_size)
    report = record(
        request,
        measured,
        calibration_clips=clips,
        fine_tuning=_facts(trainer) if trainer else None,
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )
    from_data = {"classes": json.dumps(data.classes), "dataset": request.dataset.name}
    save_checkpoint(folded, request.out, {**from_data, **notes, "command": report["command"]})
    return Folded(report=report, measured=measured)
