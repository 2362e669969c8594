"""Float network -> integer network: N-bit weights, 12-bit decays, integer thresholds and biases.

Before:  lif: v <- (1 - 1/tau) v + w s + b,   spike when v > tau
After:   lif: v <- v - (v * decay >> 12) + (m << e) s + b,   spike when v > round(S tau)
         m has 8 bits, one exponent e for a connection, decay = round(4096 / tau)

Biases take back what the rounding of weights adds to the mean current of a channel on the calibration clips.
The scale S of a population is chosen in scales.py; the result is proven not to overflow (bounds.py) or refused. Several
shares of the registers are tried, and the integer network whose results on the calibration clips are closest to the
float ones is kept: where a spike flips is chance, and a flipped spike reaches hundreds of neurons.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deploy.engine.stream import fastest
from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntIntegrator,
    IntLif,
    IntNetwork,
    IntOperation,
    IntPopulation,
    IntRelay,
)
from deploy.ir.machine import DECAY_ONE, STATE_SHIFT
from deploy.ir.network import Attention, Connection, Convolution, Input, Lif, Membrane, Network, Population, Relay
from deploy.passes.bounds import prove
from deploy.passes.calibrate import Calibration
from deploy.passes.rounding import round_bias, round_factor, round_gain, round_weights
from deploy.passes.scales import choose_scales, message_scale, shifts_right
from deploy.passes.schedule import schedule
from deploy.passes.statistics import chunks
from svformer.common.errors import InputError

Values = NDArray[np.float64]
NO_DRIFT: Values = np.zeros((1, 1, 1))
RESERVES = (0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5)  # shares of the registers to fill; rounding can raise a worst case


def quantize(network: Network, calibration: Calibration, *, weight_bits: int = 8, search: bool = True) -> IntNetwork:
    """The best integer network with `weight_bits` signed weights; its registers are proven not to overflow.

    Without `search`, the first share of the registers that fits: several times faster.

    Raises `InputError` when no scale keeps a layer within its registers.
    """
    if not 2 <= weight_bits <= 8:
        raise InputError(f"weight_bits={weight_bits}; allowed: 2 to 8 (Loihi stores 8 with a sign)")
    _refuse_lost_decays(network)
    candidates, refusals = list[IntNetwork](), list[InputError]()
    for reserve in RESERVES:
        try:
            candidates.append(_quantize(network, calibration, weight_bits, reserve))
        except InputError as refusal:
            refusals.append(refusal)
        if candidates and not search:
            return candidates[0]
    if not candidates:
        raise refusals[-1]
    return min(candidates, key=lambda candidate: result_error(candidate, calibration))


def result_error(network: IntNetwork, calibration: Calibration) -> float:
    """Root mean square difference to the float network's results on the calibration clips."""
    plan, parts = schedule(network), chunks(calibration.frames_NTCHW, calibration.at_once)
    results = [network.logits(fastest(network, plan, part, keep=[network.output])) for part in parts]
    return float(np.sqrt(np.mean((np.concatenate(results) - calibration.results) ** 2)))


def _quantize(network: Network, calibration: Calibration, weight_bits: int, reserve: float) -> IntNetwork:
    scales = choose_scales(network, calibration, weight_bits=weight_bits, reserve=reserve)
    connections, drifts = list[IntConnection](), dict[str, Values]()
    for c in network.connections:
        connection, drift = _connection(c, network, scales, calibration, weight_bits)
        connections.append(connection)
        drifts[c.target] = drifts.get(c.target, NO_DRIFT) + drift
    populations = {
        n: _population(p, scales[n], drifts.get(n, NO_DRIFT), calibration, network.frames)
        for n, p in network.populations.items()
    }
    populations |= _rounding_to_nearest(populations, connections)
    quantized = IntNetwork(
        populations=populations,
        connections=tuple(connections),
        output=network.output,
        frames=network.frames,
        notes=network.notes,
    )
    prove(quantized)
    return quantized


def _rounding_to_nearest(
    populations: dict[str, IntPopulation], connections: list[IntConnection]
) -> dict[str, IntPopulation]:
    """Relays whose one reader only shifts their messages to the right, with half of its least significant bit more.

    On the chip a shift rounds down; `split_relays` makes such pairs.
    """
    readers = Counter(c.source for c in connections)
    rounding: dict[str, IntPopulation] = {}
    for c in connections:
        relay, operation = populations[c.source], c.operation
        if readers[c.source] > 1 or not isinstance(relay, IntRelay) or not isinstance(operation, IntConvolution):
            continue
        factor, inputs = int(operation.mantissa.flat[0]), operation.mantissa[0].size
        if operation.exponent < 0 and inputs == 1 and factor > 0 and (operation.mantissa == factor).all():
            half = round(2.0 ** (-operation.exponent - 1) / factor)
            rounding[c.source] = replace(relay, bias=relay.bias + half)
    return rounding


