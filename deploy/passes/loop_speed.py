"""Loops that are faster than their synapses.

Every synapse takes a time step, so a loop over n synapses needs n time steps of delay. One closes it by the rules of
`deploy.ir.loops`, others where the graph has Delay nodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from deploy.ir.integer import IntConnection
from deploy.ir.network import Connection
from svformer.common.errors import InputError
from svformer.common.terminal import counted

START = object()  # a node of its own that leads to every population; no population bears its name


@dataclass(frozen=True, kw_only=True)
class FastLoop:
    """A way round with fewer time steps of delay than synapses."""

    names: tuple[str, ...]  # of its populations, in order
    delay: int  # time steps that the network holds its messages back

    @property
    def missing(self) -> int:
        """Time steps that it lacks, at least 1."""
        return len(self.names) - self.delay

    def __str__(self) -> str:
        return f"{' -> '.join((*self.names, self.names[0]))} ({len(self.names)} synapses, delay {self.delay})"


def fast_loop(connections: Iterable[Connection | IntConnection]) -> FastLoop | None:
    """A loop of the network that is too fast, or None where all have their time."""
    graph = nx.DiGraph()
    for c in connections:
        edge, spare = (c.source, c.target), c.delay - 1
        graph.add_edge(*edge, spare=min(spare, graph.edges[edge]["spare"] if edge in graph.edges else spare))
    graph.add_edges_from([(START, name) for name in list(graph)], spare=0)
    try:
        way = nx.find_negative_cycle(graph, START, weight="spare")
    except nx.NetworkXError:  # there is none
        return None
    spare = sum(graph.edges[edge]["spare"] for edge in pairwise(way))
    return FastLoop(names=tuple(way[:-1]), delay=spare + len(way) - 1)


def require_time(connections: Iterable[Connection | IntConnection]) -> None:
    """Raise `InputError` for a loop that is too fast."""
    if loop := fast_loop(connections):
        raise InputError(
            f"the loop {loop} has no time to go round: on a chip every synapse takes a time step, so a loop of "
            f"{counted(len(loop.names), 'synapse')} needs {len(loop.names)} of delay; --loop-delay adds the "
            f"{loop.missing} that it lacks and says so, or put a Delay of {counted(loop.missing, 'time step')} into it"
        )
