"""The integer network and its interpreter: what the chip computes, bit for bit, in plain NumPy and without Lava.

The arithmetic is that of Lava's fixed-point LIF with reset (PyLifResetModelBitAcc, lava-nc 0.10) behind its Conv or
Dense: a 24-bit synaptic sum, shifted by the connection's exponent; `u` takes it in units of 1/64; 12-bit decays round
towards zero; `v` saturates at 24 bits; a spike when `v > threshold`, then `v <- 0`. Integrators are the same neurons
without a threshold; they send their potential.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from deploy.ir.linear import attend, convolve
from deploy.ir.machine import DECAY_BITS, DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from deploy.ir.network import Network, Shape, apply_over_time
from deploy.ir.running import Watching, execute
from hardware.geometry import AttentionGeometry, ConvGeometry, IdentityGeometry
from svformer.common.errors import InputError

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class IntInput:
    """A clip enters as signed integers: `round(x * scale)`, clipped to low..high."""

    shape: Shape
    scale: float
    low: int
    high: int

    def quantize(self, frames_NTCHW: NDArray[Any]) -> IntArray:
        return np.clip(np.rint(frames_NTCHW * self.scale), self.low, self.high).astype(np.int64)

    def clipped(self, frames_NTCHW: NDArray[Any]) -> int:
        """How many values lie outside the range that calibration showed."""
        steps = np.rint(frames_NTCHW * self.scale)
        return int(((steps < self.low) | (steps > self.high)).sum())


@dataclass(frozen=True, kw_only=True)
class IntRelay:
    """Sends the sum of its inputs and its bias as a graded message; `scale` units are 1.0 of the float network."""

    shape: Shape
    scale: float
    bias: IntArray  # broadcasts to shape; [T, ...] where it has a value of its own for every time step


@dataclass(frozen=True, kw_only=True)
class IntMembrane:
    """A layer of Loihi neurons: `u` loses current_decay / 4096 of itself and takes the current, `v` decay / 4096, and
    takes u and the bias.

    Without a current decay u has no memory (Lava: du = 4095; else du = current_decay - 1). The bias is `bias_mantissa
    << bias_exponent`, in 1/64 of the unit of the weights, as are `start` and `start_current`, with which v and u begin
    a clip (0 where there are none). Decays and threshold broadcast to the shape (a chip core holds one set, so a layer
    takes one group of cores for each).
    """

    shape: Shape
    scale: float
    bias_mantissa: IntArray
    bias_exponent: int
    decay: IntArray  # 0..4096
    current_decay: IntArray | None = None  # 1..4096
    start: IntArray | None = None
    start_current: IntArray | None = None


@dataclass(frozen=True, kw_only=True)
class IntLif(IntMembrane):
    """Sends a spike when `v > threshold`; then `v <- 0`."""

    threshold: IntArray  # in the unit of the weights


@dataclass(frozen=True, kw_only=True)
class IntIntegrator(IntMembrane):
    """Sends v as a graded message, rounded to the unit of the weights, and does not reset."""


IntPopulation = IntInput | IntRelay | IntLif | IntIntegrator


def shifted(total: IntArray, exponent: int) -> IntArray:
    """A synaptic sum times 2^exponent; right shifts round down, as on the chip."""
    return total << exponent if exponent >= 0 else total >> -exponent


@dataclass(frozen=True, kw_only=True)
class IntConvolution:
    """Weights are `mantissa * 2^exponent`, one exponent for the connection."""

    mantissa: NDArray[np.int16]  # [O, C / groups, kh, kw]
    exponent: int
    geometry: ConvGeometry

    def __call__(self, x_NCHW: IntArray) -> IntArray:
        # float64 holds these sums exactly (24 bits are proven, 53 are there) and its products are fast
        total = convolve(x_NCHW.astype(np.float64), self.mantissa.astype(np.float64), self.geometry)
        return shifted(total.astype(np.int64), self.exponent)


@dataclass(frozen=True, kw_only=True)
class IntAttention:
    """`q (k^T v) * multiplier * 2^exponent`, exact in integers."""

    geometry: AttentionGeometry
    in_shape: Shape
    multiplier: int
    exponent: int

    def __call__(self, x_NCHW: IntArray) -> IntArray:
        products = attend(x_NCHW.astype(np.float64), heads=self.geometry.heads).astype(np.int64)
        return shifted(products * self.multiplier, self.exponent)


@dataclass(frozen=True, kw_only=True)
class IntIdentity:
    """Passes values on, times `multiplier * 2^exponent`: 1 within a stream, the scale of the target for spikes."""

    in_shape: Shape
    out_shape: Shape
    multiplier: int = 1
    exponent: int = 0

    @property
    def geometry(self) -> IdentityGeometry:
        return IdentityGeometry(shape=self.in_shape)

    def __call__(self, x_NCHW: IntArray) -> IntArray:
        values = x_NCHW.reshape(len(x_NCHW), *self.out_shape).astype(np.int64)
        return shifted(values * self.multiplier, self.exponent)


IntOperation = IntConvolution | IntIdentity | IntAttention
Geometry = ConvGeometry | IdentityGeometry | AttentionGeometry


@dataclass(frozen=True, kw_only=True)
class IntGain:
    """A factor of its own for every time step: `x * multiplier[t] * 2^exponent`, rounded to nearest (halves up)."""

    multiplier: IntArray  # 12 bits and a sign; broadcasts to [T, C, H, W] of the target
    exponent: int

    @property
    def changes_with_time(self) -> bool:
        """Whether the factors differ between time steps; else each value has one of its own, like a weight."""
        return len(self.multiplier) > 1

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
    """`operation` from source to target; its input is `delay` time steps old, and 0 before the first frame."""

    source: str
    target: str
    operation: IntOperation
    delay: int = 0
    gain: IntGain | None = None

    def __call__(self, x_NTCHW: NDArray[Any]) -> IntArray:
        """What arrives at the target when the source sends x."""
        arrived = apply_over_time(self.operation, x_NTCHW, self.delay)
        return arrived if self.gain is None else self.gain(arrived)

    def at(self, frame: int, x_NCHW: NDArray[Any]) -> IntArray:
        """What arrives at one frame when the source sent x so many time steps before as the delay says."""
        arrived = self.operation(x_NCHW)
        return arrived if self.gain is None else self.gain.at(frame, arrived)


@dataclass(frozen=True, kw_only=True)
class IntNetwork:
    """Populations in an order in which each comes after its sources; see `deploy.ir.network.Network`."""

    populations: dict[str, IntPopulation]
    connections: tuple[IntConnection, ...]
    output: str
    frames: int  # T
    notes: tuple[str, ...] = ()

    def into(self, name: str) -> list[IntConnection]:
        return [c for c in self.connections if c.target == name]

    def spiking(self, name: str) -> bool:
        """Whether the messages of a population are spikes (0 or 1) or graded."""
        return isinstance(self.populations[name], IntLif)

    @property
    def input(self) -> IntInput:
        return next(p for p in self.populations.values() if isinstance(p, IntInput))

    @property
    def input_name(self) -> str:
        return next(n for n, p in self.populations.items() if isinstance(p, IntInput))

    def begin(self, name: str, clips: int, frames: int) -> "Running":
        """A population at the beginning of so many clips."""
        population = self.populations[name]
        assert not isinstance(population, IntInput)
        return Running(population, clips, frames)

    def logits(self, signals: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Result of every clip: the output's value at the last time step, in units of the float network, [N, K]."""
        output = self.populations[self.output]
        last = signals[self.output][:, -1]
        return last.reshape(len(last), -1) / (1.0 if isinstance(output, IntLif) else output.scale)


