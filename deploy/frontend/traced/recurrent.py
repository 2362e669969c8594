"""Neurons that hear their own spikes, one time step late: a loop of the graph.

Source: snnTorch's RLeaky and RSynaptic, `x[t] + recurrent(spikes[t - 1])` in the place of x[t]. A bias of the loop is
there at every time step, the first included, so it stands in front of the neurons and not in the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from deploy.frontend.traced.axes import Refused
from deploy.frontend.traced.draft import Conv, Draft, Pair, Window
from deploy.frontend.traced.neuron import Lay, Neuron
from deploy.ir.types import Array, Shape

Numbers = Callable[[Any], Array]


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """A layer of neurons with a kernel [O, C / groups, kh, kw] and a bias [O] from their spikes to their input."""

    neuron: Neuron
    weight: Array
    bias: Array
    padding: Pair = (0, 0)
    each: bool = False  # whether the kernel is one number for every neuron: its own spike, times this

    def require_node(self) -> None:
        """Raise `Refused` where there is no node for such neurons."""
        self.neuron.require_node()

    def problem(self, sent: ArrayLike) -> str | None:
        """What a module sends that such neurons do not; None for nothing."""
        return self.neuron.problem(sent)

    def layer(self, draft: Draft, name: str, source: str, lay: Lay) -> str:
        """The nodes of such neurons behind a source."""
        conv = self._conv(draft.shapes[source], lay)
        if conv.bias.any():
            source = draft.channelwise(f"{name}.bias", source, 1.0, conv.bias)
            conv = Conv(weight=conv.weight, bias=0 * conv.bias, groups=conv.groups, window=conv.window)
        found = self.neuron.layer(draft, name, source, lay)
        draft.back.append((draft.conv(f"{name}.recurrent", conv, found), found))
        return found

    def _conv(self, shape: Shape, lay: Lay) -> Conv:
        """The kernel with the channels in the order that they have in the node."""
        channels = shape[0]
        if self.each:
            factors = np.broadcast_to(lay(self.weight), shape).reshape(channels, -1)
            if (factors != factors[:, :1]).any():
                raise Refused("a weight V for every pixel; allowed: one for all neurons, or one for each channel")
            gain = factors[:, :1, None, None].astype(np.float64)
            return Conv(weight=gain, bias=np.zeros(channels), groups=channels)
        if len(self.weight) != channels:
            raise Refused(f"recurrent weights of {len(self.weight)} features in a layer of {channels} channels")
        numbered = np.arange(channels, dtype=np.float64)
        laid = lay(numbered if shape[1:] == (1, 1) else numbered[:, None, None])
        order = laid.reshape(channels, -1)[:, 0].astype(int)
        weight, window = self.weight[order][:, order], Window(padding=self.padding)
        return Conv(weight=weight, bias=self.bias[order], window=window)


def recurrent(neuron: Neuron, module: Any, numbers: Numbers) -> Recurrent:
    """The neurons of a module of snnTorch with its `recurrent`: dense, a convolution, or one weight each."""
    back = module.recurrent
    if isinstance(back, nn.Linear):
        weight = numbers(back.weight)[:, :, None, None]
    elif isinstance(back, nn.Conv2d):
        weight = numbers(back.weight)
    else:
        return Recurrent(neuron=neuron, weight=numbers(back.V), bias=np.zeros(1), each=True)
    bias = np.zeros(len(weight)) if back.bias is None else numbers(back.bias)
    rows, columns = (size // 2 for size in weight.shape[2:])  # as snnTorch pads it
    if (2 * rows + 1, 2 * columns + 1) != weight.shape[2:]:
        raise Refused("a recurrent kernel that changes the size of the image; allowed: odd kernels")
    return Recurrent(neuron=neuron, weight=weight, bias=bias, padding=(rows, columns))