def _population(
    population: Population, scale: float, drift: Values, calibration: Calibration, frames: int
) -> IntPopulation:
    """`drift` is what rounded weights add to its mean current; the bias takes it back (Nagel et al., ICCV 2019)."""
    if isinstance(population, Input):
        low, high = (int(np.rint(x * scale)) for x in calibration.input_range)
        return IntInput(shape=population.shape, scale=scale, low=low, high=high)
    if isinstance(population, Relay):
        whole = np.rint((population.bias - drift) * scale).astype(np.int64)
        return IntRelay(shape=population.shape, scale=scale, bias=whole)
    bias = (population.bias - drift * _mean_gain(population.current_decay, frames)) * scale
    threshold = population.threshold * scale if isinstance(population, Lif) else NO_DRIFT
    mantissa, exponent = round_bias(bias, threshold)
    membrane = IntIntegrator(
        shape=population.shape,
        scale=scale,
        bias_mantissa=mantissa,
        bias_exponent=exponent,
        decay=_round_decay(population.decay),
        current_decay=None if population.current_decay is None else _round_decay(population.current_decay),
        start=_round_state(population.start, scale),
        start_current=_round_state(population.start_current, scale),
    )
    if not isinstance(population, Lif):
        return membrane
    return IntLif(**vars(membrane), threshold=np.rint(threshold).astype(np.int64))


def _round_decay(decay: Values) -> NDArray[np.int64]:
    return np.clip(np.rint(decay * DECAY_ONE), 0, DECAY_ONE).astype(np.int64)


def _round_state(state: Values | None, scale: float) -> NDArray[np.int64] | None:
    return None if state is None else np.rint(state * scale * 2.0**STATE_SHIFT).astype(np.int64)


def _mean_gain(current_decay: Values | None, frames: int) -> Values:
    """What a current with memory makes of a constant input of 1, on average over a clip."""
    if current_decay is None:
        return np.ones((1, 1, 1))
    return np.mean(np.cumsum([(1 - current_decay) ** k for k in range(frames)], axis=0), axis=0)


def _refuse_lost_decays(network: Network) -> None:
    """A leak that 12 bits round to none at all would be another neuron."""
    lost = []
    for name, population in network.populations.items():
        if not isinstance(population, Membrane):
            continue
        for what, decay in (("dt / tau", population.decay), ("dt / tau_syn", population.current_decay)):
            if decay is not None and (small := (decay > 0) & (_round_decay(decay) == 0)).any():
                margin = float(decay[small].min()) * DECAY_ONE
                lost.append(f"{name}: {what} is 1 / {DECAY_ONE / margin:,.0f}, {margin:.2g} x what 12 bits hold")
    if lost:
        offenders = "; ".join(lost)
        raise InputError(f"leaks that 12 bits cannot hold: {offenders}; allowed: from 1 / {DECAY_ONE}; use a larger dt")


def _connection(
    connection: Connection, network: Network, scales: dict[str, float], calibration: Calibration, weight_bits: int
) -> tuple[IntConnection, Values]:
    """A connection in integers, and what its rounded weights add to the mean current of a channel."""
    source, operation, drift = connection.source, connection.operation, NO_DRIFT
    factor = scales[connection.target] / message_scale(network, source, scales)
    quantized: IntOperation
    if isinstance(operation, Convolution):
        rounded = round_weights(
            operation,
            factor,
            calibration.activity[source],
            weight_bits=weight_bits,
            right_shift=shifts_right(network, connection),
        )
        error = rounded.mantissa * 2.0**rounded.exponent / factor - operation.weight
        drift = _mean_current(replace(operation, weight=error), calibration.means[source])
        quantized = IntConvolution(mantissa=rounded.mantissa, exponent=rounded.exponent, geometry=operation.geometry)
    elif isinstance(operation, Attention):
        multiplier, exponent = round_factor(operation.scale * factor)
        quantized = IntAttention(
            geometry=operation.geometry, in_shape=operation.in_shape, multiplier=multiplier, exponent=exponent
        )
    else:
        multiplier, exponent = round_factor(factor)
        quantized = IntIdentity(
            in_shape=operation.in_shape, out_shape=operation.out_shape, multiplier=multiplier, exponent=exponent
        )
    gain = None
    if connection.gain is not None:  # one shift, behind the gain, loses nothing of the sum in front of it
        gain, drift = round_gain(connection.gain), drift * connection.gain
        gain = replace(gain, exponent=gain.exponent + quantized.exponent)
        quantized = replace(quantized, exponent=0)
    return IntConnection(
        source=source, target=connection.target, operation=quantized, delay=connection.delay, gain=gain
    ), drift


def _mean_current(operation: Convolution, mean_CHW: Values) -> Values:
    """Mean over positions of what an operation makes of the mean message of every neuron, [C, 1, 1]."""
    return operation(mean_CHW[np.newaxis])[0].mean(axis=(1, 2), keepdims=True)
