"""From a NIR graph to spikes on Lava, checked bit for bit after every step.

`run(Request(..))` does what `run_lava.py` does, and `draft` stops on the way; `read_nir`, `lower`, `quantize` and
`simulate` are its steps.
"""

from typing import TYPE_CHECKING

from svformer.common.lazy import exported

if TYPE_CHECKING:
    from deploy.execution.simulate import Simulation, simulate
    from deploy.frontend.traced.levels import Levels
    from deploy.frontend.traced.neuron import Neuron
    from deploy.importing import Imported, from_torch
    from deploy.ir.graph import read_nir, write_nir
    from deploy.passes.lowering import LoweringStep, lower, lowering_steps
    from deploy.pipeline import quantize
    from deploy.request import Request
    from deploy.session import Outcome, draft, run, why
else:
    __getattr__ = exported(
        __name__,
        {
            "deploy.ir.graph": ("read_nir", "write_nir"),
            "deploy.passes.lowering": ("LoweringStep", "lower", "lowering_steps"),
            "deploy.execution.simulate": ("Simulation", "simulate"),
            "deploy.frontend.traced.levels": ("Levels",),
            "deploy.frontend.traced.neuron": ("Neuron",),
            "deploy.importing": ("Imported", "from_torch"),
            "deploy.pipeline": ("quantize",),
            "deploy.request": ("Request",),
            "deploy.session": ("Outcome", "draft", "run", "why"),
        },
    )

__all__ = [
    "Imported",
    "Levels",
    "LoweringStep",
    "Neuron",
    "Outcome",
    "Request",
    "Simulation",
    "draft",
    "from_torch",
    "lower",
    "lowering_steps",
    "quantize",
    "read_nir",
    "run",
    "simulate",
    "why",
    "write_nir",
]
