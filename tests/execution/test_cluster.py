"""Batches on other processes, and on a scheduler: the same report, and one line for whatever goes wrong there."""

import dataclasses
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from deploy import run_lava
from deploy.clips.source import ClipSource
from deploy.errors import GateError, SimulatorError
from deploy.execution import cluster as fanout
from deploy.execution import worker as equipment
from deploy.execution.collect import Batch
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

ROOT = Path(__file__).parents[2]
DASK = [sys.executable, "-m", "dask"]
LIMIT_S = 300  # far above what anything takes, so that only a hang reaches it

Script = Callable[..., int]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    def run_script(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["run_lava.py", *map(str, arguments)])
        return run_cli(run_lava.main)

    return run_script


def command(folder: Path, out: Path, *options: object) -> list[str]:
    network = ["--nir", folder / "small.nir", "--dt", "1e-3", "--timeout", "120"]
    return [str(word) for word in (*network, "--clip", *sorted(folder.glob("*.npy")), "--out", out, *options)]


def report(out: Path) -> dict[str, Any]:
    """report.json without times."""
    found = json.loads((out / "report.json").read_text())
    clips = [{name: value for name, value in clip.items() if name != "seconds"} for clip in found["clips"]]
    return {**found, "clips": clips, "timing": None, "provenance": None}


