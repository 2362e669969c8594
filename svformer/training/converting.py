"""The work of a command line of `svformer.ann2snn`: calibrate, convert, compare on the same clips, write the result."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from svformer.baselines.ann2snn import QUANTILE, ConvertedCnn, converted
from svformer.baselines.tsm import TemporalShift
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.data.catalogue import open_dataset
from svformer.data.choice import with_stride
from svformer.networks.checkpoint import load_network, read_notes, save_checkpoint
from svformer.training.folding import calibration_batches, check_classes
from svformer.training.request import ConversionRequest

BATCH = 16


def run(request: ConversionRequest) -> dict[str, Any]:
    """Convert what is asked for and return the content of the .json file beside the checkpoint.

    Raises `InputError` for another network than a trained 2-D CNN, and where it and the data do not go together.
    """
    model, notes = trained(request.checkpoint), read_notes(request.checkpoint)
    dataset = with_stride(request.dataset, notes)
    data = open_dataset(dataset, size=model.config.image_size, frames=model.config.frames, train=True, cache=False)
    check_classes(model.config, notes, data)
    clips = min(request.calibration_clips, len(data))
    batches = list(calibration_batches(data, clips=clips, batch_size=BATCH))
    spiking = converted(model, batches, steps_per_frame=request.steps)
    report = {
        "command": request.command,
        "date": datetime.now(UTC).date().isoformat(),
        "checkpoint": str(request.checkpoint),
        "dataset": dataset.name,
        "steps_per_frame": request.steps,
        "calibration_clips": clips,
        "quantile": QUANTILE,
        "same_prediction": _same_predictions(model, spiking, batches) / clips,
    }
    with atomic_path(request.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    from_data = {"classes": json.dumps(data.classes), "dataset": dataset.name}
    save_checkpoint(spiking, request.out, {**from_data, **notes, "command": request.command})
    return report


def trained(path: Path) -> TemporalShift:
    """The trained 2-D CNN of a checkpoint; raises `InputError` for another network."""
    model = load_network(path)
    if model.config.model != "tsm":
        raise InputError(
            f"{path}: holds model={model.config.model!r}; allowed: 'tsm', which `svformer.train --model tsm` trains"
        )
    assert isinstance(model, TemporalShift)
    return model


@torch.no_grad()
def _same_predictions(model: TemporalShift, spiking: ConvertedCnn, batches: list[torch.Tensor]) -> int:
    return sum(int((model(batch).argmax(1) == spiking(batch).argmax(1)).sum()) for batch in batches)
