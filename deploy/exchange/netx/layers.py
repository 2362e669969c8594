"""The layers of a `.net` file as populations and connections of integers, with the meaning that netx gives them.

Weights count in one unit, 64 of which are 1.0 in slayer; thresholds and biases in the same (`vThMant`, `bias_exp` 6). A
delay holds back what arrives at an output channel (netx's Dense; slayer's is on the axon, which gives the same spikes).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.exchange.netx.content import CONV, POOL, Layer, Neuron, Values
from deploy.ir.integer import IntConnection
from deploy.ir.machine import DECAY_ONE, MAX_DELAY, POTENTIAL_LIMIT, STATE_SHIFT, WEIGHT_BITS
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Shape
from hardware import ConvGeometry
from hardware.geometry import SpreadConvGeometry

NO_NEURON = Neuron(  # what netx puts behind a dense layer without neurons: a sum that never fires
    current_decay=np.array([0]), decay=np.array([DECAY_ONE]), threshold=np.array([POTENTIAL_LIMIT])
)


def never_fires(neuron: Neuron) -> bool:
    """Whether thresholds are above what a potential can reach, as in slayer's Affine."""
    return bool((neuron.threshold >= POTENTIAL_LIMIT).all())


def population_of(layer: Layer, shape: Shape) -> IntLif | IntIntegrator:
    """The neurons of a layer; those that never fire send their potential instead. Raises `ValueError`."""
    neuron = layer.neuron or NO_NEURON
    fields: dict[str, Any] = {
        "shape": shape,
        "scale": 1.0,
        "bias_mantissa": _bias(layer, shape),
        "bias_exponent": STATE_SHIFT,
        "decay": _by_channel(neuron.decay, shape, "vDecay"),
    }
    if (neuron.current_decay < DECAY_ONE).any():
        fields["current_decay"] = _by_channel(neuron.current_decay, shape, "iDecay")
    if never_fires(neuron):
        return IntIntegrator(**fields)
    return IntLif(threshold=_by_channel(neuron.threshold, shape, "vThMant"), **fields)


def _by_channel(values: Values, shape: Shape, what: str) -> Values:
    if values.size not in (1, shape[0]):
        raise ValueError(f"{values.size} values of {what}; allowed: 1, or one for each of {shape[0]} channels")
    return values.reshape(-1, 1, 1)


def _bias(layer: Layer, shape: Shape) -> Values:
    """One for each channel, or for each neuron, which a file has as (columns, rows, channels)."""
    bias = layer.values.get("bias", np.zeros(1, np.int64))
    if bias.shape == shape[::-1]:
        return bias.transpose(2, 1, 0)
    return _by_channel(bias.reshape(-1), shape, "bias")


def geometry_of(layer: Layer, before: Shape) -> ConvGeometry:
    """Where the weights of a layer lie; raises `ValueError` or `ChipError` for what does not fit what it takes."""
    values = layer.values
    if layer.kind in (CONV, POOL) and layer.values["weight"].ndim < 4:
        raise ValueError(f"weights of shape {values['weight'].shape}; allowed: 4 dimensions")
    if layer.kind == CONV:
        window = {name: _pair(values[name]) for name in ("stride", "padding", "dilation")}
        kernel = _pair(np.array(values["weight"].shape[2:4]))
        outputs, groups = len(values["weight"]), int(values["groups"].item())
        return ConvGeometry(in_shape=before, out_channels=outputs, kernel=kernel, groups=groups, **window)
    if layer.kind == POOL:
        return _pooling(layer, before)
    return ConvGeometry(in_shape=before, out_channels=math.prod(values["shape"].tolist()), kernel=before[1:])


def _pooling(layer: Layer, before: Shape) -> ConvGeometry:
    """Windows side by side; rows and columns that are left over get zeros behind the image, as slayer pads them."""
    values, kernel = layer.values, _pair(layer.values["kernelSize"])
    if _pair(values["stride"]) != kernel or values["padding"].any() or (values["dilation"] != 1).any():
        raise ValueError("pooling windows that overlap, are padded or dilated, which slayer mixes channels for")
    behind = before[1] % kernel[0], before[2] % kernel[1]
    window: dict[str, Any] = {
        "in_shape": before,
        "out_channels": before[0],
        "kernel": (kernel[0] + behind[0], kernel[1] + behind[1]),
        "stride": kernel,
        "padding": behind,
        "groups": before[0],
    }
    if behind == (0, 0):
        return ConvGeometry(**window)
    reached = np.zeros((before[0], 1, *window["kernel"]), dtype=np.bool_)
    reached[:, :, behind[0] :, behind[1] :] = True
    return SpreadConvGeometry(reached=reached, **window)


