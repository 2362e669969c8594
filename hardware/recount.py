"""Recount and reprice a run from its files alone, and compare with its report.json.

    python -m hardware.recount runs/demo                    # equal, or the first difference (exit code 3)
    python -m hardware.recount runs/demo --json             # what was compared, for scripts

A run of run_lava.py leaves integers.h5 (parameters, and what the input sent in the clips that were kept), spikes.h5 and
report.json. Nothing is lowered or quantised here: an integer machine of its own says whether every spike follows from
the parameters, every operation is counted again from the messages, and every cost model priced again. Of clips that
were not kept (--keep-clips all keeps them) the counts of the report are taken as they are.
"""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rich.console import Console

from hardware.chip_files import load_chip, shipped_chips
from hardware.counts import COUNTS, MeanCounts, OpCounts
from hardware.energy import price
from hardware.errors import ChipError
from hardware.hdf5 import opened
from hardware.integers import Ints, StoredNetwork, read_integers
from hardware.machine import sent_by_all
from hardware.stored_counts import counts_of

DIFFERENT = 3  # exit code where a recount differs
CLOSE = 1e-9  # relative; sums of the same numbers in another order
AT_ONCE = 4  # clips that run together
DAMAGED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of what was changed


class DifferenceError(Exception):
    """What differs first, as a sentence."""


@dataclass(kw_only=True)
class Compared:
    """What was found equal."""

    clips: int = 0
    of_clips: int = 0
    spikes: int = 0
    counts: int = 0
    layers: int | None = None  # None: not compared, since they are means of all clips and not all were kept
    cost_models: int = 0
    left_out: tuple[str, ...] = ()  # chips of the report that are no shipped files


def recount(run: Path) -> Compared:
    """Compare a run with its files.

    Raises `DifferenceError` for the first that is not equal, ChipError for files that are not there or cannot be read.
    """
    try:
        return _recount(run)
    except ChipError:
        raise
    except DAMAGED as error:
        what = f"{type(error).__name__}: {error}"
        raise ChipError(f"{run}: its files are not those of one run ({what}); run run_lava.py again") from error


def _recount(run: Path) -> Compared:
    report, network = _report(run / "report.json"), read_integers(run / "integers.h5")
    found = Compared(clips=len(network.sent), of_clips=len(report["clips"]))
    totals = dict[str, OpCounts]()
    with _spikes(run / "spikes.h5") as file:
        for first in range(0, found.clips, AT_ONCE):
            for clip, counted in _recounted(
                network, report, file, range(first, min(first + AT_ONCE, found.clips)), found
            ):
                _same_counts(f"clip {clip + 1}", counted, report["clips"][clip]["counts"], found)
                totals = {name: totals.get(name, OpCounts()) + counts for name, counts in counted.items()}
    if found.clips == found.of_clips:
        _same_layers(totals, report, found)
    _same_energy(report, found)
    return found


def _recounted(
    network: StoredNetwork, report: Any, file: h5py.File, places: range, found: Compared
) -> Iterator[tuple[int, dict[str, OpCounts]]]:
    """Counts of some clips by population, once their spikes are found to be those of the file."""
    sent = sent_by_all(network, network.sent[places.start : places.stop])
    for row, clip in enumerate(places):
        steps = report["clips"][clip]["steps"]
        messages = {name: signal[row, :steps] for name, signal in sent.items()}
        for name in file["nodes"]:
            stored = file[f"nodes/{name}/observables/spikes/data"][clip, :steps]
            found.spikes += _same_spikes(name, clip, messages[name], stored)
        yield clip, counts_of(network, messages)


def _same_spikes(name: str, clip: int, ours: Ints, stored: Any) -> int:
    differ = np.argwhere(ours.reshape(len(ours), -1) != stored)
    if len(differ):
        step, neuron = differ[0]
        raise DifferenceError(
            f"{name}, clip {clip + 1}, time step {step}, neuron {neuron}: spikes.h5 has {int(stored[step, neuron])}, "
            f"the integers give {1 - int(stored[step, neuron])} ({len(differ):,} of the layer differ)"
        )
    return int(stored.size)


