"""From a NIR graph to spikes on Lava, checked bit for bit after every step: see `deploy.stages`."""

from deploy.ir.graph import read_nir, write_nir
from deploy.lowering import LoweringStep, lower, lowering_steps
from deploy.stages import Simulation, quantize, simulate

__all__ = [
    "LoweringStep",
    "Simulation",
    "lower",
    "lowering_steps",
    "quantize",
    "read_nir",
    "simulate",
    "write_nir",
]
