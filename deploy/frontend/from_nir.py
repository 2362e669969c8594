"""NIR graph -> network, one population for a node: nothing is merged, moved or rounded yet.

Everything that cannot be mapped exactly is refused, all offenders at once and by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from deploy.ir.graph import convolution_geometry, execution_order, infer_shapes, predecessors
from deploy.ir.interpreter import delay_steps, graph_dt_s
from deploy.ir.network import (
    Array,
    Attention,
    Connection,
    Convolution,
    Identity,
    Input,
    Lif,
    Network,
    Operation,
    Population,
    Relay,
    Shape,
)
from deploy.ir.nodes import TRAINED_BITS, GainBias, Junction, SpikingAttention
from hardware.geometry import AttentionGeometry, ConvGeometry
from svformer.errors import InputError

ZERO = np.zeros((1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class _Site:
    """Where a node stands: what sends to it, the shapes around it, as images, and the time step."""

    sources: list[nir.NIRNode]
    in_shape: Shape
    out_shape: Shape
    dt_s: float
    frames: int


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What a node becomes: a population, and what the edges do that end in it."""

    operation: Operation
    population: Population
    delay: int = 0
    gain: Array | None = None


def from_nir(graph: nir.NIRGraph, *, frames: int | None = None, dt_s: float | None = None) -> Network:
    """Map a graph; `frames` (T) and `dt_s` default to the graph's metadata.

    Raises `InputError` that lists every node which has no exact counterpart.
    """
    dt = graph_dt_s(graph) if dt_s is None else dt_s
    frames = _frames(graph) if frames is None else frames
    try:
        shapes = {name: _as_image(shape) for name, shape in infer_shapes(graph).items()}
    except ValueError as error:
        raise InputError(f"inconsistent graph: {error}") from error
    sources, problems = predecessors(graph), []
    populations: dict[str, Population] = {}
    connections: list[Connection] = []
    for name in execution_order(graph):
        if isinstance(graph.nodes[name], nir.Input):
            populations[name] = Input(shape=shapes[name])
            continue
        site = _Site(
            sources=[graph.nodes[s] for s in sources[name]],
            in_shape=shapes[sources[name][0]],
            out_shape=shapes[name],
            dt_s=dt,
            frames=frames,
        )
        try:
            _refuse_not_finite(graph.nodes[name])
            mapped = _map(graph.nodes[name], site)
        except (ValueError, InputError) as error:
            problems.append(f"{name}: {error}")
            continue
        populations[name] = mapped.population
        connections += [
            Connection(source=s, target=name, operation=mapped.operation, delay=mapped.delay, gain=mapped.gain)
            for s in sources[name]
        ]
    if problems:
        raise InputError(f"{len(problems)} nodes cannot be mapped: {'; '.join(problems)}")
    return Network(
        populations=populations,
        connections=tuple(connections),
        output=_only_output(graph),
        frames=frames,
    )


def _frames(graph: nir.NIRGraph) -> int:
    if "T" not in graph.metadata:
        raise InputError("the graph's metadata has no 'T' (time steps of a clip); give a .npy clip that shows it")
    frames = graph.metadata["T"]
    if not (np.issubdtype(type(frames), np.integer) and frames >= 1):
        raise InputError(f"T is {frames}; allowed: a whole number of time steps from 1")
    return int(frames)


def _only_output(graph: nir.NIRGraph) -> str:
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"one Input and one Output node are needed, found {inputs} and {outputs}")
    return str(outputs[0])


