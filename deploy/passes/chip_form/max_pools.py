"""Max pools of graded values of differences and gates: neurons that a chip has, and the same integers.

The larger of a and b is a + max(b - a, 0), and what is above 0 of a difference d, at most m, is a gate: with B = 2^k
above m, the sum d + B is larger than B only where d is above 0; neurons that hear that take the B off again. Places of
a window are compared in pairs, then the larger ones, and so on. Values are lifted by what makes all of them at least 0,
so that what lies outside the image, 0, is never the largest.

Legend: C channels, H' and W' windows.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.integer import IntConnection
from deploy.ir.intervals import Interval
from deploy.ir.machine import CURRENT_LIMIT, STATE_LIMIT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.populations.gate import IntGate
from deploy.ir.types import Shape
from deploy.passes.chip_form.biases import wire_bias
from deploy.passes.chip_form.factors import wire_held
from deploy.passes.chip_form.products import wire_step
from deploy.passes.chip_form.wiring import Wiring, coincidences, relay
from hardware import PoolGeometry, SparseConvGeometry


def has_form(sent: Interval) -> bool:
    """Whether 24 bits hold what the gates of such values send."""
    return 8 * _largest(sent) < STATE_LIMIT


def _lift(sent: Interval) -> int:
    """What makes every value at least 0."""
    return int(max(-sent.low.min(), 0))


def _largest(sent: Interval) -> int:
    """The largest lifted value."""
    return int(max(sent.high.max(), 0)) + _lift(sent)


def wire_max_pool(wiring: Wiring, connection: IntConnection, sent: Interval) -> None:
    """Put in the populations and connections that give what a max pool gives; `sent` is the range of what enters."""
    operation, target = connection.operation, connection.target
    assert isinstance(operation, IntMaxPool)
    stem, g, lift = target.rpartition(".")[0] or target, operation.geometry, _lift(sent)
    scale = wiring.network.populations[target].scale / (operation.multiplier * 2.0**operation.exponent)
    lifted = _lifted(wiring, f"{stem}.lifted", connection.source, g.in_shape, lift, scale, delay=connection.delay)
    inside = Interval(low=np.minimum(sent.low, 0) + lift, high=np.maximum(sent.high, 0) + lift)
    wiring.sends[lifted] = inside
    places = []
    for tap in np.ndindex(*g.kernel):
        name = wiring.add(stem, "place", relay(g.out_shape, scale), replace(inside, low=0 * inside.low))
        wiring.connect(lifted, name, _place(g, tap))
        places.append(name)
    while len(places) > 1:
        pairs = zip(places[::2], places[1::2], strict=False)
        larger = [_larger(wiring, stem, a, b, g.out_shape, inside) for a, b in pairs]
        places = [*larger, *places[2 * len(larger) :]]
    last = _lifted(wiring, f"{stem}.largest", places[0], g.out_shape, -lift, scale)
    wiring.sends[last] = Interval(low=inside.low - lift, high=inside.high - lift)
    passed = IntIdentity(
        in_shape=g.out_shape, out_shape=g.out_shape, multiplier=operation.multiplier, exponent=operation.exponent
    )
    wire_held(wiring, replace(connection, source=last, operation=passed, delay=0))


def _lifted(wiring: Wiring, what: str, source: str, shape: Shape, lift: int, scale: float, *, delay: int = 0) -> str:
    """Relays that send what the source does, and `lift` more."""
    name = wiring.add("", what, relay(shape, scale))
    wiring.connect(source, name, IntIdentity(in_shape=shape, out_shape=shape), delay=delay)
    wire_bias(wiring, name, replace(relay(shape, scale), bias=np.full((1, 1, 1), lift)))
    return name


def _place(g: PoolGeometry, tap: tuple[int, ...]) -> IntConvolution:
    """The value at one place of every window, 0 where that is outside the image."""
    weight = np.zeros(g.weight_shape, dtype=np.int16)
    weight[:, :, tap[0], tap[1]] = 1
    geometry = SparseConvGeometry(
        in_shape=g.in_shape,
        out_channels=g.out_channels,
        kernel=g.kernel,
        stride=g.stride,
        padding=g.padding,
        groups=g.groups,
        reached=weight != 0,
    )
    return IntConvolution(mantissa=weight, exponent=0, geometry=geometry)


def _larger(wiring: Wiring, stem: str, a: str, b: str, shape: Shape, inside: Interval) -> str:
    """Relays that send the larger of what two others do."""
    same = IntIdentity(in_shape=shape, out_shape=shape)
    less = replace(same, multiplier=-1)
    step = int(inside.high.max()).bit_length()
    both = wiring.add(stem, "difference", relay(shape))
    wiring.connect(b, both, same)
    wiring.connect(a, both, less)
    wire_bias(wiring, both, replace(relay(shape), bias=np.full((1, 1, 1), 1 << step)))
    gates = wiring.add(stem, "above", IntGate(shape=shape, scale=1.0, threshold=1 << step))
    wiring.connect(both, gates, same)
    fired = wiring.add(stem, "fired", replace(coincidences(shape), threshold=np.zeros((1, 1, 1), np.int64)))
    heard = max(step + 2 - CURRENT_LIMIT.bit_length(), 0)
    wiring.connect(gates, fired, replace(same, exponent=-heard))
    opened = wire_step(wiring, stem, fired, shape, step)
    larger = wiring.add(stem, "larger", relay(shape), replace(inside, low=0 * inside.low))
    for source, passed in ((a, same), (gates, same), (opened, less)):
        wiring.connect(source, larger, passed)
    return larger
