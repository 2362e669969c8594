"""NIR files: read and write. What their signals look like is in shapes.py."""

import io
from pathlib import Path
from typing import Any

import h5py
import nir
from nir.serialization import hdf2dict

from deploy.ir.canonical import canonical
from deploy.ir.nodes import EXTENSIONS, VERSION
from deploy.ir.shapes import infer_shapes
from svformer.common.errors import InputError
from svformer.common.files import write_bytes


def write_nir(graph: nir.NIRGraph, path: str | Path) -> None:
    """Write a graph, extension nodes included, as compressed HDF5."""
    content = io.BytesIO()
    nir.write(content, graph)
    write_bytes(path, content.getbuffer())


def read_nir(path: str | Path) -> nir.NIRGraph:
    """Read a NIR file, ours or any other framework's, in the form of deploy.ir.canonical.

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
        graph = canonical(_to_node(content))
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
    if kind in ("Conv1d", "Conv2d"):
        content.setdefault("input_shape", None)  # HDF5 holds no None, so writers leave it out
    return nir.dict2NIRNode(content)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
