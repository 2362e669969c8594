"""Hypothesis strategies: convolutions of any geometry, and random integer networks with clips for them."""

from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
from deploy.ir.integer import IntConnection, IntGain, IntNetwork
from deploy.ir.machine import DECAY_ONE
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.operations.permutation import IntPermutation
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import Shape
from deploy.passes.bounds import prove
from hardware import ConvGeometry
from svformer.common.errors import InputError

Frames = NDArray[Any]  # [N, T, C, H, W]


@st.composite
def convolutions(draw: st.DrawFn, in_shape: Shape | None = None) -> ConvGeometry:
    """Small convolutions with every option, each axis on its own."""
    groups = draw(st.integers(1, 3)) if in_shape is None else draw(st.sampled_from(_divisors(in_shape[0])))
    channels = groups * draw(st.integers(1, 2)) if in_shape is None else in_shape[0]
    height, width = draw(st.tuples(st.integers(1, 6), st.integers(1, 6))) if in_shape is None else in_shape[1:]
    axes = [draw(_axes(size)) for size in (height, width)]
    kernel, stride, padding, dilation = zip(*axes, strict=True)
    return ConvGeometry(
        in_shape=(channels, height, width),
        out_channels=groups * draw(st.sampled_from([1, 2, 3, 3])),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@st.composite
def _axes(draw: st.DrawFn, size: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation that fit into `size` pixels."""
    padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    kernel = draw(st.integers(1, min(4, size + 2 * padding)))
    most = (size + 2 * padding - 1) // (kernel - 1) if kernel > 1 else 3
    return kernel, stride, padding, draw(st.integers(1, min(3, most)))


factors = st.just((1, 0)) | st.tuples(st.integers(1, 127), st.integers(-4, 3))


@st.composite
def max_pools(draw: st.DrawFn, in_shape: Shape | None = None) -> IntMaxPool:
    """Small max pools, each axis on its own, with and without a factor."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3)) if in_shape is None else in_shape
    axes = [draw(_windows(size)) for size in shape[1:]]
    kernel, stride, padding = zip(*axes, strict=True)
    multiplier, exponent = draw(factors)
    return ints.max_pool(shape, kernel, stride=stride, padding=padding, multiplier=multiplier, exponent=exponent)


@st.composite
def _windows(draw: st.DrawFn, size: int) -> tuple[int, int, int]:
    """Kernel, stride and padding that fit into `size` pixels; padding is half the kernel at most."""
    kernel = draw(st.integers(1, 4).filter(lambda k: k <= size + 2 * (k // 2)))
    least = max(0, -(-(kernel - size) // 2))
    return kernel, draw(st.integers(1, 3)), draw(st.integers(least, kernel // 2))


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


@st.composite
def int_networks(draw: st.DrawFn) -> tuple[IntNetwork, Frames]:
    """An integer network that is proven not to overflow, and 1 to 3 clips for it.

    Populations have one to three sources, near or far back, through convolutions of any geometry, identities,
    permutations or attention, with delays up to longer than a clip; some have gains or biases of their own for every
    time step. Weights, biases, decays and thresholds are arbitrary.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape: Shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    low, high = draw(st.sampled_from([(0, 1), (-3, 3), (-500, 500), (2, 9)]))
    populations: dict[str, IntPopulation] = {"input": ints.entry(shape, low=low, high=high)}
    connections: list[IntConnection] = []
    clips, frames = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    for i in range(draw(st.integers(1, 5))):
        names = list(populations)
        first = draw(st.just(names[-1]) | st.sampled_from(names))
        others = draw(st.lists(st.sampled_from(names), max_size=2))
        operation, shape = draw(_operations(populations[first], rng))
        operations = [operation, *(_fitting(populations[other], shape, rng) for other in others)]
        for source, op in zip([first, *others], operations, strict=True):
            delay = draw(st.integers(0, 2) | st.integers(0, 5))
            gain = _gain(frames, shape, rng) if draw(st.integers(0, 3)) == 0 else None
            connections.append(ints.link(source, f"p{i}", op, delay=delay, gain=gain))
        steps = (frames,) if draw(st.integers(0, 3)) == 0 else ()
        populations[f"p{i}"] = draw(st.sampled_from([_neurons, _neurons, _relay]))(shape, steps, rng)
    network = ints.network(populations, *connections, frames=frames)
    try:
        prove(network)
    except InputError:
        reject()
    shape = network.input.shape
    return network, rng.integers(low, high + 1, size=(clips, frames, *shape)).astype(np.float64)


@st.composite
def _operations(
    draw: st.DrawFn, source: IntPopulation, rng: np.random.Generator
) -> tuple[IntConvolution | IntIdentity | IntAttention | IntMaxPool | IntPermutation, Shape]:
    """Something that the source can send through, and the shape of what comes out."""
    channels, height, width = source.shape
    kinds = ["convolution", "convolution", "identity", "flatten", "max pool", "permutation"]
    if isinstance(source, IntLif) and channels % 3 == 0:
        kinds += ["attention"] * 4
    kind = draw(st.sampled_from(kinds))
    if kind == "convolution":
        geometry = draw(convolutions(source.shape))
        return _weights(geometry, source, rng), geometry.out_shape
    if kind == "attention":
        heads = draw(st.sampled_from(_divisors(channels // 3)))
        multiplier, exponent = int(rng.integers(1, 128)), int(rng.integers(-6, 2))
        attention = ints.attention(source.shape, heads=heads, multiplier=multiplier, exponent=exponent)
        return attention, (channels // 3, height, width)
    if kind == "max pool":
        pool = draw(max_pools(source.shape))
        return pool, pool.out_shape
    multiplier, exponent = draw(factors)
    if kind == "permutation":
        operation = _permuted(source.shape, draw(st.permutations(range(3))), multiplier, exponent)
        return operation, operation.out_shape
    shape = source.shape if kind == "identity" else (channels * height * width, 1, 1)
    return ints.same(source.shape, shape, multiplier=multiplier, exponent=exponent), shape


def _permuted(shape: Shape, order: list[int], multiplier: int, exponent: int) -> IntPermutation:
    """Channels, rows and columns in another order."""
    first, second, third = order
    out_shape = shape[first], shape[second], shape[third]
    return IntPermutation(
        in_shape=shape, out_shape=out_shape, sizes=shape, order=tuple(order), multiplier=multiplier, exponent=exponent
    )


def _fitting(source: IntPopulation, shape: Shape, rng: np.random.Generator) -> IntConvolution | IntIdentity:
    """From a source of any shape to this one: a kernel and a padding that make up the difference."""
    if source.shape == shape:
        return ints.same(shape)
    padding = [max(0, -(-(out - size) // 2)) for size, out in zip(source.shape[1:], shape[1:], strict=True)]
    kernel = [n + 2 * p - out + 1 for n, p, out in zip(source.shape[1:], padding, shape[1:], strict=True)]
    geometry = ConvGeometry(
        in_shape=source.shape,
        out_channels=shape[0],
        kernel=(kernel[0], kernel[1]),
        padding=(padding[0], padding[1]),
    )
    return _weights(geometry, source, rng)


def _weights(geometry: ConvGeometry, source: IntPopulation, rng: np.random.Generator) -> IntConvolution:
    """Spikes get the full range of weights; graded messages small ones, so that not every network overflows."""
    largest, exponents = (127, (0, 3)) if isinstance(source, IntLif) else (7, (-3, 1))
    return ints.drawn(geometry, rng, largest, exponent=int(rng.integers(*exponents)))


def _gain(frames: int, shape: Shape, rng: np.random.Generator) -> IntGain:
    """Factors from about -2 to 2."""
    exponent = int(rng.integers(-11, 1))
    largest = min(4095, 2 << -exponent)
    return IntGain(multiplier=rng.integers(-largest, largest + 1, size=(frames, shape[0], 1, 1)), exponent=exponent)


def _neurons(shape: Shape, steps: tuple[int, ...], rng: np.random.Generator) -> IntLif:
    per_channel = (shape[0], 1, 1)
    return ints.lif(
        shape,
        bias_mantissa=rng.integers(-200, 300, size=(*steps, *(per_channel if rng.random() < 0.5 else shape))),
        bias_exponent=int(rng.integers(0, 7)),
        decay=rng.integers(0, DECAY_ONE + 1, size=per_channel),
        threshold=rng.integers(1, 300, size=per_channel),
    )


def _relay(shape: Shape, steps: tuple[int, ...], rng: np.random.Generator) -> IntRelay:
    return ints.relay(shape, rng.integers(-20, 21, size=(*steps, *shape)))
