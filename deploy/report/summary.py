"""The report on a terminal: what a person wants to know at once."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table

from deploy.execution.backends import title_of
from deploy.gates.predictions import ENOUGH
from deploy.gates.remedies import remedies
from deploy.report import placed_rows, rows, typeset
from deploy.report.clip_rows import silent_layers, undecided
from deploy.report.fixed_point import fixed_point_table
from deploy.report.keys.report import Estimate, Report
from deploy.report.keys.run import ClipSummary, ReferenceSummary
from deploy.report.plan import needs_microcode, print_mapping, print_plan
from svformer.common.terminal import counted, duration, print_wide, size

CLIPS_SHOWN = 12
SHOWN = {
    "count": "spikes over the clip",
    "last": "last time step",
    "mean": "mean over the clip",
    "max": "maximum over the clip",
    "first-spike": "first spike",
}


def print_estimate(report: Estimate, console: Console) -> None:
    """Fixed point (where it was measured), size, plan and fit of a network that was not run."""
    if report.fixed_point:
        print_wide(fixed_point_table(report.fixed_point), console)
    network = report.network
    console.print(
        f"{network.neurons:,} neurons, {network.parameters:,} parameters of {network.weight_bits} bits, "
        f"{counted(report.plan.depth, 'synapse')} deep"
    )
    print_plan(report.plan.layers, network.frames, console)
    for row in rows.fits(report):
        console.print(_spaced(f"{row.chip}: by placement {row.placement}"))
        by_rule = f"{row.size}{row.delays and f'; {row.delays}'}"
        console.print(f"  by the rule of a core for each layer, without the input, {by_rule}")
        console.print(f"  {row.advice}")
        for obstacle in report.fit[row.chip].obstacles:
            console.print(f"  cannot hold: {obstacle}")
    for line in placed_rows.placed_lines(report):
        console.print(_spaced(line))
    print_mapping(report.mapping, console)


def print_summary(report: Report, console: Console) -> None:
    """Predictions, parity, operations and energy of a run; the paper's figures beside those of an SVFormer."""
    console.print(_predictions(report.clips, report.network.readout))
    _print_accuracy(report, console)
    _print_parity(report, console)
    console.print(_energy(report))
    for line in _remarks(report):
        console.print(line)
    _print_placed(report, console)
    if report.is_svformer:
        _print_beside_the_paper(report, console)
    _print_forms(report, console)
    _print_break_even(report, console)
    _print_fit(report, console)
    clips, timing = len(report.clips), report.timing
    if report.kept_clips < clips:
        console.print(f"spikes.h5 holds the first {report.kept_clips} of {clips} clips (--keep-clips all)")
    split = f" in {timing.lava_processes:,} processes" if clips == 1 and timing.lava_processes > 1 else ""
    console.print(
        f"{duration(timing.seconds_per_clip)} a clip on {report.backend}{split}, built in "
        f"{duration(timing.build_s)}, at most {size(1e6 * timing.peak_rss_mb)} a process"
    )
    if report.reference:
        for line in reference_lines(report.reference):
            console.print(line)


def _predictions(clips: tuple[ClipSummary, ...], readout: str) -> Table:
    heads = [Column(head, overflow="fold") for head in ("clip", "class", "prediction", "float prediction")]
    table = Table(*heads, title=f"Clips, by the output's {SHOWN[readout]}")
    for clip in clips[:CLIPS_SHOWN]:
        middle = clip.start == clip.crop == 0.5
        view = "" if middle else f" (start {clip.start:.2g}, crop {clip.crop:.2g})"
        table.add_row(
            clip.source + view, clip.label or "unknown", clip.prediction, clip.float_prediction or "not checked"
        )
    if len(clips) > CLIPS_SHOWN:
        table.caption = f"and {len(clips) - CLIPS_SHOWN} more in report.json"
    return table


def _print_accuracy(report: Report, console: Console) -> None:
    if report.accuracy.note is not None:
        console.print(f"note: {report.accuracy.note}")
    else:
        console.print(_spaced(rows.top1(report)))
    for line in filter(None, (undecided(report), silent_layers(report))):
        console.print(f"warning: {line}")


def _print_fit(report: Report, console: Console) -> None:
    for row in rows.fits(report):
        refused = f"does not fit as it stands, {row.obstacles} (all in the report)"
        console.print(f"{row.chip}: {refused if row.obstacles else _spaced(row.placement)}")
    if line := needs_microcode(report.mapping):
        console.print(line)


