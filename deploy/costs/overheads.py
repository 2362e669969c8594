"""Overheads of a deployment: what a chip does beside the operations that papers count, and what it could do instead.

Every item stands for the mean clip and rests on the messages that were counted. Where kernels are compared, and for
what was not deployed, operations are rate x synapses, and every value of a relay is taken to be other than zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from deploy.costs.chain_forms import chain_forms
from deploy.costs.counting import readout_layers
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import GAIN_BITS, STATE_BITS
from deploy.ir.network import Network
from deploy.ir.plan import Plan
from deploy.passes.chain_cost import count_relay, count_row, linear
from hardware import OpCounts, count_accesses, count_parameter_reads

CHAINS = "convolutions without a neuron between"
CHIP_FORM = "layers that the chip form changes or adds"

Counts = Mapping[str, OpCounts]  # of the mean clip, by population


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """One thing that deployment adds, as deployed or as it could be."""

    item: str
    choice: str
    deployed: bool
    counts: OpCounts
    memory_bits: int  # stored for it


def overheads(network: IntNetwork, before: Network, plan: Plan, counts: Counts) -> list[Overhead]:
    """All items that occur in a deployed network; `before` is the one that no pass has changed."""
    found = [
        *_shortcuts(network, counts),
        *_chains(network, before, counts),
        *_gains(network, counts),
        *_delays(network, plan, counts),
        *_readout(network, counts),
    ]
    return [entry for entry in found if entry.counts != OpCounts()]


def chip_form_costs(form: IntNetwork, fused: Counts, counts: Counts) -> list[Overhead]:
    """What the chip form of a network (`deploy.passes.chip_form`) does where it differs from the fused one."""
    changed = [name for name in counts if name in form.added or _work(counts[name]) != _work(fused[name])]
    return [
        Overhead(
            item=CHIP_FORM,
            choice="fused: products of two signals, relays with a bias",
            deployed=False,
            counts=_sum(fused[name] for name in changed if name in fused),
            memory_bits=0,
        ),
        Overhead(
            item=CHIP_FORM,
            choice="coincidences, counts and gates, biases as synapses",
            deployed=True,
            counts=_sum(counts[name] for name in changed),
            memory_bits=sum(_kernel_bits(form.into(name)) for name in form.added),
        ),
    ]


def _work(counts: OpCounts) -> OpCounts:
    """Counts without what waits in delay lines, which are longer in a deeper network."""
    return replace(counts, held_messages=0, held_steps=0)


def _shortcuts(network: IntNetwork, counts: Counts) -> list[Overhead]:
    """A sum that several layers need: sent on as graded messages, or summed again wherever it is needed."""
    streams = [name for name, p in network.populations.items() if p.kind == "relay" and _sends_sums(network, name)]
    links = [c for c in network.connections if c.source in streams and c.operation.passes_on]
    copies = _copies(network)
    repeated = {name: copies[name] - 1 for name in streams}
    return [
        Overhead(
            item="shortcuts",
            choice="sums sent on by relays as graded messages",
            deployed=True,
            counts=_sum(_summed_and_sent(network, name, counts) for name in streams)
            + _sum(_relayed(c, counts) for c in links),
            memory_bits=sum(network.size(name) * STATE_BITS for name in streams),
        ),
        Overhead(
            item="shortcuts",
            choice="no relay: every synapse repeated for each layer that needs its sum",
            deployed=False,
            counts=_sum(_weighted(network, name, counts, times=times) for name, times in repeated.items()),
            memory_bits=sum(times * _kernel_bits(network.into(name)) for name, times in repeated.items()),
        ),
    ]


def _sends_sums(network: IntNetwork, name: str) -> bool:
    return any(c.operation.passes_on for c in network.out_of(name))


def _copies(network: IntNetwork) -> dict[str, int]:
    """How many layers need the sum of each population; a relay in front of a convolution stays, and is one."""
    copies: dict[str, int] = {}
    for name in reversed(network.populations):
        passed_on = [c for c in network.out_of(name) if c.operation.passes_on]
        other = any(not c.operation.passes_on for c in network.out_of(name))
        needed = sum(copies.get(c.target, 1) for c in passed_on) + other  # a loop leads back to one that comes later
        copies[name] = max(needed, 1) if network.populations[name].kind == "relay" else 1
    return copies


def _summed_and_sent(network: IntNetwork, name: str, counts: Counts) -> OpCounts:
    return count_relay(network.populations[name].shape, steps=network.frames, sent=counts[name].graded_messages)


def _relayed(link: IntConnection, counts: Counts) -> OpCounts:
    """Sums sent to one place."""
    sent = counts[link.source].graded_messages
    return count_row(linear(link.operation.geometry), messages=sent, binary=False, weight_bits=0)


def _weighted(network: IntNetwork, name: str, counts: Counts, *, times: int) -> OpCounts:
    """Operations of the weighted connections and the attention that end in a population, `times` times."""
    counted = counts[name]
    ops = OpCounts(
        synaptic_ops=times * counted.synaptic_ops,
        macs=times * counted.macs,
        products=times * counted.products,
        attention_coincidences=times * counted.attention_coincidences,
        attention_gated_adds=times * counted.attention_gated_adds,
        weight_bits_read=times * counted.weight_bits_read,
    )
    return ops + count_accesses(
        ops,
        weight_memory_bits=_kernel_bits(network.into(name)),
        state_memory_bits=network.size(name) * STATE_BITS,
    )


def _chains(network: IntNetwork, before: Network, counts: Counts) -> list[Overhead]:
    return [Overhead(item=CHAINS, **vars(form)) for form in chain_forms(network, before, counts)]


def _gains(network: IntNetwork, counts: Counts) -> list[Overhead]:
    bits = sum(c.gain.multiplier.size * GAIN_BITS for c in network.connections if c.gain is not None)
    gained = sum(layer.gain_macs for layer in counts.values())
    counted = OpCounts(gain_macs=gained) + count_parameter_reads(gained, memory_bits=bits)
    choice = "currents multiplied with the gain of their time step, which static weights cannot hold"
    return [Overhead(item="norm of every time step", choice=choice, deployed=True, counts=counted, memory_bits=bits)]


def _delays(network: IntNetwork, plan: Plan, counts: Counts) -> list[Overhead]:
    held = sum(plan.lag(c) * _message_bits(network, c) for c in network.connections)
    counted = OpCounts(
        held_messages=sum(layer.held_messages for layer in counts.values()),
        held_steps=sum(layer.held_steps for layer in counts.values()),
    )
    choice = "messages that wait until the longest path has caught up, or for the last frame"
    return [Overhead(item="delay lines", choice=choice, deployed=True, counts=counted, memory_bits=held)]


def _message_bits(network: IntNetwork, connection: IntConnection) -> int:
    """Bits of all messages of one time step, none left out."""
    return network.populations[connection.source].message_bits * network.size(connection.source)


def _readout(network: IntNetwork, counts: Counts) -> list[Overhead]:
    """Only the last step's sum is the result, but synapses act whenever a message comes."""
    layers = readout_layers(network)
    taps = [c for name in layers for c in network.into(name) if c.operation.weights]
    return [
        Overhead(
            item="readout over time",
            choice="summed up at every time step",
            deployed=True,
            counts=_sum(_weighted(network, name, counts, times=1) for name in layers),
            memory_bits=_kernel_bits(taps),
        ),
        Overhead(
            item="readout over time",
            choice="once, at the last time step",
            deployed=False,
            counts=_sum(_at_one_step(network, c, counts) for c in taps),
            memory_bits=_kernel_bits(taps),
        ),
    ]


def _at_one_step(network: IntNetwork, tap: IntConnection, counts: Counts) -> OpCounts:
    """A tap of the readout in one time step, at the mean rate of all."""
    sent = counts[tap.source].spikes + counts[tap.source].graded_messages
    return count_row(
        linear(tap.operation.geometry),
        messages=sent / network.frames,
        binary=network.binary(tap.source),
        weight_bits=tap.operation.weight_bits,
    )


def _kernel_bits(connections: Iterable[IntConnection]) -> int:
    return sum(c.operation.weights * c.operation.weight_bits for c in connections)


def _sum(parts: Iterable[OpCounts]) -> OpCounts:
    return sum(parts, OpCounts())
