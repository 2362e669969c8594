"""Faults while a command runs: what the campaign does to a run, and the lines for what the machine refuses."""

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from processes import HANG_S
from svformer.common.cli import run_cli

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("faults")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "error: out of memory; free some, allow more (ulimit -v), or give less at a time\n"),
        (MemoryError("of 3\nTB"), "error: out of memory (of 3 TB); free some, allow more (ulimit -v), or give"),
        (OSError(errno.EMFILE, "too many"), "error: too many files are open here; allow more with `ulimit -n 4096`\n"),
        (OSError(errno.EFBIG, "too large", "a.h5"), "error: cannot write a.h5: too large; free space or choose"),
    ],
)
def test_what_the_machine_refuses_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(argv: object) -> None:
        raise error

    assert run_cli(fail) == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_a_round_strikes_a_run_that_goes_on_to_the_same_report(
    faults: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clip goes while a run of three batches reads them; then it is there again, and the run is resumed."""
    out = ["--out", str(tmp_path), "--json"]
    assert run_cli(faults.main, ["--rounds", "1", "--kind", "clip deleted", "--job", "integer", *out]) == 0
    found = json.loads(capsys.readouterr().out.partition("\n")[0])["kinds"]["clip deleted"]
    assert (found["rounds"], found["failed"], sum(found["codes"].values())) == (1, 0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["faults.json"]
    # the same again finds nothing left to strike, and other moments belong elsewhere
    assert run_cli(faults.main, ["--rounds", "1", "--kind", "clip deleted", *out]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[0])["kinds"]["clip deleted"] == found
    assert run_cli(faults.main, ["--seed", "9", "--out", str(tmp_path)]) == 2
    assert "of seed 0; choose another --out for seed 9" in capsys.readouterr().err


def test_thirty_faults_are_survived(tmp_path: Path) -> None:
    """Of every kind that this machine allows, on runs that are struck up to five times each."""
    words = ["--rounds", "30", "--seed", "7", "--warm", "--per-run", "5", "--bound", str(HANG_S), "--json", "--quiet"]
    out = tmp_path / "faults"
    line = [sys.executable, str(BENCHMARKS / "faults.py"), *words, "--out", str(out)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=2 * HANG_S, cwd=tmp_path, check=False)
    said = [file.read_text() for file in sorted(out.glob("failures/*"))]
    assert not said, "\n\n".join(said)
    assert done.returncode == 0, done.stderr
    kinds = json.loads(done.stdout.partition("\n")[0])["kinds"]
    assert sum(found["rounds"] for found in kinds.values()) == 30
    assert sum(found["hit"] for found in kinds.values()) >= 15, kinds


def test_two_campaigns_do_not_share_a_folder(
    faults: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = importlib.import_module("faulting.record")
    with record.alone(tmp_path):
        assert run_cli(faults.main, ["--out", str(tmp_path)]) == 2
    assert "another campaign is at work there; choose another --out" in capsys.readouterr().err


def test_inputs_that_are_mended_are_the_same_to_a_run(faults: ModuleType, tmp_path: Path) -> None:
    """Else it would begin anew after every fault, and going on would not be tried."""
    jobs = importlib.import_module("faulting.jobs")
    states = []
    for _ in range(2):
        jobs.write_inputs(tmp_path)
        states.append([(path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(tmp_path.glob("clips/*"))])
    assert states[0] == states[1]


def test_what_is_left_and_what_differs_is_seen(faults: ModuleType, tmp_path: Path) -> None:
    """Of a process that stays in the session of its parent, and of a report that has another number."""
    rounds, jobs, starting = (importlib.import_module(f"faulting.{name}") for name in ("rounds", "jobs", "starting"))
    place = rounds.Place(folder=tmp_path, start=starting.Cold(tmp_path), bound_s=0.1)
    expected = rounds.Undisturbed(found={}, processor_s=1.0)
    one = rounds.StruckRun(name="integer", job=jobs.JOBS["integer"], place=place, undisturbed=expected)
    shell = subprocess.Popen(["sh", "-c", "sleep 600 & exit 0"], start_new_session=True)
    shell.wait()
    (left,) = one._left(shell.pid)
    assert left != os.getpid()
    report = {"clips": [{"seconds": 1.0, "prediction": "a"}], "timing": {}, "provenance": {}, "totals": 3}
    (tmp_path / "report.json").write_text(json.dumps(report))
    found = jobs.found_by_run(tmp_path)
    assert (found["clips"], found["totals"], found["files"][-1]) == ([{"prediction": "a"}], 3, "report.json")


def test_a_kind_that_is_none_is_refused(faults: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(faults.main, ["--kind", "flood"]) == 2
    assert "--kind flood; allowed: kill -9, stop and go on" in capsys.readouterr().err
