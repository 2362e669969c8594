"""Recordings in NIR's data format (`nir.NIRGraphData`): clips to run, or spikes to compare with."""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from numpy.typing import NDArray

from deploy.clips.source import placed, split_place
from deploy.ir.fields import DAMAGED
from hardware.hdf5 import opened
from svformer.common.errors import InputError
from svformer.common.room import available_bytes, require_room

Grid = NDArray[Any]  # [N samples, T, neurons]


SPIKES = "spikes"


SAME_DT = 1e-3  # relative; float32 leaves less


ROUNDING = 1e-6  # of a time step


def is_recording(path: Path) -> bool:
    """Whether a clip's path names a recording of NIR, or a sample of one; another HDF5 file holds arrays."""
    file, _ = split_place(path)
    if file.suffix.lower() not in (".h5", ".hdf5"):
        return False
    try:
        with h5py.File(file, "r") as content:
            return str(content.attrs.get("__type__")) == "NIRGraphData"
    except (OSError, *DAMAGED):
        return False  # the error is raised when the file is loaded


def samples(path: Path) -> list[Path]:
    """A path for every sample of a recording's input: FILE.h5#0, FILE.h5#1, .."""
    return [placed(path, i) for i in range(_input_of(path).n_samples)]


def clip_format(sample: Path, dt_s: float | None) -> tuple[int, float]:
    """Time steps of the input of a recording, and their seconds; `dt_s` is the graph's, if it has one.

    Raises `InputError` when the recording has other time steps, or none (events) and the graph neither.
    """
    path, _ = split_place(sample)
    observable = _input_of(path)
    recorded_s = float(observable.dt) if isinstance(observable, nir.TimeGriddedData) else dt_s
    if recorded_s is None:
        raise InputError(f"{path}: events without a time step; say it with --dt")
    if dt_s is not None and not _same(recorded_s, dt_s):
        raise InputError(f"{path}: time steps of {recorded_s:g} s, the graph runs with {dt_s:g} s; see --dt")
    return _on_grid(observable, recorded_s).shape[1], recorded_s


def load_sample(path: Path, frames: int, shape: tuple[int, ...]) -> Grid:
    """The input [T, *shape] that a sample `FILE.h5#i` holds; raises `InputError` when it does not fit."""
    file, place = split_place(path)
    observable = _input_of(file)
    dt_s = observable.dt if isinstance(observable, nir.TimeGriddedData) else observable.t_max / frames
    values = _on_grid(observable, dt_s)[place or 0]
    if values.shape != (frames, int(np.prod(shape))):
        raise InputError(
            f"{path}: {len(values)} time steps of {values.shape[1]} values; this graph takes {frames} of {list(shape)}"
        )
    return values.reshape(frames, *shape)


def read_spikes(path: Path) -> dict[str, Any]:
    """The observable `spikes` of every layer of a recording; raises `InputError` when there are none."""
    observables = {name: node.observables for name, node in _read(path).items()}
    found = {name: o[SPIKES] for name, o in observables.items() if SPIKES in o}
    if not found:
        raise InputError(f"{path}: no node has an observable '{SPIKES}'; found {_contents(observables)}")
    return found


def _read(path: Path) -> dict[str, nir.NIRNodeData]:
    """Every node of a recording; a node of a graph inside it is named "outer.inner"."""
    if not path.is_file():
        raise InputError(f"{path}: no such recording")
    found = path.stat()
    return _read_unchanged(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=2)  # samples are read one after the other
def _read_unchanged(path: Path, size: int, changed_ns: int) -> dict[str, nir.NIRNodeData]:
    try:
        with opened(path, room=available_bytes()):
            found = dict(_nodes(nir.read_data(str(path)), ""))
        if problems := [line for name, node in found.items() for line in _problems(name, node)]:
            raise ValueError("; ".join(problems))
        return found
    except (OSError, *DAMAGED) as error:
        raise InputError(f"{path}: not a recording of NIR ({error}); write it with nir.write_data") from error


