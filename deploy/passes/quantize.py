"""Float network -> integer network: N-bit weights, 12-bit decays, integer thresholds and biases.

Before:  lif: v <- (1 - 1/tau) v + w s + b,   spike when v > tau
After:   lif: v <- v - (v * decay >> 12) + (m << e) s + b,   spike when v > round(S tau)
         m has 8 bits, one exponent e for a connection, decay = round(4096 / tau)

The scale S of a population is chosen in scales.py; the result is proven not to overflow (bounds.py) or refused. Several
shares of the registers are tried, and the integer network whose results on the calibration clips are closest to the
float ones is kept: where a spike flips is chance, and a flipped spike reaches hundreds of neurons.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.integer import (
    DECAY_ONE,
    IntAttention,
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntLif,
    IntNetwork,
    IntOperation,
    IntPopulation,
    IntRelay,
    run_integer,
)
from deploy.ir.network import Attention, Connection, Convolution, Input, Network, Population, Relay
from deploy.passes.bounds import prove
from deploy.passes.calibrate import Calibration
from deploy.passes.rounding import round_bias, round_factor, round_gain, round_weights
from deploy.passes.scales import choose_scales, message_scale, shifts_right
from svformer.errors import InputError

RESERVES = (0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5)  # shares of the registers to fill; rounding can raise a worst case


def quantize(network: Network, calibration: Calibration, *, weight_bits: int = 8) -> IntNetwork:
    """The best integer network with `weight_bits` signed weights; its registers are proven not to overflow.

    Raises `InputError` when no scale keeps a layer within its registers.
    """
    if not 2 <= weight_bits <= 8:
        raise InputError(f"weight_bits={weight_bits}; allowed: 2 to 8 (Loihi stores 8 with a sign)")
    candidates, refusals = list[IntNetwork](), list[InputError]()
    for reserve in RESERVES:
        try:
            candidates.append(_quantize(network, calibration, weight_bits, reserve))
        except InputError as refusal:
            refusals.append(refusal)
    if not candidates:
        raise refusals[-1]
    return min(candidates, key=lambda candidate: result_error(candidate, calibration))


def result_error(network: IntNetwork, calibration: Calibration) -> float:
    """Root mean square difference to the float network's results on the calibration clips."""
    results = network.logits(run_integer(network, calibration.frames_NTCHW))
    return float(np.sqrt(np.mean((results - calibration.results) ** 2)))


def _quantize(network: Network, calibration: Calibration, weight_bits: int, reserve: float) -> IntNetwork:
    scales = choose_scales(network, calibration, weight_bits=weight_bits, reserve=reserve)
    populations = {n: _population(p, scales[n], calibration) for n, p in network.populations.items()}
    connections = tuple(_connection(c, network, scales, calibration, weight_bits) for c in network.connections)
    quantized = IntNetwork(
        populations=populations,
        connections=connections,
        output=network.output,
        frames=network.frames,
        notes=network.notes,
    )
    prove(quantized)
    return quantized


def _population(population: Population, scale: float, calibration: Calibration) -> IntPopulation:
    if isinstance(population, Input):
        low, high = (int(np.rint(x * scale)) for x in calibration.input_range)
        return IntInput(shape=population.shape, scale=scale, low=low, high=high)
    if isinstance(population, Relay):
        return IntRelay(shape=population.shape, scale=scale, bias=np.rint(population.bias * scale).astype(np.int64))
    mantissa, exponent = round_bias(population.bias * scale, population.threshold * scale)
    return IntLif(
        shape=population.shape,
        scale=scale,
        bias_mantissa=mantissa,
        bias_exponent=exponent,
        decay=np.clip(np.rint(population.decay * DECAY_ONE), 0, DECAY_ONE).astype(np.int64),
        threshold=np.rint(population.threshold * scale).astype(np.int64),
    )


def _connection(
    connection: Connection, network: Network, scales: dict[str, float], calibration: Calibration, weight_bits: int
) -> IntConnection:
    source, operation = connection.source, connection.operation
    factor = scales[connection.target] / message_scale(network, source, scales)
    quantized: IntOperation
    if isinstance(operation, Convolution):
        activity = calibration.activity[source]
        shifts = shifts_right(network, connection)
        rounded = round_weights(operation, factor, activity, weight_bits=weight_bits, right_shift=shifts)
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
    gain = None if connection.gain is None else round_gain(connection.gain)
    if gain is not None:  # one shift, behind the gain, loses nothing of the sum in front of it
        gain = replace(gain, exponent=gain.exponent + quantized.exponent)
        quantized = replace(quantized, exponent=0)
    return IntConnection(
        source=source, target=connection.target, operation=quantized, delay=connection.delay, gain=gain
    )
