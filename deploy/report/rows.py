"""Rows of a report's tables as text, written once: the page, report.md and the terminal lay them out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.costs.overheads import CHAINS
from deploy.report import typeset
from deploy.report.keys.energy import AtPaperGeometry, BillEntry, EnergySummary
from deploy.report.keys.network import FittedChip
from deploy.report.keys.report import Estimate, Report
from hardware import load_chip, shipped_chips
from hardware.break_even import JudgedLimit
from hardware.counts import LISTED, MeanCounts
from hardware.models import EnergyModel, StaticEnergy
from hardware.paper_ledger import LedgerRow
from svformer.common.terminal import counted

Cells = tuple[str, ...]
WORTH_SAYING = 0.005  # share of a total; less would be shown as 0 %
Write = Callable[[float | None], str]


@dataclass(frozen=True, kw_only=True)
class CountTexts:
    """A line of what was counted."""

    label: str
    per_clip: str
    meaning: str


def counts(totals: MeanCounts) -> list[CountTexts]:
    """Every kind of operation that reports list."""
    return [
        CountTexts(label=count.label, per_clip=typeset.count(getattr(totals, count.name)), meaning=count.meaning)
        for count in LISTED
    ]


@dataclass(frozen=True, kw_only=True)
class ModelTexts:
    """A cost model: what papers count, all that has a figure, other sources, static power."""

    model: EnergyModel
    weighted: str
    everything: str
    between: str  # the interval of it
    others: str
    with_static: str
    remarks: str  # what the total must not be read without

    @property
    def title(self) -> str:
        return self.model.title


def models(energy: EnergySummary, write: Write = typeset.energy) -> list[ModelTexts]:
    """Every cost model; one without published energy has no figures. `write` makes text of millijoule."""
    return [_model(model, write) for model in energy.models.values()]


def _model(model: EnergyModel, write: Write) -> ModelTexts:
    if model.mj_per_view is None:
        return _unpriced(model, write)
    low, high = model.range_mj
    assert model.interval is not None  # what is priced has one
    return ModelTexts(
        model=model,
        weighted=f"{write(model.weighted_layers_mj)}{' (no memory)' if model.has_memory else ''}",
        everything=write(model.mj_per_view),
        between=f"{write(model.interval.low_mj)} to {write(model.interval.high_mj)}",
        others="" if low == high else f"{write(low)} to {write(high)}",
        with_static=_with_static(model.static),
        remarks=_remarks(model),
    )


def _unpriced(model: EnergyModel, write: Write) -> ModelTexts:
    """A chip without an energy of operations; a network that was measured there gives a scale."""
    found = model.extrapolation
    return ModelTexts(
        model=model,
        weighted="no published energy",
        everything="",
        between=" to ".join(map(write, found.range_mj)) if found else "",
        others="",
        with_static="",
        remarks="extrapolated from another network that was measured there" if found else "",
    )


def _remarks(model: EnergyModel) -> str:
    """What a total must not be read without."""
    share = (model.stand_in_mj or 0.0) / model.mj_per_view if model.mj_per_view else 0.0
    found = [f"{100 * share:.0f} % stand-in"] if share >= WORTH_SAYING else []
    found += ["synapses alone"] if model.synapses_alone else []
    found += [model.holds] if model.holds not in ("", "holds it") else []
    return ", ".join(found)


def _with_static(static: StaticEnergy | None) -> str:
    if static is None:
        return ""
    for_clip = typeset.duration(static.latency_s)
    return f"{typeset.energy(static.total_mj)} ({counted(static.chips, 'chip')} for {for_clip})"


@dataclass(frozen=True, kw_only=True)
class LedgerTexts:
    """A term of the paper's ledger beside that of this run, with running sums."""

    term: str
    unit_pj: str
    paper_count: str
    paper_mj: str
    paper_sum_mj: str
    here_count: str
    here: str
    here_sum: str


