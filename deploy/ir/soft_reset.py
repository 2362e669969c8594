"""A NIR node for neurons that are reset by subtraction; its specification is docs/nir_extensions.md."""

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from deploy.ir.types import Array

PARAMETERS = ("tau", "r", "v_leak", "v_threshold", "v_subtract")
CURRENT = ("tau_syn", "w_in")


@dataclass(eq=False)
class SubtractLIF(nir.NIRNode):
    """NIR's LIF, or CubaLIF where it has `tau_syn` and `w_in`; but a spike takes `v_subtract` off the potential.

        u <- u + dt / tau_syn (w_in x - u)      without `tau_syn`: u = x
        v <- v + dt / tau (v_leak - v + r u)
        a spike when v > v_threshold, then v <- v - v_subtract

    `v_subtract` stands apart from the threshold, which may be a hair below it (a neuron that fires at `v >= 1`), and
    since a reset one time step late, behind the decay, subtracts `v_threshold / (1 - dt / tau)` here. A `tau` without
    end is a neuron that does not leak. Metadata that say a dialect change nothing of it.
    """

    tau: Array
    r: Array
    v_leak: Array
    v_threshold: Array
    v_subtract: Array
    tau_syn: Array | None = None
    w_in: Array | None = None
    version: int = 1

    def __post_init__(self) -> None:
        if (self.tau_syn is None) != (self.w_in is None):
            raise ValueError("SubtractLIF: tau_syn and w_in come together, or not at all")
        shapes = {name: np.shape(getattr(self, name)) for name in self.parameters}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"SubtractLIF: parameters of different shapes: {shapes}")
        if not (np.asarray(self.v_subtract) > 0).all():
            raise ValueError(f"SubtractLIF: v_subtract down to {np.min(self.v_subtract):g}; allowed: above 0")
        self.input_type = {"input": np.array(shapes["tau"])}
        self.output_type = {"output": np.array(shapes["tau"])}

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the fields that hold a value for every neuron."""
        return PARAMETERS if self.tau_syn is None else (*PARAMETERS, *CURRENT)

    def to_dict(self) -> dict[str, Any]:
        """The fields for a file, which holds no None."""
        return {name: value for name, value in super().to_dict().items() if value is not None}
