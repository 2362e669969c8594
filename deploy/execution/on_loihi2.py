"""`run_lava.py --backend loihi2`: clips on a Loihi 2 board, against the integer interpreter, with Intel's profiler.

Only what the board itself says is reported: predictions from its output, and the readings of the profiler. Nothing is
estimated here, and where the board cannot be reached nothing runs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from deploy.clips.read import batches
from deploy.clips.source import ClipSource
from deploy.execution.batch import BATCH
from deploy.execution.deployment import Deployment
from deploy.gates.agreement import require_equal
from deploy.ir.integer import as_images, run_integer
from deploy.passes.mapping import mapping
from deploy.passes.schedule import schedule

SCHEMA = "svformer-loihi2/1"


def run_chip(deployment: Deployment, sources: Sequence[ClipSource]) -> dict[str, Any]:
    """Run clips on the board.

    Raises `InputError` for what the chip cannot hold, `GateError` where its output differs from the integers.
    """
    from deploy.lava_network.loihi import run_on_chip, split_readout

    network, runs, clips, compared = deployment.integer, list[dict[str, Any]](), list[dict[str, Any]](), 0
    for part, frames in batches(sources, deployment.input_format, BATCH):
        images = as_images(frames, network)
        expected = run_integer(network, images)
        found = run_on_chip(network, images)
        signals = {network.output: found.output}
        names = [network.output]
        compared += require_equal(expected, signals, names=names, between="integer interpreter and Loihi 2").compared
        runs.append({"clips": len(part), "time_steps": found.time_steps, "profiler": found.readings})
        for source, logits in zip(part, network.logits(signals), strict=True):
            clips.append({"source": source.path.name, "prediction": int(logits.argmax()), "logits": logits.tolist()})
    core, _ = split_readout(network)
    return {
        "schema": SCHEMA,
        "mapping": [dataclasses.asdict(row) for row in mapping(core, schedule(core))],
        "clips": clips,
        "messages_compared": compared,
        "runs": runs,
    }


def print_chip_run(report: dict[str, Any], console: Console) -> None:
    """Readings as Intel's profiler gives them, in its units."""
    console.print(
        f"{len(report['clips'])} clips on Loihi 2; its output equals the integer interpreter on "
        f"{report['messages_compared']:,} messages"
    )
    for run in report["runs"]:
        for probe, readings in run["profiler"].items():
            for name, values in readings.items():
                mean = float(np.mean(values)) if values else float("nan")
                console.print(f"  {probe} {name}: {mean:.6g} (mean of {len(values)})")
