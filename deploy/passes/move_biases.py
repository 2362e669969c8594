"""Move the constant bias of a relay into what its messages reach, where that is exact and adds nothing.

Before:  relay + b -> [identity] -> lif              relay + b -> [1x1 kernel w] -> relay + c
After:   relay     -> [identity] -> lif + b          relay     -> [1x1 kernel w] -> relay + (w b + c)

Neurons have a bias of their own anyway; a relay of Lava's (`GradedVec`) has none, so on a chip it needs microcode, or
synapses from a neuron that always fires. Relays stand in order of execution, so a bias goes on from relay to relay
until it meets neurons; into a relay that could not pass it on (the output, for one), none is moved.

It stays where a reader is not linear (attention, a max pool), hears it late or through a gain of every time step, or
keeps a current (which would have to begin with less of it); where the relay's sum is the result; and where moving it
would take more additions or more stored values than it takes now: of several readers each gets a bias, and behind a
kernel whose padding sees less of it at the border every pixel one of its own.
"""

from collections import Counter
from dataclasses import replace

from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import changes_with_time
from deploy.ir.populations.membrane import Membrane
from deploy.passes.chain_cost import count_biases
from deploy.passes.merge_linear_chains import bias_response


def move_biases(network: Network) -> Network:
    """The network with such biases moved; it computes the same, but for what these relays send."""
    closed = frozenset[str]()
    while True:
        moved, names = _moved_on(network, closed)
        ends = {name for name in moved.receivers if _has_constant_bias(moved, name)}
        if ends <= closed:
            break
        closed |= ends
    if not names:
        return network
    note = f"constant biases of {', '.join(names)} are added by what hears them; these send that much less"
    return replace(moved, notes=(*moved.notes, note))


def _moved_on(network: Network, closed: frozenset[str]) -> tuple[Network, list[str]]:
    """The network with biases moved, but into none of the `closed` relays, and the names of those that had them."""
    names = list[str]()
    for name in network.receivers:
        readers = {c.target for c in network.out_of(name)}
        if _has_constant_bias(network, name) and not readers & closed and passes_constants_on(network, name):
            moved = _moved(network, name)
            if _costs_no_more(moved, network, {name, *readers}):
                network, names = moved, [*names, name]
    return network, names


def _has_constant_bias(network: Network, name: str) -> bool:
    receiver = network.receivers[name]
    return receiver.kind == "relay" and bool(receiver.bias.any()) and not changes_with_time(receiver.bias)


def passes_constants_on(network: Network, name: str) -> bool:
    """Whether a constant that a population sends can be a bias of what hears it instead."""
    readers = network.out_of(name)
    return bool(readers) and name != network.output and all(_adds_a_constant(network, c) for c in readers)


def _adds_a_constant(network: Network, connection: Connection) -> bool:
    target, gain = network.receivers[connection.target], connection.gain
    keeps_current = isinstance(target, Membrane) and target.current_decay is not None
    changes = gain is not None and len(gain) > 1
    return connection.operation.linear is not None and not (connection.delay or changes or keeps_current)


def _moved(network: Network, name: str) -> Network:
    populations, receivers = dict(network.populations), network.receivers
    relay = receivers[name]
    populations[name] = relay.with_input_bias(-relay.bias, network.frames)
    for c in network.out_of(name):
        receivers[c.target] = receivers[c.target].with_input_bias(bias_response(c, relay), network.frames)
        populations[c.target] = receivers[c.target]
    return replace(network, populations=populations)


def _costs_no_more(moved: Network, network: Network, names: set[str]) -> bool:
    """Whether the biases of these populations take no more additions, and no more stored values."""
    after, before = _cost(moved, names), _cost(network, names)
    return after["additions"] <= before["additions"] and after["values"] <= before["values"]


def _cost(network: Network, names: set[str]) -> Counter[str]:
    found = Counter[str]()
    for receiver in (network.receivers[name] for name in names):
        additions = count_biases(receiver.bias, receiver.shape, steps=1).bias_adds
        found += Counter(additions=additions, values=receiver.bias.size if additions else 0)
    return found
