"""Network files of lava-dl: layers that fit each other, with odd content."""

import io
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

from deploy.exchange.netx.reading import read_net
from deploy.request import Request
from fuzzing import hdf5, networks
from fuzzing.kind import Kind

NETWORK = "network.net"
Layer = dict[str, Any]


def layers(rng: Random) -> list[Layer]:
    """An input, up to two convolutions or pools, and up to three dense or recurrent layers."""
    shape: networks.Shape = rng.choice(((3,), (5,), (2, 6, 6), (1, 5, 4)))
    found: list[Layer] = [{"type": "input", "shape": np.array(shape)}]
    for _ in range(rng.randrange(3) if len(shape) == 3 else 0):
        layer, shape = (_conv if rng.random() < 0.7 or min(shape[1:]) < 2 else _pool)(rng, shape)
        found.append(layer)
    if len(shape) == 3:
        found.append({"type": "flatten", "shape": np.array([np.prod(shape)])})
        shape = (int(np.prod(shape)),)
    for _ in range(rng.randrange(1, 4)):
        layer, shape = (_dense if rng.random() < 0.7 else _recurrent)(rng, shape)
        found.append(layer)
    return found


def _conv(rng: Random, shape: networks.Shape) -> tuple[Layer, networks.Shape]:
    out = rng.randrange(1, 4)
    one = np.array([1, 1])
    layer = {
        "type": "conv",
        "shape": np.array([out, *shape[1:]]),
        "weight": _weights(rng, out, shape[0], 3, 3),
        **dict.fromkeys(("stride", "padding", "dilation"), one),
        "groups": 1,
        "neuron": _neuron(rng, out),
    }
    return _biased(rng, layer, out), (out, *shape[1:])


def _pool(rng: Random, shape: networks.Shape) -> tuple[Layer, networks.Shape]:
    two, (channels, rows, columns) = np.array([2, 2]), shape
    layer = {
        "type": "pool",
        "shape": np.array([channels, -(-rows // 2), -(-columns // 2)]),
        "weight": np.full((1, 1, 2, 2), rng.randrange(1, 128)),
        "kernelSize": two,
        "stride": two,
        "padding": np.array([0, 0]),
        "dilation": np.array([1, 1]),
        "neuron": _neuron(rng, channels),
    }
    return layer, (channels, -(-rows // 2), -(-columns // 2))


def _dense(rng: Random, shape: networks.Shape) -> tuple[Layer, networks.Shape]:
    out = rng.randrange(1, 6)
    layer = {"type": "dense", "shape": np.array([out]), "weight": _weights(rng, out, shape[0])}
    if rng.random() < 0.3:
        layer["delay"] = np.array([rng.randrange(5) for _ in range(shape[0])])
    return _biased(rng, layer | {"neuron": _neuron(rng, out)}, out), (out,)


def _recurrent(rng: Random, shape: networks.Shape) -> tuple[Layer, networks.Shape]:
    out = rng.randrange(1, 6)
    weights = {"weight": _weights(rng, out, shape[0]), "weight_rec": _weights(rng, out, out)}
    return {"type": "dense_rec", "shape": np.array([out]), **weights, "neuron": _neuron(rng, out)}, (out,)


def _biased(rng: Random, layer: Layer, channels: int) -> Layer:
    return layer | ({"bias": _weights(rng, channels)} if rng.random() < 0.3 else {})


def _weights(rng: Random, *shape: int) -> Any:
    return np.array([2 * rng.randrange(-64, 64) for _ in range(int(np.prod(shape)))]).reshape(shape)


def _neuron(rng: Random, channels: int) -> Layer:
    def values(low: int, high: int) -> Any:
        return np.array([rng.randint(low, high) for _ in range(channels if rng.random() < 0.3 else 1)])

    decays = {"iDecay": values(0, 4096), "vDecay": values(0, 4096)}
    return {"type": "CUBA", **decays, "vThMant": values(1, 300), "refDelay": 1, "gradedSpike": False}


def written(found: list[Layer]) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for number, layer in enumerate(found):
            _write(file.create_group(f"layer/{number}"), layer)
    return content.getvalue()


def _write(group: h5py.Group, layer: Layer) -> None:
    for key, value in layer.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        else:
            group[key] = value


def make(rng: Random, folder: Path) -> None:
    """A file whose content is odd in up to four places."""
    changes = rng.choice((0, 1, 1, 1, 2, 4))
    (folder / NETWORK).write_bytes(hdf5.with_odd_content(rng, written(layers(rng)), changes))


def read(folder: Path) -> None:
    """Read and deploy a file as `run_lava.py --net` does, on random spikes; then compare its executions."""
    path = folder / NETWORK
    clip = networks.write_clip(folder, read_net(path)[1])
    if clip is not None:
        networks.compare_executions(Request(net=path, clips=[clip], cache=False))


KINDS = {"net": Kind(about="network files of lava-dl with odd content", make=make, read=read)}
