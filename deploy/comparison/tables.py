"""A comparison of networks as a table on a terminal and as a page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column as TableColumn
from rich.table import Table

from deploy.comparison.rows import CHIPS, Row
from deploy.report import typeset
from deploy.report.page import environment
from deploy.report.record import LIBRARIES
from deploy.report.scripts import script
from hardware import load_chip
from hardware.shown import CONVENTION
from svformer.common.files import atomic_path
from svformer.common.provenance import provenance
from svformer.common.terminal import counted

Column = tuple[str, Callable[[Row], str]]  # heading, and how a row is written under it

ACCURACY: tuple[Column, ...] = (
    ("bits", lambda row: str(row.weight_bits)),
    ("top-1 float %", lambda row: _percent(row.float_top1, 2)),
    ("top-1 deployed %", lambda row: _percent(row.deployed_top1, 2)),
    ("same prediction %", lambda row: _percent(row.agreement)),
    ("spike match %", lambda row: _percent(row.spike_match)),
    ("weights KiB", lambda row: typeset.count(round(row.memory_kib, 1))),
)
WORK: tuple[Column, ...] = (
    ("active %", lambda row: _percent(row.active_share)),
    ("synaptic ops M", lambda row: typeset.significant(row.synaptic_ops / 1e6) if row.synaptic_ops else typeset.NONE),
    ("MACs M", lambda row: typeset.significant(row.macs / 1e6)),
)
ENERGY: tuple[Column, ...] = tuple(
    (f"{chip} mJ{', weighted' if chip == CONVENTION else ''}", lambda row, chip=chip: _with_interval(row, chip))  # type: ignore[misc]
    for chip in CHIPS
)
NO_CLASS = "no clip bears a class of the network: it has no top-1"


def _percent(share: float | None, digits: int = 1) -> str:
    return typeset.NONE if share is None else f"{100 * share:.{digits}f}"


def _mj(energy_mj: float | None) -> str:
    return typeset.NONE if energy_mj is None else typeset.significant(energy_mj)


def _with_interval(row: Row, chip: str) -> str:
    found = row.interval_mj.get(chip)
    between = "" if found is None else f" ({found.low_mj:.2g} to {found.high_mj:.2g})"
    return f"{_mj(row.energy_mj[chip])}{between}"


def verdicts(rows: Sequence[Row]) -> list[str]:
    """What each spiking network is to a ReLU network of equal bits, as sentences."""
    return [
        f"{row.short_name} to {twin} at {row.weight_bits} bits: "
        + ", ".join(f"{verdict} on {chip}" for chip, verdict in by_chip.items())
        for row in rows
        for twin, by_chip in row.against.items()
    ]


def on_devices(rows: Sequence[Row]) -> list[str]:
    """What ReLU networks take on devices that one buys, as sentences; of all widths the same."""
    found = {
        row.name: ", ".join(
            f"{device} {typeset.significant(on.mj)} mJ ({on.low_mj:.2g} by the vendor's peak, to {on.high_mj:.2g})"
            for device, on in row.device_mj.items()
        )
        for row in rows
        if row.device_mj
    }
    return [f"{name}, every product, in 8 bits, by published throughput: {text}" for name, text in found.items()]


def chip_titles() -> list[str]:
    """Titles of the energy figures: weighted layers alone at the convention, as papers report, else everything."""
    what = {chip: "weighted layers" if chip == CONVENTION else "everything" for chip in CHIPS}
    return [f"{load_chip(chip).title}, {what[chip]}" for chip in CHIPS]


def heading(rows: Sequence[Row]) -> str:
    """How many networks, at how many widths: "1 network at 3 widths"."""
    networks, widths = {row.name for row in rows}, {row.weight_bits for row in rows}
    at = f" at {counted(len(widths), 'width')}" if len(widths) > 1 else ""
    return f"{counted(len(networks), 'network')}{at}"


def without_top1(rows: Sequence[Row]) -> list[str]:
    """Names of the networks that have no class of these clips."""
    return list(dict.fromkeys(row.name for row in rows if row.float_top1 is None))


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """All figures, a row for every network and width."""
    bits = ACCURACY[0]
    shown = {"Accuracy": ACCURACY, "A clip's operations": (bits, *WORK), "A clip costs": (bits, *ENERGY)}
    for title, columns in shown.items():
        numbers = (TableColumn(heading, justify="right", overflow="fold") for heading, _ in columns)
        table = Table(TableColumn("network", no_wrap=True), *numbers, title=title)
        for row in rows:
            table.add_row(row.short_name, *(write(row) for _, write in columns))
        console.print(table)
    for chip, title in zip(CHIPS, chip_titles(), strict=True):
        console.print(f"{chip}: {title}")
    console.print("between: 90 % of draws of constants and clips; cheaper or dearer: where 95 % of them say so")
    for line in (*verdicts(rows), *on_devices(rows)):
        console.print(line)
    for name in without_top1(rows):
        console.print(f"{name}: {NO_CLASS}")


def write_comparison(rows: Sequence[Row], dataset: str, path: Path) -> None:
    """Write the page of a comparison."""
    html = (
        environment()
        .get_template("comparison.html")
        .render(
            rows=rows,
            columns=(*ACCURACY, *WORK),
            chips=list(zip(CHIPS, chip_titles(), strict=True)),
            dataset=dataset,
            remarks=[*verdicts(rows), *on_devices(rows)],
            heading=heading(rows),
            without_top1=without_top1(rows),
            no_class=NO_CLASS,
            run=provenance(LIBRARIES),
            script=script("page.js"),
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
