"""The network on the cores of chips with times, as report.json has it."""

from collections.abc import Mapping, Sequence

from deploy.costs.placing import SLOWEST, MoreCores, PlacedClips
from deploy.execution.deployment import Deployment
from deploy.report.keys.placed import BySource, PlacedSummary, SlowLayer
from hardware import Chip
from hardware.more_cores import WithCores
from hardware.spread import Order, Spread, spread
from hardware.unit_costs import UnitCosts

NOTES = (
    "every time is a lower bound: the busiest core of each time step and the barrier, without waiting in the mesh; "
    "SANA-FE's models of waiting lie 4 to 62 % above it and disagree with each other",
    "nobody measured this network on the chip; the placement follows one rule and is no optimum",
    "graded values and attention, where a chip has binary spikes alone, stand in as spikes and as one synapse for each "
    "q, k and v spike",
    "links between chips, host, input and output are left out, and the axons of a core are not limited",
    "what a delay would hand on behind the end of a clip is counted",
)
OF_RATES = (
    "no clip was run: neurons fire at the rates of the calibration clips, evenly; the input and graded values are "
    "taken to be sent at every time step"
)


def placed_chips(
    deployment: Deployment,
    clips: Mapping[str, PlacedClips],
    chips: Sequence[Chip],
    order: Order,
    *,
    of_rates: bool,
) -> dict[str, PlacedSummary]:
    """By chip with times: events, energy and time of the mean clip; `clips` are what all of them come to."""
    return {
        chip.name: _summary(deployment, chip, clips[chip.name], order, of_rates=of_rates)
        for chip in chips
        if chip.name in clips
    }


def spread_of(deployment: Deployment, chip: Chip, order: Order) -> Spread:
    """The cores of every population."""
    entries = {deployment.integer.input_name: deployment.integer.input.shape}
    return spread(deployment.resources, entries, chip, order)


def _summary(deployment: Deployment, chip: Chip, clips: PlacedClips, order: Order, *, of_rates: bool) -> PlacedSummary:
    found, mean = spread_of(deployment, chip, order), clips.events.times(1 / clips.clips)
    depth = deployment.plan.depth
    sources = [_by_source(case, clips, depth) for costs in chip.events for case in costs.cases]
    energies, times = [source.mj for source in sources], [source.clip_s for source in sources]
    return PlacedSummary(
        title=chip.title,
        order=order,
        of="rates" if of_rates else "spikes",
        cores=found.cores,
        input_cores=found.numbers[deployment.integer.input_name],
        chips=found.chips,
        steps=clips.steps / clips.clips,
        synapses=mean.synapses,
        updates=mean.updates,
        spikes=mean.spikes,
        messages=mean.messages,
        between_chips=mean.between_chips,
        hops=mean.hops_east_west + mean.hops_north_south,
        sources=tuple(sources),
        range_mj=(min(energies), max(energies)),
        range_clip_s=(min(times), max(times)),
        longest_step_s=clips.longest_step_s,
        slowest=_slowest(clips, found),
        now=clips.more.now if clips.more else None,
        filled=clips.more.filled if clips.more else None,
        notes=(*NOTES, OF_RATES) if of_rates else NOTES,
    )


def _by_source(costs: UnitCosts, clips: PlacedClips, depth: int) -> BySource:
    units = clips.events.times(1 / clips.clips).energy_mj(costs)
    clip_s, steps = clips.seconds[costs.name] / clips.clips, clips.steps / clips.clips
    return BySource(
        name=costs.name,
        source=costs.origin,
        units=units,
        mj=sum(units.values()),
        clip_s=clip_s,
        first_result_s=(depth + steps) * clip_s / steps,
    )


def _slowest(clips: PlacedClips, found: Spread) -> tuple[SlowLayer, ...]:
    layers = sorted(clips.layer_s, key=lambda name: -clips.layer_s[name])[:SLOWEST]
    return tuple(
        SlowLayer(
            layer=name,
            cores=found.numbers[name],
            step_s=clips.layer_s[name] / clips.steps,
            one_more=_one_more(clips.more, name),
        )
        for name in layers
    )


def _one_more(more: MoreCores | None, name: str) -> WithCores | None:
    return next((found for found in more.one_more if found.layer == name), None) if more else None
