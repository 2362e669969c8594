"""Float network -> integer network: N-bit weights, 12-bit decays, integer thresholds and biases.

Before:  lif: v <- (1 - 1/tau) v + w s + b,   spike when v > tau
After:   lif: v <- v - (v * decay >> 12) + (m << e) s + b,   spike when v > round(S tau)
         m has 8 bits, one exponent e for a connection, decay = round(4096 / tau)

Operations and populations give their own integer form. Biases take back what rounding adds to the mean current of a
channel on the calibration clips: that of weights, and that of right shifts, which round sums down. What is searched,
from the inside out, and by which error:

- the exponent of a connection: 3 candidates, mean square error of its currents (`deploy.ir.rounding.round_weights`);
- the scale of a stream: 16 of an octave and those that keep a grid of weights, the same error with that of thresholds;
- the share of its registers that a worst case may fill: 7 whole networks (`FILLS`), each proven not to overflow or
  refused, the error of the results on the calibration clips: where a spike flips is chance, and a flipped spike
  reaches hundreds of neurons.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from deploy.engine.stream import fastest
from deploy.ir.integer import IntConnection, IntGain, IntNetwork
from deploy.ir.machine import DECAY_ONE, LEAST_WEIGHT_BITS, STATE_SHIFT, STATE_UNIT, WEIGHT_BITS, low_bits
from deploy.ir.network import Connection, Network
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.membrane import IntMembrane
from deploy.ir.populations.relay import IntRelay
from deploy.ir.rounding import round_decay, round_gain
from deploy.ir.types import Array
from deploy.passes.bounds import float_ranges, prove
from deploy.passes.calibrate import Calibration
from deploy.passes.drifts import NO_DRIFT, pass_drifts_on
from deploy.passes.scales import Scales, choose_scales
from deploy.passes.schedule import schedule
from deploy.passes.shift_losses import lone_shift, shift_losses
from deploy.passes.silent_neurons import mark_silent
from deploy.passes.statistics import chunks
from svformer.common.errors import InputError

FILLS = (0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5)  # shares of the registers to fill; rounding can raise a worst case


def quantize_calibrated(
    network: Network,
    calibration: Calibration,
    *,
    weight_bits: int = WEIGHT_BITS,
    search: bool = True,
    largest_units: int | None = None,
) -> IntNetwork:
    """The best integer network with `weight_bits` signed weights; its registers are proven not to overflow.

    Without `search`, the first share of the registers that fits: several times faster. With `largest_units` no weight
    is larger than so many units, mantissa and exponent together, and biases are whole units: for those who store no
    exponents.

    Raises `InputError` when no scale keeps a layer within its registers.
    """
    if not LEAST_WEIGHT_BITS <= weight_bits <= WEIGHT_BITS:
        allowed = f"{LEAST_WEIGHT_BITS} to {WEIGHT_BITS} (Loihi stores {WEIGHT_BITS} with a sign)"
        raise InputError(f"weight_bits={weight_bits}; allowed: {allowed}")
    _refuse_lost_decays(network)
    network = mark_silent(_mark_readouts(network), float_ranges(network, calibration.input_range))
    candidates, refusals = list[IntNetwork](), list[InputError]()
    for fill in FILLS:
        try:
            candidates.append(_quantize(network, calibration, weight_bits, fill, largest_units))
        except InputError as refusal:
            refusals.append(refusal)
        if candidates and not search:
            return candidates[0]
    if not candidates:
        raise refusals[-1]
    return min(candidates, key=lambda candidate: result_error(candidate, calibration))


def _mark_readouts(network: Network) -> Network:
    """Integrators that no population reads may saturate: their scale is that of the calibration clips."""
    read = {c.source for c in network.connections}
    marked = {
        name: replace(population, may_saturate=True)
        for name, population in network.populations.items()
        if isinstance(population, Integrator) and name not in read
    }
    return replace(network, populations=network.populations | marked)


def result_error(network: IntNetwork, calibration: Calibration) -> float:
    """Root mean square difference to the float network's results on the calibration clips."""
    plan, parts = schedule(network), chunks(calibration.frames_NTCHW, calibration.at_once)
    results = [network.logits(fastest(network, plan, part, record=[network.output])) for part in parts]
    return float(np.sqrt(np.mean((np.concatenate(results) - calibration.results) ** 2)))


