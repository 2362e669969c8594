"""spikes.h5: the spikes of every neuron layer in NIR's own data format (nir.write_data)."""

import io
from pathlib import Path

import nir
import numpy as np
from numpy.typing import NDArray

from svformer.common.files import write_bytes


def write_spikes(spikes: dict[str, NDArray[np.uint8]], path: Path, *, dt_s: float) -> None:
    """Write spikes [N, T, C, H, W]: a NIRNodeData for each layer, named as in the .nir file, observable `spikes`."""
    nodes = {name: nir.NIRNodeData({"spikes": _gridded(signal, dt_s)}) for name, signal in spikes.items()}
    content = io.BytesIO()
    nir.write_data(content, nir.NIRGraphData(nodes=nodes))
    write_bytes(path, content.getbuffer())


def _gridded(signal: NDArray[np.uint8], dt_s: float) -> nir.TimeGriddedData:
    return nir.TimeGriddedData(signal.reshape(*signal.shape[:2], -1).astype(bool), dt_s)