@pytest.fixture(scope="module")
def whole(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out folder of a run in one process."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["run_lava.py", *command(small_run, out)])
        assert run_cli(run_lava.main) == 0
    return out


# A cluster, as a user has it


class Cluster:
    """`dask scheduler` and `dask worker` on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list["subprocess.Popen[str]"]()
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start("scheduler", *options)
        assert self.scheduler.stderr is not None
        found = None
        while found is None:
            line = self.scheduler.stderr.readline()
            assert line, "the scheduler ended"
            found = re.search(r"Scheduler at: +(tcp://\S+)", line)
        self.address = found[1]

    def _start(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*DASK, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if words[0] == "scheduler" else subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def add_worker(self, *options: str, **variables: str) -> "subprocess.Popen[str]":
        return self._start("worker", self.address, "--no-dashboard", "--nthreads", "2", *options, **variables)

    def close(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stderr:
                process.stderr.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_a_scheduler_gives_the_same_report_and_survives_a_killed_worker(
    cluster: Cluster,
    whole: Path,
    small_run: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two workers of two threads each, one with dask's nanny, whose daemonic child has to fork all the same. After the
    first part the other is killed.
    """
    cluster.add_worker()
    other = cluster.add_worker("--no-nanny")
    monkeypatch.setattr("deploy.execution.batch.BATCH", 1)
    monkeypatch.chdir(small_run)  # the workers are elsewhere
    seen: list[int] = []
    original = fanout._result

    def killing(future: Any, batch: Batch, sources: Any) -> Any:
        if not seen:
            assert fanout.Workers._any_worker(SimpleNamespace(client=future.client))  # type: ignore[arg-type]
            os.killpg(other.pid, signal.SIGKILL)
        seen.append(batch.first)
        return original(future, batch, sources)

    monkeypatch.setattr(fanout, "_result", killing)
    wait_for_workers(cluster, 2)
    code = script(*command(Path(), tmp_path / "out", "--scheduler", cluster.address))
    assert code == 0, capsys.readouterr().err
    assert sorted(seen) == list(range(11))
    assert report(tmp_path / "out") == report(whole)
    assert (tmp_path / "out" / "spikes.h5").read_bytes() == (whole / "spikes.h5").read_bytes()
    assert not (tmp_path / "out" / "parts").exists()


def wait_for_workers(cluster: Cluster, count: int) -> None:
    with distributed.Client(cluster.address) as client:
        client.wait_for_workers(count, timeout=LIMIT_S)


def test_what_a_worker_meets_keeps_its_line_and_exit_code(
    cluster: Cluster,
    small_run: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fanout, "JOIN_S", 3)
    options = (
        "--out",
        tmp_path / "out",
        "--scheduler",
        cluster.address,
        "--nir",
        small_run / "small.nir",
        "--dt",
        1e-3,
    )
    clips = sorted(small_run.glob("*.npy"))
    assert script("--clip", *clips, *options) == 2
    assert "no worker came in 3 s; start some with `dask worker tcp://" in one_line(capsys)
    worker = cluster.add_worker()
    wait_for_workers(cluster, 1)
    original = fanout.absolute
    (tmp_path / "bad.npy").write_bytes(b"no array")
    monkeypatch.setattr(
        fanout,
        "absolute",
        lambda source: dataclasses.replace(original(source), path=tmp_path / "bad.npy"),
    )
    assert script("--clip", *clips, *options) == 2
    assert "bad.npy: not a readable .npy file" in one_line(capsys)
    monkeypatch.setattr(fanout, "absolute", original)
    code = script("--clip", *clips, *options, "--timeout", "1e-9")
    assert code == 4
    assert "Lava took longer than the 1e-09 s allowed" in one_line(capsys)

    def killing(self: Any, batch: Batch) -> Any:
        os.killpg(worker.pid, signal.SIGKILL)
        return submit(self, batch)

    submit = fanout.Workers._submit
    monkeypatch.setattr(fanout.Workers, "_submit", killing)
    assert script("--clip", *clips, *options) == 4
    assert "all workers are gone, and none came back in 3 s" in one_line(capsys)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error, which must be one line."""
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error


def test_a_worker_without_the_project_is_refused(
    cluster: Cluster, small_run: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deploy.py").write_text("raise ImportError('this is not the project')\n")
    cluster.add_worker("--no-nanny", PYTHONPATH=str(tmp_path))
    assert script(*command(small_run, tmp_path / "out", "--scheduler", cluster.address)) == 2
    assert "has not this project (this is not the project); start `dask worker` from a .venv" in one_line(capsys)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no-such-protocol://x:1", "tcp://127.0.0.1"])
def test_an_address_without_a_scheduler_is_refused(
    address: str,
    small_run: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fanout, "CONNECT_S", 1)
    assert script(*command(small_run, tmp_path / "out", "--scheduler", address)) == 2
    assert f"error: --scheduler {address}: no dask scheduler answers there (" in one_line(capsys)


# Processes of this machine


def test_workers_give_the_same_report(
    whole: Path, small_run: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    code = script(*command(small_run, tmp_path / "out", "--workers", 2))
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert report(tmp_path / "out") == report(whole)


INTERRUPTED = """
import os, signal, sys
from deploy import pipeline, run_lava
from deploy.parts import PartFolder
from svformer.cli import run_cli

if __name__ == "__main__":
    pipeline.BATCH = 1
    add = PartFolder.add

    def add_and_interrupt(self, part):
        add(self, part)
        PartFolder.add = add
        os.killpg(os.getpgid(0), signal.SIGINT)

    PartFolder.add = add_and_interrupt
    sys.exit(run_cli(run_lava.main))
"""


def test_ctrl_c_ends_all_workers_and_says_how_to_go_on(small_run: Path, tmp_path: Path) -> None:
    """The terminal sends it to all processes of the command."""
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(program), *command(small_run, tmp_path / "out", "--workers", 2)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert errors.strip() == "interrupted: 1 of 11 clips are done; go on with the same command and --resume"
    wait_for_end(process.pid)


def wait_for_end(group: int) -> None:
    """Of all processes of a group; those that nobody has collected have ended, too."""
    for _ in range(10 * LIMIT_S):
        states = [stat.rpartition(")")[2].split() for stat in map(read, Path("/proc").glob("[0-9]*/stat")) if stat]
        if not any(int(words[2]) == group and words[0] != "Z" for words in states):
            return
        time.sleep(0.1)
    pytest.fail(f"processes of group {group} are left")


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""


# What is said of workers


def test_errors_travel_whole() -> None:
    for error in (GateError("a and b differ"), InputError("x"), SimulatorError("died", child_traceback="Traceback")):
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), str(found), found.exit_code) == (type(error), str(error), error.exit_code)
        assert getattr(found, "__notes__", []) == getattr(error, "__notes__", [])


def test_workers_with_other_code_are_refused() -> None:
    ours = equipment.facts()
    fanout._check("tcp://a:1", ours)
    other = dataclasses.replace(ours, versions={**ours.versions, "numpy": "1.0", "this project": "0"})
    with pytest.raises(InputError, match=r"worker tcp://a:1 has another version: numpy 1\.0, here .*; this project 0"):
        fanout._check("tcp://a:1", other)


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
    workers = fanout.Workers(SimpleNamespace(run=lambda probe: answers), ours=False)
    assert workers.workers == 4
    assert workers.available_bytes == 3 * 10**9
    assert workers._sharing == {"a": 2, "b": 1}


def test_files_that_a_worker_does_not_see_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not taken for clips that cannot be read, which a data set may do without."""
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="tcp://a:1"))
    missing = tmp_path / "clip.npy"
    source = ClipSource(path=missing, label=None, leave_out=equipment.for_the_sender)
    with pytest.raises(InputError, match=r"clip\.npy: not there on worker tcp://a:1 .*under the same path"):
        equipment.run_there(Batch(first=0, sources=[source]), [missing])


def test_what_ends_workers_is_told_in_one_line() -> None:
    batch = Batch(first=32, sources=[ClipSource(path=Path("a.npy"), label=None)] * 8)
    worker = SimpleNamespace(address="tcp://a:1")
    killed = distributed.KilledWorker("task", worker, 3)
    with pytest.raises(SimulatorError, match="clips 33 to 40 ended every worker that took them, the last tcp://a:1"):
        fanout._result(SimpleNamespace(status="error", exception=lambda: killed), batch, [])
    with pytest.raises(SimulatorError, match="given up the run"):
        fanout._result(SimpleNamespace(status="cancelled"), batch, [])


def test_the_demo_does_not_wait_for_dask() -> None:
    code = "import sys, deploy.run_lava; sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
