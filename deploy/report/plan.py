"""The plan as a table: when each layer sees the first frame, what its delay lines and weights hold, how full it can be.

Bytes of delay lines are those of the CPU backend (a byte a spike, four a graded message); weights and potentials are
in bits of the chip, a kernel stored once however many positions share it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.execution.memory import message_size
from deploy.ir.chip import SYNAPSES
from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import CURRENT, SUM, Headroom
from deploy.ir.plan import Plan
from deploy.report.keys.network import DelayLine, MappedPart, PlannedLayer, RegisterShare
from hardware import LayerResources
from hardware.resources import BITS_PER_KIB
from svformer.common.terminal import counted, print_wide

RESHAPED = ("attention", "graded relay", "gain", "product", "max pool")  # parts that the chip form makes of others


def planned_layers(
    network: IntNetwork, plan: Plan, headroom: Sequence[Headroom], resources: Iterable[LayerResources]
) -> tuple[PlannedLayer, ...]:
    """Every population in the plan, in order of execution; `resources` are what the layers ask of a chip."""
    asked = {layer.name: layer for layer in resources}
    return tuple(
        PlannedLayer(
            name=name,
            kind=population.kind,
            shape=population.shape,
            first_step=plan.first_step(name),
            delay_lines=tuple(
                DelayLine(source=source, steps=lag, bytes=lag * _message_bytes(network, source))
                for source, lag in plan.delay_lines(name).items()
            ),
            weight_kib=asked[name].kernel_bits / BITS_PER_KIB if name in asked else 0.0,
            state_kib=asked[name].state_bits / BITS_PER_KIB if name in asked else 0.0,
            current=_fullest(headroom, CURRENT, name),
            sum=_fullest(headroom, SUM, name),
        )
        for name, population in network.populations.items()
    )


def _message_bytes(network: IntNetwork, name: str) -> int:
    return network.size(name) * message_size(network.populations[name])


def _fullest(headroom: Sequence[Headroom], what: str, name: str) -> RegisterShare | None:
    """The register of a layer that comes closest to its limit; None where it has none of this kind."""
    found = [h for h in headroom if h.what == what and h.where.split(" -> ")[-1] == name]
    if not found:
        return None
    closest = max(found, key=lambda h: h.share)
    return RegisterShare(worst=closest.worst, limit=closest.limit, share=closest.share)


def print_plan(layers: Sequence[PlannedLayer], frames: int, console: Console) -> None:
    """The table for clips of `frames` time steps, and what it adds up to."""
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
        table.add_row(
            layer.name,
            "x".join(map(str, layer.shape)),
            str(layer.first_step),
            str(max((line.steps for line in layer.delay_lines), default="")),
            _kib(_held_bytes(layer) / 1024),
            _kib(layer.weight_kib),
            _kib(layer.state_kib),
            _share(layer.current),
            _share(layer.sum),
        )
    print_wide(table, console)
    console.print(
        "delay: longest wait in a synapse, time steps; current: of the 2^17 that a neuron takes, sum: of the 2^23 that "
        "a synapse counts to, both in the worst case that the weights allow"
    )
    console.print(
        f"a clip takes {layers[-1].first_step + frames - 1} time steps, on a chip one step each: "
        f"{layers[-1].first_step} until its first frame is through, then {counted(frames - 1, 'frame')}; "
        f"delay lines hold {sum(map(_held_bytes, layers)) / 1024:,.1f} KiB, "
        f"weights {sum(x.weight_kib for x in layers):,.1f} KiB, state {sum(x.state_kib for x in layers):,.1f} KiB"
    )


def _held_bytes(layer: PlannedLayer) -> int:
    return sum(line.bytes for line in layer.delay_lines)


def _kib(kib: float) -> str:
    return f"{kib:,.1f}" if kib else ""


def _share(register: RegisterShare | None) -> str:
    return "" if register is None else f"{100 * register.share:.1f} %"


def print_mapping(parts: Iterable[MappedPart], console: Console) -> None:
    """What Loihi 2 holds, kind by kind, and every part that needs a microcode neuron."""
    parts = list(parts)
    missing = [part for part in parts if part.microcode]
    neurons: Counter[tuple[str, str]] = Counter()
    synapses: Counter[tuple[str, str]] = Counter()
    for part in (part for part in parts if not part.microcode):
        kind = part.what.split(",")[0].split(" of ")[0], part.process
        if part.process in SYNAPSES:
            synapses[kind] += 1
        else:
            neurons[kind] += part.neurons
    console.print(f"Loihi 2, by the processes of Lava: {counted(len(missing), 'obstacle')}")
    if neurons:
        console.print(f"  {_kinds(neurons)}, in all {sum(neurons.values()):,} neurons")
    if synapses:
        console.print(f"  {_kinds(synapses)}, in all {sum(synapses.values()):,} connections")
    for part in missing:
        console.print(f"  needs a microcode neuron: {part.where} ({part.what}): {part.microcode}")
    if missing and all(part.what.startswith(RESHAPED) for part in missing):
        console.print("  attention, biases of relays and wide factors can be made of these neurons: --form chip")


def needs_microcode(parts: Iterable[MappedPart]) -> str:
    """How many parts no process of Loihi 2 holds, and the first; empty where there are none."""
    missing = [part for part in parts if part.microcode]
    if not missing:
        return ""
    first = missing[0]
    return (
        f"by the processes of Lava {counted(len(missing), 'obstacle')} on Loihi 2, first: {first.where} ({first.what}) "
        f"needs a microcode neuron: {first.microcode}"
    )


def _kinds(found: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{number:,} {what} ({process})" for (what, process), number in found.most_common())
