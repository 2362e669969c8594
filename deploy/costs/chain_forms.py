"""The forms that a network can have where convolutions follow each other without a neuron between, set side by side.

Merged kernels or relays: `merge_linear_chains` can build either from the same graph. What the forms have in common is
left out; the rest is counted by rate x synapses, with the rates that the deployed network had.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.ir.integer import IntNetwork
from deploy.ir.machine import STATE_BITS
from deploy.ir.network import Connection, Network
from deploy.ir.storage import widest_weight_bits
from deploy.passes.chain_cost import count_biases, count_relay, count_row, kernel_bits, linear
from deploy.passes.merge_linear_chains import merge_linear_chains
from hardware import OpCounts

MERGED = "merged into one kernel wherever that is exact"
RELAYED = "a relay behind every convolution"
MIXED = "merged or with relays, chain by chain"

Link = tuple[str, str, int, Any]  # source, target, delay, geometry: what a connection is in every form


@dataclass(frozen=True, kw_only=True)
class Form:
    """What one form has that not all of them have."""

    choice: str
    deployed: bool
    counts: OpCounts
    memory_bits: int  # weights, and the sums of relays


def chain_forms(network: IntNetwork, before: Network, counts: Mapping[str, OpCounts]) -> list[Form]:
    """All relays, none, and what was deployed; empty where a network has no such chain.

    `counts` are those of the mean clip in the deployed `network`; `before` is the network that no pass has changed.
    """
    forms: dict[str, Network | IntNetwork] = {
        MERGED: merge_linear_chains(before, merge="always"),
        RELAYED: merge_linear_chains(before, merge="never"),
    }
    links = {choice: _links(form) for choice, form in forms.items()}
    if links[MERGED] == links[RELAYED]:
        return []
    deployed = _links(network)
    if deployed not in links.values():
        forms[MIXED], links[MIXED] = network, deployed
    shared = functools.reduce(Counter.__and__, links.values())
    everywhere = set.intersection(*(set(form.populations) for form in forms.values()))
    found = []
    for choice, form in forms.items():
        own, relays = links[choice] - shared, [name for name in form.populations if name not in everywhere]
        parts = [*_connections(form, own, network, counts), *_relays(form, relays, counts)]
        ops, bits = sum((ops for ops, _ in parts), OpCounts()), sum(bits for _, bits in parts)
        found.append(Form(choice=choice, deployed=links[choice] == deployed, counts=ops, memory_bits=bits))
    return found


def _links(form: Network | IntNetwork) -> Counter[Link]:
    whole = (c for c in form.connections if isinstance(c, Connection) or not c.refines)
    return Counter((c.source, c.target, c.delay, c.operation.geometry) for c in whole)


def _widths(network: IntNetwork) -> dict[Link, int]:
    """Bits of the weights of all deployed connections."""
    return {
        (c.source, c.target, c.delay, c.operation.geometry): c.operation.weight_bits
        for c in network.connections
        if c.operation.weights
    }


def _connections(
    form: Network | IntNetwork, own: Counter[Link], network: IntNetwork, counts: Mapping[str, OpCounts]
) -> Iterator[tuple[OpCounts, int]]:
    """Operations and bits of the connections that only some forms have; those not deployed have the widest weights."""
    widths, widest = _widths(network), widest_weight_bits(network)
    for link, times in own.items():
        source, _, delay, geometry = link
        bits = widths.get(link, widest)
        messages = _sent(form, source, counts) * max(form.frames - delay, 0) / form.frames
        kernel = linear(geometry)  # no pass changes a connection that is not
        binary = network.binary(source) if source in network.populations else form.spiking(source)
        ops = count_row(kernel, messages=messages, binary=binary, weight_bits=bits)
        for _ in range(times):
            yield ops, kernel_bits(kernel, weight_bits=bits)


def _relays(
    form: Network | IntNetwork, names: list[str], counts: Mapping[str, OpCounts]
) -> Iterator[tuple[OpCounts, int]]:
    for name in names:
        shape = form.populations[name].shape
        bias = form.receivers[name].bias if isinstance(form, Network) else form.receivers[name].stored_bias
        work = count_relay(shape, steps=form.frames, sent=_sent(form, name, counts))
        biases = count_biases(bias, shape, steps=form.frames)
        yield work + biases, int(np.prod(shape)) * STATE_BITS


def _sent(form: Network | IntNetwork, name: str, counts: Mapping[str, OpCounts]) -> int:
    """Messages of one clip: as traced; of a relay that was not deployed, every sum at every time step."""
    if name in counts:
        return counts[name].spikes + counts[name].graded_messages
    return form.frames * int(np.prod(form.populations[name].shape))
