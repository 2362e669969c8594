"""A junction in front of every node of a NIR graph that needs the sum of its edges as one signal.

Before:  a, b -> max pool
After:   a, b -> junction -> max pool

A connection of the network leads from one population to another, and what arrives is added behind it: that is the sum
of what each edge gives alone, and not what a node that is not linear makes of the sum.
"""

import nir
import numpy as np

from deploy.ir.extension import ExtensionNode
from deploy.ir.operations.identity import Junction
from deploy.ir.primitives import own_input_shape
from deploy.ir.shapes import predecessors
from deploy.ir.whole import new_name


def with_sums(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with such junctions, as a new one; it means the same."""
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for name, sources in predecessors(graph).items():
        node = graph.nodes[name]
        if len(sources) > 1 and isinstance(node, ExtensionNode) and node.takes_sum:
            total = new_name(f"{name}.sum", nodes)
            nodes[total] = Junction(np.array(own_input_shape(node)))
            edges = [(a, total if b == name else b) for a, b in edges]
            edges.append((total, name))
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False)
