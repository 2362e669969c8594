"""NIR's neuron equation -> the membranes that the network has, exactly.

The network's spiking neurons have a threshold, a bias and a leak, and reset to 0. So potentials are counted from
v_reset, in units of what one unit of input adds; a leak potential becomes a bias, a resting potential other than
v_reset the potential that a clip begins with. Integrators send their potential and keep its unit; their gain stands
in front of them.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from deploy.ir.neurons import Equation
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array, Shape
from deploy.passes.ties import threshold_in_unit
from hardware.geometry import ConvGeometry

NEVER = "such a neuron would fire without input, or never"


class Scaled(TypedDict):
    """What multiplies a signal value by value: an operation, and a gain where a channel has several factors."""

    operation: Convolution | Identity
    gain: Array | None


@dataclass(frozen=True, kw_only=True)
class MappedMembrane:
    """A population, and the gain (of the layer's shape) that its input passes first."""

    population: Lif | Integrator
    gain: Array


def membrane_of(eq: Equation, shape: Shape, dt_s: float) -> MappedMembrane:
    """Map an equation for a population of this shape; raises `ValueError` for what has no counterpart."""
    gain, current_decay = eq.rate * eq.r, None
    if eq.leak is not None:
        _check_rate(
            eq.rate if eq.leaks is None else eq.rate[eq.leaks], dt_s, "tau" if eq.synapse is None else "tau_mem"
        )
    if eq.synapse is not None:
        synaptic_rate, w_in = eq.synapse
        _check_rate(synaptic_rate, dt_s, "tau_syn")
        gain, current_decay = gain * synaptic_rate * w_in, compact(synaptic_rate, shape)
    if eq.threshold is None or eq.reset is None:
        return _integrator(eq, gain, current_decay, shape)
    unit = np.where(gain == 0, 1.0, np.abs(gain))
    reach = threshold_in_unit(eq.threshold, eq.reset, unit, lambda x: _added(eq, x))
    fires = ~np.isposinf(reach)  # what never does hears nothing, and its threshold is the lowest of the others
    lowest = np.min(reach, where=fires, initial=np.inf) if fires.any() else 1.0
    threshold, offset = _threshold(eq, np.where(fires, reach, lowest))
    leak = np.zeros_like(unit) if eq.leak is None else _decay(eq) * (eq.leak - eq.reset) / unit
    lif = Lif(
        shape=shape,
        bias=compact(fires * (leak + offset), shape),
        decay=compact(_decay(eq), shape),
        threshold=compact(threshold, shape),
        current_decay=current_decay,
        start=_start(fires * (eq.rest - eq.reset) / unit, shape),
        subtract=None if eq.subtract is None else compact(np.where(fires, eq.subtract / unit, lowest), shape),
    )
    return MappedMembrane(population=lif, gain=(fires * np.sign(gain)).reshape(shape))


def _added(eq: Equation, x: Array) -> Array:
    """What an input adds to the potential in the time step behind a reset, where nothing else drives it; every product
    is rounded as in the equation itself. The sign of gains is left to the weights.
    """
    rate, weight = (1.0, 1.0) if eq.synapse is None else eq.synapse
    added: Array = eq.rate * (np.abs(eq.r) * (rate * (np.abs(weight) * x)))
    return added


def _integrator(eq: Equation, gain: Array, current_decay: Array | None, shape: Shape) -> MappedMembrane:
    leak = np.zeros_like(gain) if eq.leak is None else _decay(eq) * eq.leak
    integrator = Integrator(
        shape=shape,
        bias=compact(leak, shape),
        decay=compact(_decay(eq), shape),
        current_decay=current_decay,
        start=_start(eq.rest, shape),
    )
    return MappedMembrane(population=integrator, gain=gain.reshape(shape))


def _threshold(eq: Equation, threshold: Array) -> tuple[Array, Array]:
    """A positive threshold, and the bias that it needs where it was not: only neurons without memory allow that."""
    if (threshold > 0).all():
        return threshold, np.zeros_like(threshold)
    if eq.leak is None or (eq.rate != 1).any() or eq.synapse is not None or np.any(eq.leak):
        raise ValueError(f"a threshold that is not above the reset potential: {NEVER}")
    offset = np.where(threshold > 0, 0.0, np.where(threshold < 0, -2 * threshold, 1.0))
    return threshold + offset, offset


def _check_rate(rate: Array, dt_s: float, name: str) -> None:
    if (rate <= 0).any():
        steps = f"{name} down to {dt_s / rate[rate < 0].max():.3g} s" if (rate < 0).any() else f"{name} without end"
        raise ValueError(
            f"{steps} ({np.count_nonzero(rate <= 0)} of {rate.size} neurons); allowed: above 0 and finite; a decay "
            "factor above 1 in training makes a negative one: limit it there and export again"
        )
    if (rate > 1).any():
        raise ValueError(
            f"{name} is shorter than one time step of {dt_s:g} s (dt / {name} up to {rate.max():.3g}); check dt"
        )


def _decay(eq: Equation) -> Array:
    if eq.leak is None:
        return np.zeros_like(eq.rate)
    return eq.rate if eq.leaks is None else np.where(eq.leaks, eq.rate, 0.0)


def _start(potential: Array, shape: Shape) -> Array | None:
    return compact(potential, shape) if potential.any() else None


def compact(values: Array, shape: Shape) -> Array:
    """Values that are the same at every pixel of a channel become [C, 1, 1], or [1, 1, 1] if all are."""
    image = values.reshape(shape)
    first = image[:, :1, :1]
    if not (image == first).all():
        return image.astype(np.float64)
    return (first[:1] if (first == first[:1]).all() else first).astype(np.float64)


def scaled(gain: Array, in_shape: Shape) -> Scaled:
    """Multiply a signal by `gain`, value by value: a depthwise 1x1 convolution, or a gain for every pixel."""
    image = gain.reshape(in_shape)
    same = Identity(in_shape=in_shape, out_shape=in_shape)
    if (image == 1).all():
        return Scaled(operation=same, gain=None)
    if (image != image[:, :1, :1]).any():
        return Scaled(operation=same, gain=image[np.newaxis])
    channels = in_shape[0]
    geometry = ConvGeometry(in_shape=in_shape, out_channels=channels, kernel=(1, 1), groups=channels)
    weight = np.ascontiguousarray(image[:, :1, :1])[:, :, :, np.newaxis]
    return Scaled(operation=Convolution(weight=weight, geometry=geometry), gain=None)
