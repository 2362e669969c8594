"""Energy and time of the network on the cores of a chip."""

from dataclasses import dataclass, field
from typing import Literal

from hardware.keys import key
from hardware.more_cores import WithCores
from hardware.spread import Order


@dataclass(frozen=True, kw_only=True)
class BySource:
    """The mean clip by the figures of one source alone."""

    name: str = field(metadata=key("short name of the source, and the kind of synapse where it has several"))
    source: str = field(metadata=key("the source in full, and how it came to its figures"))
    units: dict[str, float] = field(
        metadata=key("energy by unit: synapses, neurons, spikes, messages between cores, hops of these", "mJ")
    )
    mj: float = field(metadata=key("energy of all units", "mJ"))
    clip_s: float = field(metadata=key("time of a clip, at least: the busiest core of every time step", "s"))
    first_result_s: float = field(metadata=key("from the first frame of a clip to its result, at least", "s"))


@dataclass(frozen=True, kw_only=True)
class SlowLayer:
    """A layer whose busiest core bounds the time of a step."""

    layer: str = field(metadata=key("population"))
    cores: int = field(metadata=key("cores that it has"))
    step_s: float = field(metadata=key("its busiest core in a time step, the mean of all", "s"))
    one_more: WithCores | None = field(
        metadata=key("the first clip if this layer had a core more; null before a run, and on several chips")
    )


@dataclass(frozen=True, kw_only=True)
class PlacedSummary:
    """The network spread over cores by the rule (hardware/spread.py): the mean clip's events, energy and time."""

    title: str = field(metadata=key("name of the chip in texts"))
    order: Order = field(metadata=key("how the neurons of a layer are dealt out over its cores"))
    of: Literal["spikes", "rates"] = field(
        metadata=key("what was counted: the messages that were sent, or what firing rates of the calibration clips say")
    )
    cores: int = field(metadata=key("cores that are used: those that `fit` counts by its rule, and those of the input"))
    input_cores: int = field(metadata=key("of these, cores that the values of the input fill; `fit` has none for it"))
    chips: int = field(metadata=key("chips that they lie on"))
    steps: float = field(metadata=key("time steps of the mean clip"))
    synapses: float = field(metadata=key("synapses that messages reach", "events"))
    updates: float = field(metadata=key("neurons and relays taken up and updated", "events"))
    spikes: float = field(metadata=key("spikes and graded values that are sent, those of the input left out", "events"))
    messages: float = field(metadata=key("one for each core that they reach", "messages"))
    between_chips: float = field(metadata=key("messages that leave their chip; no figure prices that", "messages"))
    hops: float = field(metadata=key("tiles that messages pass", "hops"))
    sources: tuple[BySource, ...] = field(metadata=key("energy and time by source; texts say the first"))
    range_mj: tuple[float, float] = field(metadata=key("lowest and highest energy of all sources", "mJ"))
    range_clip_s: tuple[float, float] = field(metadata=key("shortest and longest time of a clip of all sources", "s"))
    longest_step_s: float = field(metadata=key("the longest time step of all clips, at least", "s"))
    slowest: tuple[SlowLayer, ...] = field(metadata=key("the layers that bound the time of a step, slowest first"))
    now: WithCores | None = field(metadata=key("the first clip as it is placed; null where more cores are not tried"))
    filled: WithCores | None = field(
        metadata=key("the first clip if the slowest layer got a core again and again, until the chip is full")
    )
    notes: tuple[str, ...] = field(metadata=key("what the bound leaves out, and what stands in"))
