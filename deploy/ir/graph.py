"""NIR files: read, write, and the shapes of a graph's signals.

`nir`'s own type check is not used: it takes the input of a grouped convolution for `weight.shape[1]` channels and
refuses conv -> neuron -> depthwise conv. `infer_shapes` does the check instead, and names every offender.
"""

import io
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir.serialization import hdf2dict

from deploy.ir.nodes import EXTENSIONS, VERSION, GainBias, Junction, SpikingAttention
from hardware.geometry import ConvGeometry
from svformer.errors import InputError
from svformer.files import write_bytes

Shape = tuple[int, ...]
ELEMENTWISE = (nir.LIF, nir.IF, nir.LI, nir.I, nir.Threshold, nir.Delay, nir.Scale, nir.CubaLI, nir.CubaLIF)


def write_nir(graph: nir.NIRGraph, path: str | Path) -> None:
    """Write a graph, extension nodes included, as compressed HDF5."""
    content = io.BytesIO()
    nir.write(content, graph)
    write_bytes(path, content.getbuffer())


def read_nir(path: str | Path) -> nir.NIRGraph:
    """Read a NIR file, ours or any other framework's.

    Raises `InputError` when the file is missing, damaged, or holds node types that are neither NIR's nor ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python deploy/export_nir.py` writes one")
    try:
        with h5py.File(path, "r") as file:
            content = hdf2dict(file["node"])
        unknown = sorted(_unknown_types(content, ""))
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a readable NIR file ({error}); export it again") from error
    if unknown:
        raise InputError(f"{path}: unknown node types: {', '.join(unknown)}; allowed: NIR's 17 and {list(EXTENSIONS)}")
    try:
        graph = _to_node(content)
        infer_shapes(graph)
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise InputError(f"{path}: inconsistent graph: {error}") from error
    return graph


def _unknown_types(content: dict[str, Any], prefix: str) -> list[str]:
    offenders = []
    for name, node in content["nodes"].items():
        if node["type"] == "NIRGraph":
            offenders += _unknown_types(node, f"{prefix}{name}/")
        elif node["type"] not in EXTENSIONS and not _is_standard(node["type"]):
            offenders.append(f"{node['type']} ({prefix}{name})")
        elif int(node.get("version", VERSION)) != VERSION:
            offenders.append(f"{node['type']} version {node['version']} ({prefix}{name})")
    return offenders


def _is_standard(kind: str) -> bool:
    found = getattr(nir, kind, None)
    return isinstance(found, type) and issubclass(found, nir.NIRNode) and found is not nir.NIRNode


def _to_node(content: dict[str, Any]) -> Any:
    kind = content["type"]
    if kind == "NIRGraph":
        nodes = {name: _to_node(node) for name, node in content["nodes"].items()}
        edges = [(_text(a), _text(b)) for a, b in content["edges"]]
        return nir.NIRGraph(nodes, edges, metadata=content.get("metadata", {}), type_check=False)
    if kind in EXTENSIONS:
        return EXTENSIONS[kind].from_dict(content)
    return nir.dict2NIRNode(content)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def predecessors(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """For every node, the nodes whose edges end there; raises `ValueError` on an edge to nowhere."""
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        if source not in found or target not in found:
            raise ValueError(f"edge {source} -> {target} names a node that does not exist")
        found[target].append(source)
    return found


def execution_order(graph: nir.NIRGraph) -> list[str]:
    """Node names so that each comes after its inputs; raises `ValueError` on a cycle."""
    waiting = {name: set(sources) for name, sources in predecessors(graph).items()}
    order: list[str] = []
    while waiting:
        ready = [name for name, sources in waiting.items() if not sources]
        if not ready:
            raise ValueError(f"cycle through {', '.join(sorted(waiting))}; recurrence is not supported")
        for name in ready:
            del waiting[name]
        order += ready
        for sources in waiting.values():
            sources.difference_update(ready)
    return order


def infer_shapes(graph: nir.NIRGraph) -> dict[str, Shape]:
    """Output shape of every node, without time and batch; raises `ValueError` listing all nodes that do not fit."""
    sources, shapes, problems = predecessors(graph), dict[str, Shape](), []
    for name in execution_order(graph):
        node, found = graph.nodes[name], {shapes[s] for s in sources[name] if s in shapes}
        if not sources[name] and not isinstance(node, nir.Input):
            problems.append(f"{name} ({type(node).__name__}) has no input")
        elif len(found) > 1:
            problems.append(f"{name} sums edges of different shapes {sorted(found)}")
        elif found or isinstance(node, nir.Input):
            try:
                shapes[name] = output_shape(node, *found)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return shapes


def output_shape(node: nir.NIRNode, shape: Shape = ()) -> Shape:
    """Shape that a node gives for an input of `shape`; raises `ValueError` when it cannot take it."""
    if isinstance(node, nir.Input):
        return _shape(node.input_type["input"])
    if isinstance(node, nir.Conv2d):
        return convolution_geometry(node, shape).out_shape
    if isinstance(node, (nir.Affine, nir.Linear)):
        return (*_expect(shape[:-1] + node.weight.shape[-1:], shape)[:-1], node.weight.shape[-2])
    if isinstance(node, nir.Flatten):
        return _flattened(shape, int(node.start_dim), int(node.end_dim))
    if isinstance(node, (SpikingAttention, Junction, GainBias, nir.Output, *ELEMENTWISE)):
        _expect(_shape(next(iter(node.input_type.values()))), shape)
        return _shape(next(iter(node.output_type.values())))
    raise ValueError(f"nodes of type {type(node).__name__} are not supported yet")


def convolution_geometry(node: nir.Conv2d, in_shape: Shape) -> ConvGeometry:
    """Geometry of a Conv2d for an input (C, H, W); raises `ValueError` when the channels do not fit."""
    groups = int(node.groups)
    if len(in_shape) != 3 or in_shape[0] != node.weight.shape[1] * groups:
        raise ValueError(f"takes {node.weight.shape[1] * groups} channels of an image, found shape {in_shape}")
    kernel = _pair(node.weight.shape[2:])
    dilation = _pair(node.dilation)
    return ConvGeometry(
        in_shape=(in_shape[0], in_shape[1], in_shape[2]),
        out_channels=node.weight.shape[0],
        kernel=kernel,
        stride=_pair(node.stride),
        padding=_padding(node, kernel, dilation),
        dilation=dilation,
        groups=groups,
    )


def _padding(node: nir.Conv2d, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(node.padding, (str, bytes)):
        return _pair(node.padding)
    if _text(node.padding) == "same":
        if any(d * (k - 1) % 2 for d, k in zip(dilation, kernel, strict=True)) or _pair(node.stride) != (1, 1):
            raise ValueError(f"padding 'same' of kernel {kernel} with stride {node.stride} is not symmetric")
        return (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
    return (0, 0)  # "valid", the one other word that nir allows


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(np.asarray(value, dtype=int), (2,)).tolist()
    return first, second


def _shape(value: Any) -> Shape:
    return tuple(int(n) for n in value)


def _expect(allowed: Shape, found: Shape) -> Shape:
    if found and allowed != found:
        raise ValueError(f"takes shape {allowed}, found {found}")
    return allowed


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    last = len(shape) - 1 if end == -1 else end
    return (*shape[:start], int(np.prod(shape[start : last + 1])), *shape[last + 1 :])
