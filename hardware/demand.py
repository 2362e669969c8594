"""What a layer, or a part of it, takes of every limit of a core, and what a core has of it."""

from collections.abc import Iterable

from hardware.chip import MEMORY_BITS, Chip, Limits
from hardware.geometry import Geometry
from hardware.resources import LayerResources
from hardware.sharing import inputs_for, weights_for

# Limits of a core that parts of layers add up to; memories in bits.
ADDED = ("neurons", "neuron_groups", "fan_in_axons", "fan_out_axons", "synapse_memory", "core_memory")


def capacity(limits: Limits) -> dict[str, int]:
    """What a core has of every limit that the chip file gives."""
    figures = {name: getattr(limits, name) for name in ADDED}
    return {
        name: figure.value * MEMORY_BITS.get(figure.unit, 1) for name, figure in figures.items() if figure is not None
    }


def demand(layer: LayerResources, chip: Chip, *, channels: int, positions: int, groups: int) -> dict[str, int]:
    """What a part of a layer takes: so many channels at so many positions, with so many sets of decay and threshold.

    The kernel of its channels is stored whole, however few positions they are for. Input axons are those that it needs
    wherever it lies.
    """
    neurons = channels * positions
    kernel = layer.weight_bits * sum(weights_for(incoming.geometry, channels) for incoming in layer.inputs)
    return {
        "neurons": neurons,
        "neuron_groups": min(groups, neurons),
        "fan_in_axons": sum(_axons(incoming.geometry, chip, channels, positions) for incoming in layer.inputs),
        "fan_out_axons": neurons * layer.outgoing,
        "synapse_memory": kernel,
        "core_memory": kernel + neurons * layer.state_bits_per_neuron,
    }


def whole(layer: LayerResources, chip: Chip) -> dict[str, int]:
    """What a whole layer takes."""
    channels, height, width = layer.shape
    return demand(layer, chip, channels=channels, positions=height * width, groups=layer.neuron_groups)


def together(demands: Iterable[dict[str, int]]) -> dict[str, int]:
    """What several take together."""
    total = dict.fromkeys(ADDED, 0)
    for found in demands:
        total = {name: amount + found[name] for name, amount in total.items()}
    return total


def _axons(geometry: Geometry, chip: Chip, channels: int, positions: int) -> int:
    """Input axons of one connection; attention, which no chip here holds, is taken for a convolution."""
    axons = chip.traits.convolution_axons
    return inputs_for(geometry, channels, positions) if axons is None else axons.value
