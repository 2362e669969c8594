"""An integer network whose weights and biases are trained while it computes with whole numbers."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import BIAS_MANTISSA_LIMIT, LOW_BITS, STATE_LIMIT, STATE_UNIT, largest_mantissa
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntReceiver
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.membrane import IntMembrane
from deploy.ir.populations.relay import IntRelay
from deploy.torch_network.arithmetic import exactly
from deploy.torch_network.network import IntegerNetwork


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Whole numbers up to `limit`; a parameter of 1.0 is `unit` of them."""

    limit: int
    unit: float

    def rounded(self, x: Tensor) -> Tensor:
        """The nearest whole numbers of a parameter, with its gradient."""
        scaled = x * self.unit
        return exactly(torch.round(scaled.detach()).clamp(-self.limit, self.limit), scaled)


class TrainedNetwork(IntegerNetwork):
    """An integer network whose weights and biases are parameters: real numbers, which it rounds before it computes.

    A parameter of 1.0 is the root mean square weight of its connection, or a bias as large as the threshold, so one
    learning rate does for all. Kernels of one repeated value (sums, pooling), thresholds, leaks, exponents and zero
    biases stay. `weight_bits` is the width that weights keep, sign included.
    """

    def __init__(self, network: IntNetwork, *, weight_bits: int) -> None:
        super().__init__(network)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        self._grids = dict[nn.Parameter, _Grid]()
        for place, c in enumerate(network.connections):
            if isinstance(c.operation, IntConvolution) and np.unique(np.abs(c.operation.mantissa)).size > 1:
                mantissa = torch.as_tensor(c.operation.mantissa, dtype=torch.float32)
                limit = (1 << LOW_BITS) - 1 if c.refines else largest_mantissa(weight_bits)
                unit = float(mantissa.square().mean().sqrt())
                self.weights[str(place)] = self._parameter(mantissa, _Grid(limit=limit, unit=unit))
        for place, population in enumerate(network.receivers.values()):
            if (grid := _bias_grid(population)) is not None and np.any(population.stored_bias):
                stored = torch.as_tensor(population.stored_bias, dtype=torch.float32)
                self.biases[str(place)] = self._parameter(stored, grid)

    def _parameter(self, whole: Tensor, grid: _Grid) -> nn.Parameter:
        parameter = nn.Parameter(whole / grid.unit)
        self._grids[parameter] = grid
        return parameter

    def _weight(self, place: int, c: IntConnection) -> Tensor | None:
        return self._rounded(self.weights, place) if str(place) in self.weights else super()._weight(place, c)

    def _bias(self, place: int, name: str) -> Tensor:
        if str(place) not in self.biases:
            return super()._bias(place, name)
        population, stored = self.receivers[name], self._rounded(self.biases, place)
        shift = population.bias_exponent if isinstance(population, IntMembrane) else 0
        by_step = (stored * 2.0**shift).reshape(-1, *stored.shape[-3:])
        return by_step.expand(self.frames, *by_step.shape[1:])

    def _rounded(self, parameters: nn.ParameterDict, place: int) -> Tensor:
        parameter = parameters[str(place)]
        return self._grids[parameter].rounded(parameter)

    @torch.no_grad()
    def integers(self) -> IntNetwork:
        """The network with the weights and biases that it computes with now."""
        connections = list(self.network.connections)
        for place, c in enumerate(connections):
            if str(place) in self.weights:
                mantissa = self._rounded(self.weights, place).cpu().numpy().astype(np.int16)
                assert isinstance(c.operation, IntConvolution)
                connections[place] = replace(c, operation=replace(c.operation, mantissa=mantissa))
        populations = dict(self.network.populations)
        for place, (name, population) in enumerate(self.network.receivers.items()):
            if str(place) in self.biases:
                stored = self._rounded(self.biases, place).cpu().numpy().astype(np.int64)
                populations[name] = _with_bias(population, stored)
        return replace(self.network, connections=tuple(connections), populations=populations)


def _bias_grid(population: IntReceiver) -> _Grid | None:
    """Of the biases of a population; None for one that has none."""
    if isinstance(population, IntRelay):
        return _Grid(limit=STATE_LIMIT - 1, unit=population.scale)
    if isinstance(population, IntLif):
        return _membrane_grid(population, max(float(np.median(population.threshold)), 1.0))
    return _membrane_grid(population, population.scale) if isinstance(population, IntMembrane) else None


def _membrane_grid(population: IntMembrane, size: float) -> _Grid:
    """Of biases, for potentials of this size in the unit of the weights."""
    return _Grid(limit=BIAS_MANTISSA_LIMIT - 1, unit=size * STATE_UNIT / 2.0**population.bias_exponent)


def _with_bias(population: IntReceiver, stored: np.ndarray) -> IntReceiver:
    if isinstance(population, IntRelay):
        return replace(population, bias=stored)
    assert isinstance(population, IntMembrane)
    return replace(population, bias_mantissa=stored)
