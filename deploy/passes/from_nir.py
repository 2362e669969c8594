"""NIR graph -> network, one population for a node: nothing is merged, moved or rounded yet.

Everything that cannot be mapped exactly is refused, all offenders at once and by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from deploy.ir.canonical import canonical
from deploy.ir.dialects import Dialect, dialect_notes, dialect_of
from deploy.ir.extension import ExtensionNode
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.kernels import CONVOLUTIONS, POOLINGS, bias_of, kernel_of
from deploy.ir.loops import late_edges
from deploy.ir.model import stated_frames
from deploy.ir.network import Connection, Network, endless_loops
from deploy.ir.neurons import NEURONS, SPIKING, endless, endless_notes, equation
from deploy.ir.nodes import TRAINED_BITS
from deploy.ir.operations.base import Operation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.base import Population
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.relay import Relay
from deploy.ir.primitives import delay_steps, own_input_shape
from deploy.ir.readout import READOUT, choose_readout
from deploy.ir.repairs import repairs_of
from deploy.ir.shapes import execution_order, infer_shapes, predecessors
from deploy.ir.types import Array, Shape
from deploy.ir.whole import result_of
from deploy.passes.membranes import membrane_of, scaled
from deploy.passes.sums import with_sums
from hardware.geometry import ConvGeometry
from svformer.common.errors import InputError

ZERO = np.zeros((1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class _Site:
    """Where a node stands: what sends to it, the shapes around it, as images, and the time step."""

    sources: list[nir.NIRNode]
    in_shape: Shape
    out_shape: Shape
    dt_s: float
    frames: int
    dialect: Dialect
    spikes: bool  # whether one population sends to it, and fires


@dataclass(frozen=True, kw_only=True)
class Link:
    """What an edge into a node does; several links carry parts of a signal that have different delays."""

    operation: Operation
    delay: int = 0
    gain: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What a node becomes: a population, and what the edges do that end in it."""

    population: Population
    links: tuple[Link, ...]


def from_nir(graph: nir.NIRGraph, *, frames: int | None = None, dt_s: float | None = None) -> Network:
    """Map a graph; `frames` (T) and `dt_s` default to the graph's metadata.

    Raises `InputError` that lists every node which has no exact counterpart.
    """
    dt = graph_dt_s(graph) if dt_s is None else dt_s
    frames = graph_frames(graph) if frames is None else frames
    dialect = dialect_of(graph.metadata)
    try:
        graph = with_sums(canonical(graph))
        shapes = {name: _as_image(shape) for name, shape in infer_shapes(graph).items()}
        late = late_edges(graph.nodes, graph.edges)
        output, said = result_of(graph)
    except ValueError as error:
        raise InputError(f"inconsistent graph: {error}") from error
    sources, problems = predecessors(graph), list[str]()
    used = {output, *(source for source, _ in graph.edges)}
    populations: dict[str, Population] = {}
    connections: list[Connection] = []
    for name in execution_order(graph):
        if isinstance(graph.nodes[name], nir.Input):
            populations[name] = Input(shape=shapes[name])
            continue
        if isinstance(graph.nodes[name], nir.Output) and name not in used:
            continue
        site = _Site(
            sources=[graph.nodes[s] for s in sources[name]],
            in_shape=shapes[sources[name][0]] if sources[name] else _as_image(own_input_shape(graph.nodes[name])),
            out_shape=shapes[name],
            dt_s=dt,
            frames=frames,
            dialect=dialect,
            spikes=len(sources[name]) == 1 and _fires(sources[name][0], graph, populations),
        )
        try:
            _refuse_not_finite(graph.nodes[name])
            mapped = _map(graph.nodes[name], site)
            said += [f"{name}: {line}" for line in endless_notes(graph.nodes[name])]
        except (ValueError, InputError) as error:
            problems.append(f"{name}: {error}")
            continue
        populations[name] = mapped.population
        for source in sources[name]:
            steps = late.get((source, name), 0)
            connections += [_connection(source, name, link, steps) for link in mapped.links]
    network = Network(
        populations=populations,
        connections=tuple(connections),
        output=output,
        frames=frames,
        notes=(
            *repairs_of(graph),
            *dialect_notes(dialect),
            *said,
            *(_late_note(edge, steps) for edge, steps in late.items()),
        ),
        readout=choose_readout(graph.metadata.get(READOUT), spiking=_sends_spikes(graph, output)),
    )
    problems += [
        f"{', '.join(names)}: a loop of graded values, which nothing bounds" for names in endless_loops(network)
    ]
    if problems:
        raise InputError(f"{len(problems)} nodes cannot be mapped: {'; '.join(problems)}")
    return network


def _fires(source: str, graph: nir.NIRGraph, populations: Mapping[str, Population]) -> bool:
    """Whether a node is spiking neurons; one that comes later, in a loop, is known by its kind alone."""
    return populations[source].spiking if source in populations else isinstance(graph.nodes[source], SPIKING)


def _connection(source: str, target: str, link: Link, late: int) -> Connection:
    return Connection(source=source, target=target, operation=link.operation, delay=link.delay + late, gain=link.gain)


def _late_note(edge: tuple[str, str], steps: int) -> str:
    return f"{edge[0]} -> {edge[1]} closes a loop: late by {steps} time step{'s' if steps > 1 else ''}"


