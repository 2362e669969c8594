"""The rows of `paper_table.py`: networks are trained where they are not yet, then measured; both are kept on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.clips.choose import held_out_clips, training_clips
from deploy.clips.source import ClipSource
from deploy.comparison.request import ComparisonRequest
from deploy.comparison.rows import Row, rows_of
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.data.choice import DatasetChoice
from svformer.evaluation.figures import evaluate_checkpoint, write_figures
from svformer.evaluation.views import ViewGrid
from svformer.networks.checkpoint import load_network
from svformer.networks.dense_counts import sizes
from svformer.training import converting, session
from svformer.training.recipe import Recipe
from svformer.training.request import STATE, ConversionRequest, TrainingRequest

CHECKPOINT, RUN, EVALUATION = "checkpoint.safetensors", "run.json", "evaluation.json"
CONVERTED, ITS_ORIGIN = "ann2snn", "tsm"
# Rows, and how they are trained; a converted network is not.
NETWORKS: dict[str, dict[str, Any]] = {
    "svformer": {},
    "svformer_relu": {"activation": "relu"},
    "tsm": {"model": "tsm"},
    "r2plus1d": {"model": "r2plus1d"},
    "timesformer": {"model": "timesformer"},
    "rsnn": {"model": "rsnn"},
    CONVERTED: {},
}


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Which networks, trained how and on what."""

    networks: Sequence[str]
    taken: Mapping[str, Path]  # folders of runs that exist, by row
    preset: str
    recipe: Recipe
    steps: Sequence[int]  # time steps of a frame of the converted network, a row each
    views: ViewGrid
    limit: int | None  # of the clips that are counted and deployed
    dataset: DatasetChoice
    out: Path

    def folder(self, name: str) -> Path:
        """Where the run of a network lies."""
        return self.taken.get(name, self.out / name)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A network; operations and energy are those of the mean clip."""

    title: str
    parameters: int
    dense_macs: int  # attention included; of all its time steps
    top1: float
    top5: float | None
    one_frame_top1: float
    evaluated_clips: int
    views: int
    training_s: float | None  # None: converted, not trained
    counted_clips: int
    deployed_top1: float | None  # at 8 bits, of the clips that are counted; None: no spikes
    deployed_float_top1: float | None  # of the same clips in real numbers
    agreement: float | None
    spike_match: float | None
    synaptic_ops: float
    macs: float
    attention_ops: float
    energy_mj: dict[str, float | None]


def rows(request: TableRequest, console: Console) -> list[TableRow]:
    """All rows; `console` gets each step. Raises `InputError` for what cannot be read or trained."""
    folders = dict[str, Path]()
    for name in request.networks:
        if name == CONVERTED:
            trained(ITS_ORIGIN, request, console)
            folders |= {f"{name}_{steps}": _converted(steps, request, console) for steps in request.steps}
        else:
            folders[name] = trained(name, request, console)
    clips, calibration = held_out_clips(request.dataset, request.limit), training_clips(request.dataset)
    found = list[TableRow]()
    for name, folder in folders.items():
        console.rule(f"{name}: measured")
        found += _measured(name, folder, request, clips, calibration, console)
    return found


def trained(name: str, request: TableRequest, console: Console) -> Path:
    """The folder of a trained network: as it is, or after its training, which goes on where it stopped."""
    folder = request.folder(name)
    if (folder / CHECKPOINT).is_file():
        return folder
    if name in request.taken:
        raise InputError(f"--take {name}={folder}: no {CHECKPOINT} there; name a folder of `svformer.train`")
    console.rule(f"{name}: training")
    session.run(
        TrainingRequest(
            preset=request.preset,
            recipe=request.recipe,
            dataset=request.dataset,
            out=folder,
            resume=(folder / STATE).is_file(),
            command="benchmarks/paper_table.py",
            **NETWORKS[name],
        )
    )
    return folder


def _converted(steps: int, request: TableRequest, console: Console) -> Path:
    folder = request.out / f"{CONVERTED}_{steps}"
    if not (folder / CHECKPOINT).is_file():
        console.rule(f"{CONVERTED}: {steps} time steps of a frame")
        converting.run(
            ConversionRequest(
                checkpoint=request.folder(ITS_ORIGIN) / CHECKPOINT,
                out=folder / CHECKPOINT,
                steps=steps,
                dataset=request.dataset,
                force=True,
                command="benchmarks/paper_table.py",
            )
        )
    return folder


def _measured(
    name: str,
    folder: Path,
    request: TableRequest,
    clips: Sequence[ClipSource],
    calibration: Sequence[ClipSource],
    console: Console,
) -> list[TableRow]:
    """Rows of a network: one, or two without spikes (every product done, and zeros skipped)."""
    results = request.out / name
    facts, config = _evaluated(folder, results, request), load_network(folder / CHECKPOINT).config
    size = sizes(config)
    run = json.loads((folder / RUN).read_text()) if (folder / RUN).is_file() else {}
    return [
        TableRow(
            title=name if not row.is_relu else row.short_name.replace(row.name, name),
            parameters=size.parameters,
            dense_macs=size.dense_macs + size.attention_macs,
            top1=facts["top1"],
            top5=facts["top5"],
            one_frame_top1=facts["one_frame_top1"],
            evaluated_clips=facts["clips"],
            views=facts["views"],
            training_s=run.get("seconds"),
            counted_clips=row.clips,
            deployed_top1=row.deployed_top1,
            deployed_float_top1=row.float_top1,
            agreement=row.agreement,
            spike_match=row.spike_match,
            synaptic_ops=row.synaptic_ops,
            macs=row.macs,
            attention_ops=row.attention_ops,
            energy_mj=row.energy_mj,
        )
        for row in _counted(folder, results, request, clips, calibration, console)
    ]


def _evaluated(folder: Path, results: Path, request: TableRequest) -> dict[str, Any]:
    """Accuracy in real numbers, from disk where it was measured with these views."""
    file = results / EVALUATION
    views = request.views[0] * request.views[1]
    if not (_is_newer(file, folder / CHECKPOINT) and json.loads(file.read_text())["views"] == views):
        figures = evaluate_checkpoint(folder / CHECKPOINT, request.dataset, views=request.views)
        write_figures(figures, folder / CHECKPOINT, results)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _is_newer(file: Path, checkpoint: Path) -> bool:
    """Whether a file of results is there and was written after the network that it is of."""
    return file.is_file() and file.stat().st_mtime >= checkpoint.stat().st_mtime


def _counted(
    folder: Path,
    results: Path,
    request: TableRequest,
    clips: Sequence[ClipSource],
    calibration: Sequence[ClipSource],
    console: Console,
) -> list[Row]:
    """Operations, energy and what 8 bits change, from disk where as many clips were counted."""
    file = results / "counted.json"
    if _is_newer(file, folder / CHECKPOINT):
        kept = [Row.of_plain(row) for row in json.loads(file.read_text())]
        if kept[0].clips == len(clips):
            return kept
    comparison = ComparisonRequest(checkpoints=[folder / CHECKPOINT], dataset=request.dataset, limit=request.limit)
    found = rows_of(folder / CHECKPOINT, clips, calibration, comparison, console)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps([row.plain() for row in found], indent=2) + "\n")
    return found
