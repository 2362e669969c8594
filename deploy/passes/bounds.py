"""Worst cases, proven from the weights: no message, current or potential can leave its register.

Operations and populations say what they make of an interval (`deploy.ir.intervals`); here their answers are put
together, population by population, so that each comes after those that send it graded messages, and sums along a
shortcut stream are bounded as one (`deploy.passes.linear_sums`). Spikes are 0 or 1 whatever their neurons receive, so
loops of spikes end the chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.intervals import SUM, Headroom, Interval
from deploy.ir.loops import grouped, is_loop
from deploy.ir.machine import STATE_LIMIT
from deploy.ir.network import Connection, Network
from deploy.passes.linear_sums import Arriving, Link, delayed
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Worst cases of a population in real numbers.

    Attributes:
        range: Of the current of neurons (with their bias), and of what all others send.
        parts: Of what arrives, every part of it at its own worst: the sum on the way, in whatever order.
    """

    range: Interval
    parts: Interval


def float_ranges(network: Network, input_range: tuple[float, float]) -> dict[str, Interval]:
    """Range of the current of every layer of neurons (with its bias), and of what all others send, but the input."""
    return {name: bound.range for name, bound in float_bounds(network, input_range).items()}


def float_bounds(network: Network, input_range: tuple[float, float]) -> dict[str, Bound]:
    """The worst cases of every population but the input."""
    receivers, found, arriving = network.receivers, dict[str, Bound](), Arriving(network)
    for name in graded_order(network):
        if name not in receivers:
            arriving.sends(name, Interval.constant(*input_range, network.populations[name].shape[0]))
            continue
        parts, current = arriving.at(name, [_link(c) for c in network.into(name)])
        found[name] = Bound(range=receivers[name].interval(current, network.frames), parts=parts)
        arriving.sends(name, found[name].range)
    return {name: found[name] for name in network.populations if name in found}


def _link(connection: Connection) -> Link:
    operation, gain = connection.operation, connection.gain
    return Link(
        source=connection.source,
        delay=connection.delay,
        operation=operation.linear if gain is None else None,
        interval=lambda sent: operation.interval(delayed(sent, connection.delay)).gained(gain),
    )


def graded_order(network: Network | IntNetwork) -> list[str]:
    """Populations so that each comes after those that send it graded messages; spikes are bounded as they are.

    Raises `InputError` for a loop of graded messages, which nothing bounds.
    """
    graded = [(c.source, c.target) for c in network.connections if not network.spiking(c.source)]
    groups = grouped(network.populations, graded)
    loops = [", ".join(group) for group in groups if is_loop(group, graded)]
    if loops:
        raise InputError(f"loops of graded values, which nothing bounds: {'; '.join(loops)}; put neurons into them")
    return [name for (name,) in groups]


def prove(network: IntNetwork) -> list[Headroom]:
    """Worst case of every register of an integer network, in the order of its populations.

    Raises `InputError` that names every layer which could overflow, with its margin.
    """
    found, _ = _worst_cases(network, {})
    _refuse_overflows(found)
    return in_order(network, found)


def message_ranges(network: IntNetwork) -> dict[str, Interval]:
    """Range of what every population of an integer network sends, by channel."""
    return _worst_cases(network, {})[1]


def proven(headroom: Sequence[Headroom]) -> str:
    """What was proven, in a few words."""
    tightest = max(headroom, key=lambda h: h.share)
    fullest = f"the fullest, {tightest.where} ({tightest.what}), to {100 * tightest.share:.1f} % in the worst case"
    return f"no register can overflow, {fullest}"


def prove_added(form: IntNetwork, original: IntNetwork, sends: Mapping[str, Interval]) -> list[Headroom]:
    """Worst case of what another form of a proven network adds: its own registers, and all sums on the way.

    The populations of the original get the same sums in the end, so their registers stay as they were proven; but what
    arrives there comes in other parts, whose sums have to fit 24 bits in any order. `sends` are messages of added
    populations whose range their inputs alone do not say. Raises `InputError` as `prove` does.
    """
    _, proven = _worst_cases(original, {})
    found, _ = _worst_cases(form, {**proven, **sends})
    _refuse_overflows(found)
    return found


def _worst_cases(network: IntNetwork, known: Mapping[str, Interval]) -> tuple[list[Headroom], dict[str, Interval]]:
    """Registers, and the range of what every population sends; `known` ranges are taken as they are.

    A population whose range is known has its registers proven elsewhere: only the sum of what arrives is looked at.
    """
    found, messages, receivers, arriving = list[Headroom](), dict[str, Interval](), network.receivers, Arriving(network)
    for name in graded_order(network):
        if name not in receivers:
            population = network.populations[name]
            messages[name] = Interval.constant(*(population.message_interval() or (0, 0)), population.shape[0])
        else:
            parts, exact = arriving.at(name, [_int_link(c, found) for c in network.into(name)])
            current = exact.rounded_out()  # a product of many kernels has more digits than float64
            if name in known:
                registers, messages[name] = list[Headroom](), known[name]
            else:
                registers, messages[name] = receivers[name].registers(name, current, network.frames)
            if name in known or parts.magnitude > current.magnitude:
                registers.append(_partial_sums(name, parts))
            found += registers
        arriving.sends(name, messages[name], known=name in known)
    return found, messages


def _int_link(connection: IntConnection, found: list[Headroom]) -> Link:
    return Link(
        source=connection.source,
        delay=connection.delay,
        operation=connection.operation.linear if connection.gain is None else None,
        interval=lambda sent: _through(connection, delayed(sent, connection.delay), found),
        slack=1.0 if connection.operation.exponent < 0 else 0.0,
    )


def _partial_sums(name: str, current: Interval) -> Headroom:
    return Headroom(where=name, what=SUM, worst=current.magnitude, limit=STATE_LIMIT - 1)


def in_order(network: IntNetwork, found: list[Headroom]) -> list[Headroom]:
    """Registers in the order of the populations that they belong to."""
    order = list(network.populations)
    return sorted(found, key=lambda headroom: order.index(headroom.where.split(" -> ")[-1]))


def _refuse_overflows(found: list[Headroom]) -> None:
    over = [headroom for headroom in found if headroom.share > 1]
    if over:
        offenders = "; ".join(str(headroom) for headroom in over)
        raise InputError(f"the integer network could overflow: {offenders}; use fewer weight bits or smaller weights")


def _through(connection: IntConnection, x: Interval, found: list[Headroom]) -> Interval:
    """Range of what a connection delivers; adds the register of its sum to `found`."""
    operation, gain = connection.operation, connection.gain
    total = operation.sum_interval(x)
    if operation.fills_register:
        where = f"{connection.source} -> {connection.target}"
        found.append(Headroom(where=where, what=SUM, worst=total.magnitude, limit=STATE_LIMIT - 1))
    arrived = total.scaled(2.0**operation.exponent).floored()
    if gain is None:
        return arrived
    return arrived.gained(gain.multiplier).scaled(2.0**gain.exponent).rounded_out()
