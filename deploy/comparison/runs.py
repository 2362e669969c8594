"""Finished runs side by side: what their reports say, in columns that at least one of them has a figure for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.comparison.scatter import Scatter, scatter
from deploy.report import typeset
from deploy.report.keys.report import Report
from hardware.shown import CONVENTION, shown_in
from svformer.common.errors import InputError

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run and the name that it has here."""

    name: str
    report: Report


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a run."""

    title: str
    value: Callable[[Report], float | None]  # None: the run has no such figure
    write: Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A measure of every run."""

    measure: Measure
    values: tuple[float | None, ...]

    @property
    def title(self) -> str:
        return self.measure.title

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as they are written."""
        return tuple(typeset.NONE if value is None else self.write(value) for value in self.values)

    def write(self, value: float) -> str:
        """Any value of the measure as text."""
        return self.measure.write(value)


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs in a table and in charts."""

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    charts: tuple[Scatter, ...]
    remarks: tuple[str, ...]  # what the figures must not be read without

    def plain(self) -> list[dict[str, Any]]:
        """As comparison.json has it: for every run its name and its figures by title; null: it has none."""
        by_run = zip(self.names, *(column.values for column in self.columns), strict=True)
        titles = [column.title for column in self.columns]
        return [{"run": name, **dict(zip(titles, values, strict=True))} for name, *values in by_run]


def read_runs(paths: Sequence[Path]) -> list[NamedRun]:
    """The runs in these folders, named by what tells them apart.

    Raises `InputError` for what is no folder of a run nor its report.json, and for a run that is named twice.
    """
    if others := [str(path) for path in paths if not path.is_dir() and path.suffix != ".json"]:
        raise InputError(
            f"{', '.join(others)}: no folder of a finished run; name folders of run_lava.py alone, or checkpoints alone"
        )
    files = [path / REPORT if path.is_dir() else path for path in paths]
    if len({file.resolve() for file in files}) < len(files):
        raise InputError("a run is named twice; name every run once")
    names = _apart([file.parent if file.name == REPORT else file.with_suffix("") for file in files])
    return [NamedRun(name=name, report=Report.read(file)) for name, file in zip(names, files, strict=True)]


def compare_runs(runs: Sequence[NamedRun]) -> RunComparison:
    """The runs in all measures that one of them has."""
    columns = [column for measure in _measures(runs) if (column := _column(measure, runs))]
    names = tuple(run.name for run in runs)
    accuracy = next((column for column in columns if column.title == TOP1.title), None)
    against = [column for column in columns if column.title.startswith(ACROSS)]
    charts = [scatter(names, column, accuracy) for column in against] if accuracy else []
    return RunComparison(
        names=names,
        columns=tuple(columns),
        charts=tuple(chart for chart in charts if chart is not None),
        remarks=tuple(_remarks(runs)),
    )


def _percent(share: float) -> str:
    return typeset.percent(share, 2)


def _firing(report: Report) -> float | None:
    rates = [(layer.rate, layer.neurons) for layer in report.layers if layer.rate is not None]
    neurons = sum(count for _, count in rates)
    return sum(rate * count for rate, count in rates) / neurons if neurons else None


TOP1 = Measure(title="top-1 deployed", value=lambda report: report.accuracy.deployed_top1, write=_percent)
OF_THE_RUN = (
    TOP1,
    Measure(title="top-1 float", value=lambda report: report.accuracy.float_top1, write=_percent),
    Measure(
        title="predictions kept", value=lambda report: report.parity.float_vs_integer.top1_agreement, write=_percent
    ),
    Measure(
        title="neuron states kept", value=lambda report: report.parity.float_vs_integer.spike_match, write=_percent
    ),
    Measure(title="clips", value=lambda report: len(report.clips), write=typeset.count),
    Measure(title="neurons", value=lambda report: report.network.neurons, write=typeset.count),
    Measure(title="weight bits", value=lambda report: report.network.weight_bits, write=typeset.count),
    Measure(title="weights, KiB", value=lambda report: report.network.synapse_memory_kib, write=typeset.significant),
    Measure(title="firing rate", value=_firing, write=_percent),
    Measure(title="synaptic operations", value=lambda report: report.totals.synaptic_ops or None, write=typeset.count),
    Measure(title="MACs", value=lambda report: report.totals.macs or None, write=typeset.count),
)
ENERGY, CORES, LATENCY = "energy", "cores", "latency"
ACROSS = (ENERGY, CORES, LATENCY)  # what accuracy is drawn against


