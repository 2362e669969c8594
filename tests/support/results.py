"""Whether two runs came to the same, apart from the times that they took."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deploy.execution.deployment import Deployment
from deploy.execution.tally import Tally
from deploy.report.record import record


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    """What a run found, without when and by which command it did."""
    clips = [{name: value for name, value in clip.items() if name != "seconds"} for clip in report["clips"]]
    return {**report, "clips": clips, "timing": None, "provenance": None}


def read_report(out: Path) -> dict[str, Any]:
    """report.json of an out folder."""
    return without_times(json.loads((out / "report.json").read_text()))


def assert_same(found: Tally, expected: Tally, deployment: Deployment, *, backend: str = "integer") -> None:
    reports = [record(deployment, tally, backend=backend).plain() for tally in (found, expected)]
    assert without_times(reports[0]) == without_times(reports[1])
    assert list(found.kept) == list(expected.kept)
    for name, spikes in expected.kept.items():
        assert np.array_equal(found.kept[name], spikes), name
        assert np.array_equal(found.kept_differences[name], expected.kept_differences[name]), name
    assert np.array_equal(found.kept_results, expected.kept_results)  # type: ignore[arg-type]
