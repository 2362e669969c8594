"""Float network -> integer network: N-bit weights, 12-bit decays, integer thresholds and biases.

Before:  lif: v <- (1 - 1/tau) v + w s + b,   spike when v > tau
After:   lif: v <- v - (v * decay >> 12) + (m << e) s + b,   spike when v > round(S tau)
         m has 8 bits, one exponent e for a connection, decay = round(4096 / tau)

Populations that exchange currents through identities (a shortcut stream and its neurons) share one scale S: the value
of 1.0 in units of the least significant bit. S is as large as the proven worst case of the stream allows, and within
the octave below that the one whose rounding of weights and thresholds costs least on the calibration clips.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir.integer import (
    BIAS_MANTISSA_LIMIT,
    CURRENT_LIMIT,
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    IntAttention,
    IntConnection,
    IntConvolution,
    IntInput,
    IntLif,
    IntNetwork,
    IntOperation,
    IntPopulation,
    IntRelay,
)
from deploy.ir.network import (
    Attention,
    Connection,
    Convolution,
    Identity,
    Input,
    Lif,
    Network,
    Population,
    Relay,
    run_float,
)
from deploy.passes.bounds import Interval, float_currents, prove, through_convolution
from svformer.errors import InputError

ROUNDING_RESERVE = 0.97  # rounding can raise a worst case a little above the float one
LARGEST_SCALE = 2.0**12  # finer than this nothing is gained: weights have 8 bits
SCALES_PER_OCTAVE = 16
INPUT_STEPS = 2**8  # steps for 1.0 of a real-valued input


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What representative clips show: the range of the input, and how often every channel sends, [C]."""

    input_range: tuple[float, float]
    whole_numbers: bool  # the input is counts (of events or spikes), not measurements
    activity: dict[str, NDArray[np.float64]]  # mean square of the messages of a channel
    clips: int


def calibrate(network: Network, frames_NTCHW: NDArray[Any]) -> Calibration:
    """Run the float network on clips; raises `InputError` when there are none, or when they show nothing."""
    if len(frames_NTCHW) == 0:
        raise InputError("calibration needs at least one clip, found none")
    if not np.any(frames_NTCHW):
        raise InputError("calibration clips that are all zero tell nothing of the input's range; give real clips")
    signals = run_float(network, frames_NTCHW)
    activity = {name: (signal**2).mean(axis=(0, 1, 3, 4)) for name, signal in signals.items()}
    low, high = float(frames_NTCHW.min()), float(frames_NTCHW.max())
    return Calibration(
        input_range=(low, high),
        whole_numbers=bool((frames_NTCHW == np.rint(frames_NTCHW)).all()),
        activity=activity,
        clips=len(frames_NTCHW),
    )


def quantize(network: Network, calibration: Calibration, *, weight_bits: int = 8) -> IntNetwork:
    """Integer network with `weight_bits` signed weights; its registers are proven not to overflow.

    Raises `InputError` when no scale keeps a layer within its registers.
    """
    if not 2 <= weight_bits <= 8:
        raise InputError(f"weight_bits={weight_bits}; allowed: 2 to 8 (Loihi stores 8 with a sign)")
    scales = choose_scales(network, calibration, weight_bits)
    populations = {n: _quantize_population(n, p, scales, calibration) for n, p in network.populations.items()}
    connections = tuple(_quantize_connection(c, network, scales, calibration, weight_bits) for c in network.connections)
    quantized = IntNetwork(
        populations=populations,
        connections=connections,
        output=network.output,
        frames=network.frames,
        notes=network.notes,
    )
    prove(quantized)
    return quantized


def choose_scales(network: Network, calibration: Calibration, weight_bits: int) -> dict[str, float]:
    """The scale of every population; all members of a stream get the same."""
    currents = float_currents(network, calibration.input_range)
    scales: dict[str, float] = {}
    for name, population in network.populations.items():
        if isinstance(population, Input):
            scales[name] = input_scale(calibration)
    for stream in streams(network):
        allowed = min(_largest_scale(network, n, currents[n], weight_bits) for n in stream)
        largest = min(ROUNDING_RESERVE * allowed, LARGEST_SCALE)
        entering = [c for c in network.connections if c.target in stream]
        candidates = _candidates(largest, entering)
        errors = [_rounding_error(network, stream, entering, s, calibration, weight_bits) for s in candidates]
        scales |= dict.fromkeys(stream, candidates[int(np.argmin(errors))])
    return scales


