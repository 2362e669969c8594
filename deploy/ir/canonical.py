"""Any NIR graph in the one form that everything else works on, whoever wrote it.

- A graph inside a graph is spliced in; its nodes are named "outer.inner".
- Numbers are NumPy arrays (frameworks leave torch tensors in a graph that was not written to a file yet).
- Nodes without any edge are gone, and there is one Input (deploy.ir.whole).
- A neuron layer, Threshold, Delay or Scale with one value for all neurons, or one for every channel, gets it for each.
- The batch dimension of the example that a framework traced its model with is dropped from Input, Flatten and Output: a
  dense layer takes a vector, Conv1d a line of channels, Conv2d and pooling an image, and NIR's signals have no batch.
- A convolution knows the size of its input.

What was repaired on the way (deploy.ir.repairs) stands in the metadata of the new graph.
"""

import copy
import dataclasses
from typing import Any

import nir
import numpy as np

from deploy.ir.kernels import CONVOLUTIONS
from deploy.ir.loops import Edge
from deploy.ir.primitives import ELEMENTWISE, as_shape
from deploy.ir.repairs import flatten_for, remember, spread, without_batch
from deploy.ir.shapes import arriving, from_input_on, output_shape, predecessors
from deploy.ir.types import NodeShape
from deploy.ir.whole import new_name, require_edges, unused, with_one_input

TYPES = ("input_type", "output_type", "metadata")


def canonical(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph in the form above, as a new one.

    Raises `ValueError` for a graph inside without one Input and one Output, for edges to nowhere, and for loops that
    mean nothing (deploy.ir.loops).
    """
    nodes, edges, said = _flat(graph)
    require_edges(nodes, edges)
    nodes = {name: _with_arrays(node) for name, node in nodes.items()}
    for name in unused(nodes, edges):
        said.append(f"{name} ({type(nodes.pop(name)).__name__}) has no edge, and is left out")
    drawn = nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)
    for name, node in drawn.inputs.items():
        nodes[name], found = _without_batch(drawn, name, node)
        said += found
    nodes, edges, found = with_one_input(nodes, edges)
    flat = nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)
    remember(flat, [*said, *found, *_fit_to_signals(flat)])
    return flat


def _flat(graph: nir.NIRGraph) -> tuple[dict[str, nir.NIRNode], list[Edge], list[str]]:
    """Nodes and edges without graphs inside, and what was said; an inner Input or Output is replaced by the edges
    through it.
    """
    nodes, edges = dict[str, nir.NIRNode](), [(str(a), str(b)) for a, b in graph.edges]
    taken, said = {str(name): node for name, node in graph.nodes.items()}, list[str]()
    for name, node in taken.copy().items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        ends = [str(end) for end in (*node.inputs, *node.outputs)]
        if len(node.inputs) != 1 or len(node.outputs) != 1:
            raise ValueError(f"{name}: a graph inside needs one Input and one Output, found {ends}")
        inner_nodes, inner_edges, found = _flat(node)
        said += [f"{name}.{line}" for line in found]
        names = dict[str, str]()
        for inner in inner_nodes:
            names[inner] = new_name(f"{name}.{inner}", taken)
            taken[names[inner]] = inner_nodes[inner]
            if names[inner] != f"{name}.{inner}":
                said.append(f"{name}.{inner}: another node bears this name; the one inside {name} is {names[inner]}")
        for inner, inner_node in inner_nodes.items():
            nodes[names[inner]] = inner_node
        entry, exit_ = (names[end] for end in ends)
        edges = [(exit_ if a == name else a, entry if b == name else b) for a, b in edges]
        edges += [(names.get(a, f"{name}.{a}"), names.get(b, f"{name}.{b}")) for a, b in inner_edges]
        for end in (entry, exit_):
            del nodes[end]
            edges = _bypassed(edges, end)
    return nodes, edges, said


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


def _without_batch(graph: nir.NIRGraph, name: str, node: nir.Input) -> tuple[nir.Input, list[str]]:
    shape = as_shape(node.input_type["input"])
    kept = without_batch(graph, name, shape)
    said = [] if kept == shape else [f"{name}: the shape {list(shape)} is read as {list(kept)}, without a batch"]
    return nir.Input(np.array(kept), metadata=node.metadata), said


def _fit_to_signals(graph: nir.NIRGraph) -> list[str]:
    """Give every node that leaves it open the shape of what arrives, and tell of repairs; what does not fit is left
    for `infer_shapes`.
    """
    sources, shapes, said = predecessors(graph), dict[str, NodeShape](), list[str]()
    for name, begins in from_input_on(graph).items():
        found = arriving(graph.nodes[name], sources[name], shapes, begins=begins)
        if not sources[name] and not isinstance(graph.nodes[name], nir.Input):
            said.append(f"{name}: no edge leads to it, so nothing arrives there")
        if len(found) == 1:
            graph.nodes[name], lines = _fitted(graph, name, *found)
            said += [f"{name}: {line}" for line in lines]
        try:
            if len(found) == 1 or isinstance(graph.nodes[name], nir.Input):
                shapes[name] = output_shape(graph.nodes[name], *found)
        except ValueError:
            continue
    return said


def _fitted(graph: nir.NIRGraph, name: str, shape: NodeShape) -> tuple[nir.NIRNode, list[str]]:
    node = graph.nodes[name]
    if isinstance(node, ELEMENTWISE):
        return _spread(name, node, shape)
    if isinstance(node, nir.Flatten) and (other := flatten_for(graph, name, shape)):
        return other, [f"start_dim {int(node.start_dim)} counts a batch: read as {int(other.start_dim)}"]
    if isinstance(node, nir.Output) and as_shape(node.input_type["input"])[-len(shape) :] == shape:
        return nir.Output(np.array(shape), metadata=node.metadata), []
    if isinstance(node, CONVOLUTIONS) and node.input_shape is None:
        size: Any = shape[-1] if isinstance(node, nir.Conv1d) else shape[1:]
        return dataclasses.replace(node, input_shape=size), []
    return node, []


def _spread(name: str, node: nir.NIRNode, shape: NodeShape) -> tuple[nir.NIRNode, list[str]]:
    """A node with parameters of this shape, where they say no other."""
    names = [field.name for field in dataclasses.fields(node) if field.name not in (*TYPES, "version")]
    values = {field: np.asarray(value) for field in names if (value := getattr(node, field)) is not None}
    if all(value.shape == shape for value in values.values()):
        return node, []
    try:
        wide = {field: spread(value, shape) for field, value in values.items()}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if any(value is None for value in wide.values()):
        return node, []
    told = next((v.shape for v in values.values() if v.size > 1 and v.shape[-len(shape) :] != shape), None)
    said = [] if told is None else [f"parameters of shape {list(told)} are those of {list(shape)}"]
    return type(node)(**wide, metadata=node.metadata), said
