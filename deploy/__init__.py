"""From a NIR graph to spikes on Lava, checked bit for bit after every step: see `deploy.execution.simulate`."""

from typing import TYPE_CHECKING

from svformer.common.lazy import exported

if TYPE_CHECKING:
    from deploy.execution.simulate import Simulation, simulate
    from deploy.ir.graph import read_nir, write_nir
    from deploy.passes.lowering import LoweringStep, lower, lowering_steps
    from deploy.pipeline import quantize
else:
    __getattr__ = exported(
        __name__,
        {
            "deploy.ir.graph": ("read_nir", "write_nir"),
            "deploy.passes.lowering": ("LoweringStep", "lower", "lowering_steps"),
            "deploy.execution.simulate": ("Simulation", "simulate"),
            "deploy.pipeline": ("quantize",),
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
