"""The widths of the integer machine: every limit follows from them."""

DECAY_BITS = 12


DECAY_ONE = 1 << DECAY_BITS  # v loses decay / 4096 of itself every time step


STATE_SHIFT = 6  # u, v and the bias count in 1/64 of the unit of the weights


STATE_LIMIT = 1 << 23  # 24-bit registers


CURRENT_LIMIT = 1 << 17  # a current above this wraps in u


BIAS_MANTISSA_LIMIT = 1 << 12  # 13 bits, signed


GAIN_LIMIT = 1 << 12  # 12 bits and a sign


STATE_BITS = 24  # a potential, or the sum of a relay


GRADED_BITS = 24  # a graded message


BIAS_BITS = 13  # mantissa and sign


GAIN_BITS = 13  # 12 bits and a sign


WEIGHT_BITS = 8  # the most that Loihi stores with a sign
