# PYTHON_ARGCOMPLETE_OK
"""What the multi-step neuron gains over a loop over time steps, and how it stands beside SpikingJelly's.

    python benchmarks/neuron.py                              # the tiny preset, batches of 32
    python benchmarks/neuron.py --preset ucf101 --batch 2 --repeats 5
    python benchmarks/neuron.py --device cuda                # on a GPU

Two pieces of work, forward and backward each: one layer of neurons (that of the preset's first block), and a training
step of the whole SVFormer (AdamW, clipped gradients). All contenders do the same work, which is checked first, in turns
in one process; the figures are medians. The peak memory of each is that of a process of its own, above what it held
before the step.

SpikingJelly is no dependency of this project: `pip install --no-deps spikingjelly loguru` (its own requirements would
bring another torch). It chooses by itself how it computes on a device; with --compile also under torch.compile, which
needs a C++ compiler and minutes. On a GPU (not tried where this was written) the memory is what torch has allocated.
"""

import argparse
import gc
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

from svformer.common.cli import ArgumentParser, add_device_argument, run_cli
from svformer.common.devices import choose_device
from svformer.common.options import Number, positive_int
from svformer.common.terminal import new_console, track
from svformer.config import PRESETS
from svformer.model.neurons import PLIF
from svformer.model.svformer import SVFormer

BATCHES = {"tiny": 32}  # of the other presets: the least
LEAST_BATCH = 2  # the norm before the classifier has one value for each clip
BATCH = Number(
    read=int,
    allowed=f"{LEAST_BATCH} or more (in training a norm needs two clips)",
    holds=lambda clips: clips >= LEAST_BATCH,
)
OURS = "multi-step"


# Contenders: modules of currents [T, ...] -> spikes [T, ...] with the parameter `w`


