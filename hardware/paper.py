"""The 21 mJ per video of the SVFormer paper, beside what its published rates add up to.

    python -m hardware.paper                            # the ledger of `paper_ledger`, term by term
    python -m hardware.paper --json | jq .recomputed_mj # for scripts

Paper: Yu et al., "SVFormer: A Direct Training Spiking Transformer for Efficient Video Action Recognition",
arXiv 2406.15034.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from hardware.break_even import cost_lines, judged, synapse_use
from hardware.causes import MEMORY, memory_as_one
from hardware.chip_files import load_chip, shipped_chips
from hardware.conventions import ROUNDED_MJ, all_readings, near_the_paper
from hardware.counts import OpCounts
from hardware.energy import PJ_PER_MJ, price
from hardware.models import ChipTime, static_energy
from hardware.operating_point import FrameRate
from hardware.paper_layers import PAPER_TIME_STEPS, load_layers, total
from hardware.paper_ledger import (
    PAPER_ACCURACY,
    PAPER_MJ_PER_VIDEO,
    ledger,
    memory_mj,
    other_readings,
    recomputed_mj,
)
from hardware.shown import CONVENTION, SPIKING_CHIP, shown_in

RATE = FrameRate(fps=30, every=4)  # at which static power is stated: a video's, one of four frames taken
CHIP_CAPTION = (
    "binary, graded: operations of layers with such input; * synaptic operations stand in; range: by all sources"
)


def _ledger_table() -> Table:
    numbers = (Column(heading, justify="right") for heading in ("operations", "pJ", "mJ", "sum mJ", "15 views mJ"))
    table = Table("term", *numbers, title="SVFormer on UCF101, per video, 45 nm FP32")
    running = 0.0
    for term in ledger():
        if term.count:
            running += term.mj
            pj, views = f"{term.unit_pj:.1f}", f"{15 * running:.2f}"
            table.add_row(term.name, f"{term.count:,}", pj, f"{term.mj:.3f}", f"{running:.2f}", views)
    return table


def _chip_table() -> Table:
    """The logged counts with the figures of every chip; a dash where the chip file has no figure."""
    table = Table(title="The same operations on other chips, mJ", caption=CHIP_CAPTION)
    table.add_column("chip", no_wrap=True)
    for heading in ("binary", "graded", "bias", "neuron", "memory", "total", "range"):
        table.add_column(heading, justify="right")
    counts = total(load_layers())
    for chip in map(load_chip, shipped_chips()):
        if chip.energy is None:
            table.add_row(chip.name, *["-"] * 7)
            continue
        energy = price(counts, chip)
        mj = {line.cause: f"{line.pj / PJ_PER_MJ:.2f}{'*' * line.stand_in}" for line in energy.causes}
        memory = memory_as_one(energy.by_cause_mj()).get(MEMORY)
        low, high = energy.range_mj
        others = "-" if low == high else f"{low:.0f} to {high:.0f}"
        shown = (mj.get(cause, "-") for cause in ("synaptic_ops", "graded_macs", "biases", "neuron_updates"))
        table.add_row(chip.name, *shown, f"{memory:.1f}" if memory else "-", f"{energy.total_mj:.2f}", others)
    return table


def _break_even_lines() -> Iterable[str]:
    counts = total(load_layers())
    use = synapse_use(counts, PAPER_TIME_STEPS)
    assert use is not None  # the table has layers with binary input
    yield f"Activity: {use.words} a video."
    for limit in judged(use, PAPER_TIME_STEPS):
        yield f"  {limit.source}, break-even in {limit.unit}:"
        for reading in limit.readings:
            here = f"here {reading.here:.3g}: {reading.verdict}"
            yield f"    if an inference is {reading.inference}: at {reading.limits}; {here}."
    for chip in map(load_chip, shown_in("verdicts")):
        lines = cost_lines(counts, chip)
        assert lines is not None
        yield f"  {chip.title}, from these counts: {lines.verdict}."


def _loihi_line() -> str:
    """Neurons at rest here, where the table has them active."""
    lines = {line.cause: line for line in price(total(load_layers()), load_chip(SPIKING_CHIP)).causes}
    at_rest = lines["neuron_updates"].range_pj[0]
    behind_spikes = (lines["synaptic_ops"].pj + at_rest) / PJ_PER_MJ
    return (
        f"Loihi 1, neurons at rest: {behind_spikes:.1f} mJ behind spikes, "
        f"{behind_spikes + lines['graded_macs'].pj / PJ_PER_MJ:.1f} mJ with all layers as if their input were spikes."
    )


def _static_line() -> str:
    chip, neurons = load_chip(SPIKING_CHIP), sum(layer.neurons for layer in load_layers())
    assert chip.limits is not None
    chips = -(-neurons // (chip.limits.neurons.value * chip.limits.cores.value))
    clip_s = PAPER_TIME_STEPS * RATE.frame_s
    drawn = static_energy(price(OpCounts(), chip), chip, ChipTime(chips=chips, latency_s=clip_s))
    assert drawn is not None
    return (
        f"The {neurons / 1e6:.2f} M neurons alone fill {chips} Loihi 1 chips; at {RATE.fps:g} frames a second, one of "
        f"{RATE.every} taken, those draw {drawn.mj / 1000:.3g} J of static energy a view, whatever is fired."
    )


def facts() -> dict[str, Any]:
    """The ledger for machines, millijoules a video of one view."""
    priced = {chip.name: price(total(load_layers()), chip) for chip in map(load_chip, shipped_chips()) if chip.energy}
    return {
        "paper_mj": PAPER_MJ_PER_VIDEO,
        "recomputed_mj": recomputed_mj(),
        "terms": [{**dataclasses.asdict(term), "mj": term.mj} for term in ledger()],
        "other_readings_mj": other_readings(),
        "chips_mj": {
            name: {"total": found.total_mj, "by_cause": found.by_cause_mj()} for name, found in priced.items()
        },
    }


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The manners of `svformer.common.cli` as far as they apply: this package imports none of the others."""
    summary, examples, source = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m hardware.paper",
        description=summary,
        epilog=f"examples:\n{examples}\n\n{source}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the ledger as JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours; the variable NO_COLOR does the same")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the ledger."""
    arguments = parse_arguments(argv)
    if arguments.json:
        print(json.dumps(facts()))
        return
    console = Console(highlight=False, soft_wrap=True, no_color=arguments.no_color or None)
    counts = total(load_layers())
    console.print(
        f"Dense: {counts.padded_macs:,} MACs per video of one view ({counts.dense_macs:,} without padding). "
        f"At the published rates: {counts.synaptic_ops:,} additions and {counts.macs:,} multiply-accumulates."
    )
    graded = price(counts, load_chip(CONVENTION)).by_cause_mj()["graded_macs"] / recomputed_mj()
    console.print(_ledger_table())
    console.print(
        f"The paper says {PAPER_MJ_PER_VIDEO:g} mJ per video and does not publish the sum behind it. Weighted layers "
        f"alone make {recomputed_mj():.2f} mJ, {graded:.0%} of it in layers whose input is graded. Other readings:"
    )
    for reading, mj in other_readings().items():
        console.print(f"  {mj:6.2f} mJ  {reading}")
    readings = all_readings()
    near, wide = (near_the_paper(readings, within) for within in (ROUNDED_MJ, 0.05 * PAPER_MJ_PER_VIDEO))
    console.print(
        f"Of {len(readings):,} combinations of six conventions {near} round to {PAPER_MJ_PER_VIDEO:g} mJ, {wide} lie "
        "within 5 % of it; none is the natural one, and no match is claimed."
    )
    for views, accuracy in PAPER_ACCURACY.items():
        console.print(f"{accuracy} % top-1, {views} view(s): {views * recomputed_mj():.2f} mJ, weighted layers.")
    console.print(_chip_table())
    behind_spikes, everywhere = memory_mj()
    console.print(
        f"Memory at 8 bits (Lemaire et al. 2022, one memory a layer): {behind_spikes:.0f} mJ behind spikes, "
        f"{everywhere:.0f} mJ with the layers whose input is graded."
    )
    for line in (_loihi_line(), *_break_even_lines(), _static_line()):
        console.print(line)


if __name__ == "__main__":
    main()
