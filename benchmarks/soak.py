# PYTHON_ARGCOMPLETE_OK
"""Thousands of runs on Lava in one Python session: random networks and options, and nothing may grow or stay behind.

    python benchmarks/soak.py --out soak.json                # 2,000 runs; the same again goes on where it was stopped
    python benchmarks/soak.py --runs 20                      # a first look
    python benchmarks/soak.py --seconds 3600 --seed 7 --out soak.json

A run is a random graph that is quantised, with random clips, time steps, Lava processes and now and then the chip form;
or, every tenth time, a network of 16 MB of weights, whose memory would be missed. Lava and the backend in PyTorch have
to send every message of the integer interpreter, from first to last. Memory, open files, threads, child processes,
mappings and files in /dev/shm must stay what they were after the first runs of the session. Exit code 3 where messages
differ, 4 where something grows.
"""

import argparse
import gc
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzzing.networks import graph, quantised

from deploy.errors import GateError, SimulatorError
from deploy.execution.simulate import simulate
from deploy.gates.agreement import require_equal
from deploy.ir.integer import IntConnection, IntNetwork, as_images, run_integer
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.shapes import infer_shapes
from deploy.passes.chip_form import chip_form
from hardware import ConvGeometry
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.options import positive_int, positive_seconds
from svformer.common.terminal import new_console, track

CHANNELS, FRAMES, CLIPS = 2000, 3, 2
WARM_UP = 20  # runs of a session after which compiled kernels and pools of memory are there
HEAVY_EVERY, LOOK_EVERY = 10, 20  # runs
WEIGHT_MB = 2 * CHANNELS**2 * 2 / 1e6  # of two layers, two bytes a weight, as the network holds them
MOST_MB = 8 * WEIGHT_MB  # what may come and go; weights that are kept would exceed it in 8 heavy runs
MOST_MAPPINGS = 40  # the allocator's, which come and go
# oneDNN, in PyTorch, keeps the code that it makes for a shape, 1,024 pieces of it; every random network has new shapes.
KEPT_CODE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32"}


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


@dataclass(kw_only=True)
class Soaked:
    """What all sessions together have done."""

    seed: int
    runs: int = 0
    refused: int = 0  # graphs that cannot be deployed, with a line that says why
    messages: int = 0  # compared, of Lava and of PyTorch each
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path, seed: int) -> "Soaked":
        """What lies in a file of an earlier command with this seed; raises `InputError` for another."""
        if not path.exists():
            return cls(seed=seed)
        try:
            found = cls(**json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise InputError(f"{path}: no file of this command; choose another --out") from error
        if found.seed != seed:
            raise InputError(f"{path}: of --seed {found.seed}; go on with it, or choose another --out")
        return found

    def write(self, path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


def heavy_run(rng: Random) -> int:
    """Two layers of 2,000 neurons; returns the messages that were compared."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    clips = numbers.integers(0, 2, size=(CLIPS, FRAMES, CHANNELS, 1, 1))
    return compared(random_network(numbers), clips)


def light_run(rng: Random) -> int:
    """A random graph, quantised; returns the messages that were compared. Raises `InputError` where it is refused."""
    made = graph(rng)
    shape, frames = infer_shapes(made)["input"], rng.randrange(2, 9)
    clips = np.random.default_rng(rng.getrandbits(32)).random((rng.randrange(1, 4), frames, *shape)) < rng.random()
    network = quantised(made, clips)
    if rng.random() < 0.1:
        network = chip_form(network).network
    return compared(network, as_images(clips.astype(float), network), processes=rng.randrange(1, 4))


def compared(network: IntNetwork, clips: Any, **options: Any) -> int:
    """Messages of a run; raises `GateError` where Lava or PyTorch sends another than the interpreter."""
    expected, names = run_integer(network, clips), list(network.populations)
    for backend in ("lava", "torch"):
        found = simulate(network, clips, backend=backend, timeout_s=300, **(options if backend == "lava" else {}))
        exact = require_equal(expected, found.signals, names=names, between=f"integer interpreter and {backend}")
    return exact.compared


def one_run(soaked: Soaked) -> None:
    rng = Random(f"{soaked.seed}/{soaked.runs}")
    try:
        soaked.messages += heavy_run(rng) if soaked.runs % HEAVY_EVERY == 0 else light_run(rng)
    except (InputError, ValueError):  # the latter of graphs that are no file yet
        soaked.refused += 1
    except GateError as error:
        error.add_note(f"run {soaked.runs} of --seed {soaked.seed}")
        raise
    soaked.runs += 1


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


def soak(soaked: Soaked, runs: int, seconds: float, out: Path | None) -> list[dict[str, float]]:
    """Run until so many are done or so much time is over; states after the warm-up and after every `LOOK_EVERY`."""
    states, began_s, first = list[dict[str, float]](), time.monotonic(), soaked.runs
    before_s = soaked.seconds
    for _ in track(range(soaked.runs, runs), "runs"):
        one_run(soaked)
        soaked.seconds = before_s + time.monotonic() - began_s
        done = soaked.runs - first
        if done == WARM_UP or (done > WARM_UP and done % LOOK_EVERY == 0):
            states.append(state())
            if out is not None:
                soaked.write(out)
            if len(states) > 1 and (found := grown([states[0], states[-1]])):
                raise SimulatorError(f"after {done} runs there is more than before: {'; '.join(found)}")
        if soaked.seconds - before_s > seconds:
            break
    if out is not None:
        soaked.write(out)
    return [*states, state()]


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
    parser = ArgumentParser(prog="python benchmarks/soak.py", description=__doc__)
    add = parser.add_argument
    add("--runs", type=positive_int, default=2000, help="of all commands with this --out together (default: 2000)")
    add("--seconds", type=positive_seconds, default=float("inf"), help="of this command (default: until all are done)")
    add("--seed", type=int, default=0, help="of networks, clips and options (default: 0)")
    add("--out", type=Path, help="file for what was done, to go on from (JSON)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    os.environ.update(KEPT_CODE)
    console, out = new_console(), arguments.out
    soaked = Soaked.read(out, arguments.seed) if out else Soaked(seed=arguments.seed)
    states = soak(soaked, arguments.runs, arguments.seconds, out)
    if len(states) > 1 and (found := grown([states[0], states[-1]])):
        raise SimulatorError(f"after {soaked.runs} runs there is more than before: {'; '.join(found)}")
    console.print(
        f"{soaked.runs:,} runs in {soaked.seconds:,.0f} s, {soaked.refused:,} of them of graphs that were refused; "
        f"{soaked.messages:,} messages of Lava and of PyTorch are those of the integer interpreter; at the end: "
        f"{states[-1]}"
    )


if __name__ == "__main__":
    sys.exit(run_cli(main))
