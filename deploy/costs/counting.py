"""What the deployed network did: operations of every layer and time step, counted from the messages that were sent."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import GAIN_BITS, STATE_BITS
from deploy.ir.plan import Plan
from deploy.ir.populations.base import IntReceiver
from deploy.ir.types import Signals, Values
from deploy.passes.chain_cost import count_biases
from hardware import (
    OpCounts,
    count_gains,
    count_messages,
    count_multiplications,
    count_neurons,
    count_parameter_reads,
    count_relays,
    count_state_accesses,
    count_traffic,
)


def count_operations(network: IntNetwork, plan: Plan, signals: Signals) -> dict[str, OpCounts]:
    """Operations of every population and of the synapses that end in it, summed over all clips and time steps."""
    return {name: sum(steps, OpCounts()) for name, steps in count_by_step(network, plan, signals).items()}


def count_by_step(network: IntNetwork, plan: Plan, signals: Signals) -> dict[str, list[OpCounts]]:
    """The same for every time step of a clip, summed over all clips.

    An operation belongs to the step at which its target sees the frame; what a delay holds back beyond the end of a
    clip is dropped by the reset and counted nowhere.
    """
    return {
        name: [_count(network, plan, name, signals, step) for step in range(network.frames)]
        for name in network.populations
    }


def count_by_clip(network: IntNetwork, plan: Plan, signals: Signals) -> list[OpCounts]:
    """Operations of all populations and time steps, clip by clip."""
    clips = len(signals[network.input_name])
    return [
        sum((_count_clip(network, plan, name, signals, clip) for name in network.populations), OpCounts())
        for clip in range(clips)
    ]


def _count_clip(network: IntNetwork, plan: Plan, name: str, signals: Signals, clip: int) -> OpCounts:
    """One population over all time steps of one clip."""
    messages, receiver = signals[name][clip], network.receivers.get(name)
    found = count_messages(messages, binary=network.binary(name))
    if receiver is None:
        return found
    found += _count_receiver(receiver, clips=len(messages))
    for connection in network.into(name):
        seen = signals[connection.source][clip][: max(len(messages) - connection.delay, 0)]
        found += _count_connection(network, plan, connection, seen)
        found += _count_gain(connection, receiver, clips=len(messages))
    return found


def _count(network: IntNetwork, plan: Plan, name: str, signals: Signals, step: int) -> OpCounts:
    """One population at one time step."""
    messages, receiver = signals[name][:, step], network.receivers.get(name)
    found = count_messages(messages, binary=network.binary(name))
    if receiver is None:
        return found
    found += _count_receiver(receiver, clips=len(messages))
    for connection in network.into(name):
        frame = step - connection.delay
        if frame >= 0:
            found += _count_connection(network, plan, connection, signals[connection.source][:, frame])
        found += _count_gain(connection, receiver, clips=len(messages))
    return found


def _count_receiver(receiver: IntReceiver, *, clips: int) -> OpCounts:
    """What happens at every time step whatever arrives: biases, updates, each potential or sum taken up and kept."""
    values = int(np.prod(receiver.shape))
    return (
        count_neurons(clips, receiver.neuron_updates)
        + count_relays(clips, values if receiver.kind == "relay" else 0)
        + count_biases(receiver.stored_bias, receiver.shape, steps=clips)
        + count_state_accesses(reads=clips * values, writes=clips * values, memory_bits=values * STATE_BITS)
    )


def _count_connection(network: IntNetwork, plan: Plan, connection: IntConnection, messages_NCHW: Values) -> OpCounts:
    """What the messages of one frame cause on their way through one connection."""
    binary, sent_bits = network.binary(connection.source), network.populations[connection.source].message_bits
    payload_bits = 0 if binary else sent_bits
    traffic = count_traffic(messages_NCHW, payload_bits=payload_bits, held_steps=plan.lag(connection))
    state_memory_bits = network.size(connection.target) * STATE_BITS
    counted = connection.operation.count(messages_NCHW, binary=binary, state_memory_bits=state_memory_bits)
    return counted + count_multiplications(counted.macs, sent_bits) + traffic


def _count_gain(connection: IntConnection, target: IntReceiver, *, clips: int) -> OpCounts:
    if connection.gain is None:
        return OpCounts()
    currents = clips * int(np.prod(target.shape))
    memory_bits = connection.gain.multiplier.size * GAIN_BITS
    return count_gains(clips, int(np.prod(target.shape))) + count_parameter_reads(currents, memory_bits=memory_bits)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Operations of a layer by rate x synapses, and why the traced count may be another."""

    ops: float
    reasons: tuple[str, ...]  # empty: the traced count must be the same


def expected_operations(network: IntNetwork, sent: Mapping[str, float]) -> dict[str, Expected]:
    """Static counts: additions and multiply-accumulates of every layer from geometry and rate alone.

    `sent` holds the messages of every population during one clip. Attention, a product of two rates, is left out. The
    traced count differs where messages gather at or away from the borders of the image, which reach fewer neurons, and
    where a delay cuts off the last frames of a clip while the rate is that of all.
    """
    return {name: _expected(network.into(name), network, sent) for name in network.receivers}


def _expected(connections: list[IntConnection], network: IntNetwork, sent: Mapping[str, float]) -> Expected:
    ops, reasons = 0.0, dict[str, None]()
    for connection in connections:
        frames = max(network.frames - connection.delay, 0)
        rate = sent[connection.source] / (network.size(connection.source) * network.frames)
        found = connection.operation.expected_ops(rate, frames)
        if found is None:
            continue
        ops += found
        if connection.operation.reaches_unevenly:
            reasons["borders"] = None
        if connection.delay:
            reasons["delays"] = None
    return Expected(ops=ops, reasons=tuple(reasons))


def readout_layers(network: IntNetwork) -> list[str]:
    """Populations behind the last neurons: no spike is fired because of them, they only sum up the result."""
    feeds = set(network.neuron_layers)
    while more := {c.source for c in network.connections if c.target in feeds} - feeds:
        feeds |= more
    return [name for name in network.populations if name not in feeds]