def _measures(runs: Sequence[NamedRun]) -> list[Measure]:
    """All that a run can have; energies, cores and latencies of the chips that one of them knows."""
    titles = {name: model.title for run in runs for name, model in run.report.energy.models.items()}
    fitted = dict.fromkeys(chip for run in runs for chip in run.report.fit)
    timed = dict.fromkeys(chip for run in runs for chip in run.report.energy.operating_points)
    return [
        *OF_THE_RUN,
        *(_energy(chip, titles[chip]) for chip in shown_in("comparison") if chip in titles),
        *(_cores(chip, titles.get(chip, chip), runs) for chip in fitted),
        *(_latency(chip, titles.get(chip, chip)) for chip in timed),
    ]


def _energy(chip: str, title: str) -> Measure:
    """Weighted layers alone at the convention, as papers report, else everything."""

    def value(report: Report) -> float | None:
        model = report.energy.models.get(chip)
        return None if model is None else model.weighted_layers_mj if chip == CONVENTION else model.mj_per_view

    what = "weighted layers" if chip == CONVENTION else "everything"
    return Measure(title=f"{ENERGY} of a clip, {title}, {what}", value=value, write=typeset.energy)


def _cores(chip: str, title: str, runs: Sequence[NamedRun]) -> Measure:
    """By placement, where every run has one, else by the rule for all of them."""
    fits = [run.report.fit[chip] for run in runs if chip in run.report.fit]
    placed = all(fitted.placement for fitted in fits)

    def value(report: Report) -> float | None:
        fitted = report.fit.get(chip)
        return None if fitted is None else fitted.placement.cores if placed and fitted.placement else fitted.cores

    how = "by placement" if placed else "by the rule of a core for each layer"
    return Measure(title=f"{CORES} of {title}, {how}, obstacles aside", value=value, write=typeset.count)


def _latency(chip: str, title: str) -> Measure:
    def value(report: Report) -> float | None:
        point = report.energy.operating_points.get(chip)
        return point.speed.first_result_s if point and point.speed else None

    return Measure(title=f"{LATENCY} on {title}, at least", value=value, write=typeset.duration)


def _column(measure: Measure, runs: Sequence[NamedRun]) -> Column | None:
    values = tuple(measure.value(run.report) for run in runs)
    if all(value is None for value in values):
        return None
    return Column(measure=measure, values=values)


def _remarks(runs: Sequence[NamedRun]) -> list[str]:
    found = []
    if len({tuple(sorted((clip.source, clip.label or "") for clip in run.report.clips)) for run in runs}) > 1:
        found.append(
            "The runs are of different clips: their accuracies and their energies are not those of the same work."
        )
    if len({run.report.network.trained_on for run in runs}) > 1:
        found.append("The networks were trained on different data sets.")
    partly = [run.name for run in runs if run.report.parity.clips_checked < len(run.report.clips)]
    if partly:
        found.append(f"Float accuracies and what was kept are those of the checked clips alone: {', '.join(partly)}.")
    unproven = [run.name for run in runs if run.report.parity.integer_vs_lava.bit_exact is None]
    if 0 < len(unproven) < len(runs):
        found.append(f"Not compared with Lava: {', '.join(unproven)}.")
    return found


def _apart(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]
