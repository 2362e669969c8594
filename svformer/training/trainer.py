"""One training run: its steps, its state, and how the state is saved and restored."""

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from svformer.common.errors import InputError
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import as_batch
from svformer.evaluation.curve import Point
from svformer.model.network import Network
from svformer.training.activations import recompute_activations
from svformer.training.checks import check_fit, check_shares
from svformer.training.distributed import Processes, synchronise_norms
from svformer.training.mixing import Mix, draw_mix, mixed
from svformer.training.optimise import make_optimizer, make_schedule
from svformer.training.precision import autocast, keep_potentials_in_fp32
from svformer.training.recipe import Recipe
from svformer.training.samples import Samples, epoch_loader
from svformer.training.state import State, read_state, write_state

Batches = Iterator[tuple[Tensor, Tensor]]


class Trainer:
    """One training run, with all the state that has to be saved to resume it later.

    The model is changed in place: it moves to the processes' device, and its norms and blocks may get other forward
    passes (`distributed`, `activations`, `precision`); parameters and their names stay. Raises `InputError` where
    recipe, data and number of processes do not fit together.
    """

    def __init__(
        self,
        model: Network,
        data: ClipDataset,
        recipe: Recipe,
        *,
        processes: Processes | None = None,
        workers: int = 0,
        checkpoint_activations: bool = False,
    ) -> None:
        self.data, self.recipe, self.workers = data, recipe, workers
        self.processes = processes or Processes()
        self.steps_per_epoch = len(data) // recipe.batch_size
        check_fit(model.config, data, recipe)
        check_shares(recipe, self.processes.count)
        self.model = model.to(self.processes.device)
        self.optimizer = make_optimizer(model, recipe)
        self.schedule = make_schedule(self.optimizer, recipe, self.steps_per_epoch * recipe.epochs)
        self.samples = Samples(data, recipe, size=model.config.image_size)
        self.average = _running_mean(model, recipe)
        self.network = self._prepared(checkpoint_activations)
        self.curve: list[Point] = []
        self._start_epoch()

    def _prepared(self, checkpoint_activations: bool) -> nn.Module:
        """The module that a step calls: the model, wrapped where gradients are shared with other processes."""
        if self.recipe.precision == "bf16":
            keep_potentials_in_fp32(self.model)
        if checkpoint_activations:
            recompute_activations(self.model)
        if self.processes.count == 1:
            return self.model
        synchronise_norms(self.model)
        return DistributedDataParallel(self.model, forward_sync_buffers=False)

    @property
    def result(self) -> Network:
        """The network to save and to evaluate: the running mean of the weights where the recipe keeps one."""
        if self.average is None:
            return self.model
        assert isinstance(self.average.module, Network)
        return self.average.module

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def steps_done(self) -> int:
        """Steps of the optimiser since the start of the run."""
        return len(self.curve) * self.steps_per_epoch + self.step

    @property
    def clips_at_once(self) -> int:
        """Clips that one process computes at once: its share of an accumulated part of a batch."""
        return self.recipe.batch_size // (self.processes.count * self.recipe.accumulate)

    # Running

    def _start_epoch(self) -> None:
        """Reset the state of the present epoch: its steps, its start, and the sums of losses and of hits."""
        self.step = 0
        self.started = time.monotonic()
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.processes.device)

    def run_epoch(self, progress: Progress, after_step: Callable[[], None] = lambda: None) -> Point:
        """Train one epoch, or the rest of a resumed one, add its point to the curve and return the point.

        `progress` shows a bar for the epoch; `after_step` is called after every step of the optimiser.
        """
        epoch = len(self.curve)
        name = f"epoch {epoch + 1}/{self.recipe.epochs}"
        task = progress.add_task(name, total=self.steps_per_epoch, completed=self.step)
        if self.step == 0:
            self._start_epoch()  # its time starts now
        self.model.train()
        batches = self.batches(epoch, first_step=self.step)
        while self.step < self.steps_per_epoch:
            self.sums += self.train_step(batches, self._mix(epoch, self.step))
            self.step += 1
            progress.advance(task)
            after_step()
        progress.remove_task(task)
        self.curve.append(self._point())
        self._start_epoch()
        return self.curve[-1]

    def batches(self, epoch: int, *, first_step: int = 0) -> Batches:
        """The parts of the batches of an epoch for this process: clips [B, T, C, H, W] and labels [B]."""
        return epoch_loader(
            self.samples,
            epoch,
            first_step=first_step,
            processes=self.processes.count,
            rank=self.processes.rank,
            workers=self.workers,
            pin_memory=self.processes.device.type == "cuda",
        )

    def _mix(self, epoch: int, step: int) -> Mix | None:
        """The mixture of one step, the same in all processes."""
        if not self.recipe.mixes:
            return None
        rng = np.random.default_rng((self.recipe.seed, epoch, step, 0, 0))  # keys of clips have three and four numbers
        return draw_mix(self.recipe, self.model.config.image_size, rng)

    def train_step(self, batches: Batches, mix: Mix | None = None) -> Tensor:
        """One step of the optimiser over the next batch; its mean loss and number of hits, float64 [2].

        Both are those of the whole batch, over all processes and parts. No call waits for a GPU.
        """
        self.optimizer.zero_grad(set_to_none=True)
        sums, parts = torch.zeros_like(self.sums), self.recipe.accumulate
        for part in range(parts):
            with self._without_sharing(part + 1 < parts):
                loss, hits = self.loss_and_hits(*next(batches), mix)
                loss = loss / parts
                loss.backward()
            sums += torch.stack([loss.detach().double() / self.processes.count, hits.double()])
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return self.processes.total(sums)

    def _without_sharing(self, wanted: bool) -> AbstractContextManager[Any]:
        """A context in which a backward pass adds up gradients in this process and shares none of them."""
        if wanted and isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return contextlib.nullcontext()

    def loss_and_hits(self, clips: Tensor, labels: Tensor, mix: Mix | None) -> tuple[Tensor, Tensor]:
        """Mean loss over a part of a batch, and the number of predictions that are the class of their clip.

        Clips are uint8 or int16 [B, T, C, H, W], labels int64 [B]. A mixed clip has the class of its larger part.
        """
        device, recipe = self.processes.device, self.recipe
        batch_BCTHW = as_batch(clips.to(device, non_blocking=True)).to(self.dtype)
        targets = classes = labels.to(device, non_blocking=True)
        if mix is not None:
            group = recipe.clips_together * recipe.repeats
            kinds = self.model.config.num_classes
            batch_BCTHW, targets = mixed(batch_BCTHW, classes, mix, classes=kinds, group=group)
            classes = targets.argmax(1)
        with autocast(recipe.precision, device):
            logits = self.network(batch_BCTHW).to(self.dtype)
        loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
        return loss, (logits.detach().argmax(1) == classes).sum()

    def _point(self) -> Point:
        self.check_loss()
        losses, hits = self.sums.tolist()
        epoch, samples = len(self.curve) + 1, self.recipe.batch_size * self.recipe.repeats
        return Point(
            epoch=epoch,
            step=epoch * self.steps_per_epoch,
            lr=float(self.schedule.get_last_lr()[0]),
            loss=losses / self.steps_per_epoch,
            train_top1=hits / (self.steps_per_epoch * samples),
            seconds=time.monotonic() - self.started,
        )

    def check_loss(self) -> None:
        """Raise `InputError` when the loss is no longer a number; waits for the GPU."""
        if not self.sums.isfinite().all():
            raise InputError(
                f"the loss is no longer a number in epoch {len(self.curve) + 1}: the training diverged; start anew "
                "with a smaller --lr or --gradient-norm, or without --precision bf16"
            )

    # Saving

    def save(self, path: Path) -> None:
        """Write the state from which `load` continues, between any two steps; all processes call it, one writes."""
        self.check_loss()
        if self.processes.writes:
            write_state(path, self._state(), run=self._identity())

    def load(self, path: Path) -> None:
        """Restore the state of `save`; raises `InputError` when the saved run had another recipe, geometry or data."""
        state = read_state(path, run=self._identity())
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.curve = [Point(**point) for point in state["curve"]]
        epoch = state["epoch"]
        self.step, self.started = epoch["step"], time.monotonic() - epoch["seconds"]
        self.sums = epoch["sums"].to(self.processes.device)

    def _state(self) -> State:
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "curve": [dataclasses.asdict(point) for point in self.curve],
            "epoch": {"step": self.step, "sums": self.sums, "seconds": time.monotonic() - self.started},
        }

    def _identity(self) -> dict[str, Any]:
        """Values that must not change when a run is resumed; the numbers of processes and of workers may."""
        names = "\n".join(entry.name for entry in self.data.entries)
        return {
            **dataclasses.asdict(self.recipe),
            **dataclasses.asdict(self.model.config),
            "training clips": hashlib.sha256(names.encode()).hexdigest()[:12],
        }


def _running_mean(model: Network, recipe: Recipe) -> AveragedModel | None:
    """A copy whose parameters and statistics are running means of the model's; None where the recipe has no `ema`.

    It is made before the model gets other forward passes.
    """
    if recipe.ema == 0:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
