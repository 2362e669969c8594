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
from deploy.ir.neurons import equation, run_potentials
from deploy.ir.shapes import predecessors
from deploy.ir.types import Array

TIE_MARGIN = 1e-9  # a spike may differ where v is this close to the threshold: the order of additions decides there


@dataclass(frozen=True, kw_only=True)
class LayerSpikes:
    """Spikes of a neuron layer of the model for one clip, [T, C, H, W], and which channels of a node they are."""

    layer: str
    spikes: NDArray[Any]
    noise: Array | None = None  # that was added to their input in the model, [T, C, H, W]; None: nothing
    channels: tuple[int, int] | None = None  # from, to; None: all


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
            margin = self._margin(name, layers, signals)
            for layer in layers:
                self._require_ties(layer, margin[:, _channels(layer)])

    def _margin(self, name: str, layers: Sequence[LayerSpikes], signals: Mapping[str, NDArray[Any]]) -> Array:
        """How far above the threshold the node's potentials are, [T, C, H, W], when it has fired the model's spikes."""
        eq = equation(self.graph.nodes[name], self.dt_s)
        assert eq.threshold is not None, "only neurons that fire are compared"
        arriving = sum((signals[source] for source in self.sources[name]), start=np.zeros_like(signals[name]))
        for layer in layers:
            if layer.noise is not None:
                arriving[0][:, _channels(layer)] += layer.noise
        potentials = run_potentials(eq, arriving, signals[name])
        return (potentials - eq.threshold)[0]

    def _require_ties(self, layer: LayerSpikes, margin: Array) -> None:
        different = layer.spikes.reshape(margin.shape).astype(bool) != (margin > 0)
        wrong = different & (np.abs(margin) > self.tie_margin)
        self.ties += int(different.sum())
        if not wrong.any():
            return
        step, *neuron = (int(i) for i in np.argwhere(wrong)[0])
        raise GateError(
            f"PyTorch and NIR differ first in layer {layer.layer}, time step {step}, neuron {tuple(neuron)} of clip "
            f"{self.clip}, {margin[(step, *neuron)]:+.3g} from the threshold: not a tie"
        )


def _channels(layer: LayerSpikes) -> slice:
    return slice(*(layer.channels or (None,)))
