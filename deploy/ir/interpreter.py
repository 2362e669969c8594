"""What a NIR graph computes, in float64 and plain NumPy: the meaning of every node that we support.

Shapes: N clips, T time steps, then the node's own shape. NIR's time is continuous; a neuron is integrated with one
Euler step of `dt` for every frame: `v <- v + dt / tau * (v_leak - v + r x)`, a spike when `v > v_threshold`, then
`v <- v_reset`; `v = 0` before the first frame.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.graph import convolution_geometry, execution_order, output_shape, predecessors
from deploy.ir.linear import attend, convolve
from deploy.ir.network import delayed
from deploy.ir.nodes import GainBias, Junction, SpikingAttention
from svformer.errors import InputError

Signal = NDArray[np.float64]  # [N, T, ...]


def interpret(
    graph: nir.NIRGraph, frames_NTCHW: NDArray[Any], *, dt_s: float | None = None, keep: Iterable[str] | None = None
) -> dict[str, Signal]:
    """Output of every node for a batch of clips; `dt_s` defaults to the graph's metadata.

    With `keep`, only those nodes are returned, and the memory of all others is given back on the way.
    """
    dt = graph_dt_s(graph) if dt_s is None else dt_s
    sources, kept = predecessors(graph), set(graph.nodes if keep is None else keep)
    signals: dict[str, Signal] = {}
    order = execution_order(graph)
    last_use = {source: name for name in order for source in sources[name]}
    for name in order:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            signals[name] = np.asarray(frames_NTCHW, dtype=np.float64)
        else:
            summed = sum((signals[s] for s in sources[name][1:]), start=signals[sources[name][0]])
            signals[name] = _apply(node, summed, dt)
        for source in set(sources[name]):
            if last_use[source] == name and source not in kept:
                del signals[source]
    return {name: signals[name] for name in order if name in kept}


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
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            return rule(node, x, dt)
    raise InputError(f"nodes of type {type(node).__name__} are not supported yet")


def _by_frame(function: Callable[[Signal], Signal], x: Signal) -> Signal:
    y = function(x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def _conv2d(node: nir.Conv2d, x: Signal, dt: float) -> Signal:
    geometry = convolution_geometry(node, x.shape[2:])
    weight = node.weight.astype(np.float64)
    return _by_frame(lambda frames: convolve(frames, weight, geometry), x) + node.bias[:, None, None]


def _linear(node: nir.Linear | nir.Affine, x: Signal, dt: float) -> Signal:
    y = x @ node.weight.astype(np.float64).T
    return y + node.bias if isinstance(node, nir.Affine) else y


def _scale(node: nir.Scale, x: Signal, dt: float) -> Signal:
    return x * node.scale


def _flatten(node: nir.Flatten, x: Signal, dt: float) -> Signal:
    return x.reshape(*x.shape[:2], *output_shape(node, x.shape[2:]))


def _delay(node: nir.Delay, x: Signal, dt: float) -> Signal:
    return delayed(x, delay_steps(node, dt))


def delay_steps(node: nir.Delay, dt: float) -> int:
    """A delay in whole time steps; raises `InputError` when it is not one and the same for all neurons."""
    steps = np.unique(np.round(node.delay / dt, 6))
    if len(steps) != 1 or steps[0] != int(steps[0]) or steps[0] < 0:
        raise InputError(f"a delay of {steps.tolist()} time steps; allowed: one whole number for all neurons of a node")
    return int(steps[0])


def _lif(node: nir.LIF, x: Signal, dt: float) -> Signal:
    return _fire(x, node, lambda v, current: v + dt / node.tau * (node.v_leak - v + node.r * current))


def _if(node: nir.IF, x: Signal, dt: float) -> Signal:
    return _fire(x, node, lambda v, current: v + dt * node.r * current)


def _fire(x: Signal, node: nir.LIF | nir.IF, integrate: Callable[[Signal, Signal], Signal]) -> Signal:
    spikes = np.zeros_like(x)
    v = np.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        v = integrate(v, x[:, t])
        spikes[:, t] = v > node.v_threshold
        v = np.where(spikes[:, t] > 0, node.v_reset, v)
    return spikes


def _threshold(node: nir.Threshold, x: Signal, dt: float) -> Signal:
    return (x > node.threshold).astype(np.float64)


def _attention(node: SpikingAttention, x: Signal, dt: float) -> Signal:
    return _by_frame(lambda frames: attend(frames, heads=int(node.heads)), x) * node.scale


def _gain_bias(node: GainBias, x: Signal, dt: float) -> Signal:
    if node.frames not in (1, x.shape[1]):
        raise InputError(f"a GainBias of {node.frames} time steps in a clip of {x.shape[1]}; allowed: the same number")
    return node.gain * x + node.bias


def _pass_on(node: nir.NIRNode, x: Signal, dt: float) -> Signal:
    return x


_RULES: dict[type | tuple[type, ...], Callable[[Any, Signal, float], Signal]] = {
    nir.Conv2d: _conv2d,
    (nir.Linear, nir.Affine): _linear,
    nir.Scale: _scale,
    nir.Flatten: _flatten,
    nir.Delay: _delay,
    nir.LIF: _lif,
    nir.IF: _if,
    nir.Threshold: _threshold,
    SpikingAttention: _attention,
    GainBias: _gain_bias,
    (Junction, nir.Output): _pass_on,
}
