# PYTHON_ARGCOMPLETE_OK
"""A clip through the whole network on Lava's CPU backend, against PyTorch, the integer interpreter and stock Lava.

    python benchmarks/lava_clip.py                           # the published geometry, 8 clips streamed
    python benchmarks/lava_clip.py --preset tiny --clips 2   # a try in seconds
    python benchmarks/lava_clip.py --stock --out lava_clip.json

The weights are random; every neuron layer's threshold is set so that it fires at the rate that the published network
has (hardware/data/svformer_ucf101_layers.csv), on a real clip. Everything runs on the same cores in the same run.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from deploy.clips.files import shipped
from deploy.clips.read import known_range, load
from deploy.clips.source import InputFormat
from deploy.execution.simulate import simulate
from deploy.frontend.from_svformer import export
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import quantize
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.options import positive_int
from svformer.common.terminal import new_console, size
from svformer.config import PRESETS, SVFormerConfig
from svformer.model.neurons import PLIF
from svformer.model.svformer import SVFormer

DEFAULT_RATE = 0.12  # of a layer that the published table does not have
REPEATS = 5
MERGED = read_merge("cmos45_fp32")  # the form of convolutions in a row that the published times are of


def published(field_name: str) -> dict[str, float]:
    """A column of the published table, for its neuron layers."""
    table = resources.files("hardware").joinpath("data", "svformer_ucf101_layers.csv").read_text("utf-8")
    rows = csv.DictReader(table.splitlines())
    return {row["layer"]: float(row[field_name]) for row in rows if row["kind"] == "plif"}


def calibrated_model(config: SVFormerConfig, clip_BCTHW: Tensor) -> SVFormer:
    """Random weights, norms fitted to the clip, published time constants, and thresholds that give published rates."""
    torch.manual_seed(0)
    model = SVFormer(config)
    rates, taus = published("spike_rate"), published("plif_tau")
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = 1.0
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, PLIF):
            nn.init.constant_(module.p.w, -float(np.log(taus.get(name, 2.0) - 1)))
            handles.append(module.register_forward_pre_hook(_fit_threshold(rates.get(name, DEFAULT_RATE))))
    with torch.no_grad():
        model.train()(clip_BCTHW.repeat(2, 1, 1, 1, 1))  # a norm over a single value has no variance
    for handle in handles:
        handle.remove()
    return model.eval()


def _fit_threshold(rate: float) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def fit(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, PLIF)
        current = inputs[0][:, :1]
        low, high = 0.0, float(current.max()) + 1.0
        for _ in range(12):
            module.p.v_th = (low + high) / 2
            fires_more = float(module(current).mean()) > rate
            low, high = (module.p.v_th, high) if fires_more else (low, module.p.v_th)

    # The hook calls the module: without its hooks, or it would call itself.
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        hooks, module._forward_pre_hooks = module._forward_pre_hooks, type(module._forward_pre_hooks)()
        fit(module, inputs)
        module._forward_pre_hooks = hooks

    return hook


@dataclass
class Memory:
    """Peak of this process and all its children together, sampled while the block runs; MB."""

    peak_mb: float = 0.0
    peak_shared_mb: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Memory":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            used, shared = 0, 0
            for pid in [os.getpid(), *_children(os.getpid())]:
                rollup = _rollup(pid)
                used, shared = used + rollup.get("Pss", 0), shared + rollup.get("Pss_Shmem", 0)
            self.peak_mb, self.peak_shared_mb = max(self.peak_mb, used / 1024), max(self.peak_shared_mb, shared / 1024)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median of several runs, in seconds."""
    taken = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return statistics.median(taken)


