"""Integer network -> NIR graph in real numbers, in the units of the integers, that any reader of the standard runs.

Every population is a node under its name, every connection a short row of nodes in front of it: a delay, then the
operation, then its gain. A bias is that of the convolution in front, where it has one value a channel. Clips enter
through a Scale to integers, and a graded result leaves through one back. Leaks are shares of 4096, which the node's
time constants say for the given `dt`; only what the integers round is not in the graph.

What no standard node holds is one of ours (`deploy.ir.nodes`), so that a reader which cannot run it refuses the graph.
"""

from typing import Any

import nir
import numpy as np

from deploy.exchange.biases import changes, placed
from deploy.exchange.standard import neuron_of, node_shape, nodes_of
from deploy.ir.exact import exact_network
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Connection, Network
from deploy.ir.nodes import IntegerPart
from deploy.ir.operations.identity import GainBias, Junction
from deploy.ir.populations.base import Receiver
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array, NodeShape, Shape
from deploy.ir.whole import new_name

Edge = tuple[str, str]


def view_of(network: IntNetwork, *, dt_s: float, input_shape: NodeShape) -> tuple[dict[str, nir.NIRNode], list[Edge]]:
    """Nodes and edges of the graph; clips have `input_shape`, with as many values as the input population.

    Raises `ValueError` for what works in integers alone (`deploy.passes.chip_form`).
    """
    drawing = _Drawing(exact_network(network, in_units=True), dt_s, lines=len(input_shape) == 2)
    drawing.entry(network.input_name, input_shape, network.input.scale)
    for name in network.receivers:
        drawing.population(name)
    drawing.result(network.output, network.populations[network.output].message_unit)
    return drawing.nodes, drawing.edges


class _Drawing:
    """A graph that grows, population by population."""

    def __init__(self, network: Network, dt_s: float, *, lines: bool) -> None:
        self.network, self.dt_s, self.lines = network, dt_s, lines
        self.nodes, self.edges = dict[str, nir.NIRNode](), list[Edge]()
        self.ends: dict[str, str] = {name: name for name in network.populations}  # where a population's messages are

    def shape(self, shape: Shape) -> NodeShape:
        return node_shape(shape, lines=self.lines)

    def add(self, name: str, node: nir.NIRNode, *sources: str) -> str:
        """A node under this name, or the next that is free."""
        taken: dict[str, Any] = {**self.nodes, **dict.fromkeys(set(self.network.populations) - {name})}
        free = new_name(name, taken)
        self.nodes[free] = node
        self.edges += [(source, free) for source in sources]
        return free

    def entry(self, name: str, input_shape: NodeShape, scale: float) -> None:
        """Input, and what turns its values into integers, but for rounding."""
        shape, end = self.shape(self.network.populations[name].shape), self.add(name, nir.Input(np.array(input_shape)))
        if input_shape != shape and len(shape) == 1:
            end = self.add(f"{name}_flat", nir.Flatten({"input": np.array(input_shape)}, 0, -1), end)
        elif input_shape != shape:
            end = self.add(f"{name}_shape", IntegerPart(np.array(input_shape), np.array(shape)), end)
        if scale != 1:
            end = self.add(f"{name}_units", nir.Scale(np.full(shape, scale)), end)
        self.ends[name] = end

    def result(self, name: str, unit: float) -> None:
        """Output, behind what turns integers back into real values."""
        shape, end = self.shape(self.network.populations[name].shape), self.ends[name]
        if unit != 1:
            end = self.add(f"{name}_result", nir.Scale(np.full(shape, 1 / unit)), end)
        self.add("output", nir.Output(np.array(shape)), end)

    def population(self, name: str) -> None:
        """A population and all connections into it."""
        receiver, connections = self.network.receivers[name], self.network.into(name)
        shape, found = self.shape(receiver.shape), placed(receiver, connections)
        rows = [self._row(c, found.of_kernel if c is found.connection else None) for c in connections]
        if receiver.kind == "relay" and not found.bias.any() and len(rows) == 1 and rows[0][1]:
            source, row = rows[0]
            self._chain(source, row, name, last=name)
            return
        ends = [self._chain(source, row, name) for source, row in rows]
        entry = self._receiving(name, found.receiver, found.bias)
        for end in ends:
            if (end, entry) in self.edges:  # a reader may take two edges for one
                end = self.add(f"{name}_from_{end}", nir.Scale(np.ones(shape)), end)
            self.edges.append((end, entry))

    def _receiving(self, name: str, receiver: Receiver, bias: Array) -> str:
        """The node of a population, and where edges into it end: there, or at a bias of every time step in front."""
        node = self._node(receiver, bias, self.shape(receiver.shape))
        if not changes(bias) or receiver.kind == "relay" or isinstance(node, IntegerPart):
            return self.add(name, node)
        entry = self.add(f"{name}_bias", self._gain_bias(bias, receiver.shape))
        self.add(name, node, entry)
        return entry

    def _node(self, receiver: Receiver, bias: Array, shape: NodeShape) -> nir.NIRNode:
        if not isinstance(receiver, (Lif, Integrator)):
            return self._gain_bias(bias, receiver.shape) if bias.any() else Junction(np.array(shape))
        steps, node = len(bias) if changes(bias) else 1, None
        in_front = steps > 1 and receiver.current_decay is None
        if steps == 1 or in_front:
            node = neuron_of(receiver, np.zeros((1, 1, 1)) if in_front else bias, shape, self.dt_s)
        return node or IntegerPart(np.array(shape), np.array(shape), frames=steps)

    def _gain_bias(self, bias: Array, image: Shape) -> GainBias:
        shape = self.shape(image)
        steps = bias.reshape(-1, *bias.shape[-3:])
        wide = np.broadcast_to(steps, (len(steps), *image)).reshape(-1, *shape).copy()
        return GainBias(np.array(shape), gain=np.ones((1,) * wide.ndim), bias=wide)

    def _row(self, connection: Connection, bias: Array | None) -> tuple[str, list[nir.NIRNode]]:
        """Where a connection begins, and its nodes."""
        operation = connection.operation
        before, after = self.shape(operation.in_shape), self.shape(operation.out_shape)
        row = nodes_of(connection, bias, before, after)
        if connection.delay:
            row.insert(0, nir.Delay(np.full(before, connection.delay * self.dt_s)))
        return connection.source, row

    def _chain(self, source: str, row: list[nir.NIRNode], target: str, last: str | None = None) -> str:
        end = self.ends[source]
        for i, node in enumerate(row):
            is_last = i == len(row) - 1 and last is not None
            end = self.add(str(last) if is_last else f"{target}_from_{source}", node, end)
        return end
