"""What the integers of a file must not be: shapes that do not fit, and values that the machine has no bits for."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from deploy.ir.contracts import structure_problems
from deploy.ir.extension import fits
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import MAX_DELAY, POTENTIAL_LIMIT, STATE_BITS, WEIGHT_BITS
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation, outside
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Values


def problems_of(network: IntNetwork) -> list[str]:
    """All of them, each with the population or connection that it is about."""
    found = [f"{name}: {line}" for name, p in network.populations.items() for line in _population(p, network)]
    found += [f"{c.source} -> {c.target}: {line}" for c in network.connections for line in _connection(c, network)]
    found += [f"{name}: {line}" for name, receiver in network.receivers.items() for line in receiver.problems()]
    return [*structure_problems(network), *found, *_refining(network.connections)]


def _refining(connections: tuple[IntConnection, ...]) -> Iterator[str]:
    """Low bits of weights belong to the connection before: the same synapses, coarser ones."""
    for before, c in zip((None, *connections), connections, strict=False):
        if not c.refines:
            continue
        high = before.operation if before is not None else None
        if not (
            before is not None
            and isinstance(high, IntConvolution)
            and isinstance(c.operation, IntConvolution)
            and (before.source, before.target, before.delay) == (c.source, c.target, c.delay)
            and high.geometry == c.operation.geometry
            and high.exponent >= c.operation.exponent
        ):
            yield f"{c.source} -> {c.target}: refines what the connection before it is not; allowed: coarser ones"


def _population(population: IntPopulation, network: IntNetwork) -> Iterator[str]:
    if not 0 < population.scale < math.inf:
        yield f"scale {population.scale}; allowed: a positive number"
    if min(population.shape) < 1:
        yield f"shape {population.shape}; allowed: sizes from 1"
    if isinstance(population, IntInput) and population.low > population.high:
        yield f"low {population.low} is above high {population.high}"
    for field in dataclasses.fields(population):  # type: ignore[arg-type]  # the protocol does not say that it is one
        value = getattr(population, field.name)
        if isinstance(value, np.ndarray):
            yield from _misfit(field.name, value, population.shape, network.frames)
        elif field.name.endswith("exponent"):
            yield from _exponent(value, least=0)
    if isinstance(population, IntLif):
        yield from outside(POTENTIAL_LIMIT - 1, {"threshold": population.threshold})


def _connection(connection: IntConnection, network: IntNetwork) -> Iterator[str]:
    operation, populations = connection.operation, network.populations
    yield from _exponent(operation.exponent)
    if not 0 <= connection.delay <= MAX_DELAY:
        yield f"a delay of {connection.delay} time steps; allowed: 0 to {MAX_DELAY}"
    if isinstance(operation, IntConvolution):
        if operation.mantissa.shape != operation.geometry.weight_shape:
            yield f"weights of shape {operation.mantissa.shape}; allowed: {operation.geometry.weight_shape}"
        elif operation.weight_bits > WEIGHT_BITS:
            yield f"weights of {operation.weight_bits} bits; allowed: up to {WEIGHT_BITS}"
    ends = (("takes", operation.in_shape, connection.source), ("gives", operation.out_shape, connection.target))
    for what, shape, name in ends:
        if name in populations and shape != populations[name].shape:
            yield f"{what} {shape}, {name} is {populations[name].shape}"
    if connection.gain is not None:
        yield from _misfit("gain", connection.gain.multiplier, operation.out_shape, network.frames)
        yield from _exponent(connection.gain.exponent)


def _misfit(what: str, values: Values, shape: tuple[int, ...], frames: int) -> Iterator[str]:
    """Values for every neuron, or for every time step and neuron, have to broadcast."""
    full = (frames, *shape) if values.ndim > len(shape) else shape
    if not fits(values.shape, full):
        yield f"{what} of shape {values.shape}; allowed: what broadcasts to {full}"


def _exponent(exponent: int, least: int = -STATE_BITS) -> Iterator[str]:
    if not least <= exponent <= STATE_BITS:
        yield f"an exponent of {exponent}; allowed: {least} to {STATE_BITS}"
