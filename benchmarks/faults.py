# PYTHON_ARGCOMPLETE_OK
"""Faults at random moments of real runs: each ends within its bound, leaves nothing behind, and goes on to the same.

    python benchmarks/faults.py --rounds 30                  # of all kinds in turn
    python benchmarks/faults.py --rounds 5 --kind "kill -9" "full disk"
    python benchmarks/faults.py --rounds 30 --seed 7 --json | jq .kinds

Every round starts run_lava.py on a small network and 96 clips (three batches), on Lava or in the interpreter, strikes
at a random moment, and looks: the exit code and the bound of its time, one line and no traceback, no process, no
segment in /dev/shm. Then the same command goes on (--resume where parts are left) and has to give the report of a run
that nothing disturbed, and no other file. Small disks and an own /dev/shm need root; without it these are left out,
and said. OUT/faults.json has the table, OUT/failures what was said. Exit code 3 where a round failed.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import fault_kinds
import nir
import numpy as np
from fault_kinds import FAULTS, Fault, Running
from rich.table import Table

from deploy.errors import GateError
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.options import positive_int, positive_seconds
from svformer.common.terminal import new_console, track

ROOT = Path(__file__).parents[1]
CLIPS, STEPS, INPUTS = 96, 8, 6
OWN_NAMESPACE = "SVFORMER_FAULTS_OWN_SHM"
BACKENDS = ("integer", "lava")


@dataclass(kw_only=True)
class Struck:
    """What became of the rounds of a kind."""

    rounds: int = 0
    failed: int = 0
    slowest_s: float = 0.0  # from the fault to the end
    codes: Counter[int] = field(default_factory=Counter)

    def plain(self) -> dict[str, Any]:
        codes = {str(code): count for code, count in sorted(self.codes.items())}
        return {"rounds": self.rounds, "failed": self.failed, "slowest_s": round(self.slowest_s, 1), "codes": codes}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=positive_int, default=13, metavar="N", help="of all kinds together (default: 13)")
    add("--seed", type=int, default=0, metavar="S", help="of moments and choices (default: 0)")
    add("--kind", dest="kinds", nargs="+", default=[], metavar="KIND", help="kinds of fault (default: all)")
    bound_help = "time that a command may take to end after a fault (default: 120)"
    add("--bound", dest="bound_s", type=positive_seconds, default=120.0, metavar="S", help=bound_help)
    add(
        "--out", type=Path, default=Path("runs/faults"), help="folder for the table and failures (default: runs/faults)"
    )
    add("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(argv)


# A run


def write_inputs(folder: Path) -> None:
    """A network of two layers of neurons, and its clips."""
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
        np.save(folder / "clips" / f"{place:02}.npy", clip)


def started(folder: Path, out: Path, backend: str, *also: str) -> "subprocess.Popen[str]":
    clips = [f"clips/{place:02}.npy" for place in range(CLIPS)]
    words = ["--nir", "network.nir", "--clip", *clips, "--backend", backend, "--out", str(out), "--no-cache", *also]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "deploy" / "run_lava.py"), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
    )


def found_in(out: Path) -> dict[str, Any]:
    """The report without times, and the names of all files."""
    report = json.loads((out / "report.json").read_text("utf-8"))
    report["clips"] = [{key: value for key, value in clip.items() if key != "seconds"} for clip in report["clips"]]
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
    return {**report, "timing": None, "provenance": None, "files": names}


def in_session(leader: int) -> list[int]:
    """Processes that still run in the session of a command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


# A round


