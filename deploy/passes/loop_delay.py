"""Loops that are faster than their synapses (`deploy.passes.loop_speed`) get the time steps that they lack.

They are written into the graph, as a Delay node, so that all executions have them: the interpreter of NIR too.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import networkx as nx
import nir
import numpy as np

from deploy.ir.canonical import canonical
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.loops import STATEFUL, Edge, late_edges
from deploy.ir.repairs import remember
from deploy.ir.shapes import infer_shapes
from deploy.ir.whole import new_name
from deploy.passes.chain_choice import Merge
from deploy.passes.loop_speed import FastLoop, fast_loop, require_time
from deploy.passes.lowering import lower
from svformer.common.errors import InputError
from svformer.common.terminal import counted


def with_loop_delays(graph: nir.NIRGraph, *, merge: Merge) -> nir.NIRGraph:
    """The graph with a Delay in every loop that lacks time steps; each is a note of the run.

    Raises `InputError` for a graph that cannot be lowered, and for a loop whose way through the graph is not found.
    """
    graph = canonical(graph)
    for _ in range(len(graph.edges)):
        loop = fast_loop(lower(graph, merge=merge).connections)
        if loop is None:
            return graph
        graph = _slower(graph, loop)
    require_time(lower(graph, merge=merge).connections)
    return graph


def _slower(graph: nir.NIRGraph, loop: FastLoop) -> nir.NIRGraph:
    late = late_edges(graph.nodes, graph.edges)
    ways = list(_edges_of(graph, loop))
    edge = next((e for e in ways if e in late), None) or next((e for e in ways if _waits(graph.nodes, e)), None)
    if edge is None:
        raise InputError(f"no place for a delay in the loop {loop}; put a Delay into it")
    source, target = edge
    steps, shape = late.get(edge, 0) + loop.missing, infer_shapes(graph)[source]
    name = new_name(f"{source}.loop_delay", graph.nodes)
    nodes = {**graph.nodes, name: nir.Delay(delay=np.full(shape, steps * graph_dt_s(graph)))}
    edges = [e for e in graph.edges if e != edge]
    slower = nir.NIRGraph(nodes, [*edges, (source, name), (name, target)], metadata=graph.metadata, type_check=False)
    added, in_all = counted(loop.missing, "time step"), f"{steps} in all" if steps > loop.missing else "all of them"
    remember(slower, [f"{source} -> {target}: --loop-delay adds {added} ({in_all}) to the loop {loop}"])
    return slower


def _waits(nodes: Mapping[str, nir.NIRNode], edge: Edge) -> bool:
    return isinstance(nodes[edge[0]], nir.Delay)


def _edges_of(graph: nir.NIRGraph, loop: FastLoop) -> Iterator[Edge]:
    """Edges of the graph on the way round: between the loop's populations, through nodes without state."""
    names = [name for name in loop.names if name in graph.nodes]
    drawn = nx.DiGraph(graph.edges)
    for source, target in pairwise([*names, *names[:1]]):
        between = {n for n in drawn if not isinstance(graph.nodes[n], STATEFUL)} - set(names)
        begins = nx.descendants(drawn.subgraph({*between, source}), source) | {source}
        ends = nx.ancestors(drawn.subgraph({*between, target}), target) | {target}
        yield from (edge for edge in graph.edges if edge[0] in begins and edge[1] in ends)
