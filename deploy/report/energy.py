"""The energy part of report.json: cost models, the paper's ledger, break-even, and the bill of deployment."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from deploy.costs.overheads import Overhead, chip_form_costs, overheads
from deploy.execution.deployment import Deployment
from deploy.execution.tally import Tally
from deploy.ir.model import is_svformer
from deploy.ir.network import Network as FloatNetwork
from deploy.passes.schedule import schedule
from deploy.report.keys.energy import (
    AtPaperGeometry,
    BillEntry,
    BreakEven,
    EnergySummary,
    PaperComparison,
)
from deploy.report.operating_points import chip_times, frame_rate, operating_points, step_times
from hardware import (
    Chip,
    ChipError,
    ConvGeometry,
    OpCounts,
    cost_lines,
    energy_models,
    fit,
    load_chip,
    paper_ledger,
    price,
    synapse_use,
)
from hardware.break_even import judged
from hardware.resources import BITS_PER_KIB
from hardware.shown import CONVENTION, shown_in
from hardware.spread import Order

VIEWS = 15  # views of a video by which the paper states its best accuracy


def energy(
    deployment: Deployment,
    tally: Tally,
    chips: Sequence[Chip],
    *,
    fps: float | None = None,
    order: Order = "pixel",
) -> EnergySummary:
    """Energy of the mean clip on every chip, beside the paper's figure.

    `fps` are frames of a video a second (`deploy.report.operating_points.frame_rate`), `order` how the network was
    placed where `tally.placed` says so.
    """
    clips = len(tally.clips)
    counts = tally.counts
    by_layer = {name: found.mean(clips) for name, found in counts.items()}
    total = sum(counts.values(), OpCounts()).mean(clips)
    steps = tally.frames(deployment.plan.frames) / clips
    views = clips / len({result.source.path for result in tally.clips})
    rate, step_s = frame_rate(deployment, fps), step_times(tally.placed, chips)
    held = chip_times(deployment, chips, rate, steps=steps, step_s=step_s, order=order)
    models = energy_models(
        by_layer,
        chips,
        held=held,
        views=views,
        obstacles={chip.name: _obstacles(deployment, chip) for chip in chips if chip.limits is not None},
        by_clip=[result.counts for result in tally.clips],
    )
    before = deployment.unmerged
    weighted_mj = models[CONVENTION].weighted_layers_mj
    assert weighted_mj is not None  # this chip file has prices
    return EnergySummary(
        models=models,
        operating_points=operating_points(
            deployment, chips, rate, steps=steps, step_s=step_s, held=held, models=models, placed=tally.placed
        ),
        convention=CONVENTION,
        paper_mj_per_video=paper_ledger.PAPER_MJ_PER_VIDEO,
        ratio_to_paper=views * weighted_mj / paper_ledger.PAPER_MJ_PER_VIDEO,
        geometry_difference=_geometry_difference(deployment, before),
        paper=_beside_the_paper(deployment, tally, total.rounded(), weighted_mj),
        break_even=_break_even(total.rounded(), steps, chips),
        bill=tuple(map(_entry, _bill(deployment, tally))),
    )


def _obstacles(deployment: Deployment, chip: Chip) -> int:
    return len(fit(deployment.resources, chip).obstacles)


def _bill(deployment: Deployment, tally: Tally) -> list[Overhead]:
    """What deployment adds to the fused network, and what the chip form adds to that; whole operations of a layer."""
    by_layer = {name: found.mean(len(tally.clips)).rounded() for name, found in tally.counts.items()}
    if deployment.form == "fused":
        return overheads(deployment.fused, deployment.unmerged, deployment.plan, by_layer)
    fused = {name: found.mean(len(tally.clips)).rounded() for name, found in tally.fused.items()}
    before = overheads(deployment.fused, deployment.unmerged, schedule(deployment.fused), fused)
    return [*before, *chip_form_costs(deployment.integer, fused, by_layer)]


def _geometry_difference(deployment: Deployment, before: FloatNetwork) -> str:
    """How far the network is from the published one, both before chains are merged."""
    if not is_svformer(deployment.graph):
        return "This network is not SVFormer: the paper's figure stands here for scale only."
    graph, frames = deployment.graph, deployment.plan.frames
    fields = [getattr(node, name, None) for node in graph.nodes.values() for name in ("weight", "gain", "bias")]
    height, width = deployment.input_format.shape[1:3]
    return paper_ledger.geometry_difference(
        paper_ledger.NetworkSize(
            image_size=(height, width),
            time_steps=frames,
            parameters=sum(values.size for values in fields if values is not None),
            padded_macs=sum(
                c.operation.geometry.padded_macs() * (frames if not c.delay else frames - c.delay)
                for c in before.connections
                if isinstance(c.operation.geometry, ConvGeometry)
            ),
        )
    )


def _beside_the_paper(deployment: Deployment, tally: Tally, total: OpCounts, weighted_mj: float) -> PaperComparison:
    """The paper's ledger and that of this run, by views; and the paper's network at the rates that were counted."""
    return PaperComparison(
        ledger=paper_ledger.beside(total),
        recomputed_mj=paper_ledger.recomputed_mj(),
        accuracy={str(views): top1 for views, top1 in paper_ledger.PAPER_ACCURACY.items()},
        views={str(views): views * weighted_mj for views in paper_ledger.PAPER_ACCURACY},
        at_its_geometry=_at_paper_geometry(deployment, tally) if is_svformer(deployment.graph) else None,
    )


def _at_paper_geometry(deployment: Deployment, tally: Tally) -> AtPaperGeometry | None:
    """The paper's network at the rates counted here; None where the layers have other names."""
    try:
        mj = paper_ledger.at_paper_geometry_mj(_paper_rates(deployment, tally))
    except ChipError:
        return None
    none, every = paper_ledger.span_of_rates()
    return AtPaperGeometry(mj=mj, mj_without_spikes=none, mj_at_every_step=every, mj_15_views=VIEWS * mj)


def _paper_rates(deployment: Deployment, tally: Tally) -> dict[str, float]:
    """Firing rates by the names of the paper's table, where the two halves in front of the head are one layer."""
    steps = tally.frames(deployment.plan.frames)
    spikes, values, counts = dict[str, int](), dict[str, int](), tally.counts
    for name in deployment.spiking:
        known_as = "head.plif" if name.startswith("head.plif_") else name
        spikes[known_as] = spikes.get(known_as, 0) + counts[name].spikes
        size = int(np.prod(deployment.integer.populations[name].shape))
        values[known_as] = values.get(known_as, 0) + size
    return {name: spikes[name] / (values[name] * steps) for name in spikes}


def _break_even(total: OpCounts, time_steps: float, chips: Sequence[Chip]) -> BreakEven | None:
    """Published limits and what the cost models say; None without a synapse behind a neuron."""
    use = synapse_use(total, time_steps)
    if use is None:
        return None
    lines = {chip.name: cost_lines(total, chip) for chip in chips}
    return BreakEven(
        **vars(use),
        published=judged(use, time_steps),
        models={name: line for name, line in lines.items() if line is not None},
    )


def _entry(found: Overhead) -> BillEntry:
    counted = dataclasses.asdict(found.counts)
    return BillEntry(
        item=found.item,
        choice=found.choice,
        deployed=found.deployed,
        counts={name: value for name, value in counted.items() if value},
        memory_kib=found.memory_bits / BITS_PER_KIB,
        mj={chip: price(found.counts, load_chip(chip)).total_mj or None for chip in shown_in("bill")},
    )
