"""The shape of every signal of a NIR graph, and the order in which its nodes are executed.

`nir`'s own type check is not used: it takes the input of a grouped convolution for `weight.shape[1]` channels and
refuses conv -> neuron -> depthwise conv. `infer_shapes` does the check instead, and names every offender.
"""

from typing import Any

import nir
import numpy as np

from deploy.ir.kernels import CONVOLUTIONS, POOLINGS, kernel_output
from deploy.ir.loops import STATEFUL, execution_groups
from deploy.ir.nodes import GainBias, Junction, SpikingAttention

Shape = tuple[int, ...]

ELEMENTWISE = (*STATEFUL, nir.Threshold, nir.Delay, nir.Scale)


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


def infer_shapes(graph: nir.NIRGraph) -> dict[str, Shape]:
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


def known_shapes(graph: nir.NIRGraph) -> tuple[dict[str, Shape], list[str]]:
    """The shapes that can be told, and what is wrong with the nodes whose shape cannot."""
    sources, shapes, problems = predecessors(graph), dict[str, Shape](), []
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


def output_shape(node: nir.NIRNode, shape: Shape = ()) -> Shape:
    """Shape that a node gives for an input of `shape`; raises `ValueError` when it cannot take it."""
    if isinstance(node, nir.Input):
        return as_shape(node.input_type["input"])
    if isinstance(node, (*CONVOLUTIONS, *POOLINGS)):
        return kernel_output(node, shape)
    if isinstance(node, (nir.Affine, nir.Linear)):
        *blocks, outputs, inputs = node.weight.shape
        _expect((*(blocks or shape[:-1]), inputs), shape)
        return (*shape[:-1], outputs)
    if isinstance(node, nir.Flatten):
        return _flattened(shape, int(node.start_dim), int(node.end_dim))
    if isinstance(node, (SpikingAttention, Junction, GainBias, nir.Output, *ELEMENTWISE)):
        _expect(as_shape(next(iter(node.input_type.values()))), shape)
        return as_shape(next(iter(node.output_type.values())))
    raise ValueError(f"nodes of type {type(node).__name__} are not supported")


def as_shape(value: Any) -> Shape:
    return tuple(int(n) for n in np.asarray(value).ravel())


def _expect(allowed: Shape, found: Shape) -> None:
    if found and allowed != found:
        raise ValueError(f"takes shape {allowed}, found {found}")


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    first, last = start % len(shape), end % len(shape)
    return (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