class StepLoop(PLIF):
    """Our loop over time, which takes the steps apart with `unbind`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.step_loop(x)


class Norse(PLIF):
    """The loop over time that norse brings along."""

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = super(PLIF, self).forward(x)[0]
        return spikes


class SpikingJelly(nn.Module):
    """Its parametric LIF neuron with the same constants, put to rest before every clip."""

    def __init__(self, *, compiled: bool = False) -> None:
        from spikingjelly.activation_based import functional, neuron, surrogate

        super().__init__()
        node = neuron.ParametricLIFNode(
            init_tau=2.0, detach_reset=True, surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m"
        )
        self.node, self.reset = torch.compile(node, dynamic=True) if compiled else node, functional.reset_net

    def forward(self, x: Tensor) -> Tensor:
        self.reset(self.node)
        spikes: Tensor = self.node(x)
        return spikes


CONTENDERS: dict[str, Callable[[], nn.Module]] = {
    OURS: PLIF,
    "step loop (unbind)": StepLoop,
    "norse's SNN.forward": Norse,
    "SpikingJelly": SpikingJelly,
    "SpikingJelly, torch.compile": lambda: SpikingJelly(compiled=True),
}


def contenders(*, compiled: bool) -> list[str]:
    """Names of those that can run here."""
    names = [name for name in CONTENDERS if compiled or "compile" not in name]
    if importlib.util.find_spec("spikingjelly") is None:
        return [name for name in names if "SpikingJelly" not in name]
    return names


# Work


@dataclass(frozen=True, kw_only=True)
class Job:
    """Which work, with whose neurons, for which geometry."""

    work: str  # a name in WORKS
    contender: str
    preset: str
    batch: int
    threads: int
    device: str


def layer(job: Job) -> Callable[[], tuple[Tensor, Tensor]]:
    """Forward and backward of one layer; gives its spikes and the gradient of its input."""
    config = PRESETS[job.preset]
    shape = (config.frames, job.batch, config.embed_dims[0], *2 * (config.stage_sizes[0],))
    neurons, generator = CONTENDERS[job.contender]().to(job.device), torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=generator).to(job.device) for _ in range(2))
    x = x.mul_(2).requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        spikes = neurons(x)
        of_x, *_ = torch.autograd.grad(spikes, (x, *neurons.parameters()), grad)
        return spikes.detach(), of_x

    return run


def training_step(job: Job) -> Callable[[], tuple[Tensor, Tensor]]:
    """A step of AdamW on one batch; gives the logits and the gradient of the first kernel."""
    config = PRESETS[job.preset]
    torch.manual_seed(0)
    model = SVFormer(config)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, PLIF):
                setattr(module, name, CONTENDERS[job.contender]())
    model = model.to(job.device)
    clips = torch.randn(job.batch, config.in_channels, config.frames, *2 * (config.image_size,)).to(job.device)
    labels = (torch.arange(job.batch) % config.num_classes).to(job.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)  # a benchmark: the weights are to stay where they are

    def run() -> tuple[Tensor, Tensor]:
        logits = model(clips)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        assert model.stem.conv.weight.grad is not None
        return logits.detach(), model.stem.conv.weight.grad.clone()

    return run


WORKS = {"one layer": layer, "training step": training_step}


# Measurements


def check(runs: dict[str, Callable[[], tuple[Tensor, Tensor]]]) -> None:
    """All contenders compute the same; this also compiles what has to be compiled."""
    results = {name: run() for name, run in runs.items()}
    for name, found in results.items():
        for ours, theirs in zip(results[OURS], found, strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4, msg=f"{name}: {{}}".format)


def wait(device: str) -> None:
    """A GPU works on while Python goes ahead."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def seconds(runs: dict[str, Callable[[], Any]], *, device: str, repeats: int, title: str) -> dict[str, float]:
    """Medians, all contenders in turns, so that what else the machine does meets each alike.

    One run before each that counts: as in training, the memory that it takes is that of the step before.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in track(range(repeats), title):
        for name, run in runs.items():
            run()
            wait(device)
            started = time.perf_counter()
            run()
            wait(device)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(job: Job) -> int:
    """What a step takes above what the process held before, measured in a process of its own."""
    # With every tensor in its own pages, freed memory goes back at once and is counted when it is taken again.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_peak_bytes_here, job).result()


def _peak_bytes_here(job: Job) -> int:
    torch.set_num_threads(job.threads)
    run = WORKS[job.work](job)
    run()  # compiles, and allocates what stays
    gc.collect()
    if job.device != "cpu":
        torch.cuda.reset_peak_memory_stats(job.device)
        before = torch.cuda.memory_allocated(job.device)
        run()
        return torch.cuda.max_memory_allocated(job.device) - before
    Path("/proc/self/clear_refs").write_text("5")  # Linux: sets VmHWM to VmRSS
    before = _memory_field("VmRSS")
    run()
    return _memory_field("VmHWM") - before


def _memory_field(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def measure(work: str, names: list[str], options: argparse.Namespace) -> Table:
    what = {name: getattr(options, name) for name in ("preset", "batch", "threads", "device")}
    jobs = {name: Job(work=work, contender=name, **what) for name in names}
    runs = {name: WORKS[work](job) for name, job in jobs.items()}
    check(runs)
    times = seconds(runs, device=options.device, repeats=options.repeats, title=f"{work}, time")
    peaks = {name: peak_bytes(job) for name, job in track(jobs.items(), f"{work}, memory")}
    where = f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    table = Table(title=f"{work}: {options.preset}, batch {options.batch}, {where}", title_style="bold")
    table.add_column("neurons", no_wrap=True)
    for heading in ("ms", "times ours", "peak MB", "times ours"):
        table.add_column(heading, justify="right")
    for name in names:
        time_ratio, memory_ratio = (values[name] / values[OURS] for values in (times, peaks))
        cells = f"{1e3 * times[name]:.2f}", f"{time_ratio:.2f}", f"{peaks[name] / 1e6:.0f}", f"{memory_ratio:.2f}"
        table.add_row(name, *cells)
    return table


def versions() -> str:
    installed = (
        name for name in ("torch", "norse", "numba", "triton", "spikingjelly") if importlib.util.find_spec(name)
    )
    return ", ".join(f"{name} {metadata.version(name)}" for name in installed)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/neuron.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--batch", type=BATCH, help="clips (default: 32 of the tiny preset, else 2)")
    parser.add_argument(
        "--repeats", type=positive_int, default=11, help="runs; the median counts (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads(), help="default: %(default)s")
    add_device_argument(parser)
    parser.add_argument("--compile", action="store_true", help="also SpikingJelly under torch.compile")
    options = parser.parse_args(argv)
    options.batch = BATCHES.get(options.preset, LEAST_BATCH) if options.batch is None else options.batch
    options.device = str(choose_device(options.device))
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options, console = parse_arguments(argv), new_console()
    torch.set_num_threads(options.threads)
    names = contenders(compiled=options.compile)
    if "SpikingJelly" not in names:
        console.print("SpikingJelly is not installed; to compare with it: pip install --no-deps spikingjelly loguru")
    for work in WORKS:
        console.print(measure(work, names, options))
    console.print(versions())


if __name__ == "__main__":
    sys.exit(run_cli(main))
