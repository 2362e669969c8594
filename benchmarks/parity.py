# PYTHON_ARGCOMPLETE_OK
"""Every layer and step of full-geometry clips on Lava, bit for bit against the integer interpreter.

    python benchmarks/parity.py --out parity.json            # the published geometry, two clips
    python benchmarks/parity.py --preset tiny --clips 4      # a try in seconds

The weights are random; every neuron layer's threshold is set so that it fires at its published rate on a real clip
(`clip_times.published`). The clips are different videos, streamed back to back. The full geometry takes some
minutes and 5 GB. Exit code 3, and the places in the JSON file, when anything differs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_times.published import calibrated_model
from numpy.typing import NDArray
from rich.console import Console

from deploy.clips.files import shipped
from deploy.clips.read import known_range, load
from deploy.clips.source import InputFormat
from deploy.errors import GateError
from deploy.execution.simulate import simulate
from deploy.frontend.from_svformer import export
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.populations.lif import IntLif
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import quantize
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console
from svformer.config import PRESETS, SVFormerConfig

LIBRARIES = ("torch", "numpy", "lava-nc")
MERGED = read_merge("cmos45_fp32")  # the form of convolutions in a row that the published counts are of


def published_network(config: SVFormerConfig, frames_TCHW: NDArray[Any], value_range: Any) -> IntNetwork:
    """Random weights, published rates on this clip, quantised."""
    clip = torch.from_numpy(frames_TCHW[np.newaxis]).transpose(1, 2)
    network = lower(export(calibrated_model(config, clip).double()), merge=MERGED)
    return quantize(network, frames_TCHW[np.newaxis], search=False, input_range=value_range)


def compared(network: IntNetwork, expected: NDArray[Any], found: NDArray[Any], name: str) -> dict[str, Any]:
    """One layer: messages [N, T, C, H, W] compared, and the time steps at which any differs."""
    differs = expected != found
    by_step = differs.sum(axis=(0, 2, 3, 4))
    population = network.populations[name]
    return {
        "name": name,
        "shape": list(population.shape),
        "steps": int(expected.shape[1]),
        "messages": int(expected.size),
        "rate": float(expected.mean()) if isinstance(population, IntLif) else None,
        "different": int(by_step.sum()),
        "different_at_steps": np.flatnonzero(by_step).tolist(),
    }


def measure(config: SVFormerConfig, clips: int, console: Console) -> dict[str, Any]:
    made, sources = vars(provenance(LIBRARIES)), shipped(CALIBRATION_CLIPS)
    if not 1 <= clips <= len(sources):
        raise InputError(f"--clips {clips}; allowed: 1 to {len(sources)}")
    wanted = InputFormat.of(config)
    frames = np.stack([load(source, wanted) for source in sources[:clips]])
    network = published_network(config, frames[0], known_range(sources[:1]))
    console.print("weights calibrated to the published rates and quantised; Lava runs")
    result = simulate(network, frames)
    layers: dict[str, dict[str, Any]] = {}
    for i in range(clips):  # one by one, since the interpreter unrolls all frames of what it is given
        expected = run_integer(network, frames[i : i + 1])
        for name, signal in expected.items():
            found = compared(network, signal, result.signals[name][i : i + 1], name)
            layers[name] = found if i == 0 else _added(layers[name], found, clips=i + 1)
        console.print(f"clip {i + 1} of {clips}: {sum(layer['different'] for layer in layers.values())} differ so far")
    return {
        **made,
        "frames": config.frames,
        "input_shape": list(network.input.shape),
        "neurons": sum(int(np.prod(p.shape)) for p in network.populations.values() if isinstance(p, IntLif)),
        "clips": [source.path.name for source in sources[:clips]],
        "time_steps": result.time_steps,
        "messages": sum(layer["messages"] for layer in layers.values()),
        "different": sum(layer["different"] for layer in layers.values()),
        "layers": list(layers.values()),
    }


def _added(before: dict[str, Any], found: dict[str, Any], *, clips: int) -> dict[str, Any]:
    rate = None if found["rate"] is None else before["rate"] + (found["rate"] - before["rate"]) / clips
    steps = sorted({*before["different_at_steps"], *found["different_at_steps"]})
    sums = {key: before[key] + found[key] for key in ("messages", "different")}
    return {**found, **sums, "rate": rate, "different_at_steps": steps}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/parity.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="ucf101")
    parser.add_argument("--clips", type=positive_int, default=2, help="different clips, back to back (default: 2)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    found = measure(PRESETS[arguments.preset], arguments.clips, console)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")
    rates = [layer["rate"] for layer in found["layers"] if layer["rate"] is not None]
    console.print(
        f"{found['neurons']:,} neurons, {len(found['clips'])} clips of {found['frames']} steps: "
        f"{found['messages']:,} messages of {len(found['layers'])} layers compared, {found['different']} differ; "
        f"firing rates {100 * min(rates):.1f} to {100 * max(rates):.1f} %; {found['date']}, {found['machine']}, "
        f"commit {found['commit']}"
    )
    if found["different"]:
        layer = next(layer for layer in found["layers"] if layer["different"])
        raise GateError(
            f"Lava and the integer interpreter differ first in {layer['name']}, at time steps "
            f"{layer['different_at_steps']} ({layer['different']} messages)"
        )


if __name__ == "__main__":
    sys.exit(run_cli(main))
