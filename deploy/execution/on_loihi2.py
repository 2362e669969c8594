"""`run_lava.py --backend loihi2`: clips on a Loihi 2 board, against the integer interpreter, with Intel's profiler.

Only what the board itself says is reported: predictions from its output, and the readings of the profiler. Nothing is
estimated here, and where the board cannot be reached nothing runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.clips.read import batches
from deploy.clips.source import ClipSource
from deploy.execution.batch import BATCH
from deploy.execution.deployment import Deployment
from deploy.gates.agreement import require_equal
from deploy.ir.integer import as_images, run_integer


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """Clips that streamed through the board together."""

    clips: list[tuple[ClipSource, NDArray[np.float64]]]  # with their logits [K]
    time_steps: int
    profiler: dict[str, dict[str, list[float]]]  # by probe and reading, in the units of Intel's profiler
    messages_compared: int  # of the output, all equal to those of the integer interpreter


def run_chip(deployment: Deployment, sources: Sequence[ClipSource]) -> list[BoardRun]:
    """Run clips on the board, batch by batch.

    Raises `InputError` for what the chip cannot hold, `GateError` where its output differs from the integers.
    """
    from deploy.lava_network.loihi import run_on_chip

    network, runs = deployment.integer, list[BoardRun]()
    for part, frames in batches(sources, deployment.input_format, BATCH):
        images = as_images(frames, network)
        expected = run_integer(network, images)
        found = run_on_chip(network, images)
        signals, names = {network.output: found.output}, [network.output]
        equal = require_equal(expected, signals, names=names, between="integer interpreter and Loihi 2")
        runs.append(
            BoardRun(
                clips=list(zip(part, network.logits(signals), strict=True)),
                time_steps=found.time_steps,
                profiler=found.readings,
                messages_compared=equal.compared,
            )
        )
    return runs
