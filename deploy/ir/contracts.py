"""What each level of the graph allows, checked after every pass; the message names the pass and every offender."""

from deploy.errors import GateError
from deploy.ir.extension import fits
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network
from deploy.ir.types import Shape, Values

FACTOR_TOLERANCE = 1 / 128  # a multiplier has 7 bits


def check_network(network: Network, *, after: str) -> None:
    """Contract of the lowered level; raises `GateError`."""
    problems = structure_problems(network)
    for name, receiver in network.receivers.items():
        problems += _misfits(f"{name}: bias", receiver.bias, receiver.shape, network.frames)
        problems += [f"{name}: {problem}" for problem in receiver.problems()]
    for c in network.connections:
        if c.gain is not None and c.target in network.populations:
            target = network.populations[c.target]
            problems += _misfits(f"{c.source} -> {c.target}: gain", c.gain, target.shape, network.frames)
        takes, gives = c.operation.in_shape, c.operation.out_shape
        if c.source in network.populations and takes != network.populations[c.source].shape:
            problems.append(f"{c.source} -> {c.target}: takes {takes}, source is {network.populations[c.source].shape}")
        if c.target in network.populations and gives != network.populations[c.target].shape:
            problems.append(f"{c.source} -> {c.target}: gives {gives}, target is {network.populations[c.target].shape}")
    _raise(problems, after)


def check_integer(network: IntNetwork, *, after: str) -> None:
    """Contract of the integer level; raises `GateError`."""
    problems = structure_problems(network)
    for name, receiver in network.receivers.items():
        problems += [f"{name}: {problem}" for problem in receiver.problems()]
    for c in network.connections:
        exists = {c.source, c.target} <= network.populations.keys()
        if (factor := c.operation.unit_factor) is not None and c.gain is None and exists:
            arrives = network.populations[c.source].message_unit * factor
            target = network.populations[c.target]
            if abs(arrives / target.scale - 1) > FACTOR_TOLERANCE:
                problems.append(f"{c.source} -> {c.target}: scales {arrives} and {target.scale} differ")
    _raise(problems, after)


def structure_problems(network: Network | IntNetwork) -> list[str]:
    """Connections between populations that exist, sources before targets, one input, a known output."""
    order = {name: i for i, name in enumerate(network.populations)}
    problems = [] if network.output in order else [f"the output {network.output} does not exist"]
    inputs = [name for name, population in network.populations.items() if population.kind == "input"]
    if len(inputs) != 1:
        problems.append(f"one input is needed, found {inputs}")
    for c in network.connections:
        if c.source not in order or c.target not in order:
            problems.append(f"{c.source} -> {c.target}: no such population")
        elif order[c.source] >= order[c.target] and not c.delay:
            problems.append(f"{c.source} -> {c.target}: the target comes first")
    return problems


def _misfits(what: str, values: Values, shape: Shape, frames: int) -> list[str]:
    """Values for every neuron, or for every time step and neuron, have to broadcast."""
    full = shape if values.ndim == 3 else (frames, *shape)
    return [] if fits(values.shape, full) else [f"{what} {values.shape} does not broadcast to {full}"]


def _raise(problems: list[str], after: str) -> None:
    if problems:
        raise GateError(f"pass {after} left a graph that breaks its contract: {'; '.join(problems)}")
