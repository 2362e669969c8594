"""Networks of integers written to a file: as NIR, or as lava-dl's netx reads them."""

from pathlib import Path

from deploy.errors import GateError
from deploy.exchange.integers import Metadata, graph_of, integers_of, same_networks
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntNetwork
from deploy.ir.primitives import NodeShape


def write_integers(
    network: IntNetwork, path: str | Path, *, dt_s: float, input_shape: NodeShape, metadata: Metadata
) -> None:
    """Write a network, read it again and find it equal; `metadata` are those of the graph that was deployed.

    Raises `GateError` where what was read is another network.
    """
    write_nir(graph_of(network, dt_s=dt_s, input_shape=input_shape, metadata=metadata), path)
    if not same_networks(network, integers_of(read_nir(path))):
        raise GateError(f"{path}: what was written and what was read from it differ")
