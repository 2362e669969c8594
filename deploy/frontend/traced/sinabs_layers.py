"""sinabs' layers as neurons: LIF, IAF and ExpLeak, of one spike a time step, and their forms for squeezed tensors.

`i <- alpha_syn (i + x)`, or i = x; `v <- alpha v + (1 - alpha) i` with norm_input, else `+ i`; a spike at v >=
threshold.
"""

from typing import Any

import numpy as np

from deploy.frontend.traced.axes import Refused
from deploy.frontend.traced.neuron import Neuron
from deploy.ir.types import Array

SINGLE = "spike_fn=sinabs.activation.SingleSpike"


def spiking(module: Any) -> Neuron:
    """LIF and IAF."""
    spikes, most = module.spike_fn, getattr(module.spike_fn, "max_num_spikes_per_bin", None)
    name = getattr(spikes, "__name__", type(spikes).__name__)
    if name != "SingleSpike" and most != 1:
        raise Refused(f"spike_fn={name} sends several spikes in a time step; allowed: {SINGLE}, in training too")
    threshold, reset = _numbers(module.spike_threshold), module.reset_fn
    common = {"threshold": threshold, **_membrane(module)}
    if type(reset).__name__ == "MembraneSubtract":
        taken = threshold if reset.subtract_value is None else _numbers(reset.subtract_value)
        return Neuron(**common, subtract=taken)
    if type(reset).__name__ != "MembraneReset" or reset.reset_value != 0:
        raise Refused(f"reset_fn={reset}; allowed: MembraneSubtract(), or MembraneReset() to 0")
    return Neuron(**common, reset=0.0)


def leaking(module: Any) -> Neuron:
    """ExpLeak, which sends its potential."""
    return Neuron(threshold=None, **_membrane(module))


def _membrane(module: Any) -> dict[str, Any]:
    """Time constants in time steps, and what multiplies the input."""
    if module.min_v_mem is not None:
        raise Refused("min_v_mem, a bound below which no potential falls, is in no node; allowed: min_v_mem=None")
    alpha, fast = _numbers(module.alpha_mem_calculated), module.alpha_syn_calculated
    if np.unique(alpha == 1).size > 1:
        raise Refused("tau_mem is infinite in some neurons and not in others; allowed: one of them in all")
    leaks = bool((alpha != 1).all())
    if module.norm_input and not leaks:
        raise Refused("norm_input where nothing leaks takes all of the input away; allowed: norm_input=False")
    r = 1.0 / (1 - alpha) if leaks and not module.norm_input else np.ones(())
    tau = 1.0 / (1 - alpha) if leaks else None
    if fast is None:
        return {"tau": tau, "r": r, "current": None}
    kept = _numbers(fast)  # the new input decays, too
    return {"tau": tau, "r": r * kept, "current": 1.0 / (1 - kept)}


def _numbers(value: Any) -> Array:
    found = value.detach().double().cpu().numpy() if hasattr(value, "detach") else np.asarray(value, np.float64)
    return np.asarray(found, dtype=np.float64)
