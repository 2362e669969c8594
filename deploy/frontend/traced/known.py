"""Which modules are neurons, and what they are: by the name of their class and its attributes, without their library.

SpikingJelly (activation_based and the older clock_driven), snnTorch, norse, sinabs and our own PLIF are in the table; a
class of the user's own is described by the user.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from deploy.frontend.traced import sinabs_layers
from deploy.frontend.traced.axes import ModelError, Refused
from deploy.frontend.traced.levels import Levels
from deploy.frontend.traced.neuron import Neuron
from deploy.frontend.traced.recurrent import Recurrent, recurrent
from deploy.ir.types import Array

Cells = Neuron | Levels | Recurrent
Describe = Callable[[Any], Cells]
Described = Describe | Cells  # what a user says of a class: a function of its modules, or the same for all of them
# Steps of a call: all, in the first dimension, behind the clips, or in one dimension with them; one; as the input has
# them; any, of neurons without memory.
Time = Literal["all", "second", "with clips", "one", "either", "any"]
OWN = "say what it is: neurons={ItsClass: lambda module: deploy.Neuron(tau=.., threshold=..)}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How modules of a class are read."""

    describe: Describe
    time: Callable[[Any], Time]


def kind_of(module: nn.Module, own: Mapping[type, Described]) -> Kind | None:
    """How to read a module that is a neuron; None for what is none."""
    if (describe := own.get(type(module))) is not None:
        described = _described(type(module), describe)
        return Kind(describe=described, time=lambda m: "any" if isinstance(described(m), Levels) else "either")
    if type(module).__name__ == "MultiSpike":  # in the files of E-SpikeFormer, of no library
        return LEVELS
    if not _is_neuron(type(module)):
        return None
    for kind in type(module).__mro__:
        known = KNOWN.get((_library(kind), kind.__name__))
        if known is not None and not _changed(type(module), kind):
            return known
    return UNKNOWN


def _described(kind: type, own: Any) -> Describe:
    """What the user says of a class, which may be anything; raises `ModelError` for what is no `Described`."""

    def describe(module: Any) -> Cells:
        found = own if isinstance(own, Cells) else own(module)
        if not isinstance(found, Cells):
            what = f"neurons[{kind.__name__}] gives {type(found).__name__}"
            raise ModelError(f"{what}; allowed: deploy.Neuron, deploy.Levels, or a function from a module to one")
        return found

    if not callable(own) and not isinstance(own, Cells):
        what = f"neurons[{kind.__name__}] is {type(own).__name__}"
        raise ModelError(f"{what}; allowed: deploy.Neuron, deploy.Levels, or a function from a module to one")
    return describe


def _library(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _is_neuron(kind: type) -> bool:
    """Whether a class, or one that it is derived from, is among the neurons of a library."""
    return any(
        (library := _library(base)) in NEURONS and NEURONS[library](base) for base in kind.__mro__ if base is not object
    )


def _changed(kind: type, base: type) -> bool:
    """Whether a class between the two says anew how the neuron computes."""
    between = kind.__mro__[: kind.__mro__.index(base)]
    return any(callable(value) for each in between for name, value in vars(each).items() if name not in COSMETIC)


COSMETIC = ("__init__", "extra_repr", "__repr__")
NEURONS: dict[str, Callable[[type], bool]] = {
    "spikingjelly": lambda base: ".neuron" in base.__module__ and issubclass(base, nn.Module),
    "snntorch": lambda base: base.__name__ == "SpikingNeuron",
    "norse": lambda base: base.__name__.startswith("SNN"),
    "sinabs": lambda base: base.__name__ == "StatefulLayer",
    "svformer": lambda base: base.__name__ == "PLIF",
}


def numbers(value: Any) -> Array:
    """A parameter of a module, as numbers."""
    return value.detach().double().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, np.float64)


def _unknown(module: nn.Module) -> Neuron:
    raise Refused(f"neurons of this class are not known; {OWN}")


# ---------------------------------------------------------------- SpikingJelly


def _jelly(module: Any, *, rate: Array | float | None) -> Neuron:
    """`v <- v + rate (x - (v - v_reset))`, or `+ x` without decay_input; a spike at v >= v_threshold."""
    if not getattr(getattr(module, "surrogate_function", None), "spiking", True):
        raise Refused("its surrogate function is not in spiking mode; call set_spiking_mode(True)")
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    threshold = numbers(module.v_threshold)
    neuron = Neuron(threshold=threshold, reset=rest)
    if rate is not None:
        r = 1.0 if getattr(module, "decay_input", True) else 1.0 / rate
        neuron = replace(neuron, tau=1.0 / rate, leak=rest, r=r)
    return neuron if module.v_reset is not None else replace(neuron, reset=None, subtract=threshold)


