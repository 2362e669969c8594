"""Exact integer kernels for one frame of messages: each operation has several, and the fastest is chosen.

Legend: C channels, H and W pixels of the input, O channels of the output.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.arena import zeros
from deploy.engine.attention import MOST_TOKENS, FloatAttention, PackedAttention
from deploy.engine.autotune import Chosen, Kernel, measured, useful
from deploy.engine.dense import (
    ByteProduct,
    FloatProduct,
    RowProduct,
    ShiftedPlanes,
    TwoByteProducts,
    byte_product_is_exact,
)
from deploy.engine.events import GatheredEvents
from deploy.engine.ranges import BYTE, MessageRange, are_bytes, exact_type, scaled, sum_type, worst_sum
from deploy.engine.scatter import ScatteredEvents
from deploy.ir.integer import IntAttention, IntConvolution, IntIdentity, IntOperation
from deploy.ir.network import Shape

Messages = NDArray[Any]  # [C, H, W], int8 spikes or int32 graded
Currents = NDArray[Any]  # [O, H', W'], in the narrowest type that the bounds allow

Variants = dict[str, Callable[[], Kernel]]

COMPILED = {"rows", "two bytes", "gathered", "scattered", "planes", "packed"}  # by numba


def compile_kernel(operation: IntOperation, messages: MessageRange, *, variant: str | None = None) -> Kernel:
    """The fastest form of an operation for these messages, or the one of `variants` with this name."""
    if isinstance(operation, IntIdentity):
        return PassedOn(operation, messages)
    makers = variants(operation, messages)
    return makers[variant]() if variant is not None else _chosen(operation, messages, makers)


def variants(operation: IntConvolution | IntAttention, messages: MessageRange) -> Variants:
    """All kernels that are exact for these messages, by name."""
    if isinstance(operation, IntAttention):
        return _attentions(operation)
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


def _attentions(operation: IntAttention) -> Variants:
    makers: Variants = {"float": lambda: FloatAttention(operation)}
    if operation.geometry.tokens <= MOST_TOKENS:
        makers["packed"] = lambda: PackedAttention(operation)
    return makers


def _chosen(operation: IntConvolution | IntAttention, messages: MessageRange, makers: Variants) -> Kernel:
    """What numba compiles is compiled here, so that processes that are forked later have it."""
    in_shape = operation.geometry.in_shape if isinstance(operation, IntConvolution) else operation.in_shape
    traits = _traits(operation, messages)
    costs = {name: measured(f"{name} {traits}", make, messages, in_shape) for name, make in makers.items()}
    names = useful(costs, int(np.prod(in_shape)) if messages.are_spikes else 0)
    kernels = {name: makers[name]() for name in names}
    for name in COMPILED & kernels.keys():
        kernels[name](np.zeros(in_shape, messages.dtype))
    if len(kernels) == 1:
        return kernels[names[0]]
    return Chosen({name: (kernels[name], costs[name]) for name in names}, _out_shape(operation))


def _traits(operation: IntConvolution | IntAttention, messages: MessageRange) -> str:
    """All that the speed of the kernels depends on, but the machine and the number of spikes."""
    kind = "spikes" if messages.are_spikes else np.dtype(messages.dtype).name
    if isinstance(operation, IntAttention):
        return f"{operation.geometry} {kind}"
    worst, weights = worst_sum(operation, messages), operation.mantissa
    types = exact_type(worst), sum_type(worst, operation.exponent)
    bits = 8 if are_bytes(weights.min(), weights.max()) else 16
    return f"{operation.geometry} {kind} x {bits} bits, {', '.join(np.dtype(t).name for t in types)}"


def _out_shape(operation: IntConvolution | IntAttention) -> Shape:
    if isinstance(operation, IntConvolution):
        return operation.geometry.out_shape
    channels, height, width = operation.in_shape
    return channels // 3, height, width


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
