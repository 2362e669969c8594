# PYTHON_ARGCOMPLETE_OK
"""Time the spike kernels of deploy/engine against float32 in NumPy and torch, on the layers of the ucf101 preset.

    python benchmarks/kernels.py                             # all layers, a minute
    python benchmarks/kernels.py --only fc1 attention --rounds 3 --json

The float competitors get their operands ready: float32, patches already gathered for NumPy. The kernels take int8
spikes as they come from the network, and list, pack or gather them within the time. In every round all competitors
run once, one after the other; a time is the median over the rounds, of CPU time with one core and else of the clock.
Before that all results are compared with the integer interpreter.
"""

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from threadpoolctl import threadpool_limits

from deploy.engine.dense import byte_product_is_exact
from deploy.engine.im2col import Patches
from deploy.engine.kernels import compile_kernel, variants
from deploy.engine.neurons import Neurons
from deploy.engine.ranges import SPIKES
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif, fire
from hardware import AttentionGeometry, ConvGeometry
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.common.terminal import new_console, track

Array = NDArray[Any]
Competitors = dict[str, Callable[[], Any]]

RATES = (0.01, 0.06, 0.12, 0.18, 0.35, 0.5)
PAPER = slice(1, 4)  # 6 to 18 %
FLOATS = ("numpy", "torch")

