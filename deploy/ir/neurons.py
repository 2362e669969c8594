"""NIR's neurons, integrators and thresholds as one equation in discrete time: one Euler step of dt for every frame.

    u <- u + dt / tau_syn (w_in x - u)     without a synaptic time constant: u = x
    v <- v + dt / tau (leak - v + r u)     without a leak (IF, I): v <- v + dt r u
    a spike when v > threshold, then v <- reset; without a threshold (LI, I, CubaLI) v itself is sent

A time constant that is infinite is the limit of the equation: nothing leaks, and v <- v + dt (r / tau) u. Where r is
infinite, too, one unit of input adds what it adds in the other neurons of the layer, if it is the same in all of them,
else 1: frameworks that count in time steps write tau = dt / (1 - beta) and r = tau / dt, and beta is 1. A threshold
that is infinite is never reached.

`deploy.ir.dialects` says what other frameworks mean by the same file. In place of the reset a SubtractLIF has what a
spike takes off the potential.

Before the first frame a neuron is at rest: u = 0, and v where it stays without input (v_leak; v_reset for IF; 0 for
I), as norse and SpikingJelly begin, too. A Threshold has no state: v = x.
"""

from dataclasses import dataclass, replace

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.ir.dialects import NIR, Dialect
from deploy.ir.loops import STATEFUL
from deploy.ir.soft_reset import SubtractLIF

Array = NDArray[np.float64]

NEURONS = (*STATEFUL, nir.Threshold)
SPIKING = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold, SubtractLIF)
SAY_ALL = (nir.Threshold, SubtractLIF)  # nodes that leave nothing to a dialect
FLOAT32_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Equation:
    """Parameters of a layer, each of the layer's shape; see above. Rates are dt / tau, or dt alone without a leak."""

    rate: Array
    r: Array
    rest: Array
    leak: Array | None = None
    leaks: NDArray[np.bool_] | None = None  # which neurons do; None: all, where there is a leak
    threshold: Array | None = None
    reset: Array | None = None
    synapse: tuple[Array, Array] | None = None  # dt / tau_syn, w_in
    subtract: Array | None = None  # what a spike takes off the potential, in place of the reset


def equation(node: nir.NIRNode, dt_s: float, dialect: Dialect = NIR) -> Equation:
    """The equation of one of `NEURONS`, as the files of a dialect mean it.

    Raises `ValueError` where a late reset has no time step to come in.
    """
    eq = _equation(node, dt_s)
    return eq if isinstance(node, SAY_ALL) else _meant(eq, dialect)


def _meant(eq: Equation, dialect: Dialect) -> Equation:
    """The equation by a dialect: rates of an exact decay, the start, and what a reset subtracts."""
    leaks = eq.leak is not None
    kept = np.zeros_like(eq.rate) if not leaks else eq.rate if eq.leaks is None else np.where(eq.leaks, eq.rate, 0.0)
    if leaks and dialect.decay != "euler":
        rate = np.where(kept > 0, -np.expm1(-kept), eq.rate)
        factor = eq.rate / rate if dialect.decay == "leak" else np.ones_like(rate)
        eq, kept = replace(eq, rate=rate, r=eq.r * factor), np.where(kept > 0, rate, 0.0)
    if eq.synapse is not None and dialect.decay != "euler":
        slow, w_in = eq.synapse
        fast = -np.expm1(-slow)
        eq = replace(eq, synapse=(fast, w_in * slow / fast if dialect.decay == "leak" else w_in))
    if dialect.start == "zero":
        eq = replace(eq, rest=np.zeros_like(eq.rest))
    if eq.threshold is None or dialect.reset == "value":
        return eq
    if dialect.reset == "subtract":
        return replace(eq, subtract=eq.threshold)
    if (kept >= 1).any():
        raise ValueError("a reset a time step late, when nothing is left of the potential; allowed: reset subtract")
    return replace(eq, subtract=eq.threshold / (1 - kept))


def _equation(node: nir.NIRNode, dt_s: float) -> Equation:
    p = {name: np.asarray(v, dtype=np.float64) for name, v in vars(node).items() if isinstance(v, np.ndarray)}
    if isinstance(node, nir.Threshold):
        one, zero = np.ones_like(p["threshold"]), np.zeros_like(p["threshold"])
        return Equation(rate=one, r=one, leak=zero, rest=zero, threshold=p["threshold"], reset=zero)
    threshold, reset, leak = p.get("v_threshold"), p.get("v_reset"), p.get("v_leak")
    if leak is None:  # IF and I
        rest = np.zeros_like(p["r"]) if reset is None else reset
        return Equation(rate=np.full_like(p["r"], dt_s), r=p["r"], rest=rest, threshold=threshold, reset=reset)
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    tau = p["tau_mem" if cuba else "tau"]
    leaks = ~np.isposinf(tau)
    return Equation(
        rate=np.where(leaks, _rate(dt_s, tau), dt_s),
        r=p["r"] if leaks.all() else np.where(leaks, p["r"], _slope(tau, p["r"], dt_s)),
        rest=leak,
        leak=leak,
        leaks=None if leaks.all() else leaks,
        threshold=threshold,
        reset=np.zeros_like(threshold) if isinstance(node, SubtractLIF) else reset,
        synapse=(_rate(dt_s, p["tau_syn"]), p["w_in"]) if "tau_syn" in p else None,
        subtract=p.get("v_subtract"),
    )


