# PYTHON_ARGCOMPLETE_OK
"""Count the same small network with NeuroBench and with SpikingJelly 2, and keep what they said.

    python benchmarks/crosscheck_counts.py                   # writes tests/fixtures/crosscheck_counts.json
    python benchmarks/crosscheck_counts.py --out mine.json

Neither tool is a requirement of this project: both declare torch builds of their own. Without these they run well:

    python -m pip install --no-deps --target DIR neurobench snntorch spikingjelly loguru
    PYTHONPATH=DIR python benchmarks/crosscheck_counts.py

`tests/costs/test_crosscheck.py` compares our counts with the file, and with the tools where they can be imported. What
the tools count differently, and why: docs/counting.md.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardware import ConvGeometry, OpCounts, count_attention, count_connection
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "crosscheck_counts.json"
STEPS, SIZE, HEADS, HEAD_DIM = 3, 8, 2, 3
WORD_BYTES = 4  # both tools see float32

ToolCounts = dict[str, dict[str, int]]  # layer -> what a tool says of it


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A weighted layer with the messages that reached it, one time step behind the other."""

    module: nn.Conv2d | nn.Linear
    inputs: Tensor  # [T, C, H, W], or [T, C] of a linear layer
    binary: bool

    @property
    def geometry(self) -> ConvGeometry:
        """The layer as a convolution; a linear layer is a 1x1 kernel on one pixel."""
        if isinstance(self.module, nn.Linear):
            shape = (self.module.in_features, 1, 1)
            return ConvGeometry(in_shape=shape, out_channels=self.module.out_features, kernel=(1, 1))
        _, channels, height, width = self.inputs.shape
        return ConvGeometry(
            in_shape=(channels, height, width),
            out_channels=self.module.out_channels,
            kernel=_pair(self.module.kernel_size),
            stride=_pair(self.module.stride),
            padding=_pair(self.module.padding),
            groups=self.module.groups,
        )


@dataclass(frozen=True, kw_only=True)
class SmallNetwork:
    """Graded stem, strided and grouped convolution, 1x1 with zero weights, attention, graded classifier."""

    layers: dict[str, Layer]
    qkv: Tensor  # spikes [T, 3C, H, W] of q, k and v


