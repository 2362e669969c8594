"""The figures of a checkpoint on the held-out part of a data set, and the files that hold them."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svformer.common.devices import choose_device
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.shortage import shortage_explained
from svformer.config import SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice, with_stride
from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation import accuracy
from svformer.evaluation.accuracy import Evaluation
from svformer.evaluation.confusion import draw_confusion, per_class
from svformer.evaluation.views import DEFAULT_VIEWS, ViewGrid, Views
from svformer.networks.checkpoint import load_network, read_notes


@dataclass(frozen=True, kw_only=True)
class CheckpointFigures:
    """The evaluation of a network on held-out clips, with the names of the classes."""

    evaluation: Evaluation
    classes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All figures as plain values for JSON: accuracies, firing rates, every class, the confusion matrix."""
        found = self.evaluation
        return {
            **dataclasses.asdict(found.accuracy),
            "views": found.views,
            "firing_rates": found.firing_rates,
            "classes": per_class(found.confusion_KK, self.classes),
            "confusion": found.confusion_KK.tolist(),
        }


def evaluate_checkpoint(
    checkpoint: Path,
    dataset: DatasetChoice,
    *,
    head_dim: int = 64,
    views: ViewGrid | None = None,
    batch_size: int = 32,
    loaders: int = 0,
    device: str | None = None,
) -> CheckpointFigures:
    """Load a checkpoint and run it over the held-out clips, `batch_size` views at once, read by `loaders` processes.

    `views` are temporal x spatial (None: the data set's). Raises `InputError` where the data are not what the network
    was made for, and where memory does not suffice.
    """
    chosen = choose_device(device)
    model = load_network(checkpoint, head_dim=head_dim).to(chosen)
    dataset = with_stride(dataset, read_notes(checkpoint))
    data = open_dataset(dataset, size=model.config.image_size, frames=model.config.frames, train=False)
    _check_fit(model.config, data)
    seen = Views(data, views or DEFAULT_VIEWS.get(dataset.name, (1, 1)))
    advice = "lower --batch-size, or compute on another --device"
    with shortage_explained(f"--batch-size {batch_size} views at once on {chosen}", advice, workers=loaders):
        evaluation = accuracy.evaluate(model, seen, batch_size=batch_size, workers=loaders)
    return CheckpointFigures(evaluation=evaluation, classes=data.classes)


def _check_fit(config: SVFormerConfig, data: ClipDataset) -> None:
    if (config.num_classes, config.in_channels) != (len(data.classes), data.channels):
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart by {config.in_channels} channels, the data have "
            f"{len(data.classes)} and {data.channels}; evaluate on what it was trained on (--dataset, --root)"
        )


def write_figures(figures: CheckpointFigures, checkpoint: Path, out: Path) -> None:
    """Write evaluation.json and confusion.png into the folder `out`."""
    with atomic_path(out / "evaluation.json") as temporary:
        temporary.write_text(json.dumps({"checkpoint": str(checkpoint), **figures.facts()}, indent=2) + "\n")
    with atomic_path(out / "confusion.png") as temporary:
        draw_confusion(figures.evaluation.confusion_KK, figures.classes, temporary)
