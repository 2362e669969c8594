"""Merge connections that follow each other without a neuron between, where that is exact and cheaper.

Before:  lif -> [1x1] -> relay -> [depthwise 5x5] -> relay -> [1x1] -> relay -> [identity] -> junction
After:   lif -> [5x5] -> junction, and a bias map at the junction

The relays' biases become one bias map, the chain's response to zeros: at the border of the image a padded kernel sees
less of an inner bias, so the map is not the same at every pixel. A relay that stays is a graded message.

Cost of a choice, per time step: additions for every spike (assumed firing rate `RATE`), and multiply-accumulates for
every value of a relay, each counted as `MAC_OVER_ADD` additions (45 nm: 4.6 pJ over 0.9 pJ, Horowitz 2014).
"""

import functools
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.loops import grouped, is_loop
from deploy.ir.network import Array, Connection, Convolution, Identity, Network, Operation, Population, Relay
from hardware.geometry import ConvGeometry

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
    return all(_composable(first, second) for first in network.into(name) for second in outgoing)


def _is_free(network: Network, name: str) -> bool:
    incoming, outgoing = network.into(name), network.out_of(name)
    if len(outgoing) == 1 and isinstance(outgoing[0].operation, Identity):
        return True
    return len(incoming) == 1 and isinstance(incoming[0].operation, Identity)


def _composable(first: Connection, second: Connection) -> bool:
    if first.gain is not None:
        if second.delay and len(first.gain) > 1:
            return False  # a delay mixes the time steps that different gains would have to multiply
        if not isinstance(second.operation, Identity) and not _is_diagonal(second.operation):
            return False  # a kernel mixes positions or channels
    return _operations_composable(first.operation, second.operation)


def _operations_composable(first: Operation, second: Operation) -> bool:
    if isinstance(second, Identity):
        return isinstance(first, Identity) or second.in_shape == second.out_shape
    if not isinstance(second, Convolution):
        return False  # attention is not linear: it needs the sum itself
    if isinstance(first, Identity):
        return first.in_shape == first.out_shape or _covers_image(second)
    if not isinstance(first, Convolution) or first.trained_bits is not None or second.trained_bits is not None:
        return False  # a product of weights would not lie on their grid
    return _exact([first, second])


def _exact(operations: list[Operation]) -> bool:
    """Whether convolutions in a row are one convolution at the border of the image, too.

    Outside the image the inner signal is zero padding. A composed kernel would see the outer rim of the earlier
    convolutions there, unless none of them has a rim (all 1x1) or the later one never looks outside.
    """
    convolutions = [operation for operation in operations if isinstance(operation, Convolution)]
    if any(c.geometry.dilation != (1, 1) for c in convolutions) and sum(not _is_diagonal(c) for c in convolutions) > 1:
        return False
    kernels = [c.geometry for c in convolutions]
    rimless = [g.kernel == (1, 1) and g.padding == (0, 0) for g in kernels]
    return all(g.padding == (0, 0) or all(rimless[:i]) for i, g in enumerate(kernels))


def _covers_image(operation: Convolution) -> bool:
    """Whether a convolution is a dense layer of a vector."""
    g = operation.geometry
    return g.in_shape[1:] == g.kernel == (1, 1) and g.groups == 1


def compose(first: Operation, second: Operation) -> Operation:
    """`second` after `first`, as one operation; see `_composable` for what is exact."""
    if isinstance(first, Identity):
        return _behind_identity(first, second)
    if isinstance(second, Identity):
        return first
    assert isinstance(first, Convolution)
    assert isinstance(second, Convolution)
    if _is_diagonal(second):
        return replace(first, weight=first.weight * second.weight)
    if _is_diagonal(first):
        return replace(second, weight=second.weight * _by_input(first.weight, second.geometry))
    geometry = _composed_geometry(first.geometry, second.geometry)
    outer, inner = _blocks(second, geometry.groups), _blocks(first, geometry.groups)
    (sy, sx), (ky, kx) = first.geometry.stride, first.geometry.kernel
    weight = np.zeros((geometry.groups, outer.shape[1], inner.shape[2], *geometry.kernel))
    for y, x in np.ndindex(*second.geometry.kernel):
        product = np.einsum("gom,gmiyx->goiyx", outer[..., y, x], inner)
        weight[..., y * sy : y * sy + ky, x * sx : x * sx + kx] += product
    return Convolution(weight=weight.reshape(-1, *weight.shape[2:]), geometry=geometry)


def _is_diagonal(operation: Operation) -> bool:
    """Whether an operation only multiplies every channel with a factor."""
    if not isinstance(operation, Convolution):
        return False
    g = operation.geometry
    plain = g.kernel == (1, 1) and g.stride == (1, 1) and g.padding == (0, 0)
    return plain and g.groups == g.in_shape[0] == g.out_channels


