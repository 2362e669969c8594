"""A chip as data: what its operations cost by published figures (or why that is unknown), and what fits on it.

A figure that is not published is left out, and the notes beside a total say what that means for it. Files of chips are
read by `hardware.chip_files`.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from hardware.anchor import Anchor
from hardware.figures import CountFigure, EnergyFigure, Figure, PerOperation, Sourced, Strict, Text
from hardware.unit_costs import UnitCosts


class Energy(Strict):
    """Energy per operation. Only the synaptic operation is required."""

    synaptic_op: PerOperation  # one addition of a weight because of a binary spike
    multiply_accumulate: PerOperation | None = None  # one weight times one graded value, added
    product: PerOperation | None = None  # one product of 8 x 8 bits, where the figure above is the addition alone
    gain_mac: PerOperation | None = None  # a wide current times the gain of its time step
    attention_op: PerOperation | None = None  # one addition of a count in Q (K^T V)
    relay_add: PerOperation | None = None  # one graded shortcut current added, or compared with another
    bias_add: PerOperation | None = None
    weight_bit_read: PerOperation | None = None  # one bit of a weight from the memory beside the arithmetic
    memory_access: PerOperation | None = None  # one value read or written, however large the memory
    parameter_access: PerOperation | None = None  # one parameter read, where it is another figure
    memory_access_per_bit: EnergyFigure[Literal["pJ/bit"]] | None = None  # and more for each bit that the memory holds
    event_address: PerOperation | None = None  # finding the weight and the potential of one operation
    message_address: PerOperation | None = None  # finding the first of them for one message
    neuron_update: PerOperation | None = None
    relay_update: PerOperation | None = None  # one sum taken up and sent, on a chip whose relays are neurons
    spike: PerOperation | None = None  # one message to a neighbouring core, in the same tile
    static_power: Figure[Literal["mW/chip"]] | None = None
    note: Text | None = None  # what the figures include, for a reader of the total

    @model_validator(mode="after")
    def _counts_memory_once(self) -> "Energy":
        if self.weight_bit_read and self.memory_access:
            raise ValueError("weight_bit_read and memory_access both price the reading of a weight; give one of them")
        if self.memory_access_per_bit and not self.memory_access:
            raise ValueError("memory_access_per_bit is a part of memory_access, which is missing")
        if self.product and not self.multiply_accumulate:
            raise ValueError("product is a part of multiply_accumulate, which is missing")
        return self


Memory = CountFigure[Literal["KiB/core", "64-bit words/core"]]
MEMORY_BITS = {"KiB/core": 8 * 1024, "64-bit words/core": 64}


class Limits(Strict):
    """What fits. A limit left out is not published, or does not exist on this chip."""

    cores: CountFigure[Literal["cores/chip"]]
    neurons: CountFigure[Literal["neurons/core"]]
    neuron_groups: CountFigure[Literal["groups/core"]] | None = None  # sets of decay and threshold that differ
    fan_in_axons: CountFigure[Literal["axons/core"]] | None = None
    fan_out_axons: CountFigure[Literal["axons/core"]] | None = None
    synapse_memory: Memory | None = None  # for synapses alone
    core_memory: Memory | None = None  # shared by synapses and neuron state
    weight_bits: CountFigure[Literal["bits"]] | None = None
    weights_of_a_neuron: CountFigure[Literal["weights/neuron"]] | None = None  # that differ, zero left out
    message_bits: CountFigure[Literal["bits"]] | None = None  # 1: binary spikes only
    delay: CountFigure[Literal["steps"]] | None = None  # that a synapse holds a message back


class RelayedDelays(Sourced):
    """Says that no synapse holds messages back, so that a layer of relays stands for every time step of a delay."""


class Traits(Strict):
    """How a chip does what another does otherwise. What is left out is as on a chip with a plain crossbar."""

    # Input axons that a convolution takes in a core, however many neurons send; else every sending neuron is one.
    convolution_axons: CountFigure[Literal["axons/convolution"]] | None = None
    relayed_delays: RelayedDelays | None = None  # else the synapses hold messages back


class Mesh(Strict):
    """Where the cores of a chip lie: tiles in rows and columns, each with a router that its cores share."""

    columns: CountFigure[Literal["tiles"]]
    rows: CountFigure[Literal["tiles"]]
    cores: CountFigure[Literal["cores/tile"]]


class Chip(Strict):
    """One target: what its operations cost (or why that is unknown) and what fits on it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    title: Text
    energy: Energy | None = None
    no_energy_because: Text | None = None
    anchor: Anchor | None = None
    limits: Limits | None = None
    no_limits_because: Text | None = None  # what is priced is no chip; else limits are left out because nobody looked
    traits: Traits = Traits()
    mesh: Mesh | None = None
    events: list[UnitCosts] = Field(default_factory=list)  # of a placed network, by source, the one to show first
    no_times_because: Text | None = None  # where there are none

    @model_validator(mode="after")
    def _events_have_places(self) -> "Chip":
        if self.events and (self.no_times_because or not (self.mesh and self.limits)):
            raise ValueError("events need limits and a mesh to place a network on, and no no_times_because")
        if self.events and self.traits.relayed_delays:
            raise ValueError("events of a chip that relays delays are not modelled: leave one of them out")
        return self

    @property
    def why_no_times(self) -> str:
        """Why no latency can be said of this chip; empty where it can."""
        return "" if self.events else self.no_times_because or "its chip file gives no times"

    @model_validator(mode="after")
    def _mesh_holds_all_cores(self) -> "Chip":
        if self.mesh and self.limits:
            places = self.mesh.columns.value * self.mesh.rows.value * self.mesh.cores.value
            if places != self.limits.cores.value:
                raise ValueError(f"the mesh has {places} places for {self.limits.cores.value} cores")
        return self

    @model_validator(mode="after")
    def _has_limits_or_none(self) -> "Chip":
        if self.limits and self.no_limits_because:
            raise ValueError("limits and no_limits_because are both given; give one of them")
        return self

    @model_validator(mode="after")
    def _says_why_energy_is_missing(self) -> "Chip":
        if (self.energy is None) == (self.no_energy_because is None):
            raise ValueError("give either energy, or no_energy_because with the reason")
        return self
