"""The report as a few Markdown tables, to paste into a paper or an issue."""

from collections.abc import Iterable, Sequence
from typing import Any

from deploy.report import typeset

Cells = Sequence[str]

COUNTS = {
    "synaptic_ops": "synaptic operations",
    "macs": "MACs of graded messages",
    "relay_adds": "shortcut currents added",
    "neuron_updates": "neuron updates",
    "spikes": "spikes sent",
    "dense_macs": "dense equivalent, MACs",
}


def markdown(report: dict[str, Any]) -> str:
    """Counts, energy by cost model, the paper's ledger, break-even and fit of the mean clip."""
    energy = report["energy"]
    parts = (
        _what_ran(report),
        _table(("operation", "per clip"), _counts(report["totals"])),
        _table(("cost model", "weighted layers", "everything", "by all sources"), _models(energy)),
        _table(("45 nm FP32", "paper, mJ", "sum", "here, mJ", "sum"), _ledger(energy)),
        f"The paper says {energy['paper_mj_per_video']:g} mJ per video and does not publish the sum behind it; no "
        f"match is claimed. {energy['geometry_difference']}",
        *_break_even(energy["break_even"]),
        *_fit(report["fit"]),
    )
    return "\n\n".join(parts)


def _what_ran(report: dict[str, Any]) -> str:
    network, clips = report["network"], len(report["clips"])
    ran_on = "Lava" if report["backend"] == "lava" else "the integer interpreter"
    return (
        f"**{network['name']}**: {network['neurons']:,} neurons, {network['parameters']:,} parameters of "
        f"{network['weight_bits']} bits, T = {network['frames']}; the mean of {clips} clip(s) on {ran_on}."
    )


def _counts(totals: dict[str, float]) -> Iterable[Cells]:
    for key, name in COUNTS.items():
        yield name, typeset.count(totals[key])


def _models(energy: dict[str, Any]) -> Iterable[Cells]:
    for model in energy["models"].values():
        if model["mj_per_video"] is None:
            yield model["title"], "no published energy", "", ""
            continue
        low, high = model["range_mj"]
        others = "" if low == high else f"{typeset.energy(low)} to {typeset.energy(high)}"
        yield model["title"], typeset.energy(model["weighted_layers_mj"]), typeset.energy(model["mj_per_video"]), others


def _ledger(energy: dict[str, Any]) -> Iterable[Cells]:
    for row in energy["paper"]["ledger"]:
        numbers = (row[f"{who}_{what}"] for who in ("paper", "measured") for what in ("mj", "sum_mj"))
        yield row["term"], *(f"{mj:.4g}" for mj in numbers)


def _break_even(found: dict[str, Any] | None) -> Iterable[str]:
    if found is None:
        return
    yield (
        f"A synapse behind a neuron is used in {found['per_step']:.2%} of the time steps, "
        f"{found['per_inference']:.2f} times a clip."
    )
    yield _table(("break-even", "limit", "here", "so"), (_limit(limit) for limit in found["published"]))


def _limit(limit: dict[str, Any]) -> Cells:
    low, high = limit["low"], limit["high"]
    limits = f"{low:g} to {high:g}" if low < high else f"{low:g}"
    return limit["source"], f"{limits} {limit['unit']}", f"{limit['measured']:.3g}", limit["verdict"]


def _fit(fit: dict[str, Any]) -> Iterable[str]:
    for chip, fitted in fit.items():
        obstacles = len(fitted["obstacles"])
        yield (
            f"{chip}: {fitted['cores']:,} cores, {fitted['chips']:,} chips by a simple rule, {obstacles} obstacles. "
            f"{fitted['advice']}."
        )


def _table(heads: Cells, rows: Iterable[Cells]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
