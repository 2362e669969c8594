"""NIR's neurons, integrators and thresholds as one equation in discrete time: one Euler step of dt for every frame.

    u <- u + dt / tau_syn (w_in x - u)     without a synaptic time constant: u = x
    v <- v + dt / tau (leak - v + r u)     without a leak (IF, I): v <- v + dt r u
    a spike when v > threshold, then v <- reset; without a threshold (LI, I, CubaLI) v itself is sent

Before the first frame a neuron is at rest: u = 0, and v where it stays without input (v_leak; v_reset for IF; 0 for
I), as norse and SpikingJelly begin, too. A Threshold has no state: v = x.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.loops import STATEFUL

Array = NDArray[np.float64]

NEURONS = (*STATEFUL, nir.Threshold)
SPIKING = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)
FLOAT32_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Equation:
    """Parameters of a layer, each of the layer's shape; see above. Rates are dt / tau, or dt alone without a leak."""

    rate: Array
    r: Array
    rest: Array
    leak: Array | None = None
    threshold: Array | None = None
    reset: Array | None = None
    synapse: tuple[Array, Array] | None = None  # dt / tau_syn, w_in


def equation(node: nir.NIRNode, dt_s: float) -> Equation:
    """The equation of one of `NEURONS`."""
    p = {name: np.asarray(v, dtype=np.float64) for name, v in vars(node).items() if isinstance(v, np.ndarray)}
    if isinstance(node, nir.Threshold):
        one, zero = np.ones_like(p["threshold"]), np.zeros_like(p["threshold"])
        return Equation(rate=one, r=one, leak=zero, rest=zero, threshold=p["threshold"], reset=zero)
    threshold, reset, leak = p.get("v_threshold"), p.get("v_reset"), p.get("v_leak")
    if leak is None:  # IF and I
        rest = np.zeros_like(p["r"]) if reset is None else reset
        return Equation(rate=np.full_like(p["r"], dt_s), r=p["r"], rest=rest, threshold=threshold, reset=reset)
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    return Equation(
        rate=_rate(dt_s, p["tau_mem" if cuba else "tau"]),
        r=p["r"],
        rest=leak,
        leak=leak,
        threshold=threshold,
        reset=reset,
        synapse=(_rate(dt_s, p["tau_syn"]), p["w_in"]) if cuba else None,
    )


def _rate(dt_s: float, tau_s: Array) -> Array:
    """The share dt / tau; a tau of one time step is one, also when it went through float32."""
    rate = dt_s / tau_s
    return np.where(np.abs(rate - 1) < FLOAT32_ROUNDING, 1.0, rate)


class Layer:
    """Neurons of one layer while they run, for a batch of clips."""

    def __init__(self, eq: Equation, clips: int) -> None:
        self.equation = eq
        self.u: Array = np.zeros((clips, *eq.r.shape))
        self.v: Array = np.broadcast_to(eq.rest, self.u.shape)

    def step(self, x_N: Array) -> Array:
        """What the layer sends in the next time step when it receives x: spikes (0 or 1), or its potentials."""
        eq = self.equation
        if eq.synapse is None:
            self.u = x_N
        else:
            rate, w_in = eq.synapse
            self.u = self.u + rate * (w_in * x_N - self.u)
        drive = eq.r * self.u if eq.leak is None else eq.leak - self.v + eq.r * self.u
        self.v = self.v + eq.rate * drive
        if eq.threshold is None or eq.reset is None:
            return self.v
        spikes = self.v > eq.threshold
        self.v = np.where(spikes, eq.reset, self.v)
        return spikes.astype(np.float64)


def run_layer(eq: Equation, x_NT: Array) -> Array:
    """What a layer sends over a whole clip, from rest."""
    layer, sent = Layer(eq, len(x_NT)), np.zeros_like(x_NT)
    for t in range(x_NT.shape[1]):
        sent[:, t] = layer.step(x_NT[:, t])
    return sent
