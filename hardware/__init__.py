"""What a deployed network fired, what that costs on a chip, and whether it fits there.

The files in the order the data moves: `geometry` (which neurons a spike reaches), `contraction` (products of two
signals), `counts` (what is counted, with labels and meanings) and `op_counts` (how many operations there are; no
joule), `figures` (one published number), `unit_costs` (of the events of a placed network), `anchor` (a network that was
measured), `chip` (all that is known of one), `chip_files` and `chips/*.yaml`, `causes` (which counts a figure prices)
and `energy` (counts x figures), `models` (cost models side by side), `break_even` (at which rate spikes pay),
`resources` (what a layer asks of a chip), `sharing` and `demand` (what a part of it asks), `fit` (cores and chips by a
rule), `cutting`, `packing` and `placement` (which core holds what), `traffic` (messages between cores), `spread`
(layers dealt out over cores), `reach` (which of them a message reaches), `placed` (energy by unit and time of a step),
`more_cores` (what more of them buy), `shown` (which chips reports show, and why), `paper_layers`, `paper_ledger` and
`paper` (the 21 mJ of the SVFormer paper). This package takes plain values and imports neither svformer nor deploy.
"""

from hardware.break_even import SynapseUse, cost_lines, synapse_use
from hardware.chip import Chip
from hardware.chip_files import load_chip, shipped_chips
from hardware.contraction import contract
from hardware.counts import MeanCounts, OpCounts
from hardware.energy import EnergyBreakdown, price
from hardware.errors import ChipError
from hardware.fit import ChipFit, fit
from hardware.geometry import (
    AttentionGeometry,
    ConvGeometry,
    IdentityGeometry,
    PoolGeometry,
    ProductGeometry,
    SparseConvGeometry,
)
from hardware.models import ChipTime, EnergyModel, energy_models
from hardware.op_counts import (
    count_accesses,
    count_attention,
    count_biases,
    count_comparisons,
    count_connection,
    count_gains,
    count_messages,
    count_multiplications,
    count_neurons,
    count_operation,
    count_parameter_reads,
    count_product,
    count_relays,
    count_state_accesses,
    count_traffic,
    expected_ops,
)
from hardware.placement import Placement, place
from hardware.resources import Incoming, LayerResources
from hardware.traffic import Traffic, traffic

__all__ = [
    "AttentionGeometry",
    "Chip",
    "ChipError",
    "ChipFit",
    "ChipTime",
    "ConvGeometry",
    "EnergyBreakdown",
    "EnergyModel",
    "IdentityGeometry",
    "Incoming",
    "LayerResources",
    "MeanCounts",
    "OpCounts",
    "Placement",
    "PoolGeometry",
    "ProductGeometry",
    "SparseConvGeometry",
    "SynapseUse",
    "Traffic",
    "contract",
    "cost_lines",
    "count_accesses",
    "count_attention",
    "count_biases",
    "count_comparisons",
    "count_connection",
    "count_gains",
    "count_messages",
    "count_multiplications",
    "count_neurons",
    "count_operation",
    "count_parameter_reads",
    "count_product",
    "count_relays",
    "count_state_accesses",
    "count_traffic",
    "energy_models",
    "expected_ops",
    "fit",
    "load_chip",
    "place",
    "price",
    "shipped_chips",
    "synapse_use",
    "traffic",
]
