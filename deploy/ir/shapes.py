"""The shape of every signal of a NIR graph, and the order in which its nodes are executed.

`nir`'s own type check is not used: it takes the input of a grouped convolution for `weight.shape[1]` channels and
refuses conv -> neuron -> depthwise conv. `infer_shapes` does the check instead, and names every offender.
"""

import math
from collections.abc import Iterable, Mapping

import nir

from deploy.ir.loops import execution_groups
from deploy.ir.primitives import own_input_shape, primitive_of
from deploy.ir.types import NodeShape


def predecessors(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """For every node, the nodes whose edges end there; raises `ValueError` on an edge to nowhere."""
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        if source not in found or target not in found:
            raise ValueError(f"edge {source} -> {target} names a node that does not exist")
        found[target].append(source)
    return found


def execution_order(graph: nir.NIRGraph) -> list[str]:
    """Node names so that each comes after the sources whose value it needs in the same time step (see loops.py).

    Raises `ValueError` for a loop without a neuron or a delay.
    """
    predecessors(graph)
    return [name for group in execution_groups(graph.nodes, graph.edges) for name in group]


def infer_shapes(graph: nir.NIRGraph) -> dict[str, NodeShape]:
    """Output shape of every node, without time and batch; raises `ValueError` listing all nodes that do not fit."""
    shapes, problems = known_shapes(graph)
    sources = predecessors(graph)
    for name in graph.nodes:
        found = {shapes[s] for s in sources[name] if s in shapes}
        if len(found) > 1:
            problems.append(f"{name} sums edges of different shapes {sorted(found)}")
    if problems:
        raise ValueError("; ".join(problems))
    return shapes


def known_shapes(graph: nir.NIRGraph) -> tuple[dict[str, NodeShape], list[str]]:
    """The shapes that can be told, and what is wrong with the nodes whose shape cannot."""
    sources, order = predecessors(graph), from_input_on(graph)
    shapes, problems = dict[str, NodeShape](), list[str]()
    for name, begins in order.items():
        node = graph.nodes[name]
        found = arriving(node, sources[name], shapes, begins=begins)
        if begins and not found and not isinstance(node, nir.Input):
            problems.append(f"{name} ({type(node).__name__}) has no input, and does not say what shape it takes")
        elif len(found) == 1 or isinstance(node, nir.Input):
            shapes |= _told(name, node, found, problems)
    for name in (name for name, begins in order.items() if begins and name in shapes):
        for shape in {shapes[source] for source in sources[name] if source in shapes}:  # a loop comes back to its begin
            _told(name, graph.nodes[name], {shape}, problems)
    return shapes, problems


def _told(name: str, node: nir.NIRNode, found: set[NodeShape], problems: list[str]) -> dict[str, NodeShape]:
    """The shape that a node gives, under its name; nothing, and a problem more, where it cannot take what arrives."""
    try:
        return {name: output_shape(node, *found)}
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return {}


def arriving(
    node: nir.NIRNode, sources: Iterable[str], shapes: Mapping[str, NodeShape], *, begins: bool
) -> set[NodeShape]:
    """Shapes of what arrives at a node, of those known; what begins without an Input says itself what it takes."""
    found = {shapes[source] for source in sources if source in shapes}
    if begins and not found and (own := own_input_shape(node)):
        return {own}
    return found


def from_input_on(graph: nir.NIRGraph) -> dict[str, bool]:
    """Node names so that each comes after one of its sources, also within a loop; and which have none before them.

    Those are the Input, nodes that no edge leads to, and one node of every loop that nothing else reaches: the first of
    those that say themselves that they take the most values.
    """
    sources, waiting = predecessors(graph), execution_order(graph)
    order: dict[str, bool] = {}
    while waiting:
        before = len(order)
        for name in waiting:
            if not sources[name] or any(source in order for source in sources[name]):
                order[name] = not sources[name]
        waiting = [name for name in waiting if name not in order]
        if waiting and len(order) == before:
            begin = max(waiting, key=lambda name: math.prod(own_input_shape(graph.nodes[name]) or (0,)))
            order[begin] = True
            waiting.remove(begin)
    return order


def output_shape(node: nir.NIRNode, shape: NodeShape = ()) -> NodeShape:
    """Shape that a node gives for an input of `shape`; raises `ValueError` when it cannot take it."""
    return primitive_of(node).output_shape(node, shape)
