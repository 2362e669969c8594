# PYTHON_ARGCOMPLETE_OK
"""Faults at random moments of real runs: each ends within its bound, leaves nothing behind, and goes on to the same.

    python benchmarks/faults.py --rounds 1000                # of all kinds in turn; the same again goes on
    python benchmarks/faults.py --rounds 10 --kind "kill -9" "full disk" --job training
    python benchmarks/faults.py --rounds 30 --seed 7 --warm --per-run 5 --json | jq .kinds

What is struck: run_lava.py on 96 clips in three batches (in the interpreter, on Lava, on workers of its own, on those
of a dask scheduler), or a small svformer.train. Every round starts such a command, strikes at a random moment, and
looks: the exit code and the bound of its time, one line and no traceback, no process, no segment or semaphore in
/dev/shm, no temporary file. Then the same command goes on (--resume where something is left), and has to find what a
run finds that nothing disturbed: the same report, or the same history and weights, and no other file. With --per-run
N it is struck N times on the way; with --warm commands are forked from a process that has imported their libraries,
which is faster, and spares the imports. Small disks and a /dev/shm of one's own need root; without it these are left
out, and said. The clock that is set back is Python's (benchmarks/faulting/shim). OUT/faults.json has the table, renewed
after every round, OUT/failures what was said. A round is a hit where the fault was there while the command still ran:
the command was not done, it had a child to kill, a Lava process did fail, it read the clock. Exit code 3 where a round
failed.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int, positive_seconds
from svformer.common.terminal import new_console, track

if TYPE_CHECKING:
    from faulting.kinds import Fault
    from faulting.record import Record
    from faulting.rounds import Place, StruckRun, Undisturbed

ROUNDS = 20  # of all kinds together


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=positive_int, default=ROUNDS, metavar="N", help=f"of all kinds together (default: {ROUNDS})")
    add("--seed", type=int, default=0, metavar="S", help="of moments and choices (default: 0)")
    add("--kind", dest="kinds", nargs="+", default=[], metavar="KIND", help="kinds of fault (default: all)")
    add("--job", dest="jobs", nargs="+", default=[], metavar="JOB", help="what is struck (default: all)")
    add("--per-run", type=positive_int, default=1, metavar="N", help="faults of one run (default: 1)")
    add("--warm", action="store_true", help="fork commands from a process that has imported their libraries")
    bound_help = "time that a command may take to end after a fault (default: 120)"
    add("--bound", dest="bound_s", type=positive_seconds, default=120.0, metavar="S", help=bound_help)
    add(
        "--out", type=Path, default=Path("runs/faults"), help="folder for the table and failures (default: runs/faults)"
    )
    add("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from faulting import record, system

    from deploy.errors import GateError

    faults, left_out = chosen(arguments.kinds, arguments.jobs)
    with record.alone(arguments.out):
        found = record.Record.read(arguments.out, arguments.seed)
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            strike(arguments, faults, found, Path(folder))
    console = new_console()
    if arguments.json:
        print(json.dumps(found.plain()))
    console.print(found.table())
    if left_out:
        console.print(f"left out, since mounting is not allowed here: {', '.join(left_out)}")
    if not system.has_own_namespace():
        console.print("not looked at, for the same reason: what stays in /dev/shm")
    if found.failures:
        raise GateError(f"{found.failures} rounds failed; {arguments.out}/failures says how")


def chosen(kinds: Sequence[str], jobs: Sequence[str]) -> "tuple[list[tuple[Fault, list[str]]], list[str]]":
    """The faults of these names with the jobs that they may strike, and the names of those that need more rights."""
    from faulting.jobs import JOBS
    from faulting.kinds import FAULTS
    from faulting.system import has_own_namespace

    for option, names, allowed in (("--kind", kinds, [fault.name for fault in FAULTS]), ("--job", jobs, [*JOBS])):
        if unknown := [name for name in names if name not in allowed]:
            raise InputError(f"{option} {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    wanted = [fault for fault in FAULTS if not kinds or fault.name in kinds]
    left_out = [fault.name for fault in wanted if fault.needs_mount and not has_own_namespace()]
    pairs = [(fault, [job for job in fault.jobs if not jobs or job in jobs]) for fault in wanted]
    found = [(fault, fitting) for fault, fitting in pairs if fitting and fault.name not in left_out]
    if not found:
        raise InputError("no kind of fault is left that strikes these jobs; leave out --kind or --job")
    return found, left_out


def strike(
    arguments: argparse.Namespace, faults: "list[tuple[Fault, list[str]]]", found: "Record", folder: Path
) -> None:
    """The rounds that are missing; a run is struck up to `--per-run` times, by faults that may strike its job."""
    from faulting import system
    from faulting.rounds import Place
    from faulting.starting import Cold, Warm

    start = Warm(folder) if arguments.warm else Cold(folder)
    try:
        place = Place(folder=folder, start=start, bound_s=arguments.bound_s)
        place.prepare()
        known: dict[str, Undisturbed] = {}
        run: StruckRun | None = None
        for number in track(range(found.next, arguments.rounds), "striking runs"):
            (fault, fitting), rng = faults[number % len(faults)], Random(f"{arguments.seed}/{number}")
            run = run or begun(rng.choice(fitting), place, known)
            tally = found.of(fault.name)
            problems = run.strike(fault, rng, tally)
            tally.rounds += 1
            following, last = faults[(number + 1) % len(faults)][1], number + 1 == arguments.rounds
            if problems or run.done or last or len(run.struck) >= arguments.per_run or run.name not in following:
                problems += run.finish()
                name, run = run.name, None
                if problems:
                    found.failed(fault.name, number, [f"round {number}, {name}", *problems])
                found.next = number + 1
                found.write()
    finally:
        system.unmounted(folder / "disk")  # of a run that was left in the middle
        start.close()


def begun(name: str, place: "Place", known: "dict[str, Undisturbed]") -> "StruckRun":
    """A new run of a job; what it finds undisturbed is looked at once."""
    from faulting import jobs
    from faulting.rounds import StruckRun, Undisturbed

    job = jobs.JOBS[name]
    if name not in known:
        if name == "training":
            jobs.write_videos(place.work)
        known[name] = Undisturbed.of(job, name, place)
    return StruckRun(name=name, job=job, place=place, undisturbed=known[name])


if __name__ == "__main__":
    from faulting.system import in_own_namespace

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has its background ignore, and all in it
    in_own_namespace()
    sys.exit(run_cli(main))