def _jelly_time(module: Any) -> Time:
    many = getattr(module, "step_mode", "m" if type(module).__name__.startswith("MultiStep") else "s") == "m"
    return "all" if many else "one"


JELLY_IF = Kind(describe=lambda module: _jelly(module, rate=None), time=_jelly_time)
JELLY_LIF = Kind(describe=lambda module: _jelly(module, rate=1.0 / numbers(module.tau)), time=_jelly_time)
JELLY_PLIF = Kind(describe=lambda module: _jelly(module, rate=numbers(module.w.sigmoid())), time=_jelly_time)


# ---------------------------------------------------------------- snnTorch


def _leaky(module: Any) -> Neuron:
    """`v <- beta v + x`, a spike at v > threshold; the reset comes with the next time step unless reset_delay=False."""
    for name, plain in (("inhibition", False), ("state_quant", False), ("surrogate_disable", False)):
        if getattr(module, name, plain):
            raise Refused(f"{name}={getattr(module, name)}, which no node has; use {name}={plain}")
    if (numbers(getattr(module, "graded_spikes_factor", 1.0)) != 1).any():
        raise Refused("graded_spikes_factor other than 1; put the factor into the weights behind it")
    beta, threshold = numbers(module.beta).clip(0, 1), numbers(module.threshold)
    neuron = Neuron(threshold=threshold, fires_at="above", **_kept(beta))
    if module.reset_mechanism == "zero":
        return neuron
    if module.reset_mechanism != "subtract":
        raise Refused(f"reset_mechanism={module.reset_mechanism!r}; allowed: 'zero'")
    if not getattr(module, "reset_delay", True):
        raise Refused("reset_mechanism='subtract' with reset_delay=False fires late at large inputs; use 'zero'")
    if (beta == 0).any():
        raise Refused("reset_mechanism='subtract' a time step late with beta=0: nothing is left of v; use 'zero'")
    return replace(neuron, subtract=threshold / beta)  # taken a time step later, behind the leak


def _kept(beta: Array) -> dict[str, Array]:
    """What stays of a potential in a time step, as a time constant; input is added as it is."""
    if (beta == 1).all():
        return {}
    if (beta == 1).any():
        raise Refused("beta is 1 in some neurons and below it in others; allowed: one of them in all")
    return {"tau": 1 / (1 - beta), "r": 1 / (1 - beta)}


def _synaptic(module: Any) -> Neuron:
    """Leaky, with `u <- alpha u + x` in place of x."""
    _require_input(module)
    alpha = numbers(module.alpha).clip(0, 1)
    if (alpha == 1).any():
        raise Refused("alpha=1: a current that never fades; allowed: below 1")
    return replace(_leaky(module), current=1 / (1 - alpha))


def _require_input(module: Any) -> None:
    """Raise `Refused` for a reset that takes the input of its time step away, too."""
    if module.reset_mechanism == "zero" and module.reset_delay:
        raise Refused(
            "reset_mechanism='zero' with reset_delay=True loses the input behind a spike; reset_delay=False works"
        )


def _rleaky(module: Any) -> Recurrent:
    """Leaky, whose own spikes of the time step before are added to the input."""
    _require_input(module)
    return recurrent(_leaky(module), module, numbers)


def _rsynaptic(module: Any) -> Recurrent:
    return recurrent(_synaptic(module), module, numbers)


# ---------------------------------------------------------------- norse, SVFormer


def _in_steps(dt: float, inverse: Any) -> Array:
    """A time constant in time steps; dt / tau is computed as the module does, in the precision of its parameter."""
    return 1.0 / numbers(dt * inverse)


def _box(module: Any) -> Neuron:
    """`v <- v + dt / tau (v_leak - v + x)`, a spike at v > v_th."""
    p = module.p
    method = getattr(p.reset_method, "__name__", str(p.reset_method))
    if method not in ("reset_value", "reset_subtract"):
        raise Refused(f"reset_method={method}; allowed: reset_value")
    threshold, reset = numbers(p.v_th), numbers(p.v_reset)
    behind = {"reset": reset} if method == "reset_value" else {"subtract": threshold - reset}
    tau = _in_steps(module.dt, p.tau_mem_inv)
    return Neuron(tau=tau, leak=numbers(p.v_leak), threshold=threshold, fires_at="above", **behind)


