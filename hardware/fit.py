"""Does it fit? Cores and chips by a simple, documented rule.

The rule: a layer needs as many cores as its scarcest resource asks for (the largest of need / limit per
core, rounded up), a core holds one layer only, and a chip is full when its cores are. It is an estimate
from the published limits, not a placement: a real compiler may share cores between small layers (fewer),
and must repeat kernels and axons in every core that a layer is spread over (more).

Kernels are stored once per layer, as chips with shared connection templates can. `LayerResources.synapses` says
how many weights there would be if every synapse were stored by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardware.chip import Chip, Limits
from hardware.errors import ChipError
from hardware.geometry import Geometry
from hardware.keys import key

BITS_PER_KIB = 8 * 1024

# By limit: what makes a layer ask for less of it.
REMEDIES = {
    "neurons": "fewer channels or a smaller image; cores grow with both in proportion",
    "fan_in_axons": "a smaller or pooled input, or fewer connections that end in the layer",
    "fan_out_axons": "fewer connections that leave the layer (every shortcut and every tap of a delay line is one)",
    "synapse_memory": "narrower weights, or a depthwise kernel kept apart in place of a merged one",
    "core_memory": "narrower weights or potentials, or fewer channels",
}


@dataclass(frozen=True, kw_only=True)
class LayerResources:
    """What one layer (a population and the connections that end in it) asks of a chip."""

    name: str
    neurons: int
    kernel_bits: int  # weights of all incoming connections, each stored once
    synapses: int  # the same unrolled: one weight per pair of connected neurons
    state_bits: int
    fan_in_axons: int  # neurons that send into the layer
    fan_out_axons: int  # one per neuron and connection that leaves the layer
    weight_bits: int  # widest weight
    message_bits: int  # widest message that the layer sends; 1: binary spikes
    delay: int  # longest delay of an incoming connection, in steps
    multiplies_signals: bool  # spiking attention: both operands are signals
    changes_with_time: bool  # a gain or bias of its own for every time step

    @classmethod
    def of(
        cls,
        name: str,
        *,
        shape: tuple[int, int, int],
        inputs: Sequence[Geometry],
        outgoing: int,
        weight_bits: int = 8,
        state_bits_per_neuron: int = 24,
        message_bits: int = 1,
        delay: int = 0,
        changes_with_time: bool = False,
    ) -> "LayerResources":
        """What a population of `shape` C, H, W asks for: `inputs` end in it, `outgoing` connections leave it."""
        neurons = int(np.prod(shape))
        return cls(
            name=name,
            neurons=neurons,
            kernel_bits=weight_bits * sum(geometry.weights for geometry in inputs),
            synapses=sum(geometry.synapses for geometry in inputs),
            state_bits=state_bits_per_neuron * neurons,
            fan_in_axons=sum(geometry.inputs for geometry in inputs),
            fan_out_axons=neurons * outgoing,
            weight_bits=weight_bits,
            message_bits=message_bits,
            delay=delay,
            multiplies_signals=any(geometry.multiplies_signals for geometry in inputs),
            changes_with_time=changes_with_time,
        )


@dataclass(frozen=True, kw_only=True)
class LayerFit:
    """Cores that one layer takes on a chip."""

    name: str = field(metadata=key("population with the connections that end in it"))
    cores: int = field(metadata=key("cores that it takes"))
    cores_by_limit: dict[str, int] = field(metadata=key("cores that each limit alone would ask for"))

    @property
    def binding(self) -> str:
        """The limit that asks for the most cores."""
        return max(self.cores_by_limit, key=lambda limit: self.cores_by_limit[limit])

    @property
    def remedy(self) -> str:
        """What would shrink the layer, and how far: to the cores that its next limit asks for."""
        if self.cores == 1:
            return "it fits one core"
        without = max((n for limit, n in self.cores_by_limit.items() if limit != self.binding), default=1)
        if self.cores == without:
            return f"{REMEDIES[self.binding]}; but another limit asks for as many cores"
        return f"{REMEDIES[self.binding]}; no other limit asks for more than {without}"


@dataclass(frozen=True, kw_only=True)
class ChipFit:
    """Cores and chips that a network takes, and what stands in the way of running it there."""

    chip: str = field(metadata=key("name of the chip file"))
    layers: tuple[LayerFit, ...] = field(metadata=key("cores of every layer"))
    cores: int = field(metadata=key("cores of all layers"))
    chips: int = field(metadata=key("chips that these cores fill"))
    obstacles: tuple[str, ...] = field(metadata=key("what the chip cannot hold at any number of cores"))
    unchecked: tuple[str, ...] = field(metadata=key("limits that the chip file does not give"))

    @property
    def largest(self) -> LayerFit:
        """The layer that takes the most cores."""
        return max(self.layers, key=lambda layer: layer.cores)

    @property
    def advice(self) -> str:
        """The layer that needs most, why, and what would shrink it, as a sentence."""
        layer = self.largest
        cores = f"{layer.cores:,} core{'s' if layer.cores != 1 else ''}"
        return f"{layer.name} takes most, {cores} of {self.cores:,}, by its {_words(layer.binding)}: {layer.remedy}"


def fit(layers: Iterable[LayerResources], chip: Chip) -> ChipFit:
    """Place every layer on cores of its own by the rule above.

    Raises ChipError for a chip file without limits, and for a network without layers.
    """
    if chip.limits is None:
        raise ChipError(f"{chip.title} has no limits in its chip file: nothing to fit a network to")
    layers = list(layers)
    if not layers:
        raise ChipError("no layers to fit")
    placed = tuple(_fit_layer(layer, chip.limits) for layer in layers)
    cores = sum(layer.cores for layer in placed)
    return ChipFit(
        chip=chip.name,
        layers=placed,
        cores=cores,
        chips=_divide_up(cores, chip.limits.cores.value),
        obstacles=tuple(obstacle for layer in layers for obstacle in _obstacles(layer, chip.title, chip.limits)),
        unchecked=tuple(limit for limit in Limits.model_fields if getattr(chip.limits, limit) is None),
    )


def _fit_layer(layer: LayerResources, limits: Limits) -> LayerFit:
    asked = {
        "neurons": (layer.neurons, limits.neurons, 1),
        "fan_in_axons": (layer.fan_in_axons, limits.fan_in_axons, 1),
        "fan_out_axons": (layer.fan_out_axons, limits.fan_out_axons, 1),
        "synapse_memory": (layer.kernel_bits, limits.synapse_memory, BITS_PER_KIB),
        "core_memory": (layer.kernel_bits + layer.state_bits, limits.core_memory, BITS_PER_KIB),
    }
    cores = {
        name: _divide_up(amount, limit.value * unit)
        for name, (amount, limit, unit) in asked.items()
        if limit is not None
    }
    return LayerFit(name=layer.name, cores=max(1, *cores.values()), cores_by_limit=cores)


def _obstacles(layer: LayerResources, chip: str, limits: Limits) -> Iterable[str]:
    """What the chip cannot hold, however many cores the layer takes."""
    for what, asked, limit in (
        ("weights", layer.weight_bits, limits.weight_bits),
        ("messages", layer.message_bits, limits.message_bits),
        ("a delay", layer.delay, limits.delay),
    ):
        if limit is not None and asked > limit.value:
            yield f"{layer.name}: needs {what} of {asked} {limit.unit}, {chip} has at most {limit.value}"
    if layer.multiplies_signals:
        yield f"{layer.name}: multiplies two signals (attention), for which {chip} has no synapse"
    if layer.changes_with_time:
        yield f"{layer.name}: gain and bias change with the time step (per-step norm), not static on {chip}"


def _words(limit: str) -> str:
    return limit.replace("_", " ")


def _divide_up(asked: int, limit: int) -> int:
    return -(-asked // limit)
