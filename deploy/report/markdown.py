"""The report as a few Markdown tables, to paste into a paper or an issue."""

from collections.abc import Iterable, Sequence

from deploy.execution.backends import title_of
from deploy.report import placed_rows, rows
from deploy.report.keys.report import Report
from svformer.common.terminal import counted


def markdown(report: Report) -> str:
    """Counts, energy by cost model, the paper's ledger, the bill, break-even and fit of the mean clip.

    What is beside the paper's figure is left out for a network that is not SVFormer.
    """
    parts = (
        _what_ran(report),
        _table(("operation", "per clip"), ((row.label, row.per_clip) for row in rows.counts(report.totals))),
        _models(report),
        *_forms(report),
        *_placed(report),
        *(_beside_the_paper(report) if report.is_svformer else ()),
        *_bill(report),
        *_break_even(report),
        *_fit(report),
    )
    return "\n\n".join(parts)


def _what_ran(report: Report) -> str:
    network = report.network
    return (
        f"**{network.name}**: {network.neurons:,} neurons, {network.parameters:,} parameters of "
        f"{network.weight_bits} bits, T = {network.frames}; "
        f"the mean of {counted(len(report.clips), 'clip')} on {title_of(report.backend)}."
    )


def _models(report: Report) -> str:
    heads = (
        *("cost model", "weighted layers", "all that has a figure", "90 % of draws", "by all sources"),
        *("with static power", "remarks"),
    )
    models = rows.models(report.energy)
    cells = (
        (row.title, row.weighted, row.everything, row.between, row.others, row.with_static, row.remarks)
        for row in models
    )
    return _table(heads, cells)


def _forms(report: Report) -> Iterable[str]:
    """What a clip costs in every form of its convolutions in a row."""
    forms = rows.forms(report.energy)
    if forms.rows:
        yield _table(forms.heads, forms.rows)


def _placed(report: Report) -> Iterable[str]:
    """Energy by unit beside the ledger, times, and the chips at the rate of the frames."""
    for chip, found in report.placed.items():
        headline = placed_rows.headline(found)
        yield f"{headline[:1].upper()}{headline[1:]}."
        heads = (found.title, "placed", "by the ledger", "why they differ")
        yield _table(heads, ((row.unit, row.placed, row.ledger, row.why) for row in placed_rows.units(report, chip)))
    points = placed_rows.points(report)
    if points:
        at_rate = (f"at {placed_rows.rate(points[0].point.rate)}", "dynamic", "traffic", "static", "step", "latency")
        yield _table(at_rate, ((p.title, p.dynamic, p.traffic, p.static, p.step, p.latency) for p in points))


def _beside_the_paper(report: Report) -> Iterable[str]:
    """The ledger, and what is claimed for one view and for fifteen."""
    energy = report.energy
    ledger = rows.ledger(energy.paper.ledger)
    heads = ("45 nm FP32", "paper, mJ", "sum", "here", "sum")
    yield _table(heads, ((row.term, row.paper_mj, row.paper_sum_mj, row.here, row.here_sum) for row in ledger))
    yield (
        f"The paper says {energy.paper_mj_per_video:g} mJ per video and does not publish the sum behind it; no "
        f"match is claimed. {energy.geometry_difference}"
    )
    views = rows.views(energy)
    yield _table(views.heads, views.rows)


def _bill(report: Report) -> Iterable[str]:
    """What conventions leave out, and what could be deployed instead."""
    entries = rows.bill(report.energy)
    if entries:
        heads = ("bill of deployment", "choice", "KiB stored", *rows.bill_chips(report.energy))
        yield _table(heads, (_bill_entry(entry) for entry in entries))


def _bill_entry(entry: rows.BillTexts) -> rows.Cells:
    choice = f"{entry.choice} ({'deployed' if entry.deployed else 'instead'})"
    return entry.item, choice, entry.kib, *entry.energies


def _break_even(report: Report) -> Iterable[str]:
    found = report.energy.break_even
    if found is None:
        return
    yield f"{found.words[:1].upper()}{found.words[1:]} a clip."
    limits = rows.limits(found.published)
    yield _table(
        ("break-even", "an inference is", "limit", "here", "so"),
        ((row.source, row.inference, f"{row.limits} {row.unit}", row.here, row.verdict) for row in limits),
    )


def _fit(report: Report) -> Iterable[str]:
    for row in rows.fits(report):
        obstacles = counted(len(report.fit[row.chip].obstacles), "obstacle")
        by_rule = f"{row.size} by a simple rule, without the input; {obstacles}"
        yield f"{row.chip}: {row.placement} by placement; {by_rule}. {row.advice}."


def _table(heads: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
