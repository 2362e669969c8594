"""A deployment that may take so many cores of Loihi 2 and no more (`--max-cores`)."""

from collections.abc import Mapping, Sequence

from hardware import ChipError, LayerResources, fit, load_chip, place
from hardware.fit import REMEDIES
from svformer.common.errors import InputError
from svformer.common.terminal import counted

TARGET = "loihi2"  # the chip whose cores are counted


def require_neurons(neurons: Mapping[str, int], max_cores: int) -> None:
    """Raise `InputError` where the neurons alone ask for more cores; `neurons` are those of every layer.

    It needs no integers, so it is asked before the long work: whatever comes later only adds to the neurons.
    """
    chip = load_chip(TARGET)
    assert chip.limits is not None
    held = chip.limits.neurons.value
    least = -(-sum(neurons.values()) // held)
    if least > max_cores:
        largest = max(neurons, key=lambda name: neurons[name])
        raise InputError(
            f"--max-cores {max_cores}: the network has {sum(neurons.values()):,} neurons, at least "
            f"{counted(least, 'core')} of {chip.title}; {largest} has most, {neurons[largest]:,}: {REMEDIES['neurons']}"
        )


def require_cores(layers: Sequence[LayerResources], max_cores: int) -> None:
    """Raise `InputError` where the placement takes more cores, or where there is none."""
    chip = load_chip(TARGET)
    try:
        found = place(layers, chip)
    except ChipError as error:
        raise InputError(f"--max-cores {max_cores}: {error}") from error
    if len(found.cores) > max_cores:
        rule = fit(layers, chip)
        relays = f", {counted(rule.delay_neurons, 'relay')} of delay lines among them" if rule.delay_neurons else ""
        raise InputError(
            f"--max-cores {max_cores}: the network takes {counted(len(found.cores), 'core')} of {chip.title}{relays}; "
            f"with a core for each layer, {rule.advice}"
        )