def graph_frames(graph: nir.NIRGraph) -> int:
    """T of the graph; raises `InputError` where it says none."""
    frames = stated_frames(graph)
    if frames is None:
        raise InputError("the graph's metadata has no 'T' (time steps of a clip); give a .npy clip that shows it")
    return frames


def _sends_spikes(graph: nir.NIRGraph, output: str) -> bool:
    """Whether spikes come out: of a node that fires, or of one that only marks what another sends."""
    node, sources = graph.nodes[output], predecessors(graph)[output]
    if isinstance(node, (nir.Output, nir.Flatten)) and len(sources) == 1:
        return _sends_spikes(graph, sources[0])
    return isinstance(node, SPIKING)


def _as_image(shape: tuple[int, ...]) -> Shape:
    """(C, H, W) of a signal: a line (C, N) has height 1, everything else is one pixel with many channels."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (int(np.prod(shape)), 1, 1)


def _map(node: nir.NIRNode, site: _Site) -> Mapped:
    for kind, rule in RULES.items():
        if isinstance(node, kind):
            return rule(node, site)
    raise ValueError(f"nodes of type {type(node).__name__} are not supported")


def _refuse_not_finite(node: nir.NIRNode) -> None:
    values = {name: value for name, value in vars(node).items() if isinstance(value, np.ndarray)}
    may = endless(node) if isinstance(node, NEURONS) else {}
    finite = {
        name: np.isfinite(value) | may.get(name, False) for name, value in values.items() if value.dtype.kind == "f"
    }
    damaged = [name for name, values in finite.items() if not values.all()]
    if damaged:
        raise ValueError(f"{' and '.join(damaged)} with values that are not finite numbers; did the training diverge?")


def _relay(site: _Site, *links: Link, bias: Array = ZERO) -> Mapped:
    return Mapped(population=Relay(shape=site.out_shape, bias=bias), links=links)


def _same(site: _Site) -> Identity:
    return Identity(in_shape=site.in_shape, out_shape=site.out_shape)


def _pass_on(node: nir.NIRNode, site: _Site) -> Mapped:
    return _relay(site, Link(operation=_same(site)))


def _kernel(node: nir.NIRNode, site: _Site) -> Mapped:
    in_shape = site.in_shape[::2] if isinstance(node, nir.Conv1d) else site.in_shape
    weight, geometry = kernel_of(node, in_shape)
    bits = node.metadata.get(TRAINED_BITS)
    operation = Convolution(weight=weight, geometry=geometry, trained_bits=None if bits is None else int(bits))
    return _relay(site, Link(operation=operation), bias=bias_of(node))


def _linear(node: nir.Linear | nir.Affine, site: _Site) -> Mapped:
    if site.in_shape != (node.weight.shape[-1], 1, 1) or node.weight.ndim != 2:
        raise ValueError(f"a dense layer takes a vector, found shape {site.in_shape}; put a Flatten in front")
    geometry = ConvGeometry(in_shape=site.in_shape, out_channels=len(node.weight), kernel=(1, 1))
    operation = Convolution(weight=node.weight.astype(np.float64)[:, :, None, None], geometry=geometry)
    return _relay(site, Link(operation=operation), bias=bias_of(node))


def _scale(node: nir.Scale, site: _Site) -> Mapped:
    return _relay(site, Link(**scaled(node.scale.astype(np.float64), site.in_shape)))


def _neurons(node: nir.NIRNode, site: _Site) -> Mapped:
    membrane = membrane_of(equation(node, site.dt_s, site.dialect), site.out_shape, site.dt_s)
    return Mapped(population=membrane.population, links=(Link(**scaled(membrane.gain, site.in_shape)),))


def _delay(node: nir.Delay, site: _Site) -> Mapped:
    steps = delay_steps(node, site.dt_s).reshape(site.in_shape)
    parts = [(k, scaled((steps == k) * 1.0, site.in_shape)) for k in np.unique(steps).tolist()]
    return _relay(site, *(Link(delay=k, **part) for k, part in parts))


def _extension(node: ExtensionNode, site: _Site) -> Mapped:
    if node.takes_spikes and not site.spikes:
        found = " + ".join(type(source).__name__ for source in site.sources)
        allowed = ", ".join(kind.__name__ for kind in SPIKING)
        raise ValueError(f"{type(node).__name__} takes the spikes of one node, found {found}; allowed: {allowed}")
    lower = node.lowered_behind_spikes if site.spikes else node.lowered
    lowered = lower(site.in_shape, site.out_shape, site.frames)
    link = Link(operation=lowered.operation, gain=lowered.gain)
    bias = ZERO if lowered.bias is None else lowered.bias
    if lowered.threshold is None:
        return _relay(site, link, bias=bias)
    neurons = Lif(shape=site.out_shape, bias=bias, decay=np.ones((1, 1, 1)), threshold=lowered.threshold)
    return Mapped(population=neurons, links=(link,))


RULES: dict[type | tuple[type, ...], Callable[[Any, _Site], Mapped]] = {
    (*CONVOLUTIONS, *POOLINGS): _kernel,
    (nir.Linear, nir.Affine): _linear,
    nir.Scale: _scale,
    nir.Flatten: _pass_on,
    nir.Delay: _delay,
    NEURONS: _neurons,
    ExtensionNode: _extension,
    nir.Output: _pass_on,
}