@dataclass(frozen=True, kw_only=True)
class Round:
    """One fault in one run; `expected` is what an undisturbed run gives, `usual_s` how long it takes."""

    fault: Fault
    rng: Random
    folder: Path
    backend: str
    bound_s: float
    usual_s: float
    expected: dict[str, Any]

    def problems(self, struck: Struck) -> list[str]:
        disk = self.folder / "disk"
        if self.fault.needs_mount and not fault_kinds.mounted(disk):
            return []
        try:
            disk.mkdir(exist_ok=True)
            found = self._struck(disk / "out", struck)
            fault_kinds.recovered(disk)
            return [*found, *self._gone_on(disk / "out")]
        finally:
            fault_kinds.unmounted(disk)

    def _struck(self, out: Path, struck: Struck) -> list[str]:
        running = Running(
            process=started(self.folder, out, self.backend),
            out=out,
            clips=self.folder / "clips",
            start=lambda: started(self.folder, out, self.backend),
        )
        time.sleep(self.rng.uniform(0.1, 0.8) * self.usual_s)
        self.fault.strike(self.rng, running)
        struck_s, found = time.monotonic(), list[str]()
        for process in (running.process, *running.others):
            try:
                _, said = process.communicate(timeout=self.bound_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                found.append(f"has not ended {self.bound_s:g} s after the fault: {process.communicate()[1]}")
                continue
            struck.codes[process.returncode] += 1
            if process.returncode not in self.fault.codes or "Traceback" in said:
                found.append(f"exit code {process.returncode}: {said}")
            if left := self._left(process.pid):
                found.append(f"processes left: {left}")
        struck.slowest_s = max(struck.slowest_s, time.monotonic() - struck_s)
        if OWN_NAMESPACE in os.environ and (segments := os.listdir("/dev/shm")):
            found.append(f"in /dev/shm: {segments}")
            for name in segments:
                Path("/dev/shm", name).unlink()
        return found

    def _left(self, leader: int) -> list[int]:
        """Processes of a command that do not end by themselves within the bound."""
        end_s = time.monotonic() + self.bound_s
        while (left := in_session(leader)) and time.monotonic() < end_s:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def _gone_on(self, out: Path) -> list[str]:
        """The same command again, on the clips as they were."""
        shutil.rmtree(self.folder / "clips")
        (self.folder / "network.nir").unlink()
        write_inputs(self.folder)
        also = ["--resume"] if (out / "parts").is_dir() else ["--force"]
        process = started(self.folder, out, self.backend, *also)
        _, said = process.communicate()
        if process.returncode:
            return [f"did not go on with {also[0]}, exit code {process.returncode}: {said}"]
        found = found_in(out)
        different = [key for key in self.expected if found.get(key) != self.expected[key]]
        if not different:
            return []
        return [f"another report after {also[0]}: {', '.join(different)}; files {found['files']}"]


def undisturbed(folder: Path, backend: str) -> tuple[dict[str, Any], float]:
    """What a run finds, and the seconds that it takes."""
    started_s, out = time.monotonic(), folder / f"undisturbed-{backend}"
    process = started(folder, out, backend)
    _, said = process.communicate()
    if process.returncode:
        raise GateError(f"the undisturbed run ended with {process.returncode}: {said}")
    return found_in(out), time.monotonic() - started_s


# The campaign


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    faults = [fault for fault in FAULTS if not arguments.kinds or fault.name in arguments.kinds]
    if unknown := set(arguments.kinds) - {fault.name for fault in FAULTS}:
        raise InputError(f"--kind {', '.join(unknown)}; allowed: {', '.join(fault.name for fault in FAULTS)}")
    table, console = {fault.name: Struck() for fault in faults}, new_console()
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place)
        write_inputs(folder)
        known = {backend: undisturbed(folder, backend) for backend in BACKENDS}
        for number in track(range(arguments.rounds), "striking runs", total=arguments.rounds):
            fault, rng = faults[number % len(faults)], Random(f"{arguments.seed}/{number}")
            backend = rng.choice(BACKENDS)
            expected, usual_s = known[backend]
            one = Round(
                fault=fault,
                rng=rng,
                folder=folder,
                backend=backend,
                bound_s=arguments.bound_s,
                usual_s=usual_s,
                expected=expected,
            )
            problems = one.problems(table[fault.name])
            table[fault.name].rounds += 1
            if problems:
                table[fault.name].failed += 1
                text = "\n".join([f"{fault.name}, round {number}, backend {backend}", *problems])
                write_bytes(arguments.out / "failures" / f"{number}.txt", text.encode())
    plain = {"seed": arguments.seed, "kinds": {name: struck.plain() for name, struck in table.items()}}
    write_bytes(arguments.out / "faults.json", json.dumps(plain, indent=1).encode())
    if arguments.json:
        print(json.dumps(plain))
    shown = Table("fault", "rounds", "failed", "slowest end, s", "exit codes")
    for name, struck in plain["kinds"].items():
        codes = ", ".join(f"{code} ({count})" for code, count in struck["codes"].items())
        shown.add_row(name, str(struck["rounds"]), str(struck["failed"]), str(struck["slowest_s"]), codes)
    console.print(shown)
    if OWN_NAMESPACE not in os.environ:
        console.print("left out, for want of rights: small disks, and what stays in /dev/shm")
    if failed := sum(struck.failed for struck in table.values()):
        raise GateError(f"{failed} rounds failed; {arguments.out}/failures says how")


def in_own_namespace() -> None:
    """Start again with a /dev/shm and mounts of one's own, where that is allowed."""
    if OWN_NAMESPACE in os.environ or shutil.which("unshare") is None:
        return
    prepare = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", prepare, "sh"]
    if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
        os.environ[OWN_NAMESPACE] = "1"
        os.execvp(words[0], [*words, sys.executable, *sys.argv])


if __name__ == "__main__":
    in_own_namespace()
    sys.exit(run_cli(main))
