"""The bill of deployment: what a chip does beside the operations that papers count, and what it could do instead.

Every item stands for the mean clip and rests on the messages that were counted. Where kernels are compared, and for
what was not deployed, operations are rate x synapses, and every value of a relay is taken to be other than zero.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.counting import readout_layers
from deploy.ir.integer import IntConnection, IntConvolution, IntIdentity, IntLif, IntNetwork, IntRelay
from deploy.ir.network import Connection, Convolution, Network
from deploy.needs import GAIN_BITS, GRADED_BITS, STATE_BITS, weight_bits
from deploy.passes.schedule import Plan
from hardware import ConvGeometry, OpCounts, count_accesses, count_parameter_reads, count_state_accesses, expected_ops

Counts = Mapping[str, OpCounts]  # of the mean clip, by population


@dataclass(frozen=True, kw_only=True)
class BillItem:
    """One thing that deployment adds, as deployed or as it could be."""

    item: str
    choice: str
    deployed: bool
    counts: OpCounts
    memory_bits: int  # stored for it


def bill(network: IntNetwork, before: Network, plan: Plan, counts: Counts) -> list[BillItem]:
    """All items that occur in a deployed network; `before` is the same one with a relay behind every convolution."""
    found = [
        *_shortcuts(network, counts),
        *_merged_chains(network, before, counts),
        *_gains(network, counts),
        *_delays(network, plan, counts),
        *_readout(network, counts),
    ]
    return [entry for entry in found if entry.counts != OpCounts()]


def _shortcuts(network: IntNetwork, counts: Counts) -> list[BillItem]:
    """A sum that several layers need: sent on as graded messages, or summed again wherever it is needed."""
    streams = [
        name for name, p in network.populations.items() if isinstance(p, IntRelay) and _sends_sums(network, name)
    ]
    links = [c for c in network.connections if c.source in streams and isinstance(c.operation, IntIdentity)]
    copies = _copies(network)
    repeated = {name: copies[name] - 1 for name in streams}
    return [
        BillItem(
            item="shortcuts",
            choice="sums sent on by relays as graded messages",
            deployed=True,
            counts=_sum(_relay_work(network, name, counts) for name in streams)
            + _sum(_relayed(network, c, counts) for c in links),
            memory_bits=sum(_values(network, name) * STATE_BITS for name in streams),
        ),
        BillItem(
            item="shortcuts",
            choice="no relay: every synapse repeated for each layer that needs its sum",
            deployed=False,
            counts=_sum(_weighted(network, name, counts, times=times) for name, times in repeated.items()),
            memory_bits=sum(times * _kernel_bits(network.into(name)) for name, times in repeated.items()),
        ),
    ]


def _sends_sums(network: IntNetwork, name: str) -> bool:
    return any(c.source == name and isinstance(c.operation, IntIdentity) for c in network.connections)


def _copies(network: IntNetwork) -> dict[str, int]:
    """How many layers need the sum of each population; a relay in front of a convolution stays, and is one."""
    copies: dict[str, int] = {}
    for name in reversed(network.populations):
        passed_on = [c for c in network.connections if c.source == name and isinstance(c.operation, IntIdentity)]
        other = any(c.source == name and not isinstance(c.operation, IntIdentity) for c in network.connections)
        needed = sum(copies.get(c.target, 1) for c in passed_on) + other  # a loop leads back to one that comes later
        copies[name] = max(needed, 1) if isinstance(network.populations[name], IntRelay) else 1
    return copies


def _relay_work(network: IntNetwork, name: str, counts: Counts) -> OpCounts:
    """What a relay does by itself: every sum is taken up, sent and cleared at every time step."""
    values = _values(network, name)
    taken = network.frames * values
    sums = count_state_accesses(reads=taken, writes=taken, memory_bits=values * STATE_BITS)
    return sums + OpCounts(graded_messages=counts[name].graded_messages)


def _relayed(network: IntNetwork, link: IntConnection, counts: Counts) -> OpCounts:
    """One sum sent to one place."""
    sent = counts[link.source].graded_messages
    ops = OpCounts(relay_adds=sent)
    address_bits = (_values(network, link.source) - 1).bit_length()
    traffic = OpCounts(deliveries=sent, traffic_bits=sent * (address_bits + GRADED_BITS))
    target_bits = _values(network, link.target) * STATE_BITS
    return ops + traffic + count_accesses(ops, weight_memory_bits=0, state_memory_bits=target_bits)


def _weighted(network: IntNetwork, name: str, counts: Counts, *, times: int) -> OpCounts:
    """Operations of the weighted connections and the attention that end in a population, so many times."""
    counted = counts[name]
    ops = OpCounts(
        synaptic_ops=times * counted.synaptic_ops,
        macs=times * counted.macs,
        attention_coincidences=times * counted.attention_coincidences,
        attention_gated_adds=times * counted.attention_gated_adds,
        weight_bits_read=times * counted.weight_bits_read,
    )
    return ops + count_accesses(
        ops,
        weight_memory_bits=_kernel_bits(network.into(name)),
        state_memory_bits=_values(network, name) * STATE_BITS,
    )


def _merged_chains(network: IntNetwork, before: Network, counts: Counts) -> list[BillItem]:
    """Convolutions in a row without a neuron between: one wide kernel, or a relay behind each of them."""
    chains = [(c, path) for c in network.connections if len(path := _chain(network, before, c)) > 1]
    return [
        BillItem(
            item="convolutions without a neuron between",
            choice=f"merged into one kernel each ({len(chains)} chains)",
            deployed=True,
            counts=_sum(_merged(network, c, counts) for c, _ in chains),
            memory_bits=sum(_kernel_bits([c]) for c, _ in chains),
        ),
        BillItem(
            item="convolutions without a neuron between",
            choice="a relay behind every convolution",
            deployed=False,
            counts=_sum(_unmerged(network, c, path, counts) for c, path in chains),
            memory_bits=sum(_chain_bits(c, path) for c, path in chains),
        ),
    ]


def _chain(network: IntNetwork, before: Network, merged: IntConnection) -> list[Convolution]:
    """Convolutions on the way from source to target through populations that lowering removed."""
    if not isinstance(merged.operation, IntConvolution):
        return []
    for path in _paths(before, (), merged.source, network.populations.keys()):
        convolutions = [c.operation for c in path if isinstance(c.operation, Convolution)]
        if path[-1].target == merged.target and sum(c.delay for c in path) == merged.delay and len(convolutions) > 1:
            return convolutions
    return []


def _paths(
    before: Network, path: tuple[Connection, ...], name: str, kept: Collection[str]
) -> Iterator[tuple[Connection, ...]]:
    """All ways onward from a population to the next ones that were kept."""
    for connection in before.out_of(name):
        longer = (*path, connection)
        if connection.target in kept:
            yield longer
        else:
            yield from _paths(before, longer, connection.target, kept)


def _merged(network: IntNetwork, merged: IntConnection, counts: Counts, *, frames: int | None = None) -> OpCounts:
    """A deployed convolution, in so many time steps (default: all of a clip)."""
    assert isinstance(merged.operation, IntConvolution)
    bits = weight_bits(merged.operation)
    ops = _static_ops(network, merged.source, merged.operation.geometry, counts, bits=bits, frames=frames)
    target_bits = _values(network, merged.target) * STATE_BITS
    return ops + count_accesses(ops, weight_memory_bits=_kernel_bits([merged]), state_memory_bits=target_bits)


def _unmerged(network: IntNetwork, merged: IntConnection, path: Sequence[Convolution], counts: Counts) -> OpCounts:
    """The first convolution takes spikes, each later one the values of the relay before it, all of them."""
    assert isinstance(merged.operation, IntConvolution)
    bits, found = weight_bits(merged.operation), OpCounts()
    for i, convolution in enumerate(path):
        geometry = convolution.geometry
        sums = int(np.prod(geometry.out_shape))
        if i:
            macs = network.frames * geometry.dense_macs()
            ops = OpCounts(macs=macs, weight_bits_read=macs * bits, graded_messages=network.frames * geometry.inputs)
        else:
            ops = _static_ops(network, merged.source, geometry, counts, bits=bits)
        memory_bits = convolution.weight.size * bits
        found += ops + count_accesses(ops, weight_memory_bits=memory_bits, state_memory_bits=sums * STATE_BITS)
    return found


def _static_ops(
    network: IntNetwork, source: str, geometry: ConvGeometry, counts: Counts, *, bits: int, frames: int | None = None
) -> OpCounts:
    """Rate x synapses of a convolution of what a population sent, and the weights that it fetches."""
    binary = isinstance(network.populations[source], IntLif)
    sent = counts[source].spikes + counts[source].graded_messages
    rate = sent / (geometry.inputs * network.frames)
    ops = round(expected_ops(geometry, rate, time_steps=frames or network.frames))
    return OpCounts(synaptic_ops=ops * binary, macs=ops * (not binary), weight_bits_read=ops * bits)


def _chain_bits(merged: IntConnection, path: Sequence[Convolution]) -> int:
    """Weights of all convolutions, and the sums of the relays between them."""
    assert isinstance(merged.operation, IntConvolution)
    weights = sum(convolution.weight.size for convolution in path) * weight_bits(merged.operation)
    return weights + sum(convolution.geometry.inputs for convolution in path[1:]) * STATE_BITS


def _gains(network: IntNetwork, counts: Counts) -> list[BillItem]:
    bits = sum(c.gain.multiplier.size * GAIN_BITS for c in network.connections if c.gain is not None)
    gained = sum(layer.gain_macs for layer in counts.values())
    counted = OpCounts(gain_macs=gained) + count_parameter_reads(gained, memory_bits=bits)
    choice = "currents multiplied with the gain of their time step, which static weights cannot hold"
    return [BillItem(item="norm of every time step", choice=choice, deployed=True, counts=counted, memory_bits=bits)]


def _delays(network: IntNetwork, plan: Plan, counts: Counts) -> list[BillItem]:
    held = sum(lag * _message_bits(network, c) for c, lag in zip(network.connections, plan.lags, strict=True))
    counted = OpCounts(
        held_messages=sum(layer.held_messages for layer in counts.values()),
        held_steps=sum(layer.held_steps for layer in counts.values()),
    )
    choice = "messages that wait until the longest path has caught up, or for the last frame"
    return [BillItem(item="delay lines", choice=choice, deployed=True, counts=counted, memory_bits=held)]


def _message_bits(network: IntNetwork, connection: IntConnection) -> int:
    """Bits of all messages of one time step, none left out."""
    wide = 1 if isinstance(network.populations[connection.source], IntLif) else GRADED_BITS
    return wide * _values(network, connection.source)


def _readout(network: IntNetwork, counts: Counts) -> list[BillItem]:
    """Only the last step's sum is the result, but synapses act whenever a message comes."""
    layers = readout_layers(network)
    taps = [c for name in layers for c in network.into(name) if isinstance(c.operation, IntConvolution)]
    return [
        BillItem(
            item="readout over time",
            choice="summed up at every time step",
            deployed=True,
            counts=_sum(_weighted(network, name, counts, times=1) for name in layers),
            memory_bits=_kernel_bits(taps),
        ),
        BillItem(
            item="readout over time",
            choice="once, at the last time step",
            deployed=False,
            counts=_sum(_merged(network, c, counts, frames=1) for c in taps),
            memory_bits=_kernel_bits(taps),
        ),
    ]


def _kernel_bits(connections: Iterable[IntConnection]) -> int:
    operations = [c.operation for c in connections if isinstance(c.operation, IntConvolution)]
    return sum(operation.mantissa.size * weight_bits(operation) for operation in operations)


def _values(network: IntNetwork, name: str) -> int:
    return int(np.prod(network.populations[name].shape))


def _sum(parts: Iterable[OpCounts]) -> OpCounts:
    return sum(parts, OpCounts())
