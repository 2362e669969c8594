# PYTHON_ARGCOMPLETE_OK
"""Read inputs that nobody meant to write: every one is taken or refused in one line, with exit code 2.

    python benchmarks/fuzz.py --seconds 600                        # every kind for its share of ten minutes
    python benchmarks/fuzz.py --seconds 600                        # goes on with the next inputs
    python benchmarks/fuzz.py --seconds 60 --kind nir chip         # two kinds
    python benchmarks/fuzz.py --replay nir:1234                    # one input again, with its traceback
    python benchmarks/fuzz.py --seed 7 --out runs/fuzz7            # other inputs

A failure is a traceback, a raw warning, more than one line, a hang (processor time), memory beyond the limit, the end
of the process, or a network whose executions differ. Input N of a kind is the same for the same seed. OUT/failures
keeps inputs that failed with what was said, OUT/state.json how far every kind is. Exit code 3 where any failed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.options import positive_int, positive_seconds
from svformer.common.terminal import new_console

if TYPE_CHECKING:
    from fuzzing.campaign import Tally

STATE = "state.json"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seconds", type=positive_seconds, default=60.0, metavar="N", help="for all kinds together (default: 60)")
    add("--seed", type=int, default=0, metavar="S", help="of all inputs (default: 0)")
    add("--kind", dest="kinds", nargs="+", default=[], metavar="KIND", help="kinds of input (default: all)")
    add("--hang", dest="hang_s", type=positive_seconds, default=10.0, metavar="S", help="for one input (default: 10)")
    add("--memory-mb", type=positive_int, default=2048, metavar="MB", help="for one input (default: 2048)")
    add("--replay", metavar="KIND:NUMBER", help="read one input again, in this process, and show what happens")
    add("--out", type=Path, default=Path("runs/fuzz"), help="folder for failures and the state (default: runs/fuzz)")
    add("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from fuzzing.campaign import Campaign, Limits, Tally
    from fuzzing.kinds import chosen

    limits = Limits(hang_s=arguments.hang_s, memory_mb=arguments.memory_mb)
    campaigns = {
        name: Campaign(kind=kind, name=name, seed=arguments.seed, out=arguments.out, limits=limits)
        for name, kind in chosen([arguments.replay.partition(":")[0]] if arguments.replay else arguments.kinds).items()
    }
    if arguments.replay:
        (campaign,) = campaigns.values()
        campaign.make(int(arguments.replay.partition(":")[2]))
        campaign.kind.read(campaign.folder)
        return
    tallies = {name: Tally.of(plain) for name, plain in _state(arguments.out / STATE, arguments.seed).items()}
    for name, campaign in campaigns.items():
        tally = tallies.setdefault(name, Tally())
        campaign.out.mkdir(parents=True, exist_ok=True)
        campaign.run(tally, arguments.seconds / len(campaigns))
        state = {"seed": arguments.seed, "kinds": {name: tally.plain() for name, tally in tallies.items()}}
        write_bytes(arguments.out / STATE, json.dumps(state, indent=1).encode())
    if arguments.json:
        print(json.dumps({name: tallies[name].plain() for name in campaigns}))
    show({name: tallies[name] for name in campaigns})
    if failures := sum(tallies[name].failures for name in campaigns):
        from deploy.errors import GateError

        raise GateError(f"{failures} inputs failed; {arguments.out}/failures has them, and what was said")


def _state(path: Path, seed: int) -> dict[str, dict[str, object]]:
    """How far every kind is; raises `InputError` for that of other inputs."""
    if not path.is_file():
        return {}
    state = json.loads(path.read_text("utf-8"))
    if state["seed"] != seed:
        raise InputError(f"{path}: of seed {state['seed']}; choose another --out for seed {seed}")
    kinds: dict[str, dict[str, object]] = state["kinds"]
    return kinds


def show(tallies: "dict[str, Tally]") -> None:
    """The table of results, and what failures look like."""
    from fuzzing.campaign import FAILURES, REFUSED, TAKEN
    from rich.table import Table

    table = Table("kind", "inputs", TAKEN, REFUSED, *FAILURES, "inputs a minute")
    for name, tally in tallies.items():
        counts = [tally.counts[outcome] for outcome in (TAKEN, REFUSED, *FAILURES)]
        cells = [tally.next, *counts, round(60 * tally.next / tally.seconds) if tally.seconds else 0]
        table.add_row(name, *(f"{cell:,}" for cell in cells))
    console = new_console()
    console.print(table)
    for name, tally in tallies.items():
        for look, count in tally.alike.most_common():
            console.print(f"{name}: {count} x {look}", markup=False)


if __name__ == "__main__":
    sys.exit(run_cli(main))