def _as_image(shape: tuple[int, ...]) -> Shape:
    """(C, H, W) of a signal; a vector is one pixel with many channels."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    return (int(np.prod(shape)), 1, 1)


def _map(node: nir.NIRNode, site: _Site) -> Mapped:
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            return rule(node, site)
    raise ValueError(f"nodes of type {type(node).__name__} are not supported yet")


def _pass_on(site: _Site, delay: int = 0) -> Mapped:
    operation = Identity(in_shape=site.in_shape, out_shape=site.out_shape)
    return Mapped(operation=operation, delay=delay, population=Relay(shape=site.out_shape, bias=ZERO))


def _conv2d(node: nir.Conv2d, site: _Site) -> Mapped:
    geometry = convolution_geometry(node, site.in_shape)
    bits = node.metadata.get(TRAINED_BITS)
    operation = Convolution(
        weight=node.weight.astype(np.float64), geometry=geometry, trained_bits=None if bits is None else int(bits)
    )
    relay = Relay(shape=site.out_shape, bias=node.bias.astype(np.float64)[:, None, None])
    return Mapped(operation=operation, population=relay)


def _linear(node: nir.Linear | nir.Affine, site: _Site) -> Mapped:
    if site.in_shape != (node.weight.shape[-1], 1, 1) or node.weight.ndim != 2:
        raise ValueError(f"a dense layer takes a vector, found shape {site.in_shape}; put a Flatten in front")
    geometry = ConvGeometry(in_shape=site.in_shape, out_channels=len(node.weight), kernel=(1, 1))
    operation = Convolution(weight=node.weight.astype(np.float64)[:, :, None, None], geometry=geometry)
    bias = node.bias.astype(np.float64)[:, None, None] if isinstance(node, nir.Affine) else ZERO
    return Mapped(operation=operation, population=Relay(shape=site.out_shape, bias=bias))


def _lif(node: nir.LIF, site: _Site) -> Mapped:
    _refuse_other_than_zero(v_leak=node.v_leak, v_reset=node.v_reset)
    decay = site.dt_s / node.tau
    return _neurons(site, decay=decay, threshold=node.v_threshold / (node.r * decay))


def _if(node: nir.IF, site: _Site) -> Mapped:
    _refuse_other_than_zero(v_reset=node.v_reset)
    return _neurons(site, decay=np.zeros_like(node.r), threshold=node.v_threshold / (node.r * site.dt_s))


def _threshold(node: nir.Threshold, site: _Site) -> Mapped:
    return _neurons(site, decay=np.ones_like(node.threshold), threshold=node.threshold)


def _neurons(site: _Site, *, decay: Array, threshold: Array) -> Mapped:
    if (decay > 1).any() or (decay < 0).any():
        raise ValueError(
            f"tau is shorter than one time step of {site.dt_s:g} s (dt / tau up to {decay.max():.3g}); check dt"
        )
    if not (threshold > 0).all():
        raise ValueError("a threshold that is not positive, or a negative r: such a neuron fires without input")
    decay, threshold = (_compact(x.reshape(site.out_shape)) for x in (decay, threshold))
    operation = Identity(in_shape=site.in_shape, out_shape=site.out_shape)
    return Mapped(
        operation=operation, population=Lif(shape=site.out_shape, bias=ZERO, decay=decay, threshold=threshold)
    )


def _compact(values_CHW: Array) -> Array:
    """Parameters that are the same at every pixel of a channel become [C, 1, 1], or [1, 1, 1] if all are."""
    first = values_CHW[:, :1, :1]
    if not (values_CHW == first).all():
        return values_CHW.astype(np.float64)
    return (first[:1] if (first == first[:1]).all() else first).astype(np.float64)


def _refuse_not_finite(node: nir.NIRNode) -> None:
    values = {name: value for name, value in vars(node).items() if isinstance(value, np.ndarray)}
    damaged = [name for name, value in values.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
    if damaged:
        raise ValueError(f"{' and '.join(damaged)} with values that are not finite numbers; did the training diverge?")


def _refuse_other_than_zero(**parameters: Array) -> None:
    others = [name for name, values in parameters.items() if np.any(values != 0)]
    if others:
        raise ValueError(f"{' and '.join(others)} other than 0 {'are' if len(others) > 1 else 'is'} not supported")


def _delay(node: nir.Delay, site: _Site) -> Mapped:
    return _pass_on(site, delay_steps(node, site.dt_s))


def _attention(node: SpikingAttention, site: _Site) -> Mapped:
    if len(site.sources) != 1 or not isinstance(site.sources[0], (nir.LIF, nir.IF, nir.Threshold)):
        found = " + ".join(type(source).__name__ for source in site.sources)
        raise ValueError(f"attention takes the spikes of one LIF, IF or Threshold node, found {found}")
    channels, height, width = site.out_shape
    geometry = AttentionGeometry(channels=channels, tokens=height * width, heads=int(node.heads))
    operation = Attention(geometry=geometry, in_shape=site.in_shape, scale=float(node.scale))
    return Mapped(operation=operation, population=Relay(shape=site.out_shape, bias=ZERO))


def _gain_bias(node: GainBias, site: _Site) -> Mapped:
    if node.frames not in (1, site.frames):
        raise ValueError(f"values for {node.frames} time steps, a clip has {site.frames}")
    gain, bias = (_as_images(values, tuple(node.shape), site.out_shape) for values in (node.gain, node.bias))
    operation = Identity(in_shape=site.in_shape, out_shape=site.out_shape)
    relay = Relay(shape=site.out_shape, bias=bias)
    return Mapped(operation=operation, population=relay, gain=None if (gain == 1).all() else gain)


def _as_images(values: Array, shape: tuple[int, ...], image: Shape) -> Array:
    """Values that broadcast to [T, *shape], as values that broadcast to [T, C, H, W]."""
    if values.ndim == 4:
        return values.astype(np.float64)
    return np.broadcast_to(values, (len(values), *shape)).reshape(len(values), *image).astype(np.float64)


_RULES: dict[type | tuple[type, ...], Callable[[Any, _Site], Mapped]] = {
    nir.Conv2d: _conv2d,
    (nir.Linear, nir.Affine): _linear,
    (nir.Flatten, Junction, nir.Output): lambda node, site: _pass_on(site),
    nir.Delay: _delay,
    nir.LIF: _lif,
    nir.IF: _if,
    nir.Threshold: _threshold,
    SpikingAttention: _attention,
    GainBias: _gain_bias,
}
