"""Batches on other processes, and on a scheduler: the same report, and one line for whatever goes wrong there.

The processes are those of dask; what they say of themselves is tested alone in test_workers.py.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters import Cluster
from deploy import run_lava
from deploy.clips.source import ClipSource
from deploy.errors import SimulatorError
from deploy.execution.backends import RunOptions
from deploy.execution.cluster import Patience, workers_of
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from processes import HANG_S, ROOT, wait_until
from results import assert_same, read_report
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

Script = Callable[..., int]


@pytest.fixture
def script() -> Script:
    return lambda *arguments: run_cli(run_lava.main, [*map(str, arguments)])


def command(folder: Path, out: Path, *options: object, times: int = 1) -> list[str]:
    """The command line that runs each of the 11 clips `times` times."""
    network = ["--nir", folder / "small.nir", "--dt", "1e-3", "--timeout", HANG_S]
    return [str(word) for word in (*network, "--clip", *sorted(folder.glob("*.npy")) * times, "--out", out, *options)]


@pytest.fixture(scope="module")
def whole(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out folder of a run in one process."""
    out = tmp_path_factory.mktemp("whole")
    assert run_cli(run_lava.main, command(small_run, out)) == 0
    return out


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without a worker."""
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and a worker with dask's nanny, whose daemonic child has to fork all the same."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.add_worker()
    made.wait_for_workers(1)
    yield made
    made.close()


def test_a_scheduler_gives_the_same_report(
    one_worker: Cluster,
    whole: Path,
    small_run: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(small_run)  # the worker is elsewhere
    code = script(*command(Path(), tmp_path / "out", "--scheduler", one_worker.address))
    assert code == 0, capsys.readouterr().err
    assert read_report(tmp_path / "out") == read_report(whole)
    assert (tmp_path / "out" / "spikes.h5").read_bytes() == (whole / "spikes.h5").read_bytes()
    assert not (tmp_path / "out" / "parts").exists()


def test_a_run_survives_a_killed_worker(cluster: Cluster, deployment: Deployment, sources: list[ClipSource]) -> None:
    """Of two workers with two threads each, one is killed when the first batch is done."""
    cluster.add_worker()
    other = cluster.add_worker("--no-nanny")
    cluster.wait_for_workers(2)

    def kill(done: float) -> None:
        if done == 1:
            os.killpg(other.pid, signal.SIGKILL)

    with workers_of(cluster.address) as workers:
        assert workers.workers == 2
        found = run(deployment, sources, backend="integer", runner=workers, largest_batch=1, on_clips=kill)
    assert other.wait(HANG_S) == -signal.SIGKILL
    expected = run(deployment, sources, backend="integer")
    assert_same(found, expected, deployment)


def test_a_scheduler_without_workers_is_refused(cluster: Cluster) -> None:
    expected = r"no worker came in 0\.1 s; start some with `dask worker tcp://"
    with pytest.raises(InputError, match=expected), workers_of(cluster.address, Patience(join_s=0.1)):
        pass


def test_a_clip_that_a_worker_cannot_read_keeps_its_line(
    one_worker: Cluster, deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "bad.npy").write_bytes(b"no array")
    bad = ClipSource(path=tmp_path / "bad.npy", label=None)
    with (
        workers_of(one_worker.address) as workers,
        pytest.raises(InputError, match=r"bad\.npy: not a readable \.npy file") as caught,
    ):
        run(deployment, [bad], backend="integer", runner=workers)
    assert "\n" not in str(caught.value)


def test_the_time_limit_holds_on_workers(
    one_worker: Cluster, deployment: Deployment, sources: list[ClipSource]
) -> None:
    with (
        workers_of(one_worker.address) as workers,
        pytest.raises(SimulatorError, match="Lava took longer than the 1e-09 s allowed") as caught,
    ):
        run(deployment, sources, backend="lava", options=RunOptions(timeout_s=1e-9), runner=workers)
    assert "\n" not in str(caught.value)


def test_workers_say_how_far_they_are(one_worker: Cluster, deployment: Deployment, sources: list[ClipSource]) -> None:
    """One batch of so many clips that Lava runs for seconds."""
    many, heard = sources * 100, list[float]()
    with workers_of(one_worker.address, Patience(told_s=0.0, poll_s=0.01)) as workers:
        run(deployment, many, backend="lava", runner=workers, largest_batch=len(many), on_clips=heard.append)
    assert heard[-1] == len(many)
    between = [clips for clips in heard if 0 < clips < len(many)]
    assert between
    assert between == sorted(between)


def test_a_run_whose_workers_are_all_gone_ends(
    cluster: Cluster, deployment: Deployment, sources: list[ClipSource]
) -> None:
    """The only worker dies before it gets a batch; three looks find none."""
    worker = cluster.add_worker("--no-nanny")
    cluster.wait_for_workers(1)
    with workers_of(cluster.address, Patience(poll_s=0.1, looks=3)) as workers:
        os.killpg(worker.pid, signal.SIGKILL)
        with pytest.raises(SimulatorError, match=r"all workers are gone, and none came back in 0\.3 s"):
            run(deployment, sources, backend="integer", runner=workers)


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
def test_an_address_without_a_scheduler_is_refused(address: str) -> None:
    expected = f"^--scheduler {address}: no dask scheduler answers there \\("
    with pytest.raises(InputError, match=expected), workers_of(address, Patience(connect_s=0.1)):
        pass


# Processes of this machine


def test_workers_give_the_same_report(
    whole: Path, small_run: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(os.environ)
    code = script(*command(small_run, tmp_path / "out", "--workers", 2))
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert dict(os.environ) == before, "what dask sets for its processes does not stay with a caller in Python"
    assert read_report(tmp_path / "out") == read_report(whole)


INTERRUPTED = """
import os, signal, sys
from deploy import run_lava
from deploy.execution.resume import ResultFolder
from svformer.common.cli import run_cli

if __name__ == "__main__":
    add = ResultFolder.add

    def add_and_interrupt(self, part):
        add(self, part)
        ResultFolder.add = add
        os.killpg(os.getpgid(0), signal.SIGINT)

    ResultFolder.add = add_and_interrupt
    sys.exit(run_cli(run_lava.main))
"""


def test_ctrl_c_ends_all_workers_and_says_how_to_go_on(small_run: Path, tmp_path: Path) -> None:
    """The terminal sends it to all processes of the command."""
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(program), *command(small_run, tmp_path / "out", "--workers", 2, times=6)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, errors
    assert errors.strip() == "interrupted: 32 of 66 clips are done; go on with the same command and --resume"
    assert wait_until(lambda: not group_members(process.pid)), "processes are left"


def group_members(group: int) -> list[str]:
    """Processes of a group; one that has ended and only waits for its parent is none."""
    states = [stat.rpartition(")")[2].split() for stat in map(read, Path("/proc").glob("[0-9]*/stat")) if stat]
    return [words[0] for words in states if int(words[2]) == group and words[0] != "Z"]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""
