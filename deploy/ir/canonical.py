"""Any NIR graph in the one form that everything else works on, whoever wrote it.

- A graph inside a graph is spliced in; its nodes are named "outer.inner".
- Numbers are NumPy arrays (frameworks leave torch tensors in a graph that was not written to a file yet).
- A neuron layer, Threshold, Delay or Scale with one value for all neurons gets it for each.
- The batch dimension of the example that a framework traced its model with is dropped from Input and Output: a dense
  layer takes a vector, Conv1d a line of channels, Conv2d and pooling an image, and NIR's signals have no batch.
- A convolution knows the size of its input.
"""

import copy
import dataclasses
from typing import Any

import nir
import numpy as np

from deploy.ir.kernels import CONVOLUTIONS
from deploy.ir.loops import Edge
from deploy.ir.primitives import ELEMENTWISE, NodeShape, as_shape, rank_of
from deploy.ir.shapes import from_input_on, output_shape, predecessors

TYPES = ("input_type", "output_type", "metadata")


def canonical(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph in the form above, as a new one.

    Raises `ValueError` for a graph inside without one Input and one Output, and for loops that mean nothing
    (deploy.ir.loops).
    """
    nodes, edges = _flat(graph)
    nodes = {name: _with_arrays(node) for name, node in nodes.items()}
    for name, node in nodes.items():
        if isinstance(node, nir.Input):
            nodes[name] = nir.Input(np.array(_without_batch(nodes, edges, name)), metadata=node.metadata)
    flat = nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)
    _fit_to_signals(flat)
    return flat


def _flat(graph: nir.NIRGraph) -> tuple[dict[str, nir.NIRNode], list[Edge]]:
    """Nodes and edges without graphs inside; an inner Input or Output is replaced by the edges through it."""
    nodes, edges = dict[str, nir.NIRNode](), [(str(a), str(b)) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[str(name)] = node
            continue
        ends = [*node.inputs, *node.outputs]
        if len(node.inputs) != 1 or len(node.outputs) != 1:
            raise ValueError(f"{name}: a graph inside needs one Input and one Output, found {ends}")
        inner_nodes, inner_edges = _flat(node)
        entry, exit_ = (f"{name}.{end}" for end in ends)
        nodes |= {f"{name}.{inner}": inner_node for inner, inner_node in inner_nodes.items()}
        edges = [(exit_ if a == name else a, entry if b == name else b) for a, b in edges]
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges]
        for end in (entry, exit_):
            del nodes[end]
            edges = _bypassed(edges, end)
    return nodes, edges


def _bypassed(edges: list[Edge], name: str) -> list[Edge]:
    """Edges that go around a node instead of through it."""
    before, after = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
    return [edge for edge in edges if name not in edge] + [(a, b) for a in before for b in after]


def _with_arrays(node: nir.NIRNode) -> nir.NIRNode:
    """A copy whose fields are arrays and plain numbers."""
    new = copy.copy(node)
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if field.name not in TYPES and hasattr(value, "__array__") and not isinstance(value, np.generic):
            setattr(new, field.name, np.asarray(value))
    return new


def _without_batch(nodes: dict[str, nir.NIRNode], edges: list[Edge], name: str) -> NodeShape:
    """Shape of an Input, without dimensions in front of those that the nodes behind it take."""
    shape = as_shape(nodes[name].input_type["input"])
    ranks = {rank_of(nodes[b]) for a, b in edges if a == name and b in nodes} - {None}
    rank = ranks.pop() if len(ranks) == 1 else None
    return shape if rank is None else shape[-rank:]


def _fit_to_signals(graph: nir.NIRGraph) -> None:
    """Give every node that leaves it open the shape of what arrives; what does not fit is left for `infer_shapes`."""
    sources, shapes = predecessors(graph), dict[str, NodeShape]()
    for name in from_input_on(graph):
        found = {shapes[s] for s in sources[name] if s in shapes}
        if len(found) == 1:
            graph.nodes[name] = _fitted(graph.nodes[name], *found)
        try:
            if len(found) == 1 or isinstance(graph.nodes[name], nir.Input):
                shapes[name] = output_shape(graph.nodes[name], *found)
        except ValueError:
            continue


def _fitted(node: nir.NIRNode, shape: NodeShape) -> nir.NIRNode:
    if isinstance(node, ELEMENTWISE):
        return _spread(node, shape)
    if isinstance(node, nir.Output) and as_shape(node.input_type["input"])[-len(shape) :] == shape:
        return nir.Output(np.array(shape), metadata=node.metadata)
    if isinstance(node, CONVOLUTIONS) and node.input_shape is None:
        size: Any = shape[-1] if isinstance(node, nir.Conv1d) else shape[1:]
        return dataclasses.replace(node, input_shape=size)
    return node


def _spread(node: nir.NIRNode, shape: NodeShape) -> nir.NIRNode:
    """A node with parameters of this shape, where each has one value, or dimensions of size 1 in front."""
    names = [field.name for field in dataclasses.fields(node) if field.name not in TYPES]
    values = {name: np.asarray(getattr(node, name)) for name in names}
    if all(value.shape == shape for value in values.values()):
        return node
    if any(value.size != 1 and not _only_ones_in_front(value.shape, shape) for value in values.values()):
        return node
    wide = {n: np.full(shape, v.item()) if v.size == 1 else v.reshape(shape) for n, v in values.items()}
    return type(node)(**wide, metadata=node.metadata)


def _only_ones_in_front(found: NodeShape, shape: NodeShape) -> bool:
    return found[-len(shape) :] == shape and all(size == 1 for size in found[: -len(shape)])
