"""A network in chip form while it is made: what has been put in so far, and the synapses that a chip has.

Legend: O output channels, C / groups input channels of a group, kh and kw rows and columns of a kernel.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.intervals import Interval
from deploy.ir.machine import WEIGHT_BITS, largest_mantissa
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.constant import IntConstant
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import IntArray, Shape
from hardware import SparseConvGeometry

LARGEST_WEIGHT = largest_mantissa(WEIGHT_BITS)
LARGEST_EXPONENT, LEAST_EXPONENT = 7, -7  # 4 bits, signed; a Sparse of mixed signs has one less
LARGEST_FACTOR = LARGEST_WEIGHT << LARGEST_EXPONENT
ALWAYS = "always"


class Wiring:
    """Populations in order of execution and the connections between them.

    Attributes:
        added: Names of the populations that stand for no layer of the model.
        sends: What an added population can send, where its inputs alone do not say it.
    """

    def __init__(self, network: IntNetwork) -> None:
        self.network = network
        self.populations: dict[str, IntPopulation] = {network.input_name: network.input}
        self.connections: list[IntConnection] = []
        self.added: set[str] = set()
        self.sends: dict[str, Interval] = {}

    def add(self, stem: str, what: str, population: IntPopulation, sends: Interval | None = None) -> str:
        """Put a population in that stands for no layer, under a name made of `stem` and `what`; returns it."""
        name, number = f"{stem}.{what}" if stem else what, 2
        while name in self.populations or name in self.network.populations:
            name, number = f"{stem}.{what}{number}", number + 1
        self.populations[name] = population
        self.added.add(name)
        if sends is not None:
            self.sends[name] = sends
        return name

    def connect(self, source: str, target: str, operation: IntOperation, *, delay: int = 0) -> None:
        """Add a connection."""
        self.connections.append(IntConnection(source=source, target=target, operation=operation, delay=delay))

    def always(self) -> str:
        """The neuron that always fires, which is put in at the first call."""
        if ALWAYS not in self.added:
            self.add("", ALWAYS, IntConstant())
        return ALWAYS

    def finished(self) -> IntNetwork:
        """The network."""
        return replace(
            self.network,
            populations=self.populations,
            connections=tuple(self.connections),
            added=frozenset(self.added),
        )


def relay(shape: Shape, scale: float = 1.0) -> IntRelay:
    """A relay without a bias."""
    return IntRelay(shape=shape, scale=scale, bias=np.zeros((1, 1, 1), dtype=np.int64))


def coincidences(shape: Shape) -> IntLif:
    """Neurons without memory that fire where two of their inputs did: above 1.5, so above 1."""
    one = np.ones((1, 1, 1), dtype=np.int64)
    return IntLif(
        shape=shape,
        scale=1.0,
        bias_mantissa=0 * one,
        bias_exponent=0,
        decay=4095 * one,
        threshold=one,
    )


def synapses(
    weight: NDArray[np.integer],
    in_shape: Shape,
    *,
    exponent: int = 0,
    groups: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> IntConvolution:
    """Synapses with weights [O, C / groups, kh, kw]; where one is 0, there is none."""
    geometry = SparseConvGeometry(
        in_shape=in_shape,
        out_channels=len(weight),
        kernel=(weight.shape[2], weight.shape[3]),
        groups=groups,
        padding=padding,
        reached=weight != 0,
    )
    return IntConvolution(mantissa=weight.astype(np.int16), exponent=exponent, geometry=geometry)


def spread(values: NDArray[np.integer], shape: Shape, *, exponent: int = 0, groups: int = 1) -> IntConvolution:
    """From one pixel to all pixels of an image (O, H, W), with weights [O, C / groups, H, W].

    That is a convolution whose padding is as wide as the image; Lava's kernels are flipped like this one.
    """
    _, height, width = shape
    flipped = values[:, :, ::-1, ::-1]
    in_shape = (values.shape[1] * groups, 1, 1)
    return synapses(flipped, in_shape, exponent=exponent, groups=groups, padding=(height - 1, width - 1))


def as_weight(factor: int) -> tuple[int, int] | None:
    """A factor as mantissa and exponent of a synapse, exactly; None where none holds it."""
    if factor == 0:
        return 0, 0
    exponent = min((factor & -factor).bit_length() - 1, LARGEST_EXPONENT)
    mantissa = factor >> exponent
    return (mantissa, exponent) if abs(mantissa) <= LARGEST_WEIGHT else None


def digits(values: IntArray) -> Iterator[tuple[IntArray, int]]:
    """Integers as a sum of digits from -64 to 63 times powers of 128: (digits, power), without those that are all 0."""
    power = 0
    while values.any():
        low = ((values + 64) & 127) - 64
        if low.any():
            yield low, power
        values, power = (values - low) >> 7, power + 1
