"""lava-dl's network file -> network of integers: populations of the names and numbers of its layers, in a chain."""

import math
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np

from deploy.exchange.integers import graph_of
from deploy.exchange.netx.content import FLATTEN, INPUT, RECURRENT, Layer, Neuron, layers_of
from deploy.exchange.netx.layers import (
    NO_NEURON,
    connections_of,
    delays_of,
    geometry_of,
    never_fires,
    population_of,
    weights_of,
)
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import DECAY_ONE
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.input import IntInput
from deploy.ir.readout import choose_readout
from deploy.ir.types import NodeShape, Shape
from hardware import ChipError, ConvGeometry
from svformer.common.errors import InputError

DT_S = 1e-3  # of a time step where nothing says another: lava-dl's own; spikes do not depend on it
UNIT = 64  # of the weights: what stands for 1.0 in slayer
QUANTISED = UNIT // 2  # steps of an input of 1.0: slayer's Input block counts in 2 / 64, from -128 to 127 of them
ENTRY = "in"


def read_net(path: str | Path) -> tuple[IntNetwork, NodeShape]:
    """The network of a `.net` file, proven for nothing yet, and the shape of its clips.

    Raises `InputError` that names every layer which cannot be run, or the first that does not fit those before.
    """
    path = Path(path)
    layers = layers_of(path)
    if layers[0].kind != INPUT:
        raise InputError(f"{path}: no input layer in front, whose shape says what a clip is; export one")
    if others := [layer.name for layer in layers[1:] if layer.kind == INPUT]:
        raise InputError(f"{path}: {', '.join(others)}: an input behind the first layer; allowed: one, in front")
    layer = layers[0]
    try:
        chain = _Chain(layer)
        for layer in layers[1:]:
            chain.add(layer, last=layer is layers[-1])
    except (ValueError, ChipError) as error:
        raise InputError(f"{path}: {layer.name}: {error}") from error
    return chain.network(), tuple(layers[0].values["shape"].tolist())


def graph_of_net(path: str | Path) -> nir.NIRGraph:
    """The same as a graph that holds integers, of time steps of 1 ms; T is left to the clips."""
    network, shape = read_net(path)
    graph = graph_of(network, dt_s=DT_S, input_shape=shape, metadata={"model": Path(path).name})
    del graph.metadata["T"]
    return graph


class _Chain:
    """A network that grows layer by layer, each behind the one before."""

    def __init__(self, entry: Layer) -> None:
        shape, limits = (entry.values.get(key, np.array([0, 1])).ravel().tolist() for key in ("shape", "range"))
        if len(shape) > 3 or min(shape) < 1 or len(limits) != 2:
            raise ValueError(
                f"shape {shape}, range {limits}; allowed: channels, rows, columns; smallest, largest value"
            )
        self.shape, self.flat = _image(shape), len(shape) == 1
        first = IntInput(shape=self.shape, scale=1.0, low=limits[0], high=limits[1])
        self.populations: dict[str, IntPopulation] = {ENTRY: first}
        self.connections: list[IntConnection] = []
        if entry.neuron is not None:
            self._encode(entry, entry.neuron)

    def _encode(self, entry: Layer, neuron: Neuron) -> None:
        """Slayer's Input with neurons: real values in steps of 1 / 32, weighted, into neurons.

        netx does not connect what arrives with these neurons.
        """
        if entry.values.get("bias", np.zeros(1)).any() and (neuron.current_decay < DECAY_ONE).any():
            raise ValueError("a bias of the input goes into its current, which has a memory here (iDecay below 4096)")
        self.populations[ENTRY] = IntInput(shape=self.shape, scale=float(QUANTISED), low=-128, high=127)
        geometry = ConvGeometry(in_shape=self.shape, out_channels=self.shape[0], kernel=(1, 1), groups=self.shape[0])
        weight = np.full(geometry.weight_shape, entry.values.get("weight", np.array(UNIT)).item(), dtype=np.int64)
        for c in connections_of(ENTRY, entry.name, weight, geometry, np.zeros((1, 1), np.int64)):
            exponent = c.operation.exponent - QUANTISED.bit_length() + 1
            self.connections.append(replace(c, operation=c.operation.with_exponent(exponent)))
        self.populations[entry.name] = population_of(entry, self.shape)

    def add(self, layer: Layer, *, last: bool) -> None:
        """A layer behind those there are; raises `ValueError` or `ChipError` for what does not fit."""
        if layer.kind == FLATTEN:
            self.flat = True
            return
        neuron = layer.neuron or NO_NEURON
        if never_fires(neuron) and not last:
            raise ValueError(f"neurons that never fire (vThMant {neuron.threshold.max()}) in front of another layer")
        geometry = self._fitting(layer)
        weight, delays = weights_of(layer, geometry), delays_of(layer, geometry.out_channels, geometry.inputs)
        if delays.shape[1] > 1:  # of a matrix: one for each value of the image in front
            delays = np.broadcast_to(delays, (len(weight), geometry.inputs)).reshape(weight.shape)
        self.connections += connections_of(self.last, layer.name, weight, geometry, delays)
        self.populations[layer.name], self.shape = population_of(layer, geometry.out_shape), geometry.out_shape
        if layer.kind == RECURRENT:
            self._heard_by_itself(layer)

    def _fitting(self, layer: Layer) -> ConvGeometry:
        """Where its weights lie behind what there is; raises `ValueError` where it says another shape."""
        geometry, dense = geometry_of(layer, self.shape), layer.kind.startswith("dense")
        if dense != self.flat and math.prod(self.shape[1:]) > 1:
            raise ValueError(f"takes {'a vector, put a flatten in front' if dense else 'an image, found a vector'}")
        said = _image(layer.values["shape"].tolist())
        if geometry.out_shape != ((math.prod(said), 1, 1) if dense else said):
            raise ValueError(f"gives {geometry.out_shape}, its shape says {said}")
        return geometry

    def _heard_by_itself(self, layer: Layer) -> None:
        """Recurrent weights, a time step late."""
        geometry = ConvGeometry(in_shape=self.shape, out_channels=self.shape[0], kernel=(1, 1))
        weight = layer.values["weight_rec"]
        if weight.size != self.shape[0] ** 2:
            raise ValueError(f"recurrent weights of shape {list(weight.shape)}; allowed: {self.shape[0]} x as many")
        found = connections_of(
            layer.name, layer.name, weight.reshape(geometry.weight_shape), geometry, np.zeros((1, 1), np.int64)
        )
        self.connections += [replace(connection, delay=1) for connection in found]

    @property
    def last(self) -> str:
        return list(self.populations)[-1]

    def network(self) -> IntNetwork:
        """All layers so far, read at the last."""
        return IntNetwork(
            populations=self.populations,
            connections=tuple(self.connections),
            output=self.last,
            frames=1,
            readout=choose_readout(None, spiking=self.populations[self.last].spiking),
        )


def _image(shape: list[int]) -> Shape:
    """(C, H, W), of which a vector has the first."""
    channels, height, width = [*shape, 1, 1][:3]
    return channels, height, width
