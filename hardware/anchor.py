"""A measured network on a chip as a scale for another: an extrapolation, and called so.

A chip file may name a network that was measured there as a whole. Its dynamic energy divided by its synapses and time
steps, or by its neuron updates, times those of another network, gives two figures; the truth of neither is known. They
hold for the activity of the measured network, whatever the other's is.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from hardware.counts import Counts
from hardware.figures import Sourced, Text
from hardware.keys import key


class Anchor(Sourced):
    """A network that was measured on the chip as a whole."""

    network: Text
    dynamic_mj: Annotated[float, Field(gt=0)]  # an inference, without static power
    synapses: Annotated[int, Field(gt=0)]  # pairs of neurons that a weight connects
    neurons: Annotated[int, Field(gt=0)]  # those of the input among them
    steps: Annotated[int, Field(gt=0)]  # time steps of an inference


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """Dynamic energy of a clip, extrapolated from another network that was measured on the chip."""

    by_synapses_mj: float = field(metadata=key("by synapses: dense operations of the deployed form", "mJ"))
    by_updates_mj: float = field(metadata=key("by updates of neurons and relays", "mJ"))
    source: str = field(metadata=key("the network that was measured, and where"))

    @property
    def range_mj(self) -> tuple[float, float]:
        """Both figures, the smaller first."""
        low, high = sorted((self.by_synapses_mj, self.by_updates_mj))
        return low, high


def extrapolated(counts: Counts[Any], anchor: Anchor | None) -> Extrapolation | None:
    """What the measured network of a chip file says of these counts; None where the file has none."""
    if anchor is None:
        return None
    per_update_mj = anchor.dynamic_mj / (anchor.neurons * anchor.steps)
    per_synapse_mj = anchor.dynamic_mj / (anchor.synapses * anchor.steps)
    return Extrapolation(
        by_synapses_mj=float(counts.dense_macs * per_synapse_mj),
        by_updates_mj=float((counts.neuron_updates + counts.relay_updates) * per_update_mj),
        source=f"{anchor.network}: {anchor.dynamic_mj:g} mJ an inference without static power, {anchor.origin}",
    )