def bias_by_step(population: IntRelay | IntMembrane, frames: int) -> IntArray:
    """Bias of every time step, in the population's own unit (1/64 for neurons); [T, ...], broadcasts to its shape."""
    bias = population.bias if isinstance(population, IntRelay) else population.bias_mantissa << population.bias_exponent
    by_step = bias.reshape(-1, *bias.shape[-3:])
    return np.broadcast_to(by_step, (frames, *by_step.shape[1:]))


def run_integer(
    network: IntNetwork,
    frames_NTCHW: NDArray[Any],
    start: "Callable[[str, int, int], Running] | None" = None,
    **options: Unpack[Watching],
) -> dict[str, NDArray[Any]]:
    """Messages of every population for clips of real numbers: spikes uint8, graded messages int32, [N, T, C, H, W].

    `start` begins a population, by its name, for so many clips and frames, where somebody wants to watch it; the
    options are those of `execute`.
    """
    entry = (network.input_name, network.input.quantize(frames_NTCHW).astype(np.int32))
    return execute(network.populations, network.connections, entry, start or network.begin, **options)


class Running:
    """A population while it runs: takes currents [N, C, H, W] of one frame, gives its messages."""

    def __init__(self, population: IntRelay | IntLif | IntIntegrator, clips: int, frames: int) -> None:
        shape = (clips, frames, *population.shape)
        self.population, self.bias = population, bias_by_step(population, frames)
        self.currents: IntArray = np.zeros(shape, dtype=np.int64)
        self.messages = np.zeros(shape, dtype=np.uint8 if isinstance(population, IntLif) else np.int32)
        if isinstance(population, IntMembrane):
            self.v, self.u = _begin(population.start), _begin(population.start_current)

    def step(self, current: IntArray, frame: int) -> NDArray[Any]:
        population = self.population
        if isinstance(population, IntRelay):
            return current + self.bias[frame]
        remembered = 0 if population.current_decay is None else kept(self.u, population.current_decay)
        self.u = wrapped(remembered + (current << STATE_SHIFT))
        v = kept(self.v, population.decay) + self.u + self.bias[frame]
        self.v = np.clip(v, -STATE_LIMIT + 1, STATE_LIMIT - 1)
        self.reached(self.v)
        if isinstance(population, IntIntegrator):
            return rounded_message(self.v)
        spikes = self.v > (population.threshold << STATE_SHIFT)
        self.v = np.where(spikes, 0, self.v)
        return spikes

    def reached(self, v: IntArray) -> None:
        """Potentials of one frame, in 1/64, before a reset: for those who want to see them."""


