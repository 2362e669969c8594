"""What a deployed network stores: bits of its weights, and how many parameters there are."""

from deploy.ir.integer import IntNetwork


def widest_weight_bits(network: IntNetwork) -> int:
    """Bits of the widest weight, sign included."""
    return max((c.operation.weight_bits for c in network.connections if c.operation.weights), default=1)


def synapse_memory_bits(network: IntNetwork) -> int:
    """Bits of all stored weights, a kernel stored once however many positions share it."""
    return sum(c.operation.weights * c.operation.weight_bits for c in network.connections)


def parameter_count(network: IntNetwork) -> int:
    """Weights, gains and biases stored in the deployed network."""
    weights = sum(c.operation.weights for c in network.connections)
    gains = sum(c.gain.multiplier.size for c in network.connections if c.gain is not None)
    return int(weights + gains + sum(p.stored_bias.size for p in network.receivers.values()))
