"""docs/integer_files.md, followed to the letter: a simulator of the file alone, which knows nothing of this project."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

import ints
from deploy.exchange.files import write_integers
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.product import IntProduct
from deploy.ir.operations.segment import IntSegment
from hardware import ProductGeometry
from random_networks import Frames, int_networks

Ints = NDArray[np.int64]
Group = Any  # of HDF5


def shifted(total: Ints, exponent: int) -> Ints:
    return total << exponent if exponent >= 0 else total >> -exponent


def towards_zero(x: Ints, d: Ints) -> Ints:
    return np.sign(x) * ((np.abs(x) * (4096 - d)) >> 12)


def correlated(x_CHW: Ints, weight_OIYX: Ints, g: Group) -> Ints:
    """One output value after the other, as the definition of a convolution has it."""
    (sy, sx), (py, px), (dy, dx) = (g[name][()] for name in ("stride", "padding", "dilation"))
    outputs, inputs, kh, kw = weight_OIYX.shape
    padded = np.pad(x_CHW, [(0, 0), (py, py), (px, px)])
    rows = (padded.shape[1] - dy * (kh - 1) - 1) // sy + 1
    columns = (padded.shape[2] - dx * (kw - 1) - 1) // sx + 1
    result = np.zeros((outputs, rows, columns), dtype=np.int64)
    for o in range(outputs):
        first = o // (outputs // g["groups"][()]) * inputs
        for y in range(rows):
            for x in range(columns):
                seen = padded[first : first + inputs, y * sy :: dy, x * sx :: dx][:, :kh, :kw]
                result[o, y, x] = (seen * weight_OIYX[o]).sum()
    return result


def attended(s_CHW: Ints, g: Group) -> Ints:
    q, k, v = s_CHW.reshape(3, g["heads"][()], -1, g["tokens"][()])  # [heads, channels of a head, tokens]
    return np.einsum("hcn,hcm,hdm->hdn", q, k, v).reshape(len(s_CHW) // 3, *s_CHW.shape[1:])


def largest(x_CHW: Ints, g: Group) -> Ints:
    """What lies outside the image is never the largest."""
    (kh, kw), (sy, sx), (py, px) = (g[name][()] for name in ("kernel", "stride", "padding"))
    padded = np.pad(x_CHW, [(0, 0), (py, py), (px, px)], constant_values=np.iinfo(np.int64).min)
    rows, columns = ((padded.shape[i] - k) // s + 1 for i, k, s in ((1, kh, sy), (2, kw, sx)))
    windows = [
        [padded[:, y * sy :, x * sx :][:, :kh, :kw].max(axis=(1, 2)) for x in range(columns)] for y in range(rows)
    ]
    return np.moveaxis(np.array(windows), -1, 0)


def multiplied(x: Ints, g: Group) -> Ints:
    """Values times spikes: axes are letters of np.einsum here."""
    sizes = g["sizes"][()]
    left, right, output = (g[name][()].tolist() for name in ("left", "right", "output"))
    values, spikes = np.split(x.astype(np.int64), [int(np.prod(sizes[left]))])
    found = np.einsum(values.reshape(sizes[left]), left, (spikes != 0).reshape(sizes[right]), right, output)
    return found.reshape(g["out_shape"][()])


def operated(x_CHW: Ints, operation: Group) -> Ints:
    match operation["kind"][()]:
        case b"IntConvolution":
            total = correlated(x_CHW, operation["mantissa"][()].astype(np.int64), operation["geometry"])
        case b"IntMaxPool":
            total = largest(x_CHW.astype(np.int64), operation["geometry"]) * operation["multiplier"][()]
        case b"IntAttention":
            total = attended(x_CHW, operation["geometry"]) * operation["multiplier"][()]
        case b"IntSegment":
            total = np.zeros(int(np.prod(operation["out_shape"][()])), dtype=np.int64)
            total[operation["first"][()] :][: x_CHW.size] = x_CHW.ravel() * operation["multiplier"][()]
            total = total.reshape(operation["out_shape"][()])
        case b"IntPermutation":
            axes, order = x_CHW.reshape(operation["sizes"][()]), operation["order"][()]
            total = axes.transpose(order).reshape(operation["out_shape"][()]) * operation["multiplier"][()]
        case b"IntProduct":
            total = multiplied(x_CHW.ravel(), operation["geometry"]) * operation["multiplier"][()]
        case _:
            total = x_CHW.reshape(operation["out_shape"][()]) * operation["multiplier"][()]
    return shifted(total, int(operation["exponent"][()]))


def at(values: Ints, t: int) -> Ints:
    """A value for every time step, or for all."""
    return values[t % len(values)] if values.ndim == 4 else values


def silence(operation: Group) -> Ints:
    """What has not arrived yet."""
    shape = operation["in_shape" if "in_shape" in operation else "geometry/in_shape"]
    return np.zeros(shape[()], dtype=np.int64)


def arrived(connection: Group, sent: dict[str, list[Ints]], t: int) -> Ints | int:
    source, delay = connection["source"][()].decode(), int(connection["delay"][()])
    s = operated(sent[source][t - delay] if t >= delay else silence(connection["operation"]), connection["operation"])
    if "gain" not in connection:
        return s
    product, exponent = s * at(connection["gain/multiplier"][()], t), int(connection["gain/exponent"][()])
    return product << exponent if exponent >= 0 else (product + (1 << (-exponent - 1))) >> -exponent


class Neurons:
    def __init__(self, fields: Group) -> None:
        self.fields = {name: fields[name][()] for name in fields}
        self.u, self.v = self.fields.get("start_current", 0), self.fields.get("start", 0)

    def step(self, a: Ints, t: int) -> Ints:
        f = self.fields
        self.u = (towards_zero(self.u, f["current_decay"]) if "current_decay" in f else 0) + (a << 6)
        bias = at(f["bias_mantissa"], t) << f["bias_exponent"]
        self.v = np.clip(towards_zero(self.v, f["decay"]) + self.u + bias, -(2**23) + 1, 2**23 - 1)
        if f["kind"] == b"IntIntegrator":
            return (self.v + 32) >> 6
        fires = self.v > f["threshold"] << 6
        self.v = np.where(fires, self.v - (f["subtract"] << 6) if "subtract" in f else 0, self.v)
        return fires.astype(np.int64)


def simulated(path: Path, clip_TCHW: NDArray[Any]) -> dict[str, Ints]:
    """Messages of every population, [T, C, H, W], from the group `integer` alone."""
    with h5py.File(path) as file:
        group = file["node/metadata/integer"]
        populations, order = group["populations"], json.loads(group["order"][()])
        connections = list(group["connections"].values()) if "connections" in group else []
        into = {name: [c for c in connections if c["target"][()].decode() == name] for name in order}
        sent: dict[str, list[Ints]] = {name: [] for name in order}
        neurons = {n: Neurons(populations[n]) for n in order if "decay" in populations[n]}
        for t, frame in enumerate(clip_TCHW):
            for name in order:
                fields = populations[name]
                if fields["kind"][()] == b"IntInput":
                    low, high, scale = (fields[key][()] for key in ("low", "high", "scale"))
                    sent[name].append(np.clip(np.rint(frame * scale), low, high).astype(np.int64))
                    continue
                a = np.zeros(fields["shape"][()], dtype=np.int64)
                a = sum((arrived(c, sent, t) for c in into[name]), start=a)
                if name in neurons:
                    sent[name].append(np.broadcast_to(neurons[name].step(a, t), a.shape))
                else:
                    sent[name].append(a + at(fields["bias"][()], t))
        return {name: np.stack(messages) for name, messages in sent.items()}


def agree(network: IntNetwork, clips: Frames, path: Path) -> None:
    write_integers(network, path, dt_s=1e-3, input_shape=network.input.shape, metadata={})
    expected = run_integer(network, clips)
    for n, clip in enumerate(clips):
        for name, messages in simulated(path, clip).items():
            np.testing.assert_array_equal(messages, expected[name][n], err_msg=name)


@settings(max_examples=60)
@given(int_networks())
def test_the_page_is_enough_to_run_a_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[IntNetwork, Frames]
) -> None:
    network, clips = drawn
    agree(network, clips[:1], tmp_path_factory.getbasetemp() / "specified.nir")


def test_currents_with_memory_starts_and_soft_resets_as_the_page_says(tmp_path: Path) -> None:
    shape, rng = (4, 1, 1), np.random.default_rng(0)
    weights = rng.integers(-60, 127, (4, 4))
    memory = {"decay": [0, 100, 2048, 4096], "current_decay": [0, 50, 3000, 4096], "bias_mantissa": [5, -9, 0, 40]}
    network = ints.network(
        {
            "in": ints.entry(shape),
            "soft": ints.lif(shape, threshold=[50, 90, 200, 120], subtract=[50, 91, 200, 119], **memory),
            "begun": ints.lif(shape, threshold=99, start=[900, -600, 7, 0], start_current=[3, 400, -70, 9], **memory),
            "sum": ints.integrator(shape, start=[-5, 5, 0, 77], bias_exponent=3, **memory),
        },
        ints.link("in", "soft", ints.dense(weights, exponent=1)),
        ints.link("soft", "begun", ints.dense(weights.T, exponent=-2)),
        ints.link("begun", "begun", ints.dense(weights), delay=2),
        ints.link("begun", "sum", ints.dense(-weights)),
        frames=30,
    )
    agree(network, rng.integers(0, 2, (2, 30, *shape)).astype(np.float64), tmp_path / "memory.nir")


def test_products_of_signals_as_the_page_says(tmp_path: Path) -> None:
    """Values of a relay and spikes of neurons, one behind the other in a vector, multiplied and summed over rows."""
    axes = ProductGeometry(sizes=(3, 2, 4), left=(0, 1), right=(2, 1), output=(0, 2), out_shape=(3, 4, 1))
    vector = (14, 1, 1)
    network = ints.network(
        {
            "in": ints.entry((3, 2, 1)),
            "values": ints.relay((3, 2, 1)),
            "spikes": ints.lif((4, 2, 1), threshold=12),
            "vector": ints.relay(vector),
            "lif": ints.lif((3, 4, 1), threshold=20),
        },
        ints.link("in", "values", ints.same((3, 2, 1), multiplier=5)),
        ints.link("in", "spikes", ints.conv(np.arange(12).reshape(4, 3, 1, 1), (3, 2, 1))),
        ints.link("values", "vector", IntSegment(in_shape=(3, 2, 1), out_shape=vector, first=0)),
        ints.link("spikes", "vector", IntSegment(in_shape=(4, 2, 1), out_shape=vector, first=6, exponent=3)),
        ints.link("vector", "lif", IntProduct(geometry=axes, multiplier=3, exponent=-1)),
        frames=6,
    )
    agree(
        network, np.random.default_rng(0).integers(0, 2, (2, 6, 3, 2, 1)).astype(np.float64), tmp_path / "product.nir"
    )
