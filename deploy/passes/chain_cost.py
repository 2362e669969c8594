"""What a connection and a relay cost by rate x synapses: operations, accesses, traffic; no joule.

From geometry alone, so that a form of the network can be counted before it is built: the pass that merges chains
chooses by it, and the bill of deployment sets the forms side by side by it.
"""

import numpy as np

import hardware
from deploy.ir.machine import BIAS_BITS, GRADED_BITS, STATE_BITS
from deploy.ir.types import Shape, Values
from hardware import (
    ConvGeometry,
    IdentityGeometry,
    OpCounts,
    count_accesses,
    count_multiplications,
    count_relays,
    count_state_accesses,
)
from hardware.geometry import Geometry, LinearGeometry


def linear(geometry: Geometry) -> LinearGeometry:
    """The geometry of a connection that is known to be linear."""
    assert isinstance(geometry, LinearGeometry)
    return geometry


def count_row(geometry: LinearGeometry, *, messages: float, binary: bool, weight_bits: int) -> OpCounts:
    """What `messages` cause that are evenly spread over the positions and time steps of their source.

    `binary`: they are spikes, each adds a weight; otherwise graded values other than zero.
    """
    reached, delivered = round(messages * geometry.synapses / geometry.inputs), round(messages)
    relayed = isinstance(geometry, IdentityGeometry)
    ops = OpCounts(
        synaptic_ops=reached if binary else 0,
        macs=0 if binary or relayed else reached,
        relay_adds=reached if relayed and not binary else 0,
        weight_bits_read=0 if relayed else reached * weight_bits,
        deliveries=delivered,
        traffic_bits=delivered * ((geometry.inputs - 1).bit_length() + (0 if binary else GRADED_BITS)),
    )
    ops += count_multiplications(ops.macs, GRADED_BITS)
    return ops + count_accesses(
        ops,
        weight_memory_bits=kernel_bits(geometry, weight_bits=weight_bits),
        state_memory_bits=int(np.prod(geometry.out_shape)) * STATE_BITS,
    )


def count_relay(shape: Shape, *, steps: int, sent: int | None = None) -> OpCounts:
    """What a relay does by itself: sums taken up and cleared, and `sent` messages (default: every sum)."""
    values = int(np.prod(shape))
    sums = count_state_accesses(reads=steps * values, writes=steps * values, memory_bits=values * STATE_BITS)
    updates = count_relays(steps, values)
    return sums + updates + OpCounts(graded_messages=steps * values if sent is None else sent)


def count_biases(bias: Values, shape: Shape, *, steps: int) -> OpCounts:
    """Biases of a population, each of the machine's width."""
    return hardware.count_biases(np.asarray(bias), shape, steps=steps, bias_bits=BIAS_BITS)


def kernel_bits(geometry: Geometry, *, weight_bits: int) -> int:
    """Bits of a kernel; 0 where there is none."""
    return geometry.weights * weight_bits if isinstance(geometry, ConvGeometry) else 0
