"""A network ready to run: every level of it, and what was computed on the way, once."""

from dataclasses import dataclass, replace
from functools import cached_property

import nir

from deploy.clips.source import InputFormat, input_format
from deploy.costs.resources import layer_resources
from deploy.gates.fidelity import Fidelity
from deploy.ir.integer import IntNetwork
from deploy.ir.intervals import Headroom
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.network import Network
from deploy.ir.plan import Plan
from deploy.passes.defaults import Form
from deploy.tuning.outcome import Tuned
from hardware import LayerResources


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A network ready to run, as `deploy.pipeline.deploy` makes it.

    Attributes:
        unmerged: The network as it was read from the graph, one population for a node.
        network: The lowered network, in real numbers.
        integer: What it was quantised to, in the form in which it is run.
        fused: The same before the chip form; `integer` itself where it has none.
        plan: When every population of the integer network sees each frame.
        headroom: How full every register can get.
        classes: Names of the classes, where the graph says them.
        calibration_clips: How many clips the scales were chosen on; 0 for integers of a file.
        weight_bits: The width that was asked for, sign included.
        fixed_point: What rounding costs every layer and the predictions, on the calibration clips; None: not measured.
        form: "fused", or "chip" (`deploy.passes.chip_form`).
        tuned: What training in integers came to; None: there was none.
    """

    graph: nir.NIRGraph
    unmerged: Network
    network: Network
    integer: IntNetwork
    fused: IntNetwork
    plan: Plan
    headroom: list[Headroom]
    classes: tuple[str, ...]
    calibration_clips: int
    weight_bits: int = WEIGHT_BITS
    fixed_point: Fidelity | None = None
    form: Form = "fused"
    tuned: Tuned | None = None

    @property
    def spiking(self) -> list[str]:
        """Names of the neuron layers, in order of execution."""
        return self.integer.neuron_layers

    def lasting(self, frames: int) -> "Deployment":
        """The same for clips of fewer time steps."""
        if frames == self.plan.frames:
            return self
        integer = self.integer.lasting(frames)
        fused = integer if self.fused is self.integer else self.fused.lasting(frames)
        return replace(self, integer=integer, fused=fused, plan=self.plan.lasting(integer))

    @cached_property
    def input_format(self) -> InputFormat:
        """What clips the network takes."""
        return input_format(self.graph, self.network.frames)

    @cached_property
    def resources(self) -> list[LayerResources]:
        """What every layer asks of a chip's cores."""
        return layer_resources(self.integer, self.plan)
