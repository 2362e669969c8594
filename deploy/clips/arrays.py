"""Files that hold clips as arrays: .npy, .npz, .csv, .pt and HDF5; what each of them holds, whatever a graph takes.

A file holds one array (of one clip, or of several), or an array for each clip, and classes where it names them: arrays
`x` and `y`, `clips` and `labels`, or a list of pairs. Nothing in a file is ever executed.
"""

import csv
import functools
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from hardware.hdf5 import opened
from svformer.common.errors import InputError
from svformer.common.files import read_text
from svformer.common.npy import ARCHIVE, DAMAGED, load_npy, load_npz
from svformer.common.room import available_bytes
from svformer.common.tensors import load_tensors

Values = NDArray[Any]

CLIP_NAMES, LABEL_NAMES = ("x", "clips", "data", "inputs"), ("y", "labels", "targets")  # in any case of letters
NUMBERED = "arr_"  # names that numpy.savez gives to arrays without one: a clip each
ALLOWED = "allowed: one array, or 'x' (or 'clips') with 'y' (or 'labels')"


@dataclass(frozen=True, kw_only=True)
class StoredClips:
    """What a file holds: one array, or one for each clip; classes of the clips where it has them, numbers or names."""

    values: Values | Sequence[Values]
    labels: tuple[str, ...] | None = None


def holds_arrays(path: Path) -> bool:
    """Whether a file holds arrays, by its name."""
    return path.suffix.lower() in READERS


