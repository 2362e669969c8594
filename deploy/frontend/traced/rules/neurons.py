"""A call of a neuron module."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from deploy.frontend.traced.axes import BEHIND_MEAN, Dim, Refused
from deploy.frontend.traced.constants import laid
from deploy.frontend.traced.known import Time
from deploy.frontend.traced.rules.table import Result
from deploy.frontend.traced.signals import Potential, Signal, Value
from deploy.frontend.traced.walk import At, Place, Walk
from deploy.ir.types import Array
from svformer.common.errors import InputError


def potential(walk: Walk, at: At, _like: Any, _x: Value, name: str) -> Result:
    """What a neuron returns beside its spikes."""
    return Potential(neuron=name)


def neuron(walk: Walk, at: At, x: Value | Tensor, states: list[Value | Tensor], name: str) -> Result:
    """The node of a neuron layer; its k-th call is time step k, unless all steps come in one call."""
    module, kind = walk.neurons[name]
    call = walk.calls[name] = walk.calls.get(name, -1) + 1
    if isinstance(x, Tensor):
        raise Refused("its input is a constant; allowed: what depends on the model's input")
    for state in states:
        _require_own(walk, state, name, call)
    s = walk.whole(x, name)
    if s.averaged:
        raise Refused(f"a neuron behind a mean or a sum over time; {BEHIND_MEAN}")
    time = kind.time(module)
    if time == "any":
        step = s.step
    elif walk.timed(s):
        _require_all_steps(walk, s, time, call)
        step = None
    else:
        step = _step_of(walk, s, time, call, name)
    node = _layer(walk, module, s, name)
    return replace(s, node=node, step=step)


def _require_own(walk: Walk, state: Value | Tensor, name: str, call: int) -> None:
    """The state that enters a call must be the one that the call before gave, or nothing."""
    if isinstance(state, Tensor) and not state.any():
        return
    own = walk.layers.get(name)  # its spikes are a state of recurrent neurons
    if isinstance(state, Signal) and own is not None and (state.node, state.step) == (own.node, call - 1):
        return
    if not isinstance(state, Potential) or state.neuron != name:
        raise Refused("its state is given by the model; allowed: the state of its own last call, or zeros at first")


def _require_all_steps(walk: Walk, s: Signal, time: Time, call: int) -> None:
    if time == "one":
        raise Refused("it takes one time step in a call, and gets several; allowed: a loop over time, or step_mode='m'")
    _require_time(walk, s, time)
    if call:
        raise Refused("it is called twice in a time step, with one state for both; allowed: a module for each place")


def _require_time(walk: Walk, s: Signal, time: Time) -> None:
    """Raise `Refused` where the dimension that a neuron takes for time runs over anything else."""
    clips, steps = (tuple(axis for axis in (own,) if axis is not None) for own in (walk.clips, walk.time))
    wanted: tuple[Dim, ...]
    if time == "with clips":
        what, wanted, form = "first dimension, which it takes for clips and time,", (clips + steps,), "[B T, ..]"
    elif time == "second":
        what, wanted, form = "dimensions of clips and time", (clips, steps), "[B, T, ..]"
    else:
        what, wanted, form = "first dimension, which it takes for time,", (steps,), "[T, B, ..]"
    found = s.dims[: len(wanted)]
    if found != wanted:
        shown = " and ".join(str(list(dim)) for dim in found)
        mixed = "clips, channels or pixels become time steps of one another"
        raise Refused(f"its {what} is {shown}: {mixed}; allowed: {form}")


def _step_of(walk: Walk, s: Signal, time: Time, call: int, name: str) -> int | None:
    """The time step of a call that has no axis of time."""
    if time == "all" and s.dims[0]:
        raise Refused(
            f"its first dimension, which it takes for time, is {list(s.dims[0])}, but a clip has one time step here; "
            "allowed: [T, B, ..]"
        )
    if walk.steps is None:
        walk.steps = 1
    calls = walk.total_calls[name]
    if calls != walk.steps:
        raise Refused(f"it is called {calls} times in {walk.steps} time steps; allowed: once in each")
    step = call if s.step is None else s.step
    if step != call:
        raise Refused(f"its call number {call + 1} gets time step {step}, counted from 0; allowed: call k gets step k")
    return step if walk.time is not None else None


def _layer(walk: Walk, module: nn.Module, s: Signal, name: str) -> str:
    """The node of a neuron, made at its first call."""
    place = walk.layers.get(name)
    if place is not None:
        if place.hears != s.node:
            raise Refused("it hears another layer at some time steps; allowed: the same at all")
        return place.node

    def lay(value: Any) -> Array:
        numbers = np.asarray(value, dtype=np.float64)
        return numbers if numbers.ndim == 0 else laid(numbers, s, walk)[0]

    _, kind = walk.neurons[name]
    try:
        node = kind.describe(module).layer(walk.draft, name, s.node, lay)
    except InputError as error:
        raise Refused(str(error)) from error
    levels = walk.draft.levels.get(node, ((), 1.0))
    walk.layers[name] = Place(node=node, dims=s.dims, image=s.image, levels=levels, hears=s.node)
    return node