def _quantize(
    network: Network, calibration: Calibration, weight_bits: int, fill: float, largest_units: int | None
) -> IntNetwork:
    scales = choose_scales(network, calibration, weight_bits=weight_bits, fill=fill, largest_units=largest_units)
    connections, drifts = list[IntConnection](), dict[str, Array]()
    for c in network.connections:
        rounded, drift = _connection(c, scales)
        connections += rounded
        drifts[c.target] = drifts.get(c.target, NO_DRIFT) + drift
    quantized = _assembled(network, scales, connections, pass_drifts_on(network, drifts))
    for target, loss in shift_losses(network, quantized, calibration).items():
        drifts[target] = drifts[target] - loss
    quantized = _assembled(network, scales, connections, pass_drifts_on(network, drifts))
    if largest_units is not None:
        quantized = _with_whole_biases(quantized)
    prove(quantized)
    return quantized


def _with_whole_biases(network: IntNetwork) -> IntNetwork:
    """The biases of neurons rounded to whole units, whose exponent is that of potentials."""
    whole = {
        name: replace(
            p,
            bias_mantissa=np.rint((p.bias_mantissa << p.bias_exponent) / STATE_UNIT).astype(np.int64),
            bias_exponent=STATE_SHIFT,
        )
        for name, p in network.populations.items()
        if isinstance(p, IntMembrane)
    }
    return replace(network, populations=network.populations | whole)


def _assembled(
    network: Network, scales: Scales, connections: list[IntConnection], drifts: dict[str, Array]
) -> IntNetwork:
    """The connections with populations whose biases take back these drifts."""
    name = network.input_name
    found: dict[str, IntPopulation] = {
        name: network.input.rounded(scales.by_name[name], scales.calibration.input_range)
    }
    for name, receiver in network.receivers.items():
        found[name] = receiver.rounded(scales.by_name[name], drifts.get(name, NO_DRIFT), network.frames)
    found |= _rounding_to_nearest(found, connections)
    return IntNetwork(
        populations={name: found[name] for name in network.populations},
        connections=tuple(connections),
        output=network.output,
        frames=network.frames,
        notes=network.notes,
        readout=network.readout,
    )


def _connection(connection: Connection, scales: Scales) -> tuple[list[IntConnection], Array]:
    """A connection in integers, and what its rounded weights add to the mean current of a channel, [O, 1, 1].

    A fine one becomes two, of which the second holds the low bits.
    """
    operation, rounding = connection.operation, scales.rounding(connection)
    rounded = operation.rounded(rounding)
    drift = operation.drift(rounded, rounding.factor, scales.calibration.means[connection.source])
    gain = None
    if connection.gain is not None:  # one shift, behind the gain, loses nothing of the sum in front of it
        multiplier, exponent = round_gain(connection.gain)
        gain, drift = IntGain(multiplier=multiplier, exponent=exponent + rounded.exponent), drift * connection.gain
        rounded = rounded.with_exponent(0)
    parts: Sequence[IntOperation] = [rounded]
    if connection.fine:
        assert isinstance(rounded, IntConvolution), "weights alone are fine"
        parts = rounded.split(low_bits(scales.weight_bits))
    return [
        IntConnection(
            source=connection.source,
            target=connection.target,
            operation=part,
            delay=connection.delay,
            gain=gain,
            refines=part is not parts[0],
        )
        for part in parts
    ], drift


def _rounding_to_nearest(
    populations: dict[str, IntPopulation], connections: list[IntConnection]
) -> dict[str, IntPopulation]:
    """Relays whose one reader only shifts their messages to the right, with half of its least significant bit more.

    On the chip a shift rounds down; `split_relays` makes such pairs.
    """
    rounding: dict[str, IntPopulation] = {}
    for c in connections:
        if (weight := lone_shift(c, populations, connections)) is not None:
            relay = cast(IntRelay, populations[c.source])
            half = round(2.0 ** (-c.operation.exponent - 1) / weight)
            rounding[c.source] = replace(relay, bias=relay.bias + half)
    return rounding


def _refuse_lost_decays(network: Network) -> None:
    """A leak that 12 bits round to none at all would be another neuron."""
    lost, least = list[str](), 1.0
    for name, receiver in network.receivers.items():
        for what, decay in receiver.decays().items():
            if (small := (decay > 0) & (round_decay(decay) == 0)).any():
                margin = float(decay[small].min()) * DECAY_ONE
                least = min(least, margin)
                lost.append(f"{name}: {what} is 1 / {DECAY_ONE / margin:,.0f}, {margin:.2g} x what 12 bits hold")
    if lost:
        offenders = "; ".join(lost)
        raise InputError(
            f"leaks that 12 bits cannot hold: {offenders}; allowed: from 1 / {DECAY_ONE}; use a dt at least "
            f"{math.ceil(1 / least)} times as long"
        )
