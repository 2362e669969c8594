"""What a NIR file holds, as dictionaries, becomes a graph: every node by its kind, and all that cannot be, by name."""

from collections.abc import Iterator
from typing import Any

import nir
import numpy as np

from deploy.ir.fields import DAMAGED, problems_of
from deploy.ir.nodes import EXTENSIONS, VERSION
from deploy.ir.primitives import own_input_shape
from deploy.ir.repairs import remember, repaired_fields

GRAPH = "NIRGraph"


def graph_of(content: Any) -> nir.NIRGraph:
    """The graph; raises `ValueError` for all nodes that are of unknown kinds, else for all that cannot be read."""
    if isinstance(content, dict) and isinstance(kind := content.get("type", GRAPH), str) and kind != GRAPH:
        if "nodes" in content:
            raise ValueError(f"a {kind} that holds nodes; allowed: a {GRAPH}, or a single node")
        return _around(content)
    if unknown := list(_unknown_kinds("", content)):
        raise ValueError(f"unknown node types: {', '.join(unknown)}; allowed: NIR's 17 and {list(EXTENSIONS)}")
    problems, said = list[str](), list[str]()
    graph = _graph("", content, problems, said)
    if problems:
        raise ValueError("; ".join(problems))
    remember(graph, said)
    return graph


def _around(content: dict[str, Any]) -> nir.NIRGraph:
    """A graph around a single node: a file may hold one."""
    kind = str(content["type"])
    if unknown := list(_unknown_kinds("", {"nodes": {"node": content}})):
        raise ValueError(f"unknown node types: {', '.join(unknown)}; allowed: NIR's 17 and {list(EXTENSIONS)}")
    problems, said = list[str](), list[str]()
    node = _node(kind, content, problems, said)
    if node is None:
        raise ValueError("; ".join(problems))
    shape = own_input_shape(node)
    if not shape:
        raise ValueError(
            f"a single {kind} that does not say what shape it takes; write a graph with an Input around it"
        )
    name = kind.lower()
    nodes = {"input": nir.Input(np.array(shape)), name: node, "output": nir.Output(node.output_type["output"])}
    graph = nir.NIRGraph(nodes, [("input", name), (name, "output")], metadata={}, type_check=False)
    remember(
        graph, [*said, f"the file holds a single {kind}: an Input and an Output of {list(shape)} are put around it"]
    )
    return graph


def _unknown_kinds(prefix: str, content: Any) -> Iterator[str]:
    for name, node in _nodes_of(prefix, content).items():
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, str):
            continue  # said when the node is read
        if kind == GRAPH:
            yield from _unknown_kinds(f"{prefix}{name}/", node)
        elif kind not in EXTENSIONS and not _is_standard(kind):
            yield f"{kind} ({prefix}{name})"
        elif kind in EXTENSIONS and (version := np.asarray(node.get("version", VERSION)).tolist()) != VERSION:
            yield f"{kind} version {version} ({prefix}{name})"


def _is_standard(kind: str) -> bool:
    found = getattr(nir, kind, None)
    return isinstance(found, type) and issubclass(found, nir.NIRNode) and found is not nir.NIRNode


def _nodes_of(prefix: str, content: Any) -> dict[str, Any]:
    nodes = content.get("nodes") if isinstance(content, dict) else None
    if not isinstance(nodes, dict):
        raise ValueError(f"{prefix or 'the graph '}has no nodes; export it again")
    return nodes


def _graph(prefix: str, content: dict[str, Any], problems: list[str], said: list[str]) -> nir.NIRGraph:
    nodes = dict[str, Any]()
    for name, fields in _nodes_of(prefix, content).items():
        nodes[name] = _node(f"{prefix}{name}", fields, problems, said)
    edges = _edges(prefix, content, problems)
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict):
        problems.append(f"{prefix}metadata: allowed: a group")
    return nir.NIRGraph(nodes, edges, metadata=metadata if isinstance(metadata, dict) else {}, type_check=False)


def _node(name: str, fields: Any, problems: list[str], said: list[str]) -> Any:
    """The node; None where it cannot be, and a problem more."""
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        inner = [key for key, value in fields.items() if isinstance(value, dict)] if isinstance(fields, dict) else []
        problems += [_slash(name, key) for key in inner] or [f"{name}: not a node; it has no type"]
        return None
    kind = fields["type"]
    if kind == GRAPH:
        return _graph(f"{name}.", fields, problems, said)
    slashes = [key for key, value in fields.items() if isinstance(value, dict) and "type" in value]
    found = [_slash(name, key) for key in slashes] or [f"{name} ({kind}): {p}" for p in problems_of(kind, fields)]
    if found:
        problems += found
        return None
    try:
        fields, lines = repaired_fields(kind, fields)
        node = EXTENSIONS[kind].from_dict(fields) if kind in EXTENSIONS else nir.dict2NIRNode(fields)
    except DAMAGED as error:
        problems.append(f"{name} ({kind}): {error}")
        return None
    said += [f"{name}: {line}" for line in lines]
    return node


def _slash(name: str, inner: str) -> str:
    return f"{name}/{inner}: a name with '/' is a folder in HDF5; rename the node and export it again"


def _edges(prefix: str, content: dict[str, Any], problems: list[str]) -> list[tuple[str, str]]:
    if "edges" not in content:
        problems.append(f"{prefix or 'the graph '}has no edges; export it again")
    found = np.asarray(content.get("edges", []))
    if not found.size:
        return []
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "SUO":
        problems.append(f"{prefix}edges: {found.dtype} values of shape {list(found.shape)}; allowed: pairs of names")
        return []
    return [(_text(a), _text(b)) for a, b in found.tolist()]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