def on_lava(network: IntNetwork, frames: NDArray[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
    """Messages of the last of several runs, and medians; memory in a run of its own, since looking at it takes time."""
    with Memory() as memory:
        simulate(network, frames)
    build_s, run_s = [], []
    for _ in range(REPEATS):
        result = simulate(network, frames)
        build_s.append(result.build_s)
        run_s.append(result.run_s)
    return result.signals, {
        "build_s": statistics.median(build_s),
        "run_s": statistics.median(run_s),
        "peak_mb": memory.peak_mb,
        "shared_mb": memory.peak_shared_mb,
    }


def stock_step_s(network: IntNetwork, signals: dict[str, NDArray[Any]], console: Console) -> float:
    """One time step of every layer in Lava's own Conv and LIF models, one after the other, seconds."""
    from lava.proc.conv import utils

    total = 0.0
    for connection in network.connections:
        operation = connection.operation
        if not isinstance(operation, IntConvolution):
            continue
        geometry = operation.geometry
        message = np.moveaxis(signals[connection.source][0, -1].astype(np.int32), 0, -1)
        weight = np.moveaxis(operation.mantissa[:, :, ::-1, ::-1].astype(np.int32), 1, -1).copy()
        started_s = time.perf_counter()
        utils.conv(
            message, weight, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.groups
        )
        taken = time.perf_counter() - started_s
        total += taken
        console.print(f"  stock {connection.source} -> {connection.target}: {taken:.2f} s a step")
    return total


def require_equal(expected: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]]) -> None:
    different = [name for name in expected if not np.array_equal(expected[name], found[name])]
    if different:
        raise SystemExit(f"Lava and the integer interpreter differ in {', '.join(different)}")


def measure(config: SVFormerConfig, clips: int, stock: bool, console: Console) -> dict[str, Any]:
    source = shipped(CALIBRATION_CLIPS)[0]
    wanted = InputFormat.of(config)
    frames = load(source, wanted)[np.newaxis]
    clip = torch.from_numpy(frames).transpose(1, 2)
    model = calibrated_model(config, clip)
    console.print("weights calibrated to the published rates; exporting and quantising")
    network = lower(export(model.double()), merge=MERGED)
    integer = quantize(network, frames, search=False, input_range=known_range([source]))
    model.float()
    with torch.no_grad():
        model(clip)
        torch_s = median_s(lambda: model(clip))
    console.print(f"PyTorch dense forward: {torch_s:.2f} s a clip")
    started_s = time.perf_counter()
    expected = run_integer(integer, frames)
    integer_s = time.perf_counter() - started_s
    console.print(f"integer interpreter: {integer_s:.1f} s a clip")
    signals, single = on_lava(integer, frames)
    require_equal(expected, signals)
    signals, streamed = on_lava(integer, np.repeat(frames, clips, axis=0))
    require_equal(expected, {name: signal[-1:] for name, signal in signals.items()})
    rates = {n: float(s.mean()) for n, s in expected.items() if isinstance(integer.populations[n], IntLif)}
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "neurons": sum(int(np.prod(integer.populations[n].shape)) for n in rates),
        "mean_rate": float(np.average(list(rates.values()), weights=[expected[n].size for n in rates])),
        "rates": rates,
        "torch_s_per_clip": torch_s,
        "integer_s_per_clip": integer_s,
        "lava_build_s": single["build_s"],
        "lava_single_s": single["run_s"],
        "lava_streamed_s_per_clip": streamed["run_s"] / clips,
        "streamed_clips": clips,
        "peak_mb": streamed["peak_mb"],
        "shared_mb": streamed["shared_mb"],
    }
    if stock:
        found["stock_s_per_clip"] = stock_step_s(integer, expected, console) * config.frames
    return found


def print_result(found: dict[str, Any], console: Console) -> None:
    torch_s = found["torch_s_per_clip"]
    table = Table("execution", "s a clip", "x PyTorch", title=f"{found['neurons']:,} neurons, one clip")
    rows = {
        "PyTorch, dense": torch_s,
        "integer interpreter": found["integer_s_per_clip"],
        "Lava, one clip": found["lava_single_s"],
        f"Lava, {found['streamed_clips']} clips streamed": found["lava_streamed_s_per_clip"],
    }
    if "stock_s_per_clip" in found:
        rows["stock Lava Conv, synapses alone, one core"] = found["stock_s_per_clip"]
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / torch_s:.2f}")
    console.print(table)
    console.print(
        f"built in {found['lava_build_s']:.1f} s; {size(1e6 * found['peak_mb'])} of all processes together, "
        f"{size(1e6 * found['shared_mb'])} of it shared memory; mean firing rate {100 * found['mean_rate']:.1f} %"
    )


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/lava_clip.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="ucf101")
    parser.add_argument("--clips", type=positive_int, default=8, help="clips that stream back to back (default: 8)")
    parser.add_argument("--stock", action="store_true", help="time Lava's own Conv on every layer, too (minutes)")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    found = measure(PRESETS[arguments.preset], arguments.clips, arguments.stock, console)
    print_result(found, console)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(run_cli(main))