def _slope(tau_s: Array, r: Array, dt_s: float) -> Array:
    """What r / tau is where tau is infinite: 0, but for an r that is infinite, too."""
    finite = np.isfinite(tau_s) & np.isfinite(r) & (tau_s != 0)
    slopes = r[finite] / tau_s[finite]
    alike = slopes.size and np.allclose(slopes, slopes.flat[0], rtol=FLOAT32_ROUNDING)
    return np.where(np.isinf(r), np.sign(r) * (abs(slopes.flat[0]) if alike else 1 / dt_s), 0.0)


def endless(node: nir.NIRNode) -> dict[str, NDArray[np.bool_]]:
    """Parameters of neurons that may be infinite, and in which of them: time constants and thresholds."""
    tau = next((getattr(node, name) for name in ("tau", "tau_mem") if hasattr(node, name)), None)
    found = {name: np.isposinf(getattr(node, name)) for name in ("v_threshold", "threshold") if hasattr(node, name)}
    if tau is not None:
        forever = np.isposinf(tau)
        found |= {"tau_mem" if hasattr(node, "tau_mem") else "tau": forever, "r": forever & np.isinf(node.r)}
    return found


def endless_notes(node: nir.NIRNode) -> list[str]:
    """What infinite parameters of a layer mean."""
    found, said = endless(node), []
    forever = found.get("tau", found.get("tau_mem"))
    if forever is not None and forever.any():
        deaf = forever & np.isfinite(node.r)
        said.append(f"{_many(forever)} have an infinite time constant and do not leak")
        if deaf.any():
            said.append(f"{_many(deaf)} have an infinite time constant and a finite r: no input moves them")
    never = found.get("v_threshold", found.get("threshold"))
    if never is not None and never.any():
        said.append(f"{_many(never)} have an infinite threshold and never fire; an LI would send its potential")
    return said


def _many(mask: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(mask)} of {mask.size} neurons"


def _rate(dt_s: float, tau_s: Array) -> Array:
    """The share dt / tau; a tau of one time step is one, also when it went through float32."""
    with np.errstate(divide="ignore"):  # a tau of 0 is refused later, by name
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
        self.charge(x_N)
        if eq.threshold is None or eq.reset is None:
            return self.v
        spikes = self.v > eq.threshold
        self.reset(spikes)
        return spikes.astype(np.float64)

    def reset(self, fired: NDArray[np.bool_]) -> None:
        """What a spike does to the potentials of the neurons that fired."""
        eq = self.equation
        assert eq.reset is not None, "only neurons that fire are reset"
        self.v = np.where(fired, eq.reset if eq.subtract is None else self.v - eq.subtract, self.v)

    def charge(self, x_N: Array) -> Array:
        """The potentials of the next time step when the layer receives x, before what has to fire fires."""
        eq = self.equation
        if eq.synapse is None:
            self.u = x_N
        else:
            rate, w_in = eq.synapse
            self.u = self.u + rate * (w_in * x_N - self.u)
        self.v = self.v + eq.rate * self._drive(eq)
        return self.v

    def _drive(self, eq: Equation) -> Array:
        if eq.leak is None:
            return eq.r * self.u
        if eq.leaks is None:
            return eq.leak - self.v + eq.r * self.u
        return np.where(eq.leaks, eq.leak - self.v, 0.0) + eq.r * self.u


def run_layer(eq: Equation, x_NT: Array) -> Array:
    """What a layer sends over a whole clip, from rest."""
    layer, sent = Layer(eq, len(x_NT)), np.zeros_like(x_NT)
    for t in range(x_NT.shape[1]):
        sent[:, t] = layer.step(x_NT[:, t])
    return sent


def run_potentials(eq: Equation, x_NT: Array, spikes_NT: Array) -> Array:
    """The potentials of a layer over a whole clip, from rest, as they are compared with the threshold, where it fires
    these spikes: a neuron is reset where it fired, whatever its potential was.
    """
    layer, seen = Layer(eq, len(x_NT)), np.zeros_like(x_NT)
    for t in range(x_NT.shape[1]):
        seen[:, t] = layer.charge(x_NT[:, t])
        if eq.threshold is not None:
            layer.reset(spikes_NT[:, t] != 0)
    return seen
