"""What each level of the graph allows, checked after every pass; the message names the pass and every offender."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import GateError
from deploy.ir.integer import IntIdentity, IntInput, IntLif, IntMembrane, IntNetwork, IntRelay
from deploy.ir.machine import DECAY_ONE
from deploy.ir.network import Input, Lif, Membrane, Network, Relay, Shape, operation_shapes
from deploy.ir.nodes import fits

FACTOR_TOLERANCE = 1 / 128  # a multiplier has 7 bits


def check_network(network: Network, *, after: str) -> None:
    """Contract of the lowered level; raises `GateError`."""
    problems = _structure(network)
    for name, population in network.populations.items():
        if isinstance(population, (Relay, Membrane)):
            problems += _misfits(f"{name}: bias", population.bias, population.shape, network.frames)
        if isinstance(population, Membrane):
            problems += _outside(name, 1, decay=population.decay, current_decay=population.current_decay)
        if isinstance(population, Lif) and not (population.threshold > 0).all():
            problems.append(f"{name}: threshold not positive")
    for c in network.connections:
        if c.gain is not None and c.target in network.populations:
            target = network.populations[c.target]
            problems += _misfits(f"{c.source} -> {c.target}: gain", c.gain, target.shape, network.frames)
        takes, gives = operation_shapes(c.operation)
        if c.source in network.populations and takes != network.populations[c.source].shape:
            problems.append(f"{c.source} -> {c.target}: takes {takes}, source is {network.populations[c.source].shape}")
        if c.target in network.populations and gives != network.populations[c.target].shape:
            problems.append(f"{c.source} -> {c.target}: gives {gives}, target is {network.populations[c.target].shape}")
    _raise(problems, after)


def check_integer(network: IntNetwork, *, after: str) -> None:
    """Contract of the integer level; raises `GateError`."""
    problems = _structure(network)
    for name, population in network.populations.items():
        if isinstance(population, IntRelay) and not np.issubdtype(population.bias.dtype, np.integer):
            problems.append(f"{name}: bias is not integer")
        if isinstance(population, IntMembrane):
            problems += _outside(name, DECAY_ONE, decay=population.decay, current_decay=population.current_decay)
    for c in network.connections:
        exists = {c.source, c.target} <= network.populations.keys()
        if isinstance(c.operation, IntIdentity) and c.gain is None and exists:
            source, target = network.populations[c.source], network.populations[c.target]
            sent = 1.0 if isinstance(source, IntLif) else source.scale
            arrives = sent * c.operation.multiplier * 2.0**c.operation.exponent
            if abs(arrives / target.scale - 1) > FACTOR_TOLERANCE:
                problems.append(f"{c.source} -> {c.target}: scales {arrives} and {target.scale} differ")
    _raise(problems, after)


def _structure(network: Network | IntNetwork) -> list[str]:
    """Connections between populations that exist, sources before targets, one input, a known output."""
    order = {name: i for i, name in enumerate(network.populations)}
    problems = [] if network.output in order else [f"the output {network.output} does not exist"]
    inputs = [n for n, p in network.populations.items() if isinstance(p, (Input, IntInput))]
    if len(inputs) != 1:
        problems.append(f"one input is needed, found {inputs}")
    for c in network.connections:
        if c.source not in order or c.target not in order:
            problems.append(f"{c.source} -> {c.target}: no such population")
        elif order[c.source] >= order[c.target] and not c.delay:
            problems.append(f"{c.source} -> {c.target}: the target comes first")
    return problems


def _outside(name: str, largest: int, **decays: NDArray[Any] | None) -> list[str]:
    wrong = [what for what, d in decays.items() if d is not None and not ((d >= 0) & (d <= largest)).all()]
    return [f"{name}: {what} outside 0..{largest}" for what in wrong]


def _misfits(what: str, values: NDArray[Any], shape: Shape, frames: int) -> list[str]:
    """Values for every neuron, or for every time step and neuron, have to broadcast."""
    full = shape if values.ndim == 3 else (frames, *shape)
    return [] if fits(values.shape, full) else [f"{what} {values.shape} does not broadcast to {full}"]


def _raise(problems: list[str], after: str) -> None:
    if problems:
        raise GateError(f"pass {after} left a graph that breaks its contract: {'; '.join(problems)}")
