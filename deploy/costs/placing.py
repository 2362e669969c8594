"""A deployed network on the cores of chips with times: events, energy and time of clips, from the messages sent.

Clips stream back to back: at a time step a population shows the frame that has reached its depth, of this clip or of
one like it before, so that as many steps as a clip has frames are the work of one clip. What a clip sends is counted
whole, also where a delay would hand it on behind the clip's end.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.costs.resources import layer_resources
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.ir.types import Signals
from hardware import Chip
from hardware.more_cores import WithCores, fill, one_more, slowest, with_cores
from hardware.placed import Events, PlacedNetwork, Work
from hardware.spread import Order, spread
from hardware.unit_costs import UnitCosts

SLOWEST = 3  # layers of which is said what one more core buys
TICK_S = 2.0**-46  # times of clips are whole numbers of it, 14 fs: sums up to two minutes are exact, in any order


@dataclass(frozen=True, kw_only=True)
class Placing:
    """How networks are placed, and on which chips; those without times are left out."""

    order: Order
    chips: tuple[Chip, ...]

    @property
    def timed(self) -> list[Chip]:
        return [chip for chip in self.chips if chip.events]


NOWHERE = Placing(order="pixel", chips=())


@dataclass(frozen=True, kw_only=True)
class MoreCores:
    """The first clip on more cores, by the first source of the chip file."""

    now: WithCores  # the slowest layer, and the cores of the placement
    one_more: tuple[WithCores, ...]  # for each of the slowest layers
    filled: WithCores | None  # the slowest layer again and again, until the chip is full


@dataclass(frozen=True, kw_only=True)
class PlacedClips:
    """What clips come to on the cores of a chip, all together; additive."""

    clips: int = 0
    steps: float = 0
    events: Events = field(default_factory=Events)
    seconds: dict[str, float] = field(default_factory=dict)  # by source (and kind of synapse): of all clips
    longest_step_s: float = 0.0  # by the first source
    layer_s: dict[str, float] = field(default_factory=dict)  # by layer: its busiest core, by the first source
    more: MoreCores | None = None  # of the first clip; None where the network takes more than a chip

    def __add__(self, other: "PlacedClips") -> "PlacedClips":
        return PlacedClips(
            clips=self.clips + other.clips,
            steps=self.steps + other.steps,
            events=self.events + other.events,
            seconds=_added(self.seconds, other.seconds),
            longest_step_s=max(self.longest_step_s, other.longest_step_s),
            layer_s=_added(self.layer_s, other.layer_s),
            more=self.more or other.more,
        )

    def plain(self) -> dict[str, Any]:
        """As values of JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "PlacedClips":
        """From the values of `plain`."""
        more = values["more"]
        if more is not None:
            more = MoreCores(
                now=WithCores(**more["now"]),
                one_more=tuple(WithCores(**found) for found in more["one_more"]),
                filled=None if more["filled"] is None else WithCores(**more["filled"]),
            )
        return cls(**{**values, "events": Events(**values["events"]), "more": more})


def placed_network(network: IntNetwork, plan: Plan, chip: Chip, order: Order) -> PlacedNetwork:
    """The network on the cores of a chip; raises ChipError for one without times."""
    layers = layer_resources(network, plan)
    entries = {network.input_name: network.input.shape}
    return PlacedNetwork(layers, spread(layers, entries, chip, order))


def place_clips(
    network: IntNetwork, plan: Plan, signals: Signals, placing: Placing, *, first: bool
) -> dict[str, PlacedClips]:
    """By chip with times: what these clips come to; `first` says whether the first one of the run is the first here."""
    found = {}
    for chip in placing.timed:
        placed = placed_network(network, plan, chip, placing.order)
        clips = (_clip(placed, activity) for activity in streams(network, plan, signals))
        total = sum(clips, PlacedClips())
        if first and placed.spread.chips == 1:
            activity = next(streams(network, plan, signals))
            total = replace(total, more=_more(placed, activity))
        found[chip.name] = total
    return found


def place_rates(
    network: IntNetwork, plan: Plan, rates: Mapping[str, float], placing: Placing
) -> dict[str, PlacedClips]:
    """The same of one clip in which every neuron of a layer fires at its rate at every time step.

    What has no rate, the input and graded values, is taken to be sent by every neuron at every time step.
    """
    found = {}
    for chip in placing.timed:
        placed = placed_network(network, plan, chip, placing.order)
        activity = {name: np.full((1, network.size(name)), rates.get(name, 1.0)) for name in network.populations}
        step = _clip(placed, activity)
        found[chip.name] = _repeated(step, network.frames)
    return found


def streams(network: IntNetwork, plan: Plan, signals: Signals) -> Iterator[dict[str, NDArray[np.bool_]]]:
    """Of every clip: which neurons send at every time step of a stream of clips like it, [T, neurons]."""
    for clip in range(len(signals[network.input_name])):
        sent = {name: signals[name][clip] != 0 for name in network.populations}
        yield {name: np.roll(fired.reshape(len(fired), -1), plan.depths[name], axis=0) for name, fired in sent.items()}


def _clip(placed: PlacedNetwork, activity: Mapping[str, NDArray[Any]]) -> PlacedClips:
    work, costs = placed.work(activity), _costs(placed)
    cases = (case for source in placed.spread.chip.events for case in source.cases)
    return PlacedClips(
        clips=1,
        steps=len(work.spikes),
        events=work.events,
        seconds={case.name: _in_ticks(float(work.step_s(case).sum())) for case in cases},
        longest_step_s=float(work.step_s(costs).max()),
        layer_s={name: _in_ticks(found) for name, found in placed.layer_s(work, costs).items()},
    )


def _in_ticks(seconds: float) -> float:
    return round(seconds / TICK_S) * TICK_S


def _repeated(step: PlacedClips, times: int) -> PlacedClips:
    """A clip of so many steps like this one."""
    return replace(
        step,
        steps=step.steps * times,
        events=step.events.times(times),
        seconds={name: times * found for name, found in step.seconds.items()},
        layer_s={name: times * found for name, found in step.layer_s.items()},
    )


def _more(placed: PlacedNetwork, activity: Mapping[str, NDArray[Any]]) -> MoreCores:
    work, costs = placed.work(activity), _costs(placed)
    return MoreCores(
        now=with_cores(placed, work, slowest(placed, work, costs)[0], costs),
        one_more=tuple(_one_more(placed, work, activity)),
        filled=fill(placed, work, activity, costs, most=placed.spread.room),
    )


def _one_more(placed: PlacedNetwork, work: Work, activity: Mapping[str, NDArray[Any]]) -> Iterator[WithCores]:
    costs = _costs(placed)
    for layer in itertools.islice(slowest(placed, work, costs), SLOWEST):
        if placed.spread.numbers[layer] < activity[layer].shape[1]:
            yield with_cores(*one_more(placed, work, layer, activity), layer, costs)


def _costs(placed: PlacedNetwork) -> UnitCosts:
    """Those of the first source of the chip file."""
    return placed.spread.chip.events[0]


def _added(one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + two.get(name, 0.0) for name in dict.fromkeys([*one, *two])}
