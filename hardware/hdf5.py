"""HDF5 files of strangers: all that they hold lies in them, once, and fits into the memory, or they are refused.

HDF5 knows values in other files, links to other files and links in circles, and sizes that no byte stands for. Nothing
of it is in a file that this project reads, and none of it is followed.
"""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import h5py

GB = 1e9
COPIES = 6  # of what a file holds, while it is read and turned into numbers of 8 bytes


@contextlib.contextmanager
def opened(path: Path, *, room: int | None = None) -> Iterator[h5py.File]:
    """A file to read, found to be whole in itself and to take at most `room` bytes (None: those of this machine).

    Raises `ValueError` that names the first item which is not, `OSError` where h5py cannot read the file.
    """
    with h5py.File(path, "r") as file:
        try:
            _require_plain(file, room)
        except (LookupError, RuntimeError, TypeError, AttributeError) as error:  # damaged, as h5py says it
            raise ValueError(f"damaged: {error}") from error
        yield file


def _require_plain(file: h5py.File, room: int | None) -> None:
    limit = _free_bytes() if room is None else room
    size, seen, open_groups = 0, {_address(file)}, [file["/"]]
    while open_groups:
        group = open_groups.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            item = _own(group, name, place)
            if _address(item) in seen:
                raise ValueError(f"{place}: a link to what is there already; allowed: every item once")
            seen.add(_address(item))
            if isinstance(item, h5py.Group):
                open_groups.append(item)
            elif isinstance(item, h5py.Dataset):
                size += _bytes(item, place)
                if size > limit:
                    raise ValueError(f"{place}: would take {size / GB:,.1f} GB of memory, {limit / GB:.1f} GB are free")


def _free_bytes() -> int:
    """Of this machine, or of what this process may still take (`ulimit -v`)."""
    page = os.sysconf("SC_PAGE_SIZE")
    free, (allowed, _) = os.sysconf("SC_AVPHYS_PAGES") * page, resource.getrlimit(resource.RLIMIT_AS)
    if allowed == resource.RLIM_INFINITY:
        return free
    return min(free, allowed - int(Path("/proc/self/statm").read_text().split()[0]) * page)


def _own(group: h5py.Group, name: str, place: str) -> h5py.Group | h5py.Dataset | h5py.Datatype:
    """The item of a name, which lies in the same file."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        where = f"{getattr(link, 'filename', '')}:{link.path}"
        raise ValueError(f"{place}: a link to {where.lstrip(':')}; allowed: items of the file itself")
    return group[name]


def _bytes(item: h5py.Dataset, place: str) -> int:
    """What the values take in memory, with their copies; raises `ValueError` for values that lie in another file."""
    if item.is_virtual or item.external:
        raise ValueError(f"{place}: its values lie in another file; allowed: files that hold all of theirs")
    return COPIES * int(item.size or 0) * item.dtype.itemsize


def _address(item: h5py.Group | h5py.Dataset | h5py.Datatype) -> tuple[int, int]:
    found = h5py.h5o.get_info(item.id)
    return found.fileno, found.addr
