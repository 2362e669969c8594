"""Recurrence: which edges of a graph deliver the value of an earlier time step, and the order of execution.

NIR's time is continuous and says nothing of it, so this is our rule, and the one of recurrent layers in norse and
snnTorch (one step from a spike to its own neuron's input):

1. A Delay node of more than zero breaks every loop through it: its value is an older one anyway.
2. Of the loops that remain, the edge that leads back is late by one time step: the edge u -> v where every path to u
   from an Input, or from another node that no edge leads to, goes through v. A loop that can be entered at several
   nodes, or at none, has no such edge; there every edge that leaves a neuron is late.
3. What is late is the spike, not the weights behind it: where nothing else uses u, a node without state, the edges
   into u are late in its place. So a bias of a recurrent weight acts from the first step on.
4. A late edge gives 0 in the first time step.
5. A loop without a neuron or integrator, and without a delay, is refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import networkx as nx
import nir
import numpy as np

from deploy.ir.soft_reset import SubtractLIF

Edge = tuple[str, str]

STATEFUL = (nir.LIF, nir.IF, nir.LI, nir.I, nir.CubaLI, nir.CubaLIF, SubtractLIF)


def late_edges(nodes: Mapping[str, nir.NIRNode], edges: Iterable[Edge]) -> dict[Edge, int]:
    """Edges that deliver an older value, and by how many time steps; raises `ValueError` by rule 5."""
    full = _graph(nodes, edges)
    if nx.is_directed_acyclic_graph(full):
        return {}
    direct = _graph(nodes, (edge for edge in full.edges if not is_delay(nodes[edge[1]])))
    loops = _loops(direct)
    _refuse_stateless(nodes, loops)
    begins = [name for name in full if not full.in_degree(name)]
    back = {edge for loop in loops for edge in loop.edges if _leads_back(begins, direct, edge)}
    ahead = _graph(nodes, (edge for edge in direct.edges if edge not in back))
    left = {edge for loop in _loops(ahead) for edge in loop.edges if isinstance(nodes[edge[0]], STATEFUL)}
    return _moved_to_spikes(nodes, full, dict.fromkeys(back | left, 1))


def execution_groups(nodes: Mapping[str, nir.NIRNode], edges: Iterable[Edge]) -> list[tuple[str, ...]]:
    """Nodes in an order in which each comes after its sources; the nodes of a loop are one group.

    Within a group a node comes after the sources whose value it needs in the same time step.
    """
    full = _graph(nodes, edges)
    late = late_edges(nodes, full.edges)
    at_once = _graph(nodes, (e for e in full.edges if e not in late and not is_delay(nodes[e[1]])))
    return grouped(_in_order(at_once, list(nodes).index), full.edges)


def grouped(names: Iterable[str], edges: Iterable[Edge]) -> list[tuple[str, ...]]:
    """Names in topological order, those of a loop as one group; the order given decides all that is left open."""
    position = {name: i for i, name in enumerate(names)}
    groups = nx.condensation(_graph(position, edges))
    members = {group: sorted(groups.nodes[group]["members"], key=position.__getitem__) for group in groups}
    order = _in_order(groups, lambda group: position[members[group][0]])
    return [tuple(members[group]) for group in order]


def parts(names: Iterable[str], edges: Iterable[Edge]) -> list[set[str]]:
    """Names in the parts that no edge joins with each other."""
    return [set(part) for part in nx.weakly_connected_components(_graph(names, edges))]


def is_delay(node: nir.NIRNode) -> bool:
    """Whether a node is a Delay that holds all its values back."""
    return isinstance(node, nir.Delay) and bool((np.asarray(node.delay) > 0).all())


def is_loop(group: tuple[str, ...], edges: Iterable[Edge]) -> bool:
    """Whether a group of `execution_groups` is a loop, of one node or more."""
    return len(group) > 1 or (group[0], group[0]) in edges


def _graph(nodes: Iterable[str], edges: Iterable[Edge]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    return graph


def _in_order(graph: nx.DiGraph, position: Callable[[Any], int]) -> list[Any]:
    """Topological order; what could come at the same place keeps the order of `position`."""
    return [node for generation in nx.topological_generations(graph) for node in sorted(generation, key=position)]


def _loops(graph: nx.DiGraph) -> list[nx.DiGraph]:
    parts = (graph.subgraph(names) for names in nx.strongly_connected_components(graph))
    return [part for part in parts if part.number_of_edges()]


def _refuse_stateless(nodes: Mapping[str, nir.NIRNode], loops: Iterable[nx.DiGraph]) -> None:
    stateless = (loop.subgraph(name for name in loop if not isinstance(nodes[name], STATEFUL)) for loop in loops)
    for loop in (inner for part in stateless for inner in _loops(part)):
        names = ", ".join(sorted(loop))
        raise ValueError(f"a loop through {names} without a neuron or a delay: its value would depend on itself")


def _leads_back(begins: Sequence[str], graph: nx.DiGraph, edge: Edge) -> bool:
    """Rule 2: every path from where the graph begins to the edge's source goes through its target."""
    source, target = edge
    around = graph.subgraph(name for name in graph if name != target)
    return _reachable(graph, begins, source) and not _reachable(around, begins, source)


def _reachable(graph: nx.DiGraph, begins: Sequence[str], name: str) -> bool:
    return name in graph and any(nx.has_path(graph, start, name) for start in begins)


def _moved_to_spikes(nodes: Mapping[str, nir.NIRNode], graph: nx.DiGraph, late: dict[Edge, int]) -> dict[Edge, int]:
    """Rule 3; what is late may then be so by more than one step."""
    moving = True
    while moving:
        moving = False
        for name in dict.fromkeys(source for source, _ in late):
            steps = min(late.get(edge, 0) for edge in graph.out_edges(name))
            if steps and not isinstance(nodes[name], STATEFUL):
                after = {edge: late[edge] - steps for edge in graph.out_edges(name)}
                before = {edge: late.get(edge, 0) + steps for edge in graph.in_edges(name)}
                late, moving = {e: n for e, n in (late | after | before).items() if n}, True
    return late
