"""The integer network in its forms: one clip and a stream of clips on Lava, compared with the interpreter."""

import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from clip_times.measuring import REPEATS, Memory
from deploy.errors import GateError
from deploy.execution.simulate import Simulation, simulate
from deploy.ir.integer import IntNetwork
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.types import Signals


@dataclass(frozen=True, kw_only=True)
class FormTimes:
    """A form of the network on Lava: medians, seconds; or why it could not run.

    Every message is recorded, for `result_s_per_clip` the output's alone. `peak_mb` and `shared_mb` are memory
    of all processes together, and the part of it that they share, while clips stream.
    """

    form: str
    build_s: float | None = None
    single_s: float | None = None
    streamed_s_per_clip: float | None = None
    result_s_per_clip: float | None = None
    peak_mb: float | None = None
    shared_mb: float | None = None
    skipped: str | None = None


def interpreted(network: IntNetwork, frames: NDArray[Any]) -> tuple[Signals, float]:
    """Messages of clips [N, T, C, H, W], by definition, and the seconds that they took."""
    started_s = time.perf_counter()
    signals = simulate(network, frames, backend="integer").signals
    return signals, time.perf_counter() - started_s


def on_lava(form: str, network: IntNetwork, frames: NDArray[Any], expected: Signals, clips: int) -> FormTimes:
    """One clip [1, T, C, H, W] alone, and `clips` of it back to back.

    Raises `GateError` where a message is not the interpreter's.
    """
    many = np.repeat(frames, clips, axis=0)
    single = _runs(network, frames, expected)
    with Memory() as memory:  # a run of its own, since looking at it takes time
        require_equal(expected, simulate(network, many))
    streamed = _runs(network, many, expected)
    alone = _runs(network, many, {network.output: expected[network.output]}, record=())
    return FormTimes(
        form=form,
        build_s=statistics.median(run.build_s for run in single),
        single_s=statistics.median(run.run_s for run in single),
        streamed_s_per_clip=statistics.median(run.run_s for run in streamed) / clips,
        result_s_per_clip=statistics.median(run.run_s for run in alone) / clips,
        peak_mb=memory.peak_mb,
        shared_mb=memory.peak_shared_mb,
    )


@dataclass(frozen=True, kw_only=True)
class _Taken:
    build_s: float
    run_s: float


def _runs(
    network: IntNetwork, frames: NDArray[Any], expected: Signals, record: Collection[str] | None = None
) -> list[_Taken]:
    """What each of several runs took, whose messages are as expected."""
    taken = []
    for _ in range(REPEATS):
        run = simulate(network, frames, record=record)
        require_equal(expected, run)
        taken.append(_Taken(build_s=run.build_s, run_s=run.run_s))
    return taken


def require_equal(expected: Signals, run: Simulation) -> None:
    """Every clip of the run has sent the messages that are expected of one."""
    different = [name for name, signal in expected.items() if not (run.signals[name] == signal).all()]
    if different:
        raise GateError(f"Lava and the integer interpreter differ in {', '.join(different)}")


def stock_step_s(network: IntNetwork, signals: Signals, console: Console) -> float:
    """One time step of every convolution in Lava's own Conv model, one after the other, seconds."""
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
