"""Recordings in NIR's data format (`nir.NIRGraphData`): clips to run, and spikes of another simulator to compare with.

A recording holds observables of nodes, each of several samples, on a grid of time steps or as events. As a clip, a
sample of the input node's observable is what enters the network: `FILE.h5#0`, `FILE.h5#1`, .. As a reference, the
`spikes` of every layer are compared with ours, sample by sample.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.clips.nir_data import Grid, _on_grid, _same, read_spikes
from deploy.exchange.real_numbers import in_real_numbers
from deploy.ir.integer import IntNetwork
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.network import Network
from svformer.common.errors import InputError


def _spikes_on_grid(path: Path, dt_s: float) -> dict[str, Grid]:
    """Spikes of every layer, [N, T, neurons], bool, in time steps of the graph."""
    found = read_spikes(path)
    on_grids = {name: float(o.dt) for name, o in found.items() if isinstance(o, nir.TimeGriddedData)}
    other = [f"{name} ({recorded_s:g} s)" for name, recorded_s in on_grids.items() if not _same(recorded_s, dt_s)]
    if other:
        raise InputError(f"{path}: time steps other than the graph's {dt_s:g} s: {', '.join(other)}; see --dt")
    return {name: _on_grid(observable, dt_s).astype(bool) for name, observable in found.items()}


def require_comparable(path: Path, network: Network, dt_s: float) -> None:
    """Raise `InputError`, before anything runs, for what `compare` would refuse."""
    recorded = _spikes_on_grid(path, dt_s)
    layers = network.neuron_layers
    for theirs, ours in _matched(path, recorded, dict.fromkeys(layers)).items():
        silence = np.zeros((1, network.frames, *network.populations[ours].shape), dtype=bool)
        _like(path, ours, recorded[theirs][:1], silence)


def compare(
    path: Path,
    graph: nir.NIRGraph,
    frames: NDArray[Any],
    deployed: Mapping[str, NDArray[Any]],
    *,
    integers: IntNetwork | None = None,
) -> dict[str, Any]:
    """Spikes of a recording beside those in real numbers and of the deployed network, layer by layer.

    `frames` [N, T, *input shape] are the first clips that were run, `deployed` what its layers fired on at least as
    many, `integers` those of a graph that holds them (`in_real_numbers`). Layers are matched by the names in the .nir
    file. Returns plain values for report.json ("reference"): the shares of equal spikes of each layer, and where [clip,
    time step, neuron] the first differs; names without a layer, but for those of inputs.

    Raises `InputError` when no layer bears a name of the recording, or their sizes differ.
    """
    recorded = _spikes_on_grid(path, graph_dt_s(graph))
    names = _matched(path, recorded, deployed)
    exact = in_real_numbers(graph, integers, frames, names.values())
    layers = []
    for theirs, ours in names.items():
        expected = recorded[theirs][: len(frames)]
        found = {"float": exact[ours], "deployed": deployed[ours]}
        grids = {kind: _like(path, ours, expected, signal) for kind, signal in found.items()}
        found_by = _differences(expected, grids)
        layers.append({"name": ours, "rate": float(expected.mean()), "compared": expected.size, **found_by})
    unmatched = recorded.keys() - names.keys() - graph.inputs.keys()  # what enters is a clip, and no layer
    return {"file": path.name, "layers": layers, "unmatched": sorted(unmatched)}


def _differences(expected: Grid, found: Mapping[str, Grid]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for kind, signal in found.items():
        differs = signal.astype(bool) != expected
        by_time = np.moveaxis(differs, 1, 0)
        step, clip, neuron = (int(i) for i in np.unravel_index(int(by_time.argmax()), by_time.shape))
        result[f"{kind}_match"] = 1.0 - float(differs.mean())
        result[f"{kind}_first_difference"] = [clip, step, neuron] if differs.any() else None
    return result


def _matched(path: Path, recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, str]:
    """Our name of every recorded layer, in our order; torch's modules have "_" where a name has a dot."""
    plain = {name.replace(".", "_"): name for name in ours}
    found = {name: plain[name.replace(".", "_")] for name in recorded if name.replace(".", "_") in plain}
    if not found:
        raise InputError(f"{path}: spikes of {', '.join(recorded)}; the network's layers are {', '.join(ours)}")
    order = list(ours)
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1])))


def _like(path: Path, name: str, expected: Grid, signal: NDArray[Any]) -> Grid:
    grid = signal[: len(expected)].reshape(*signal[: len(expected)].shape[:2], -1)
    if grid.shape != expected.shape:
        raise InputError(
            f"{path}: {name} has {list(expected.shape)} spikes (clips, time steps, neurons), ours {list(grid.shape)}"
        )
    return grid
