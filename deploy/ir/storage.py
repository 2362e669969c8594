"""Bits that a deployed network stores: weights, gains, biases."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import (
    IntConvolution,
    IntInput,
    IntNetwork,
    IntOperation,
    IntPopulation,
    IntRelay,
)


def neurons(population: Any) -> int:
    return 0 if isinstance(population, IntInput) else int(np.prod(population.shape))


def bias_of(population: IntPopulation) -> NDArray[np.int64]:
    """The stored biases of a population that is not the input; [T, ...] where they change with the time step."""
    assert not isinstance(population, IntInput)
    return population.bias if isinstance(population, IntRelay) else population.bias_mantissa


def biased(bias: NDArray[np.generic], shape: tuple[int, int, int]) -> int:
    """Values of a population that have a bias; one that is zero at some time steps is added all the same."""
    at_some_step = bias.any(axis=0) if bias.ndim > len(shape) else bias
    return int(np.count_nonzero(np.broadcast_to(at_some_step, shape)))


def weight_bits(operation: IntOperation) -> int:
    """Bits that the weights of a connection need, sign included; factors of two that all share are in the exponent."""
    if not isinstance(operation, IntConvolution):
        return 0
    magnitudes = np.abs(operation.mantissa.astype(np.int64))
    shared = int(np.gcd.reduce(magnitudes, axis=None))
    power_of_two = shared & -shared
    return (int(magnitudes.max()) // max(power_of_two, 1)).bit_length() + 1


def widest_weight_bits(network: IntNetwork) -> int:
    """Bits of the widest weight, sign included."""
    return max((weight_bits(c.operation) for c in network.connections), default=1)


def synapse_memory_bits(network: IntNetwork) -> int:
    """Bits of all stored weights, a kernel stored once however many positions share it."""
    convolutions = (c.operation for c in network.connections if isinstance(c.operation, IntConvolution))
    return sum(operation.mantissa.size * weight_bits(operation) for operation in convolutions)


def parameter_count(network: IntNetwork) -> int:
    """Weights, gains and biases stored in the deployed network."""
    weights = sum(c.operation.mantissa.size for c in network.connections if isinstance(c.operation, IntConvolution))
    gains = sum(c.gain.multiplier.size for c in network.connections if c.gain is not None)
    biases = sum(bias_of(p).size for p in network.populations.values() if not isinstance(p, IntInput))
    return int(weights + gains + biases)
