"""The report as a few Markdown tables, to paste into a paper or an issue."""

from collections.abc import Iterable, Sequence
from typing import Any

from deploy.report import typeset

Cells = Sequence[str]

COUNTS = {
    "synaptic_ops": "synaptic operations",
    "macs": "MACs of graded messages",
    "attention_coincidences": "attention, coincidences of K^T V",
    "attention_gated_adds": "attention, additions of Q (K^T V)",
    "relay_adds": "shortcut currents added",
    "gain_macs": "gains of time steps",
    "bias_adds": "biases",
    "neuron_updates": "neuron updates",
    "spikes": "spikes sent",
    "graded_messages": "graded messages sent",
    "traffic_bits": "bits between layers",
    "parameter_reads": "parameters read",
    "state_reads": "potentials and sums read",
    "state_writes": "potentials and sums written",
    "dense_macs": "dense equivalent, MACs",
}


def markdown(report: dict[str, Any]) -> str:
    """Counts, energy by cost model, the paper's ledger, the bill, break-even and fit of the mean clip."""
    energy = report["energy"]
    parts = (
        _what_ran(report),
        _table(("operation", "per clip"), _counts(report["totals"])),
        _table(("cost model", "weighted layers", "everything", "by all sources", "with static power"), _models(energy)),
        _table(("45 nm FP32", "paper, mJ", "sum", "here, mJ", "sum"), _ledger(energy)),
        f"The paper says {energy['paper_mj_per_video']:g} mJ per video and does not publish the sum behind it; no "
        f"match is claimed. {energy['geometry_difference']}",
        *_views(energy["paper"], energy["ratio_to_paper"]),
        *_bill(energy),
        *_break_even(energy["break_even"]),
        *_fit(report["fit"]),
    )
    return "\n\n".join(parts)


def _what_ran(report: dict[str, Any]) -> str:
    network, clips = report["network"], len(report["clips"])
    ran_on = "Lava" if report["backend"] == "lava" else "the integer interpreter"
    return (
        f"**{network['name']}**: {network['neurons']:,} neurons, {network['parameters']:,} parameters of "
        f"{network['weight_bits']} bits, T = {network['frames']}; "
        f"the mean of {typeset.plural(clips, 'clip')} on {ran_on}."
    )


def _counts(totals: dict[str, float]) -> Iterable[Cells]:
    for key, name in COUNTS.items():
        yield name, typeset.count(totals[key])


def _models(energy: dict[str, Any]) -> Iterable[Cells]:
    for model in energy["models"].values():
        if model["mj_per_video"] is None:
            yield model["title"], "no published energy", "", "", ""
            continue
        low, high = model["range_mj"]
        others = "" if low == high else f"{typeset.energy(low)} to {typeset.energy(high)}"
        weighted, everything = typeset.energy(model["weighted_layers_mj"]), typeset.energy(model["mj_per_video"])
        yield model["title"], weighted, everything, others, _static(model["static"])


def _static(static: dict[str, Any] | None) -> str:
    if static is None:
        return ""
    placed = f"{typeset.plural(static['chips'], 'chip')} for {1000 * static['latency_s']:g} ms"
    return f"{typeset.energy(static['total_mj'])} ({placed})"


def _ledger(energy: dict[str, Any]) -> Iterable[Cells]:
    for row in energy["paper"]["ledger"]:
        numbers = (row[f"{who}_{what}"] for who in ("paper", "measured") for what in ("mj", "sum_mj"))
        yield row["term"], *(f"{mj:.4g}" for mj in numbers)


def _views(paper: dict[str, Any], ratio: float) -> Iterable[str]:
    """What is claimed for one view and for fifteen, weighted layers."""
    heads = [
        "weighted layers, mJ",
        *(f"{typeset.plural(int(views), 'view')}, {top1} % in the paper" for views, top1 in paper["accuracy"].items()),
    ]
    rows = [
        ["paper's network", *(f"{int(views) * paper['recomputed_mj']:.4g}" for views in paper["accuracy"])],
        ["this network", *(f"{mj:.4g}" for mj in paper["views"].values())],
    ]
    same = paper["at_its_geometry"]
    if same:
        rows.append(["paper's network at the rates measured here", f"{same['mj']:.4g}", f"{same['mj_15_views']:.4g}"])
    yield _table(heads, rows)
    at_its_geometry = f"; at the paper's geometry {same['ratio_to_paper']:.1%}" if same else ""
    yield f"One view takes {ratio:.2%} of the paper's figure{at_its_geometry}."


def _bill(energy: dict[str, Any]) -> Iterable[str]:
    """What conventions leave out, and what could be deployed instead."""
    if not energy["bill"]:
        return
    chips = [energy["models"][chip]["title"] for chip in energy["bill"][0]["mj"]]
    yield _table(("bill of deployment", "choice", "KiB stored", *chips), (_item(entry) for entry in energy["bill"]))


def _item(entry: dict[str, Any]) -> Cells:
    choice = f"{entry['choice']} ({'deployed' if entry['deployed'] else 'instead'})"
    priced = (typeset.energy(mj) for mj in entry["mj"].values())
    return entry["item"], choice, typeset.significant(entry["memory_kib"]), *priced


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
            f"{chip}: {typeset.plural(fitted['cores'], 'core')}, {typeset.plural(fitted['chips'], 'chip')} by a simple "
            f"rule, {typeset.plural(obstacles, 'obstacle')}. "
            f"{fitted['advice']}."
        )


def _table(heads: Cells, rows: Iterable[Cells]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
