"""Merge connections that follow each other without a neuron between, where that is exact and cheaper.

Before:  lif -> [1x1] -> relay -> [depthwise 5x5] -> relay -> [1x1] -> relay -> [identity] -> junction
After:   lif -> [5x5] -> junction, and a bias map at the junction

The relays' biases become one bias map, the chain's response to zeros: at the border of the image a padded kernel sees
less of an inner bias, so the map is not the same at every pixel. A relay that stays is a graded message.

Which form is better depends on what is paid for. At 45 nm in arithmetic alone an addition of a spike costs a fifth of a
multiply-accumulate, so merged kernels win; where every operation fetches a weight and a potential, or costs as much as
every other, the many operations of a merged kernel lose against the few of a chain. So the choice is an argument: a
chip, whose energy of a time step decides chain by chain (`chain_cost`, at firing rates that were measured or assumed),
or one form for all. Every form computes the same. Arithmetic alone knows nothing of storage, so no kernel is made that
one Loihi 2 could not store: a mean over an image of 14 x 14 behind a 1x1 convolution of 1,536 channels to 384 would be
115 million weights in the place of 0.7 million.

All of this is decided from shapes, before anything is composed; then the smallest kernels are composed first.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deploy.ir.loops import grouped, is_loop
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import Receiver
from deploy.ir.types import Array
from deploy.passes.chain_choice import Merge, Prices, choose
from deploy.passes.compose import composable, composed_geometry, joined
from hardware import ChipError, OpCounts, load_chip, price
from svformer.common.errors import InputError

LONGEST_CHAIN = 6  # relays for which every choice is tried


def read_merge(text: str) -> Merge:
    """always, never, or the name or path of a chip; raises `InputError` for a chip that cannot decide."""
    match text:
        case "always" | "never":
            return text
    try:
        chip = load_chip(text)
        price(OpCounts(), chip)
    except ChipError as error:
        raise InputError(f"--merge {text}; allowed: always, never, or a chip with energy: {error}") from error
    return chip


def merge_linear_chains(
    network: Network, *, merge: Merge, rates: Mapping[str, float] | None = None, weight_bits: int = WEIGHT_BITS
) -> Network:
    """Remove the relays that cost more than they save, or that a loop has no time for.

    `merge` is the chip whose energy decides, "always" (every relay goes that can), or "never" (only those go that have
    nothing to do, and those of loops). `rates` are firing rates by neuron layer (default: `RATE` for all);
    `weight_bits` is the width of the weights whose memory a chip prices.
    """
    network = _shorten_loops(_remove_free_relays(network))
    prices = Prices(merge=merge, rates=rates or {}, weight_bits=weight_bits)
    for chain in _chains(network):
        network = _cut_best(network, chain, prices)
    return network


def has_chains(network: Network) -> bool:
    """Whether there is a chain of convolutions about which `merge_linear_chains` decides by price."""
    return bool(_chains(_shorten_loops(_remove_free_relays(network))))


def _remove_free_relays(network: Network) -> Network:
    """Relays that only pass on: their one output is an identity, or their one input is, whoever takes it."""
    for name in list(network.populations):
        if _mergeable(network, name) and _is_free(network, name):
            network = _remove(network, name)
    return network


def _shorten_loops(network: Network) -> Network:
    """Every synapse of a loop takes a time step of its delays, so its relays go wherever that is exact."""
    edges = {(c.source, c.target) for c in network.connections}
    for loop in (group for group in grouped(network.populations, edges) if is_loop(group, edges)):
        for name in loop:
            if _mergeable(network, name):
                network = _remove(network, name)
    return network


def _removable(network: Network, name: str) -> bool:
    """A relay with one consumer, whose merging is exact."""
    return len(network.out_of(name)) == 1 and _mergeable(network, name)


def _mergeable(network: Network, name: str) -> bool:
    outgoing = network.out_of(name)
    if network.populations[name].kind != "relay" or name == network.output or not outgoing:
        return False
    if any(c.delay for c in outgoing) and network.receivers[name].bias.any():
        return False  # the bias starts `delay` steps late: no constant bias can stand for it
    return all(composable(first, second) for first in network.into(name) for second in outgoing)


def _is_free(network: Network, name: str) -> bool:
    incoming, outgoing = network.into(name), network.out_of(name)
    if len(outgoing) == 1 and outgoing[0].operation.passes_on:
        return True
    return len(incoming) == 1 and incoming[0].operation.passes_on


def _remove(network: Network, name: str) -> Network:
    outgoing, relay = network.out_of(name), network.receivers[name]
    connections = [joined(first, second) for first in network.into(name) for second in outgoing]
    biased = [(c.target, bias_response(c, relay)) for c in outgoing] if relay.bias.any() else []
    return network.without(name, connections, biased)


def bias_response(connection: Connection, relay: Receiver) -> Array:
    """What the bias of a relay adds behind a connection; compact where it is the same at every pixel or time step."""
    by_step = relay.bias.reshape(-1, *relay.bias.shape[-3:])  # [1 or T, ...]
    response = connection.operation(np.broadcast_to(by_step, (len(by_step), *relay.shape)))
    first = response[:, :, :1, :1]
    compact = first if np.allclose(response, first, rtol=1e-12, atol=0) else response
    if connection.gain is not None:
        compact = compact * connection.gain
    return compact[0] if len(compact) == 1 else compact


def _chains(network: Network) -> list[list[str]]:
    """Longest runs of removable relays; all but the first have one input."""
    chains: list[list[str]] = []
    for name in network.populations:
        if not _removable(network, name):
            continue
        incoming = network.into(name)
        before = [chain for chain in chains if len(incoming) == 1 and chain[-1] == incoming[0].source]
        if before:
            before[0].append(name)
        else:
            chains.append([name])
    return [chain[:LONGEST_CHAIN] for chain in chains]


def _cut_best(network: Network, chain: list[str], prices: Prices) -> Network:
    best, note = choose(network, chain, prices)
    merged = _smallest_first(network, [name for name in chain if name not in best.kept])
    return replace(merged, notes=(*network.notes, note))


def _smallest_first(network: Network, names: list[str]) -> Network:
    """Remove relays of a chain, each time the one that leaves the smallest kernels: those in between stay small."""
    left = list(names)
    while left:
        name = min(left, key=lambda relay: _composed_weights(network, relay))
        network = _remove(network, name)
        left.remove(name)
    return network


def _composed_weights(network: Network, name: str) -> int:
    pairs = itertools.product(network.into(name), network.out_of(name))
    return sum(composed_geometry([a.operation, b.operation]).weights for a, b in pairs)