def small_network() -> SmallNetwork:
    """Whole numbers everywhere, so that every sum and every spike is the same on every machine."""
    rng = np.random.default_rng(7)
    frames = torch.tensor(rng.integers(-2, 3, size=(STEPS, 2, SIZE, SIZE)), dtype=torch.float32)
    channels = HEADS * HEAD_DIM
    stem = _whole(nn.Conv2d(2, 4, 3, padding=1), rng)
    down = _whole(nn.Conv2d(4, channels, 3, stride=2, padding=1, groups=2), rng)
    mix = _whole(nn.Conv2d(channels, channels, 1, bias=False), rng, zeros=True)
    project = _whole(nn.Conv2d(channels, 3 * channels, 1), rng)
    classify = _whole(nn.Linear(channels * (SIZE // 2) ** 2, 5), rng)
    with torch.no_grad():
        first = _fire(stem(frames), threshold=4)
        second = _fire(down(first), threshold=4)
        third = _fire(mix(second), threshold=2)
        qkv = _fire(project(third), threshold=2)
        attended = _attend(qkv).flatten(1)
    layers = {
        "stem": Layer(module=stem, inputs=frames, binary=False),
        "down": Layer(module=down, inputs=first, binary=True),
        "mix": Layer(module=mix, inputs=second, binary=True),
        "project": Layer(module=project, inputs=third, binary=True),
        "classify": Layer(module=classify, inputs=attended, binary=False),
    }
    return SmallNetwork(layers=layers, qkv=qkv)


def our_counts(network: SmallNetwork) -> dict[str, OpCounts]:
    """What this project counts, layer by layer."""
    found = {
        name: count_connection(
            layer.inputs.reshape(STEPS, *layer.geometry.in_shape).numpy(), layer.geometry, binary=layer.binary
        )
        for name, layer in network.layers.items()
    }
    return {**found, "attention": count_attention(network.qkv.numpy(), HEADS)}


def count_with_neurobench(network: SmallNetwork) -> ToolCounts:
    """Effective ACs and MACs, and dense operations, of all time steps; attention is no layer there."""
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    found: ToolCounts = {}
    for name, layer in network.layers.items():
        model, metric = TorchModel(nn.Sequential(layer.module)), SynapticOperations()
        model.register_hooks()
        predictions = model(layer.inputs)
        per_step = metric(model, predictions, (layer.inputs, None))
        model.cleanup_hooks()
        found[name] = {key.lower(): round(value * STEPS) for key, value in per_step.items()}
    return found


def count_with_spikingjelly(network: SmallNetwork) -> ToolCounts:
    """Synaptic operations and MACs, and reads of weights and biases."""
    from spikingjelly.activation_based import op_counter

    def counted(run: Callable[[], object]) -> dict[str, int]:
        synops, macs = op_counter.SynOpCounter(), op_counter.MACCounter()
        with op_counter.DispatchCounterMode([synops, macs]):
            run()
        return {"synops": synops.get_total(), "macs": macs.get_total()}

    found: ToolCounts = {}
    for name, layer in network.layers.items():
        memory, model = op_counter.NeuromorphicMemoryAccessCounter(), nn.Sequential(layer.module)
        with torch.no_grad(), op_counter.ModuleCounterMode([memory], model=model):
            model(layer.inputs)
        reads = memory.get_counts()["Global"]
        with torch.no_grad():
            found[name] = counted(functools.partial(layer.module, layer.inputs)) | {
                "weight_reads": reads["weight_read_bytes"] // WORD_BYTES,
                "bias_reads": reads["bias_read_bytes"] // WORD_BYTES,
            }
    found["attention"] = counted(lambda: _attend(network.qkv))
    return found


TOOLS: dict[str, Callable[[SmallNetwork], ToolCounts]] = {
    "neurobench": count_with_neurobench,
    "spikingjelly": count_with_spikingjelly,
}


def _fire(currents: Tensor, *, threshold: int) -> Tensor:
    """Integrate-and-fire neurons with reset to zero, [T, ...]."""
    spikes, potential = torch.zeros_like(currents), torch.zeros_like(currents[0])
    for step, current in enumerate(currents):
        potential = potential + current
        spikes[step] = potential > threshold
        potential = torch.where(spikes[step] > 0, 0.0, potential)
    return spikes


def _attend(qkv: Tensor) -> Tensor:
    """Q (K^T V) of every time step and head, [T, C, N]."""
    q, k, v = qkv.reshape(STEPS, 3, HEADS, HEAD_DIM, -1).unbind(1)  # [T, heads, d, N]
    q, k, v = (part.flatten(0, 1) for part in (q, k, v))
    products = torch.bmm(k, v.transpose(1, 2))  # [T * heads, d, d]
    return torch.bmm(q.transpose(1, 2), products).transpose(1, 2).reshape(STEPS, HEADS * HEAD_DIM, -1)


def _whole(module: Any, rng: np.random.Generator, *, zeros: bool = False) -> Any:
    """Weights of 2 to 4 and -2 to -4, a third of them 0 where asked for; biases 0 or 1."""
    shape = tuple(module.weight.shape)
    weights = rng.integers(2, 5, size=shape) * rng.choice([-1, 1, 1], size=shape)
    if zeros:
        weights = weights * (rng.random(shape) > 1 / 3)
    module.weight.data = torch.tensor(weights, dtype=torch.float32)
    if module.bias is not None:
        module.bias.data = torch.tensor(rng.integers(0, 2, size=tuple(module.bias.shape)), dtype=torch.float32)
    return module.requires_grad_(False)


def _pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIXTURE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    network = small_network()
    try:
        found = {tool: count(network) for tool, count in TOOLS.items()}
    except ImportError as error:
        raise InputError(
            f"{error.name} cannot be imported; the head of this file says how to install the tools"
        ) from error
    record = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {name: metadata.version(name) for name in (*TOOLS, "snntorch", "torch")},
        "counts": found,
    }
    with atomic_path(arguments.out) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    ours = our_counts(network)
    for name, counts in ours.items():
        print(
            name,
            {key: value for key, value in vars(counts).items() if value},
            *(found[tool].get(name) for tool in TOOLS),
        )


if __name__ == "__main__":
    sys.exit(run_cli(main))
