"""A network with norm statistics for every time step made one with a single set; `svformer.fold_time` says how."""

import argparse
import copy
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.terminal import new_console, progress, track
from svformer.config import SVFormerConfig
from svformer.data.catalogue import open_dataset
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import as_batch
from svformer.evaluation.agreement import Measured, compare_networks, layer_agreement_table, network_table
from svformer.model.checkpoint import load_checkpoint, read_notes, save_checkpoint
from svformer.model.layers import TimeNorm
from svformer.model.svformer import SVFormer
from svformer.training.recipe import Recipe
from svformer.training.trainer import Trainer

REFERENCE = "per_step"


# Folding


class Moments:
    """Mean and variance, by channel, of a norm's input x and of the output y that is wanted, from batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sums_4C = torch.zeros((), dtype=torch.float64)  # of x, x^2, y, y^2 over clips, time and positions

    def add(self, x_TBCHW: Tensor, y_TBCHW: Tensor) -> None:
        x, y = x_TBCHW.double(), y_TBCHW.double()
        self.count += x[:, :, 0].numel()
        self.sums_4C = self.sums_4C + torch.stack([s.sum((0, 1, 3, 4)) for s in (x, x.square(), y, y.square())])

    def shared_norm(self, per_step: TimeNorm) -> TimeNorm:
        """One set for all time steps in place of `per_step`: gives x the mean and variance of y.

        Its running statistics are those of x, so that training goes on where folding ended.
        """
        mean, square, wanted_mean, wanted_square = self.sums_4C / self.count
        variance, wanted_variance = square - mean.square(), wanted_square - wanted_mean.square()
        norm = TimeNorm(per_step.channels, frames=1, mode="shared").to(per_step.weight)
        state = {
            "running_mean": mean,
            "running_var": variance,
            "weight": _gain(per_step, variance, wanted_variance) * (variance + norm.eps).sqrt(),
            "bias": wanted_mean,
            "num_batches_tracked": per_step.state_dict()["num_batches_tracked"],
        }
        norm.load_state_dict(state)
        return norm.eval()


def _gain(per_step: TimeNorm, variance: Tensor, wanted_variance: Tensor) -> Tensor:
    """What to multiply each channel with: the ratio of the deviations, within the range over the time steps."""
    state = per_step.state_dict()
    gains = state["weight"].double() / (state["running_var"].double() + per_step.eps).sqrt()
    gains_TC = gains.unflatten(0, (-1, per_step.channels))
    tiny = torch.finfo(torch.float64).tiny  # for a channel that never moves, where any ratio would do
    ratio = (wanted_variance.clamp(min=0) / variance.clamp(min=tiny)).sqrt()
    return (ratio * gains_TC.mean(0).sign()).clamp(gains_TC.amin(0), gains_TC.amax(0))


class PairedNorm(nn.Module):
    """Both networks side by side: half the batch goes through the per-step norm, the other half through the shared one.

    All other layers of the two are alike, so a batch of pairs runs both in lock-step. Until it is fitted, the shared
    norm is the per-step norm.
    """

    def __init__(self, per_step: TimeNorm) -> None:
        super().__init__()
        self.per_step = self.shared = per_step
        self.moments: Moments | None = None

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        reference, folded = x_TBCHW.chunk(2, dim=1)
        target = self.per_step(reference)
        if self.moments is not None:
            self.moments.add(folded, target)
        return torch.cat([target, self.shared(folded)], dim=1)

    def fit(self, unit: nn.Module, currents: Iterable[Tensor]) -> None:
        """Run the unit that this norm is in, and take the moments that arrive here."""
        self.moments = Moments()
        for current in currents:
            unit(current)
        self.shared, self.moments = self.moments.shared_norm(self.per_step), None


@torch.no_grad()
def fold(per_step: SVFormer, batches: Iterable[Tensor]) -> SVFormer:
    """The network with shared norms that comes closest, from clips [B, C, T, H, W] in any number of batches.

    Goes block by block and keeps each clip's currents between blocks, of both networks (1.6 MB a clip with the tiny
    preset, 51 MB with ucf101), so that a block runs once for each of its norms and once more.
    Raises `InputError` without clips.
    """
    paired = copy.deepcopy(per_step).eval()
    norms = {name: PairedNorm(norm) for name, norm in paired.named_modules() if isinstance(norm, TimeNorm)}
    for name, norm in norms.items():
        paired.set_submodule(name, norm)
    currents = [torch.cat([batch, batch]).permute(2, 0, 1, 3, 4) for batch in batches]
    if not currents:
        raise InputError("no clips to take statistics from; allowed: 1 or more")
    for unit in track(_trunk(paired), "fold"):
        _fit(unit, currents)
        for i, current in enumerate(currents):
            currents[i] = unit(current)
        if unit is paired.down3:
            _fit(paired.localpath, currents)
    folded = SVFormer(dataclasses.replace(per_step.config, norm="shared")).to(per_step.stem.conv.weight)
    shared = {f"{name}.{key}": t for name, norm in norms.items() for key, t in norm.shared.state_dict().items()}
    folded.load_state_dict(per_step.state_dict() | shared)
    return folded.eval()


def _trunk(model: SVFormer) -> list[nn.Module]:
    """The blocks in the order of `SVFormer.forward`, without local path and head."""
    early = (model.stem, *model.stage1, model.down2, *model.stage2, model.down3)
    return [*early, *model.stage3, model.down4, *model.stage4]


def _fit(unit: nn.Module, currents: list[Tensor]) -> None:
    for norm in _in_order_of_execution(unit, currents[0]):
        norm.fit(unit, currents)


def _in_order_of_execution(unit: nn.Module, current: Tensor) -> list[PairedNorm]:
    called: list[PairedNorm] = []
    norms = [norm for norm in unit.modules() if isinstance(norm, PairedNorm)]
    handles = [norm.register_forward_hook(lambda module, *_: called.append(module)) for norm in norms]
    unit(current[:, [0, -1]])  # one clip of either network
    for handle in handles:
        handle.remove()
    return called


# The command line tool


def load_per_step(path: Path, *, head_dim: int) -> SVFormer:
    """A checkpoint with something to fold; raises `InputError` for others."""
    model = load_checkpoint(path, head_dim=head_dim)
    if model.config.norm == "shared":
        raise InputError(f"{path}: its norms are shared over time already; allowed: norm per_step; nothing to fold")
    if model.config.activation != "spiking":
        raise InputError(f"{path}: has activation={model.config.activation!r} and no spikes; allowed: 'spiking'")
    return model


def check_classes(config: SVFormerConfig, notes: Mapping[str, str], data: ClipDataset) -> None:
    """Raise `InputError` where the labels of the data are not the classes that the network tells apart."""
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
    """Normalised batches [B, C, T, H, W] of clips spread evenly over the data, so that all classes have their part."""
    chosen = [i * len(data) // clips for i in range(clips)]
    loader = DataLoader(Subset(data, chosen), batch_size)
    for batch, _ in track(loader, "read calibration clips"):
        yield as_batch(batch)


def new_trainer(config: SVFormerConfig, data: ClipDataset, arguments: argparse.Namespace) -> Trainer | None:
    """For the folded network, made before folding so that impossible options are refused at once."""
    if arguments.epochs == 0:
        return None
    recipe = Recipe(epochs=arguments.epochs, batch_size=arguments.batch_size, peak_lr=arguments.lr)
    return Trainer(SVFormer(dataclasses.replace(config, norm="shared")), data, recipe)


def fine_tune(trainer: Trainer, folded: SVFormer) -> SVFormer:
    trainer.model.load_state_dict(folded.state_dict())
    with progress() as bars:
        for _ in range(trainer.recipe.epochs):
            trainer.run_epoch(bars)
    return trainer.model.eval()


def _facts(trainer: Trainer) -> dict[str, Any]:
    return {"recipe": dataclasses.asdict(trainer.recipe), "loss": [point.loss for point in trainer.curve]}


def record(arguments: argparse.Namespace, measured: Mapping[str, Measured], **facts: Any) -> dict[str, Any]:
    """Write SHARED.json and return what it says."""
    report = {
        "command": shlex.join(["python", "-m", "svformer.fold_time", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "checkpoint": str(arguments.checkpoint),
        "dataset": arguments.dataset,
        **facts,
        "networks": {name: dataclasses.asdict(m) for name, m in measured.items()},
    }
    with atomic_path(arguments.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    return report


def run(arguments: argparse.Namespace) -> None:
    """Fold, and fine-tune, what the command line asks for."""
    per_step, notes = load_per_step(arguments.checkpoint, head_dim=arguments.head_dim), read_notes(arguments.checkpoint)
    config, batch_size = per_step.config, arguments.batch_size
    size, frames = config.image_size, config.frames
    data = open_dataset(arguments, size=size, frames=frames, train=True, cache=arguments.epochs > 0)
    held_out = open_dataset(arguments, size=size, frames=frames, train=False, cache=False)
    check_classes(config, notes, data)
    trainer = new_trainer(config, data, arguments)
    clips, started = min(arguments.calibration_clips, len(data)), time.monotonic()
    folded = fold(per_step, calibration_batches(data, clips=clips, batch_size=batch_size))
    networks, seconds = {REFERENCE: per_step, "recalibrated": folded}, {"fold": time.monotonic() - started}
    if trainer:
        folded = networks["fine_tuned"] = fine_tune(trainer, folded)
        seconds["fine_tune"] = sum(point.seconds for point in trainer.curve)
    measured = compare_networks(networks, held_out, batch_size=batch_size)
    report = record(
        arguments,
        measured,
        calibration_clips=clips,
        fine_tuning=_facts(trainer) if trainer else None,
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )
    from_data = {"classes": json.dumps(data.classes), "dataset": arguments.dataset}
    save_checkpoint(folded, arguments.out, {**from_data, **notes, "command": report["command"]})
    if arguments.json:
        print(json.dumps(report))
        return
    console = new_console()
    console.print(network_table(measured), layer_agreement_table(measured))
    console.print(f"{arguments.out}: the {list(networks)[-1]} network; figures in {arguments.out.stem}.json")
