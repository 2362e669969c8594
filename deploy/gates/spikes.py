"""PyTorch = NIR: the spikes of a model's neuron layers against those of the nodes that they became, layer by layer.

Behind every comparison the graph goes on with the model's spikes, and a neuron with the resets that they bring. So a
layer is compared on the input that it had in the model, and a spike that rounding decided hides nothing behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.errors import GateError
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.loops import late_edges
from deploy.ir.network import delayed
from deploy.ir.neurons import equation, run_potentials
from deploy.ir.primitives import primitive_of
from deploy.ir.shapes import predecessors
from deploy.ir.types import Array

TIE_MARGIN = 1e-9  # a spike may differ where v is this close to the threshold: the order of additions decides there


@dataclass(frozen=True, kw_only=True)
class LayerSpikes:
    """What a neuron layer of the model sent for one clip, [T, C, H, W], and which channels of a node it is."""

    layer: str
    spikes: NDArray[Any]
    noise: Array | None = None  # that was added to their input in the model, [T, C, H, W]; None: nothing
    channels: tuple[int, int] | None = None  # from, to; None: all


@dataclass(frozen=True, kw_only=True)
class ExportCheck:
    """PyTorch spikes compared with those of the NIR interpreter, both in float64."""

    spikes_compared: int
    ties: int  # spikes that differ, all of neurons within a tie margin of the threshold then
    logit_error: float | None  # None for a graph that ends before the readout


class SpikeGate:
    """Compares one clip, node by node, as `on_node` of `deploy.ir.interpreter.interpret`.

    `layers_of` gives, for the name of a node, the layers of the model that it holds; none for nodes of other kinds.
    """

    def __init__(
        self,
        graph: nir.NIRGraph,
        layers_of: Callable[[str], Sequence[LayerSpikes]],
        *,
        clip: int,
        tie_margin: float = TIE_MARGIN,
    ) -> None:
        self.graph, self.layers_of, self.clip, self.tie_margin = graph, layers_of, clip, tie_margin
        self.sources, self.dt_s = predecessors(graph), graph_dt_s(graph)
        self.late = late_edges(graph.nodes, graph.edges)
        self.compared = self.ties = 0

    def __call__(self, name: str, signals: Mapping[str, NDArray[Any]]) -> None:
        """Compare a node's spikes, [1, T, C, H, W], with the model's, and put the model's in their place.

        Raises `GateError` where the model fires, or does not, and the potential is not at the threshold.
        """
        layers, different = self.layers_of(name), False
        for layer in layers:
            found = signals[name][0][:, _channels(layer)]
            expected = layer.spikes.reshape(found.shape)
            different |= layer.noise is not None or bool((expected != found).any())
            found[...] = expected
            self.compared += expected.size
        if different:
            potentials, threshold = self._potentials(name, layers, signals)
            for layer in layers:
                self._require_alike(layer, potentials[:, _channels(layer)], threshold)

    def _potentials(
        self, name: str, layers: Sequence[LayerSpikes], signals: Mapping[str, NDArray[Any]]
    ) -> tuple[Array, Array | None]:
        """A node's potentials [T, C, H, W] when it has fired the model's spikes, and its threshold."""
        eq = equation(self.graph.nodes[name], self.dt_s)
        arriving = sum((self._heard(name, source, signals) for source in self.sources[name]), start=0 * signals[name])
        for layer in layers:
            if layer.noise is not None:
                arriving[0][:, _channels(layer)] += layer.noise
        return run_potentials(eq, arriving, signals[name])[0], eq.threshold

    def _heard(self, name: str, source: str, signals: Mapping[str, NDArray[Any]]) -> Array:
        """What one edge brings to a node; over a loop of one node, what that makes of the model's spikes."""
        node, steps = self.graph.nodes[source], 0
        for edge in ((name, source), (source, name)):
            steps += self.late.get(edge, 0)
        if self.sources[source] != [name] or not steps:
            return signals[source]
        run = primitive_of(node).run
        assert run is not None, "neurons on a loop through other neurons"
        return run(node, delayed(signals[name], steps), self.dt_s)

    def _require_alike(self, layer: LayerSpikes, potentials: Array, threshold: Array | None) -> None:
        """Spikes where potentials are above the threshold, but for ties; an integrator sends the potentials."""
        expected = layer.spikes.reshape(potentials.shape)
        if threshold is None:
            error = potentials - expected
            wrong = np.abs(error) > self.tie_margin * max(1.0, float(np.abs(expected).max()))
            self._require(layer, wrong, error, "from the model's potential")
            return
        margin = potentials - threshold[_channels(layer)]
        different = expected.astype(bool) != (margin > 0)
        self.ties += int(different.sum())
        wrong = different & (np.abs(margin) > self.tie_margin)
        self._require(layer, wrong, margin, "from the threshold: not a tie")

    def _require(self, layer: LayerSpikes, wrong: NDArray[np.bool_], off: Array, what: str) -> None:
        if not wrong.any():
            return
        step, *neuron = (int(i) for i in np.argwhere(wrong)[0])
        raise GateError(
            f"PyTorch and NIR differ first in layer {layer.layer}, time step {step}, neuron {tuple(neuron)} of clip "
            f"{self.clip}, {off[(step, *neuron)]:+.3g} {what}"
        )


def _channels(layer: LayerSpikes) -> slice:
    return slice(*(layer.channels or (None,)))
