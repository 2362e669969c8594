"""The recurrent spiking network -> NIR graph: a loop of one 3x3 convolution around every neuron layer.

A loop's spikes arrive one time step late, as the rule of NIR graphs here is (deploy/ir/loops.py).
"""

import nir
import numpy as np

from deploy.frontend.builder import Builder, values_of
from svformer.baselines.rsnn import RecurrentLayer, RecurrentSnn


def export(model: RecurrentSnn) -> nir.NIRGraph:
    """The NIR graph of a model in evaluation mode; its metadata hold dt (seconds), T and versions."""
    return _Exporter(model).graph()


class _Exporter(Builder):
    model: RecurrentSnn

    def graph(self) -> nir.NIRGraph:
        model, size = self.model, self.config.image_size
        x = self.add("input", nir.Input(np.array([self.config.in_channels, size, size])))
        for layer in model.layers:
            assert isinstance(layer, RecurrentLayer)
            x = self._layer(x, layer)
        self.mean_readout(model.fc, (x, slice(None)))
        return nir.NIRGraph(self.nodes, self.edges, metadata=self.metadata("rsnn"), type_check=False)

    def _layer(self, source: str, layer: RecurrentLayer) -> str:
        spikes = self.neurons(self.current(source, layer.conv, norm=layer.norm), layer.plif)
        recurrent, padding = layer.plif.recurrent, (1, 1)
        weight = values_of(recurrent.weight).copy()  # the graph's own
        node = self.conv_node(weight, np.zeros(recurrent.out_channels), padding=padding)
        self.edges.append((self.add(f"{spikes}.recurrent", node, spikes), spikes))
        return spikes
