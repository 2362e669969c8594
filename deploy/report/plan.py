"""The plan as a table: when each layer sees the first frame, what its delay lines and weights hold, how full it can be.

Bytes of delay lines are those of the CPU backend (a byte a spike, four a graded message); weights and potentials are
in bits of the chip, a kernel stored once however many positions share it.
"""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.execution.memory import message_size
from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import CURRENT, SUM, Headroom
from deploy.ir.plan import Plan
from hardware import LayerNeed
from hardware.fit import BITS_PER_KIB
from svformer.common.terminal import print_wide


def plan_rows(
    network: IntNetwork, plan: Plan, headroom: Sequence[Headroom], asked: Sequence[LayerNeed]
) -> list[dict[str, Any]]:
    """One entry for every population, in order of execution; `asked` is what the layers ask of a chip."""
    needs = {need.name: need for need in asked}
    return [
        {
            "name": name,
            "kind": population.kind,
            "shape": list(population.shape),
            "first_step": plan.first_step(name),
            "delay_lines": [
                {"source": s, "steps": lag, "bytes": lag * _message_bytes(network, s)}
                for s, lag in plan.delay_lines(name).items()
            ],
            "weight_kib": needs[name].kernel_bits / BITS_PER_KIB if name in needs else 0.0,
            "state_kib": needs[name].state_bits / BITS_PER_KIB if name in needs else 0.0,
            "current": _fullest(headroom, CURRENT, name),
            "sum": _fullest(headroom, SUM, name),
        }
        for name, population in network.populations.items()
    ]


def _message_bytes(network: IntNetwork, name: str) -> int:
    return network.size(name) * message_size(network.populations[name])


def _fullest(headroom: Sequence[Headroom], what: str, name: str) -> dict[str, float] | None:
    """The register of a layer that comes closest to its limit; None where it has none of this kind."""
    found = [h for h in headroom if h.what == what and h.where.split(" -> ")[-1] == name]
    if not found:
        return None
    closest = max(found, key=lambda h: h.share)
    return {"worst": closest.worst, "limit": closest.limit, "share": closest.share}


def print_plan(report: dict[str, Any], console: Console) -> None:
    """The table, and what it adds up to."""
    layers, frames = report["plan"]["layers"], report["network"]["frames"]
    table = Table(
        title=f"Plan: T = {frames} steps a clip; a layer is reset at its first step and every {frames} after it",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("layer", no_wrap=True)
    for column in ("shape", "first step", "delay", "line KiB", "weights KiB", "state KiB", "current", "sum"):
        table.add_column(column, no_wrap=True, justify="right")
    for layer in layers:
        lines = layer["delay_lines"]
        table.add_row(
            layer["name"],
            "x".join(map(str, layer["shape"])),
            str(layer["first_step"]),
            str(max((line["steps"] for line in lines), default="")),
            _kib(sum(line["bytes"] for line in lines) / 1024),
            _kib(layer["weight_kib"]),
            _kib(layer["state_kib"]),
            _share(layer["current"]),
            _share(layer["sum"]),
        )
    print_wide(table, console)
    held = sum(line["bytes"] for layer in layers for line in layer["delay_lines"])
    console.print(
        "delay: longest wait in a synapse, time steps; current: of the 2^17 that a neuron takes, sum: of the 2^23 that "
        "a synapse counts to, both in the worst case that the weights allow"
    )
    console.print(
        f"first result after {layers[-1]['first_step']} + {frames - 1} steps; delay lines hold {held / 1024:,.1f} KiB, "
        f"weights {sum(x['weight_kib'] for x in layers):,.1f} KiB, state {sum(x['state_kib'] for x in layers):,.1f} KiB"
    )


def _kib(kib: float) -> str:
    return f"{kib:,.1f}" if kib else ""


def _share(register: dict[str, float] | None) -> str:
    return "" if register is None else f"{100 * register['share']:.1f} %"


def print_mapping(rows: list[dict[str, Any]], console: Console) -> None:
    """What Loihi 2 holds, kind by kind, and every part that needs a microcode neuron."""
    maps: dict[tuple[str, str], int] = {}
    for row in rows:
        if not row["microcode"]:
            key = (row["what"].split(",")[0].split(" of ")[0], row["process"])
            maps[key] = maps.get(key, 0) + 1
    held = ", ".join(f"{count} {what} ({process})" for (what, process), count in maps.items())
    console.print(f"Loihi 2, with the neurons of Intel's Lava extension: {held or 'nothing'}")
    for row in rows:
        if row["microcode"]:
            console.print(f"  needs a microcode neuron: {row['where']} ({row['what']}): {row['microcode']}")
