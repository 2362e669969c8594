"""Where a constant input of a population stands in a graph: in the convolution in front of it, or in its own node.

A current with memory that begins a clip at S is one that begins at 0 and receives `-S current_decay` in every time
step, plus S: that is what a bias in front of such neurons has become (`deploy.ir.populations.membrane`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.network import Connection
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Receiver
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.types import Array

NO_BIAS = np.zeros((1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A population, what is left to it of its bias, and the convolution that has the rest, one value a channel."""

    receiver: Receiver
    bias: Array
    connection: Connection | None = None
    of_kernel: Array | None = None  # [C]


def placed(receiver: Receiver, connections: Sequence[Connection]) -> Placed:
    """The bias in the convolution, where there is one and a channel has one value; else with the population."""
    bias = receiver.bias if changes(receiver.bias) else receiver.bias.reshape(receiver.bias.shape[-3:])
    left = Placed(receiver=receiver, bias=bias)
    convolution = next((c for c in connections if isinstance(c.operation, Convolution) and c.gain is None), None)
    if convolution is None:
        return left
    if isinstance(receiver, (Lif, Integrator)) and receiver.current_decay is not None:
        if receiver.start_current is None:
            return left
        entering, rest = -receiver.start_current * receiver.current_decay, bias + receiver.start_current
        receiver = replace(receiver, start_current=None)
    else:
        entering, rest = bias, NO_BIAS
    channels = None if changes(entering) else by_channel(entering, receiver.shape[0])
    if channels is None or not channels.any():
        return left if channels is None else Placed(receiver=receiver, bias=rest)
    return Placed(receiver=receiver, bias=rest, connection=convolution, of_kernel=channels)


def changes(values: Array) -> bool:
    """Whether a bias or gain [T, C, H, W] differs between time steps."""
    return values.ndim == 4 and len(values) > 1


def by_channel(values: Array, channels: int) -> Array | None:
    """One value for each channel, [C], of values that broadcast to (C, H, W); None where a channel has several."""
    rows = values.reshape(len(values), -1)
    return np.broadcast_to(rows[:, 0], channels) if (rows == rows[:, :1]).all() else None