def _same_counts(where: str, counted: dict[str, OpCounts], reported: dict[str, int], found: Compared) -> None:
    total = sum(counted.values(), OpCounts())
    for name in COUNTS:
        _same(f"{where}, {name}", getattr(total, name), reported.get(name, 0))
        found.counts += 1


def _same_layers(totals: dict[str, OpCounts], report: Any, found: Compared) -> None:
    found.layers = len(report["layers"])
    for layer in report["layers"]:
        mean = totals[layer["name"]].mean(found.clips)
        for name in COUNTS:
            _same(f"{layer['name']}, {name} of the mean clip", getattr(mean, name), layer[name])


def _same_energy(report: Any, found: Compared) -> None:
    """The mean of all clips' counts as the report has it, and its price on every shipped chip."""
    clips = [OpCounts(**clip["counts"]) for clip in report["clips"]]
    mean = sum(clips, OpCounts()).mean(len(clips))
    for name in COUNTS:
        _same(f"totals, {name}", getattr(mean, name), report["totals"][name])
    models = report["energy"]["models"]
    for name, model in models.items():
        if name in shipped_chips():
            _same_price(name, mean, model, found)
    found.left_out = tuple(name for name in models if name not in shipped_chips())


def _same_price(name: str, mean: MeanCounts, model: dict[str, Any], found: Compared) -> None:
    chip = load_chip(name)
    if chip.energy is None:
        return
    energy = price(mean, chip)
    _same(f"{name}, mJ a view", energy.total_mj, model["mj_per_view"])
    _same(f"{name}, weighted layers, mJ", energy.weighted_layers_mj, model["weighted_layers_mj"])
    for cause, mj in energy.by_cause_mj().items():
        _same(f"{name}, {cause}, mJ", mj, model["breakdown"][cause])
    found.cost_models += 1


def _same(where: str, ours: float, reported: float) -> None:
    if not math.isclose(ours, reported, rel_tol=CLOSE):
        raise DifferenceError(f"{where}: report.json has {reported:,.9g}, the recount {ours:,.9g}")


def _report(path: Path) -> Any:
    try:
        report = json.loads(path.read_bytes())
        report["clips"][0]["counts"], report["energy"]["models"], report["layers"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ChipError(f"{path}: no report of a run ({error}); give the folder that run_lava.py wrote") from error
    return report


@contextlib.contextmanager
def _spikes(path: Path) -> Iterator[h5py.File]:
    try:
        with opened(path) as file:
            yield file
    except OSError as error:
        raise ChipError(f"{path}: cannot be read ({error}); give the folder that run_lava.py wrote") from error


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The manners of `svformer.common.cli` as far as they apply: this package imports none of the others."""
    summary, examples, what = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m hardware.recount",
        description=summary,
        epilog=f"examples:\n{examples}\n\n{what}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="out folder of run_lava.py")
    parser.add_argument("--json", action="store_true", help="print what was compared as JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours; the variable NO_COLOR does the same")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is equal; the exit code is 0, 2 for bad input, or 3 where something differs."""
    arguments = parse_arguments(argv)
    console = Console(highlight=False, soft_wrap=True, no_color=arguments.no_color or None)
    try:
        found = recount(arguments.run)
    except DifferenceError as difference:
        print(f"first difference: {difference}", file=sys.stderr)
        return DIFFERENT
    except ChipError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(json.dumps(asdict(found)))
        return 0
    console.print(
        f"equal: {found.spikes:,} states of neurons in {found.clips} of {found.of_clips} clips, {found.counts} counts "
        f"of these clips, {'' if found.layers is None else f'{found.layers} layers, '}{found.cost_models} cost models"
    )
    if found.layers is None:
        console.print("not compared: counts of layers, means of all clips; run_lava.py --keep-clips all keeps all")
    if found.left_out:
        console.print(f"not priced again, no shipped chips: {', '.join(found.left_out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
