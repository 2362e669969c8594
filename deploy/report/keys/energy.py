"""What a clip costs: cost models, the paper's ledger, break-even, and what deployment adds."""

from dataclasses import dataclass, field

from hardware.break_even import CostLines, JudgedLimit, SynapseUse
from hardware.keys import key
from hardware.models import EnergyModel
from hardware.operating_point import OperatingPoint
from hardware.paper_ledger import LedgerRow


@dataclass(frozen=True, kw_only=True)
class AtPaperGeometry:
    """The paper's network at the firing rates that were counted here."""

    mj: float = field(metadata=key("weighted layers, one view", "mJ"))
    mj_without_spikes: float = field(metadata=key("the same if no neuron fired: what no rate changes", "mJ"))
    mj_at_every_step: float = field(metadata=key("the same if every neuron fired at every time step", "mJ"))
    mj_15_views: float = field(metadata=key("fifteen views", "mJ"))


@dataclass(frozen=True, kw_only=True)
class PaperComparison:
    """The paper's ledger beside that of this run."""

    ledger: tuple[LedgerRow, ...] = field(metadata=key("term by term, with the running sums"))
    recomputed_mj: float = field(metadata=key("weighted layers by the paper's published rates, one view", "mJ"))
    accuracy: dict[str, float] = field(metadata=key("by number of views: top-1 of the paper", "%"))
    views: dict[str, float] = field(metadata=key("by number of views: weighted layers of this network", "mJ"))
    at_its_geometry: AtPaperGeometry | None = field(
        metadata=key("the paper's network at the rates counted here; null: the layers have other names")
    )


@dataclass(frozen=True, kw_only=True)
class BreakEven(SynapseUse):
    """At which rate spikes pay."""

    published: tuple[JudgedLimit, ...] = field(metadata=key("published limits, and what they mean for this clip"))
    models: dict[str, CostLines] = field(metadata=key("by chip: what its figures mean for this clip"))


@dataclass(frozen=True, kw_only=True)
class BillEntry:
    """One thing that deployment adds to the operations that papers count, as deployed or as it could be."""

    item: str = field(metadata=key("what is added"))
    choice: str = field(metadata=key("how it is done"))
    deployed: bool = field(metadata=key("whether this is what was deployed"))
    counts: dict[str, int] = field(metadata=key("by kind of operation: how many, zeros left out", "operations"))
    memory_kib: float = field(metadata=key("stored for it", "KiB"))
    mj: dict[str, float | None] = field(metadata=key("by chip: energy; null: no figure for any of it", "mJ"))


@dataclass(frozen=True, kw_only=True)
class EnergySummary:
    """Energy of the mean clip on every chip, beside the paper's figure."""

    models: dict[str, EnergyModel] = field(metadata=key("by chip: what the clip costs there"))
    operating_points: dict[str, OperatingPoint] = field(
        metadata=key("by chip: the clip at the rate of its frames, with time and static energy")
    )
    convention: str = field(metadata=key("the chip whose figures papers use"))
    paper_mj_per_video: float = field(metadata=key("the figure of the SVFormer paper", "mJ"))
    ratio_to_paper: float = field(
        metadata=key("weighted layers at the convention, all views of a video, as a share of that figure")
    )
    geometry_difference: str = field(metadata=key("how far the network is from the paper's, in words"))
    paper: PaperComparison = field(metadata=key("the paper's ledger beside that of this run"))
    break_even: BreakEven | None = field(metadata=key("at which rate spikes pay; null: no synapse behind a neuron"))
    bill: tuple[BillEntry, ...] = field(metadata=key("what deployment adds"))
