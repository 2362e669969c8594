"""The report on a terminal: what a person wants to know at once."""

from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.costs.overheads import CHAINS
from deploy.report.fixed_point import fixed_point_table
from deploy.report.plan import print_mapping, print_plan
from svformer.common.terminal import duration, print_wide, size

CLIPS_SHOWN = 12


def print_estimate(report: dict[str, Any], console: Console) -> None:
    """Fixed point (where the report has it), size, plan and fit of a network that was not run."""
    if layers := report.get("fixed_point"):
        print_wide(fixed_point_table(layers), console)
    network, plan = report["network"], report["plan"]
    console.print(
        f"{network['neurons']:,} neurons, {network['parameters']:,} parameters of {network['weight_bits']} bits, "
        f"{plan['depth']} synapses deep"
    )
    print_plan(report, console)
    for chip, fitted in report["fit"].items():
        console.print(
            f"{chip}: {fitted['cores']} cores, {fitted['chips']} chips (a rule, not a placement: hardware/fit.py)"
        )
        console.print(f"  {fitted['advice']}")
        for obstacle in fitted["obstacles"]:
            console.print(f"  cannot hold: {obstacle}")
    print_mapping(report["mapping"], console)


def print_summary(report: dict[str, Any], console: Console) -> None:
    """Predictions, parity, operations and energy of a run."""
    console.print(_predictions(report))
    _print_accuracy(report["accuracy"], console)
    _print_parity(report, console)
    console.print(_energy(report))
    energy = report["energy"]
    console.print(f"the paper says {energy['paper_mj_per_video']:g} mJ a video. {energy['geometry_difference']}")
    if same := energy["paper"]["at_its_geometry"]:
        console.print(
            f"the paper's network at the rates measured here: {same['mj']:.4g} mJ a view, weighted layers "
            f"({100 * same['ratio_to_paper']:.0f} % of the paper's figure), {same['mj_15_views']:.4g} mJ for 15 views"
        )
    _print_forms(energy, console)
    _print_break_even(energy["break_even"], console)
    _print_fit(report, console)
    timing = report["timing"]
    console.print(
        f"{duration(timing['seconds_per_clip'])} a clip on {report['backend']}, built in "
        f"{duration(timing['build_s'])}, at most {size(1e6 * timing['peak_rss_mb'])} a process"
    )


def _predictions(report: dict[str, Any]) -> Table:
    table = Table("clip", "class", "prediction", "float prediction", title="Clips")
    for clip in report["clips"][:CLIPS_SHOWN]:
        middle = clip["start"] == clip["crop"] == 0.5
        view = "" if middle else f" (start {clip['start']:.2g}, crop {clip['crop']:.2g})"
        table.add_row(clip["source"] + view, clip["label"] or "unknown", clip["prediction"], clip["float_prediction"])
    if len(report["clips"]) > CLIPS_SHOWN:
        table.caption = f"and {len(report['clips']) - CLIPS_SHOWN} more in report.json"
    return table


def _print_accuracy(accuracy: dict[str, Any], console: Console) -> None:
    if "note" in accuracy:
        console.print(f"note: {accuracy['note']}")
        return
    console.print(
        f"top-1 over {accuracy['videos']} videos: float {100 * accuracy['float_top1']:.2f} %, integer "
        f"{100 * accuracy['integer_top1']:.2f} %, deployed {100 * accuracy['deployed_top1']:.2f} %"
    )


def _print_fit(report: dict[str, Any], console: Console) -> None:
    for chip, fitted in report["fit"].items():
        verdict = f"{fitted['cores']} cores, {fitted['chips']} chips"
        if obstacles := fitted["obstacles"]:
            verdict = f"does not fit as it stands, {len(obstacles)} obstacles, first: {obstacles[0]}"
        console.print(f"{chip}: {verdict} (all in the report)")


def _print_parity(report: dict[str, Any], console: Console) -> None:
    exact, rounded = report["parity"]["integer_vs_lava"], report["parity"]["float_vs_integer"]
    if exact["bit_exact"]:
        console.print(
            f"integer interpreter = Lava, bit for bit: {exact['layers']} layers, every time step, "
            f"{exact['spikes_compared']:,} messages"
        )
    console.print(
        f"float and integer: {100 * rounded['spike_match']:.2f} % of the spikes match, same prediction on "
        f"{100 * rounded['top1_agreement']:.1f} % of the clips"
    )
    if rounded["inputs_clipped"]:
        console.print(f"{100 * rounded['inputs_clipped']:.3g} % of the input lay outside the calibrated range, clipped")


def _print_forms(energy: dict[str, Any], console: Console) -> None:
    """What convolutions in a row cost as they were deployed, and as they could be (--merge)."""
    forms = [entry for entry in energy["bill"] if entry["item"] == CHAINS]
    if not forms:
        return
    chips = [energy["models"][chip]["title"] for chip in forms[0]["mj"]]
    table = Table("form", *chips, title=f"{CHAINS.capitalize()}, mJ (--merge)")
    for entry in forms:
        choice = f"{entry['choice']}{' (deployed)' if entry['deployed'] else ''}"
        table.add_row(choice, *(f"{mj:.3g}" if mj else "" for mj in entry["mj"].values()))
    console.print(table)


def _print_break_even(found: dict[str, Any] | None, console: Console) -> None:
    if found is None:
        return
    console.print(
        f"a synapse behind a neuron is used in {100 * found['per_step']:.2f} % of the time steps, "
        f"{found['per_inference']:.3g} times a clip"
    )
    for limit in found["published"]:
        limits = f"{limit['low']:g} to {limit['high']:g}" if limit["low"] < limit["high"] else f"{limit['low']:g}"
        console.print(f"  break-even {limits} {limit['unit']} ({limit['source']}): {limit['verdict']}")


def _energy(report: dict[str, Any]) -> Table:
    totals = report["totals"]
    title = (
        f"Energy of a clip: {totals['synaptic_ops']:,.0f} synaptic operations, {totals['macs']:,.0f} MACs "
        f"of graded messages, {totals['neuron_updates']:,.0f} neuron updates"
    )
    table = Table("chip", "weighted layers, mJ", "everything, mJ", title=title)
    for model in report["energy"]["models"].values():
        if model["mj_per_video"] is None:
            table.add_row(model["title"], "no published energy", "")
        else:
            table.add_row(model["title"], f"{model['weighted_layers_mj']:.4g}", f"{model['mj_per_video']:.4g}")
    return table
