"""Leave out an output that only marks a population: its messages are the result themselves.

Before:  lif -> [identity] -> relay, the output
After:   lif, the output

A NIR graph has a node for its output, and perhaps one that flattens; a chip needs neither a neuron nor a synapse for
them. Channels, rows and columns keep their order when they are flattened, so the result is the same.
"""

from dataclasses import replace

from deploy.ir.network import Network
from deploy.ir.operations.identity import Identity


def drop_markers(network: Network) -> Network:
    """The network whose output is the last population that computes something; an input is left as it is."""
    while (marked := _marked(network)) is not None:
        kept = {name: p for name, p in network.populations.items() if name != network.output}
        connections = tuple(c for c in network.connections if c.target != network.output)
        network = replace(network, populations=kept, connections=connections, output=marked)
    return network


def _marked(network: Network) -> str | None:
    """The population whose messages the output passes on as they are; None where it does something itself."""
    output, entering = network.receivers.get(network.output), network.into(network.output)
    if output is None or output.kind != "relay" or output.bias.any() or network.out_of(network.output):
        return None
    if len(entering) != 1 or entering[0].source == network.input_name:
        return None
    c = entering[0]
    passes_on = isinstance(c.operation, Identity) and c.operation.factor == 1 and not c.delay and c.gain is None
    return c.source if passes_on else None
