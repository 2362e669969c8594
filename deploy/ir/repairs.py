"""What files leave out or say in a dialect, in NIR's own words. Each repair is one function; each tells what it did.

Repairs of a node by itself work on the fields that the file holds for it, since `nir`'s constructors refuse some of
them; those that need the signal which arrives are called from canonical.py.
"""

import math
from typing import Any

import nir
import numpy as np

from deploy.ir.extension import single_fields
from deploy.ir.nodes import EXTENSIONS
from deploy.ir.primitives import ELEMENTWISE, as_shape, rank_of
from deploy.ir.types import NodeShape

REPAIRS = "repairs"  # key in a graph's metadata: what was repaired, a line each

PARAMETERS = ("tau", "tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "v_subtract", "w_in")
# Numbers that some writers put into an array of one.
SINGLE = {
    "Conv1d": ("groups",),
    "Conv2d": ("groups",),
    "Flatten": ("start_dim", "end_dim"),
    **{kind: single_fields(cls) for kind, cls in EXTENSIONS.items()},
}
CONVOLUTIONS = {"Conv1d": 1, "Conv2d": 2}  # dimensions of a picture


def repairs_of(graph: nir.NIRGraph) -> list[str]:
    """What was repaired when a graph was brought into canonical form."""
    return [line for line in str(graph.metadata.get(REPAIRS, "")).split("\n") if line]


def remember(graph: nir.NIRGraph, lines: list[str]) -> None:
    """Add to what was repaired; what is known already is not said again."""
    if found := list(dict.fromkeys([*repairs_of(graph), *lines])):
        graph.metadata[REPAIRS] = "\n".join(found)


# Fields of a node in a file


def repaired_fields(kind: str, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a node as `nir` takes them, and what was done; raises `ValueError` for what means nothing."""
    fields = fields | {name: np.asarray(fields[name]).item() for name in SINGLE.get(kind, ()) if name in fields}
    if kind in CONVOLUTIONS:
        fields, said = _picture_size(kind, {"input_shape": None, **fields})  # HDF5 holds no None, so it is left out
        return _one_bias(fields, len(fields["weight"])), said
    if kind == "Affine":
        return _one_bias(fields, fields["weight"].shape[-2]), []
    found = {name: np.asarray(fields[name]) for name in PARAMETERS if name in fields}
    return fields | _alike(found), []


def _one_bias(fields: dict[str, Any], outputs: int) -> dict[str, Any]:
    bias, blocks = np.asarray(fields["bias"]), np.ndim(fields["weight"]) > 2 and "stride" not in fields
    return fields | ({"bias": np.full(outputs, bias.item())} if bias.size == 1 and not blocks else {})


def _picture_size(kind: str, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Before: input_shape [.., C, H, W]. After: (H, W), where C is the number of channels of the weights."""
    if fields["input_shape"] is None:
        return fields, []
    size, dims = as_shape(fields["input_shape"]), CONVOLUTIONS[kind]
    channels = int(fields["weight"].shape[1]) * int(fields["groups"])
    allowed = f"{'(N,)' if dims == 1 else '(H, W)'}, or the {channels} channels of the weights in front of it"
    if len(size) < dims or (len(size) > dims and size[-dims - 1] != channels):
        raise ValueError(f"input_shape: {list(size)}; allowed: {allowed}")
    said = [f"input_shape {list(size)} is read as {list(size[-dims:])}"] if len(size) > dims else []
    return fields | {"input_shape": size[-1] if dims == 1 else size[-2:]}, said


def _alike(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters of one shape each: [], [1], [C], [C, 1, 1] and (C, H, W) may stand side by side."""
    shapes = {value.shape for value in values.values()}
    if len(shapes) < 2:
        return values
    rank = max(map(len, shapes))
    try:
        full = np.broadcast_shapes(*(shape for shape in shapes if len(shape) == rank))
        wide = {name: spread(value, full) for name, value in values.items()}
    except ValueError:
        wide = dict.fromkeys(values)
    if any(value is None for value in wide.values()):
        found = ", ".join(f"{name} {list(value.shape)}" for name, value in values.items())
        allowed = "one value, one for every channel as [C, 1, 1], or one for every neuron"
        raise ValueError(f"parameters of shapes that do not go together: {found}; allowed: {allowed}")
    return wide


# Parameters and the signal that arrives


def spread(values: Any, shape: NodeShape) -> Any:
    """Parameters for every neuron of a layer of this shape; None where they do not fit it.

    They may be one value; have dimensions in front that say nothing (of size 1, or the same at every place: a batch);
    have size 1 where all places share a value; or be one for every channel. Raises `ValueError` where [C] could be one
    for every channel or for every column.
    """
    values = np.asarray(values)
    if values.size == 1:
        return np.full(shape, values.item())
    while values.ndim > len(shape) and (len(values) == 1 or (values == values[:1]).all()):
        values = values[0]
    if values.ndim == 1 < len(shape) and values.size == shape[0]:
        if shape[-1] == shape[0]:
            one = [len(values), *[1] * (len(shape) - 1)]
            raise ValueError(
                f"{len(values)} values in front of {shape}: one for every channel, or for every column? write {one}"
            )
        values = values.reshape(-1, *[1] * (len(shape) - 1))
    fits = values.ndim == len(shape) and all(n in (1, full) for n, full in zip(values.shape, shape, strict=True))
    return np.broadcast_to(values, shape).copy() if fits else None


# The batch of the example that a framework traced with


def without_batch(graph: nir.NIRGraph, name: str, shape: NodeShape) -> NodeShape:
    """Shape of an Input, without dimensions in front of those that the nodes behind it take."""
    ranks, own = _taken(graph, name), _own_shapes(graph, name)
    if len(ranks) == 1:
        return shape[-ranks.pop() :]
    for found in own if not ranks else []:
        if shape[-len(found) :] == found and math.prod(shape[: -len(found)]) == 1:
            return found
    return shape[_flattened_from(graph, name, shape) :]


def _behind(graph: nir.NIRGraph, name: str) -> list[nir.NIRNode]:
    """The nodes behind a node; what has one value for all neurons takes any shape, so those behind it count, too."""
    waiting, seen, found = [name], {name}, []
    while waiting:
        source = waiting.pop()
        for target in (b for a, b in graph.edges if a == source and b in graph.nodes and b not in seen):
            seen.add(target)
            node = graph.nodes[target]
            if isinstance(node, ELEMENTWISE) and math.prod(as_shape(node.input_type["input"])) == 1:
                waiting.append(target)
            else:
                found.append(node)
    return found


def _taken(graph: nir.NIRGraph, name: str) -> set[int]:
    """Dimensions that the layers with weights behind a node take."""
    return {rank for node in _behind(graph, name) if (rank := rank_of(node)) is not None}


def _own_shapes(graph: nir.NIRGraph, name: str) -> list[NodeShape]:
    """Shapes of the parameters of the neurons behind a node."""
    return [as_shape(node.input_type["input"]) for node in _behind(graph, name) if isinstance(node, ELEMENTWISE)]


def _flattened_from(graph: nir.NIRGraph, name: str, shape: NodeShape) -> int:
    """Axes that a Flatten right behind an Input leaves alone, where what they leave is what the layer behind takes."""
    for flatten in (b for a, b in graph.edges if a == name and isinstance(graph.nodes.get(b), nir.Flatten)):
        start, taken = int(graph.nodes[flatten].start_dim), _values_taken(graph, flatten)
        if 0 < start < len(shape) and taken == math.prod(shape[start:]):
            image = len(shape) == 3 and math.prod(shape) == taken  # one channel, not a batch of one
            return 0 if image else start
    return 0


def _values_taken(graph: nir.NIRGraph, name: str) -> int | None:
    """Length of the vector that the nodes behind a node take; None where they say none, or do not agree."""
    found = set[int]()
    for node in _behind(graph, name):
        if isinstance(node, (nir.Linear, nir.Affine)) and node.weight.ndim == 2:
            found.add(int(node.weight.shape[-1]))
        elif isinstance(node, (*ELEMENTWISE, nir.Output)):
            found.add(_length(as_shape(node.input_type["input"])))
    return found.pop() if len(found) == 1 and 0 not in found else None


def _length(shape: NodeShape) -> int:
    """Length of a vector, with a batch of one in front of it or not; 0 for all else."""
    return shape[-1] if shape and math.prod(shape) == shape[-1] else 0


def flatten_for(graph: nir.NIRGraph, name: str, shape: NodeShape) -> nir.Flatten | None:
    """A Flatten that counts axes without the batch; None where it does so already.

    Before: start_dim 1 of (1, C, H, W), or of (C, H, W) with a dense layer of C H W inputs behind it. After: 0.
    """
    node = graph.nodes[name]
    start, end = int(node.start_dim), int(node.end_dim)
    declared = node.input_type["input"]
    batch = 0 if declared is None else len(as_shape(declared)) - len(shape)
    if batch > 0:
        start, end = (max(axis - batch, 0) if axis >= 0 else axis for axis in (start, end))
    elif 0 < start <= len(shape) and (len(shape) == 1 or _values_taken(graph, name) == math.prod(shape)):
        start, end = 0, -1
    if (start, end) == (int(node.start_dim), int(node.end_dim)):
        return None
    return nir.Flatten(np.array(shape), start, end, metadata=node.metadata)