def input_scale(calibration: Calibration) -> float:
    """Whole numbers stay as they are; real numbers get steps of 1 / 256."""
    return 1.0 if calibration.whole_numbers else float(INPUT_STEPS)


def streams(network: Network) -> list[tuple[str, ...]]:
    """Groups of populations that exchange currents through identities, and so need one scale."""
    group = {name: {name} for name, p in network.populations.items() if not isinstance(p, Input)}
    for c in network.connections:
        joined = isinstance(c.operation, Identity) and not network.spiking(c.source)
        if joined and c.source in group and group[c.source] is not group[c.target]:
            union = group[c.source] | group[c.target]
            group |= dict.fromkeys(union, union)
    unique = {id(members): members for members in group.values()}
    return [tuple(n for n in network.populations if n in members) for members in unique.values()]


def _largest_scale(network: Network, name: str, current: Interval, weight_bits: int) -> float:
    """Scale at which the worst case of a population just fills its registers, or those of what it sends graded to."""
    population = network.populations[name]
    if isinstance(population, Lif):
        threshold_limit = (STATE_LIMIT >> STATE_SHIFT) / float(population.threshold.max())
        return min(threshold_limit, _ratio(CURRENT_LIMIT, current.magnitude))
    sums = [
        through_convolution(c.operation.weight, c.operation.geometry, current).magnitude
        * (largest_mantissa(weight_bits) / float(np.abs(c.operation.weight).max()))
        for c in network.out_of(name)
        if isinstance(c.operation, Convolution) and c.operation.weight.any()
    ]
    return _ratio(STATE_LIMIT, max([current.magnitude, *sums]))


def _ratio(limit: int, worst: float) -> float:
    """Nothing limits the scale of what is always zero."""
    return limit / worst if worst else float("inf")


def largest_mantissa(weight_bits: int) -> int:
    return int(2 ** (weight_bits - 1) - 1)


def _candidates(largest: float, entering: Iterable[Connection]) -> list[float]:
    """Scales to try. Where attention enters, its factor becomes a power of two, so that it is exact."""
    attention = [c.operation.scale for c in entering if isinstance(c.operation, Attention)]
    if attention:
        return [2.0 ** np.floor(np.log2(largest * attention[0])) / attention[0]]
    return [largest * 2.0 ** (-i / SCALES_PER_OCTAVE) for i in range(SCALES_PER_OCTAVE)]


def _rounding_error(
    network: Network,
    stream: tuple[str, ...],
    entering: list[Connection],
    scale: float,
    calibration: Calibration,
    weight_bits: int,
) -> float:
    """Mean square error that rounding to this scale adds to currents and thresholds of a stream (threshold 1)."""
    total = 0.0
    for c in entering:
        if isinstance(c.operation, Convolution):
            factor = scale / _message_scale(network, c.source, {c.source: 1.0}, calibration)
            total += _best_mantissa(c, network, factor, calibration, weight_bits)[2] / scale**2
    for name in stream:
        population = network.populations[name]
        if isinstance(population, Lif):
            exact = population.threshold * scale
            total += float(np.mean((np.rint(exact) / exact - 1) ** 2))
    return total


def _message_scale(network: Network, name: str, scales: dict[str, float], calibration: Calibration) -> float:
    """Units of a message for 1.0: spikes are 1."""
    if isinstance(network.populations[name], Input):
        return input_scale(calibration)
    return 1.0 if network.spiking(name) else scales[name]


