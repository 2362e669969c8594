"""Exact integer kernels for one frame of messages: each operation has several, and the fastest is chosen.

Legend: C channels, H and W pixels of the input, O channels of the output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.attention import MOST_TOKENS, FloatAttention, PackedAttention
from deploy.engine.autotune import Autotuned, Kernel, cost_of, never_slowest
from deploy.engine.dense import (
    ByteProduct,
    FloatProduct,
    RowProduct,
    ShiftedPlanes,
    TwoByteProducts,
    byte_product_is_exact,
)
from deploy.engine.events import GatheredEvents
from deploy.engine.pooling import LargestOfWindows
from deploy.engine.product import MatrixProduct
from deploy.engine.ranges import BYTE, MessageRange, are_bytes, exact_type, scaled, sum_type, worst_sum
from deploy.engine.scatter import ScatteredEvents
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.operations.product import IntProduct

Messages = NDArray[Any]  # [C, H, W], int8 spikes or int32 graded
Currents = NDArray[Any]  # [O, H', W'], in the narrowest type that the bounds allow

Variants = dict[str, Callable[[], Kernel]]

COMPILED = {"rows", "two bytes", "gathered", "scattered", "planes", "packed"}  # by numba


@dataclass(frozen=True, kw_only=True)
class Family:
    """The kernels of one kind of operation.

    Attributes:
        variants: All that are exact for messages in a range, by name.
        traits: All that their speed depends on, but the machine and the number of spikes.
    """

    variants: Callable[[Any, MessageRange], Variants]
    traits: Callable[[Any, MessageRange], str]


def compile_kernel(operation: IntOperation, messages: MessageRange, *, variant: str | None = None) -> Kernel:
    """The fastest form of an operation for these messages, or the one of `variants` with this name."""
    makers = variants(operation, messages)
    if variant is None and len(makers) == 1:
        (variant,) = makers
    return makers[variant]() if variant is not None else _autotuned(operation, messages, makers)


def variants(operation: IntOperation, messages: MessageRange) -> Variants:
    """All kernels that are exact for these messages, by name; the operation itself where nobody wrote a faster one."""
    family = FAMILIES.get(type(operation))
    return family.variants(operation, messages) if family else {"interpreted": lambda: Interpreted(operation)}


def _convolutions(operation: IntConvolution, messages: MessageRange) -> Variants:
    makers: Variants = {"float": lambda: FloatProduct(operation, messages)}
    many_groups = operation.geometry.groups > 1
    if many_groups:
        makers["planes"] = lambda: ShiftedPlanes(operation, messages)
    if sum_type(worst_sum(operation, messages), operation.exponent) == np.int64:
        return makers
    if operation.geometry.kernel == operation.geometry.in_shape[1:] and operation.geometry.padding == (0, 0):
        makers["rows"] = lambda: RowProduct(operation, messages)
    makers |= _byte_products(operation, messages)
    if messages.are_spikes:
        makers["gathered"] = lambda: GatheredEvents(operation)
        if many_groups:
            makers["scattered"] = lambda: ScatteredEvents(operation)
    return makers


def _byte_products(operation: IntConvolution, messages: MessageRange) -> Variants:
    if not (are_bytes(operation.mantissa.min(), operation.mantissa.max()) and byte_product_is_exact()):
        return {}
    if messages.are_bytes:
        return {"bytes": lambda: ByteProduct(operation)}
    rounded = MessageRange(low=messages.low - BYTE.max, high=messages.high - BYTE.min)  # to a multiple of 256
    if messages.magnitude > TwoByteProducts.most or sum_type(worst_sum(operation, rounded), 0) == np.int64:
        return {}
    return {"two bytes": lambda: TwoByteProducts(operation)}


def _traits_of_convolution(operation: IntConvolution, messages: MessageRange) -> str:
    worst, weights = worst_sum(operation, messages), operation.mantissa
    types = exact_type(worst), sum_type(worst, operation.exponent)
    bits = 8 if are_bytes(weights.min(), weights.max()) else 16
    return f"{_traits(operation, messages)} x {bits} bits, {', '.join(np.dtype(t).name for t in types)}"


def _attentions(operation: IntAttention, messages: MessageRange) -> Variants:
    makers: Variants = {"float": lambda: FloatAttention(operation)}
    if operation.geometry.tokens <= MOST_TOKENS:
        makers["packed"] = lambda: PackedAttention(operation)
    return makers


def _identities(operation: IntIdentity, messages: MessageRange) -> Variants:
    return {"passed on": lambda: PassedOn(operation, messages)}


def _max_pools(operation: IntMaxPool, messages: MessageRange) -> Variants:
    return {"largest": lambda: LargestOfWindows(operation, messages)}


def _products(operation: IntProduct, messages: MessageRange) -> Variants:
    return {"float": lambda: MatrixProduct(operation, messages)}


def _traits(operation: IntOperation, messages: MessageRange) -> str:
    kind = "spikes" if messages.are_spikes else np.dtype(messages.dtype).name
    return f"{operation.geometry} {kind}"


FAMILIES: dict[type, Family] = {
    IntConvolution: Family(variants=_convolutions, traits=_traits_of_convolution),
    IntAttention: Family(variants=_attentions, traits=_traits),
    IntIdentity: Family(variants=_identities, traits=_traits),
    IntMaxPool: Family(variants=_max_pools, traits=_traits),
    IntProduct: Family(variants=_products, traits=_traits),
}


def _autotuned(operation: IntOperation, messages: MessageRange, makers: Variants) -> Kernel:
    """What numba compiles is compiled here, so that processes that are forked later have it."""
    traits, in_shape = FAMILIES[type(operation)].traits(operation, messages), operation.in_shape
    costs = {name: cost_of(f"{name} {traits}", make, messages, in_shape) for name, make in makers.items()}
    names = never_slowest(costs, int(np.prod(in_shape)) if messages.are_spikes else 0)
    kernels = {name: makers[name]() for name in names}
    for name in COMPILED & kernels.keys():
        kernels[name](np.zeros(in_shape, messages.dtype))
    if len(kernels) == 1:
        return kernels[names[0]]
    return Autotuned({name: (kernels[name], costs[name]) for name in names}, operation.out_shape)


class Interpreted:
    """An operation as the integer interpreter computes it: exact, and slower than a kernel of its own."""

    by_spike = False

    def __init__(self, operation: IntOperation) -> None:
        self.operation = operation

    def __call__(self, messages: Messages) -> Currents:
        return self.operation(messages[np.newaxis])[0]


class PassedOn:
    """An identity: the messages themselves, where it has no factor."""

    by_spike = False

    def __init__(self, operation: IntIdentity, messages: MessageRange) -> None:
        self.shape, self.multiplier, self.exponent = operation.out_shape, operation.multiplier, operation.exponent
        self.is_factor_one = (self.multiplier, self.exponent) == (1, 0)
        self.out = zeros(self.shape, sum_type(max(1, messages.magnitude) * abs(self.multiplier), self.exponent))

    def __call__(self, messages: Messages) -> Currents:
        values = messages.reshape(self.shape)
        return values if self.is_factor_one else scaled(values, self.multiplier, self.exponent, self.out)
