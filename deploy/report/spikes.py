"""spikes.h5: the spikes of every neuron layer in NIR's own data format (nir.write_data)."""

from pathlib import Path

import nir
import numpy as np
from numpy.typing import NDArray

from svformer.files import atomic_path


def write_spikes(spikes: dict[str, NDArray[np.uint8]], path: Path, *, dt_s: float) -> None:
    """Write spikes [N, T, C, H, W]: a NIRNodeData for each layer, named as in the .nir file, observable `spikes`."""
    nodes = {name: nir.NIRNodeData({"spikes": _gridded(signal, dt_s)}) for name, signal in spikes.items()}
    with atomic_path(path) as temporary:
        nir.write_data(str(temporary), nir.NIRGraphData(nodes=nodes))


def _gridded(signal: NDArray[np.uint8], dt_s: float) -> nir.TimeGriddedData:
    return nir.TimeGriddedData(signal.reshape(*signal.shape[:2], -1).astype(bool), dt_s)
