"""Merge connections that follow each other without a neuron between, where that is exact and cheaper.

Before:  lif -> [1x1] -> relay -> [depthwise 5x5] -> relay -> [1x1] -> relay -> [identity] -> junction
After:   lif -> [5x5] -> junction, and a bias map at the junction

The relays' biases become one bias map, the chain's response to zeros: at the border of the image a padded kernel sees
less of an inner bias, so the map is not the same at every pixel. A relay that stays is a graded message.

Which form is better depends on what is paid for. At 45 nm in arithmetic alone an addition of a spike costs a fifth of a
multiply-accumulate, so merged kernels win; where every operation fetches a weight and a potential, or costs as much as
every other, the many operations of a merged kernel lose against the few of a chain. So the choice is an argument: a
chip, whose energy of a time step decides chain by chain (`chain_cost`, at firing rates that were measured or assumed),
or one form for all. Every form computes the same.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deploy.ir.loops import grouped, is_loop
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import Receiver
from deploy.ir.types import Array
from deploy.passes.chain_cost import count_biases, count_relay, count_row
from deploy.passes.compose import composable, composed_geometry, exact_in_row, joined
from hardware import Chip, ChipError, OpCounts, load_chip, price
from svformer.common.errors import InputError

RATE = 0.1  # spikes per neuron and time step, where none was measured
LONGEST_CHAIN = 6  # relays for which every choice is tried
PJ_PER_NJ = 1e3

Merge = Chip | Literal["always", "never"]


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
    prices = _Prices(merge=merge, rates=rates or {}, weight_bits=weight_bits)
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


@dataclass(frozen=True, kw_only=True)
class _Prices:
    """What decides between forms: a chip, with what its energy depends on, or one answer for all."""

    merge: Merge
    rates: Mapping[str, float]  # spikes of a neuron in a time step, by layer; empty: assumed
    weight_bits: int

    @property
    def basis(self) -> str:
        """Where the rates come from, in words."""
        return "measured rates" if self.rates else f"a rate of {RATE:.0%}"


@dataclass(frozen=True, kw_only=True)
class _Choice:
    kept: tuple[str, ...]
    exact: bool
    pj: float  # a time step, on the chip that decides; 0 where none does


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


def _cut_best(network: Network, chain: list[str], prices: _Prices) -> Network:
    subsets = itertools.chain.from_iterable(itertools.combinations(chain, n) for n in range(len(chain) + 1))
    choices = [_choice(network, chain, kept, prices) for kept in subsets]
    best = _best([choice for choice in choices if choice.exact], prices.merge)
    result = network
    for name in chain:
        if name not in best.kept:
            result = _remove(result, name)
    note = _explain(chain, best, choices, prices)
    return replace(result, notes=(*network.notes, note))


def _best(choices: list[_Choice], merge: Merge) -> _Choice:
    if merge == "never":
        return max(choices, key=lambda choice: len(choice.kept))
    return min(choices, key=lambda choice: (choice.pj, len(choice.kept)))


def _explain(chain: list[str], best: _Choice, choices: list[_Choice], prices: _Prices) -> str:
    merge = prices.merge
    decision = f"keeps {', '.join(best.kept)} as graded relay" if best.kept else "merges into one convolution"
    merged, all_kept = choices[0], choices[-1]
    if isinstance(merge, Chip):
        one = _nj(merged) if merged.exact else "not exact"
        forms = f"merged {one}, all relays {_nj(all_kept)}, chosen {_nj(best)} nJ"
        why = f"{merge.title}: {forms} a time step at {prices.basis}"
    else:
        why = f"as asked: {merge}" if merged.exact else f"as asked: {merge}; merged not exact"
    return f"{' -> '.join(chain)}: {decision} ({why})"


def _nj(choice: _Choice) -> str:
    nj = choice.pj / PJ_PER_NJ
    return f"{nj:,.0f}" if nj >= 1000 else f"{nj:.4g}"


def _choice(network: Network, chain: list[str], kept: tuple[str, ...], prices: _Prices) -> _Choice:
    rows, relays = _form(network, chain, kept)
    exact = all(map(exact_in_row, rows))
    if not exact or not isinstance(prices.merge, Chip):
        return _Choice(kept=kept, exact=exact, pj=0.0)
    counts = sum((_count_row(network, row, prices) for row in rows), OpCounts())
    for relay in relays:
        counts += count_relay(relay.shape, steps=1) + count_biases(relay.bias, relay.shape, steps=1)
    return _Choice(kept=kept, exact=True, pj=price(counts, prices.merge).total_pj)


def _form(network: Network, chain: list[str], kept: tuple[str, ...]) -> tuple[list[list[Connection]], list[Receiver]]:
    """Connections of the chain, in rows that become one, when the relays `kept` stay; and these relays."""
    rows: list[list[Connection]] = [[first] for first in network.into(chain[0])]
    done: list[list[Connection]] = []
    for name in chain:
        link = network.out_of(name)[0]
        if name in kept:
            done, rows = [*done, *rows], [[link]]
        else:
            rows = [[*row, link] for row in rows]
    return [*done, *rows], [network.receivers[name] for name in kept]


def _count_row(network: Network, row: list[Connection], prices: _Prices) -> OpCounts:
    source = row[0].source
    spiking = network.spiking(source)
    messages = math.prod(network.populations[source].shape) * (prices.rates.get(source, RATE) if spiking else 1.0)
    geometry = composed_geometry([connection.operation for connection in row])
    return count_row(geometry, messages=messages, binary=spiking, weight_bits=prices.weight_bits)
