"""The scale of every population: how many least significant bits stand for 1.0.

Populations that exchange currents through identities (a shortcut stream and its neurons) share one scale. It is as
large as the proven worst case of the stream allows, and the potentials on the calibration clips; within the octave
below that, the one whose rounding of weights and thresholds costs least on those clips.
"""

from collections.abc import Iterable

import numpy as np

from deploy.ir.machine import CURRENT_LIMIT, STATE_LIMIT
from deploy.ir.network import Attention, Connection, Convolution, Identity, Input, Integrator, Lif, Network
from deploy.passes.bounds import POTENTIAL_LIMIT, Interval, float_ranges, through_convolution
from deploy.passes.calibrate import Calibration
from deploy.passes.rounding import largest_mantissa, round_weights

LARGEST_SCALE = 2.0**12  # finer than this nothing is gained: weights have 8 bits
SCALES_PER_OCTAVE = 16
THRESHOLD_STEPS = 2.0**10  # a threshold keeps so many steps, even if potentials far below zero saturate
INPUT_STEPS = 2.0**8  # steps for 1.0 of a real-valued input


def choose_scales(network: Network, calibration: Calibration, *, weight_bits: int, reserve: float) -> dict[str, float]:
    """The scale of every population; `reserve` is the share of its registers that a worst case may fill."""
    ranges = float_ranges(network, calibration.input_range)
    scales = {
        name: _input_scale(network, name, calibration, weight_bits, reserve)
        for name, population in network.populations.items()
        if isinstance(population, Input)
    }
    for stream in streams(network):
        proven = min(largest_scale(network, n, ranges[n], weight_bits) for n in stream)
        allowed = min(proven, *(_unsaturated_scale(network, n, calibration) for n in stream))
        entering = [c for c in network.connections if c.target in stream]
        candidates = _candidates(network, min(reserve * allowed, LARGEST_SCALE), entering)
        errors = [_rounding_error(network, stream, entering, s, scales, calibration, weight_bits) for s in candidates]
        scales |= dict.fromkeys(stream, candidates[int(np.argmin(errors))])
    return scales


def message_scale(network: Network, name: str, scales: dict[str, float]) -> float:
    """What a message of 1.0 is in integers: 1 for a spike, the population's scale for a graded message."""
    return 1.0 if network.spiking(name) else scales[name]


def shifts_right(network: Network, connection: Connection) -> bool:
    """Whether a connection can have a negative exponent.

    Spikes get no right shift, since stock Lava's Conv has none; a gain brings a shift of its own.
    """
    return not network.spiking(connection.source) or connection.gain is not None


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


def _input_scale(network: Network, name: str, calibration: Calibration, weight_bits: int, reserve: float) -> float:
    """The grid of the input where it has one, so that nothing is lost; 1 / 256, coarser where a wide layer needs it."""
    if calibration.input_steps == 1.0:
        return 1.0
    low, high = (np.full(network.populations[name].shape[0], x) for x in calibration.input_range)
    allowed = reserve * largest_scale(network, name, Interval(low=low, high=high), weight_bits)
    grid = calibration.input_steps
    return grid if grid and grid <= allowed else min(INPUT_STEPS, allowed)


def largest_scale(network: Network, name: str, found: Interval, weight_bits: int) -> float:
    """Scale at which the worst case of a population just fills its registers, or those of what it sends graded to."""
    population = network.populations[name]
    if isinstance(population, Lif):
        return min(POTENTIAL_LIMIT / float(population.threshold.max()), _ratio(CURRENT_LIMIT, found.magnitude))
    sums = [
        through_convolution(c.operation.weight, c.operation.geometry, found).magnitude
        * (largest_mantissa(weight_bits) / float(np.abs(c.operation.weight).max()))
        for c in network.out_of(name)
        if isinstance(c.operation, Convolution) and c.operation.weight.any()
    ]
    own = _ratio(POTENTIAL_LIMIT if isinstance(population, Integrator) else STATE_LIMIT, found.magnitude)
    return min(own, _ratio(STATE_LIMIT, max(sums, default=0.0)))


def _unsaturated_scale(network: Network, name: str, calibration: Calibration) -> float:
    """Scale at which the potentials below zero that the calibration clips show still fit.

    Nothing proves those: they saturate, and an inhibited neuron comes back too early. The threshold keeps its steps.
    """
    population, depth = network.populations[name], calibration.depths.get(name, 0.0)
    if not isinstance(population, Lif) or not depth:
        return float("inf")
    return max(POTENTIAL_LIMIT / depth, THRESHOLD_STEPS / float(population.threshold.min()))


def _ratio(limit: int, worst: float) -> float:
    """Nothing limits the scale of what is always zero."""
    return limit / worst if worst else float("inf")


def _candidates(network: Network, largest: float, entering: Iterable[Connection]) -> list[float]:
    """Scales to try. One is a power of two, which keeps weights on a grid of powers of two (`svformer.model.qat`).

    Where spikes enter by a plain factor (attention, identities), that becomes a power of two, too: exact.
    """
    factors = [
        c.operation.scale if isinstance(c.operation, Attention) else 1.0
        for c in entering
        if isinstance(c.operation, Attention) or (isinstance(c.operation, Identity) and network.spiking(c.source))
    ]
    if factors:
        return [float(2.0 ** np.floor(np.log2(largest * factors[0])) / factors[0])]
    octave = [largest * 2.0 ** (-i / SCALES_PER_OCTAVE) for i in range(SCALES_PER_OCTAVE)]
    return [*octave, float(2.0 ** np.floor(np.log2(largest)))]


def _rounding_error(
    network: Network,
    stream: tuple[str, ...],
    entering: list[Connection],
    scale: float,
    scales: dict[str, float],
    calibration: Calibration,
    weight_bits: int,
) -> float:
    """Mean square error that rounding to this scale adds to currents and thresholds of a stream (threshold 1).

    The scale of a graded source may not be chosen yet and is left out: it moves the exponent, hardly the error.
    """
    total = 0.0
    for c in entering:
        if isinstance(c.operation, Convolution):
            activity, shifts = calibration.activity[c.source], shifts_right(network, c)
            factor = scale / (scales.get(c.source, 1.0) if not network.spiking(c.source) else 1.0)
            rounded = round_weights(c.operation, factor, activity, weight_bits=weight_bits, right_shift=shifts)
            total += rounded.error / factor**2
    for name in stream:
        population = network.populations[name]
        if isinstance(population, Lif):
            exact = population.threshold * scale
            total += float(np.mean((np.rint(exact) / exact - 1) ** 2))
    return total
