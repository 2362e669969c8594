"""Builders of small NIR graphs: `import graphs`, then `graphs.chain({"in": graphs.entry(4), "a": graphs.lif(4)})`.

Every field of a neuron is a number for all neurons or an array. Where a test names no other, tau is 2 ms, twice the
time step, r and the threshold are 1, leak and reset are at 0.
"""

import itertools
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.interpreter import interpret
from deploy.ir.shapes import infer_shapes

DT_S = 1e-3
FIRES = {"v_threshold": 1.0, "v_reset": 0.0}


def with_dt(graph: nir.NIRGraph, dt_s: float) -> nir.NIRGraph:
    """The same graph with time steps of `dt_s` seconds."""
    return nir.NIRGraph(graph.nodes, graph.edges, metadata={**graph.metadata, "dt": dt_s}, type_check=False)


def filled(shape: tuple[int, ...], **fields: Any) -> dict[str, NDArray[np.float64]]:
    return {name: np.broadcast_to(value, shape).astype(np.float64) for name, value in fields.items()}


def entry(*shape: int) -> nir.Input:
    return nir.Input(np.array(shape))


def result(*shape: int) -> nir.Output:
    return nir.Output(np.array(shape))


def lif(*shape: int, **fields: Any) -> nir.LIF:
    return nir.LIF(**filled(shape, **{"tau": 2e-3, "r": 1.0, "v_leak": 0.0, **FIRES, **fields}))


def cubalif(*shape: int, **fields: Any) -> nir.CubaLIF:
    values = {"tau_syn": 3e-3, "tau_mem": 4e-3, "r": 1.0, "v_leak": 0.0, **FIRES, **fields}
    return nir.CubaLIF(**filled(shape, **values))


def integrate_and_fire(*shape: int, **fields: Any) -> nir.IF:
    """An input of 1 adds 1 in a time step."""
    return nir.IF(**filled(shape, **{"r": 1 / DT_S, **FIRES, **fields}))


def graph(nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], **metadata: Any) -> nir.NIRGraph:
    """`nir` does not check its types: it takes the channels of a group for all."""
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT_S, **metadata}, type_check=False)


def chain(nodes: dict[str, nir.NIRNode], **metadata: Any) -> nir.NIRGraph:
    """Nodes one after the other."""
    return graph(nodes, list(itertools.pairwise(nodes)), **metadata)


def run(node: nir.NIRNode, x_NT: NDArray[Any], **options: Any) -> NDArray[np.float64]:
    """What the interpreter says that a node sends for clips [N, T, ...]."""
    alone = chain({"in": entry(*x_NT.shape[2:]), "node": node})
    signals = interpret(alone, x_NT, **options)
    assert signals["node"].shape == (*x_NT.shape[:2], *infer_shapes(alone)["node"])
    return signals["node"]
