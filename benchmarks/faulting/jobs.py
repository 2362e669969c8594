"""What is struck: clips in batches in one process, on Lava, on workers of this machine or of a cluster; a training."""

import csv
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

from faulting.starting import Started, Starter
from svformer.data.procedural import CLASSES, generate

CLIPS, STEPS, INPUTS = 96, 8, 6  # three batches
WRITTEN_NS = 10**18  # when, as the files of clips say
WORKERS = 2
ENDED_S = 3600.0  # what was hit by nothing ends before; else the machine is to blame
TRAINING = ("--dataset", "ucf101", "--epochs", "3", "--batch-size", "4", "--save-every", "1", "--device", "cpu")
LOADED = ("--augmentation", "video", "--loaders", "1")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command, what it reads, and what it finds."""

    program: str  # of faulting.programs
    words: tuple[str, ...]
    found: Callable[[Path], dict[str, Any]]  # in its out folder, without what differs from run to run
    begun: str  # what lies in the out folder of a run that can go on
    cluster: bool = False  # with a scheduler and workers, that a user has started
    limit: tuple[str, ...] = ()  # an option that ends a Lava that stands still


# Clips through a network


def write_inputs(folder: Path) -> None:
    """A network of two layers of neurons, and its clips, as they are before anything is struck."""
    shutil.rmtree(folder / "clips", ignore_errors=True)
    rng = np.random.default_rng(0)

    def lif(size: int) -> nir.LIF:
        tau, r, v_leak, v_threshold, v_reset = np.outer((5e-3, 1.0, 0.0, 0.3, 0.0), np.ones(size))
        return nir.LIF(tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)

    nodes = {
        "input": nir.Input(np.array([INPUTS])),
        "first": nir.Linear(rng.normal(size=(8, INPUTS))),
        "hidden": lif(8),
        "second": nir.Linear(rng.normal(size=(3, 8))),
        "out": lif(3),
        "output": nir.Output(np.array([3])),
    }
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata={"dt": 1e-3}, type_check=False)
    nir.write(str(folder / "network.nir"), graph)
    (folder / "clips").mkdir()
    for place in range(CLIPS):
        clip = (rng.random((STEPS, INPUTS)) < 0.4).astype(np.float32)
        path = folder / "clips" / f"{place:02}.npy"
        np.save(path, clip)
        os.utime(path, ns=(WRITTEN_NS, WRITTEN_NS))  # or parts of a run would be of other clips


def found_by_run(out: Path) -> dict[str, Any]:
    """The report without times, and the names of all files."""
    report = json.loads((out / "report.json").read_text("utf-8"))
    report["clips"] = [{key: value for key, value in clip.items() if key != "seconds"} for clip in report["clips"]]
    return {**report, "timing": None, "provenance": None, "files": _names(out)}


def _names(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.parent.name != "tensorboard")


def _run(backend: str, *also: str) -> tuple[str, ...]:
    clips = [f"clips/{place:02}.npy" for place in range(CLIPS)]
    return ("--nir", "network.nir", "--clip", *clips, "--backend", backend, "--no-cache", "--quiet", *also)


# A training


def write_videos(folder: Path) -> None:
    """Eight videos to train with and four to test with, of four classes."""
    generate(folder / "videos", classes=CLASSES[:4], groups=3, clips_per_group=1, workers=1)


def found_by_training(out: Path) -> dict[str, Any]:
    """The history without times, the weights and the names of all files."""
    with (out / "curve.csv").open(newline="") as file:
        curve = [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]
    content = (out / "checkpoint.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little")  # what was written beside the weights says when and how
    return {"curve": curve, "weights": hashlib.sha256(content[8 + header :]).hexdigest(), "files": _names(out)}


def _clips(*words: str, cluster: bool = False, limit: tuple[str, ...] = ()) -> Job:
    return Job(program="run_lava", words=_run(*words), found=found_by_run, begun="parts", cluster=cluster, limit=limit)


JOBS = {
    "integer": _clips("integer"),
    "lava": _clips("lava", limit=("--timeout", "10")),
    "workers": _clips("integer", "--workers", str(WORKERS)),
    "cluster": _clips("integer", cluster=True),
    "training": Job(
        program="small_training",
        words=(*TRAINING, *LOADED, "--root", "videos", "--quiet"),
        found=found_by_training,
        begun="state.pt",
    ),
}


class Cluster:
    """A scheduler of dask with workers, as a user starts them on this machine."""

    def __init__(self, start: Starter, folder: Path, **variables: str) -> None:
        options, file = ["--no-dashboard"], folder / "scheduler.json"
        file.unlink(missing_ok=True)
        address = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
        self.scheduler = start("scheduler", [*address, *options], folder, **variables)
        while not (text := file.read_text() if file.exists() else ""):
            if self.scheduler.wait(0.1):
                raise RuntimeError(f"the scheduler has ended: {self.scheduler.said}")
        self.address: str = json.loads(text)["address"]
        words = [self.address, "--nthreads", "1", "--no-nanny", *options]
        self.workers = [start("worker", words, folder, **variables) for _ in range(WORKERS)]

    @property
    def processes(self) -> Sequence[Started]:
        return [*self.workers, self.scheduler]


def wait_long(process: Started) -> None:
    """Wait for what nothing strikes; raises `RuntimeError` where it never ends."""
    started_s = time.monotonic()
    if not process.wait(ENDED_S):
        raise RuntimeError(f"process {process.pid} still runs after {time.monotonic() - started_s:.0f} s")
