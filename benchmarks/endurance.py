# PYTHON_ARGCOMPLETE_OK
"""Many runs on Lava in one Python session: nothing may grow and nothing may stay behind.

    python benchmarks/endurance.py --out endurance.json      # 200 runs
    python benchmarks/endurance.py --runs 10                 # a first look

Each run builds a new network with its own weights (about 16 MB), streams two clips and compares with the integer
interpreter. Afterwards memory, open files, threads, child processes, mappings and files in /dev/shm must be what they
were after the first runs. Exit code 4 when they are not.
"""

import argparse
import gc
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deploy.errors import SimulatorError
from deploy.execution.simulate import simulate
from deploy.ir.integer import IntConnection, IntNetwork, run_integer
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from hardware import ConvGeometry
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.options import positive_int
from svformer.common.terminal import new_console

CHANNELS, FRAMES, CLIPS = 2000, 3, 2
WARM_UP = 5  # runs after which compiled kernels and pools of memory are there
WEIGHT_MB = 2 * CHANNELS**2 * 2 / 1e6  # of two layers, two bytes a weight, as the network holds them
MOST_MB = 8 * WEIGHT_MB  # what may come and go; weights that are kept would exceed it in 8 runs
MOST_MAPPINGS = 40  # the allocator's, which come and go


def random_network(rng: np.random.Generator) -> IntNetwork:
    """Two dense layers of neurons."""
    shape = (CHANNELS, 1, 1)
    geometry = ConvGeometry(in_shape=shape, out_channels=CHANNELS, kernel=(1, 1))
    names = ("in", "first", "second")
    neurons = IntLif(
        shape=shape,
        scale=1.0,
        bias_mantissa=rng.integers(0, 9, shape),
        bias_exponent=6,
        decay=np.full((1, 1, 1), 2048),
        threshold=np.full((1, 1, 1), 60),
    )
    return IntNetwork(
        populations={"in": IntInput(shape=shape, scale=1.0, low=0, high=1), "first": neurons, "second": neurons},
        connections=tuple(
            IntConnection(
                source=source,
                target=target,
                operation=IntConvolution(
                    mantissa=rng.integers(-9, 10, (CHANNELS, CHANNELS, 1, 1), dtype=np.int16),
                    exponent=0,
                    geometry=geometry,
                ),
            )
            for source, target in itertools.pairwise(names)
        ),
        output="second",
        frames=FRAMES,
    )


def one_run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    clips = rng.integers(0, 2, size=(CLIPS, FRAMES, CHANNELS, 1, 1))
    found = simulate(network, clips, timeout_s=300).signals
    for name, expected in run_integer(network, clips).items():
        if not np.array_equal(found[name], expected):
            raise SimulatorError(f"run {seed}: Lava and the integer interpreter differ in {name}")


def state() -> dict[str, float]:
    """What this process holds at the moment."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    maps = Path("/proc/self/maps").read_text().splitlines()
    tasks = Path("/proc/self/task").glob("*/children")
    return {
        "memory_mb": int(status["VmRSS"].split()[0]) / 1024,
        "open_files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": sum(len(task.read_text().split()) for task in tasks),
        "mappings": len(maps),
        "named_segments": sum("/dev/shm/" in line and not line.endswith("(deleted)") for line in maps),
    }


def endure(runs: int, say: Callable[[str], None]) -> list[dict[str, float]]:
    """State after the warm-up and after each further run."""
    for seed in range(WARM_UP):
        one_run(seed)
    states = [state()]
    for seed in range(runs):
        one_run(WARM_UP + seed)
        states.append(state())
        if (seed + 1) % 20 == 0:
            say(f"{seed + 1} runs: {states[-1]}")
    return states


def grown(states: list[dict[str, float]]) -> list[str]:
    """What is more at the end than at the beginning; memory and mappings may vary within a bound."""
    allowed = {"memory_mb": MOST_MB, "mappings": MOST_MAPPINGS}
    first, last = states[0], states[-1]
    return [
        f"{what} {first[what]:.0f} -> {last[what]:.0f}"
        for what in first
        if last[what] > first[what] + allowed.get(what, 0)
    ]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/endurance.py", description=__doc__)
    parser.add_argument("--runs", type=positive_int, default=200, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="write the state after every run as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    states = endure(arguments.runs, console.print)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps(states) + "\n")
    if found := grown(states):
        raise SimulatorError(f"after {arguments.runs} runs there is more than before: {'; '.join(found)}")
    console.print(
        f"{arguments.runs} runs in one session, all equal to the integer interpreter; after them {states[-1]}"
    )


if __name__ == "__main__":
    sys.exit(run_cli(main))
