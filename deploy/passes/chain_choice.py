"""Which relays of a chain of convolutions stay: every form is judged by its shapes alone, before anything is composed.

A form can be impossible (not exact, or a kernel that no chip stores); of the others the cheapest is taken.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import Receiver
from deploy.passes.chain_cost import count_biases, count_relay, count_row
from deploy.passes.compose import composed_geometry, exact_in_row
from hardware import Chip, OpCounts, load_chip, price
from hardware.chip import MEMORY_BITS
from hardware.geometry import LinearGeometry

RATE = 0.1  # spikes per neuron and time step, where none was measured
PJ_PER_NJ = 1e3

Merge = Chip | Literal["always", "never"]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What decides between forms: a chip, with what its energy depends on, or one answer for all."""

    merge: Merge
    rates: Mapping[str, float]  # spikes of a neuron in a time step, by layer; empty: assumed
    weight_bits: int

    @property
    def basis(self) -> str:
        """Where the rates come from, in words."""
        return "measured rates" if self.rates else f"a rate of {RATE:.0%}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One form of a chain."""

    kept: tuple[str, ...]
    forbidden: str  # why it cannot be; empty where it can
    pj: float  # a time step, on the chip that decides; 0 where none does


def choose(network: Network, chain: list[str], prices: Prices) -> tuple[Choice, str]:
    """The best form of a chain of relays, and why, in a line."""
    subsets = itertools.chain.from_iterable(itertools.combinations(chain, n) for n in range(len(chain) + 1))
    choices = [_choice(network, chain, kept, prices) for kept in subsets]
    best = _best([choice for choice in choices if not choice.forbidden], prices.merge)
    return best, _explain(chain, best, choices, prices)


@functools.cache
def most_weights(weight_bits: int) -> int:
    """Weights that the cores of one Loihi 2 store together, the most that composed kernels may have."""
    limits = load_chip("loihi2").limits
    assert limits is not None
    assert limits.synapse_memory is not None
    bits = limits.synapse_memory.value * MEMORY_BITS[str(limits.synapse_memory.unit)]
    return bits * limits.cores.value // weight_bits


def _best(choices: list[Choice], merge: Merge) -> Choice:
    if merge == "never":
        return max(choices, key=lambda choice: len(choice.kept))
    return min(choices, key=lambda choice: (choice.pj, len(choice.kept)))


def _explain(chain: list[str], best: Choice, choices: list[Choice], prices: Prices) -> str:
    merge = prices.merge
    decision = f"keeps {', '.join(best.kept)} as graded relay" if best.kept else "merges into one convolution"
    merged, all_kept = choices[0], choices[-1]
    if isinstance(merge, Chip):
        one = merged.forbidden or _nj(merged)
        forms = f"merged {one}, all relays {_nj(all_kept)}, chosen {_nj(best)} nJ"
        why = f"{merge.title}: {forms} a time step at {prices.basis}"
    else:
        why = f"as asked: {merge}; merged {merged.forbidden}" if merged.forbidden else f"as asked: {merge}"
    return f"{' -> '.join(chain)}: {decision} ({why})"


def _nj(choice: Choice) -> str:
    nj = choice.pj / PJ_PER_NJ
    return f"{nj:,.0f}" if nj >= 1000 else f"{nj:.4g}"


def _choice(network: Network, chain: list[str], kept: tuple[str, ...], prices: Prices) -> Choice:
    rows, relays = _form(network, chain, kept)
    forbidden = _forbidden(rows, prices.weight_bits)
    if forbidden or not isinstance(prices.merge, Chip):
        return Choice(kept=kept, forbidden=forbidden, pj=0.0)
    counts = sum((_count_row(network, row, prices) for row in rows), OpCounts())
    for relay in relays:
        counts += count_relay(relay.shape, steps=1) + count_biases(relay.bias, relay.shape, steps=1)
    return Choice(kept=kept, forbidden="", pj=price(counts, prices.merge).total_pj)


def _forbidden(rows: list[list[Connection]], weight_bits: int) -> str:
    """Why connections in rows cannot be one each; a kernel that the graph has itself may be of any size."""
    if not all(map(exact_in_row, rows)):
        return "not exact"
    limit, composed = most_weights(weight_bits), sum(_composed(row).weights for row in rows if len(row) > 1)
    apart = sum(c.operation.weights for row in rows for c in row)
    if composed <= max(limit, apart):
        return ""
    return f"{composed:,} weights, allowed {limit:,}: what one Loihi 2 stores"


def _composed(row: list[Connection]) -> LinearGeometry:
    return composed_geometry([connection.operation for connection in row])


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


def _count_row(network: Network, row: list[Connection], prices: Prices) -> OpCounts:
    source = row[0].source
    spiking = network.spiking(source)
    messages = math.prod(network.populations[source].shape) * (prices.rates.get(source, RATE) if spiking else 1.0)
    return count_row(_composed(row), messages=messages, binary=spiking, weight_bits=prices.weight_bits)
