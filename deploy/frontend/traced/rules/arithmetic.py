"""Sums and products, element by element: of signals, and of a signal and a constant."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from deploy.frontend.traced.axes import BEHIND_MEAN, Refused
from deploy.frontend.traced.constants import with_constant
from deploy.frontend.traced.parts import beside, joined
from deploy.frontend.traced.products import masked
from deploy.frontend.traced.rules.table import Result, Rule
from deploy.frontend.traced.signals import Product, Signal, StepSum, Value
from deploy.frontend.traced.walk import At, Walk

BOTH, EITHER = 1.5, 0.5  # thresholds of a sum of spikes: both fired, at least one did


def _number(value: Any) -> Any:
    """A whole number, or a tensor of one entry, as a float."""
    single = isinstance(value, Tensor) and value.ndim == 0
    return float(value) if isinstance(value, int) or single else value


def _add(walk: Walk, at: At, x: Any, y: Any, *, alpha: float = 1.0) -> Result:
    x, y = _number(x), _number(y)
    if alpha != 1:
        y = y * alpha if isinstance(y, (float, Tensor)) else multiplied(walk, at, y, alpha)
    if isinstance(x, (float, Tensor)):
        x, y = y, x
    if isinstance(y, float) and y == 0:
        return x
    if isinstance(y, float):
        s = walk.signal(x, at.name)
        return replace(s, shift=s.shift + y)
    if isinstance(y, Tensor):
        return with_constant(walk, at, walk.signal(x, at.name), y, adds=True)
    if (summed := _over_steps(walk, x, y)) is not None:
        return summed
    a, b = walk.signal(x, at.name), walk.signal(y, at.name)
    step, averaged = walk.together(a, b)
    a, b = walk.aligned(a, b, at.name)
    if a.node == b.node:
        return replace(a, gain=2.0, step=step, averaged=averaged)
    return replace(a, node=walk.draft.sum(at.name, a.node, b.node), step=step, averaged=averaged)


def _over_steps(walk: Walk, x: Value, y: Value) -> StepSum | Signal | None:
    """A sum that a loop takes over the time steps of one signal; None for any other sum."""
    (a, of_a), (b, of_b) = _steps(x), _steps(y)
    if a is None or b is None or a.form != b.form or of_a & of_b:
        return None
    steps = of_a | of_b
    if walk.time is None or len(steps) < walk.time.size:
        return StepSum(signal=a, steps=steps)
    return replace(a, gain=a.gain * len(steps), shift=a.shift * len(steps), averaged=True)


def _steps(value: Value) -> tuple[Signal | None, frozenset[int]]:
    if isinstance(value, StepSum):
        return value.signal, value.steps
    if isinstance(value, Signal) and value.step is not None:
        return replace(value, step=None), frozenset({value.step})
    return None, frozenset()


def _subtract(walk: Walk, at: At, x: Any, y: Any, *, alpha: float = 1.0) -> Result:
    return _add(walk, at, x, y, alpha=-alpha)


def _from(walk: Walk, at: At, x: Any, y: Any, alpha: float = 1.0) -> Result:
    return _add(walk, at, y, x, alpha=-alpha)


def _negative(walk: Walk, at: At, x: Value) -> Result:
    return multiplied(walk, at, x, -1.0)


def multiplied(walk: Walk, at: At, x: Any, y: Any) -> Any:
    """The product of two values, of which one may be a constant."""
    x, y = _number(x), _number(y)
    if isinstance(x, (float, Tensor)):
        x, y = y, x
    if isinstance(y, float):
        return _scaled(walk, at, x, y)
    if isinstance(y, Tensor):
        return with_constant(walk, at, walk.signal(x, at.name), y, adds=False)
    return _both(walk, at, walk.signal(x, at.name), walk.signal(y, at.name))


def _scaled(walk: Walk, at: At, value: Value, factor: float) -> Value:
    if isinstance(value, Product):
        return replace(value, gain=value.gain * factor)
    if isinstance(value, StepSum):
        return replace(value, signal=_times(value.signal, factor))
    return _times(walk.signal(value, at.name), factor)


def _times(s: Signal, factor: float) -> Signal:
    return replace(s, gain=s.gain * factor, shift=s.shift * factor)


def _both(walk: Walk, at: At, x: Signal, y: Signal) -> Signal:
    """The product of spikes: a spike where both fired, times their factors; 1 - x is a spike where x is none.

    Where one is spikes alone, it is a product of values with the spikes that they meet.
    """
    if not all(s.node in walk.draft.spiking and not s.averaged for s in (x, y)):
        return masked(walk, at.name, *(_complement(walk, s, at.name) for s in (x, y)))
    (x, of_x), (y, of_y) = _spikes(walk, x), _spikes(walk, y)
    step, averaged = walk.together(x, y)
    if averaged:
        raise Refused(f"a product of means or sums over time; {BEHIND_MEAN}")
    a, b = walk.aligned(x, y, at.name)
    node = a.node if a.node == b.node else walk.draft.gate(f"{at.name}.and", BOTH, a.node, b.node)
    return replace(a, node=node, gain=of_x * of_y, step=step)


def _complement(walk: Walk, s: Signal, name: str) -> Signal:
    """Of 1 - x of spikes, neurons that fire where x does not; any other signal as it is."""
    if s.node not in walk.draft.spiking or (s.gain, s.shift) != (-1, 1):
        return s
    s = walk.scaled(s, name)
    return replace(s, node=walk.draft.gate(f"{name}.not", EITHER, s.node))


def _spikes(walk: Walk, s: Signal) -> tuple[Signal, float]:
    """Spikes, or their complement, and a factor that multiplies them."""
    if s.node in walk.draft.spiking and not s.averaged:
        if s.shift == 0:
            return replace(s, gain=1.0), s.gain
        if s.shift == -s.gain:
            return replace(s, gain=-1.0, shift=1.0), -s.gain
        raise Refused("a product of spikes that a constant is added to; allowed: x, and 1 - x")
    raise Refused("a maximum of real numbers; allowed: of spikes, or over windows of an image")


def _divide(walk: Walk, at: At, x: Any, y: Any) -> Result:
    if isinstance(y, (int, float, Tensor)):
        return multiplied(walk, at, x, 1.0 / y)
    raise Refused("a division by a signal; allowed: by constants")


def _above(walk: Walk, at: At, x: Value, level: float, *, reaches: bool = False) -> Result:
    """A comparison with a number: neurons without memory."""
    s = walk.whole(x, at.name)
    if s.averaged:
        raise Refused(f"a comparison of a mean or a sum over time; {BEHIND_MEAN}")
    threshold = float(np.nextafter(level, -np.inf)) if reaches else float(level)
    return replace(s, node=walk.draft.gate(at.name, threshold, s.node))


def _reaches(walk: Walk, at: At, x: Value, level: float) -> Result:
    return _above(walk, at, x, level, reaches=True)


def _largest(walk: Walk, at: At, x: Value, y: Value) -> Result:
    """Of spikes: where at least one fired."""
    (a, of_a), (b, of_b) = (_spikes(walk, walk.signal(s, at.name)) for s in (x, y))
    if (of_a, of_b) != (1, 1) or a.shift or b.shift:
        raise Refused("a maximum of two signals that are not both spikes; allowed: of spikes")
    step, _ = walk.together(a, b)
    a, b = walk.aligned(a, b, at.name)
    return replace(a, node=walk.draft.gate(f"{at.name}.or", EITHER, a.node, b.node), step=step)


def _concatenated(walk: Walk, at: At, parts: list[Any], dim: int = 0) -> Result:
    parts = [part for part in parts if not (isinstance(part, Tensor) and part.numel() == 0)]
    if any(isinstance(part, Tensor) for part in parts):
        raise Refused("constants are joined to a signal (a class token?); allowed: time steps, or channels of signals")
    signals = [walk.signal(part, at.name) for part in parts]
    dim %= len(signals[0].dims)
    if len(signals) == 1:
        return signals[0]
    if all(s.form == signals[0].form for s in signals):
        return joined(walk, signals, dim)
    return beside(walk, signals, dim, at.name)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten.add.Tensor", "aten.add.Scalar"), _add),
    **dict.fromkeys(("aten.sub.Tensor", "aten.sub.Scalar"), _subtract),
    **dict.fromkeys(("aten.rsub.Scalar", "aten.rsub.Tensor"), _from),
    **dict.fromkeys(("aten.mul.Tensor", "aten.mul.Scalar"), multiplied),
    **dict.fromkeys(("aten.div.Tensor", "aten.div.Scalar"), _divide),
    "aten.neg.default": _negative,
    "aten.gt.Scalar": _above,
    "aten.ge.Scalar": _reaches,
    "aten.maximum.default": _largest,
    "aten.minimum.default": multiplied,
    "aten.cat.default": _concatenated,
}
