"""The energy part of report.json: cost models, the paper's ledger, break-even, and the bill of deployment."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deploy.costs.overheads import Overhead, overheads
from deploy.execution.deployment import Deployment
from deploy.execution.tally import Tally
from deploy.ir.network import Network as FloatNetwork
from hardware import (
    Chip,
    ChipError,
    ConvGeometry,
    OpCounts,
    Placement,
    activity,
    cost_lines,
    energy_models,
    fit,
    load_chip,
    paper_ledger,
    price,
)
from hardware.break_even import PUBLISHED, verdict
from hardware.fit import BITS_PER_KIB

WITH_MEMORY = "cmos45_lemaire"
BILLED = (paper_ledger.CONVENTION, WITH_MEMORY, "loihi1")  # chips that the items of the bill are priced on
VIEWS = 15  # of the paper's accuracy


def energy(deployment: Deployment, tally: Tally, chips: Sequence[Chip]) -> dict[str, Any]:
    """Energy of the mean clip on every chip, beside the paper's figure."""
    clips = len(tally.clips)
    counts = tally.counts
    by_layer = {name: _mean(found, clips) for name, found in counts.items()}
    total = _mean(sum(counts.values(), OpCounts()), clips)
    models = energy_models(by_layer, chips, placements=placements(deployment, chips))
    before = deployment.unmerged
    weighted_mj = models[paper_ledger.CONVENTION]["weighted_layers_mj"]
    assert weighted_mj is not None  # this chip file has prices
    return {
        "models": models,
        "convention": paper_ledger.CONVENTION,
        "paper_mj_per_video": paper_ledger.PAPER_MJ_PER_VIDEO,
        "ratio_to_paper": weighted_mj / paper_ledger.PAPER_MJ_PER_VIDEO,
        "geometry_difference": _geometry_difference(deployment, before),
        "paper": _beside_the_paper(deployment, tally, total, weighted_mj),
        "break_even": _break_even(total, deployment.plan.frames, chips),
        "bill": [_item(entry) for entry in overheads(deployment.integer, before, deployment.plan, by_layer)],
    }


def _mean(counts: OpCounts, clips: int) -> OpCounts:
    """Counts of the mean clip, rounded to whole operations."""
    return OpCounts(**{name: round(value / clips) for name, value in dataclasses.asdict(counts).items()})


def placements(deployment: Deployment, chips: Sequence[Chip]) -> dict[str, Placement]:
    """Chips that the network takes, kept for a clip in real time: its frames at the graph's time step, back to back."""
    needs = deployment.needs
    latency_s = deployment.plan.frames * float(deployment.graph.metadata["dt"])
    return {
        chip.name: Placement(chips=fit(needs, chip).chips, latency_s=latency_s)
        for chip in chips
        if chip.limits is not None
    }


def _geometry_difference(deployment: Deployment, before: FloatNetwork) -> str:
    """How far the network is from the published one, both before chains are merged."""
    if not _is_svformer(deployment):
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


def _is_svformer(deployment: Deployment) -> bool:
    return deployment.graph.metadata.get("model") == "SVFormer"


def _beside_the_paper(deployment: Deployment, tally: Tally, total: OpCounts, weighted_mj: float) -> dict[str, Any]:
    """The paper's ledger and the measured one, by views; and the paper's network at the rates that were measured."""
    return {
        "ledger": paper_ledger.beside(total),
        "recomputed_mj": paper_ledger.recomputed_mj(),
        "accuracy": {str(views): top1 for views, top1 in paper_ledger.PAPER_ACCURACY.items()},
        "views": {str(views): views * weighted_mj for views in paper_ledger.PAPER_ACCURACY},
        "at_its_geometry": _at_paper_geometry(deployment, tally) if _is_svformer(deployment) else None,
    }


def _at_paper_geometry(deployment: Deployment, tally: Tally) -> dict[str, Any] | None:
    """The ratio to the paper's 21 mJ at equal geometry; None where the layers have other names."""
    try:
        mj = paper_ledger.at_paper_geometry_mj(_paper_rates(deployment, tally))
    except ChipError:
        return None
    return {"mj": mj, "ratio_to_paper": mj / paper_ledger.PAPER_MJ_PER_VIDEO, "mj_15_views": VIEWS * mj}


def _paper_rates(deployment: Deployment, tally: Tally) -> dict[str, float]:
    """Firing rates by the names of the paper's table, where the two halves in front of the head are one layer."""
    steps = len(tally.clips) * deployment.plan.frames
    spikes, values, counts = dict[str, int](), dict[str, int](), tally.counts
    for name in deployment.spiking:
        known_as = "head.plif" if name.startswith("head.plif_") else name
        spikes[known_as] = spikes.get(known_as, 0) + counts[name].spikes
        size = int(np.prod(deployment.integer.populations[name].shape))
        values[known_as] = values.get(known_as, 0) + size
    return {name: spikes[name] / (values[name] * steps) for name in spikes}


def _break_even(total: OpCounts, time_steps: int, chips: Sequence[Chip]) -> dict[str, Any] | None:
    """Activity beside published limits, and what the cost models say; None without a synapse behind a neuron."""
    found = activity(total, time_steps)
    if found is None:
        return None
    lines = {chip.name: cost_lines(total, chip) for chip in chips}
    return {
        "per_step": found.per_step,
        "per_inference": found.per_inference,
        "published": [
            {
                **dataclasses.asdict(limit),
                "measured": found.in_unit_of(limit),
                "verdict": verdict(found.in_unit_of(limit), limit),
                "rates": list(limit.rates(time_steps)),
            }
            for limit in PUBLISHED
        ],
        "models": {
            name: {**dataclasses.asdict(line), "break_even_rate": line.break_even_rate, "verdict": line.verdict}
            for name, line in lines.items()
            if line is not None
        },
    }


def _item(entry: Overhead) -> dict[str, Any]:
    counted: Mapping[str, int] = dataclasses.asdict(entry.counts)
    return {
        "item": entry.item,
        "choice": entry.choice,
        "deployed": entry.deployed,
        "counts": {name: value for name, value in counted.items() if value},
        "memory_kib": entry.memory_bits / BITS_PER_KIB,
        # None where the chip file has no figure for any of it
        "mj": {chip: price(entry.counts, load_chip(chip)).total_mj or None for chip in BILLED},
    }