def read_arrays(path: Path) -> StoredClips:
    """What a file holds; raises `InputError` where it cannot be read, or holds something else.

    The last file is kept, so that its clips are read one after the other without reading it anew.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: not a readable {path.suffix} file ({error})") from error
    return _read(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, size: int, changed_ns: int) -> StoredClips:
    return READERS[path.suffix.lower()](path)


def _read_npy(path: Path) -> StoredClips:
    try:
        with path.open("rb") as file:
            if file.read(4) in ARCHIVE:
                raise InputError(f"{path}: an archive of arrays; call it .npz, or save one array with numpy.save")
        return StoredClips(values=load_npy(path, mapped=True))
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error


def _read_npz(path: Path) -> StoredClips:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an archive of arrays; write it with numpy.savez")
    try:
        arrays = load_npz(path, path)
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from error
    return _named(path, arrays)


def _read_hdf5(path: Path) -> StoredClips:
    arrays: dict[str, Values] = {}

    def add(name: str, found: h5py.Group | h5py.Dataset) -> None:
        if isinstance(found, h5py.Dataset):
            if found.dtype.kind not in "biufcSUO" or found.shape is None:
                raise ValueError(f"{name} has no numbers but {found.dtype}")
            arrays[name] = np.asarray(found[()])

    try:
        with opened(path, room=available_bytes()) as file:
            file.visititems(add)
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    return _named(path, arrays)


def _read_csv(path: Path) -> StoredClips:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        comma = next((mark for mark in ",;\t" if lines and mark in lines[0]), None)  # else spaces, as numpy writes
        rows = lines if not lines or _are_numbers(lines[0], comma) else lines[1:]
        if not rows:
            raise ValueError("no rows")
        return StoredClips(values=np.loadtxt(rows, delimiter=comma, ndmin=2, comments=None))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a table of numbers ({error}); allowed: a row for each time step, a column for each input"
        ) from error


def _are_numbers(line: str, comma: str | None) -> bool:
    try:
        [float(cell) for cell in line.split(comma)]
    except ValueError:
        return False
    return True


def _read_torch(path: Path) -> StoredClips:
    try:
        with path.open("rb") as file:
            if not file.read(2).startswith((b"PK", b"\x80")):  # an archive, or a pickle of old versions
                raise ValueError("torch.save did not write it")
        found = load_tensors(path)
    except (OSError, ValueError) as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise InputError(
                f"{path}: holds more than tensors, and code in a file is never executed; save tensors alone: "
                "torch.save(clip, FILE)"
            ) from error
        raise InputError(f"{path}: not a readable file of tensors; write it with torch.save") from error
    return _of_torch(path, found)


def _of_torch(path: Path, found: Any) -> StoredClips:
    """A tensor, a list of them, pairs of a clip and its class, clips with their classes, or a dictionary of tensors."""
    if isinstance(found, Mapping):
        return _named(path, {str(name): _array(path, value) for name, value in found.items()})
    if not isinstance(found, list | tuple):
        return StoredClips(values=_array(path, found))
    if found and all(isinstance(item, list | tuple) and len(item) == 2 for item in found):
        clips, labels = ([_array(path, part) for part in parts] for parts in zip(*found, strict=True))
        if any(label.size != 1 for label in labels):
            raise InputError(f"{path}: pairs whose second part is no class; allowed: clip and class, or clips alone")
        return StoredClips(values=clips, labels=_labels(path, np.array([label.item() for label in labels])))
    arrays = [_array(path, item) for item in found]
    if not arrays:
        raise InputError(f"{path}: no array in it; {ALLOWED}")
    if len(arrays) == 2 and arrays[1].ndim < 2 <= arrays[0].ndim:
        return _with_labels(path, arrays[0], arrays[1])
    return StoredClips(values=arrays)


def _array(path: Path, value: Any) -> Values:
    if isinstance(value, torch.Tensor):
        whole = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        try:
            return np.asarray((whole.float() if whole.dtype == torch.bfloat16 else whole).numpy())
        except (TypeError, RuntimeError) as error:  # of kinds that NumPy has not
            raise InputError(f"{path}: a tensor of {whole.dtype}; allowed: real numbers, bool") from error
    if isinstance(value, list) and value and all(isinstance(item, torch.Tensor) for item in value):
        clips = np.empty(len(value), dtype=object)  # they may differ in length
        clips[:] = [_array(path, item) for item in value]
        return clips
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: holds {type(value).__name__} where a tensor belongs; {ALLOWED}") from error
    if array.dtype.kind not in "biufU":
        raise InputError(f"{path}: holds {type(value).__name__} where a tensor belongs; {ALLOWED}")
    return array


def _named(path: Path, arrays: Mapping[str, Values]) -> StoredClips:
    """Clips and classes among arrays with names."""
    if not arrays:
        raise InputError(f"{path}: no array in it; {ALLOWED}")
    of_labels = [name for name in arrays if _last(name) in LABEL_NAMES] if len(arrays) > 1 else []
    others = [name for name in arrays if name not in of_labels]
    named = [name for name in others if _last(name) in CLIP_NAMES] if len(others) > 1 else others
    values: Values | list[Values] | None = arrays[named[0]] if len(named) == 1 else None
    if values is None and all(name.startswith(NUMBERED) for name in others):
        values = [arrays[name] for name in sorted(others, key=lambda name: (len(name), name))]
    if values is None or len(of_labels) > 1:
        raise InputError(f"{path}: which of {', '.join(arrays)} are the clips? {ALLOWED}")
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim:
        values = [np.asarray(clip) for clip in values]
    return _with_labels(path, values, arrays[of_labels[0]]) if of_labels else StoredClips(values=values)


def _last(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _with_labels(path: Path, values: Values | Sequence[Values], labels: Values) -> StoredClips:
    return StoredClips(values=values, labels=_labels(path, labels))


def _labels(path: Path, labels: Values) -> tuple[str, ...]:
    """Classes as text: names, or whole numbers."""
    flat = labels.reshape(-1) if labels.size == len(np.atleast_1d(labels)) else labels
    if flat.ndim != 1:
        raise InputError(f"{path}: labels of shape {list(labels.shape)}; allowed: [clips], a class for each")
    if flat.dtype.kind in "SO":
        flat = np.array([_text(path, item) for item in flat])
    if flat.dtype.kind not in "biufU" or (
        flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.rint(flat))).all()
    ):
        raise InputError(f"{path}: labels that are no classes; allowed: names, or whole numbers from 0")
    return tuple(str(item) if flat.dtype.kind == "U" else str(int(item)) for item in flat.tolist())


def _text(path: Path, item: object) -> str:
    try:
        return item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: labels that are no text in UTF-8 ({error}); save them as such") from error


READERS: dict[str, Callable[[Path], StoredClips]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a table of text, with their numbers from 1; empty lines are left out.

    Raises `InputError` where the file cannot be read.
    """
    lines = read_text(path).splitlines()
    comma = next((mark for mark in ",;\t" if lines and mark in lines[0]), ",")
    try:
        rows = list(enumerate(csv.reader(lines, delimiter=comma), start=1))
    except csv.Error as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    return [(number, [cell.strip() for cell in row]) for number, row in rows if any(cell.strip() for cell in row)]
