"""Does it fit? Cores and chips by a simple, documented rule.

The rule: a layer needs as many cores as its scarcest resource asks for (the largest of need / limit per
core, rounded up), a core holds one layer only, and a chip is full when its cores are. It is an estimate
from the published limits, not a placement: small layers may share cores (fewer), and kernels and axons are repeated in
every core that a layer is spread over (more). `hardware.placement` places the layers.

A chip whose synapses hold nothing back needs relays for every delay: the relays of one source count as a layer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hardware.chip import Chip, Limits
from hardware.demand import capacity, together, whole
from hardware.errors import ChipError
from hardware.keys import key
from hardware.resources import LayerResources, relays

# By limit: what makes a layer ask for less of it.
REMEDIES = {
    "neurons": "fewer channels or a smaller image; cores grow with both in proportion",
    "neuron_groups": "the same decay and threshold for more of its neurons",
    "fan_in_axons": "a smaller or pooled input, or fewer connections that end in the layer",
    "fan_out_axons": "fewer connections that leave the layer (every shortcut and every tap of a delay line is one)",
    "synapse_memory": "narrower weights, or a depthwise kernel kept apart in place of a merged one",
    "core_memory": "narrower weights or potentials, or fewer channels",
}


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
    delay_lines: tuple[LayerFit, ...] = field(
        metadata=key("cores of the relays that hold messages of a layer back, by source; none where synapses do that")
    )
    delay_neurons: int = field(metadata=key("neurons of these delay lines"))
    cores: int = field(metadata=key("cores of all layers and delay lines; the input has none"))
    chips: int = field(metadata=key("chips that these cores fill"))
    obstacles: tuple[str, ...] = field(metadata=key("what the chip cannot hold at any number of cores"))
    unchecked: tuple[str, ...] = field(metadata=key("limits that the chip file does not give"))

    @property
    def largest(self) -> LayerFit:
        """The layer or delay line that takes the most cores."""
        return max((*self.layers, *self.delay_lines), key=lambda layer: layer.cores)

    @property
    def advice(self) -> str:
        """The layer that needs most, why, and what would shrink it, as a sentence."""
        layer = self.largest
        cores = f"{layer.cores:,} core{'s' if layer.cores != 1 else ''} of {self.cores:,}"
        if any(layer is line for line in self.delay_lines):
            return (
                f"the delay line of {layer.name} takes most, {cores}: a shorter delay, or fewer channels in the layer"
            )
        return f"{layer.name} takes most, {cores}, by its {_words(layer.binding)}: {layer.remedy}"


def fit(layers: Iterable[LayerResources], chip: Chip) -> ChipFit:
    """Place every layer on cores of its own by the rule above.

    Raises ChipError for a chip file without limits, and for a network without layers.
    """
    if chip.limits is None:
        raise ChipError(f"{chip.title} has no limits in its chip file: nothing to fit a network to")
    layers = list(layers)
    if not layers:
        raise ChipError("no layers to fit")
    lines = relays(layers) if chip.traits.relayed_delays else []
    fitted = tuple(_fitted(layer.name, whole(layer, chip), chip.limits) for layer in layers)
    delayed = tuple(
        _fitted(line.source, together(whole(step, chip) for step in line.steps), chip.limits) for line in lines
    )
    cores = sum(layer.cores for layer in (*fitted, *delayed))
    return ChipFit(
        chip=chip.name,
        layers=fitted,
        delay_lines=delayed,
        delay_neurons=sum(line.neurons for line in lines),
        cores=cores,
        chips=_divide_up(cores, chip.limits.cores.value),
        obstacles=tuple(obstacle for layer in layers for obstacle in _obstacles(layer, chip, chip.limits)),
        unchecked=tuple(limit for limit in Limits.model_fields if getattr(chip.limits, limit) is None),
    )


def _fitted(name: str, asked: dict[str, int], limits: Limits) -> LayerFit:
    cores = {limit: _divide_up(asked[limit], held) for limit, held in capacity(limits).items()}
    return LayerFit(name=name, cores=max(1, *cores.values()), cores_by_limit=cores)


def _obstacles(layer: LayerResources, chip: Chip, limits: Limits) -> Iterable[str]:
    """What the chip cannot hold, however many cores the layer takes."""
    for what, asked, limit in (
        ("weights", layer.weight_bits, limits.weight_bits),
        ("messages", layer.message_bits, limits.message_bits),
        ("a delay", layer.delay, None if chip.traits.relayed_delays else limits.delay),
    ):
        if limit is not None and asked > limit.value:
            yield f"{layer.name}: needs {what} of {asked} {limit.unit}, {chip.title} has at most {limit.value}"
    different = limits.weights_of_a_neuron
    if different and layer.weights_of_a_neuron > different.value:
        yield (
            f"{layer.name}: a neuron has {layer.weights_of_a_neuron} weights that differ, {chip.title} has at most "
            f"{different.value}"
        )
    if layer.multiplies_signals:
        yield f"{layer.name}: multiplies two signals (attention), for which {chip.title} has no synapse"
    if layer.changes_with_time:
        yield f"{layer.name}: gain and bias change with the time step (per-step norm), not static on {chip.title}"


def _words(limit: str) -> str:
    return limit.replace("_", " ")


def _divide_up(asked: int, limit: int) -> int:
    return -(-asked // limit)