def _by_input(factors: Array, geometry: ConvGeometry) -> Array:
    """Factors of input channels [C, 1, 1, 1] as they stand at the weights of every output, [O, C / groups, 1, 1]."""
    by_group = factors.reshape(geometry.groups, 1, -1, 1, 1)
    outputs = geometry.out_channels // geometry.groups
    return np.broadcast_to(by_group, (geometry.groups, outputs, *by_group.shape[2:])).reshape(-1, *by_group.shape[2:])


def _behind_identity(first: Identity, second: Operation) -> Operation:
    if isinstance(second, Identity):
        return Identity(in_shape=first.in_shape, out_shape=second.out_shape)
    if first.in_shape == first.out_shape:
        return second
    assert isinstance(second, Convolution)  # a dense layer behind a flattened image looks at the whole image
    channels, height, width = first.in_shape
    weight = second.weight.reshape(-1, channels, height, width)
    geometry = ConvGeometry(in_shape=first.in_shape, out_channels=len(weight), kernel=(height, width))
    return Convolution(weight=weight, geometry=geometry)


def _composed_geometry(first: ConvGeometry, second: ConvGeometry) -> ConvGeometry:
    def along(axis: int) -> tuple[int, int, int]:
        stride = first.stride[axis]
        kernel = first.kernel[axis] + (second.kernel[axis] - 1) * stride
        return kernel, stride * second.stride[axis], first.padding[axis] + second.padding[axis] * stride

    (ky, sy, py), (kx, sx, px) = along(0), along(1)
    dilation = max(first.dilation, second.dilation)  # one of them is 1x1 where this is not 1
    return ConvGeometry(
        in_shape=first.in_shape,
        out_channels=second.out_channels,
        kernel=(ky, kx),
        stride=(sy, sx),
        padding=(py, px),
        dilation=dilation,
        groups=math.gcd(first.groups, second.groups),
    )


def _blocks(operation: Convolution, count: int) -> Array:
    """The kernel as so many independent blocks, zeros between the groups inside one: [count, O, C, kh, kw]."""
    groups = operation.geometry.groups // count
    weight = operation.weight.reshape(count, groups, -1, *operation.weight.shape[1:])
    _, _, outputs, inputs, *kernel = weight.shape
    dense = np.zeros((count, groups, outputs, groups, inputs, *kernel))
    for g in range(groups):
        dense[:, g, :, g] = weight[:, g]
    return dense.reshape(count, groups * outputs, groups * inputs, *kernel)


def _remove(network: Network, name: str) -> Network:
    outgoing, relay = network.out_of(name), network.populations[name]
    assert isinstance(relay, Relay)
    connections = [_joined(first, second) for first in network.into(name) for second in outgoing]
    biased = [(c.target, bias_response(c, relay)) for c in outgoing] if relay.bias.any() else []
    return network.without(name, connections, biased)


def _joined(first: Connection, second: Connection) -> Connection:
    gains = [gain for gain in (_behind(first.gain, second.operation), second.gain) if gain is not None]
    return Connection(
        source=first.source,
        target=second.target,
        operation=compose(first.operation, second.operation),
        delay=first.delay + second.delay,
        gain=functools.reduce(np.multiply, gains) if gains else None,
    )


def _behind(gain: Array | None, second: Operation) -> Array | None:
    """A gain in the shape that the signal has behind an identity."""
    if gain is None or not isinstance(second, Identity) or second.in_shape == second.out_shape:
        return gain
    return np.broadcast_to(gain, (len(gain), *second.in_shape)).reshape(len(gain), *second.out_shape)


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
    if not all(_exact([c.operation for c in row]) and _gain_stays_last(row) for row in rows):
        return math.inf
    return sum(
        (RATE if network.spiking(row[0].source) else MAC_OVER_ADD) * _synapses([c.operation for c in row])
        for row in rows
    )


def _gain_stays_last(row: list[Connection]) -> bool:
    """Whether what stands behind the first gain only multiplies channels or passes on."""
    first = next((i for i, c in enumerate(row) if c.gain is not None), len(row))
    return all(isinstance(c.operation, Identity) or _is_diagonal(c.operation) for c in row[first + 1 :])


def _synapses(operations: list[Operation]) -> int:
    """Synapses of the operations composed into one; geometry only. Without a kernel, one for every value."""
    kernels = [operation.geometry for operation in operations if isinstance(operation, Convolution)]
    if not kernels:
        return operations[0].geometry.inputs
    return functools.reduce(_composed_geometry, kernels).synapses
