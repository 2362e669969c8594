"""The scale of every population: how many least significant bits stand for 1.0.

Populations that exchange currents through identities and max pools (a shortcut stream and its neurons) share one scale.
It is as large as the proven worst case of the stream allows, and the potentials on the calibration clips, but no finer
than anything in the stream needs; within the octave below that, the one whose rounding of weights and thresholds costs
least on those clips. Weights, thresholds and inputs count by their ratios alone: in another unit, the scale is another,
and the integers are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deploy.ir.intervals import Interval, ratio
from deploy.ir.machine import STATE_LIMIT, largest_mantissa, low_bits
from deploy.ir.network import Connection, Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.base import Receiver
from deploy.ir.rounding import Rounding
from deploy.passes.bounds import Bound, float_bounds
from deploy.passes.calibrate import INPUT_LEVELS, Calibration

FINEST = 2.0**12  # units of the smallest thing that a stream has to tell apart; weights have 8 bits
SCALES_PER_OCTAVE = 16
ALMOST = 1e-9  # of an octave


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Chooses and holds the scale of every population of a network.

    Attributes:
        weight_bits: Width of a weight, sign included.
        fill: Share of its registers that a worst case may fill, from 0 to 1; rounding can raise a worst case.
        by_name: The scales, by population.
        largest_units: What no weight may be larger than, mantissa and exponent together; None: the registers decide.
    """

    network: Network
    calibration: Calibration
    weight_bits: int
    fill: float
    by_name: dict[str, float]
    largest_units: int | None = None

    def message_unit(self, name: str) -> float:
        """What a message of 1.0 is in integers: 1 for a spike, the population's scale for a graded message.

        A graded source whose scale is not chosen yet counts as 1: that moves an exponent, and hardly an error.
        """
        return 1.0 if self.network.spiking(name) else self.by_name.get(name, 1.0)

    def rounding(self, connection: Connection, scale: float | None = None) -> Rounding:
        """How a connection is rounded, with its target at its own scale or at `scale`."""
        target = self.by_name[connection.target] if scale is None else scale
        return Rounding(
            factor=target / self.message_unit(connection.source),
            weight_bits=self.weight_bits + (low_bits(self.weight_bits) if connection.fine else 0),
            right_shift=self.largest_units is None and allows_right_shift(self.network, connection),
            mean_square=self.calibration.mean_square[connection.source],
        )


def choose_scales(
    network: Network, calibration: Calibration, *, weight_bits: int, fill: float, largest_units: int | None = None
) -> Scales:
    """The scale of every population, with at most the share `fill` of any register filled in the worst case, and, where
    it is said, no weight of more than `largest_units`.
    """
    bounds = float_bounds(network, calibration.input_range)
    found = Scales(
        network=network,
        calibration=calibration,
        weight_bits=weight_bits,
        fill=fill,
        by_name={},
        largest_units=largest_units,
    )
    found.by_name[network.input_name] = _input_scale(found)
    receivers = network.receivers
    for stream in streams(network):
        proven = min(_proven_scale(network, name, bounds[name], weight_bits) for name in stream)
        unsaturated = (receivers[n].unsaturated_scale(*calibration.potentials.get(n, (0.0, 0.0))) for n in stream)
        entering = [c for c in network.connections if c.target in stream]
        members = [receivers[name] for name in stream]
        largest = min(fill * min(proven, *unsaturated), ratio(FINEST, _least(found, members, entering)))
        largest = min(largest, _scale_of_weights(found, entering))
        candidates = _candidates(found, largest, entering) if np.isfinite(largest) else [1.0]  # all is always 0
        errors = [_rounding_error(found, members, entering, scale) for scale in candidates]
        found.by_name.update(dict.fromkeys(stream, candidates[int(np.argmin(errors))]))
    return found


def allows_right_shift(network: Network, connection: Connection) -> bool:
    """Whether a connection can have a negative exponent.

    Spikes get no right shift, since stock Lava's Conv has none; a gain brings a shift of its own.
    """
    return not network.spiking(connection.source) or connection.gain is not None


def streams(network: Network) -> list[tuple[str, ...]]:
    """Groups of populations that exchange currents in one unit, and so need one scale."""
    group = {name: {name} for name in network.receivers}
    for c in network.connections:
        joined = _shares_scale(network, c)
        if joined and c.source in group and group[c.source] is not group[c.target]:
            union = group[c.source] | group[c.target]
            group |= dict.fromkeys(union, union)
    unique = {id(members): members for members in group.values()}
    return [tuple(n for n in network.populations if n in members) for members in unique.values()]


def _input_scale(scales: Scales) -> float:
    """The grid of the input where it has one, so that nothing is lost; else as many levels up to its largest magnitude,
    fewer where a wide layer needs it.
    """
    network, calibration = scales.network, scales.calibration
    found = Interval.constant(*calibration.input_range, network.input.shape[0])
    if not found.magnitude:
        return 1.0
    own = ratio(STATE_LIMIT, found.magnitude)
    allowed = scales.fill * min(own, _scale_of_readers(network, network.input_name, found, scales.weight_bits))
    grid = calibration.input_levels
    return grid if grid and grid <= allowed else min(INPUT_LEVELS / found.magnitude, allowed)