def _best_mantissa(
    connection: Connection, network: Network, factor: float, calibration: Calibration, weight_bits: int
) -> tuple[NDArray[np.int16], int, float]:
    """Mantissas, exponent and mean square error of a current, for weights times `factor`.

    One exponent above and below the one that just holds the largest weight are tried too: clipping a few large
    weights can cost less than rounding all. Spikes get no right shift, since stock Lava's Conv has none.
    """
    operation = connection.operation
    assert isinstance(operation, Convolution)
    exact, limit = operation.weight * factor, largest_mantissa(weight_bits)
    peak = float(np.abs(exact).max())
    start = int(np.ceil(np.log2(peak / limit))) if peak > 0 else 0
    lowest = 0 if network.spiking(connection.source) else start - 1
    best: tuple[NDArray[np.int16], int, float] | None = None
    for exponent in sorted({max(e, lowest) for e in (start - 1, start, start + 1)}):
        mantissa = np.clip(np.rint(exact / 2.0**exponent), -limit, limit)
        error = _current_error(operation, mantissa * 2.0**exponent - exact, calibration.activity[connection.source])
        if best is None or error < best[2]:
            best = (mantissa.astype(np.int16), exponent, error)
    assert best is not None
    return best


def _current_error(operation: Convolution, error_OIHW: NDArray[Any], activity: NDArray[Any]) -> float:
    """Mean square error of an output when input channels carry `activity` (mean squares), taken as independent."""
    groups = operation.geometry.groups
    by_group = (error_OIHW**2).sum(axis=(2, 3)).reshape(groups, -1, error_OIHW.shape[1])
    return float(np.einsum("goi,gi->", by_group, activity.reshape(groups, -1)) / len(error_OIHW))


def _quantize_population(
    name: str, population: Population, scales: dict[str, float], calibration: Calibration
) -> IntPopulation:
    scale = scales[name]
    if isinstance(population, Input):
        low, high = (int(np.rint(x * scale)) for x in calibration.input_range)
        return IntInput(shape=population.shape, scale=scale, low=low, high=high)
    if isinstance(population, Relay):
        return IntRelay(shape=population.shape, scale=scale, bias=np.rint(population.bias * scale).astype(np.int64))
    mantissa, exponent = quantize_bias(population.bias * scale)
    return IntLif(
        shape=population.shape,
        scale=scale,
        bias_mantissa=mantissa,
        bias_exponent=exponent,
        decay=np.clip(np.rint(population.decay * DECAY_ONE), 0, DECAY_ONE).astype(np.int64),
        threshold=np.rint(population.threshold * scale).astype(np.int64),
    )


def quantize_bias(bias: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Mantissa (13 bits with sign) and exponent, in 1/64 of a least significant bit.

    The chip fires at v > threshold, the model at v >= threshold: where the exponent leaves room for it, a bias of 1/64
    of a bit turns exact ties into spikes (8 to 25 times fewer wrong spikes at tau = 2, measured).
    """
    exact = np.atleast_3d(bias) * 2.0**STATE_SHIFT
    peak = float(np.abs(exact).max()) + 1
    exponent = max(0, int(np.ceil(np.log2(peak / (BIAS_MANTISSA_LIMIT - 1)))))
    return np.rint(exact / 2.0**exponent).astype(np.int64) + (exponent == 0), exponent


def _quantize_connection(
    connection: Connection, network: Network, scales: dict[str, float], calibration: Calibration, weight_bits: int
) -> IntConnection:
    factor = scales[connection.target] / _message_scale(network, connection.source, scales, calibration)
    operation: IntOperation
    if isinstance(connection.operation, Convolution):
        mantissa, exponent, _ = _best_mantissa(connection, network, factor, calibration, weight_bits)
        operation = IntConvolution(mantissa=mantissa, exponent=exponent, geometry=connection.operation.geometry)
    elif isinstance(connection.operation, Attention):
        operation = _quantize_attention(connection.operation, factor)
    else:
        operation = connection.operation
    return IntConnection(
        source=connection.source, target=connection.target, operation=operation, delay=connection.delay
    )


def _quantize_attention(operation: Attention, factor: float) -> IntAttention:
    """The factor as an odd 8-bit multiplier and a power of two; a plain power of two where the scale was free."""
    exact = operation.scale * factor
    exponent = int(np.floor(np.log2(exact))) - 6
    multiplier = round(exact / 2.0**exponent)
    while multiplier % 2 == 0:
        multiplier, exponent = multiplier // 2, exponent + 1
    return IntAttention(
        geometry=operation.geometry, in_shape=operation.in_shape, multiplier=multiplier, exponent=exponent
    )
