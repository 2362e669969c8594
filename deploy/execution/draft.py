"""A deployment that is being made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nir

from deploy.clips.source import ClipSource
from deploy.exchange.integers import holds_integers
from deploy.execution.deployment import Deployment
from deploy.execution.memory import clips_at_once
from deploy.gates.fidelity import Fidelity
from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import Headroom
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.model import class_names
from deploy.ir.network import Network
from deploy.ir.plan import Plan
from deploy.ir.types import Frames
from deploy.passes.calibrate import Calibration
from deploy.passes.chain_choice import Merge
from deploy.passes.defaults import Form
from deploy.passes.lowering import LoweringStep
from deploy.tuning.outcome import Tuned, TuningOptions


@dataclass(frozen=True, kw_only=True)
class Known:
    """What takes long to find out of a network: firing rates, the integers, and what rounding changed."""

    rates: dict[str, float]
    integer: IntNetwork
    fixed_point: Fidelity
    tuned: Tuned | None = None


@dataclass(kw_only=True)
class Draft:
    """A deployment that is being made: what is given, and what the steps so far have added.

    Attributes:
        graph: What is deployed.
        clips: Calibration clips, [N, T, *input shape].
        input_range: What an input value can be (None: what these clips show); the rest is clipped.
        weight_bits: Width of a weight, sign included.
        fine_layers: How many of the first layers have their weights held by two synapses each.
        merge: What decides about chains of convolutions (`deploy.passes.merge_linear_chains`).
        search: Whether the best of several scales is searched, or the first that fits is taken.
        tuning: How weights and biases are trained in integers; None: they stay as they were rounded.
        examples: Clips that they are trained on: on disk, or frames as `clips`.
        form: Whether attention and biases of relays stay as they are ("fused") or become what a Loihi 2 holds.
        max_cores: Cores of Loihi 2 that the network may take; None: any number.
        for_netx: Whether it is written as a file for lava-dl's netx, which stores no exponents of weights and biases.
        known: What an earlier run has made of the same (`deploy.execution.cached`); None: it is made here.
        unfinished: File that holds a tuning while it goes on, and where one that was stopped is found; None: none.
    """

    graph: nir.NIRGraph
    clips: Frames
    input_range: tuple[float, float] | None = None
    weight_bits: int = WEIGHT_BITS
    fine_layers: int = 0
    merge: Merge
    search: bool = True
    tuning: TuningOptions | None = None
    examples: Sequence[ClipSource] | Frames = ()
    form: Form = "fused"
    max_cores: int | None = None
    for_netx: bool = False
    known: Known | None = None
    unfinished: Path | None = None

    unmerged: Network = field(init=False)
    rates: dict[str, float] = field(init=False)
    lowered: list[LoweringStep] = field(init=False)
    calibration: Calibration = field(init=False)
    integer: IntNetwork = field(init=False)
    tuned: Tuned | None = None
    fused: IntNetwork = field(init=False)
    headroom: list[Headroom] = field(init=False)
    fixed_point: Fidelity = field(init=False)
    plan: Plan = field(init=False)

    @property
    def network(self) -> Network:
        """The lowered network."""
        return self.lowered[-1].network

    @property
    def at_once(self) -> int:
        """Calibration clips that run at the same time, as many as there is memory for."""
        return clips_at_once(self.network, len(self.clips))

    def finished(self) -> Deployment:
        """The deployment, when all steps are done."""
        return Deployment(
            graph=self.graph,
            unmerged=self.unmerged,
            network=self.network,
            integer=self.integer,
            fused=self.fused,
            plan=self.plan,
            headroom=self.headroom,
            classes=class_names(self.graph.metadata),
            calibration_clips=0 if holds_integers(self.graph) else len(self.clips),
            weight_bits=self.weight_bits,
            fixed_point=self.fixed_point,
            tuned=self.tuned,
            form=self.form,
        )
