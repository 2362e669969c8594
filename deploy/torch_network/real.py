"""Operations and populations of the lowered network in real numbers on tensors of float64; see `operations` and
`populations`, whose tables these join.

Sums are added up in another order than NumPy does, so a potential may differ in its last digits from
`deploy.ir.network.run_float`, and a spike where it ties with its threshold.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from deploy.ir.operations.attention import Attention
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.operations.max_pool import MaxPool
from deploy.ir.operations.permutation import Permuted
from deploy.ir.operations.product import Product
from deploy.ir.operations.segment import Segment
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.membrane import Membrane
from deploy.ir.populations.relay import Relay
from deploy.torch_network.operations import applied, attended, contracted, moved, placed, pooled
from deploy.torch_network.populations import Constants, Step, begun


@applied.register
def _(operation: Convolution, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    assert weight is not None
    g = operation.geometry
    return F.conv2d(x_NCHW, weight, None, g.stride, g.padding, g.dilation, g.groups)


@applied.register
def _(operation: Attention, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return attended(x_NCHW, operation.geometry) * operation.scale


@applied.register
def _(operation: Identity, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return x_NCHW.reshape(len(x_NCHW), *operation.out_shape)


@applied.register
def _(operation: Segment, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return placed(x_NCHW, operation.first, operation.out_shape)


@applied.register
def _(operation: Permuted, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return moved(x_NCHW, operation)


@applied.register
def _(operation: MaxPool, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return pooled(x_NCHW, operation.geometry)


@applied.register
def _(operation: Product, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    return contracted(x_NCHW, operation.geometry) * operation.scale


@begun.register
def _(population: Relay, bias_T: Tensor, on: Constants) -> Step:
    return lambda current, frame: current + bias_T[frame]


@begun.register
def _(population: Lif, bias_T: Tensor, on: Constants) -> Step:
    return _Lif(population, bias_T, on).step


@begun.register
def _(population: Integrator, bias_T: Tensor, on: Constants) -> Step:
    return _Membrane(population, bias_T, on).charge


class _Membrane:
    """`deploy.ir.populations.membrane.RunningMembrane` on tensors."""

    def __init__(self, population: Membrane, bias_T: Tensor, on: Constants) -> None:
        self.bias_T, self.left = bias_T, 1 - on(population.decay)
        self.left_u = None if population.current_decay is None else 1 - on(population.current_decay)
        self.u: Tensor | float = 0.0 if population.start_current is None else on(population.start_current)
        self.v: Tensor | float = 0.0 if population.start is None else on(population.start)

    def charge(self, current: Tensor, frame: int) -> Tensor:
        """The potential before a reset."""
        u = current if self.left_u is None else self.left_u * self.u + current
        v = self.left * self.v + (u + self.bias_T[frame])
        self.u, self.v = u, v
        return v


class _Lif(_Membrane):
    def __init__(self, population: Lif, bias_T: Tensor, on: Constants) -> None:
        super().__init__(population, bias_T, on)
        self.threshold = on(population.threshold)
        self.subtract = None if population.subtract is None else on(population.subtract)

    def step(self, current: Tensor, frame: int) -> Tensor:
        v = self.charge(current, frame)
        spikes = v > self.threshold
        self.v = torch.where(spikes, 0.0 if self.subtract is None else v - self.subtract, v)
        return spikes.to(v.dtype)
