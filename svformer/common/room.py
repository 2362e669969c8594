"""How much memory there is, and refusals, by size, of what would not fit: before any of it is taken."""

import mmap
from collections.abc import Iterator
from pathlib import Path

from svformer.common.errors import InputError

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
GB = 1e9
COPIES = 3  # of an array: as it is stored, as it is checked, as it is worked with
SMALL = 64 * 2**20  # bytes; less is not asked for, which takes as long as reading it


def require_room(what: object, size: int, *, available: int | None = None) -> None:
    """Raise `InputError` where `size` bytes do not fit into the memory that is `available` (default: here, now).

    `what` is the file, or a part of it, that says it holds as much.
    """
    if size <= SMALL:
        return
    free = available_bytes() if available is None else available
    if size > free:
        raise InputError(
            f"{what}: would take {size / GB:,.1f} GB of memory, {max(free, 0) / GB:.1f} GB are free here; give a "
            "smaller file, or take a machine with more"
        )


def available_bytes(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """What this process and its children may still take: of the machine, of its container, of its own limit.

    `proc` and `cgroups` are where Linux mounts what it says of processes and of control groups.
    """
    return min(_limits(proc, cgroups))


def _limits(proc: Path, cgroups: Path) -> Iterator[int]:
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    yield int(fields["MemAvailable"].split()[0]) * 1024
    yield from _container_limits(proc, cgroups)
    limits = (proc / "self" / "limits").read_text().splitlines()
    soft = next(line for line in limits if line.startswith("Max address space")).split()[3]
    if soft != "unlimited":
        pages = int((proc / "self" / "statm").read_text().split()[0])
        yield int(soft) - pages * mmap.PAGESIZE


def _container_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Of every control group that this process is in; files that the kernel can drop count as free.

    Inside a container the group's own files lie at the root of the mount, or below it under the group's path.
    """
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mount, names = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        elif not controllers:
            mount, names = cgroups, ("memory.max", "memory.current", "inactive_file")
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
