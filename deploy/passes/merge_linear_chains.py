"""Merge connections that follow each other without a neuron between, where that is exact and cheaper.

Before:  lif -> [1x1] -> relay -> [depthwise 5x5] -> relay -> [1x1] -> relay -> [identity] -> junction
After:   lif -> [5x5] -> junction, and a bias map at the junction

The relays' biases become one bias map, the chain's response to zeros: at the border of the image a padded kernel sees
less of an inner bias, so the map is not the same at every pixel. A relay that stays is a graded message.

Cost of a choice, per time step: additions for every spike (assumed firing rate `RATE`), and multiply-accumulates for
every value of a relay, each counted as `MAC_OVER_ADD` additions (45 nm: 4.6 pJ over 0.9 pJ, Horowitz 2014).
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.loops import grouped, is_loop
from deploy.ir.network import Array, Connection, Identity, Network, Population, Relay
from deploy.passes.compose import composable, exact_in_row, joined, synapses

RATE = 0.1
MAC_OVER_ADD = 4.6 / 0.9
LONGEST_CHAIN = 6  # relays for which every choice is tried


def merge_linear_chains(network: Network) -> Network:
    """Remove the relays that cost more than they save, or that a loop has no time for."""
    network = _shorten_loops(_remove_free_relays(network))
    for chain in _chains(network):
        network = _cut_best(network, chain)
    return network


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
    population, outgoing = network.populations[name], network.out_of(name)
    if not isinstance(population, Relay) or name == network.output or not outgoing:
        return False
    if any(c.delay for c in outgoing) and population.bias.any():
        return False  # the bias starts `delay` steps late: no constant bias can stand for it
    return all(composable(first, second) for first in network.into(name) for second in outgoing)


def _is_free(network: Network, name: str) -> bool:
    incoming, outgoing = network.into(name), network.out_of(name)
    if len(outgoing) == 1 and isinstance(outgoing[0].operation, Identity):
        return True
    return len(incoming) == 1 and isinstance(incoming[0].operation, Identity)


def _remove(network: Network, name: str) -> Network:
    outgoing, relay = network.out_of(name), network.populations[name]
    assert isinstance(relay, Relay)
    connections = [joined(first, second) for first in network.into(name) for second in outgoing]
    biased = [(c.target, bias_response(c, relay)) for c in outgoing] if relay.bias.any() else []
    return network.without(name, connections, biased)


def bias_response(connection: Connection, relay: Population) -> Array:
    """What the bias of a relay adds behind a connection; compact where it is the same at every pixel or time step."""
    assert isinstance(relay, Relay)
    by_step = relay.bias.reshape(-1, *relay.bias.shape[-3:])  # [1 or T, ...]
    response = connection.operation(np.broadcast_to(by_step, (len(by_step), *relay.shape)))
    first = response[:, :, :1, :1]
    compact = first if np.allclose(response, first, rtol=1e-12, atol=0) else response
    if connection.gain is not None:
        compact = compact * connection.gain
    return compact[0] if len(compact) == 1 else compact


@dataclass(frozen=True, kw_only=True)
class _Choice:
    kept: tuple[str, ...]
    cost: float


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


def _cut_best(network: Network, chain: list[str]) -> Network:
    subsets = itertools.chain.from_iterable(itertools.combinations(chain, n) for n in range(len(chain) + 1))
    choices = [_Choice(kept=kept, cost=_cost(network, chain, kept)) for kept in subsets]
    best = min(choices, key=lambda choice: (choice.cost, len(choice.kept)))
    result = network
    for name in chain:
        if name not in best.kept:
            result = _remove(result, name)
    return replace(result, notes=(*network.notes, _explain(chain, best, choices)))


def _explain(chain: list[str], best: _Choice, choices: list[_Choice]) -> str:
    merged, all_kept = choices[0], choices[-1]
    decision = f"keeps {', '.join(best.kept)} as graded relay" if best.kept else "merges into one convolution"
    merged_cost = f"{merged.cost:,.0f}" if merged.cost < math.inf else "not exact"
    costs = f"merged {merged_cost}, all relays {all_kept.cost:,.0f}, chosen {best.cost:,.0f} additions a time step"
    return f"{' -> '.join(chain)}: {decision} ({costs})"


def _cost(network: Network, chain: list[str], kept: tuple[str, ...]) -> float:
    """Operations of the chain's connections per time step when the relays `kept` stay; infinite if inexact."""
    entering, total, from_relay = network.into(chain[0]), 0.0, False
    pending: list[Connection] = []
    for name in chain:
        link = network.out_of(name)[0]
        if name in kept:
            total += _segment_cost(network, entering, pending, from_relay)
            pending, from_relay = [link], True
        else:
            pending.append(link)
    return total + _segment_cost(network, entering, pending, from_relay)


def _segment_cost(network: Network, entering: list[Connection], links: list[Connection], from_relay: bool) -> float:
    rows = [links] if from_relay else [[first, *links] for first in entering]
    if not all(map(exact_in_row, rows)):
        return math.inf
    return sum(
        (RATE if network.spiking(row[0].source) else MAC_OVER_ADD) * synapses([c.operation for c in row])
        for row in rows
    )