def _with_current(module: Any) -> Neuron:
    """The same with `u <- u + x`, then v, then `u <- u - dt / tau_syn u`; a hard reset."""
    p, dt = module.p, module.dt
    tau, current = _in_steps(dt, p.tau_mem_inv), _in_steps(dt, p.tau_syn_inv)
    levels = {"leak": numbers(p.v_leak), "threshold": numbers(p.v_th), "reset": numbers(p.v_reset)}
    return Neuron(tau=tau, current=current, fires_at="above", **levels)


def _integrator(module: Any) -> Neuron:
    """A leaky integrator, with or without a current, which sends its potential."""
    p, dt = module.p, module.dt
    fast = getattr(p, "tau_syn_inv", None)
    current = None if fast is None else _in_steps(dt, fast)
    return Neuron(tau=_in_steps(dt, p.tau_mem_inv), leak=numbers(p.v_leak), threshold=None, current=current)


def _plif(module: Any) -> Neuron:
    return Neuron(tau=1.0 / module.decay, threshold=module.threshold)


def _all(module: Any) -> Time:
    return "all"


def _one(module: Any) -> Time:
    return "one"


def _second(module: Any) -> Time:
    return "second"


def _with_clips(module: Any) -> Time:
    return "with clips"


def _of_levels(module: Any) -> Levels:
    """`round(clip(x, 0, max_value)) / Norm`; how halves are rounded is seen by what it makes of them."""
    most, least = float(module.max_value), float(module.min_value)
    if least or not most.is_integer() or most < 1:
        raise Refused(f"levels from {least:g} to {most:g}; allowed: from 0 to a whole number")
    halves = torch.arange(int(most), dtype=torch.float64) + 0.5
    step = 1.0 / float(module.Norm)
    with torch.no_grad():
        up = (numbers(module(halves)) / step > halves.numpy()).tolist()
    for fires_at in ("even", "threshold", "above"):
        found = Levels(thresholds=halves.tolist(), step=step, fires_at=fires_at)
        if [limit < half for limit, half in zip(found.limits(), halves.tolist(), strict=True)] == up:
            return found
    raise Refused("levels that are rounded in no known way; say what they are: deploy.Levels")


LEVELS = Kind(describe=_of_levels, time=lambda module: "any")
UNKNOWN = Kind(describe=_unknown, time=lambda module: "either")
KNOWN: dict[tuple[str, str], Kind] = {
    **dict.fromkeys([("spikingjelly", name) for name in ("IFNode", "SimpleIFNode", "MultiStepIFNode")], JELLY_IF),
    **dict.fromkeys([("spikingjelly", name) for name in ("LIFNode", "SimpleLIFNode", "MultiStepLIFNode")], JELLY_LIF),
    **dict.fromkeys(
        [("spikingjelly", name) for name in ("ParametricLIFNode", "MultiStepParametricLIFNode")], JELLY_PLIF
    ),
    ("snntorch", "Leaky"): Kind(describe=_leaky, time=_one),
    ("snntorch", "Synaptic"): Kind(describe=_synaptic, time=_one),
    ("snntorch", "RLeaky"): Kind(describe=_rleaky, time=_one),
    ("snntorch", "RSynaptic"): Kind(describe=_rsynaptic, time=_one),
    ("norse", "LIFBoxCell"): Kind(describe=_box, time=_one),
    ("norse", "LIFBox"): Kind(describe=_box, time=_all),
    ("norse", "LIFCell"): Kind(describe=_with_current, time=_one),
    ("norse", "LIF"): Kind(describe=_with_current, time=_all),
    ("norse", "LIBoxCell"): Kind(describe=_integrator, time=_one),
    ("norse", "LICell"): Kind(describe=_integrator, time=_one),
    ("norse", "LI"): Kind(describe=_integrator, time=_all),
    **dict.fromkeys([("sinabs", name) for name in ("LIF", "IAF")], Kind(describe=sinabs_layers.spiking, time=_second)),
    **dict.fromkeys(
        [("sinabs", name) for name in ("LIFSqueeze", "IAFSqueeze")],
        Kind(describe=sinabs_layers.spiking, time=_with_clips),
    ),
    ("sinabs", "ExpLeak"): Kind(describe=sinabs_layers.leaking, time=_second),
    ("sinabs", "ExpLeakSqueeze"): Kind(describe=sinabs_layers.leaking, time=_with_clips),
    ("svformer", "PLIF"): Kind(describe=_plif, time=_all),
}
