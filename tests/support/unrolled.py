"""Synapses of connections one by one, by the definition of a convolution: for small networks, to compare with."""

import numpy as np
from numpy.typing import NDArray

from hardware import AttentionGeometry, ConvGeometry
from hardware.geometry import Geometry, SparseConvGeometry


def unrolled(geometry: ConvGeometry) -> NDArray[np.int64]:
    """How many synapses lead from every input neuron to every output neuron, [inputs, outputs]."""
    (channels, height, width), (outputs, rows, columns) = geometry.in_shape, geometry.out_shape
    found = np.zeros((channels, height, width, outputs, rows, columns), dtype=np.int64)
    reached = geometry.reached if isinstance(geometry, SparseConvGeometry) else np.ones(geometry.weight_shape, bool)
    for o, i, row, column in np.argwhere(reached):
        c = o // (outputs // geometry.groups) * (channels // geometry.groups) + i
        for y in range(rows):
            for x in range(columns):
                from_y = y * geometry.stride[0] + row * geometry.dilation[0] - geometry.padding[0]
                from_x = x * geometry.stride[1] + column * geometry.dilation[1] - geometry.padding[1]
                if 0 <= from_y < height and 0 <= from_x < width:
                    found[c, from_y, from_x, o, y, x] += 1
    return found.reshape(channels * height * width, -1)


def pairs(geometry: Geometry) -> list[tuple[int, int]]:
    """Input and output neuron of every synapse; of an attention those of its stand-in."""
    if isinstance(geometry, ConvGeometry):
        counted = unrolled(geometry)
        found = np.argwhere(counted)
        return [tuple(map(int, pair)) for pair in np.repeat(found, counted[tuple(found.T)], axis=0)]
    outputs = int(np.prod(geometry.out_shape))
    times = 3 if isinstance(geometry, AttentionGeometry) else 1
    return [(i, i % outputs) for i in range(times * outputs)]


def weighted_pairs(
    geometry: ConvGeometry, weight_OIHW: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Input and output neuron of every synapse, [S, 2], and its weight, [S]; tap by tap, for larger layers."""
    channels, outputs = geometry.in_shape[0] // geometry.groups, geometry.out_channels // geometry.groups
    inputs = np.arange(geometry.in_shape[0] * geometry.in_shape[1] * geometry.in_shape[2]).reshape(geometry.in_shape)
    neurons = np.arange(int(np.prod(geometry.out_shape))).reshape(geometry.out_shape)
    found = []
    for o, i, row, column in np.ndindex(*geometry.weight_shape):
        read = inputs[o // outputs * channels + i]
        y = np.arange(geometry.out_shape[1]) * geometry.stride[0] + row * geometry.dilation[0] - geometry.padding[0]
        x = np.arange(geometry.out_shape[2]) * geometry.stride[1] + column * geometry.dilation[1] - geometry.padding[1]
        seen_y, seen_x = (y >= 0) & (y < len(read)), (x >= 0) & (x < read.shape[1])
        ends = (read[np.ix_(y[seen_y], x[seen_x])].ravel(), neurons[o][np.ix_(seen_y, seen_x)].ravel())
        found.append((*ends, np.full(len(ends[0]), weight_OIHW[o, i, row, column])))
    sources, targets, weights = (np.concatenate(values) for values in zip(*found, strict=True))
    return np.stack([sources, targets], axis=1), weights
