"""The integer network and its interpreter: what the chip computes, bit for bit, in plain NumPy and without Lava.

The arithmetic is that of Lava's fixed-point LIF with reset (PyLifResetModelBitAcc, lava-nc 0.10) behind its Conv or
Dense: a 24-bit synaptic sum, shifted by the connection's exponent; `u` takes it in units of 1/64; 12-bit decays round
towards zero; `v` saturates at 24 bits; a spike when `v > threshold`, then `v <- 0`. `deploy.ir.running.Running` gives
the order of events, `deploy.ir.populations.membrane.RunningIntMembrane.charge` the equation.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack, cast

import numpy as np

from deploy.ir.loops import parts
from deploy.ir.network import Network, apply_over_time, input_name
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation, IntReceiver
from deploy.ir.populations.input import IntInput
from deploy.ir.readout import Readout, read_out
from deploy.ir.running import Begin, ExecuteOptions, Running, execute
from deploy.ir.types import Array, Frames, IntArray, Signals, Values
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class IntGain:
    """A factor of its own for every time step: `x * multiplier[t] * 2^exponent`, rounded to nearest (halves up)."""

    multiplier: IntArray  # 12 bits and a sign; broadcasts to [T, C, H, W] of the target
    exponent: int

    @property
    def changes_with_time(self) -> bool:
        """Whether the factors differ between time steps; else each value has one of its own, like a weight."""
        return len(self.multiplier) > 1

    def lasting(self, frames: int) -> "IntGain":
        """The factors for clips of fewer time steps."""
        return replace(self, multiplier=self.multiplier[:frames])

    def __call__(self, x_TCHW: IntArray) -> IntArray:
        """Values of all time steps of a clip, or of several clips [N, T, C, H, W]."""
        return self._rounded(x_TCHW * self.multiplier)

    def at(self, frame: int, x_CHW: IntArray) -> IntArray:
        """Values of one time step."""
        return self._rounded(x_CHW * self.multiplier[frame % len(self.multiplier)])

    def _rounded(self, product: IntArray) -> IntArray:
        if self.exponent >= 0:
            return product << self.exponent
        return (product + (1 << (-self.exponent - 1))) >> -self.exponent


@dataclass(frozen=True, kw_only=True)
class IntConnection:
    """`operation` from source to target; its input is `delay` time steps old, and 0 before the first frame.

    One that `refines` holds the low bits of the weights of the connection before it, a second synapse for each.
    """

    source: str
    target: str
    operation: IntOperation
    delay: int = 0
    gain: IntGain | None = None
    refines: bool = False

    @property
    def changes_with_time(self) -> bool:
        """Whether it needs other weights at other time steps, which no static synapse has."""
        return self.gain is not None and self.gain.changes_with_time

    def __call__(self, x_NTCHW: Values) -> IntArray:
        """What arrives at the target when the source sends x."""
        arrived = apply_over_time(self.operation, x_NTCHW, self.delay)
        return arrived if self.gain is None else self.gain(arrived)

    def at(self, frame: int, x_NCHW: Values) -> IntArray:
        """What arrives at one frame when the source sent x `delay` time steps before."""
        arrived = self.operation(x_NCHW)
        return arrived if self.gain is None else self.gain.at(frame, arrived)


@dataclass(frozen=True, kw_only=True)
class IntNetwork:
    """Populations in an order in which each comes after its sources; see `deploy.ir.network.Network`.

    Those in `added` stand for no layer of the model: a chip makes an operation of them (`deploy.passes.chip_form`).
    """

    populations: dict[str, IntPopulation]
    connections: tuple[IntConnection, ...]
    output: str
    frames: int  # T
    notes: tuple[str, ...] = ()
    added: frozenset[str] = frozenset()
    readout: Readout = "last"

    def into(self, name: str) -> list[IntConnection]:
        """Connections that end in a population."""
        return [c for c in self.connections if c.target == name]

    def out_of(self, name: str) -> list[IntConnection]:
        """Connections that begin at a population."""
        return [c for c in self.connections if c.source == name]

    @property
    def whole_connections(self) -> tuple[IntConnection, ...]:
        """The connections, with the low bits of weights put together with those that they refine."""
        whole: list[IntConnection] = []
        for c in self.connections:
            if c.refines:
                high, low = whole.pop().operation, c.operation
                assert isinstance(high, IntConvolution)
                assert isinstance(low, IntConvolution)
                whole.append(replace(c, operation=high.joined(low), refines=False))
            else:
                whole.append(c)
        return tuple(whole)

    def connections_beside(self, real: Sequence[object]) -> tuple[IntConnection, ...]:
        """The connections one by one beside those in real numbers, which have low bits apart where the integers of a
        file are what they mean.
        """
        whole = self.whole_connections
        return whole if len(whole) == len(real) else self.connections

    def spiking(self, name: str) -> bool:
        """Whether the messages of a population are spikes (0 or 1) or graded."""
        return self.populations[name].spiking

    def binary(self, name: str) -> bool:
        """Whether the messages of a population are 0 or 1: spikes, or clips that hold nothing else, such as events."""
        return self.populations[name].message_interval() == (0, 1)

    @property
    def neuron_layers(self) -> list[str]:
        """Names of the model's layers of neurons, in order of execution; those in `added` are left out."""
        return [name for name, p in self.populations.items() if p.spiking and name not in self.added]

    @property
    def input(self) -> IntInput:
        """The population where a clip enters."""
        return cast(IntInput, self.populations[self.input_name])

    @property
    def input_name(self) -> str:
        """The population where a clip enters."""
        return input_name(self.populations)

    @property
    def receivers(self) -> dict[str, IntReceiver]:
        """Every population but the input, in order."""
        return {name: cast(IntReceiver, p) for name, p in self.populations.items() if p.kind != "input"}

    @property
    def apart(self) -> list[set[str]]:
        """Parts of the network that no connection joins with the output; the input alone is none."""
        found = parts(self.populations, ((c.source, c.target) for c in self.connections))
        return [part for part in found if self.output not in part and part != {self.input_name}]

    def size(self, name: str) -> int:
        """Values of a population: its neurons, or the sums of a relay."""
        return int(np.prod(self.populations[name].shape))

    def lasting(self, frames: int) -> "IntNetwork":
        """The network for clips of fewer time steps; registers that suffice for more suffice for these."""
        if frames > self.frames:
            raise ValueError(f"{frames} time steps; the registers of this network are proven for {self.frames}")
        receivers = {name: receiver.lasting(frames) for name, receiver in self.receivers.items()}
        connections = tuple(c if c.gain is None else replace(c, gain=c.gain.lasting(frames)) for c in self.connections)
        return replace(self, populations=self.populations | receivers, connections=connections, frames=frames)

    def begin(self, name: str, clips: int, frames: int) -> Running:
        """A population, by its name, at the beginning of `clips` clips of `frames` time steps."""
        return self.receivers[name].begin(clips, frames)

    def logits(self, signals: Signals) -> Array:
        """Result of every clip by the readout, in units of the float network, [N, K]."""
        result = read_out(signals[self.output], self.readout)
        return result if self.spiking(self.output) else result / self.populations[self.output].message_unit

    def logits_by_step(self, signals: Signals) -> Array:
        """What `logits` would be if the clips ended after each of their time steps, [N, T, K]."""
        messages = signals[self.output]
        ends = range(1, messages.shape[1] + 1)
        return np.stack([self.logits({self.output: messages[:, :end]}) for end in ends], axis=1)


def run_integer(
    network: IntNetwork, frames_NTCHW: Values, begin: Begin | None = None, **options: Unpack[ExecuteOptions]
) -> Signals:
    """Messages of every population for clips of real numbers: spikes uint8, graded messages int32, [N, T, C, H, W].

    `begin` replaces `network.begin`, so that a probe can see potentials; the options are those of `execute`.
    """
    entry = (network.input_name, network.input.quantize(frames_NTCHW).astype(np.int32))
    return execute(network.populations, network.connections, entry, begin or network.begin, **options)


def as_images(frames: Frames, network: Network | IntNetwork) -> Frames:
    """Frames of any input shape as the (C, H, W) that the network's input population has."""
    shape = network.input.shape
    if frames.ndim < 3 or frames[0, 0].size != np.prod(shape):
        raise InputError(
            f"clips have shape {list(frames.shape)}, this network takes [N, T, {', '.join(map(str, shape))}]"
        )
    return np.asarray(frames).reshape(*frames.shape[:2], *shape)
