"""What a network placed on cores does: events by unit and core, what they cost by each source, and how long steps take.

A message goes once to every core that it reaches. A step of the whole chip takes at least as long as its busiest core
works, and then the barrier: a core takes its neurons up one after the other and sends, and takes messages in and adds
their synapses; the longer of the two bounds it. Waiting in the mesh, links between chips and the host are left out.
This is the `simple` timing of SANA-FE (Boyle et al. 2025), whose figures of every unit these are
(`tests/costs/test_sanafe.py`). Legend: T time steps, K cores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from hardware.reach import Reach, reach
from hardware.resources import LayerResources
from hardware.spread import Spread
from hardware.unit_costs import UnitCosts

Real = NDArray[np.float64]
Activity = Mapping[str, NDArray[Any]]  # by population: whether (or how often) every neuron sends, [T, neurons]
PJ_PER_MJ, NS = 1e9, 1e-9


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events of some time steps by unit, whole numbers where the activity is; additive."""

    synapses: float = 0  # synapses that messages reach
    updates: float = 0  # neurons taken up and updated
    spikes: float = 0  # neurons that send
    messages: float = 0  # from core to core, also to the own one
    between_chips: float = 0  # of these, those that leave their chip
    hops_east_west: float = 0
    hops_north_south: float = 0

    def __add__(self, other: "Events") -> "Events":
        return Events(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Events)})

    def times(self, factor: float) -> "Events":
        """So many times as many of each."""
        return Events(**{name: factor * count for name, count in vars(self).items()})

    def energy_mj(self, costs: UnitCosts) -> dict[str, float]:
        """Millijoule by unit."""
        pj = {
            "synapses": self.synapses * costs.synapse.pj,
            "neurons": self.updates * (costs.soma_access.pj + costs.soma_update.pj),
            "spikes": self.spikes * costs.spike.pj,
            "messages": self.messages * (costs.message_out.pj + costs.message_in.pj),
            "hops": self.hops_east_west * costs.hop_east_west.pj + self.hops_north_south * costs.hop_north_south.pj,
        }
        return {unit: found / PJ_PER_MJ for unit, found in pj.items()}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the work of a network is added up from; where a layer gets another core, most of it stays as it was."""

    activity: Activity
    numbers: Mapping[str, int]  # cores of every population
    layers: dict[str, tuple[Real, Real]]  # updates [cores], spikes [T, cores]
    ways: dict[tuple[str, str], tuple[Real, Real, Real]]  # by source and target: sent, taken, synapses, [T, cores]

    def of(self, activity: Activity, numbers: Mapping[str, int], *names: str) -> bool:
        """Whether these populations do the same on the cores of another placement of the same layers."""
        return self.activity is activity and all(self.numbers[name] == numbers[name] for name in names)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work of every core, and the sums over all of them."""

    updates: Real  # [K] in every time step
    spikes: Real  # [T, K]
    sent: Real  # [T, K] messages
    taken: Real  # [T, K] messages
    synapses: Real  # [T, K]
    events: Events
    tiles: int
    parts: Parts

    def core_s(self, costs: UnitCosts) -> Real:
        """Seconds that every core works in every time step, [T, K]."""
        neurons = self.updates * (costs.soma_access.ns + costs.soma_update.ns) + self.spikes * costs.spike.ns
        messages = self.taken * costs.message_in.ns + self.synapses * costs.synapse.ns
        return np.maximum(neurons + self.sent * costs.message_out.ns, messages) * NS

    def step_s(self, costs: UnitCosts) -> Real:
        """Seconds that every time step takes at least, [T]."""
        return self.core_s(costs).max(axis=1) + costs.barrier_s(self.tiles)


