"""How much memory a run takes, known from the shapes before it starts, and how much there is.

What grows with the clips that run at the same time is counted exactly where it is large: messages that are kept, the
unrolled windows of the largest convolution, recordings. The messages of Lava's channels are not in /dev/shm (`actors`),
so it is the memory of the machine, or of the container, that limits a run; /dev/shm holds semaphores only, and the
watchdog asks for their room.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.linear import frame_bytes, frames_at_once
from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import IntPopulation, Population
from deploy.ir.running import groups_in_order
from deploy.passes.schedule import schedule
from hardware import ConvGeometry
from svformer.common.errors import InputError
from svformer.common.room import GB, available_bytes

FLOAT = 8  # bytes of a value in the interpreters while it is worked on
SPIKE, GRADED = 1, 4  # of a message that is kept
SINGLE = 4  # of a value in torch
ARRIVING_BYTES = 24  # in torch, of what arrives from a connection: as it is, and in float64 before and after rounding
CHUNK = 1e9  # bytes; calibration clips that fill as much at a time keep the cores as busy as more would
WEIGHT_BYTES = 8  # of a weight in all forms that a compiled kernel keeps
INPUTS, RESULTS = 2, 4  # arrays of what enters a connection (delayed, as real numbers) and leaves it (shifted, gained)
FOUND_BYTES = 5 * FLOAT  # of a neuron: extremes in both executions, a sum
STEP_VALUES = 8  # of a neuron, while it takes a time step
NEURON_BYTES = 32  # potential, currents, and messages on both sides of a channel
PROCESS_BYTES = 10_000_000  # what a forked process adds
RUNTIME_SERVICES = 1  # processes of Lava's own


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Bytes that a run takes beside what is there already: once, and for every clip that runs at the same time."""

    fixed: int
    per_clip: int

    def of(self, clips: int) -> int:
        return self.fixed + clips * self.per_clip

    def clips_in(self, available: int) -> int:
        """Clips that fit at the same time."""
        return max(0, (available - self.fixed) // self.per_clip)

    def __add__(self, other: "MemoryNeed") -> "MemoryNeed":
        return MemoryNeed(fixed=self.fixed + other.fixed, per_clip=self.per_clip + other.per_clip)


def message_bytes(network: IntNetwork, *, record: Container[str] | None = None) -> int:
    """Of the messages of one clip, as `run_integer` gives them: of the populations in `record` (default: of all)."""
    kept = (p for name, p in network.populations.items() if record is None or name in record)
    return network.frames * sum(message_size(p) * _size(p) for p in kept)


def message_size(population: IntPopulation) -> int:
    """Bytes of one message outside a channel: a spike, or a graded value."""
    return SPIKE if population.spiking else GRADED


def integer_need(network: IntNetwork, *, record: Container[str] | None = None) -> MemoryNeed:
    """The integer interpreter, which keeps the messages of the populations in `record` (default: all)."""
    sizes = {name: message_size(population) for name, population in network.populations.items()}
    return _execution(network, sizes, record=network.populations if record is None else record)


def torch_need(network: IntNetwork, *, record: Container[str] | None = None) -> MemoryNeed:
    """The network in torch, which keeps the messages of `record` (default: all) and runs connections on all clips."""
    sizes = dict.fromkeys(network.populations, SINGLE)
    arrives = max((int(np.prod(c.operation.out_shape)) for c in network.connections), default=0)
    kept = message_bytes(network, record=record)
    through = MemoryNeed(fixed=0, per_clip=network.frames * ARRIVING_BYTES * arrives + kept)
    return _execution(network, sizes, record=()) + through


def float_need(network: Network | IntNetwork) -> MemoryNeed:
    """The float interpreters, on the network or what it was quantised to; they keep real numbers of everything."""
    return _execution(network, dict.fromkeys(network.populations, FLOAT), record=network.populations)


def calibration_need(network: Network) -> MemoryNeed:
    """Clips through the float network, whose signals are dropped on the way, and what is found of every neuron."""
    run = _execution(network, dict.fromkeys(network.populations, FLOAT), record=())
    return run + MemoryNeed(fixed=FOUND_BYTES * sum(map(_size, network.populations.values())), per_clip=0)


def clips_at_once(network: Network, clips: int, *, available: int | None = None, chunk: float = CHUNK) -> int:
    """Calibration clips that run at the same time; they are independent, so nothing that is found depends on it.

    They take at most `available` bytes (default: `available_bytes()`), and no more than `chunk`, unless a single clip
    does.

    Raises `InputError` when not even one fits into the memory.
    """
    need = calibration_need(network)
    available = available_bytes() if available is None else available
    require_memory(need, 1, "calibration", available=available)
    return max(1, min(clips, need.clips_in(available), int(chunk) // need.per_clip))


def lava_need(
    network: IntNetwork,
    *,
    blocks: Literal["fused", "stock", "chip"] = "fused",
    processes: int = 1,
    record: Container[str] | None = None,
) -> MemoryNeed:
    """Lava's processes with their channels, and the recordings of `record` (default: of all populations); the messages
    that come back are counted, too.
    """
    populations = list(network.receivers.values())
    kept = [p for name, p in network.receivers.items() if record is None or name in record]
    spikes = sum(_size(p) for p in kept if p.spiking)
    recorded = sum(GRADED * _size(p) for p in kept if not p.spiking) + spikes // 8
    weights = sum(c.operation.weights for c in network.connections)
    return MemoryNeed(
        fixed=WEIGHT_BYTES * weights
        + NEURON_BYTES * sum(map(_size, populations))
        + PROCESS_BYTES * (RUNTIME_SERVICES + lava_processes(network, blocks, processes)),
        per_clip=network.frames * (recorded + spikes + FLOAT * _size(network.input)),
    )


def lava_processes(network: IntNetwork, blocks: Literal["fused", "stock", "chip"], processes: int) -> int:
    """How many there are at most. Stock ones: neurons and recorder of each population; line, Conv and gain of each
    connection (lava_network/stock.py). Those of a chip form: neurons and recorder; synapses of each connection; relay
    and synapses for each time step of a delay line, and two that silence one (lava_network/chip_processes.py).
    """
    if blocks == "stock":
        return 2 * len(network.populations) + 3 * len(network.connections)
    if blocks == "chip":
        plan = schedule(network)
        lines = sum(plan.longest_lag_from(name) for name in network.populations)
        return 2 * len(network.populations) + len(network.connections) + 4 * lines
    return min(processes, len(network.populations))


def _size(population: Population | IntPopulation) -> int:
    return int(np.prod(population.shape))


def _execution(network: Network | IntNetwork, message: Mapping[str, int], *, record: Container[str]) -> MemoryNeed:
    """What an interpreter (`deploy.ir.running`) takes; `message` has the bytes of one message by population.

    The currents of all clips are there when a population runs, connections run clip by clip; the input stays, and a
    message that is not in `record` is dropped after its last use.
    """
    neurons = {name: _size(population) for name, population in network.populations.items()}
    sent = {name: network.frames * message[name] * count for name, count in neurons.items()}
    there = most = 0
    for group, last_used in groups_in_order(network.populations, network.connections):
        there += sum(sent[name] for name in group)
        most = max(most, there + FLOAT * (network.frames + STEP_VALUES) * sum(neurons[name] for name in group))
        there -= sum(sent[name] for name in last_used if name not in record and name != network.input_name)
    return MemoryNeed(
        fixed=max((_connection_bytes(c, network.frames) for c in network.connections), default=0),
        per_clip=most,
    )


def _connection_bytes(connection: Connection | IntConnection, frames: int) -> int:
    """One clip through a connection: the delayed input, its windows unrolled, and the result."""
    geometry = connection.operation.geometry
    if not isinstance(geometry, ConvGeometry):
        return FLOAT * frames * RESULTS * geometry.inputs
    values = FLOAT * frames * (INPUTS * geometry.inputs + RESULTS * int(np.prod(geometry.out_shape)))
    return values + min(frames, frames_at_once(geometry)) * frame_bytes(geometry) + FLOAT * geometry.weights


def require_memory(need: MemoryNeed, clips: int, what: str, *, available: int | None = None) -> None:
    """Raise `InputError`, before anything is started, when a run would not fit into `available` bytes (default: those
    of this machine).
    """
    available = available_bytes() if available is None else available
    if need.of(clips) <= available:
        return
    fit = need.clips_in(available)
    clips_need = "1 clip needs" if clips == 1 else f"{clips} clips at the same time need"
    advice = f"{fit} fit at the same time: give fewer" if fit else "not one fits: take a machine or container with more"
    raise InputError(
        f"{what}: {clips_need} about {need.of(clips) / GB:.1f} GB of memory, "
        f"{available / GB:.1f} GB are free here; {advice}, or a smaller image or fewer time steps"
    )
