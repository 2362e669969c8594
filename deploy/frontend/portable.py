"""An exported SVFormer in the few nodes that stock simulators import: Conv2d and LIF. See docs/nir_portable.md.

Before:  SpikingAttention, Threshold, Junction, GainBias, MaxPool2d of spikes, grouped convolutions, Delay; one LIF node
         for q, k and v; the readout
After:   coincidence neurons, plain edges (added where they meet), dense convolutions; a LIF node for every neuron
         layer of the model, under its name there, its neurons all alike; the last neurons are the output
"""

import networkx as nx
import nir
import numpy as np

from deploy.frontend.builder import tau_of
from deploy.frontend.coincidence import expand_attention, neurons_of
from deploy.frontend.standard import ANY, COINCIDENCE, Signal, StandardGraph, dense, one_hot
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.nodes import TRAINED_BITS, WEIGHT_STEP
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import GainBias, Junction
from deploy.ir.operations.max_pool import MaxPool2d
from deploy.ir.readout import READOUT
from deploy.ir.shapes import execution_order, predecessors
from svformer.common.errors import InputError

NOT_CARRIED = ("classes", READOUT)  # metadata that speak of the readout's result
TIE_MARGIN = 2.0**-23  # of the threshold, which float32 resolves no finer (see `below_float32`)


def count_neurons(graph: nir.NIRGraph) -> tuple[int, int]:
    """Neurons of the portable graph, known before it is made: the model's own, and those that stand for attention
    and max pools.
    """
    nodes = graph.nodes.values()
    own = sum(int(node.v_threshold.size) for node in nodes if isinstance(node, nir.LIF))
    products = sum(int(node.threshold.size) for node in nodes if isinstance(node, nir.Threshold))
    pooled = sum(int(np.prod(node.geometry.out_shape)) for node in nodes if isinstance(node, MaxPool2d))
    return own, products + pooled + sum(neurons_of(node) for node in nodes if isinstance(node, SpikingAttention))


def portable(graph: nir.NIRGraph, *, dt_s: float | None = None, max_neurons: int | None = None) -> nir.NIRGraph:
    """The portable form of a graph of `from_svformer.export`, for time steps of `dt_s` (default: the graph's).

    Raises `InputError` when it takes more than `max_neurons` (None: any number), and for norms of their own for every
    time step.
    """
    own, added = count_neurons(graph)
    if max_neurons is not None and own + added > max_neurons:
        raise InputError(
            f"the portable form takes {own + added:,} neurons, allowed: {max_neurons:,}; attention takes {added:,}, "
            "which grow with the square of its tokens: choose a smaller image or head_dim, or say --max-neurons"
        )
    changing = [name for name, node in graph.nodes.items() if isinstance(node, GainBias) and not _only_bias(node)]
    if changing:
        raise InputError(
            f"{', '.join(changing)}: gains of every time step, which no standard node has; make them one for all "
            "steps with python -m svformer.fold_time"
        )
    return _Portable(graph, graph_dt_s(graph) if dt_s is None else dt_s).result()


