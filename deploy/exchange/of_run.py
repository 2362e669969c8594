"""integers.h5 of a run: what somebody else needs to recount it (docs/recount.md), `hardware.recount` first of all."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from deploy.exchange.integers import group_of
from deploy.ir.integer import IntNetwork
from deploy.ir.machine import BIAS_BITS, GAIN_BITS, GRADED_BITS, STATE_BITS
from deploy.ir.plan import Plan
from svformer.common.files import write_bytes

WIDTHS = {"state": STATE_BITS, "bias": BIAS_BITS, "gain": GAIN_BITS, "graded": GRADED_BITS}
COMPRESSED = "gzip"


def write_of_run(network: IntNetwork, plan: Plan, input_NTCHW: NDArray[Any], path: Path) -> None:
    """Write the integers, how long connections hold messages back, the machine's widths, and what the input sent.

    Raises `ValueError` for a network that has no form in a file (`deploy.passes.chip_form`).
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write(file.create_group("integer"), group_of(network))
        file["lags"] = np.array([plan.lag(connection) for connection in network.connections], dtype=np.int64)
        _write(file.create_group("widths"), WIDTHS)
        file.create_dataset("input", data=input_NTCHW.astype(np.int32), compression=COMPRESSED)
    write_bytes(path, content.getbuffer())


def _write(group: h5py.Group, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        elif np.ndim(value) and np.size(value) > 1:
            group.create_dataset(name, data=value, compression=COMPRESSED)
        else:
            group[name] = value
