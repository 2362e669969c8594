"""A NIR graph of what stock simulators import, as it is built: Conv2d and LIF, and nothing else that computes.

Several edges into a node are summed. A signal is therefore known by its parts, the names of the nodes whose sum it is.
"""

from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.shapes import output_shape
from deploy.ir.types import NodeShape

Values = NDArray[np.float64]
Signal = tuple[str, ...]  # names of nodes; what they send is added

ANY = 0.5  # spike of several: half-way between none and one
COINCIDENCE = 1.5  # of two spikes: half-way between one and both, so that rounding makes no product wrong

# SpikingJelly refuses tau = dt. So little memory is none: 1 - dt / tau is below 1e-6 of a potential, where thresholds
# stand half a unit from every sum; `deploy.ir.neurons` takes it for none, too.
MEMORYLESS = 1 + 2.0**-20  # tau / dt


class StandardGraph:
    """Nodes and edges so far. Methods add a node behind signals and return what it sends."""

    def __init__(self, dt_s: float) -> None:
        self.dt_s = dt_s
        self.nodes: dict[str, nir.NIRNode] = {}
        self.shapes: dict[str, NodeShape] = {}
        self.edges: list[tuple[str, str]] = []

    def shape(self, signal: Signal) -> NodeShape:
        """NodeShape of a signal (C, H, W)."""
        return self.shapes[signal[0]]

    def add(self, name: str, node: nir.NIRNode, *signals: Signal) -> Signal:
        """A node that takes the sum of signals; raises `ValueError` for one that it would take twice.

        An edge is there or not: simulators would add such a signal once.
        """
        sources = [part for signal in signals for part in signal]
        if len(set(sources)) < len(sources):
            raise ValueError(f"{name} takes the same signal twice")
        self.nodes[name] = node
        self.shapes[name] = output_shape(node, self.shapes[sources[0]] if sources else ())
        self.edges += [(source, name) for source in sources]
        return (name,)

    def conv(self, name: str, weight: Values, *signals: Signal, bias: Values | None = None, **fields: Any) -> Signal:
        """A dense convolution [O, C, kh, kw]; `fields`: stride, padding, .. that are not the usual."""
        node = nir.Conv2d(
            input_shape=np.array(self.shape(signals[0])[1:]),
            weight=weight,
            bias=np.zeros(len(weight)) if bias is None else bias,
            **{"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **fields},
        )
        return self.add(name, node, *signals)

    def pick(self, name: str, matrix: Values, *signals: Signal) -> Signal:
        """A 1x1 convolution: every output channel is the weighted sum of channels that its row [O, C] says."""
        return self.conv(name, matrix[:, :, np.newaxis, np.newaxis], *signals)

    def neurons(self, name: str, *signals: Signal, tau_s: float, threshold: float) -> Signal:
        """A layer of LIF neurons that are all alike, rest at 0 and reset to 0."""
        shape = self.shape(signals[0])
        values = {"tau": tau_s, "r": 1.0, "v_leak": 0.0, "v_threshold": threshold, "v_reset": 0.0}
        return self.add(name, nir.LIF(**{field: np.full(shape, value) for field, value in values.items()}), *signals)

    def gates(self, name: str, *signals: Signal, threshold: float) -> Signal:
        """Neurons without memory: a spike where the sum of the same time step is above the threshold."""
        return self.neurons(name, *signals, tau_s=MEMORYLESS * self.dt_s, threshold=threshold)


def dense(weight: Values, groups: int) -> Values:
    """Weights [O, C, kh, kw] without groups, of [O, C / groups, kh, kw] with them: zeros between the groups."""
    outputs, inputs, *kernel = weight.shape
    full = np.zeros((groups, outputs // groups, groups, inputs, *kernel))
    for g, block in enumerate(weight.reshape(groups, outputs // groups, inputs, *kernel)):
        full[g, :, g] = block
    return full.reshape(outputs, groups * inputs, *kernel)


def one_hot(channels: Sequence[int] | NDArray[np.int64], of: int) -> Values:
    """Rows that each pick one of `of` channels."""
    return np.eye(of)[np.asarray(channels)]