# name: channels in and out, kernel, stride, padding, groups, size of the image (svformer_ucf101_layers.csv, merged)
CONVOLUTIONS = {
    "stage1.local 5x5": (128, 128, 5, 1, 2, 1, 56),
    "stage1.fc1 1x1": (128, 256, 1, 1, 0, 1, 56),
    "stage1.fc2 1x1": (256, 128, 1, 1, 0, 1, 56),
    "down2 4x4/2": (128, 256, 4, 2, 1, 1, 56),
    "stage2.local 5x5": (256, 256, 5, 1, 2, 1, 28),
    "stage2.fc1 1x1": (256, 512, 1, 1, 0, 1, 28),
    "stage2.fc2 1x1": (512, 256, 1, 1, 0, 1, 28),
    "down3 4x4/2": (256, 384, 4, 2, 1, 1, 28),
    "stage3.qkv 1x1": (384, 1152, 1, 1, 0, 1, 14),
    "stage3.proj 1x1": (384, 384, 1, 1, 0, 1, 14),
    "stage3.fc1 1x1": (384, 768, 1, 1, 0, 1, 14),
    "stage3.fc2 1x1": (768, 384, 1, 1, 0, 1, 14),
    "down4 4x4/2": (384, 512, 4, 2, 1, 1, 14),
    "localpath 3x3/2": (384, 512, 3, 2, 1, 1, 14),
    "stage4.qkv 1x1": (512, 1536, 1, 1, 0, 1, 7),
    "stage4.fc1 1x1": (512, 1024, 1, 1, 0, 1, 7),
    "stage4.fc2 1x1": (1024, 512, 1, 1, 0, 1, 7),
    "head 7x7, 256 groups": (512, 512, 7, 1, 0, 256, 7),
    "depthwise 5x5": (128, 128, 5, 1, 2, 128, 56),
}
ATTENTIONS = {"stage3.attention": (384, 196, 6), "stage4.attention": (512, 49, 8)}  # channels, tokens, heads
NEURONS = {"stage1.plif neurons": (128, 56, 56)}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of a competitor at each of RATES."""

    layer: str
    operations: int  # products of the dense float form; neurons
    ms: dict[str, list[float]]

    def ratios(self, name: str) -> list[float]:
        """How many times faster than the faster of the float competitors."""
        best = [min(times) for times in zip(*(self.ms[f] for f in FLOATS), strict=True)]
        return [reference / ms for reference, ms in zip(best, self.ms[name], strict=True)]


def convolution(name: str, rate: float) -> tuple[int, Competitors]:
    inputs, outputs, kernel, stride, padding, groups, size = CONVOLUTIONS[name]
    sides = {key: (value, value) for key, value in (("kernel", kernel), ("stride", stride), ("padding", padding))}
    geometry = ConvGeometry(in_shape=(inputs, size, size), out_channels=outputs, groups=groups, **sides)
    rng = np.random.default_rng(0)
    weight = np.clip(np.rint(rng.normal(0, 30, (outputs, inputs // groups, kernel, kernel))), -127, 127)
    operation = IntConvolution(mantissa=weight.astype(np.int16), exponent=0, geometry=geometry)
    spikes = drawn(rng, geometry.in_shape, rate)

    weight_GOK = weight.astype(np.float32).reshape(groups, outputs // groups, -1)
    patches = Patches(geometry, np.float32)
    patches_GKP = patches(spikes)
    product = np.empty((*weight_GOK.shape[:2], patches_GKP.shape[2]), np.float32)
    image, kernels = torch.from_numpy(spikes[None]).float(), torch.from_numpy(weight).float()
    floats: Competitors = {
        "numpy": lambda: patches.planes.cropped(np.matmul(weight_GOK, patches_GKP, out=product)),
        "torch": lambda: torch.nn.functional.conv2d(image, kernels, None, stride, padding, 1, groups)[0].numpy(),
    }
    return geometry.padded_macs(), checked(floats | ours(operation, spikes), operation(spikes[None])[0])


def attention(name: str, rate: float) -> tuple[int, Competitors]:
    channels, tokens, heads = ATTENTIONS[name]
    geometry = AttentionGeometry(channels=channels, tokens=tokens, heads=heads)
    operation = IntAttention(geometry=geometry, in_shape=(3 * channels, tokens, 1), multiplier=1, exponent=0)
    spikes = drawn(np.random.default_rng(0), operation.in_shape, rate)
    q, k, v = spikes.reshape(3, heads, -1, tokens).astype(np.float32)
    torch_q, torch_k, torch_v = map(torch.from_numpy, (q, k, v))
    floats: Competitors = {
        "numpy": lambda: (v @ k.transpose(0, 2, 1) @ q).reshape(channels, tokens, 1),
        "torch": lambda: (torch_v @ torch_k.transpose(1, 2) @ torch_q).numpy().reshape(channels, tokens, 1),
    }
    return geometry.dense_ops(), checked(floats | ours(operation, spikes), operation(spikes[None])[0])


def neurons(name: str, rate: float) -> tuple[int, Competitors]:
    """One time step; `rate` is about the share of the neurons that fire."""
    shape = NEURONS[name]
    rng = np.random.default_rng(0)
    one = np.ones((shape[0], 1, 1), dtype=np.int64)
    threshold = int(100 * (1 - rate))
    lif = IntLif(
        shape=shape, scale=1.0, bias_mantissa=one, bias_exponent=6, decay=2048 * one, threshold=threshold * one
    )
    currents = rng.integers(0, 100, size=shape)
    kernel, currents_int32, spikes = Neurons(lif, 1), currents.astype(np.int32), np.empty(shape, Neurons.dtype)
    x, v = torch.from_numpy(currents).float(), torch.zeros(shape)

    def torch_step() -> Array:
        v.mul_(0.5).add_(x).add_(1)
        spikes = v > threshold
        v.masked_fill_(spikes, 0)
        return spikes.numpy()

    def first_step(step: Callable[[], Array], state: Any) -> Callable[[], Array]:
        def run() -> Array:
            state[:] = 0
            return step()

        return run

    competitors: Competitors = {
        "numpy": lambda: fire(lif, currents[None, None])[0, 0],
        "torch": first_step(torch_step, v),
        "one pass": first_step(lambda: kernel.update([currents_int32], 0, spikes), kernel.v),
    }
    return int(np.prod(shape)), checked(competitors, fire(lif, currents[None, None])[0, 0])


def drawn(rng: np.random.Generator, shape: tuple[int, ...], rate: float) -> NDArray[np.int8]:
    return (rng.random(shape) < rate).astype(np.int8)


def ours(operation: IntConvolution | IntAttention, spikes: Array) -> Competitors:
    """Every kernel by its name, and the one that the engine chooses."""
    kernels = {name: compile_kernel(operation, SPIKES, variant=name) for name in variants(operation, SPIKES)}
    kernels["chosen"] = compile_kernel(operation, SPIKES)
    return {name: functools.partial(kernel, spikes) for name, kernel in kernels.items()}


def checked(competitors: Competitors, expected: Array) -> Competitors:
    for name, competitor in competitors.items():
        if not np.array_equal(competitor(), expected):
            raise AssertionError(f"{name} differs from the integer interpreter")
    return competitors


def medians_ms(competitors: Competitors, rounds: int, clock_ns: Callable[[], int]) -> dict[str, float]:
    times: dict[str, list[int]] = {name: [] for name in competitors}
    for _ in range(rounds):
        for name, competitor in competitors.items():
            started_ns = clock_ns()
            competitor()
            times[name].append(clock_ns() - started_ns)
    return {name: statistics.median(ns) / 1e6 for name, ns in times.items()}


def timings(names: list[str], rounds: int, clock_ns: Callable[[], int]) -> Iterator[Timing]:
    makers = {**dict.fromkeys(CONVOLUTIONS, convolution), **dict.fromkeys(ATTENTIONS, attention)}
    makers |= dict.fromkeys(NEURONS, neurons)
    for name in track(names, "layers"):
        by_rate: list[dict[str, float]] = []
        for rate in RATES:
            operations, competitors = makers[name](name, rate)
            by_rate.append(medians_ms(competitors, rounds, clock_ns))
        yield Timing(layer=name, operations=operations, ms={n: [ms[n] for ms in by_rate] for n in by_rate[0]})


def shown(results: list[Timing], cores: int) -> Table:
    """Times faster than the faster float competitor: what is chosen, and the best that needs no int8 units."""
    percent = [f"{100 * rate:g} %" for rate in RATES]
    title = f"Times as fast as float32, {cores} core{'s' if cores > 1 else ''}; firing rate of the input"
    table = Table("layer", "M op", "numpy ms", "torch ms", "kernel", *percent, title=title)
    for column in table.columns[1:4] + table.columns[5:]:
        column.justify = "right"
    for result in results:
        floats = [f"{statistics.median(result.ms[name]):.3f}" for name in FLOATS]
        cells = [result.layer, f"{result.operations / 1e6:.1f}", *floats]
        for name in ("chosen", *events(result)) if "chosen" in result.ms else sorted(result.ms.keys() - FLOATS):
            ratios = [f"{ratio:.1f}" for ratio in result.ratios(name)]
            table.add_row(*cells, name, *ratios)
            cells = [""] * len(cells)
    return table


def events(result: Timing) -> list[str]:
    """The kernel that lists spikes, which needs no int8 units of the processor."""
    return [next(name for name in ("scattered", "gathered", "packed") if name in result.ms)]


def slowest(results: list[Timing]) -> Iterator[str]:
    """How far the targets are at the paper's rates: 4 times for convolution, 2 times for attention."""
    whole = [name for name, shape in CONVOLUTIONS.items() if shape[5] == 1]
    for kind, layers in (("convolution without groups", whole), ("attention", ATTENTIONS)):
        ratios = [(ratio, r.layer) for r in results if r.layer in layers for ratio in r.ratios("chosen")[PAPER]]
        if ratios:
            ratio, layer = min(ratios)
            yield f"{kind}, 6 to 18 %: at least {ratio:.1f} times as fast as the faster of NumPy and torch ({layer})"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cores", type=positive_int, default=1, help="threads of NumPy, torch (default: 1); ours take one"
    )
    parser.add_argument("--rounds", type=positive_int, default=9, help="runs of which the median counts (default: 9)")
    parser.add_argument("--only", nargs="+", help="layers whose name contains one of these")
    parser.add_argument("--json", action="store_true", help="print all times, of every kernel, as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    every = [*CONVOLUTIONS, *ATTENTIONS, *NEURONS]
    names = [name for name in every if any(part in name for part in arguments.only or [""])]
    if not names:
        raise InputError(f"--only {' '.join(arguments.only)}: no such layer; allowed: parts of {', '.join(every)}")
    console = new_console()
    torch.set_num_threads(arguments.cores)
    clock_ns = time.thread_time_ns if arguments.cores == 1 else time.perf_counter_ns
    with threadpool_limits(arguments.cores):
        results = list(timings(names, arguments.rounds, clock_ns))
    if arguments.json:
        print(json.dumps({"machine": machine(arguments.cores), "rates": RATES, "layers": [vars(r) for r in results]}))
    console.print(shown(results, arguments.cores))
    for line in slowest(results):
        console.print(line)


def machine(cores: int) -> dict[str, Any]:
    return {
        "processor": llvmlite.binding.get_host_cpu_name(),
        "exact int8 product": byte_product_is_exact(),
        "cores": cores,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(run_cli(main))
