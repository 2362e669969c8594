"""What a NIR graph computes, in float64 and plain NumPy: the meaning of every node that we support.

Shapes: N clips, T time steps, then the node's own shape. NIR's time is continuous; neurons take one Euler step for
every frame (deploy.ir.neurons), a delay is a whole number of them, loops are one step late (deploy.ir.loops).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.canonical import canonical
from deploy.ir.kernels import CONVOLUTIONS, POOLINGS, bias_of, kernel_of, kernel_output
from deploy.ir.linear import attend, convolve
from deploy.ir.loops import execution_groups, is_loop, late_edges
from deploy.ir.network import delayed
from deploy.ir.neurons import NEURONS, Layer, equation, run_layer
from deploy.ir.nodes import GainBias, Junction, SpikingAttention
from deploy.ir.shapes import Shape, infer_shapes, output_shape, predecessors
from svformer.common.errors import InputError

Signal = NDArray[np.float64]  # [N, T, ...]


def interpret(
    graph: nir.NIRGraph,
    frames_NTCHW: NDArray[Any],
    *,
    dt_s: float | None = None,
    keep: Iterable[str] | None = None,
    on_node: Callable[[str, Mapping[str, Signal]], None] = lambda name, signals: None,
) -> dict[str, Signal]:
    """Output of every node for a batch of clips; `dt_s` defaults to the graph's metadata.

    With `keep`, only those nodes are returned, and the memory of all others is given back on the way; `on_node` gets
    every node in order of execution, while its signal and those of its sources are there. Nodes of graphs inside the
    graph are named "outer.inner". Raises `InputError` for a graph that means nothing.
    """
    dt = graph_dt_s(graph) if dt_s is None else dt_s
    try:
        graph = canonical(graph)
        shapes = infer_shapes(graph)
        groups = execution_groups(graph.nodes, graph.edges)
    except ValueError as error:
        raise InputError(f"inconsistent graph: {error}") from error
    sources, kept = predecessors(graph), set(graph.nodes if keep is None else keep)
    signals: dict[str, Signal] = {}
    last_use = {source: group for group in groups for name in group for source in sources[name]}
    for group in groups:
        if is_loop(group, graph.edges):
            signals |= _Loop(graph, group, signals, shapes, np.shape(frames_NTCHW)[:2], dt).run()
        elif isinstance(node := graph.nodes[group[0]], nir.Input):
            signals[group[0]] = np.asarray(frames_NTCHW, dtype=np.float64)
        else:
            incoming = [signals[source] for source in sources[group[0]]]
            signals[group[0]] = _apply(node, sum(incoming[1:], start=incoming[0]), dt)
        for name in group:
            on_node(name, signals)
        for source in {source for name in group for source in sources[name]}:
            if last_use[source] == group and source not in kept:
                del signals[source]
    return {name: signals[name] for group in groups for name in group if name in kept}


def graph_dt_s(graph: nir.NIRGraph) -> float:
    """Length of a time step in seconds, from the graph's metadata; raises `InputError` when it is not there."""
    if "dt" not in graph.metadata:
        raise InputError("the graph's metadata has no 'dt' (length of a time step in seconds); say it with --dt")
    try:
        dt_s = float(graph.metadata["dt"])
    except ValueError:
        dt_s = math.nan
    if not 0 < dt_s < math.inf:
        raise InputError(f"dt is {graph.metadata['dt']}; allowed: a positive number of seconds")
    return dt_s


def _apply(node: nir.NIRNode, x: Signal, dt: float) -> Signal:
    if isinstance(node, NEURONS):
        return run_layer(equation(node, dt), x)
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            return rule(node, x, dt)
    raise InputError(f"nodes of type {type(node).__name__} are not supported")


