"""Which cores a message reaches, and how many synapses there: counted, without a synapse ever being unrolled.

What the message of a convolution reaches depends on its position and its group alone, so neurons of one position and
group are one kind of sender. Legend: K kinds of senders of one position, P positions, O output channels, R = K x P
rows of a reach, T cores of the target.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from hardware.geometry import ConvGeometry, Geometry, IdentityGeometry, SparseConvGeometry

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Synapses from one population into the cores of another."""

    row_of: IntArray  # of every sending neuron, [neurons]: its row
    synapses: csr_array  # int64 [R, T]

    @cached_property
    def hit(self) -> csr_array:
        """int64 [R, T]: 1 where a message of this row goes to this core."""
        return csr_array((np.ones_like(self.synapses.data), self.synapses.indices, self.synapses.indptr), self._shape)

    @cached_property
    def messages(self) -> IntArray:
        """Messages that one neuron sends when it fires, [neurons]: one for each core that it reaches."""
        return np.diff(self.synapses.indptr).astype(np.int64)[self.row_of]

    def by_row(self, sent_TN: NDArray[Any]) -> NDArray[np.float64]:
        """Messages [time steps, neurons] added up by row, [time steps, R]."""
        rows = self._shape[0]
        return np.stack([np.bincount(self.row_of, weights=sent, minlength=rows) for sent in sent_TN])

    def __add__(self, other: "Reach") -> "Reach":
        """Both at once: a neuron sends one message to a core, whichever synapses it has there."""
        if np.array_equal(self.row_of, other.row_of):
            return Reach(row_of=self.row_of, synapses=csr_array(self.synapses + other.synapses))
        return self._unfolded + other._unfolded

    @property
    def _unfolded(self) -> "Reach":
        """The same with a row for every neuron."""
        return Reach(row_of=np.arange(self.row_of.size), synapses=csr_array(self.synapses[self.row_of]))

    @property
    def _shape(self) -> tuple[int, int]:
        rows, cores = self.synapses.shape
        return int(rows), int(cores)


def reach(geometries: Iterable[Geometry], target_cores: IntArray, cores: int) -> Reach:
    """What all connections between two populations reach; `target_cores` is the core of every target neuron.

    A product of two signals, which no chip with events has a synapse for, stands in as one synapse from each of its
    inputs to the neuron at its place, counted around the outputs.
    """
    found = [_of(geometry, target_cores, cores) for geometry in geometries]
    total = found[0]
    for other in found[1:]:
        total += other
    return total


def _of(geometry: Geometry, target_cores: IntArray, cores: int) -> Reach:
    if isinstance(geometry, ConvGeometry):
        return _convolved(geometry, target_cores, cores)
    targets = np.resize(target_cores, geometry.inputs) if geometry.multiplies_signals else target_cores
    if isinstance(geometry, IdentityGeometry) and geometry.places is not None:
        targets = target_cores[geometry.places]
    one = np.ones(len(targets), dtype=np.int64)
    rows = np.arange(len(targets))
    return Reach(row_of=rows, synapses=coo_array((one, (rows, targets)), shape=(len(targets), cores)).tocsr())


def _convolved(geometry: ConvGeometry, target_cores: IntArray, cores: int) -> Reach:
    channels, height, width = geometry.in_shape
    positions, outputs = height * width, int(np.prod(geometry.out_shape[1:]))
    kinds = channels if isinstance(geometry, SparseConvGeometry) else geometry.groups
    place = target_cores.reshape(geometry.out_channels, outputs)
    columns = (np.arange(outputs) * cores + place).ravel()
    channel = np.repeat(np.arange(geometry.out_channels), outputs)
    one = np.ones(len(columns), dtype=np.int64)
    held = coo_array((one, (channel, columns)), shape=(geometry.out_channels, outputs * cores)).tocsr()
    total = csr_array((kinds * positions, cores), dtype=np.int64)
    for held_by_kind, position_of in _taps(geometry, held):
        kind, (output, core) = held_by_kind.row, np.divmod(held_by_kind.col, cores)
        inside = position_of[output] >= 0
        rows = kind[inside].astype(np.int64) * positions + position_of[output[inside]]
        found = coo_array((held_by_kind.data[inside], (rows, core[inside])), shape=(kinds * positions, cores))
        total = total + found.tocsr()
    each = channels // kinds
    row_of = (np.arange(channels) // each)[:, None] * positions + np.arange(positions)
    return Reach(row_of=row_of.ravel(), synapses=csr_array(total))


def _taps(geometry: ConvGeometry, held: csr_array) -> Iterator[tuple[coo_array, IntArray]]:
    """By tap of the kernel: target neurons by kind of sender [K, outputs x T], and the input position of every output.

    `held` says which core has which target neuron, [O, outputs x T].
    """
    by_group = None if isinstance(geometry, SparseConvGeometry) else (_by_group(geometry) @ held).tocoo()
    for y in range(geometry.kernel[0]):
        for x in range(geometry.kernel[1]):
            rows, columns = _seen(geometry, 0, y), _seen(geometry, 1, x)
            inside = (rows >= 0)[:, None] & (columns >= 0)
            position_of = np.where(inside, rows[:, None] * geometry.in_shape[2] + columns, -1).ravel()
            if isinstance(geometry, SparseConvGeometry):
                yield (_by_channel(geometry, y, x) @ held).tocoo(), position_of
            else:
                yield by_group, position_of


def _by_group(geometry: ConvGeometry) -> csr_array:
    """Output channels of every group, [K, O]."""
    group = np.repeat(np.arange(geometry.groups), geometry.out_channels // geometry.groups)
    outputs = np.arange(geometry.out_channels)
    return coo_array((np.ones_like(group), (group, outputs)), shape=(geometry.groups, len(outputs))).tocsr()


def _by_channel(geometry: SparseConvGeometry, y: int, x: int) -> csr_array:
    """Output channels that every input channel reaches through one tap of the kernel, [K, O]."""
    output, within = np.nonzero(geometry.reached[:, :, y, x])
    outputs, inputs = geometry.out_channels // geometry.groups, geometry.in_shape[0] // geometry.groups
    channel = output // outputs * inputs + within
    shape = (geometry.in_shape[0], geometry.out_channels)
    return coo_array((np.ones(len(output), dtype=np.int64), (channel, output)), shape=shape).tocsr()


def _seen(geometry: ConvGeometry, axis: int, tap: int) -> IntArray:
    """The input position along one axis that every output position reads through a tap; -1 outside the image."""
    size = geometry.in_shape[1 + axis]
    outputs = np.arange(geometry.out_shape[1 + axis])
    found = outputs * geometry.stride[axis] + tap * geometry.dilation[axis] - geometry.padding[axis]
    return np.where((found >= 0) & (found < size), found, -1)
