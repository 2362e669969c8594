"""What a draft goes through before it is a NIR graph: norms are folded, q, k and v become one layer, the rest goes."""

from dataclasses import replace
from graphlib import TopologicalSorter

import nir
import numpy as np

from deploy.frontend.traced.draft import Attention, Border, Conv, Draft, as_node, shifted
from deploy.frontend.traced.joining import join
from deploy.frontend.traced.walk import Place
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import GainBias


def prune(draft: Draft, last: str) -> None:
    """Drop what does not lead to the last node."""
    wanted, found = [last], {last}
    while wanted:
        name = wanted.pop()
        hears = (*draft.sources[name], *(source for source, target in draft.back if target == name))
        new = [source for source in hears if source not in found]
        found |= set(new)
        wanted += new
    for name in [name for name in draft.nodes if name not in found]:
        draft.forget(name)
    draft.back = [edge for edge in draft.back if found.issuperset(edge)]


def fold_channelwise(draft: Draft) -> None:
    """Before: a convolution, then a gain and a bias for each channel. After: one convolution."""
    for name, node in list(draft.nodes.items()):
        if not isinstance(node, Conv) or not node.channelwise:
            continue
        (source,) = draft.sources[name]
        behind = draft.nodes[source]
        kept = draft.heard_by(source) != [name] or draft.planes(source)[0]
        if isinstance(behind, Conv) and not kept:
            gain = node.weight[:, 0, 0, 0]
            draft.replace(source, shifted(behind, gain, node.bias), *draft.sources[source])
            draft.remove(name, hears=source)


def fold_borders(draft: Draft) -> None:
    """A border of zeros becomes padding of the convolutions behind it; one of a 1x1's bias, padding of the 1x1."""
    for name, node in list(draft.nodes.items()):
        if isinstance(node, Border):
            _fold_border(draft, name, node)


def _fold_border(draft: Draft, name: str, node: Border) -> None:
    (source,) = draft.sources[name]
    behind, heard = draft.nodes[source], draft.heard_by(name)
    if not node.values.any() and all(isinstance(draft.nodes[other], Conv) for other in heard):
        for other in heard:
            draft.replace(other, _padded(draft.nodes[other], node.width), *draft.sources[other])
        draft.remove(name, hears=source)
        return
    alone = isinstance(behind, Conv) and behind.pointwise and draft.heard_by(source) == [name]
    if isinstance(behind, Conv) and alone and np.allclose(node.values, behind.bias, rtol=1e-12, atol=1e-12):
        draft.replace(source, _padded(behind, node.width), *draft.sources[source])
        draft.shapes[source] = draft.shapes[name]
        draft.remove(name, hears=source)
    else:
        _expand_border(draft, name, node)


def _padded(node: object, width: int) -> Conv:
    assert isinstance(node, Conv)
    rows, columns = node.window.padding
    return replace(node, window=replace(node.window, padding=(rows + width, columns + width)))


def _expand_border(draft: Draft, name: str, node: Border) -> None:
    """Zeros by a padded convolution of ones, and the values of the border by a gain and a bias for every pixel."""
    (source,) = draft.sources[name]
    channels = draft.shapes[name][0]
    ones = Conv(weight=np.ones((channels, 1, 1, 1)), bias=np.zeros(channels), groups=channels)
    padded = draft.conv(f"{name}.zeros", _padded(ones, node.width), source)
    if not node.values.any():
        draft.remove(name, hears=padded)
        return
    bias = np.broadcast_to(node.values[:, None, None], draft.shapes[name]).copy()
    bias[:, node.width : -node.width, node.width : -node.width] = 0.0
    draft.replace(name, GainBias(np.array(draft.shapes[name]), gain=np.ones((1, 1, 1, 1)), bias=bias[None]), padded)


def finish(draft: Draft, layers: dict[str, Place], last: str) -> dict[str, Place]:
    """All passes, in order; returns where the neuron layers are afterwards."""
    prune(draft, last)
    fold_channelwise(draft)
    fold_borders(draft)
    layers = {path: place for path, place in layers.items() if place.node in draft.nodes}
    for name, node in list(draft.nodes.items()):
        if isinstance(node, Attention):
            layers = join(draft, name, layers)
    return layers


def as_graph(draft: Draft, metadata: dict[str, object]) -> nir.NIRGraph:
    """The NIR graph of a finished draft, its nodes in order of execution."""
    order = TopologicalSorter(draft.sources).static_order()
    nodes = {name: _final(draft, name) for name in order}
    edges = [(source, name) for name, sources in draft.sources.items() for source in sources] + draft.back
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)


def _final(draft: Draft, name: str) -> nir.NIRNode:
    node = draft.nodes[name]
    if isinstance(node, Conv):
        return as_node(node, draft.shapes[draft.sources[name][0]])
    if isinstance(node, Attention):
        shape = draft.shapes[draft.sources[name][0]]
        return SpikingAttention(np.array(shape), heads=node.heads, scale=node.scale)
    assert isinstance(node, nir.NIRNode)
    return node