class _Loop:
    """The nodes of a loop, executed together, one time step after the other."""

    def __init__(
        self,
        graph: nir.NIRGraph,
        group: tuple[str, ...],
        outside: Mapping[str, Signal],
        shapes: Mapping[str, Shape],
        batch: tuple[int, int],
        dt: float,
    ) -> None:
        self.nodes, self.group, self.dt, self.steps = graph.nodes, group, dt, batch[1]
        self.sources, self.late = predecessors(graph), late_edges(graph.nodes, graph.edges)
        self.signals = {name: np.zeros((*batch, *shapes[name])) for name in group}
        self.known = {**outside, **self.signals}
        neurons = {name: node for name in group if isinstance(node := graph.nodes[name], NEURONS)}
        self.layers = {name: Layer(equation(node, dt), batch[0]) for name, node in neurons.items()}

    def run(self) -> dict[str, Signal]:
        for t in range(self.steps):
            for name in self.group:
                self.signals[name][:, t] = self._sent(name, t)
        return self.signals

    def _sent(self, name: str, t: int) -> Signal:
        node = self.nodes[name]
        if name in self.layers:
            return self.layers[name].step(self._arriving(name, t))
        if isinstance(node, nir.Delay):
            return _held_back(node, self.dt, lambda k: self._arriving(name, t - k))
        now = node.at(t) if isinstance(node, GainBias) else node
        return _apply(now, self._arriving(name, t)[:, np.newaxis], self.dt)[:, 0]

    def _arriving(self, name: str, t: int) -> Signal:
        """What the edges into a node deliver at step t; 0 before the first."""
        sent = [(self.known[source], t - self.late.get((source, name), 0)) for source in self.sources[name]]
        return sum((signal[:, step] for signal, step in sent if step >= 0), start=np.zeros_like(sent[0][0][:, 0]))


def _by_clip(function: Callable[[Signal], Signal], x: Signal) -> Signal:
    """The result for a clip's frames depends on no other clip, not even in the order in which BLAS adds up."""
    return np.stack([function(frames) for frames in x])


def _kernel(node: nir.NIRNode, x: Signal, dt: float) -> Signal:
    weight, geometry = kernel_of(node, x.shape[2:])
    bias, out_shape = bias_of(node), kernel_output(node, x.shape[2:])
    y = _by_clip(lambda frames: convolve(frames.reshape(-1, *geometry.in_shape), weight, geometry) + bias, x)
    return y.reshape(*x.shape[:2], *out_shape)


def _linear(node: nir.Linear | nir.Affine, x: Signal, dt: float) -> Signal:
    weight = node.weight.astype(np.float64)
    y = x @ weight.T if weight.ndim == 2 else (weight @ x[..., np.newaxis])[..., 0]
    return y + node.bias if isinstance(node, nir.Affine) else y


def _scale(node: nir.Scale, x: Signal, dt: float) -> Signal:
    return x * node.scale


def _flatten(node: nir.Flatten, x: Signal, dt: float) -> Signal:
    return x.reshape(*x.shape[:2], *output_shape(node, x.shape[2:]))


def _delay(node: nir.Delay, x: Signal, dt: float) -> Signal:
    return _held_back(node, dt, lambda k: delayed(x, k))


def _held_back(node: nir.Delay, dt: float, late: Callable[[int], Signal]) -> Signal:
    """What every neuron gets, when `late` gives what all would get that many time steps late."""
    steps = delay_steps(node, dt)
    first, *others = np.unique(steps).tolist()
    y = late(first)
    for k in others:
        y = np.where(steps == k, late(k), y)
    return y


def delay_steps(node: nir.Delay, dt: float) -> NDArray[np.int64]:
    """The delay of every neuron in time steps; raises `InputError` where that is no whole number."""
    steps = np.round(np.asarray(node.delay, dtype=np.float64) / dt, 6)
    if (steps < 0).any() or (steps != np.rint(steps)).any():
        raise InputError(f"a delay of {np.unique(steps).tolist()} time steps; allowed: whole numbers from 0; check dt")
    return steps.astype(np.int64)


def _attention(node: SpikingAttention, x: Signal, dt: float) -> Signal:
    return _by_clip(lambda frames: attend(frames, heads=int(node.heads)), x) * node.scale


def _gain_bias(node: GainBias, x: Signal, dt: float) -> Signal:
    if node.frames not in (1, x.shape[1]):
        raise InputError(f"a GainBias of {node.frames} time steps in a clip of {x.shape[1]}; allowed: the same number")
    return node.gain * x + node.bias


def _pass_on(node: nir.NIRNode, x: Signal, dt: float) -> Signal:
    return x


_RULES: dict[type | tuple[type, ...], Callable[[Any, Signal, float], Signal]] = {
    (*CONVOLUTIONS, *POOLINGS): _kernel,
    (nir.Linear, nir.Affine): _linear,
    nir.Scale: _scale,
    nir.Flatten: _flatten,
    nir.Delay: _delay,
    SpikingAttention: _attention,
    GainBias: _gain_bias,
    (Junction, nir.Output): _pass_on,
}