def _print_parity(report: Report, console: Console) -> None:
    exact, rounded, clips = report.parity.exact, report.parity.float_vs_integer, len(report.clips)
    checked = report.parity.clips_checked
    if exact and exact.bit_exact:
        console.print(
            f"integer interpreter = {title_of(report.backend)}, bit for bit: {counted(exact.layers, 'layer')}, "
            f"every time step, {exact.spikes_compared:,} messages"
        )
    if checked < clips:
        console.print(
            f"the interpreters checked {checked:,} of {clips:,} clips ({100 * checked / clips:.2g} %, --check), the "
            f"others ran on {title_of(report.backend)} alone"
        )
    timing = report.timing
    if timing.lava_channels:
        console.print(
            f"Lava: {timing.lava_processes:,} processes, {timing.lava_channel_messages:,} values "
            f"through their {counted(timing.lava_channels, 'channel')}"
        )
    console.print(
        f"float and integer: {100 * rounded.spike_match:.2f} % of the spikes match, same prediction on "
        f"{100 * rounded.top1_agreement:.1f} % of the {'clips' if checked == clips else 'checked clips'}"
    )
    if rounded.top1_agreement < ENOUGH:
        console.print(
            f"warning: {100 * (1 - rounded.top1_agreement):.1f} % of the predictions are others than in real numbers; "
            f"{remedies(report.fixed_point, svformer=report.is_svformer)}"
        )
    if rounded.readouts_saturated:
        console.print(
            f"warning: {rounded.readouts_saturated:,} messages of the readout stand at the end of its register, so "
            "results are too small; choose scales by clips that reach as far (--calibrate FILES)"
        )
    if rounded.inputs_clipped:
        console.print(f"{100 * rounded.inputs_clipped:.3g} % of the input lay outside the calibrated range, clipped")


def _energy(report: Report) -> Table:
    totals = report.totals
    title = (
        f"Energy of a clip: {totals.synaptic_ops:,.0f} synaptic operations, {totals.macs:,.0f} MACs "
        f"of graded messages, {totals.neuron_updates:,.0f} neuron updates"
    )
    heads = ("chip", "weighted layers, mJ", "all that has a figure, mJ", "90 % of draws, mJ")
    table = Table(*heads, title=title)
    for row in rows.models(report.energy, _millijoule(4)):
        between = " to ".join(f"{float(mj):.2g}" for mj in row.between.split(" to ") if mj)
        table.add_row(row.title, row.weighted, row.everything, between)
    table.caption = "draws vary every constant within its sources: they need not hold the total (docs/energy.md)"
    return table


def _remarks(report: Report) -> Iterable[str]:
    """What the totals must not be read without, the same remarks once."""
    chips: dict[str, list[str]] = {}
    for row in rows.models(report.energy):
        chips.setdefault(row.remarks, []).append(row.title)
    yield from (f"  {', '.join(titles)}: {remarks}" for remarks, titles in chips.items() if remarks)


def _print_placed(report: Report, console: Console) -> None:
    """Energy and time on cores, and what chips draw at the rate of the frames."""
    for line in placed_rows.placed_lines(report):
        console.print(_spaced(line))
    for row in placed_rows.points(report):
        if row.point.static_mj is not None:
            console.print(_spaced(placed_rows.at_rate(row)))


def _print_beside_the_paper(report: Report, console: Console) -> None:
    energy, same = report.energy, report.energy.paper.at_its_geometry
    console.print(f"the paper says {energy.paper_mj_per_video:g} mJ a video. {energy.geometry_difference}")
    if same:
        console.print(
            f"the paper's network at the rates counted here: {same.mj:.4g} mJ a view, weighted layers; at the rates "
            f"that it has {energy.paper.recomputed_mj:.4g}, without a spike {same.mj_without_spikes:.4g}, with one "
            f"everywhere {same.mj_at_every_step:.4g}; {same.mj_15_views:.4g} mJ for 15 views"
        )


def _print_forms(report: Report, console: Console) -> None:
    """What a clip costs with convolutions in a row as they were deployed, and as they could be (--merge)."""
    forms = rows.forms(report.energy, _millijoule(3))
    if not forms.rows:
        return
    table = Table(*forms.heads, title="All of a clip, in every form, mJ")
    for row in forms.rows:
        table.add_row(*row)
    console.print(table)


def _print_break_even(report: Report, console: Console) -> None:
    found = report.energy.break_even
    if found is None:
        return
    console.print(f"{found.words} a clip")
    for limit in found.published:
        console.print(f"  break-even by {limit.source}: {limit.verdict}")


def reference_lines(reference: ReferenceSummary) -> Iterable[str]:
    """The spikes of another simulator beside those of this run."""
    for name in reference.unmatched:
        yield f"reference: the network has no layer {name}"
    for layer in reference.layers:
        matches = f"float {100 * layer.float_match:.2f} %, deployed {100 * layer.deployed_match:.2f} %"
        first = layer.float_first_difference
        where = "" if first is None else f"; float differs first at clip, step, neuron {list(first)}, counted from 0"
        yield f"reference {layer.name}: of {layer.compared:,} neuron states the same: {matches}{where}"


def _millijoule(digits: int) -> rows.Write:
    """Energies of a column have one unit on a terminal, so that they can be compared."""
    return lambda mj: "" if mj is None else f"{mj:.{digits}g}"


def _spaced(text: str) -> str:
    """The text with ordinary spaces: a terminal's font may lack the narrow one."""
    return text.replace(typeset.NARROW, " ")
