"""The arithmetic of the integer machine on float32 tensors, bit for bit, with gradients.

Every number of a proven network has at most 24 bits (`deploy.passes.bounds`), partial sums in any order too, and
float32 holds these exactly; so do its sums and products, and multiplication by a power of two. What has more bits on
the way (a decay, a gain) is worked on in float64. The gradient of a rounding is that of what was rounded
("straight-through estimator", Bengio et al., arXiv 1308.3432).
"""

import torch
from torch import Tensor

from deploy.ir.machine import DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from svformer.model.qat import straight_through


def shifted(total: Tensor, exponent: int) -> Tensor:
    """A synaptic sum times 2^exponent; right shifts round down (`deploy.ir.operations.base.shifted`)."""
    product = total * 2.0**exponent
    return product if exponent >= 0 else exactly(torch.floor(product.detach()), product)


def gained(x: Tensor, multiplier: Tensor, exponent: int) -> Tensor:
    """`x * multiplier * 2^exponent`, halves rounded up (`deploy.ir.integer.IntGain`)."""
    product = x.double() * (multiplier * 2.0**exponent)
    if exponent >= 0:
        return product.float()
    return exactly(torch.floor(product.detach() + 0.5), product).float()


def decayed(state: Tensor, left: Tensor) -> Tensor:
    """What a time step leaves of a state, `left` / 4096 of it, rounded towards zero."""
    product = state.double() * (left / DECAY_ONE)
    return exactly(torch.trunc(product.detach()), product).float()


def wrapped(u: Tensor) -> Tensor:
    """A 24-bit register that overflows wraps, once."""
    u = torch.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, u)
    return torch.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u)


def saturated(v: Tensor) -> Tensor:
    """A potential at the ends of its 24 bits."""
    return v.clamp(-STATE_LIMIT + 1, STATE_LIMIT - 1)


def in_units(v: Tensor) -> Tensor:
    """A potential as a message in the unit of the weights, halves up."""
    scaled = v * 2.0**-STATE_SHIFT
    return exactly(torch.floor(scaled.detach() + 0.5), scaled)


def exactly(value: Tensor, source: Tensor) -> Tensor:
    """`value`, with the gradient of `source` where one is asked for."""
    return straight_through(value, source) if source.requires_grad else value
