"""A deployment that stopped on its way, as tables: the passes so far, and the layers with what the steps found."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Column, Table

from deploy.execution.draft import Draft
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network
from deploy.passes.defaults import STEP_NAMES, Step
from svformer.common.terminal import print_wide

Cell = Callable[[Draft, str], str]  # of one layer; empty where the step found nothing of it


def _network(draft: Draft) -> Network | IntNetwork:
    """The network as it was read, the lowered one, or the integer network in the form in which it is run."""
    if hasattr(draft, "fused"):
        return draft.integer
    return draft.network if hasattr(draft, "lowered") else draft.unmerged


def _kind(draft: Draft, name: str) -> str:
    return _network(draft).populations[name].kind


def _shape(draft: Draft, name: str) -> str:
    return "x".join(map(str, _network(draft).populations[name].shape))


def _sources(draft: Draft, name: str) -> str:
    delays: dict[str, set[int]] = {}
    for connection in _network(draft).into(name):
        delays.setdefault(connection.source, set()).add(connection.delay)
    return ", ".join(source + _delayed(found) for source, found in delays.items())


def _delayed(delays: set[int]) -> str:
    if delays == {0}:
        return ""
    return f" (delay {min(delays)})" if len(delays) == 1 else f" ({len(delays)} delays to {max(delays)})"


def _rate(draft: Draft, name: str) -> str:
    return f"{draft.rates[name]:.4f}" if name in draft.rates else ""


def _potential(draft: Draft, name: str) -> str:
    calibrated = hasattr(draft, "calibration")  # integers of a file are not
    found = draft.calibration.potentials.get(name) if calibrated else None
    return "" if found is None else f"{found[0]:.3g} to {found[1]:.3g}"


def _scale(draft: Draft, name: str) -> str:
    receiver = draft.integer.receivers.get(name)
    return "" if receiver is None else f"{receiver.scale:.6g}"


def _headroom(draft: Draft, name: str) -> str:
    found = [h for h in draft.headroom if h.where.split(" -> ")[-1] == name]
    if not found:
        return ""
    fullest = max(found, key=lambda h: h.share)
    return f"{100 * fullest.share:.1f} % ({fullest.what})"


def _shift(draft: Draft, name: str) -> str:
    for layer in draft.fixed_point.layers:
        if layer.name == name and layer.rate is not None and layer.float_rate is not None:
            return "falls silent" if layer.silenced else f"{layer.rate - layer.float_rate:+.4f}"
    return ""


def _first_step(draft: Draft, name: str) -> str:
    return str(draft.plan.first_step(name))


COLUMNS: dict[Step, dict[str, Cell]] = {
    "read": {"kind": _kind, "shape": _shape, "from": _sources},
    "rate": {"spikes/neuron/step": _rate},
    "lower": {},
    "calibrate": {"potential": _potential},
    "quantize": {"bits for 1.0": _scale},
    "tune": {},
    "prove": {"fullest register": _headroom},
    "compare": {"rate, integer - float": _shift},
    "form": {},  # its populations stand among the others
    "schedule": {"first step": _first_step},
}


def print_draft(draft: Draft, last: Step, console: Console) -> None:
    """The passes, once they ran, and a line for every layer, with a column for what each step up to `last` found."""
    if hasattr(draft, "lowered"):
        print_wide(_passes(draft), console)
    names = list(_network(draft).populations)
    done = STEP_NAMES[: STEP_NAMES.index(last) + 1]
    columns = {heading: cell for step in done for heading, cell in COLUMNS[step].items()}
    found = {heading: [cell(draft, name) for name in names] for heading, cell in columns.items()}
    shown = {heading: cells for heading, cells in found.items() if any(cells)}
    table = Table("layer", *shown, title=f"Layers after {last}", title_justify="left")
    for row in zip(names, *shown.values(), strict=True):
        table.add_row(*row)
    print_wide(table, console)


def _passes(draft: Draft) -> Table:
    numbers = ("populations", "relays", "connections", "weights")
    columns = [Column(number, justify="right") for number in numbers]
    table = Table("pass", *columns, "what it does", title="Passes", title_justify="left")
    for step in draft.lowered:
        table.add_row(step.name, *(f"{getattr(step, number):,}" for number in numbers), step.what)
    return table
