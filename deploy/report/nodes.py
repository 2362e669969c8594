"""The nodes of a NIR graph as a table."""

import re

import nir
import numpy as np
from rich.table import Column, Table

from deploy.ir.shapes import infer_shapes

SHARE_A_LINE = 3  # from this number on, nodes that are alike share a line of the table


def node_table(graph: nir.NIRGraph) -> Table:
    """The nodes of a graph; numbered nodes that are alike (one for every frame) share a line."""
    shapes, alike = infer_shapes(graph), dict[tuple[str, ...], list[str]]()
    for name, node in graph.nodes.items():
        kind, shape = type(node).__name__, "x".join(map(str, shapes[name]))
        alike.setdefault((re.sub(r"\d+$", "*", name), kind, shape, f"{parameters(node):,}"), []).append(name)
    title = f"NIR graph: {len(graph.nodes)} nodes, {len(graph.edges)} edges"
    table = Table(Column("node", no_wrap=True), "kind", "output", Column("parameters", justify="right"), title=title)
    for (pattern, kind, shape, count), names in alike.items():
        if len(names) >= SHARE_A_LINE:
            table.add_row(pattern, f"{len(names)} x {kind}", shape, f"{len(names)} x {count}")
        else:
            for name in names:
                table.add_row(name, kind, shape, count)
    return table


def parameters(node: nir.NIRNode) -> int:
    """Weights and biases of a node; a neuron layer's parameters are shared values, counted once each."""
    if isinstance(node, nir.LIF):
        return len(np.unique(node.tau))
    return sum(int(np.size(getattr(node, field, 0))) for field in ("weight", "bias") if hasattr(node, field))
