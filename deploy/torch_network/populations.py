"""Populations of the integer network on tensors, while they run over a batch of clips.

Legend: N clips, T time steps, C channels, H rows, W columns. Potentials, currents u and biases count in 1/64 of the
unit of the weights (`deploy.ir.populations.membrane`).
"""

import functools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from deploy.ir.machine import DECAY_ONE, STATE_SHIFT, STATE_UNIT
from deploy.ir.populations.base import IntReceiver, Receiver
from deploy.ir.populations.constant import IntConstant
from deploy.ir.populations.gate import IntGate
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.membrane import IntMembrane
from deploy.ir.populations.relay import IntRelay
from deploy.ir.types import Values
from deploy.torch_network.arithmetic import decayed, in_units, saturated, wrapped
from svformer.common.errors import InputError
from svformer.model.neurons import ArctanSpike

ALPHA = 2.0  # of the surrogate gradient, as in SVFormer: its slope at the threshold is 1 / threshold

Step = Callable[[Tensor, int], Tensor]  # current [N, C, H, W] of a time step, its number -> messages


class Constants(Protocol):
    """Tensors of fixed parameters, on the device of the run."""

    def __call__(self, values: Values) -> Tensor: ...


@functools.singledispatch
def begun(population: IntReceiver | Receiver, bias_T: Tensor, on: Constants) -> Step:
    """A population at the beginning of clips: what takes the current of each time step and gives its messages.

    `bias_T` are the biases of every time step, [T or 1, ..]. Raises `InputError` for one that has no form here.
    """
    raise InputError(f"{type(population).__name__} has no form in torch; allowed: the backends lava and integer")


@begun.register
def _(population: IntRelay, bias_T: Tensor, on: Constants) -> Step:
    return lambda current, frame: current + bias_T[frame]


@begun.register
def _(population: IntGate, bias_T: Tensor, on: Constants) -> Step:
    return lambda current, frame: torch.where(current.abs() > population.threshold, current, 0)


@begun.register
def _(population: IntConstant, bias_T: Tensor, on: Constants) -> Step:
    return lambda current, frame: torch.ones_like(current)


@begun.register
def _(population: IntLif, bias_T: Tensor, on: Constants) -> Step:
    return _Lif(population, bias_T, on).step


@begun.register
def _(population: IntIntegrator, bias_T: Tensor, on: Constants) -> Step:
    return _Integrator(population, bias_T, on).step


class _Membrane:
    """Neurons while they run: `deploy.ir.populations.membrane.RunningIntMembrane` on tensors."""

    def __init__(self, population: IntMembrane, bias_T: Tensor, on: Constants) -> None:
        self.bias_T, self.left = bias_T, DECAY_ONE - on(population.decay)
        self.left_u = None if population.current_decay is None else DECAY_ONE - on(population.current_decay)
        self.u = None if population.start_current is None else on(population.start_current)
        self.v = None if population.start is None else on(population.start)

    def charge(self, current: Tensor, frame: int) -> Tensor:
        """The potential before a reset."""
        u = current * 2.0**STATE_SHIFT
        if self.left_u is not None and self.u is not None:
            u = decayed(self.u, self.left_u) + u
        self.u = wrapped(u)
        v = self.u if self.v is None else decayed(self.v, self.left) + self.u
        self.v = saturated(v + self.bias_T[frame])
        return self.v


class _Lif(_Membrane):
    def __init__(self, population: IntLif, bias_T: Tensor, on: Constants) -> None:
        super().__init__(population, bias_T, on)
        self.threshold = on(population.threshold) * STATE_UNIT
        self.size = self.threshold.clamp(min=STATE_UNIT)  # a file of integers may hold a threshold of 0
        self.subtract = None if population.subtract is None else on(population.subtract) * STATE_UNIT

    def step(self, current: Tensor, frame: int) -> Tensor:
        v = self.charge(current, frame)
        # Potentials are whole numbers, so v > threshold is v - threshold - 1 >= 0.
        spikes: Tensor = ArctanSpike.apply((v - self.threshold - 1) / self.size, ALPHA)  # type: ignore[no-untyped-call]
        fired = spikes.detach()
        self.v = v.masked_fill(fired.bool(), 0) if self.subtract is None else v - fired * self.subtract
        return spikes


class _Integrator(_Membrane):
    def step(self, current: Tensor, frame: int) -> Tensor:
        return in_units(self.charge(current, frame))
