"""PyTorch = NIR: the spikes of a model's neuron layers against those of the nodes that they became, layer by layer.

Behind every comparison the graph goes on with the model's spikes. So a layer is compared on the input that it had in
the model, and a spike that rounding decided in one layer hides nothing in those behind it.
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

        Raises `GateError` where they differ in a neuron that is not at its threshold then.
        """
        margin: Array | None = None
        for layer in self.layers_of(name):
            channels = slice(*(layer.channels or (None,)))
            found = signals[name][0][:, channels]
            different = layer.spikes.reshape(found.shape) != found
            if different.any():
                margin = self._margin(name, signals) if margin is None else margin
                self._require_ties(layer, different, margin[:, channels])
                found[...] = layer.spikes.reshape(found.shape)
            self.compared, self.ties = self.compared + different.size, self.ties + int(different.sum())

    def _margin(self, name: str, signals: Mapping[str, NDArray[Any]]) -> Array:
        """How far above the threshold the node's potentials are, [T, C, H, W]."""
        eq = equation(self.graph.nodes[name], self.dt_s)
        assert eq.threshold is not None, "only neurons that fire are compared"
        arriving = [signals[source] for source in self.sources[name]]
        return (run_potentials(eq, sum(arriving[1:], start=arriving[0])) - eq.threshold)[0]

    def _require_ties(self, layer: LayerSpikes, different: NDArray[np.bool_], margin: Array) -> None:
        """The first difference of every neuron must stand at the threshold; its later ones follow from it."""
        first = different & (different.cumsum(axis=0) == 1)
        wrong = first & (np.abs(margin) > self.tie_margin)
        if not wrong.any():
            return
        step, *neuron = (int(i) for i in np.argwhere(wrong)[0])
        raise GateError(
            f"PyTorch and NIR differ first in layer {layer.layer}, time step {step}, neuron {tuple(neuron)} of clip "
            f"{self.clip}, {margin[(step, *neuron)]:+.3g} from the threshold: not a tie"
        )
