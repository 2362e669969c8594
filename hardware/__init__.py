"""What a deployed network fired, what that costs on a chip, and whether it fits there.

The files in the order the data moves: `geometry` (which neurons a spike reaches), `op_counts` (how many
operations that makes; no joule), `chip` and `chips/*.yaml` (published figures), `energy` (counts x
figures), `models` (cost models side by side), `break_even` (at which rate spikes pay), `fit` (cores and
chips), `paper_layers` and `paper` (the 21 mJ of the SVFormer paper). This package takes plain values and
imports neither svformer nor deploy.
"""

from hardware.break_even import Activity, activity, cost_lines
from hardware.chip import Chip, load_chip, shipped_chips
from hardware.energy import EnergyBreakdown, price
from hardware.errors import ChipError
from hardware.fit import ChipFit, LayerNeed, fit, layer_need
from hardware.geometry import AttentionGeometry, ConvGeometry, IdentityGeometry
from hardware.models import EnergyModel, Placement, energy_models
from hardware.op_counts import (
    OpCounts,
    count_accesses,
    count_attention,
    count_connection,
    count_gains,
    count_messages,
    count_neurons,
    count_parameter_reads,
    count_state_accesses,
    count_traffic,
    expected_ops,
)

__all__ = [
    "Activity",
    "AttentionGeometry",
    "Chip",
    "ChipError",
    "ChipFit",
    "ConvGeometry",
    "EnergyBreakdown",
    "EnergyModel",
    "IdentityGeometry",
    "LayerNeed",
    "OpCounts",
    "Placement",
    "activity",
    "cost_lines",
    "count_accesses",
    "count_attention",
    "count_connection",
    "count_gains",
    "count_messages",
    "count_neurons",
    "count_parameter_reads",
    "count_state_accesses",
    "count_traffic",
    "energy_models",
    "expected_ops",
    "fit",
    "layer_need",
    "load_chip",
    "price",
    "shipped_chips",
]
