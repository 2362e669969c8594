"""A network at work at the rate of its frames: time, latency, energy with what the chips draw meanwhile, per clip.

Every frame that enters is a time step. With t the time between two of them, s the time of a step (at least, by the
busiest core), T the steps of a clip and d the synapses on the longest path (docs/energy.md):

    clip at the rate     T max(t, s)                       static energy    chips x power x T max(t, s)
    rate reachable       1 / s                             first result     (d + T) s, all frames at hand
    latency at the rate  d max(t, s), behind the last frame
    energy-delay product (dynamic + traffic + static in T s) x (d + T) s

Host, input and output are in none of these: no source says what they take.
"""

from dataclasses import dataclass, field

from hardware.chip import Chip
from hardware.errors import ChipError
from hardware.keys import key

UNKNOWN = ("host", "input and output")


@dataclass(frozen=True, kw_only=True)
class FrameRate:
    """How often frames enter: the network takes one of `every` frames of a video with so many a second."""

    fps: float = field(metadata=key("frames of the video, or time steps where there is no video", "1/s"))
    every: int = field(default=1, metadata=key("the network takes one of so many frames"))

    def __post_init__(self) -> None:
        if self.fps <= 0 or self.every < 1:
            raise ChipError(f"{self.fps:g} frames a second, one of {self.every} taken; allowed: more than 0, 1 or more")

    @property
    def frame_s(self) -> float:
        """Seconds between two frames that enter."""
        return self.every / self.fps


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a placed network is at its fastest: lower bounds of times."""

    step_s: float = field(metadata=key("a time step of the mean clip, at least", "s"))
    reachable_fps: float = field(metadata=key("frames of the video a second that it keeps up with, at most", "1/s"))
    first_result_s: float = field(metadata=key("from the first frame to the result, all frames at hand, at least", "s"))
    latency_s: float = field(metadata=key("from the last frame to the result, frames at the rate, at least", "s"))
    static_busy_mj: float | None = field(metadata=key("static energy of a clip at its fastest", "mJ"))
    energy_delay_mj_s: float | None = field(
        metadata=key("dynamic, traffic and static energy at its fastest, times the time to the first result", "mJ s")
    )


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A clip on one chip at the rate of its frames. Null where no source gives what is needed."""

    rate: FrameRate = field(metadata=key("how often frames enter"))
    steps: float = field(metadata=key("time steps of the mean clip"))
    clip_s: float = field(metadata=key("how long a clip keeps the chips, at the rate or as fast as they can", "s"))
    chips: int | None = field(metadata=key("chips that the network takes; null: the chip file has no limits"))
    static_mw: float | None = field(metadata=key("static power of all of them", "mW"))
    static_mj: float | None = field(metadata=key("static energy of a clip at the rate", "mJ"))
    dynamic_mj: float | None = field(metadata=key("energy of neurons and synapses", "mJ"))
    traffic_mj: float | None = field(metadata=key("energy of messages between cores", "mJ"))
    total_mj: float | None = field(metadata=key("those of the three that are known", "mJ"))
    speed: Speed | None = field(metadata=key("times; null where the chip file has none"))
    no_times_because: str = field(metadata=key("why there are no times; empty where there are"))
    unknown: tuple[str, ...] = field(metadata=key("what no figure is in here for"))


def operating_point(
    chip: Chip,
    rate: FrameRate,
    *,
    steps: float,
    depth: int,
    chips: int | None,
    dynamic_mj: float | None,
    traffic_mj: float | None,
    step_s: float | None,
) -> OperatingPoint:
    """One clip of so many `steps` through a network `depth` synapses deep; `step_s` is the time of a step, at least."""
    power = chip.energy.static_power if chip.energy else None
    static_mw = None if power is None or chips is None else chips * power.value
    clip_s = steps * max(rate.frame_s, step_s or 0)
    static_mj = None if static_mw is None else static_mw * clip_s
    known = [mj for mj in (dynamic_mj, traffic_mj, static_mj) if mj is not None]
    named = (("messages between cores", traffic_mj), ("static power", static_mj))
    missing = (what for what, mj in named if mj is None)
    return OperatingPoint(
        rate=rate,
        steps=steps,
        clip_s=clip_s,
        chips=chips,
        static_mw=static_mw,
        static_mj=static_mj,
        dynamic_mj=dynamic_mj,
        traffic_mj=traffic_mj,
        total_mj=None if dynamic_mj is None else sum(known),
        speed=None if step_s is None else _speed(rate, steps, depth, step_s, static_mw, dynamic_mj, traffic_mj),
        no_times_because=chip.why_no_times,
        unknown=(*UNKNOWN, *missing),
    )


def _speed(
    rate: FrameRate,
    steps: float,
    depth: int,
    step_s: float,
    static_mw: float | None,
    dynamic_mj: float | None,
    traffic_mj: float | None,
) -> Speed:
    first_result_s = (depth + steps) * step_s
    busy_mj = None if static_mw is None else static_mw * steps * step_s
    drawn = (dynamic_mj or 0) + (traffic_mj or 0) + (busy_mj or 0)
    return Speed(
        step_s=step_s,
        reachable_fps=rate.every / step_s,
        first_result_s=first_result_s,
        latency_s=depth * max(rate.frame_s, step_s),
        static_busy_mj=busy_mj,
        energy_delay_mj_s=None if busy_mj is None else drawn * first_result_s,
    )
