"""A graph as a whole: its ends. The machine has one input and one result; a NIR graph may have several, or parts that
no Input reaches.

- Nodes without any edge are left out.
- Several Inputs become one, whose channels are theirs in the order of the graph; each old Input becomes the layer that
  takes its own channels out of it.
- Of several Outputs one is the result of a clip: the first, or the one that the graph's metadata names.
"""

from collections.abc import Mapping

import nir
import numpy as np

from deploy.ir.loops import Edge
from deploy.ir.primitives import as_shape
from deploy.ir.types import NodeShape

RESULT = "output"  # key in a graph's metadata: the Output whose value is the result of a clip
JOINED = "inputs"  # name of the Input that stands for several


def require_edges(nodes: Mapping[str, nir.NIRNode], edges: list[Edge]) -> None:
    """Raise `ValueError` for edges from or to a node that does not exist, and for those into an Input."""
    for source, target in edges:
        if source not in nodes or target not in nodes:
            raise ValueError(f"edge {source} -> {target} names a node that does not exist")
        if isinstance(nodes[target], nir.Input):
            raise ValueError(f"edge {source} -> {target} leads into an Input; allowed: edges out of it")


def unused(nodes: Mapping[str, nir.NIRNode], edges: list[Edge]) -> list[str]:
    """Nodes without any edge; an Input and the only Output are kept, whatever leads there."""
    joined = {name for edge in edges for name in edge}
    outputs = [name for name, node in nodes.items() if isinstance(node, nir.Output)]
    kept = {name for name, node in nodes.items() if isinstance(node, nir.Input)} | set(
        outputs if len(outputs) == 1 else []
    )
    return [name for name in nodes if name not in joined | kept]


def with_one_input(
    nodes: dict[str, nir.NIRNode], edges: list[Edge]
) -> tuple[dict[str, nir.NIRNode], list[Edge], list[str]]:
    """Before: Inputs of 2 and 3 channels. After: one of 5, and two layers that take 2 and 3 of them, under their names.

    Raises `ValueError` for Inputs that differ in more than the number of channels.
    """
    shapes = {name: as_shape(node.input_type["input"]) for name, node in nodes.items() if isinstance(node, nir.Input)}
    if len(shapes) < 2:
        return nodes, edges, []
    if len({shape[1:] for shape in shapes.values()}) > 1 or max(map(len, shapes.values())) > 3:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"Inputs that do not go into one: {found}; allowed: the same shape but for the first axis")
    joined, pixels = new_name(JOINED, nodes), next(iter(shapes.values()))[1:]
    channels = sum(shape[0] for shape in shapes.values())
    parts, first, said = dict[str, nir.NIRNode](), 0, []
    for name, shape in shapes.items():
        weight = np.eye(channels)[first : first + shape[0]]
        parts[name] = _selection(weight, pixels)
        said.append(f"{name} {first} to {first + shape[0] - 1}")
        first += shape[0]
    whole = nir.Input(np.array([channels, *pixels]))
    note = f"{len(shapes)} Inputs are one of shape {[channels, *pixels]}, whose channels are {', '.join(said)}"
    return {joined: whole, **nodes, **parts}, [*edges, *((joined, name) for name in shapes)], [note]


def _selection(weight: np.ndarray, pixels: NodeShape) -> nir.NIRNode:
    """A layer that passes some channels on: weights [channels out, channels in] of ones and zeros."""
    if not pixels:
        return nir.Linear(weight)
    kernel, none = weight.reshape(*weight.shape, *(1 for _ in pixels)), np.zeros(len(weight))
    if len(pixels) == 1:
        return nir.Conv1d(pixels[0], kernel, 1, 0, 1, 1, none)
    return nir.Conv2d((pixels[0], pixels[1]), kernel, 1, 0, 1, 1, none)


def new_name(name: str, taken: Mapping[str, nir.NIRNode]) -> str:
    """The name, or the first of name_2, name_3, .. that is free."""
    free = (f"{name}_{i}" if i > 1 else name for i in range(1, len(taken) + 2))
    return next(found for found in free if found not in taken)


def result_of(graph: nir.NIRGraph) -> tuple[str, list[str]]:
    """The Output whose value is the result of a clip, and what is to be said of the choice; raises `ValueError`."""
    outputs = [str(name) for name in graph.outputs]
    if not graph.inputs or not outputs:
        raise ValueError(f"an Input and an Output node are needed, found {list(graph.inputs)} and {outputs}")
    named = np.asarray(graph.metadata.get(RESULT, outputs[0])).tolist()
    chosen = named.decode(errors="replace") if isinstance(named, bytes) else str(named)
    if chosen not in outputs:
        raise ValueError(f"the result is to be read at {chosen}; allowed: {', '.join(outputs)}")
    others = ", ".join(name for name in outputs if name != chosen)
    return chosen, [f"the result is read at {chosen}; other Outputs: {others} (--output chooses)"] if others else []
