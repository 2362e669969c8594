"""What the layers of a network ask of a chip, in plain values.

A layer is a population with the connections that end in it. Messages that are held back wait in synapses, or in relays:
`relays` gives the layers of relays that a chip without delays in its synapses needs.

Kernels are stored once per layer, as chips with shared connection templates can. `LayerResources.synapses` says
how many weights there would be if every synapse were stored by itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hardware.geometry import Geometry, IdentityGeometry

BITS_PER_KIB = 8 * 1024
Shape = tuple[int, int, int]  # C, H, W


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A connection that ends in a layer."""

    source: str
    geometry: Geometry
    lag: int = 0  # time steps for which messages are held back


@dataclass(frozen=True, kw_only=True)
class LayerResources:
    """What one layer (a population and the connections that end in it) asks of a chip."""

    name: str
    shape: Shape
    inputs: tuple[Incoming, ...]
    outgoing: int  # connections that leave the layer
    weights_of_a_neuron: int = 0  # that differ, zero left out: at least, of some neuron
    weight_bits: int = 8  # of the widest weight; all are stored at this width
    state_bits_per_neuron: int = 24
    message_bits: int = 1  # of the widest message that the layer sends; 1: binary spikes
    changes_with_time: bool = False  # a gain or bias of its own for every time step
    channel_groups: tuple[tuple[int, ...], ...] = ()  # by channel: its sets of decay and threshold; empty: one for all
    delay_step: int = 0  # n: relays that hold the messages of the layer of this name n time steps back

    @property
    def neurons(self) -> int:
        return int(np.prod(self.shape))

    @property
    def kernel_bits(self) -> int:
        """Weights of all incoming connections, each stored once."""
        return self.weight_bits * sum(incoming.geometry.weights for incoming in self.inputs)

    @property
    def synapses(self) -> int:
        """The same unrolled: one weight per pair of connected neurons."""
        return sum(incoming.geometry.synapses for incoming in self.inputs)

    @property
    def state_bits(self) -> int:
        return self.state_bits_per_neuron * self.neurons

    @property
    def fan_in_axons(self) -> int:
        """Neurons that send into the layer."""
        return sum(incoming.geometry.inputs for incoming in self.inputs)

    @property
    def fan_out_axons(self) -> int:
        """One per neuron and connection that leaves the layer."""
        return self.neurons * self.outgoing

    @property
    def delay(self) -> int:
        """Longest delay of an incoming connection, in time steps."""
        return max((incoming.lag for incoming in self.inputs), default=0)

    @property
    def multiplies_signals(self) -> bool:
        """Whether there is spiking attention, whose operands are both signals."""
        return any(incoming.geometry.multiplies_signals for incoming in self.inputs)

    @property
    def neuron_groups(self) -> int:
        """Sets of decay and threshold that differ; no more than there are neurons."""
        return min(len({group for groups in self.channel_groups for group in groups}) or 1, self.neurons)


@dataclass(frozen=True, kw_only=True)
class DelayLine:
    """Relays that hold the messages of one source back: a layer for every time step, whose taps all targets share."""

    source: str
    steps: tuple[LayerResources, ...]  # one time step late, two, ..

    @property
    def neurons(self) -> int:
        return sum(step.neurons for step in self.steps)


def relays(layers: Iterable[LayerResources]) -> list[DelayLine]:
    """The delay lines that a chip needs whose synapses hold nothing back, one for each source of a late connection."""
    layers = list(layers)
    shapes = {layer.name: layer.shape for layer in layers}
    bits = {layer.name: layer.message_bits for layer in layers}
    late: dict[str, list[Incoming]] = {}
    for incoming in (incoming for layer in layers for incoming in layer.inputs if incoming.lag):
        late.setdefault(incoming.source, []).append(incoming)
    return [
        DelayLine(
            source=source,
            steps=tuple(_line(source, shapes.get(source) or _sent(taps), bits.get(source, 1), taps)),
        )
        for source, taps in late.items()
    ]


def _line(source: str, shape: Shape, message_bits: int, taps: list[Incoming]) -> Iterator[LayerResources]:
    steps = max(tap.lag for tap in taps)
    first = LayerResources(name=source, shape=shape, inputs=(), outgoing=0, message_bits=message_bits)
    for step in range(1, steps + 1):
        before = Incoming(source=source, geometry=IdentityGeometry(shape=shape), lag=step - 1)
        leaving = sum(tap.lag == step for tap in taps) + (step < steps)
        yield replace(first, inputs=(before,), outgoing=leaving, delay_step=step)


def _sent(taps: list[Incoming]) -> Shape:
    """The shape of a source that is no layer: the input, whose neurons stand in the connections that leave it."""
    return max(taps, key=lambda tap: tap.geometry.inputs).geometry.in_shape