class PlacedNetwork:
    """The layers of a network on the cores of a chip, ready to take the activity of clips."""

    def __init__(self, layers: Iterable[LayerResources], spread: Spread, known: "PlacedNetwork | None" = None) -> None:
        """`known` is another placement of the same layers: what lies on equally many cores is taken from it."""
        self.layers, self.spread = list(layers), spread
        as_before = {} if known is None else known.spread.numbers
        self._cores_of: dict[str, NDArray[np.int64]] = {
            name: known._cores_of[name] if known is not None and as_before[name] == cores else spread.cores_of(name)
            for name, cores in spread.numbers.items()
        }
        self.reaches: dict[tuple[str, str], Reach] = {}  # by source and target
        for layer in self.layers:
            for source in dict.fromkeys(incoming.source for incoming in layer.inputs):
                self.reaches[source, layer.name] = self._found(source, layer, known)

    def moved(self, spread: Spread) -> "PlacedNetwork":
        """The same layers on other cores."""
        return PlacedNetwork(self.layers, spread, known=self)

    def work(self, activity: Activity, *, travelled: bool = True, known: Work | None = None) -> Work:
        """Work of every core for the time steps of an activity, which begin together everywhere.

        What enters the network is sent, but takes no neuron of a core. Without `travelled` the messages between cores,
        and how far they go, are left out of the events: how long the cores work does not depend on them. `known` is the
        work of another placement of the same layers: what the same activity does on equally many cores is taken from
        it.
        """
        steps, cores = len(next(iter(activity.values()))), self.spread.cores
        updates = np.zeros(cores)
        spikes, sent, taken, synapses = (np.zeros((steps, cores)) for _ in range(4))
        parts = self._parts(activity, None if known is None else known.parts)
        for name, (updated, fired) in parts.layers.items():
            at = self._slice(name)
            updates[at] += updated
            spikes[:, at] += fired
        events = Events(updates=steps * float(updates.sum()), spikes=float(spikes.sum()))
        for (source, target), (left, arrived, added) in parts.ways.items():
            to = self._slice(target)
            sent[:, self._slice(source)] += left
            taken[:, to] += arrived
            synapses[:, to] += added
            if travelled:
                events += self._travelled(source, target, activity[source].sum(axis=0))
        events += Events(synapses=float(synapses.sum()))
        return Work(
            updates=updates,
            spikes=spikes,
            sent=sent,
            taken=taken,
            synapses=synapses,
            events=events,
            tiles=self.spread.tiles,
            parts=parts,
        )

    def layer_s(self, work: Work, costs: UnitCosts) -> dict[str, float]:
        """By layer: seconds that its busiest core works, all time steps together, without the barrier."""
        core_s = work.core_s(costs)
        return {layer.name: float(core_s[:, self._slice(layer.name)].max(axis=1).sum()) for layer in self.layers}

    def _parts(self, activity: Activity, known: Parts | None) -> Parts:
        numbers = self.spread.numbers
        parts = Parts(activity=activity, numbers=numbers, layers={}, ways={})
        for name in (layer.name for layer in self.layers):
            if known is not None and known.of(activity, numbers, name):
                parts.layers[name] = known.layers[name]
                continue
            updated = np.bincount(self._cores_of[name], minlength=numbers[name]).astype(np.float64)
            parts.layers[name] = updated, self._by_core(name, activity[name])
        for way, found in self.reaches.items():
            if known is not None and known.of(activity, numbers, *way):
                parts.ways[way] = known.ways[way]
                continue
            source, by_row = way[0], found.by_row(activity[way[0]])
            sent = self._by_core(source, activity[source] * found.messages)
            parts.ways[way] = sent, by_row @ found.hit, by_row @ found.synapses
        return parts

    def _found(self, source: str, target: LayerResources, known: "PlacedNetwork | None") -> Reach:
        cores = self.spread.numbers[target.name]
        if known is not None and known.spread.numbers[target.name] == cores:
            return known.reaches[source, target.name]
        geometries = [incoming.geometry for incoming in target.inputs if incoming.source == source]
        return reach(geometries, self._cores_of[target.name], cores)

    def _slice(self, name: str) -> slice:
        first = self.spread.first[name]
        return slice(first, first + self.spread.numbers[name])

    def _by_core(self, name: str, of_neurons_TN: NDArray[Any]) -> Real:
        """Values of the neurons of a population added up by core, [T, its cores]."""
        cores, many = self._cores_of[name], self.spread.numbers[name]
        return np.stack([np.bincount(cores, weights=values, minlength=many) for values in of_neurons_TN])

    def _travelled(self, source: str, target: str, sent_N: Real) -> Events:
        """Messages between two populations and their hops, where every neuron fires so often."""
        found, spread = self.reaches[source, target], self.spread
        shape = (spread.numbers[source], found.hit.shape[0])
        by_core = coo_array((sent_N, (self._cores_of[source], found.row_of)), shape=shape)
        messages = coo_array(csr_array(by_core) @ found.hit)  # [cores of the source, cores of the target]
        way = np.abs(spread.places(source)[messages.row] - spread.places(target)[messages.col])
        abroad = spread.chips_of(source)[messages.row] != spread.chips_of(target)[messages.col]
        columns, rows = messages.data @ way
        return Events(
            messages=float(messages.data.sum()),
            between_chips=float(messages.data @ abroad),
            hops_east_west=float(columns),
            hops_north_south=float(rows),
        )
