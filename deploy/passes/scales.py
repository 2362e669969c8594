"""The scale of every population: how many least significant bits stand for 1.0.

Populations that exchange currents through identities (a shortcut stream and its neurons) share one scale. It is as
large as the proven worst case of the stream allows, and the potentials on the calibration clips; within the octave
below that, the one whose rounding of weights and thresholds costs least on those clips.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deploy.ir.intervals import Interval, ratio
from deploy.ir.machine import STATE_LIMIT
from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import Receiver
from deploy.ir.rounding import Rounding
from deploy.passes.bounds import float_ranges
from deploy.passes.calibrate import Calibration

LARGEST_SCALE = 2.0**12  # finer than this nothing is gained: weights have 8 bits
SCALES_PER_OCTAVE = 16
INPUT_LEVELS = 2.0**8  # levels per 1.0 of a real-valued input


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Chooses and holds the scale of every population of a network.

    Attributes:
        weight_bits: Width of a weight, sign included.
        fill: Share of its registers that a worst case may fill, from 0 to 1; rounding can raise a worst case.
        by_name: The scales, by population.
    """

    network: Network
    calibration: Calibration
    weight_bits: int
    fill: float
    by_name: dict[str, float]

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
            weight_bits=self.weight_bits,
            right_shift=allows_right_shift(self.network, connection),
            mean_square=self.calibration.mean_square[connection.source],
        )


def choose_scales(network: Network, calibration: Calibration, *, weight_bits: int, fill: float) -> Scales:
    """The scale of every population, with at most the share `fill` of any register filled in the worst case."""
    ranges = float_ranges(network, calibration.input_range)
    found = Scales(network=network, calibration=calibration, weight_bits=weight_bits, fill=fill, by_name={})
    found.by_name[network.input_name] = _input_scale(found)
    receivers = network.receivers
    for stream in streams(network):
        proven = min(largest_scale(network, name, ranges[name], weight_bits) for name in stream)
        unsaturated = (receivers[n].unsaturated_scale(*calibration.potentials.get(n, (0.0, 0.0))) for n in stream)
        entering = [c for c in network.connections if c.target in stream]
        candidates = _candidates(network, min(fill * min(proven, *unsaturated), LARGEST_SCALE), entering)
        members = [receivers[name] for name in stream]
        errors = [_rounding_error(found, members, entering, scale) for scale in candidates]
        found.by_name.update(dict.fromkeys(stream, candidates[int(np.argmin(errors))]))
    return found


def allows_right_shift(network: Network, connection: Connection) -> bool:
    """Whether a connection can have a negative exponent.

    Spikes get no right shift, since stock Lava's Conv has none; a gain brings a shift of its own.
    """
    return not network.spiking(connection.source) or connection.gain is not None


def streams(network: Network) -> list[tuple[str, ...]]:
    """Groups of populations that exchange currents through identities, and so need one scale."""
    group = {name: {name} for name in network.receivers}
    for c in network.connections:
        joined = c.operation.passes_on and not network.spiking(c.source)
        if joined and c.source in group and group[c.source] is not group[c.target]:
            union = group[c.source] | group[c.target]
            group |= dict.fromkeys(union, union)
    unique = {id(members): members for members in group.values()}
    return [tuple(n for n in network.populations if n in members) for members in unique.values()]


def _input_scale(scales: Scales) -> float:
    """The grid of the input where it has one, so that nothing is lost; 1 / 256, coarser where a wide layer needs it."""
    network, calibration = scales.network, scales.calibration
    if calibration.input_levels == 1.0:
        return 1.0
    found = Interval.constant(*calibration.input_range, network.input.shape[0])
    own = ratio(STATE_LIMIT, found.magnitude)
    allowed = scales.fill * min(own, _scale_of_readers(network, network.input_name, found, scales.weight_bits))
    grid = calibration.input_levels
    return grid if grid and grid <= allowed else min(INPUT_LEVELS, allowed)


def largest_scale(network: Network, name: str, found: Interval, weight_bits: int) -> float:
    """Scale at which the worst case of a population just fills its registers, or those of what it sends graded to."""
    population: Receiver = network.receivers[name]
    own = population.largest_scale(found)
    return own if population.spiking else min(own, _scale_of_readers(network, name, found, weight_bits))


def _scale_of_readers(network: Network, name: str, found: Interval, weight_bits: int) -> float:
    sums = (c.operation.largest_sum(found, weight_bits) for c in network.out_of(name))
    return ratio(STATE_LIMIT, max(sums, default=0.0))


def _candidates(network: Network, largest: float, entering: Iterable[Connection]) -> list[float]:
    """Scales to try. One is a power of two, which keeps weights on a grid of powers of two (`svformer.model.qat`).

    Where spikes enter by a plain factor (attention, identities), that becomes a power of two, too: exact.
    """
    factors = [
        c.operation.factor
        for c in entering
        if c.operation.factor is not None and (network.spiking(c.source) or not c.operation.passes_on)
    ]
    if factors:
        return [float(2.0 ** np.floor(np.log2(largest * factors[0])) / factors[0])]
    octave = [largest * 2.0 ** (-i / SCALES_PER_OCTAVE) for i in range(SCALES_PER_OCTAVE)]
    return [*octave, float(2.0 ** np.floor(np.log2(largest)))]


def _rounding_error(scales: Scales, stream: list[Receiver], entering: list[Connection], scale: float) -> float:
    """Mean square error that rounding to this scale adds to currents and thresholds of a stream (threshold 1)."""
    costs = [c.operation.rounding_cost(scales.rounding(c, scale)) for c in entering]
    return sum([*costs, *(population.rounding_cost(scale) for population in stream)])
