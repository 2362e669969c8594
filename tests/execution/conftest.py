"""The small network and its clips, deployed once for all tests of batches."""

from pathlib import Path

import pytest

from deploy.clips.source import ClipSource
from deploy.execution.deployment import Deployment
from deploy.ir.graph import read_nir
from deploy.pipeline import deploy

FRAMES = 6  # of a clip of `small_run`


@pytest.fixture(scope="session")
def sources(small_run: Path) -> list[ClipSource]:
    return [ClipSource(path=path, label=None) for path in sorted(small_run.glob("*.npy"))]


@pytest.fixture(scope="session")
def deployment(small_run: Path, sources: list[ClipSource]) -> Deployment:
    graph = read_nir(small_run / "small.nir")
    graph.metadata |= {"dt": 1e-3, "T": FRAMES}
    return deploy(graph, sources, lambda line: None)
