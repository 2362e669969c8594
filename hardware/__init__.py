"""What a deployed network fired, what that costs on a chip, and whether it fits there.

The files in the order the data moves: `geometry` (which neurons a spike reaches), `op_counts` (how many
operations that makes; no joule), `chip` and `chips/*.yaml` (published figures), `energy` (counts x
figures), `fit` (cores and chips), `paper` (the 21 mJ of the SVFormer paper). This package takes plain
values and imports neither svformer nor deploy.
"""

from hardware.chip import Chip, load_chip, shipped_chips
from hardware.energy import EnergyBreakdown, energy_models, price
from hardware.errors import ChipError
from hardware.fit import ChipFit, LayerNeed, fit, layer_need
from hardware.geometry import AttentionGeometry, ConvGeometry, IdentityGeometry
from hardware.op_counts import (
    OpCounts,
    count_attention,
    count_connection,
    count_gains,
    count_messages,
    count_neurons,
    expected_ops,
)

__all__ = [
    "AttentionGeometry",
    "Chip",
    "ChipError",
    "ChipFit",
    "ConvGeometry",
    "EnergyBreakdown",
    "IdentityGeometry",
    "LayerNeed",
    "OpCounts",
    "count_attention",
    "count_connection",
    "count_gains",
    "count_messages",
    "count_neurons",
    "energy_models",
    "expected_ops",
    "fit",
    "layer_need",
    "load_chip",
    "price",
    "shipped_chips",
]
