"""Shapes, parameters, memory and time of a run, estimated from one measured step. Nothing is written."""

import dataclasses
import resource
import time
from dataclasses import dataclass

import torch
from rich.table import Column, Table
from torch import Tensor, nn

from svformer.common.terminal import duration, size
from svformer.config import SVFormerConfig
from svformer.networks import build
from svformer.networks.dense_counts import Sizes, sizes
from svformer.training.loop import SPACE_FOR_STATES, state_bytes
from svformer.training.record import machine
from svformer.training.samples import Key
from svformer.training.trainer import Trainer

MEASURED_MACS = 2_000_000_000  # dense MACs that are measured on a CPU, where time and memory grow with the samples
LEAST_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory and time of one process, scaled from a measurement with a few clips."""

    sizes: Sizes
    steps: int  # steps of the optimiser in the whole run
    samples: int  # samples that are computed at once: clips of a part of a batch x repeats
    measured_samples: int
    weights_bytes: int  # weights, gradients, the optimiser's two moments, running mean of the weights
    activation_bytes: int  # for `samples` at once
    compute_s: float  # seconds to compute one step of the optimiser
    read_s: float  # seconds in which all workers read the clips of one step
    workers: int  # processes that read clips; 0: the training process reads them

    @property
    def step_s(self) -> float:
        """Seconds of one step: workers read while the network computes; without them one follows the other."""
        return max(self.compute_s, self.read_s) if self.workers else self.compute_s + self.read_s


def estimate(trainer: Trainer) -> Estimate:
    """Read a few clips and train on them twice; the trainer must not be used afterwards."""
    recipe, processes = trainer.recipe, trainer.processes
    clips = recipe.batch_size // processes.count
    at_once, on_gpu = trainer.clips_at_once, processes.device.type == "cuda"
    dense = sizes(trainer.model.config)
    samples = max(LEAST_SAMPLES, MEASURED_MACS // dense.dense_macs)
    measured = at_once if on_gpu else min(at_once, max(1, samples // recipe.repeats))
    batch, labels, read_s = _read(trainer, measured)
    few = measured if on_gpu else max(1, measured // 2, 2 // recipe.repeats)  # a norm needs two samples
    before = peak_bytes(processes.device)
    _train(trainer, batch[: few * recipe.repeats], labels[: few * recipe.repeats])
    warm = peak_bytes(processes.device)  # includes memory that libraries allocate once
    compute_s = _train(trainer, batch, labels)
    more = peak_bytes(processes.device)
    clip_bytes = (more - warm) / (measured - few) if measured > few else (more - before) / measured
    weights = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    return Estimate(
        sizes=dense,
        steps=trainer.steps_per_epoch * recipe.epochs,
        samples=at_once * recipe.repeats,
        measured_samples=measured * recipe.repeats,
        weights_bytes=weights * (4 if trainer.average is None else 5),
        activation_bytes=round(clip_bytes * at_once),
        compute_s=compute_s * clips / measured,
        read_s=read_s * clips / measured / max(1, trainer.workers),
        workers=trainer.workers,
    )


def _read(trainer: Trainer, clips: int) -> tuple[Tensor, Tensor, float]:
    started = time.monotonic()
    samples, labels = zip(*(trainer.samples[Key(0, index)] for index in range(clips)), strict=True)
    batch = torch.cat(samples), torch.tensor(labels).repeat_interleave(trainer.recipe.repeats)
    return *batch, time.monotonic() - started


def _train(trainer: Trainer, batch: Tensor, labels: Tensor) -> float:
    """Seconds of one step; reading the loss waits for the device."""
    started = time.monotonic()
    trainer.model.train()
    trainer.optimizer.zero_grad(set_to_none=True)
    loss, _ = trainer.loss_and_hits(batch, labels, None)
    loss.backward()
    trainer.optimizer.step()
    loss.item()
    return time.monotonic() - started


def peak_bytes(device: torch.device) -> int:
    """The largest memory of this process so far: of its GPU, or its resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Tables


def shapes(config: SVFormerConfig) -> dict[str, list[int]]:
    """The output shape of every part of the network for one clip: [T, C, H, W], of the head [classes]."""
    found = dict[str, list[int]]()
    with torch.device("meta"):
        model = build(dataclasses.replace(config, weight_bits=None)).eval()
        clip = torch.empty(1, config.in_channels, config.frames, config.image_size, config.image_size)
    names = {module: name for name, module in model.named_children()}

    def keep(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[names[module]] = [*output.shape[:1], *output.shape[2:]] if output.ndim == 5 else [*output.shape[1:]]

    for module in names:
        module.register_forward_hook(keep)
    with torch.no_grad():
        model(clip)
    return found


def report(trainer: Trainer, estimated: Estimate) -> Table:
    """All figures as a table of two columns."""
    e, recipe, config = estimated, trainer.recipe, trainer.model.config
    clip = [config.frames, config.in_channels, config.image_size, config.image_size]
    table = Table("dry run", Column(f"{len(trainer.data)} training clips, {machine(trainer)}"))
    table.add_row("clip [T, C, H, W]", _shape(clip))
    for name, shape in shapes(config).items():
        table.add_row(f"  {name}", _shape(shape))
    table.add_section()
    table.add_row("parameters", f"{e.sizes.parameters:,}")
    table.add_row("spiking neurons", f"{e.sizes.neurons:,}")
    table.add_row("dense MACs of a clip", f"{e.sizes.dense_macs + e.sizes.attention_macs:,}")
    table.add_section()
    table.add_row("steps", f"{e.steps:,}: {recipe.epochs} epochs of {trainer.steps_per_epoch}")
    table.add_row("samples of a step", f"{recipe.batch_size} clips x {recipe.repeats}, in all processes")
    table.add_row("samples at once", f"{e.samples}, measured with {e.measured_samples}")
    table.add_row("memory, about", f"{size(e.weights_bytes)} for weights, {size(e.activation_bytes)} for activations")
    table.add_row("disk", f"{size(SPACE_FOR_STATES * state_bytes(trainer))} for saved states")
    table.add_row(
        "a step, about", f"{duration(e.step_s)}: {duration(e.compute_s)} to compute, {duration(e.read_s)} to read"
    )
    table.add_row("the run, about", duration(e.steps * e.step_s))
    return table


def _shape(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes))
