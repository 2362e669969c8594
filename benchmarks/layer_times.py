# PYTHON_ARGCOMPLETE_OK
"""Where a streamed clip's time goes on Lava: kernels, neurons, delay lines and recording of each layer, and the rest.

    python benchmarks/layer_times.py                                     # the published geometry, 8 clips streamed
    python benchmarks/layer_times.py --preset tiny --out layer_times.json --picture layer_times.svg
    python benchmarks/layer_times.py --record output --merge never       # no message kept but the result's

Milliseconds of CPU time a clip: of each layer the median over the time steps in which all layers work, times the time
steps of a clip. "Lava and waiting" is what is left of the time that passed, on all cores that the run had; on a machine
that does something else, that is in it, too. Runs on one core, then on all, each with as many threads in one Lava
process; the run whose time is the median counts.

The file is not called profile.py: its folder comes first on Python's path, where cProfile looks for the standard
library's `profile`.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from clip_times.outputs import add_outputs, check_outputs, write_outputs
from clip_times.phases import PHASES, Clocks, LayerTimes
from clip_times.phases_shown import REST, draw, print_result
from clip_times.published import MERGED, published_network
from numpy.typing import NDArray

from deploy.engine.partition import available_cores
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.lava_network.simulate import simulate
from deploy.passes.schedule import schedule
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console
from svformer.config import PRESETS

LIBRARIES = ("numpy", "numba", "torch", "lava-nc")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A run on some cores: milliseconds a clip, as they passed and as CPU time of all threads by phase and by layer."""

    cores: int
    passed_ms: float
    ms: dict[str, float]  # by phase, and `REST`
    layers: list[LayerTimes]


def profiles(network: IntNetwork, frames: NDArray[Any], *, record: str, repeats: int) -> Iterator[Profile]:
    """Clips [N, T, C, H, W] on one core, and on all where there are more.

    Raises `InputError` when the clips are too few for all layers to work at the same time.
    """
    plan = schedule(network)
    full = full_steps(network, plan, len(frames))
    for cores in sorted({1, available_cores()}):
        with on_cores(cores):
            runs = [_profile(network, plan, frames, cores, record, full) for _ in range(repeats)]
        yield sorted(runs, key=lambda run: run.passed_ms)[repeats // 2]


def full_steps(network: IntNetwork, plan: Plan, clips: int) -> slice:
    """The time steps of a run in which every layer works on a frame."""
    first, last = max(plan.first_step(name) for name in network.populations), clips * plan.frames
    if first >= last:
        raise InputError(f"--clips {clips}; allowed: {first // plan.frames + 1} or more, until all layers work at once")
    return slice(first, last)


@contextmanager
def on_cores(cores: int) -> Iterator[None]:
    """Keep the process, and those that it starts, on the first of its cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _profile(network: IntNetwork, plan: Plan, frames: NDArray[Any], cores: int, record: str, full: slice) -> Profile:
    clocks = Clocks(network.populations, plan.steps(len(frames)))
    kept = None if record == "all" else ()
    run = simulate(network, plan, frames, cores=cores, threads=cores, record=kept, on_build=clocks.watch)
    layers = clocks.layer_times(plan.frames, full)
    passed_ms = 1e3 * run.run_s / len(frames)  # every layer works T time steps a clip; while some wait, others do
    ms = {phase: sum(layer.ms[phase] for layer in layers) for phase in PHASES}
    ms[REST] = cores * passed_ms - sum(ms.values())
    return Profile(cores=cores, passed_ms=passed_ms, ms=ms, layers=layers)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/layer_times.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="ucf101")
    parser.add_argument("--clips", type=positive_int, default=8, help="clips that stream back to back (default: 8)")
    parser.add_argument("--merge", default=MERGED, help="form of convolutions in a row, as in run_lava.py")
    parser.add_argument("--record", choices=("all", "output"), default="all", help="messages that are kept")
    parser.add_argument("--repeats", type=positive_int, default=3, help="runs on each number of cores (default: 3)")
    add_outputs(parser)
    arguments = parser.parse_args(argv)
    check_outputs(arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    made, published = provenance(LIBRARIES), published_network(PRESETS[arguments.preset])
    network = published.integers(arguments.merge)
    frames = np.repeat(published.frames, arguments.clips, axis=0)
    runs = profiles(network, frames, record=arguments.record, repeats=arguments.repeats)
    found = {
        "provenance": dataclasses.asdict(made),
        "preset": arguments.preset,
        "merge": arguments.merge,
        "recorded": arguments.record,
        "clips": arguments.clips,
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    print_result(found, new_console())
    write_outputs(found, arguments, draw)


if __name__ == "__main__":
    sys.exit(run_cli(main))