def _begin(state: IntArray | None) -> IntArray:
    return np.zeros((1, 1, 1), dtype=np.int64) if state is None else state


def kept(state: IntArray, decay: IntArray) -> IntArray:
    """What a time step leaves of a state: 12 bits of decay, rounded towards zero."""
    return np.sign(state) * ((np.abs(state) * (DECAY_ONE - decay)) >> DECAY_BITS)


def rounded_message(v: IntArray) -> IntArray:
    """A potential in the unit of the weights, halves up."""
    return (v + (1 << (STATE_SHIFT - 1))) >> STATE_SHIFT


def fire(lif: IntLif, current_NTCHW: IntArray) -> NDArray[np.uint8]:
    """Spikes of a layer for its currents over whole clips."""
    running, spikes = Running(lif, *current_NTCHW.shape[:2]), np.zeros(current_NTCHW.shape, dtype=np.uint8)
    for t in range(current_NTCHW.shape[1]):
        spikes[:, t] = running.step(current_NTCHW[:, t], t)
    return spikes


def wrapped(u: IntArray) -> IntArray:
    """A 24-bit register that overflows wraps (once, as in Lava)."""
    u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, u)
    return np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u)


Frames = NDArray[Any]  # [N, T, *input shape]


def as_images(frames: Frames, network: Network | IntNetwork) -> Frames:
    """Frames of any input shape as the (C, H, W) that the network's input population has."""
    shape = next(iter(network.populations.values())).shape
    if frames.ndim < 3 or frames[0, 0].size != np.prod(shape):
        raise InputError(
            f"clips have shape {list(frames.shape)}, this network takes [N, T, {', '.join(map(str, shape))}]"
        )
    return np.asarray(frames).reshape(*frames.shape[:2], *shape)
