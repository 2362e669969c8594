"""The shape of every signal of a NIR graph, and the order in which its nodes are executed.

`nir`'s own type check is not used: it takes the input of a grouped convolution for `weight.shape[1]` channels and
refuses conv -> neuron -> depthwise conv. `infer_shapes` does the check instead, and names every offender.
"""

import nir

from deploy.ir.loops import execution_groups
from deploy.ir.primitives import NodeShape, primitive_of


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
    sources, shapes, problems = predecessors(graph), dict[str, NodeShape](), []
    for name in from_input_on(graph):
        node, found = graph.nodes[name], {shapes[s] for s in sources[name] if s in shapes}
        if not sources[name] and not isinstance(node, nir.Input):
            problems.append(f"{name} ({type(node).__name__}) has no input")
        elif len(found) == 1 or isinstance(node, nir.Input):
            try:
                shapes[name] = output_shape(node, *found)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return shapes, problems


def from_input_on(graph: nir.NIRGraph) -> list[str]:
    """Node names so that each but the first of all comes after one of its sources, also within a loop."""
    sources, waiting = predecessors(graph), execution_order(graph)
    order: dict[str, None] = {}
    while waiting:
        before = len(order)
        for name in waiting:
            if not sources[name] or any(source in order for source in sources[name]):
                order[name] = None
        waiting = [name for name in waiting if name not in order]
        if len(order) == before:
            break  # a part that no input reaches
    return [*order, *waiting]


def output_shape(node: nir.NIRNode, shape: NodeShape = ()) -> NodeShape:
    """Shape that a node gives for an input of `shape`; raises `ValueError` when it cannot take it."""
    return primitive_of(node).output_shape(node, shape)
