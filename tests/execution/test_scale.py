"""The sums on paper of `benchmarks/scale.py`, by hand; and that a row says what ran."""

import importlib
from types import ModuleType
from typing import Any

import pytest

from deploy.clips.source import ClipSource
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from processes import ROOT


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("scale")


def test_what_lets_how_many_clips_through(scale: ModuleType) -> None:
    """Batches of 8 clips at 2 ms are 4,000 clips a second, at 4 ms 2,000; 1 GB a second carries 10,000 clips of 90 kB
    and their results of 10 kB, and a disk of 45 MB a second 500. A core does 2.
    """
    costs = scale.Costs(scheduler_s=0.002, adding_s=0.004, clip_bytes=90_000, result_bytes=10_000)
    found = scale.bounds(2.0, costs, 8, scale.Cluster(network_gbit=8.0, disk_mb_s=45.0))
    assert found == pytest.approx(
        {
            "the scheduler (2,000 workers)": 4000.0,
            "the process that adds up (1,000 workers)": 2000.0,
            "the network (5,000 workers)": 10_000.0,
            "the disk (250 workers)": 500.0,
        }
    )


def test_a_row_is_of_the_second_of_two_runs(
    scale: ModuleType, deployment: Deployment, sources: list[ClipSource]
) -> None:
    seen = list[int]()

    def work(runner: Any) -> Any:
        seen.append(runner.workers)
        return run(deployment, sources, backend="integer", runner=runner)

    found = scale.measure(work, 0, len(sources))
    assert seen == [1, 1]
    assert found.clips_a_second == pytest.approx(len(sources) / found.run_s)
    assert found.cores_busy >= 0


def test_results_of_batches_are_measured_in_bytes(
    scale: ModuleType, deployment: Deployment, sources: list[ClipSource]
) -> None:
    found = scale.costs(deployment, sources, 4, backend="integer", keep=1)
    assert found.clip_bytes == pytest.approx(sum(s.path.stat().st_size for s in sources) / len(sources))
    assert min(found.result_bytes, found.adding_s, found.scheduler_s) > 0
