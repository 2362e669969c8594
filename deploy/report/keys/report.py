"""report.json: of an estimate, and of a run, which is an estimate and what was found."""

from dataclasses import dataclass, field
from typing import Literal

from deploy.ir.model import SVFORMER
from deploy.report.keys.energy import EnergySummary
from deploy.report.keys.network import FilledRegister, FittedChip, MappedPart, NetworkSummary, PlanSummary
from deploy.report.keys.placed import PlacedSummary
from deploy.report.keys.run import (
    AccuracySummary,
    CalibrationPredictions,
    ClipSummary,
    FixedPointLayer,
    LayerSummary,
    Parity,
    ReferenceSummary,
    Timing,
)
from deploy.report.keys.stored import Stored
from hardware.counts import MeanCounts
from hardware.keys import key, optional_key
from svformer.common.provenance import Provenance

SCHEMA: Literal["svformer-run/1"] = "svformer-run/1"


@dataclass(frozen=True, kw_only=True)
class Estimate(Stored):
    """What is known before anything runs: `run_lava.py --estimate`."""

    schema: Literal["svformer-run/1"] = field(default=SCHEMA, metadata=key("name of this form of file"))
    network: NetworkSummary = field(metadata=key("what was deployed"))
    plan: PlanSummary = field(metadata=key("when every population sees each frame"))
    mapping: tuple[MappedPart, ...] = field(metadata=key("what holds each part on Loihi 2"))
    headroom: tuple[FilledRegister, ...] = field(metadata=key("how full every register can be, whatever the input"))
    fit: dict[str, FittedChip] = field(metadata=key("by chip with published limits: cores, chips, obstacles"))
    placed: dict[str, PlacedSummary] = field(
        metadata=key("by chip with times: events, energy and time of the network on its cores")
    )
    fixed_point: tuple[FixedPointLayer, ...] = field(
        metadata=key("what fixed point costs every layer, on the calibration clips")
    )
    kept_predictions: CalibrationPredictions | None = field(
        metadata=key("how many predictions rounding keeps, on the calibration clips; null: not measured")
    )
    provenance: Provenance = field(metadata=key("what ran, where and when"))

    @property
    def is_svformer(self) -> bool:
        """Whether the SVFormer paper's figures can stand beside this network's."""
        return self.network.name == SVFORMER


@dataclass(frozen=True, kw_only=True)
class Report(Estimate):
    """A run: what was known before it, and what it found. Counts and energies are those of the mean clip."""

    backend: str = field(metadata=key("what the deployed network ran on: lava, torch or integer"))
    kept_clips: int = field(metadata=key("clips, the first ones, whose spikes are in spikes.h5 (`--keep-clips`)"))
    clips: tuple[ClipSummary, ...] = field(metadata=key("every clip, in order"))
    accuracy: AccuracySummary = field(metadata=key("share of right videos"))
    parity: Parity = field(metadata=key("how the executions agree"))
    layers: tuple[LayerSummary, ...] = field(metadata=key("every population, in order of execution"))
    totals: MeanCounts = field(metadata=key("counts of all layers"))
    readout: MeanCounts = field(metadata=key("counts of the layers behind the last neurons"))
    by_step: dict[str, dict[str, tuple[int | float, ...]]] = field(
        metadata=key("by population and kind of operation: counts of every time step; what never occurs is left out")
    )
    energy: EnergySummary = field(metadata=key("what a clip costs"))
    timing: Timing = field(metadata=key("how long the run took"))
    reference: ReferenceSummary | None = field(
        default=None, metadata=optional_key("spikes of another simulator beside those of this run (`--reference`)")
    )
    checksums: dict[str, str] | None = field(
        default=None, metadata=optional_key("by file: SHA-256 of the network, and of the clips whose spikes are kept")
    )
