"""Networks as modules of PyTorch: `deploy.ir.integer.run_integer` bit for bit, and `deploy.ir.network.run_float`.

Shapes: N clips, T time steps, (C, H, W) of a population.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution, IntConvolution
from deploy.ir.populations.base import by_time_step
from deploy.ir.readout import Readout
from deploy.ir.running import groups_in_order
from deploy.ir.types import Frames, Values
from deploy.torch_network import real  # noqa: F401  # joins the tables of operations and populations
from deploy.torch_network.arithmetic import gained
from deploy.torch_network.operations import applied
from deploy.torch_network.populations import Step, begun

Messages = dict[str, Tensor]  # [N, T, C, H, W] by population
Link = Connection | IntConnection


class TorchNetwork(nn.Module, ABC):
    """What the input sends [N, T, C, H, W] -> messages of all populations that are asked for.

    Raises `InputError` while it runs for an operation or a population without a form in torch.
    """

    _where: Tensor  # tells the device and the type of all numbers

    def __init__(self, network: Network | IntNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.links: tuple[Link, ...] = network.connections
        self.populations, self.receivers = network.populations, network.receivers
        self.output, self.input_name, self.frames = network.output, network.input_name, network.frames
        self.readout, self.shape = network.readout, network.input.shape
        self._fixed = dict[int, tuple[Values, Tensor]]()  # with its array, whose id stays taken
        self.register_buffer("_where", torch.zeros((), dtype=dtype), persistent=False)

    def forward(
        self,
        sent_NTCHW: Tensor,
        record: Iterable[str] | None = None,
        on_population: Callable[[str, Tensor], None] = lambda name, messages: None,
    ) -> Messages:
        """Messages of the populations in `record` (None: the output alone); `on_population` gets those of every one,
        in order of execution.
        """
        wanted = {self.output} if record is None else set(record)
        weights = {id(c): self._weight(place, c) for place, c in enumerate(self.links)}
        biases = {name: self._bias(place, name) for place, name in enumerate(self.receivers)}
        signals: Messages = {self.input_name: sent_NTCHW.to(self._where.dtype)}
        size = sent_NTCHW.shape[:2]
        for group, last_used in groups_in_order(self.populations, self.links):
            if group[0] != self.input_name:
                signals |= self._run_group(group, size, signals, weights, biases)
            for name in group:
                on_population(name, signals[name])
            for name in set(last_used) - wanted:
                del signals[name]
        return signals

    def results(self, sent_NTCHW: Tensor) -> Tensor:
        """The results of clips by the readout, [N, K], in units of the network in real numbers."""
        return read_out(self(sent_NTCHW)[self.output], self.readout) / self._result_unit

    @abstractmethod
    def sent(self, frames_NTCHW: Frames) -> Tensor:
        """What the input sends when it receives clips of real numbers."""

    @property
    @abstractmethod
    def _result_unit(self) -> float: ...
    @abstractmethod
    def _weight(self, place: int, c: Any) -> Tensor | None: ...
    @abstractmethod
    def _bias(self, place: int, name: str) -> Tensor:
        """Biases of every time step, [T, ..]."""

    @abstractmethod
    def _gained(self, arrived: Tensor, c: Any, frame: int | None) -> Tensor:
        """Values times a gain: of all time steps, [N, T, ..], or of one, [N, ..]."""

    def _run_group(
        self,
        group: tuple[str, ...],
        size: torch.Size,
        signals: Messages,
        weights: Mapping[int, Tensor | None],
        biases: Mapping[str, Tensor],
    ) -> Messages:
        currents, inner, steps = Messages(), dict[str, list[Link]](), dict[str, Step]()
        for name in group:
            currents[name] = self._where.new_zeros(*size, *self.receivers[name].shape)
            for c in (c for c in self.links if c.target == name and c.source not in group):
                currents[name] = currents[name] + self._delivered(c, signals[c.source], weights[id(c)])
            inner[name] = [c for c in self.links if c.target == name and c.source in group]
            steps[name] = begun(self.receivers[name], biases[name], self._on)
        sent = {name: list[Tensor]() for name in group}
        for frame in range(size[1]):
            for name in group:
                current = currents[name][:, frame]
                for c in inner[name]:
                    if frame >= c.delay:
                        arrived = applied(c.operation, sent[c.source][frame - c.delay], weights[id(c)])
                        current = current + (arrived if c.gain is None else self._gained(arrived, c, frame))
                sent[name].append(steps[name](current, frame))
        return {name: torch.stack(messages, dim=1) for name, messages in sent.items()}

    def _delivered(self, c: Link, x_NTCHW: Tensor, weight: Tensor | None) -> Tensor:
        """What arrives over whole clips."""
        arrived = applied(c.operation, x_NTCHW.flatten(0, 1), weight).unflatten(0, x_NTCHW.shape[:2])
        if c.delay:
            late = arrived[:, : max(arrived.shape[1] - c.delay, 0)]
            ahead = arrived.new_zeros(len(arrived), arrived.shape[1] - late.shape[1], *arrived.shape[2:])
            arrived = torch.cat([ahead, late], dim=1)
        return arrived if c.gain is None else self._gained(arrived, c, None)

    def _on(self, values: Values) -> Tensor:
        """A fixed parameter as a tensor of the device, made once for every array."""
        _, found = self._fixed.get(id(values), (values, None))
        if found is None or found.device != self._where.device:
            found = torch.as_tensor(np.array(values)).to(self._where)
            self._fixed[id(values)] = values, found
        return found


class IntegerNetwork(TorchNetwork):
    """An integer network: messages are those of `run_integer`, bit for bit, as float32."""

    def __init__(self, network: IntNetwork) -> None:
        super().__init__(network, torch.float32)
        self.network = network
        self._bias_by_step = {name: p.bias_by_step(network.frames) for name, p in network.receivers.items()}

    def sent(self, frames_NTCHW: Frames) -> Tensor:
        return torch.as_tensor(self.network.input.quantize(frames_NTCHW)).to(self._where)

    @property
    def _result_unit(self) -> float:
        return self.network.populations[self.output].message_unit

    def _weight(self, place: int, c: IntConnection) -> Tensor | None:
        return self._on(c.operation.mantissa) if isinstance(c.operation, IntConvolution) else None

    def _bias(self, place: int, name: str) -> Tensor:
        return self._on(self._bias_by_step[name])

    def _gained(self, arrived: Tensor, c: IntConnection, frame: int | None) -> Tensor:
        assert c.gain is not None
        multiplier = self._on(c.gain.multiplier)
        multiplier = multiplier if frame is None else multiplier[frame % len(multiplier)]
        return gained(arrived, multiplier, c.gain.exponent)


class RealNetwork(TorchNetwork):
    """A lowered network in real numbers, float64."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, torch.float64)
        self._bias_by_step = {name: _by_step(p.bias, network.frames) for name, p in network.receivers.items()}

    def sent(self, frames_NTCHW: Frames) -> Tensor:
        return torch.as_tensor(np.asarray(frames_NTCHW)).to(self._where)

    @property
    def _result_unit(self) -> float:
        return 1.0

    def _weight(self, place: int, c: Connection) -> Tensor | None:
        return self._on(c.operation.weight) if isinstance(c.operation, Convolution) else None

    def _bias(self, place: int, name: str) -> Tensor:
        return self._on(self._bias_by_step[name])

    def _gained(self, arrived: Tensor, c: Connection, frame: int | None) -> Tensor:
        assert c.gain is not None
        gain = self._on(c.gain)
        return arrived * (gain if frame is None else gain[frame % len(gain)])


def _by_step(bias: Values, frames: int) -> Values:
    return by_time_step(bias if bias.ndim >= 3 else bias.reshape(1, 1, -1), frames)


def read_out(messages_NT: Tensor, readout: Readout) -> Tensor:
    """`deploy.ir.readout.read_out` on tensors; of a first spike no gradient comes."""
    messages = messages_NT.flatten(2)
    match readout:
        case "count":
            return messages.sum(1)
        case "last":
            return messages[:, -1]
        case "mean":
            return messages.mean(1)
        case "max":
            return messages.amax(1)
        case "first-spike":
            fired = messages != 0
            first = messages.shape[1] - fired.to(torch.uint8).argmax(1)
            return torch.where(fired.any(1), first, 0).to(messages.dtype)
