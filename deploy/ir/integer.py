"""The integer network and its interpreter: what the chip computes, bit for bit, in plain NumPy and without Lava.

The arithmetic is that of Lava's fixed-point LIF with reset (PyLifResetModelBitAcc, lava-nc 0.10) behind its Conv or
Dense: a 24-bit synaptic sum, shifted by the connection's exponent; `u` takes it in units of 1/64; 12-bit decay rounds
towards zero; `v` saturates at 24 bits; a spike when `v > threshold`, then `v <- 0`.

Shapes: every population is (C, H, W); a signal is [N clips, T time steps, C, H, W].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.linear import attend, convolve
from deploy.ir.network import Shape, apply_over_time
from hardware.geometry import AttentionGeometry, ConvGeometry, IdentityGeometry

IntArray = NDArray[np.int64]

DECAY_ONE = 4096  # 12-bit decay: v loses decay / 4096 of itself every time step
STATE_SHIFT = 6  # u, v and the bias count in 1/64 of the unit of the weights
STATE_LIMIT = 1 << 23  # 24-bit registers
CURRENT_LIMIT = 1 << 17  # a current above this wraps in u
BIAS_MANTISSA_LIMIT = 1 << 12  # 13 bits, signed
GAIN_LIMIT = 1 << 12  # 12 bits and a sign


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
class IntLif:
    """A layer of Loihi LIF neurons without synaptic memory (du = 4095).

    The bias is `bias_mantissa << bias_exponent`, in 1/64 of the unit of the weights; decay and threshold broadcast to
    the shape (a chip core holds one pair, so a layer takes one group of cores for each).
    """

    shape: Shape
    scale: float
    bias_mantissa: IntArray
    bias_exponent: int
    decay: IntArray  # 0..4096
    threshold: IntArray  # in the unit of the weights


IntPopulation = IntInput | IntRelay | IntLif


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

    def __call__(self, x_TCHW: IntArray) -> IntArray:
        """Values of all time steps of a clip, or of several clips [N, T, C, H, W]."""
        return self._rounded(x_TCHW * self.multiplier)

    def at(self, frame: int, x_CHW: IntArray) -> IntArray:
        """Values of one time step."""
        return self._rounded(x_CHW * self.multiplier[frame])

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

    @property
    def input(self) -> IntInput:
        return next(p for p in self.populations.values() if isinstance(p, IntInput))

    @property
    def input_name(self) -> str:
        return next(n for n, p in self.populations.items() if isinstance(p, IntInput))

    def logits(self, signals: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Result of every clip: the output's value at the last time step, in units of the float network, [N, K]."""
        output = self.populations[self.output]
        last = signals[self.output][:, -1]
        return last.reshape(len(last), -1) / (1.0 if isinstance(output, IntLif) else output.scale)


def bias_by_step(population: IntRelay | IntLif, frames: int) -> IntArray:
    """Bias of every time step, in the population's own unit (1/64 for neurons); [T, ...], broadcasts to its shape."""
    bias = (population.bias_mantissa << population.bias_exponent) if isinstance(population, IntLif) else population.bias
    by_step = bias.reshape(-1, *bias.shape[-3:])
    return np.broadcast_to(by_step, (frames, *by_step.shape[1:]))


def run_integer(network: IntNetwork, frames_NTCHW: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Messages of every population for clips of real numbers: spikes uint8, graded messages int32, [N, T, C, H, W]."""
    signals: dict[str, NDArray[Any]] = {}
    for name, population in network.populations.items():
        if isinstance(population, IntInput):
            signals[name] = population.quantize(frames_NTCHW).astype(np.int32)
            continue
        current = np.zeros((*frames_NTCHW.shape[:2], *population.shape), dtype=np.int64)
        for connection in network.into(name):
            current += connection(signals[connection.source])
        if isinstance(population, IntRelay):
            signals[name] = (current + population.bias).astype(np.int32)
        else:
            signals[name] = fire(population, current)
    return signals


def fire(lif: IntLif, current_NTCHW: IntArray) -> NDArray[np.uint8]:
    """Spikes of a layer for its currents, from rest."""
    bias, keep = bias_by_step(lif, current_NTCHW.shape[1]), DECAY_ONE - lif.decay
    threshold = lif.threshold << STATE_SHIFT
    spikes = np.zeros(current_NTCHW.shape, dtype=np.uint8)
    v = np.zeros_like(current_NTCHW[:, 0])
    for t in range(current_NTCHW.shape[1]):
        u = wrapped(current_NTCHW[:, t] << STATE_SHIFT)
        v = np.sign(v) * ((np.abs(v) * keep) >> 12) + u + bias[t]
        v = np.clip(v, -STATE_LIMIT + 1, STATE_LIMIT - 1)
        spikes[:, t] = v > threshold
        v = np.where(spikes[:, t] > 0, 0, v)
    return spikes


def wrapped(u: IntArray) -> IntArray:
    """A 24-bit register that overflows wraps (once, as in Lava)."""
    u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, u)
    return np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u)
