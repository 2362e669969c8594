"""From a NIR graph to spikes on Lava, checked bit for bit after every step: see `deploy.stages`."""

from typing import TYPE_CHECKING

from svformer.lazy import exported

if TYPE_CHECKING:
    from deploy.ir.graph import read_nir, write_nir
    from deploy.lowering import LoweringStep, lower, lowering_steps
    from deploy.stages import Simulation, quantize, simulate
else:
    __getattr__ = exported(
        __name__,
        {
            "deploy.ir.graph": ("read_nir", "write_nir"),
            "deploy.lowering": ("LoweringStep", "lower", "lowering_steps"),
            "deploy.stages": ("Simulation", "quantize", "simulate"),
        },
    )

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
