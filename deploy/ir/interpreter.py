"""What a NIR graph computes, in float64 and plain NumPy: the meaning of every node that we support.

Shapes: N clips, T time steps, then the node's own shape. NIR's time is continuous; neurons take one Euler step for
every frame (deploy.ir.neurons), a delay is a whole number of them, loops are one step late (deploy.ir.loops).
"""

import math
from collections.abc import Callable, Iterable, Mapping

import nir
import numpy as np

from deploy.ir.canonical import canonical
from deploy.ir.dialects import NIR, Dialect, dialect_of
from deploy.ir.extension import ExtensionNode
from deploy.ir.loops import execution_groups, is_loop, late_edges
from deploy.ir.neurons import NEURONS, Layer, equation, run_layer
from deploy.ir.primitives import held_back, own_input_shape, primitive_of
from deploy.ir.shapes import infer_shapes, predecessors
from deploy.ir.types import Array, NodeShape, Values
from svformer.common.errors import InputError


def interpret(
    graph: nir.NIRGraph,
    frames_NTCHW: Values,
    *,
    record: Iterable[str] | None = None,
    on_node: Callable[[str, Mapping[str, Array]], None] = lambda name, signals: None,
) -> dict[str, Array]:
    """Output of every node for a batch of clips, [N, T, *shape] each; a time step is that of the graph's metadata.

    With `record`, only those nodes are returned, and the memory of all others is released on the way; `on_node` is
    called with every node in order of execution, while its signal and those of its sources are there. Nodes of graphs
    inside the graph are named "outer.inner". Raises `InputError` for a graph that means nothing.
    """
    dt, dialect = graph_dt_s(graph), dialect_of(graph.metadata)
    try:
        graph = canonical(graph)
        shapes = infer_shapes(graph)
        groups = execution_groups(graph.nodes, graph.edges)
    except ValueError as error:
        raise InputError(f"inconsistent graph: {error}") from error
    sources, recorded = predecessors(graph), set(graph.nodes if record is None else record)
    signals: dict[str, Array] = {}
    last_use = {source: group for group in groups for name in group for source in sources[name]}
    for group in groups:
        if is_loop(group, graph.edges):
            signals |= _Loop(graph, group, signals, shapes, np.shape(frames_NTCHW)[:2], dt, dialect).run()
        elif isinstance(node := graph.nodes[group[0]], nir.Input):
            signals[group[0]] = np.asarray(frames_NTCHW, dtype=np.float64)
        else:
            incoming = [signals[source] for source in sources[group[0]]]
            if not incoming:
                incoming = [np.zeros((*np.shape(frames_NTCHW)[:2], *own_input_shape(node)))]
            signals[group[0]] = _apply(node, sum(incoming[1:], start=incoming[0]), dt, dialect)
        for name in group:
            on_node(name, signals)
        for source in {source for name in group for source in sources[name]}:
            if last_use[source] == group and source not in recorded:
                del signals[source]
    return {name: signals[name] for group in groups for name in group if name in recorded}


def graph_dt_s(graph: nir.NIRGraph) -> float:
    """Length of a time step in seconds, from the graph's metadata; raises `InputError` when it is not there."""
    if "dt" not in graph.metadata:
        raise InputError("the graph's metadata has no 'dt' (length of a time step in seconds); say it with --dt")
    found = graph.metadata["dt"]
    try:
        dt_s = float(np.asarray(found).item())
    except (ValueError, TypeError):
        dt_s = math.nan
    if not 0 < dt_s < math.inf:
        raise InputError(f"dt is {np.asarray(found).tolist()}; allowed: a positive number of seconds")
    return dt_s


def _apply(node: nir.NIRNode, x: Array, dt: float, dialect: Dialect = NIR) -> Array:
    if isinstance(node, NEURONS):
        return run_layer(equation(node, dt, dialect), x)
    run = primitive_of(node).run
    assert run is not None, "inputs are given, neurons were run above"
    return run(node, x, dt)


class _Loop:
    """The nodes of a loop, executed together, one time step after the other."""

    def __init__(
        self,
        graph: nir.NIRGraph,
        group: tuple[str, ...],
        outside: Mapping[str, Array],
        shapes: Mapping[str, NodeShape],
        batch: tuple[int, int],
        dt: float,
        dialect: Dialect,
    ) -> None:
        self.nodes, self.group, self.dt, self.steps = graph.nodes, group, dt, batch[1]
        self.sources, self.late = predecessors(graph), late_edges(graph.nodes, graph.edges)
        self.signals = {name: np.zeros((*batch, *shapes[name])) for name in group}
        self.known = {**outside, **self.signals}
        neurons = {name: node for name in group if isinstance(node := graph.nodes[name], NEURONS)}
        self.layers = {name: Layer(equation(node, dt, dialect), batch[0]) for name, node in neurons.items()}

    def run(self) -> dict[str, Array]:
        for t in range(self.steps):
            for name in self.group:
                self.signals[name][:, t] = self._sent(name, t)
        return self.signals

    def _sent(self, name: str, t: int) -> Array:
        node = self.nodes[name]
        if name in self.layers:
            return self.layers[name].step(self._arriving(name, t))
        if isinstance(node, nir.Delay):
            return held_back(node, self.dt, lambda k: self._arriving(name, t - k))
        now = node.at(t) if isinstance(node, ExtensionNode) else node
        return _apply(now, self._arriving(name, t)[:, np.newaxis], self.dt)[:, 0]

    def _arriving(self, name: str, t: int) -> Array:
        """What the edges into a node deliver at step t; 0 before the first."""
        sent = [(self.known[source], t - self.late.get((source, name), 0)) for source in self.sources[name]]
        return sum((signal[:, step] for signal, step in sent if step >= 0), start=np.zeros_like(sent[0][0][:, 0]))
