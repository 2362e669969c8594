"""What right shifts, which round down, take from the mean current of every channel, so that biases can give it back.

Of sums that are spread out a shift takes half a unit, of those that are mostly 0 hardly anything. Neurons and
integrators that keep their potential add that up, step by step. A relay has whole numbers for biases: what it cannot
give back goes on with its messages, to where a bias is finer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from deploy.engine.stream import fastest
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.network import Connection, Network, apply_over_time
from deploy.ir.populations.base import IntPopulation
from deploy.ir.types import Array, Values
from deploy.passes.calibrate import Calibration
from deploy.passes.schedule import schedule
from deploy.passes.statistics import chunks

NOTHING: Array = np.zeros((1, 1, 1))


def shift_losses(network: Network, rounded: IntNetwork, calibration: Calibration) -> dict[str, Array]:
    """What the bias of every population has to give back, in real numbers, by population, [C, 1, 1].

    `rounded` is the network in integers, with biases that give nothing back yet.
    """
    cut_off = _cut_off_sums(rounded, calibration)
    losses, left = dict[str, Array](), dict[str, Array]()
    for name, receiver in rounded.receivers.items():
        arriving = [_carried(c, left[c.source]) for c in network.into(name) if c.source in left]
        lost = sum([*arriving, cut_off.get(name, NOTHING) / receiver.scale], NOTHING)
        if receiver.kind == "relay":
            losses[name] = np.rint(lost * receiver.scale) / receiver.scale
            left[name] = lost - losses[name]
        else:
            losses[name] = lost
    return {name: loss for name, loss in losses.items() if loss.any()}


def _carried(connection: Connection, loss: Array) -> Array:
    """What arrives of a loss of every message, on average over positions and time steps, [C, 1, 1]."""
    operation, gain = connection.operation, connection.gain
    if operation.linear is None or not loss.any():
        return NOTHING
    image = np.broadcast_to(loss, operation.in_shape)[np.newaxis]
    arrived = operation(image)[0] if gain is None else operation(image)[0] * gain.mean(axis=0)
    return np.asarray(arrived.mean(axis=(1, 2), keepdims=True))


def lone_shift(
    c: IntConnection, populations: Mapping[str, IntPopulation], connections: Sequence[IntConnection]
) -> int | None:
    """The one weight of a connection that shifts to the right what a relay sends to it alone; None for all others.

    Such a pair rounds to the nearest: the relay adds half of what is cut off.
    """
    readers, weight = Counter(other.source for other in connections), c.operation.lone_weight
    alone = readers[c.source] == 1 and populations[c.source].kind == "relay" and c.operation.exponent < 0
    return weight if alone else None


def _cut_off_sums(network: IntNetwork, calibration: Calibration) -> dict[str, Array]:
    """Mean of what right shifts cut off, over calibration clips and positions, in units of the target, [O, 1, 1]."""
    shifting = [
        c
        for c in network.connections
        if c.operation.exponent < 0 and lone_shift(c, network.populations, network.connections) is None
    ]
    if not shifting:
        return {}
    totals, steps = [NOTHING] * len(shifting), 0
    for part in chunks(calibration.frames_NTCHW, calibration.at_once):
        sent = _messages(network, {c.source for c in shifting}, part)
        steps += part.shape[0] * part.shape[1]
        for i, c in enumerate(shifting):
            totals[i] = totals[i] + _cut_off(c, sent[c.source])
    losses = dict[str, Array]()
    for c, total in zip(shifting, totals, strict=True):
        losses[c.target] = losses.get(c.target, NOTHING) + total / (steps * np.prod(c.operation.out_shape[1:]))
    return losses


def _messages(network: IntNetwork, names: set[str], part: Values) -> Mapping[str, Values]:
    """What these populations send; the input needs no run."""
    if names == {network.input_name}:
        return {network.input_name: network.input.quantize(part)}
    return fastest(network, schedule(network), part, record=names)


def _cut_off(connection: IntConnection, sent_NTCHW: Values) -> Array:
    """Sum of what the right shift of a connection cuts off the sums of every channel, in its unit, [O, 1, 1]."""
    summed, below = connection.operation.with_exponent(0), 1 << -connection.operation.exponent
    total = np.zeros(summed.out_shape[0], dtype=np.int64)
    for clip in range(len(sent_NTCHW)):  # all at once would need the memory of all
        sums_NTCHW = apply_over_time(summed, sent_NTCHW[clip : clip + 1], connection.delay)
        total += (sums_NTCHW % below).sum(axis=(0, 1, 3, 4))
    return total[:, np.newaxis, np.newaxis] / below
