"""Every chip at the rate of the frames: how long a clip keeps it, and what it draws meanwhile."""

from collections.abc import Mapping, Sequence

from deploy.costs.placing import PlacedClips
from deploy.execution.deployment import Deployment
from deploy.report.placed import spread_of
from hardware import Chip, ChipTime, EnergyModel, fit
from hardware.operating_point import FrameRate, OperatingPoint, operating_point
from hardware.spread import Order

VIDEO_FPS = 30.0  # frames a second, where nothing else is said
TRANSPORT = "spike_transport"  # the cause of the ledger that messages are
TRAFFIC = ("messages", "hops")  # units of a placed network


def frame_rate(deployment: Deployment, fps: float | None = None) -> FrameRate:
    """How often frames enter: of a video one of as many as the network was trained on; of anything else all.

    Without `fps` a video has `VIDEO_FPS` a second, and anything else a frame in every time step of the graph.
    """
    wanted = deployment.input_format
    if wanted.pixels:
        return FrameRate(fps=fps or VIDEO_FPS, every=wanted.stride)
    return FrameRate(fps=fps or 1 / float(deployment.graph.metadata["dt"]))


def step_times(placed: Mapping[str, PlacedClips], chips: Sequence[Chip]) -> dict[str, float]:
    """By chip with times: seconds of the mean time step, at least, by the first source."""
    return {
        chip.name: placed[chip.name].seconds[chip.events[0].name] / placed[chip.name].steps
        for chip in chips
        if chip.name in placed
    }


def chip_times(
    deployment: Deployment,
    chips: Sequence[Chip],
    rate: FrameRate,
    *,
    steps: float,
    step_s: Mapping[str, float],
    order: Order,
) -> dict[str, ChipTime]:
    """By chip with limits: how many the network takes, and how long a clip of so many `steps` keeps them."""
    return {
        chip.name: ChipTime(
            chips=_chips(deployment, chip, order, placed=chip.name in step_s),
            latency_s=steps * max(rate.frame_s, step_s.get(chip.name, 0.0)),
        )
        for chip in chips
        if chip.limits is not None
    }


def operating_points(
    deployment: Deployment,
    chips: Sequence[Chip],
    rate: FrameRate,
    *,
    steps: float,
    step_s: Mapping[str, float],
    held: Mapping[str, ChipTime],
    models: Mapping[str, EnergyModel],
    placed: Mapping[str, PlacedClips],
) -> dict[str, OperatingPoint]:
    """Every chip that has a figure for energy or time."""
    found = {}
    for chip in chips:
        dynamic_mj, traffic_mj = _parts(chip, models[chip.name], placed.get(chip.name))
        found[chip.name] = operating_point(
            chip,
            rate,
            steps=steps,
            depth=deployment.plan.depth,
            chips=held[chip.name].chips if chip.name in held else None,
            dynamic_mj=dynamic_mj,
            traffic_mj=traffic_mj,
            step_s=step_s.get(chip.name),
        )
    return found


def _parts(chip: Chip, model: EnergyModel, clips: PlacedClips | None) -> tuple[float | None, float | None]:
    """Energy of neurons and synapses, and of messages: as placed, else by the ledger; None where there is no figure."""
    if clips is not None:
        units = clips.events.times(1 / clips.clips).energy_mj(chip.events[0])
        traffic_mj = sum(units[unit] for unit in TRAFFIC)
        return sum(units.values()) - traffic_mj, traffic_mj
    if model.mj_per_view is None:
        return None, None
    transport_mj = model.breakdown.get(TRANSPORT)
    return model.mj_per_view - (transport_mj or 0), transport_mj


def _chips(deployment: Deployment, chip: Chip, order: Order, *, placed: bool) -> int:
    return spread_of(deployment, chip, order).chips if placed else fit(deployment.resources, chip).chips
