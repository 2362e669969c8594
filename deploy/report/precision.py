"""What rounding one part of a network at a time changes, as tables."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from deploy.gates.precision import ALL, ALONE, INTEGERS, PARTS, WITHOUT, Agreement
from svformer.common.terminal import print_wide


def print_precision(found: Mapping[str, Agreement], console: Console) -> None:
    """The parts with what each costs, then every layer."""
    print_wide(_parts(found), console)
    print_wide(_layers(found), console)


def _parts(found: Mapping[str, Agreement]) -> Table:
    table = Table(
        title="Spikes equal to real numbers, mean of the layers, %; error of the results, % of what they vary"
    )
    for heading in ("rounded", "spikes", "results", "all but this", "results"):
        table.add_column(heading, justify="left" if heading == "rounded" else "right", overflow="fold")
    for name, title in ((INTEGERS, "everything, in integers"), (ALL, "all parts, in registers of real numbers")):
        table.add_row(title, *_cells(found[name]), "", "")
    for part in (part for part in PARTS if ALONE.format(part) in found):
        table.add_row(part, *_cells(found[ALONE.format(part)]), *_cells(found[WITHOUT.format(part)]))
    return table


def _cells(agreement: Agreement) -> tuple[str, str]:
    error = agreement.result_error
    return f"{100 * agreement.mean:.2f}", "" if error is None else f"{100 * error:.3g}"


def _layers(found: Mapping[str, Agreement]) -> Table:
    table = Table(title="Spikes equal to real numbers, %, by layer: in integers, and with one part alone rounded")
    table.add_column("layer", overflow="fold")
    alone = {part: found[ALONE.format(part)] for part in PARTS if ALONE.format(part) in found}
    columns = {"integers": found[INTEGERS], **alone}
    for heading in columns:
        table.add_column(heading, justify="right")
    for layer in found[INTEGERS].equal:
        table.add_row(layer, *(f"{100 * agreement.equal[layer]:.2f}" for agreement in columns.values()))
    return table
