"""How much memory a run takes, known from the shapes before it starts, and how much there is.

What grows with the clips that run at the same time is counted exactly where it is large: messages that are kept, the
unrolled windows of the largest convolution, recordings. The messages of Lava's channels are not in /dev/shm (`actors`),
so it is the memory of the machine, or of the container, that limits a run; /dev/shm holds semaphores only, and the
watchdog asks for their room.
"""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.ir.integer import IntConnection, IntConvolution, IntInput, IntLif, IntNetwork, IntPopulation
from deploy.ir.network import Connection, Network, Population
from hardware import ConvGeometry
from svformer.errors import InputError

FLOAT = 8  # bytes of a value in the interpreters while it is worked on
SPIKE, GRADED = 1, 4  # of a message that is kept
GB = 1e9
WEIGHT_BYTES = 8  # of a weight in all forms that a compiled kernel keeps
NEURON_BYTES = 32  # potential, currents, and messages on both sides of a channel
PROCESS_BYTES = 8_000_000  # what a forked process adds
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


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


def message_bytes(network: IntNetwork) -> int:
    """Of all messages of one clip, as `run_integer` gives them."""
    return network.frames * sum(message_size(p) * _size(p) for p in network.populations.values())


def message_size(population: IntPopulation) -> int:
    """Bytes of one message outside a channel: a spike, or a graded value."""
    return SPIKE if isinstance(population, IntLif) else GRADED


def integer_need(network: IntNetwork) -> MemoryNeed:
    """The integer interpreter."""
    return MemoryNeed(fixed=0, per_clip=message_bytes(network) + _working_bytes(network))


def float_need(network: Network | IntNetwork) -> MemoryNeed:
    """The float interpreters, on the network or what it was quantised to; they keep real numbers."""
    kept = network.frames * FLOAT * sum(map(_size, network.populations.values()))
    return MemoryNeed(fixed=0, per_clip=kept + _working_bytes(network))


def lava_need(network: IntNetwork) -> MemoryNeed:
    """Lava's processes with their channels, and the recordings; the messages that come back are counted, too."""
    populations = [p for p in network.populations.values() if not isinstance(p, IntInput)]
    spikes = sum(_size(p) for p in populations if isinstance(p, IntLif))
    recorded = sum(GRADED * _size(p) for p in populations if not isinstance(p, IntLif)) + spikes // 8
    weights = sum(c.operation.mantissa.size for c in network.connections if isinstance(c.operation, IntConvolution))
    return MemoryNeed(
        fixed=WEIGHT_BYTES * weights
        + NEURON_BYTES * sum(map(_size, populations))
        + PROCESS_BYTES * len(network.populations),
        per_clip=network.frames * (recorded + spikes + FLOAT * _size(network.input)),
    )


def _size(population: Population | IntPopulation) -> int:
    return int(np.prod(population.shape))


def _working_bytes(network: Network | IntNetwork) -> int:
    """Of one clip in the interpreters, which take all its frames through a connection at the same time."""
    return network.frames * max((_frame_bytes(c) for c in network.connections), default=0)


def _frame_bytes(connection: Connection | IntConnection) -> int:
    """Of one frame: the delayed input, its windows unrolled, the product before and after it is put in order."""
    geometry = connection.operation.geometry
    if not isinstance(geometry, ConvGeometry):
        return 4 * FLOAT * geometry.inputs
    outputs, positions = int(np.prod(geometry.out_shape)), int(np.prod(geometry.out_shape[1:]))
    unrolled = positions * geometry.in_shape[0] * int(np.prod(geometry.kernel))
    return FLOAT * (2 * geometry.inputs + unrolled + 3 * outputs)


def available_bytes() -> int:
    """What this process and its children may still take: of the machine, of its container, of its own limit."""
    return min(_limits())


def _limits() -> Iterator[int]:
    fields = dict(line.split(":", 1) for line in (PROC / "meminfo").read_text().splitlines())
    yield int(fields["MemAvailable"].split()[0]) * 1024
    yield from _container_limits()
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        pages = int((PROC / "self" / "statm").read_text().split()[0])
        yield soft - pages * resource.getpagesize()


def _container_limits() -> Iterator[int]:
    """Of every control group that this process is in; files that the kernel can drop count as free.

    Inside a container the group's own files lie at the root of the mount, or below it under the group's path.
    """
    for line in (PROC / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mount, names = CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        elif not controllers:
            mount, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        else:
            continue
        group = Path(path.lstrip("/"))
        for folder in (mount, *(mount / part for part in (group, *group.parents) if part.parts)):
            if (free := _free_in(folder, *names)) is not None:
                yield free


def _free_in(folder: Path, limit_name: str, usage_name: str, droppable: str) -> int | None:
    try:
        limit, usage = (folder / limit_name).read_text().strip(), int((folder / usage_name).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - usage + int(stat.get(droppable, 0))


def require_memory(need: MemoryNeed, clips: int, what: str) -> None:
    """Raise `InputError`, before anything is started, when a run would not fit."""
    available = available_bytes()
    if need.of(clips) <= available:
        return
    fit = need.clips_in(available)
    advice = f"{fit} fit at the same time: give fewer" if fit else "not one fits: take a machine or container with more"
    raise InputError(
        f"{what}: {clips} clips at the same time need about {need.of(clips) / GB:.1f} GB of memory, "
        f"{available / GB:.1f} GB are free here; {advice}, or a smaller image or fewer time steps"
    )
