"""From a NIR graph to spikes on Lava, checked bit for bit after every step: see `deploy.stages`."""

from deploy.ir.graph import read_nir, write_nir
from deploy.stages import Simulation, lower, quantize, simulate

__all__ = ["Simulation", "lower", "quantize", "read_nir", "simulate", "write_nir"]
