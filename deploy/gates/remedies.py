"""What to do about a network that rounding makes predict otherwise: where it is lost, and which command helps."""

from collections.abc import Iterable
from typing import Protocol

TUNE = "--tune 3 (trains the rounded weights as they are run, on clips of --dataset or --calibrate)"
TRAIN = "svformer.train --qat --init CHECKPOINT (it trains for minutes with rounded weights)"
FINE = "--fine-layers {} (two synapses a weight)"
WHY = "--why says which rounding it is"
EXACT = 1e-9  # relative error of weights that their bits hold, but for the last bit of a double


class RoundedLayer(Protocol):
    """What fixed point costs a layer: of `deploy.gates.fidelity`, or of a report."""

    @property
    def name(self) -> str: ...
    @property
    def weight_error(self) -> float | None: ...
    @property
    def spike_match(self) -> float | None: ...
    @property
    def heard_match(self) -> float | None: ...


def remedies(layers: Iterable[RoundedLayer], *, svformer: bool) -> str:
    """The layer that loses most of the spikes that reach it right, and what would help."""
    layers = list(layers)
    return f"{_lost(layers)}what helps: {'; '.join(_commands(layers, svformer))}"


def _lost(layers: list[RoundedLayer]) -> str:
    shares = [(layer.name, layer.heard_match, layer.spike_match) for layer in layers]
    found = [(heard - own, name, heard, own) for name, heard, own in shares if heard is not None and own is not None]
    if not found:
        return ""
    _, name, heard, own = max(found)
    return f"most spikes are lost in {name}, where {100 * own:.2f} % are equal ({100 * heard:.2f} % in what it hears); "


def _commands(layers: list[RoundedLayer], svformer: bool) -> list[str]:
    rounded = sum((layer.weight_error or 0.0) > EXACT for layer in layers)
    found = [TUNE, *([TRAIN] if svformer else [])] if rounded else []
    return [*found, *([FINE.format(rounded)] if rounded else []), WHY]
