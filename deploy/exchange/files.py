"""Networks of integers written to a file: as NIR, or as lava-dl's netx reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.errors import GateError
from deploy.exchange.endings import NETX
from deploy.exchange.integers import Metadata, graph_of, integers_of, same_networks
from deploy.exchange.netx.reading import read_net
from deploy.exchange.netx.writing import net_file
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.types import NodeShape
from svformer.common.files import write_bytes

CLIPS, STEPS = 2, 32  # of random values, by which a file is compared that has other names for the same


def write_integers(
    network: IntNetwork, path: str | Path, *, dt_s: float, input_shape: NodeShape, metadata: Metadata
) -> None:
    """Write a network, in the form of the file's ending, and read it again; `metadata` are the deployed graph's.

    Raises `InputError` for what has no place in such a file, `GateError` where what was read is another network.
    """
    if Path(path).suffix == NETX:
        write_bytes(path, net_file(network))
        equal = _alike(network, read_net(path)[0])
    else:
        write_nir(graph_of(network, dt_s=dt_s, input_shape=input_shape, metadata=metadata), path)
        equal = same_networks(network, integers_of(read_nir(path)))
    if not equal:
        Path(path).unlink()
        raise GateError(f"{path}: what was written and what was read from it differ")


def _alike(network: IntNetwork, read: IntNetwork) -> bool:
    """Whether all layers, in order, send the same for random clips."""
    entry, rng = network.input, np.random.default_rng(0)
    frames = rng.integers(entry.low, entry.high + 1, (CLIPS, min(STEPS, network.frames), *entry.shape))
    sent = (run_integer(n, frames).values() for n in (network, replace(read, frames=network.frames)))
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(*sent, strict=True))
