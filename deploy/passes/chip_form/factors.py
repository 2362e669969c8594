"""Factors that a synapse does not hold, 127 x 2^7 at most and 2^-8 at least, in two synapses with a relay between."""

from dataclasses import replace

from deploy.ir.integer import IntConnection
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.passes.chip_form.wiring import (
    LARGEST_EXPONENT,
    LARGEST_WEIGHT,
    LEAST_EXPONENT,
    Wiring,
    as_weight,
    relay,
)


def wire_held(wiring: Wiring, connection: IntConnection) -> None:
    """Put a connection in, in as many synapses as its factor takes."""
    operation, source, delay = _lifted(connection.operation), connection.source, connection.delay
    while (rest := _beyond(operation.exponent)) != 0:
        shape, first = operation.out_shape, operation.exponent - rest
        name = wiring.add(connection.target, "part", relay(shape, _scale(wiring, connection.target, rest)))
        wiring.connect(source, name, operation.with_exponent(first), delay=delay)
        source, delay = name, 0
        operation = IntIdentity(in_shape=shape, out_shape=shape, exponent=rest)
    wiring.connect(source, connection.target, operation, delay=delay)


def _beyond(exponent: int) -> int:
    """How far an exponent is outside of what a synapse has."""
    return max(exponent - LARGEST_EXPONENT, 0) + min(exponent - LEAST_EXPONENT, 0)


def _scale(wiring: Wiring, target: str, rest: int) -> float:
    return wiring.network.populations[target].scale / 2.0**rest


def _lifted(operation: IntOperation) -> IntOperation:
    """The operation with as much of its exponent in its weights as they hold."""
    over = operation.exponent - LARGEST_EXPONENT
    if isinstance(operation, IntConvolution) and 0 < over < LARGEST_WEIGHT.bit_length():
        largest = int(abs(operation.mantissa).max()) << over
        if largest <= LARGEST_WEIGHT:
            return IntConvolution(
                mantissa=operation.mantissa << over, exponent=LARGEST_EXPONENT, geometry=operation.geometry
            )
    if isinstance(operation, IntIdentity) and over > 0:
        held = as_weight(operation.multiplier << operation.exponent)
        if held is not None:
            return replace(operation, multiplier=held[0], exponent=held[1])
    return operation
