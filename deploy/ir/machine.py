"""The widths of the integer machine, which are Loihi's; every limit follows from them.

Potentials, currents and biases count in 1/64 of the unit of the weights (`STATE_SHIFT`), as Lava's fixed-point LIF
does. `svformer.model.qat` trains with the same steps and may not import this file; a test compares them
(tests/model/test_qat.py).
"""

WEIGHT_BITS = 8  # the most that a synapse stores, sign included
LEAST_WEIGHT_BITS = 2  # one bit and a sign
LOW_BITS = 5  # that a second synapse adds to a weight that is held by two
FACTOR_BITS = 7  # of the multiplier of an identity or of attention: the size of an 8-bit weight without its sign
DECAY_BITS = 12
STATE_BITS = 24  # of u, v and a synaptic sum, sign included
STATE_SHIFT = 6  # u, v and the bias count in 1/64 of the unit of the weights
GRADED_BITS = 24  # of a graded message
BIAS_BITS = 13  # of a bias mantissa, sign included
GAIN_BITS = 13  # of a factor for one time step, sign included
MAX_DELAY = 62  # time steps that a connection may hold a message back; a dense Loihi 2 synapse has 6 bits for it

DECAY_ONE = 1 << DECAY_BITS  # a state loses decay / 4096 of itself in every time step
STATE_LIMIT = 1 << (STATE_BITS - 1)  # 2^23; registers hold values whose magnitude is below it
STATE_UNIT = 1 << STATE_SHIFT
CURRENT_LIMIT = STATE_LIMIT >> STATE_SHIFT  # 2^17, in the unit of the weights; a current above it wraps in u
POTENTIAL_LIMIT = STATE_LIMIT >> STATE_SHIFT  # in the unit of the weights
BIAS_MANTISSA_LIMIT = 1 << (BIAS_BITS - 1)
GAIN_LIMIT = 1 << (GAIN_BITS - 1)


def low_bits(weight_bits: int) -> int:
    """Bits that a second synapse of this width adds to a weight: `LOW_BITS`, or all that it has beside its sign."""
    return min(LOW_BITS, weight_bits - 1)


def largest_mantissa(weight_bits: int) -> int:
    """The largest weight of a signed width: 127 for 8 bits; the range is symmetric."""
    return int(2 ** (weight_bits - 1) - 1)
