"""Valid HDF5 with odd content: other types, shapes and names, what is missing, links, and sizes without data."""

import io
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np

from fuzzing import odd

MOST = 10**6  # values of an array that is changed; one that an earlier change made huge is left as it is
HUGE = ((10**6, 10**6), (2**40,), (2**31, 1, 1), (10**5, 10**4), (2**62,), (3, 2**33))


def with_odd_content(rng: Random, content: bytes, changes: int) -> bytes:
    """A file of HDF5 after some changes; what HDF5 itself does not let one write is left as it was."""
    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        for _ in range(changes):
            places = list[str]()
            file.visit(places.append)
            if places:
                try:
                    rng.choice(CHANGES)(rng, file, rng.choice(places))
                except (ValueError, KeyError, TypeError, OSError, RuntimeError, OverflowError, MemoryError):
                    continue  # HDF5 has no form for it
    return stream.getvalue()


def _replace(file: h5py.File, place: str, **what: Any) -> None:
    del file[place]
    file.create_dataset(place, **what)


def _remove(rng: Random, file: h5py.File, place: str) -> None:
    del file[place]


def _is_small(found: Any) -> bool:
    """Whether it is an array that can be read whole."""
    return isinstance(found, h5py.Dataset) and (found.size or 0) <= MOST


def _odd_array(rng: Random, file: h5py.File, place: str) -> None:
    found = file[place]
    shape = found.shape if _is_small(found) and rng.random() < 0.5 else None
    values = odd.array(rng, shape)
    _replace(file, place, data=values.astype("S") if values.dtype.kind == "U" else values)


def _odd_scalar(rng: Random, file: h5py.File, place: str) -> None:
    _replace(file, place, data=rng.choice((odd.number(rng), rng.choice(odd.NAMES), b"\xff\xfe", True, 1j)))


def _other_form(rng: Random, file: h5py.File, place: str) -> None:
    """The same values in another type or shape."""
    found = file[place]
    if not _is_small(found):
        return
    values = np.asarray(found[()])
    if values.dtype.kind not in "biuf":
        return
    forms: tuple[Callable[[], Any], ...] = (
        lambda: odd.cast(values, rng.choice(odd.DTYPES[:-1])),
        lambda: values.reshape(-1),
        lambda: values[np.newaxis],
        lambda: np.moveaxis(np.atleast_1d(values), 0, -1),
        lambda: values.reshape(-1)[:1],
        lambda: values.reshape(-1)[: rng.randrange(values.size + 1)],
        lambda: np.repeat(np.atleast_1d(values), 2, axis=-1),
        lambda: values * odd.number(rng),
    )
    with np.errstate(all="ignore"):
        _replace(file, place, data=rng.choice(forms)())


def _odd_element(rng: Random, file: h5py.File, place: str) -> None:
    found = file[place]
    if _is_small(found) and found.dtype.kind == "f" and found.size:
        values = np.asarray(found[()]).reshape(-1).copy()
        values[rng.randrange(len(values))] = odd.number(rng)
        _replace(file, place, data=values.reshape(found.shape))


def _huge(rng: Random, file: h5py.File, place: str) -> None:
    """A size that no byte of the file stands for."""
    shape = rng.choice(HUGE)
    chunks = tuple(min(n, 64) for n in shape)
    _replace(file, place, shape=shape, dtype=rng.choice(("f4", "f8", "i8")), chunks=chunks, compression="gzip")


def _odd_type(rng: Random, file: h5py.File, place: str) -> None:
    options: tuple[dict[str, Any], ...] = (
        {"data": h5py.Empty("f4")},
        {"data": h5py.Empty(h5py.string_dtype())},
        {"data": np.zeros(3, dtype=[("a", "f8"), ("b", "i4")])},
        {"data": file.ref, "dtype": h5py.ref_dtype},
        {"shape": (2,), "dtype": h5py.vlen_dtype(np.float32)},
        {"data": np.array([0, 1, 1]), "dtype": h5py.enum_dtype({"RED": 0, "BLUE": 1})},
        {"data": np.void(b"\x00\x01\x02")},
        {"data": ["a", "b"], "dtype": h5py.string_dtype()},
    )
    _replace(file, place, **rng.choice(options))


