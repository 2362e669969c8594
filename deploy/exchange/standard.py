"""Operations and neurons in real numbers as nodes of NIR; what standard nodes cannot hold is an `IntegerPart`.

Signals of one pixel are vectors in NIR, those of one row lines where the network's clips are lines; see `node_shape`.
"""

from typing import Any

import nir
import numpy as np

from deploy.exchange.biases import changes
from deploy.ir.network import Connection
from deploy.ir.nodes import IntegerPart
from deploy.ir.operations.identity import GainBias
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array, NodeShape, Shape

NO_LEAK = 2.0**-40  # the share that a neuron without a leak loses in a time step where other neurons of its layer leak


def node_shape(shape: Shape, *, lines: bool) -> NodeShape:
    """The shape of a signal (C, H, W) between nodes: (C,) for one pixel, (C, W) for one row where there are `lines`."""
    if shape[1:] == (1, 1):
        return shape[:1]
    return shape[::2] if lines and shape[1] == 1 else shape


def nodes_of(connection: Connection, bias: Array | None, before: NodeShape, after: NodeShape) -> list[nir.NIRNode]:
    """The nodes of a connection behind its delay, in a row; a convolution's have a `bias` for every channel."""
    operation, gain = connection.operation, connection.gain
    found = operation.as_nodes(bias, before, after)
    if found is None:
        return [IntegerPart(np.array(before), np.array(after))]
    if gain is None:
        return found
    if changes(gain):
        wide = np.broadcast_to(gain, (len(gain), *operation.out_shape)).reshape(-1, *after)
        return [*found, GainBias(np.array(after), gain=wide, bias=np.zeros((1,) * wide.ndim))]
    return [*found, nir.Scale(np.broadcast_to(gain, (1, *operation.out_shape)).reshape(after).copy())]


def neuron_of(population: Lif | Integrator, bias: Array, shape: NodeShape, dt_s: float) -> nir.NIRNode | None:
    """The node of neurons that a constant `bias` drives; None where standard nodes cannot hold them.

    They begin a clip at 0: potentials are counted from where they do. Time constants are such that one Euler step of
    `dt_s` is one of the network.
    """
    sends_it = population.start is not None and isinstance(population, Integrator)
    if sends_it or population.start_current is not None or getattr(population, "subtract", None) is not None:
        return None

    def full(values: Array) -> Array:
        return np.broadcast_to(values, population.shape).reshape(shape).astype(np.float64)

    share = np.maximum(full(population.decay), NO_LEAK)
    begin = np.zeros(shape) if population.start is None else full(population.start)
    fields: dict[str, Any] = {"r": 1 / share, "v_leak": full(bias) / share - begin}
    if isinstance(population, Lif):
        fields |= {"v_threshold": full(population.threshold) - begin, "v_reset": -begin}
    if population.current_decay is not None:
        fast = np.maximum(full(population.current_decay), NO_LEAK)
        kind = nir.CubaLIF if isinstance(population, Lif) else nir.CubaLI
        return kind(tau_syn=dt_s / fast, tau_mem=dt_s / share, w_in=1 / fast, **fields)
    if not population.decay.any() and not bias.any():
        del fields["v_leak"]
        return (nir.IF if isinstance(population, Lif) else nir.I)(**fields | {"r": np.full(shape, 1 / dt_s)})
    return (nir.LIF if isinstance(population, Lif) else nir.LI)(tau=dt_s / share, **fields)
