"""loihi2.json as a type, built from what a board gave, and the same on a terminal."""

import numpy as np
from rich.console import Console

from deploy.execution.deployment import Deployment
from deploy.execution.on_loihi2 import BoardRun
from deploy.passes.schedule import schedule
from deploy.report.keys.loihi2 import BoardBatch, BoardClip, BoardReport
from deploy.report.network import mapped_parts
from svformer.common.terminal import counted


def board_report(deployment: Deployment, runs: list[BoardRun]) -> BoardReport:
    """The report of a run on a board; the mapping is that of the part that runs there."""
    from deploy.lava_network.loihi import split_readout

    core, _ = split_readout(deployment.integer)
    return BoardReport(
        mapping=mapped_parts(core, schedule(core)),
        clips=tuple(clip for run in runs for clip in _clips(run)),
        messages_compared=sum(run.messages_compared for run in runs),
        runs=tuple(_batch(run) for run in runs),
    )


def _clips(run: BoardRun) -> list[BoardClip]:
    return [
        BoardClip(source=source.path.name, prediction=int(logits.argmax()), logits=tuple(logits.tolist()))
        for source, logits in run.clips
    ]


def _batch(run: BoardRun) -> BoardBatch:
    profiler = {
        probe: {name: tuple(map(float, values)) for name, values in readings.items()}
        for probe, readings in run.profiler.items()
    }
    return BoardBatch(clips=len(run.clips), time_steps=run.time_steps, profiler=profiler)


def print_board_report(report: BoardReport, console: Console) -> None:
    """Readings as Intel's profiler gives them, in its units."""
    console.print(
        f"{counted(len(report.clips), 'clip')} on Loihi 2; its output equals the integer interpreter on "
        f"{report.messages_compared:,} messages"
    )
    for run in report.runs:
        for probe, readings in run.profiler.items():
            for name, values in readings.items():
                mean = float(np.mean(values)) if values else float("nan")
                console.print(f"  {probe} {name}: {mean:.6g} (mean of {len(values)})")
