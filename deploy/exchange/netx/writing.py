"""Network of integers -> lava-dl's network file, as slayer's `export_hdf5` lays it out and netx reads it.

A population becomes a layer with the connections into it. Shapes and kernels are (C, H, W) in a file; a bias of every
neuron of an image is (W, H, C), as netx takes it. Neurons without a threshold get slayer's of an Affine layer, which
is never reached.
"""

import io
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from deploy.exchange.netx.content import Values
from deploy.exchange.netx.holds import by_channel, is_dense, matrix, require_held, weight_of
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import DECAY_ONE, STATE_SHIFT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif

NEVER = (1 << 18) - 1  # slayer's threshold of an Affine layer
Content = dict[str, Any]


def net_file(network: IntNetwork) -> bytes:
    """The content of the file; raises `InputError` that names every layer which netx cannot hold."""
    require_held(network)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for number, layer in enumerate(_layers(network)):
            _write(file.create_group(f"layer/{number}"), layer)
    return content.getvalue()


def _write(group: h5py.Group, values: Content) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif key == "type":
            group.create_dataset(key, (1,), "S10", [value.encode("ascii")])
        else:
            group[key] = value


def _layers(network: IntNetwork) -> Iterator[Content]:
    """The input, then every population; a flatten where an image meets a dense layer."""
    entry, names = network.input, list(network.receivers)
    flat = entry.shape[1:] == (1, 1) and _dense(network, names[0])
    limits = {} if (entry.low, entry.high) == (0, 1) else {"range": [entry.low, entry.high]}
    yield {"type": "input", "shape": [entry.shape[0]] if flat else list(entry.shape), **limits}
    for name in names:
        dense = _dense(network, name)
        if dense and not flat:
            before = next(c.operation.in_shape for c in network.into(name) if c.source != name)
            yield {"type": "flatten", "shape": [int(np.prod(before)), 1, 1]}
        flat = flat or dense
        layer = _dense_layer(network.into(name)) if dense else _convolution(network.into(name)[0])
        receiver = network.receivers[name]
        assert isinstance(receiver, (IntLif, IntIntegrator))
        yield {**layer, **_bias(receiver, dense=dense), "neuron": _neuron(receiver)}


def _dense(network: IntNetwork, name: str) -> bool:
    return all(is_dense(c.operation.geometry) for c in network.into(name))


def _dense_layer(connections: list[IntConnection]) -> Content:
    own = [c for c in connections if c.source != c.target]
    recurrent = [c for c in connections if c.source == c.target]
    weight: Values = np.sum([matrix(c) for c in own], axis=0)
    outputs, inputs = weight.shape
    size = {"shape": [outputs], "inFeatures": inputs, "outFeatures": outputs}
    layer: Content = {"type": "dense", **size, "weight": weight}
    if recurrent:
        layer |= {"type": "dense_rec", "weight_rec": np.sum([matrix(c) for c in recurrent], axis=0)}
    if len({c.delay for c in own}) > 1:
        layer["delay"] = np.sum([c.delay * (matrix(c) != 0) for c in own], axis=0)
    elif own[0].delay:
        layer["delay"] = np.full(outputs, own[0].delay)
    return layer


def _convolution(connection: IntConnection) -> Content:
    operation, weight = connection.operation, weight_of(connection)
    if isinstance(operation, IntIdentity):
        g = operation.as_convolution()
        weight = np.full(g.weight_shape, weight[0])
    else:
        assert isinstance(operation, IntConvolution)
        g = operation.geometry
    return {
        "type": "conv",
        "shape": list(g.out_shape),
        "inChannels": g.in_shape[0],
        "outChannels": g.out_channels,
        "kernelSize": list(g.kernel),
        "stride": list(g.stride),
        "padding": list(g.padding),
        "dilation": list(g.dilation),
        "groups": g.groups,
        "weight": weight,
    }


def _bias(receiver: IntLif | IntIntegrator, *, dense: bool) -> Content:
    bias = (receiver.bias_mantissa << receiver.bias_exponent) >> STATE_SHIFT
    if not bias.any():
        return {}
    channels = by_channel(bias)
    if dense or channels is not None:
        return {"bias": np.broadcast_to(bias if channels is None else channels, (receiver.shape[0],))}
    return {"bias": np.broadcast_to(bias, receiver.shape).transpose(2, 1, 0)}


def _neuron(receiver: IntLif | IntIntegrator) -> Content:
    none = np.array([DECAY_ONE])
    current_decay = none if receiver.current_decay is None else by_channel(receiver.current_decay)
    threshold = by_channel(receiver.threshold) if isinstance(receiver, IntLif) else np.array([NEVER])
    return {
        "type": "CUBA",
        "iDecay": _one_or_all(current_decay),
        "vDecay": _one_or_all(by_channel(receiver.decay)),
        "vThMant": _one_or_all(threshold),
        "refDelay": 1,
        "gradedSpike": False,
    }


def _one_or_all(values: Values | None) -> Any:
    """A number where all are the same; `require_held` has seen to there being one for each channel."""
    assert values is not None
    return int(values[0]) if len(values) == 1 else values
