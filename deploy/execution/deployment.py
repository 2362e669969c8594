"""A network ready to run."""

from dataclasses import dataclass, field

import nir

from deploy.clips.source import InputFormat, input_format
from deploy.gates.fidelity import LayerFidelity
from deploy.ir.integer import IntLif, IntNetwork
from deploy.ir.network import Network
from deploy.ir.plan import Plan
from deploy.passes.bounds import Headroom


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A network ready to run: every level of it, and what was proven on the way."""

    graph: nir.NIRGraph
    network: Network
    integer: IntNetwork
    plan: Plan
    headroom: list[Headroom]
    classes: tuple[str, ...]
    calibration_clips: int
    fixed_point: list[LayerFidelity] = field(default_factory=list)  # of every layer, on the calibration clips

    @property
    def spiking(self) -> list[str]:
        """Names of the neuron layers, in order of execution."""
        return [name for name, p in self.integer.populations.items() if isinstance(p, IntLif)]

    @property
    def input_format(self) -> InputFormat:
        return input_format(self.graph, self.network.frames)
