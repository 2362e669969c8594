"""Workers: what they say of themselves, which of them are refused, and what ends their work."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest
from distributed.comm.core import CommClosedError

from deploy.clips.source import ClipSource
from deploy.errors import GateError, SimulatorError
from deploy.execution import worker as equipment
from deploy.execution.cluster import Workers, local_workers, read_result, require_same_code
from deploy.execution.collect import Batch
from processes import ROOT
from svformer.common.errors import InputError


def test_errors_travel_whole() -> None:
    for error in (GateError("a and b differ"), InputError("x"), SimulatorError("died", child_traceback="Traceback")):
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), str(found), found.exit_code) == (type(error), str(error), error.exit_code)
        assert getattr(found, "__notes__", []) == getattr(error, "__notes__", [])


def test_workers_with_other_code_are_refused() -> None:
    ours = equipment.facts()
    require_same_code("tcp://a:1", ours)
    other = dataclasses.replace(ours, versions={**ours.versions, "numpy": "1.0", "this project": "0"})
    with pytest.raises(InputError, match=r"worker tcp://a:1 has another version: numpy 1\.0, here .*; this project 0"):
        require_same_code("tcp://a:1", other)


def test_cores_and_memory_are_shared_by_those_who_share_them() -> None:
    """Three workers on a, two of them on the same cores; one on b. The memory of a is of all three."""

    def answer(host: str, cores: set[int], gigabytes: int) -> Any:
        memory = gigabytes * 10**9
        return equipment.Facts(
            host=host, cores=frozenset(cores), available_bytes=memory, versions=equipment.facts().versions
        )

    answers = {
        "1": answer("a", {0, 1}, 9),
        "2": answer("a", {0, 1}, 9),
        "3": answer("a", {2, 3}, 9),
        "4": answer("b", {0, 1, 2, 3}, 4),
    }
    workers = Workers(SimpleNamespace(run=lambda probe: answers), ours=False)
    assert workers.workers == 4
    assert workers.available_bytes == 3 * 10**9
    assert workers._sharing == {"a": 2, "b": 1}


def test_files_that_a_worker_does_not_see_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not taken for clips that cannot be read, which a data set may do without."""
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="tcp://a:1"))
    missing = tmp_path / "clip.npy"
    source = ClipSource(path=missing, label=None, leave_out=equipment.reported_by_client)
    with pytest.raises(InputError, match=r"clip\.npy: not there on worker tcp://a:1 .*under the same path"):
        equipment.run_on_worker(Batch(places=[0], sources=[source]), [missing], "topic")


def test_what_ends_workers_is_told_in_one_line() -> None:
    batch = Batch(places=range(32, 40), sources=[ClipSource(path=Path("a.npy"), label=None)] * 8)
    worker = SimpleNamespace(address="tcp://a:1")
    killed = distributed.KilledWorker("task", worker, 3)
    with pytest.raises(SimulatorError, match="clips 33 to 40 ended every worker that took them, the last tcp://a:1"):
        read_result(SimpleNamespace(status="error", exception=lambda: killed), batch, [])
    with pytest.raises(SimulatorError, match="given up the run"):
        read_result(SimpleNamespace(status="cancelled"), batch, [])


def test_the_demo_does_not_wait_for_dask() -> None:
    code = "import sys, deploy.run_lava; sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_workers_that_do_not_start_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dask raises around what happened first."""

    def fails(**options: Any) -> None:
        try:
            try:
                raise RuntimeError("can't start new thread")
            except RuntimeError:
                raise AssertionError("Status.init")  # noqa: B904 (as dask's own code does)
        except AssertionError as error:
            raise RuntimeError("Nanny failed to start.") from error

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    before = dict(os.environ)
    with pytest.raises(InputError, match=r"--workers 3: they did not start \(can't start new thread\); free memory"):
        local_workers(3).__enter__()
    assert dict(os.environ) == before


def test_a_scheduler_that_goes_before_the_run_is_one_line() -> None:
    """What dask raises after 20 seconds without an answer; a worker that dies meanwhile is none of it."""

    def workers(status: str, error: Exception) -> Any:
        def fails(setup: object) -> None:
            raise error

        found = object.__new__(Workers)
        found.client = SimpleNamespace(status=status, register_plugin=fails, subscribe_topic=lambda *_: None)
        return found

    gone = OSError("Timed out trying to connect to tcp://127.0.0.1:42007 after 20 s")
    for status in ("connecting", "closed", "running"):
        with pytest.raises(SimulatorError, match="the scheduler is gone"):
            workers(status, gone)._set_up(None, "topic", print)
    with pytest.raises(SimulatorError, match="the scheduler is gone"):
        workers("closed", CommClosedError("closed"))._set_up(None, "topic", print)
    workers("running", CommClosedError("closed"))._set_up(None, "topic", print)

    def unanswered(probe: object) -> None:
        raise gone

    with pytest.raises(SimulatorError, match="the scheduler is gone"):
        Workers(SimpleNamespace(run=unanswered), ours=False)
