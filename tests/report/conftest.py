"""Reports of real runs: the shipped network, a small network of other people, and one that ends in integrators."""

import dataclasses
import itertools
from pathlib import Path

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.clips.files import from_files, shipped
from deploy.costs.placing import Placing
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from deploy.execution.tally import Tally
from deploy.frontend.export import export_checkpoint
from deploy.pipeline import deploy
from deploy.report.keys.report import Report
from deploy.report.record import record
from hardware import load_chip
from svformer.assets import DEMO_CLIPS, TINY_CHECKPOINT

FRAMES, DT_S = 20, 1e-4


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A run in the integer interpreter: its report, and what it was made of."""

    deployment: Deployment
    tally: Tally
    report: Report


@pytest.fixture(scope="session")
def shipped_run() -> Recorded:
    """The shipped network on two shipped clips."""
    _, graph = export_checkpoint(TINY_CHECKPOINT)
    return recorded(graph, shipped(DEMO_CLIPS)[:2])


@pytest.fixture(scope="session")
def foreign_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """3 values in, 5 LIF neurons, 2 sums out; no class has a name, no node attends.

    Every input is 1 at every one of 20 time steps. Neuron 2 fires at every step, the others never.
    """
    weights = np.full((5, 3), -1.0)
    weights[2] = 1.0
    nodes = {
        "fc": nir.Linear(weights),
        "hidden": lif(5, tau_s=DT_S),  # without memory
        "out": nir.Linear(np.array([[1.0, 1.0, 0.5, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]])),
    }
    clip = np.ones((FRAMES, 3), np.float32)
    return recorded(chain(nodes, inputs=3, outputs=2), saved(tmp_path_factory.mktemp("foreign"), clip))


@pytest.fixture(scope="session")
def integrating_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """4 values in, 5 LIF neurons, 3 integrators out: what norse and snnTorch export with a leaky readout."""
    rng = np.random.default_rng(0)
    nodes = {
        "fc1": nir.Linear(rng.normal(size=(5, 4))),
        "hidden": lif(5, tau_s=20 * DT_S),
        "fc2": nir.Linear(rng.normal(size=(3, 5))),
        "out": nir.LI(tau=np.full(3, 20 * DT_S), r=np.ones(3), v_leak=np.zeros(3)),
    }
    clip = rng.normal(0.5, 1.0, size=(FRAMES, 4)).astype(np.float32)
    return recorded(chain(nodes, inputs=4, outputs=3), saved(tmp_path_factory.mktemp("integrating"), clip))


def lif(size: int, *, tau_s: float) -> nir.LIF:
    zeros, threshold = np.zeros(size), np.full(size, 0.3)
    return nir.LIF(tau=np.full(size, tau_s), r=np.ones(size), v_leak=zeros, v_threshold=threshold, v_reset=zeros)


def chain(nodes: dict[str, nir.NIRNode], *, inputs: int, outputs: int) -> nir.NIRGraph:
    """Nodes in a row between an input and an output."""
    ends = {"input": nir.Input(np.array([inputs])), **nodes, "output": nir.Output(np.array([outputs]))}
    names = list(ends)
    return nir.NIRGraph(ends, list(itertools.pairwise(names)), metadata={"dt": DT_S, "T": FRAMES})


def saved(folder: Path, clip: NDArray[np.float32]) -> list:
    np.save(folder / "spoken.npy", clip)
    return from_files([folder / "spoken.npy"])


def recorded(graph: nir.NIRGraph, sources: list) -> Recorded:
    deployment = deploy(graph, sources, say=lambda line: None)
    tally = run(deployment, sources, backend="integer", placing=Placing(order="pixel", chips=(load_chip("loihi1"),)))
    return Recorded(deployment, tally, record(deployment, tally, backend="integer"))