def weights_of(layer: Layer, geometry: ConvGeometry) -> Values:
    """The weights in the shape that the geometry has; raises `ValueError` where they do not fit."""
    weight, wanted = layer.values["weight"], geometry.weight_shape
    if layer.kind == POOL:
        full = np.zeros(wanted, dtype=np.int64)
        kernel = _pair(layer.values["kernelSize"])
        full[:, :, -kernel[0] :, -kernel[1] :] = weight.reshape(kernel)
        return full
    if weight.size != math.prod(wanted):
        raise ValueError(f"weights of shape {list(weight.shape)} for what arrives; allowed: {list(wanted)}")
    return weight.reshape(wanted)


def connections_of(
    source: str, target: str, weight: Values, geometry: ConvGeometry, delays: Values
) -> Iterator[IntConnection]:
    """One for each delay; `delays` are those of output channels, or of all weights of a matrix. Raises `ValueError`."""
    if (delays < 0).any() or (delays > MAX_DELAY).any():
        raise ValueError(f"delays from {delays.min()} to {delays.max()} time steps; allowed: 0 to {MAX_DELAY}")
    by_weight = np.broadcast_to(delays.reshape(*delays.shape, *(1 for _ in range(4 - delays.ndim))), weight.shape)
    mantissa, exponent = _mantissa(weight)
    found = np.unique(by_weight).tolist()
    for delay in found:
        held = by_weight == delay
        part = geometry if len(found) == 1 else _masked(geometry, held)
        operation = IntConvolution(
            mantissa=np.where(held, mantissa, 0).astype(np.int16), exponent=exponent, geometry=part
        )
        yield IntConnection(source=source, target=target, operation=operation, delay=delay)


def _masked(geometry: ConvGeometry, held: NDArray[np.bool_]) -> SpreadConvGeometry:
    reached = held & geometry.reached if isinstance(geometry, SpreadConvGeometry) else held
    fields = {name: value for name, value in vars(geometry).items() if name != "reached"}
    return SpreadConvGeometry(reached=reached, **fields)


def delays_of(layer: Layer, outputs: int, inputs: int) -> Values:
    """Delays of a layer as netx reads them: of outputs [O, 1], else of inputs [1, I], or of all synapses [O, I]."""
    delay = layer.values.get("delay", np.zeros((), np.int64))
    if delay.size == 1:
        return delay.reshape(1, 1)
    if delay.size == outputs:
        return delay.reshape(-1, 1)
    if layer.kind not in (CONV, POOL) and delay.size == inputs:
        return delay.reshape(1, -1)
    if layer.kind not in (CONV, POOL) and delay.shape == (outputs, inputs):
        return delay
    raise ValueError(f"delays of shape {list(delay.shape)}; allowed: one for each of {outputs} channels")


def _mantissa(weight: Values) -> tuple[Values, int]:
    """Weights as 8-bit mantissas and the power of two that all share; raises `ValueError` for wider ones."""
    shared = int(np.gcd.reduce(np.abs(weight), axis=None))
    exponent = (shared & -shared).bit_length() - 1 if shared else 0
    mantissa, limit = weight >> exponent, 1 << (WEIGHT_BITS - 1)
    if mantissa.min() < -limit or mantissa.max() >= limit:
        raise ValueError(
            f"weights from {weight.min()} to {weight.max()}, which {WEIGHT_BITS} bits and an exponent do not hold; "
            "netx would cut them off. Allowed: -128 to 127, or even ones from -256 to 254"
        )
    return mantissa, exponent


def _pair(values: Values) -> tuple[int, int]:
    first, second = np.broadcast_to(values.ravel(), (2,)).tolist()
    return first, second