def _problems(name: str, node: nir.NIRNodeData) -> Iterator[str]:
    """What is wrong with the observables of a node."""
    for what, observable in node.observables.items():
        gridded = isinstance(observable, nir.TimeGriddedData)
        for line in _grid_problems(observable) if gridded else _event_problems(observable):
            yield f"{name}, {what}: {line}"


def _grid_problems(observable: nir.TimeGriddedData) -> Iterator[str]:
    data = np.asarray(observable.data)
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        yield f"{data.dtype} values of shape {list(data.shape)}; allowed: real numbers [samples, time steps, neurons]"
    if not 0 < observable.dt < np.inf:
        yield f"dt is {observable.dt}; allowed: a positive number of seconds"


def _event_problems(observable: nir.EventData) -> Iterator[str]:
    index, time, size = np.asarray(observable.idx), np.asarray(observable.time), observable.n_neurons
    value = np.asarray(observable.value) if isinstance(observable, nir.ValuedEventData) else time
    if index.ndim != 2 or index.dtype.kind not in "iu" or not index.shape == time.shape == value.shape:
        yield f"{index.dtype} indices of shape {list(index.shape)}; allowed: whole numbers [samples, events]"
    elif time.dtype.kind not in "biuf" or value.dtype.kind not in "biuf":
        yield f"times of {time.dtype} and values of {value.dtype}; allowed: real numbers"
    elif (index >= size).any() or not (np.isfinite(time) & (time >= 0) & np.isfinite(value))[index >= 0].all():
        yield f"events beyond the {size} neurons, or at no time; allowed: neurons from 0, times from 0"
    if not (0 < observable.t_max < np.inf and size >= 1):
        yield f"t_max {observable.t_max}, {size} neurons; allowed: positive numbers"


def _nodes(data: nir.NIRGraphData, prefix: str) -> Iterable[tuple[str, nir.NIRNodeData]]:
    for name, node in data.nodes.items():
        if isinstance(node, nir.NIRGraphData):
            yield from _nodes(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def _input_of(path: Path) -> Any:
    """The only observable of the only node, or of the one that is named as an input."""
    observables = {name: node.observables for name, node in _read(path).items()}
    inputs = [name for name in observables if name.lower().startswith("input")]
    names = inputs or list(observables)
    if len(names) != 1 or len(observables[names[0]]) != 1:
        raise InputError(
            f"{path}: which of {_contents(observables)} is the input? allowed: one node with one observable, or one "
            "whose name begins with 'input'"
        )
    return next(iter(observables[names[0]].values()))


def _contents(observables: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} ({', '.join(found)})" for name, found in observables.items())


def _same(recorded_s: float, dt_s: float) -> bool:
    return bool(np.isclose(recorded_s, dt_s, rtol=SAME_DT))


def _on_grid(observable: Any, dt_s: float) -> Grid:
    """Values on a grid, [N, T, neurons]; an event is in the time step in which it happens.

    (nir's own `to_time_gridded` moves events back by a step where 6e-4 / 1e-4 is 5.999999999999999.)
    """
    if isinstance(observable, nir.TimeGriddedData):
        return np.asarray(observable.data)
    indices, times = np.asarray(observable.idx), np.asarray(observable.time)
    valued = isinstance(observable, nir.ValuedEventData)
    shape = (len(indices), round(observable.t_max / dt_s), observable.n_neurons)
    require_room("events on a grid", (8 if valued else 1) * math.prod(shape))
    grid = np.zeros(shape, dtype=float if valued else bool)
    sample, event = np.nonzero(indices >= 0)
    step = np.floor(times[sample, event] / dt_s + ROUNDING).astype(int)
    inside = step < shape[1]
    sample, event, step = sample[inside], event[inside], step[inside]
    grid[sample, step, indices[sample, event]] = observable.value[sample, event] if valued else True
    return grid