def ledger(rows: tuple[LedgerRow, ...]) -> list[LedgerTexts]:
    """Every term."""
    return [
        LedgerTexts(
            term=row.term,
            unit_pj=f"{row.unit_pj:.1f}",
            paper_count=typeset.count(row.paper_count),
            paper_mj=f"{row.paper_mj:.3f}",
            paper_sum_mj=f"{row.paper_sum_mj:.2f}",
            here_count=typeset.count(row.here_count),
            here=typeset.energy(row.here_mj, 4),
            here_sum=typeset.energy(row.here_sum_mj, 4),
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of texts; the first column names the rows."""

    heads: Cells
    rows: tuple[Cells, ...]


def views(energy: EnergySummary) -> Grid:
    """What is claimed for one view and for fifteen, weighted layers, and what one view is to the paper's figure."""
    paper, same = energy.paper, energy.paper.at_its_geometry
    heads: Cells = ("weighted layers", "paper’s network", "this network")
    per_view = [paper.recomputed_mj, energy.paper.views["1"], *([same.mj] if same else [])]
    shares = [mj / energy.paper_mj_per_video for mj in per_view[:2]]
    rows: list[Cells] = [
        (
            f"{counted(int(number), 'view')} ({top1}{typeset.NARROW}% right in the paper)",
            *(typeset.energy(int(number) * mj, 4) for mj in per_view),
        )
        for number, top1 in paper.accuracy.items()
    ]
    rows.append(
        (
            f"one view to the paper’s {energy.paper_mj_per_video:g}{typeset.NARROW}mJ",
            *(typeset.percent(share, 2) for share in shares),
            *([_span_of_rates(same, energy.paper_mj_per_video)] if same else []),
        )
    )
    if same:
        heads += ("paper’s network at the rates counted here",)
    return Grid(heads=heads, rows=tuple(rows))


def _span_of_rates(same: AtPaperGeometry, paper_mj: float) -> str:
    """What rates can make of the figure: a share of it alone would say nothing about the rates that were counted."""
    low, high = (typeset.percent(mj / paper_mj, 2) for mj in (same.mj_without_spikes, same.mj_at_every_step))
    return f"{low} without a spike, {high} with one everywhere"


@dataclass(frozen=True, kw_only=True)
class BillTexts:
    """One thing that deployment adds, as deployed or as it could be."""

    item: str
    choice: str
    deployed: bool
    additions: str
    macs: str
    accesses: str
    messages: str
    kib: str
    energies: Cells  # in the order of `bill_chips`


def bill(energy: EnergySummary, write: Write = typeset.energy) -> list[BillTexts]:
    """What conventions leave out, and what could be deployed instead. `write` makes text of millijoule."""
    return [_bill_entry(entry, write) for entry in energy.bill]


def forms(energy: EnergySummary, write: Write = typeset.energy) -> Grid:
    """What a clip would cost in every form of its convolutions in a row; no rows where it has only one."""
    entries = [entry for entry in energy.bill if entry.item == CHAINS]
    deployed = next((entry for entry in entries if entry.deployed), None)
    if deployed is None:
        return Grid(heads=(), rows=())
    return Grid(
        heads=("form of convolutions in a row (--merge)", *bill_chips(energy)),
        rows=tuple(
            (
                f"{entry.choice}{' (deployed)' if entry.deployed else ''}",
                *(write(_with_form(energy, chip, entry, deployed)) for chip in entry.mj),
            )
            for entry in entries
        ),
    )


def _with_form(energy: EnergySummary, chip: str, form: BillEntry, deployed: BillEntry) -> float:
    """The total on a chip with another form in the place of the one that was deployed."""
    total = energy.models[chip].mj_per_view or 0.0
    return total + (form.mj[chip] or 0.0) - (deployed.mj[chip] or 0.0)


def bill_chips(energy: EnergySummary) -> Cells:
    """Titles of the chips that the bill is priced on."""
    return tuple(energy.models[chip].title for chip in energy.bill[0].mj) if energy.bill else ()


def _bill_entry(entry: BillEntry, write: Write) -> BillTexts:
    def count(*names: str) -> str:
        number = sum(entry.counts.get(name, 0) for name in names)
        return typeset.count(number) if number else ""

    return BillTexts(
        item=entry.item,
        choice=entry.choice,
        deployed=entry.deployed,
        additions=count(
            *("synaptic_ops", "relay_adds", "comparisons", "attention_coincidences", "attention_gated_adds")
        ),
        macs=count("macs", "gain_macs"),
        accesses=count("parameter_reads", "state_reads", "state_writes"),
        messages=count("graded_messages", "held_messages"),
        kib=typeset.significant(entry.memory_kib),
        energies=tuple(map(write, entry.mj.values())),
    )


@dataclass(frozen=True, kw_only=True)
class LimitTexts:
    """A published limit beside what was counted, if an inference is a frame or the clip."""

    source: str
    note: str
    unit: str
    inference: str
    limits: str
    here: str
    verdict: str


def limits(published: tuple[JudgedLimit, ...]) -> list[LimitTexts]:
    """Every published limit in both readings."""
    return [
        LimitTexts(
            source=limit.source,
            note=limit.note,
            unit=limit.unit,
            inference=reading.inference,
            limits=reading.limits,
            here=typeset.significant(reading.here),
            verdict=reading.verdict,
        )
        for limit in published
        for reading in limit.readings
    ]


@dataclass(frozen=True, kw_only=True)
class FitTexts:
    """A chip that the network is fitted to."""

    chip: str
    title: str
    size: str  # cores and chips of the layers by the rule
    delays: str  # relays that hold messages back; empty where there are none
    placement: str  # cores and chips by placement, how full, and by which method
    obstacles: str  # how many, and the first of them; empty where there is none
    advice: str


def fits(report: Estimate) -> Iterator[FitTexts]:
    """Every chip with published limits."""
    known = report.energy.models if isinstance(report, Report) else {}
    for name, fitted in report.fit.items():
        in_all = counted(len(fitted.obstacles), "obstacle")
        yield FitTexts(
            chip=name,
            title=known[name].title if name in known else _title(name),
            size=f"{counted(fitted.cores, 'core')}, {counted(fitted.chips, 'chip')}",
            delays=_delays(fitted),
            placement=_placement(fitted),
            obstacles=f"{in_all}, first: {fitted.obstacles[0]}" if fitted.obstacles else "",
            advice=fitted.advice,
        )


def _title(chip: str) -> str:
    """Of a chip that ships; of another its name."""
    return load_chip(chip).title if chip in shipped_chips() else chip


def _delays(fitted: FittedChip) -> str:
    if not fitted.delay_neurons:
        return ""
    cores = sum(line.cores for line in fitted.delay_lines)
    return f"{counted(fitted.delay_neurons, 'relay')} of delay lines on {counted(cores, 'core')} of these"


def _placement(fitted: FittedChip) -> str:
    found = fitted.placement
    if found is None:
        return f"not to be placed: {fitted.unplaced}"
    scarcest = max(found.fill, key=lambda limit: found.fill[limit])
    least = "no fewer for these parts" if found.cores == found.least_cores else f"at least {found.least_cores:,}"
    return (
        f"{counted(found.cores, 'core')}, {counted(found.chips, 'chip')}, {typeset.percent(found.fill[scarcest])} of "
        f"their {typeset.words(scarcest)} taken ({found.method}, {least})"
    )


def what_is_right(report: Report) -> str:
    """What an accuracy counts: a clip, or a video where several clips are views of one."""
    return "video" if len({clip.source for clip in report.clips}) < len(report.clips) else "clip"


def top1(report: Report) -> str:
    """Top-1 of every execution in a sentence; empty where there is none."""
    accuracy = report.accuracy
    if accuracy.deployed_top1 is None:
        return ""
    checked = {"float": accuracy.float_top1, "integer": accuracy.integer_top1}
    judges = ", ".join(f"{name} {typeset.percent(share, 2)}" for name, share in checked.items() if share is not None)
    deployed = f"deployed {typeset.percent(accuracy.deployed_top1, 2)}"
    all_of_them = counted(accuracy.videos, what_is_right(report))
    if accuracy.checked_videos == accuracy.videos:
        return f"top-1 over {all_of_them}: {judges}, {deployed}"
    of_checked = f"; over {counted(accuracy.checked_videos or 0, 'checked one')}: {judges}" if judges else ""
    return f"top-1 over {all_of_them}: {deployed}{of_checked}"