def _proven_scale(network: Network, name: str, bound: Bound, weight_bits: int) -> float:
    """The largest scale at which neither a population nor the sum of what arrives there leaves its registers."""
    return min(largest_scale(network, name, bound.range, weight_bits), ratio(STATE_LIMIT, bound.parts.magnitude))


def largest_scale(network: Network, name: str, found: Interval, weight_bits: int) -> float:
    """Scale at which the worst case of a population just fills its registers, or those of what it sends graded to."""
    population: Receiver = network.receivers[name]
    own = population.largest_scale(found)
    return own if population.spiking else min(own, _scale_of_readers(network, name, found, weight_bits))


def _scale_of_readers(network: Network, name: str, found: Interval, weight_bits: int) -> float:
    sums = (_largest_sum(c, found, weight_bits) for c in network.out_of(name))
    return ratio(STATE_LIMIT, max(sums, default=0.0))


def _scale_of_weights(scales: Scales, entering: list[Connection]) -> float:
    """Scale at which the largest weight of these connections is as many units as it may be."""
    if scales.largest_units is None:
        return float("inf")
    sizes = (
        (c.operation.largest_weight or c.operation.factor or 0.0) / scales.message_unit(c.source) for c in entering
    )
    return ratio(scales.largest_units, max(sizes, default=0.0))


def _largest_sum(connection: Connection, found: Interval, weight_bits: int) -> float:
    """Worst synaptic sum of a connection, or of its second synapses, whose weights may all be as large as they can."""
    largest = connection.operation.largest_sum(found, weight_bits)
    if not connection.fine:
        return largest
    operation = connection.operation
    assert isinstance(operation, Convolution), "weights alone are fine"
    unweighted = replace(operation, weight=np.ones_like(operation.weight))
    sizes = Interval(low=np.zeros_like(found.low), high=np.maximum(-found.low, found.high))
    return max(largest, (2 ** low_bits(weight_bits) - 1) * unweighted.interval(sizes).magnitude)


def _least(scales: Scales, stream: list[Receiver], entering: list[Connection]) -> float:
    """The smallest thing that a stream has to tell apart; 0 where it gets nothing.

    Of every connection, what its largest weight makes of a typical message; of neurons, the current that just brings
    them to their threshold.
    """
    currents = _least_currents(scales, stream)
    for c in entering:
        size = c.operation.largest_weight if c.operation.factor is None else c.operation.factor
        currents += [] if size is None or _shares_scale(scales.network, c) else [size * _typical(scales, c.source)]
    return min((current for current in currents if current), default=0.0)


def _least_currents(scales: Scales, stream: list[Receiver]) -> list[float]:
    """Currents that just bring a neuron to its threshold: of the channel in the middle, of every layer of neurons."""
    by_layer = [population.least_currents(scales.network.frames) for population in stream]
    fire = [currents[np.isfinite(currents)] for currents in by_layer if currents is not None]
    return [float(np.median(currents)) for currents in fire if currents.size]


def _shares_scale(network: Network, connection: Connection) -> bool:
    return connection.operation.keeps_unit and not network.spiking(connection.source)


def _typical(scales: Scales, source: str) -> float:
    """1 for a spike; of graded messages the root mean square of their largest channel."""
    spiking = scales.network.spiking(source)
    return 1.0 if spiking else float(np.sqrt(scales.calibration.mean_square[source].max()))


def _candidates(scales: Scales, largest: float, entering: Iterable[Connection]) -> list[float]:
    """Scales to try. One keeps the weights of a connection that lie on a grid (`svformer.model.qat`) as they are.

    Where spikes enter by a plain factor (attention, identities), that becomes a power of two, too: exact; so does
    an input that is taken as it is.
    """
    factors = [
        c.operation.factor / scales.message_unit(c.source)
        for c in entering
        if c.operation.factor is not None
        and (c.source == scales.network.input_name or not _shares_scale(scales.network, c))
    ]
    if factors:
        return [_power_of_two(largest, factors[0])]
    octave = [largest * 2.0 ** (-i / SCALES_PER_OCTAVE) for i in range(SCALES_PER_OCTAVE)]
    most = largest_mantissa(scales.weight_bits)
    grids = [(c.source, levels) for c in entering if (levels := c.operation.levels(most))]
    kept = {_power_of_two(largest, 1 / (levels * scales.message_unit(source))) for source, levels in grids}
    return [*octave, *sorted(kept)]


def _power_of_two(largest: float, factor: float) -> float:
    """The largest scale that makes a power of two of a factor; one that is it but for float64 counts as it."""
    return float(2.0 ** np.floor(np.log2(largest * factor) + ALMOST) / factor)


def _rounding_error(scales: Scales, stream: list[Receiver], entering: list[Connection], scale: float) -> float:
    """Mean square error that rounding to this scale adds to currents and thresholds of a stream.

    Currents count as shares of those that bring its neurons to their threshold, thresholds as shares of themselves.
    """
    unit = min(_least_currents(scales, stream), default=1.0)
    costs = [c.operation.rounding_cost(scales.rounding(c, scale)) / unit**2 for c in entering]
    return sum([*costs, *(population.rounding_cost(scale) for population in stream)])
