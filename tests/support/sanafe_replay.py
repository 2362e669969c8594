"""A placed network replayed in SANA-FE, which accounts for neurons, messages, hops, synapses and time by itself.

What every neuron sends is given: a neuron is made to fire by a bias. `full` makes a connection of every synapse, on the
chip file of SANA-FE as it is; `aggregated` makes one of every neuron and core that it reaches, to a sink whose synapse
costs as much as all of them, for networks whose synapses SANA-FE has no memory for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import sanafe

import unrolled
from hardware import LayerResources
from hardware.placed import Activity, PlacedNetwork
from hardware.spread import Spread

HEIGHT, PER_TILE = 4, 4  # tiles of a column, and cores of a tile, of SANA-FE's Loihi
SYNAPSE_PJ, SYNAPSE_NS = 24.0, 3.1  # of its convolutions


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What SANA-FE finds; energies in joule."""

    energy: dict[str, float]
    step_s: list[float]
    synapses: int
    messages: int
    spikes: int


class Replay:
    """Neurons of a placed network in SANA-FE, without their synapses."""

    def __init__(self, spread: Spread, activity: Activity, entries: Sequence[str], chip_file: Path) -> None:
        self.activity, self.entries = activity, entries
        self.steps = len(next(iter(activity.values())))
        self.arch = sanafe.load_arch(str(chip_file))
        self.net, self.cores = sanafe.Network(), self.arch.cores()
        self.units = [0] * len(self.cores)  # input units that are taken, in every core
        self.groups = {name: self._group(spread, name) for name in spread.numbers}

    def core(self, spread: Spread, name: str, local: int) -> int:
        """SANA-FE's number of a core: tiles are numbered down the columns there."""
        column, row = spread.places(name)[local]
        return int((column * HEIGHT + row) * PER_TILE + (spread.first[name] + local) % PER_TILE)

    def input_unit(self, core: int) -> str:
        self.units[core] += 1
        return f"loihi_inputs[{self.units[core] - 1}]"

    def run(self) -> Replayed:
        """The time steps, one by one, by the simple timing."""
        chip = sanafe.SpikingChip(self.arch)
        chip.load(self.net)
        neurons = {name: list(chip.mapped_neuron_groups[name]) for name in self.groups if name not in self.entries}
        before = {name: np.zeros(len(found), dtype=bool) for name, found in neurons.items()}
        results = []
        for step in range(self.steps):
            for name, found in neurons.items():
                now = self.activity[name][step]
                for i in np.flatnonzero(now != before[name]):
                    found[i].set_attributes(model_attributes={"bias": int(now[i])})
                before[name] = now
            results.append(chip.sim(1, timing_model="simple", processing_threads=1))
        return Replayed(
            energy={unit: sum(found["energy"][unit] for found in results) for unit in results[0]["energy"]},
            step_s=[found["sim_time"] for found in results],
            synapses=sum(found["spikes"] for found in results),
            messages=sum(found["packets_sent"] for found in results),
            spikes=sum(found["neurons_fired"] for found in results),
        )

    def _group(self, spread: Spread, name: str) -> Any:
        cores = [self.core(spread, name, int(local)) for local in spread.cores_of(name)]
        group = self.net.create_neuron_group(
            name,
            len(cores),
            default_synapse_hw_name="loihi_conv_synapse",
            default_dendrite_hw_name="loihi_dendrites",
            soma_hw_name="loihi_lif",
        )
        by_its_bias = {"threshold": 0.5, "leak_decay": 0.0, "reverse_threshold": -1e9, "force_update": True, "bias": 0}
        for i, (neuron, core) in enumerate(zip(group, cores, strict=True)):
            if name in self.entries:
                train = self.activity[name][:, i].astype(int).tolist()
                neuron.set_attributes(soma_hw_name=self.input_unit(core), model_attributes={"spikes": train})
            else:
                neuron.set_attributes(model_attributes=by_its_bias)
            neuron.map_to_core(self.cores[core])
        return group


def full(
    layers: Sequence[LayerResources], spread: Spread, activity: Activity, entries: Sequence[str], folder: Path
) -> Replayed:
    """Every synapse a connection, on SANA-FE's own Loihi."""
    replay = Replay(spread, activity, entries, _chip_file(folder, counts=()))
    for layer in layers:
        for incoming in layer.inputs:
            found = unrolled.pairs(incoming.geometry)
            weights = {"w": [0] * len(found)}
            replay.groups[incoming.source].connect_neurons_sparse(replay.groups[layer.name], weights, found)
    return replay.run()


def aggregated(network: PlacedNetwork, activity: Activity, entries: Sequence[str], folder: Path) -> Replayed:
    """A connection of every neuron and core that it reaches; how many synapses it stands for is our own count."""
    spread = network.spread
    reached = {pair: found.synapses[found.row_of].tocsc() for pair, found in network.reaches.items()}
    counts = sorted({int(count) for found in reached.values() for count in np.unique(found.data)})
    replay = Replay(spread, activity, entries, _chip_file(folder, counts))
    sinks = _sinks(replay, spread, reached)
    for (source, target), found in reached.items():
        for local in range(found.shape[1]):
            core = replay.core(spread, target, local)
            span = slice(found.indptr[local], found.indptr[local + 1])
            group, place = sinks[core]
            ends = [(int(n), place[int(k)]) for n, k in zip(found.indices[span], found.data[span], strict=True)]
            replay.groups[source].connect_neurons_sparse(group, {"w": [0] * len(ends)}, ends)
    return replay.run()


def _sinks(
    replay: Replay, spread: Spread, reached: dict[tuple[str, str], Any]
) -> dict[int, tuple[Any, dict[int, int]]]:
    """By core: a group with a neuron for every number of synapses that a message finds there, and which is which."""
    wanted: dict[int, set[int]] = {}
    for (_, target), found in reached.items():
        for local in range(found.shape[1]):
            counts = found.data[found.indptr[local] : found.indptr[local + 1]]
            wanted.setdefault(replay.core(spread, target, local), set()).update(map(int, counts))
    sinks = {}
    for core, counts in wanted.items():
        group = replay.net.create_neuron_group(
            f"sink{core}", len(counts), default_dendrite_hw_name="loihi_dendrites_delay"
        )
        for neuron, count in zip(group, sorted(counts), strict=True):
            neuron.set_attributes(soma_hw_name=replay.input_unit(core), default_synapse_hw_name=f"of_{count}")
            neuron.map_to_core(replay.cores[core])
        sinks[core] = group, {count: i for i, count in enumerate(sorted(counts))}
    return sinks


def _chip_file(folder: Path, counts: Sequence[int]) -> Path:
    """SANA-FE's Loihi, with a synapse unit for each of these numbers of synapses, and room for the sinks."""
    text = (files("sanafe.examples") / "loihi.yaml").read_text()
    units = "".join(map(_unit, counts))
    if units:
        text = text.replace("          axon_out:\n", f"{units}          axon_out:\n")
        text = text.replace("max_neurons_supported: 1024", "max_neurons_supported: 2048")
    path = folder / "loihi.yaml"
    path.write_text(text)
    return path


def _unit(count: int) -> str:
    return f"""            - name: of_{count}
              attributes:
                model: current_based
                latency_process_spike: {count * SYNAPSE_NS * 1e-9!r}
                energy_process_spike: {count * SYNAPSE_PJ * 1e-12!r}
"""