class _Portable:
    """A walk through the graph from input to last neurons."""

    def __init__(self, graph: nir.NIRGraph, dt_s: float) -> None:
        self.graph, self.sources = graph, predecessors(graph)
        self.last = _last_neurons(graph)
        self.new = StandardGraph(dt_s)
        self.signals: dict[str, Signal] = {}
        self.qkv: dict[str, tuple[Signal, Signal, Signal]] = {}  # of the LIF node in front of an attention node
        self.packed = _in_front_of_attention(graph)

    def result(self) -> nir.NIRGraph:
        needed = _leading_to(self.graph, self.last)
        for name in execution_order(self.graph):
            if name in needed:
                self.signals[name] = self._mapped(name, self.graph.nodes[name])
        spikes = self._output_layer()
        self.new.add("output", nir.Output(np.array(self.new.shape(spikes))), spikes)
        kept = {key: value for key, value in self.graph.metadata.items() if key not in NOT_CARRIED}
        return nir.NIRGraph(self.new.nodes, self.new.edges, metadata={**kept, "dt": self.new.dt_s})

    def _mapped(self, name: str, node: nir.NIRNode) -> Signal:
        arriving = tuple(part for source in self.sources[name] for part in self.signals[source])
        if isinstance(node, nir.Input):
            return self.new.add(name, nir.Input(node.input_type["input"]))
        if isinstance(node, nir.Conv2d):
            return self._conv(name, node, arriving)
        if isinstance(node, nir.LIF):
            return self._layer(name, node, arriving)
        if isinstance(node, nir.Threshold):
            (threshold,) = np.unique(node.threshold)
            return self.new.gates(name, arriving, threshold=float(threshold))
        if isinstance(node, SpikingAttention):
            return expand_attention(self.new, name, node, *self.qkv[self.sources[name][0]])
        if isinstance(node, MaxPool2d):
            return self._pooled(name, node, arriving)
        if isinstance(node, GainBias):
            return arriving + self._bias_map(f"{name}.bias", node, arriving)
        if isinstance(node, Junction):
            return arriving
        raise InputError(f"{name}: {type(node).__name__} nodes have no portable form; allowed: graphs of export_nir")

    def _conv(self, name: str, node: nir.Conv2d, arriving: Signal) -> Signal:
        fields = {"stride": node.stride, "padding": node.padding, "dilation": node.dilation}
        metadata = {key: value for key, value in node.metadata.items() if key in (TRAINED_BITS, WEIGHT_STEP)}
        weight = dense(node.weight, int(node.groups))
        return self.new.conv(name, weight, arriving, bias=node.bias, metadata=metadata, **fields)

    def _pooled(self, name: str, node: MaxPool2d, arriving: Signal) -> Signal:
        """The largest of spikes: neurons without memory that fire where the sum of a window is 1 or more."""
        before = [self.graph.nodes[source] for source in self.sources[name]]
        if len(before) != 1 or not isinstance(before[0], (nir.LIF, nir.Threshold, MaxPool2d)):
            found = " + ".join(type(source).__name__ for source in before)
            raise InputError(
                f"{name}: a max pool of graded values ({found}) has no portable form; allowed: of the spikes of one LIF"
            )
        g = node.geometry
        ones = dense(np.ones(g.weight_shape), g.groups)
        sums = self.new.conv(f"{name}.sum", ones, arriving, stride=g.stride, padding=g.padding)
        return self.new.gates(name, sums, threshold=ANY)

    def _layer(self, name: str, node: nir.LIF, arriving: Signal) -> Signal:
        if name in self.packed:
            self.qkv[name] = self._unpacked(name, node, arriving)
            return ()  # only attention reads it
        if len(self.last) > 1 and name in self.last:
            return self._placed(name, arriving)
        return self._neurons(name, node, arriving)

    def _neurons(self, name: str, node: nir.LIF, arriving: Signal, channels: slice = slice(None)) -> Signal:
        """A LIF node of neurons that are alike, as they are in one layer of the model."""
        (tau_s,), (threshold,) = np.unique(node.tau[channels]), np.unique(node.v_threshold[channels])
        decay = graph_dt_s(self.graph) / tau_s
        tau_s = tau_of(float(decay), self.new.dt_s)
        return self.new.neurons(name, arriving, tau_s=tau_s, threshold=below_float32(float(threshold)))

    def _unpacked(self, name: str, node: nir.LIF, arriving: Signal) -> tuple[Signal, Signal, Signal]:
        """The layers q, k and v of one LIF node: time constants of their own, which not every simulator takes."""
        width = len(node.tau) // 3

        def part(index: int, letter: str) -> Signal:
            layer, channels = f"{name.removesuffix('qkv')}{letter}", slice(index * width, (index + 1) * width)
            picked = self.new.pick(f"{layer}.in", one_hot(np.arange(3 * width)[channels], 3 * width), arriving)
            return self._neurons(layer, node, picked, channels)

        return part(0, "q"), part(1, "k"), part(2, "v")

    def _bias_map(self, name: str, node: GainBias, arriving: Signal) -> Signal:
        """A bias for every pixel: what one neuron that always fires sends through a kernel as large as the image."""
        shape = self.new.shape(arriving)
        values = np.broadcast_to(node.bias[0], shape)
        kernel = values[:, np.newaxis, ::-1, ::-1].copy()
        return self.new.conv(name, kernel, self._always(), padding=(shape[1] - 1, shape[2] - 1))

    def _always(self) -> Signal:
        """One neuron that fires in every time step, whatever the input."""
        if "always" not in self.new.nodes:
            (entry,) = self.graph.inputs
            channels, height, width = self.new.shapes[entry]
            nothing = np.zeros((1, channels, height, width))
            current = self.new.conv("always.in", nothing, (entry,), bias=np.array([2 * COINCIDENCE]))
            self.new.gates("always", current, threshold=COINCIDENCE)
        return ("always",)

    def _placed(self, name: str, arriving: Signal) -> Signal:
        """What arrives at one of several last layers, in its channels of the one layer that they are in the model."""
        widths = [len(self.graph.nodes[other].tau) for other in self.last]
        before, width = sum(widths[: self.last.index(name)]), widths[self.last.index(name)]
        return self.new.pick(f"{name}.in", one_hot(np.arange(before, before + width), sum(widths)).T, arriving)

    def _output_layer(self) -> Signal:
        if len(self.last) == 1:
            return self.signals[self.last[0]]
        parts = tuple(part for name in self.last for part in self.signals[name])
        layer, _, _ = self.last[0].rpartition("_")  # head.plif_local and head.plif_stage4
        return self._neurons(layer, self.graph.nodes[self.last[0]], parts)


def below_float32(threshold: float) -> float:
    """The largest number of float32 that is not above a threshold.

    Simulators compute with float32, where the float64 next to 1 would be 1, and a potential of just 1 would not fire.
    """
    nearest = np.float32(threshold)
    return float(nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(0)))


def _only_bias(node: GainBias) -> bool:
    return node.frames == 1 and bool((node.gain == 1).all())


def _in_front_of_attention(graph: nir.NIRGraph) -> set[str]:
    """LIF nodes of 3C channels whose spikes are q, k and v; raises `InputError` where others read them, too."""
    sources = predecessors(graph)
    packed = {sources[name][0] for name, node in graph.nodes.items() if isinstance(node, SpikingAttention)}
    others = [f"{a} -> {b}" for a, b in graph.edges if a in packed and not isinstance(graph.nodes[b], SpikingAttention)]
    if others:
        raise InputError(f"{', '.join(others)}: q, k and v in one node, read by more than attention; no portable form")
    return packed


def _last_neurons(graph: nir.NIRGraph) -> list[str]:
    """LIF nodes behind which there is no other; what follows them is the readout."""
    order = nx.DiGraph(graph.edges)
    neurons = {name for name, node in graph.nodes.items() if isinstance(node, nir.LIF)}
    return [name for name in execution_order(graph) if name in neurons and not nx.descendants(order, name) & neurons]


def _leading_to(graph: nir.NIRGraph, names: list[str]) -> set[str]:
    order = nx.DiGraph(graph.edges)
    return set(names).union(*(nx.ancestors(order, name) for name in names))
