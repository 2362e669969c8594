"""A neuron layer in the words of a model: decay by time step, threshold, reset; and as a node of NIR.

u <- (1 - 1 / current) u + x        without `current`: u = x
v <- v + (leak - v + r u) / tau     without `tau`: v <- v + r u
a spike where v >= threshold (fires_at="threshold") or v > threshold (fires_at="above"), then v <- reset, or
v <- v - subtract; without a threshold v itself is sent
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import nir
import numpy as np
from numpy.typing import ArrayLike

from deploy.frontend.builder import DT_S, tau_of
from deploy.frontend.traced.axes import Refused
from deploy.frontend.traced.draft import Draft
from deploy.ir.soft_reset import SubtractLIF
from deploy.ir.types import Array, Shape
from svformer.common.errors import InputError

Lay = Callable[[Any], Array]  # a parameter of the module, as an image [C, H, W] of the layer


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """A layer of neurons, all alike, or with parameters that broadcast to the layer's tensor without time and batch.

    Before the first time step v is at `leak` (without `tau`: at `reset`) and u at 0. Raises `InputError` for a
    parameter out of its range, and where reset and subtract are both given.
    """

    tau: ArrayLike | None = None  # membrane time constant in time steps, at least 1; None: nothing leaks
    r: ArrayLike = 1.0  # what multiplies the input
    leak: ArrayLike = 0.0  # the potential to which v decays
    threshold: ArrayLike | None = 1.0  # None: an integrator, which sends its potential
    reset: ArrayLike | None = None  # the potential behind a spike; None: 0
    subtract: ArrayLike | None = None  # what a spike takes off the potential in place of the reset
    fires_at: Literal["threshold", "above"] = "threshold"
    current: ArrayLike | None = None  # time constant of the current in time steps, at least 1; None: no memory

    def __post_init__(self) -> None:
        for name in ("tau", "current"):
            if (value := getattr(self, name)) is not None and not (np.asarray(value) >= 1).all():
                raise InputError(f"Neuron: {name} {value}; allowed: 1 or more, in time steps")
        if self.fires_at not in ("threshold", "above"):
            raise InputError(f"Neuron: fires_at {self.fires_at!r}; allowed: 'threshold', 'above'")
        if self.threshold is None and (self.reset is not None or self.subtract is not None):
            raise InputError("Neuron: a reset without a threshold; leave it out, or give one")
        if self.reset is not None and self.subtract is not None:
            raise InputError("Neuron: reset and subtract are both given; choose one")
        values = (getattr(self, field.name) for field in fields(self) if field.name != "fires_at")
        if not all(np.isfinite(np.asarray(value)).all() for value in values if value is not None):
            raise InputError(f"{self}; allowed: finite numbers")

    def require_node(self) -> None:
        """Raise `Refused` where there is no node for such neurons."""
        self.node((1, 1, 1), lambda value: np.asarray(value, dtype=np.float64).ravel()[:1])

    def problem(self, sent: ArrayLike) -> str | None:
        """What a module sends that such neurons do not; None for nothing."""
        values = np.unique(np.asarray(sent, dtype=np.float64))
        if self.threshold is None or set(values.tolist()) <= {0.0, 1.0}:
            return None
        some = ", ".join(f"{value:g}" for value in values[:5].tolist())
        return f"it sends {some}..: neurons of several levels, or none; allowed: spikes, 0 and 1; or say deploy.Levels"

    def layer(self, draft: Draft, name: str, source: str, lay: Lay) -> str:
        """The node of such neurons behind a source."""
        node = self.node(draft.shapes[source], lay)
        return draft.node(name, node, source, spiking=self.threshold is not None, alone=True)

    def node(self, shape: Shape, lay: Lay) -> nir.NIRNode:
        """The NIR node of a layer [C, H, W]; raises `Refused` where there is none."""

        def full(value: ArrayLike) -> Array:
            return np.broadcast_to(lay(value), shape).astype(np.float64)

        if self.threshold is None:
            return self._integrator(full)
        threshold = full(self.threshold)
        if self.fires_at == "threshold":  # NIR fires above it
            threshold = np.nextafter(threshold, -np.inf)
        if self.tau is None and self.current is None and self.subtract is None:
            return nir.IF(
                r=full(self.r) / DT_S, v_threshold=threshold, v_reset=full(0.0 if self.reset is None else self.reset)
            )
        fields: dict[str, Any] = {"v_leak": full(self.leak), "v_threshold": threshold, **self._membrane(full)}
        fields |= self._synapse(full)
        if self.subtract is not None:
            return SubtractLIF(**fields, v_subtract=full(self.subtract))
        fields |= {"v_reset": full(0.0 if self.reset is None else self.reset)}
        if self.current is None:
            return nir.LIF(**fields)
        return nir.CubaLIF(tau_mem=fields.pop("tau"), **fields)

    def _integrator(self, full: Callable[[ArrayLike], Array]) -> nir.NIRNode:
        if self.tau is None and self.current is None:
            return nir.I(r=full(self.r) / DT_S)
        fields: dict[str, Any] = {"v_leak": full(self.leak), **self._membrane(full), **self._synapse(full)}
        if self.current is None:
            return nir.LI(**fields)
        return nir.CubaLI(tau_mem=fields.pop("tau"), **fields)

    def _synapse(self, full: Callable[[ArrayLike], Array]) -> dict[str, Array]:
        if self.current is None:
            return {}
        tau_syn = _seconds(full(self.current))
        return {"tau_syn": tau_syn, "w_in": tau_syn / DT_S}

    def _membrane(self, full: Callable[[ArrayLike], Array]) -> dict[str, Array]:
        """Time constant and resistance; both are infinite where nothing leaks and input is added as it is."""
        if self.tau is not None:
            return {"tau": _seconds(full(self.tau)), "r": full(self.r)}
        if (full(self.r) != 1).any():
            raise Refused("an input that is multiplied where nothing leaks; allowed: r=1, the factor in the weights")
        return {"tau": full(np.inf), "r": full(np.inf)}


def _seconds(steps: Array) -> Array:
    """Time constants in seconds of such in time steps, from which a reader gets back the decay."""
    different, place = np.unique(steps, return_inverse=True)
    return np.array([tau_of(1.0 / tau) for tau in different])[place].reshape(steps.shape)