def _group(rng: Random, file: h5py.File, place: str) -> None:
    """A folder in place of values, empty or around them."""
    found = file[place]
    inner = np.asarray(found[()]) if _is_small(found) and rng.random() < 0.5 else None
    del file[place]
    group = file.create_group(place)
    if inner is not None:
        group.create_dataset(rng.choice(("0", "type", "data", "weight")), data=inner)


def _link(rng: Random, file: h5py.File, place: str) -> None:
    """Another way to somewhere: to itself, above itself, to nothing, or out of the file."""
    parent = file[place].parent
    options: tuple[Any, ...] = (
        h5py.SoftLink("/" + place),
        h5py.SoftLink("/node"),
        h5py.SoftLink("/nowhere"),
        h5py.ExternalLink("/etc/hostname", "/node"),
        h5py.ExternalLink("other.nir", "/node"),
        parent,
        file["/"],
    )
    if rng.random() < 0.5:
        del file[place]
        file[place] = rng.choice(options)
    else:
        parent[f"link{rng.randrange(9)}"] = rng.choice(options)


def _outside(rng: Random, file: h5py.File, place: str) -> None:
    """Values that lie in another file."""
    if rng.random() < 0.5:
        _replace(file, place, shape=(4,), dtype="u1", external=[(rng.choice(("/etc/hostname", "/dev/zero")), 0, 4)])
        return
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "data", shape=(4,))
    del file[place]
    file.create_virtual_dataset(place, layout)


def _rename(rng: Random, file: h5py.File, place: str) -> None:
    parent = place.rpartition("/")[0]
    file.move(place, f"{parent}/{rng.choice(odd.NAMES)}")


def _swap(rng: Random, file: h5py.File, place: str) -> None:
    """Another item in the place of this one."""
    places = list[str]()
    file.visit(places.append)
    other = rng.choice(places)
    if not (place.startswith(other) or other.startswith(place)):
        del file[place]
        file.copy(other, place)


def _edges(rng: Random, file: h5py.File, place: str) -> None:
    """Other edges: turned round, twice, to itself, to nobody, or not in pairs."""
    place = rng.choice([name for name in _all(file) if name.endswith("edges")] or [place])
    found = file[place]
    if not _is_small(found):
        return
    pairs = [list(map(bytes, pair)) for pair in np.asarray(found[()]).tolist() if isinstance(pair, list)]
    names = [name for pair in pairs for name in pair] or [b"a"]
    change = rng.randrange(6)
    if change == 0 and pairs:
        pairs[rng.randrange(len(pairs))].reverse()
    elif change == 1:
        pairs.append([rng.choice(names), rng.choice(names)])
    elif change == 2 and pairs:
        pairs.append(list(rng.choice(pairs)))
    elif change == 3:
        pairs.append([rng.choice(names), rng.choice(odd.NAMES).encode()])
    elif change == 4 and pairs:
        pairs.pop(rng.randrange(len(pairs)))
    else:
        pairs = [[*pair, rng.choice(names)] for pair in pairs]
    del file[place]
    file.create_dataset(place, data=pairs, dtype=h5py.string_dtype())


def _all(file: h5py.File) -> list[str]:
    places = list[str]()
    file.visit(places.append)
    return places


def _attribute(rng: Random, file: h5py.File, place: str) -> None:
    names = [*file[place].attrs, *file.attrs, "__type__"]
    where = rng.choice((file[place], file))
    value = rng.choice((odd.number(rng), rng.choice(odd.NAMES), np.zeros(3), h5py.Empty("f8")))
    if rng.random() < 0.3:
        where.attrs.pop(rng.choice(names))
    else:
        where.attrs[rng.choice(names)] = value


CHANGES = (
    *(_remove, _odd_array, _odd_array, _odd_scalar, _odd_scalar, _other_form, _other_form, _odd_element, _odd_element),
    *(_huge, _odd_type, _group, _link, _outside, _rename, _swap, _edges, _edges, _attribute),
)
