"""Biases of relays as synapses from a neuron that always fires: a chip's relays have none of their own.

A synapse holds 127 x 2^7, so a bias is a sum of digits in base 128. Digits above the second come over relays that send
a power of two in every time step.
"""

import numpy as np

from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import IntArray
from deploy.passes.chip_form.wiring import LARGEST_EXPONENT, Wiring, digits, relay, spread

DIGIT_BITS = 7
FIRST_LIFT = 64, 13  # a weight, and the bits that it lifts a spike by with the largest exponent: 64 x 2^7
NEXT_LIFT = 1, 7


def wire_bias(wiring: Wiring, target: str, population: IntRelay) -> None:
    """Give a relay that is in the wiring without its bias the synapses that make up for it."""
    full = np.broadcast_to(population.bias, population.shape)
    for digit, power in digits(full):
        source, exponent = _of_power(wiring, DIGIT_BITS * power)
        wiring.connect(source, target, spread(_as_weights(digit), population.shape, exponent=exponent))


def _of_power(wiring: Wiring, bits: int) -> tuple[str, int]:
    """What sends a power of two in every time step, and the exponent of a synapse that makes 2^bits of it."""
    source, sent = wiring.always(), 0
    while bits - sent > LARGEST_EXPONENT:
        weight, lift = NEXT_LIFT if sent else FIRST_LIFT
        source, sent = _lifted(wiring, source, weight, sent + lift), sent + lift
    return source, bits - sent


def _lifted(wiring: Wiring, source: str, weight: int, bits: int) -> str:
    """A relay that sends 2^bits in every time step; one for all."""
    name = f"{wiring.always()}.times_2_{bits}"
    if name not in wiring.added:
        wiring.add("", name, relay((1, 1, 1)))
        wiring.connect(source, name, spread(np.full((1, 1, 1, 1), weight), (1, 1, 1), exponent=LARGEST_EXPONENT))
    return name


def _as_weights(values_CHW: IntArray) -> IntArray:
    """[C, 1, H, W]."""
    return values_CHW[:, np.newaxis]
