"""Settings of all tests, and the networks that several of them run: a whole SVFormer, and small random networks."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deploy.frontend.from_svformer import export
from deploy.ir.operations.attention import IntAttention
from deploy.ir.integer import IntConnection, IntGain, IntNetwork
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.relay import IntRelay
from deploy.ir.machine import DECAY_ONE
from deploy.ir.types import Shape
from deploy.passes.bounds import prove
from hardware import AttentionGeometry, ConvGeometry
from svformer import SVFormer, SVFormerConfig
from svformer.common.errors import InputError

# How long an example takes to draw or to run depends on the machine, and no test of ours is about time. The examples
# are the same in every run, so that a change is to blame for what fails; other ones are drawn by
# `pytest --hypothesis-profile explore`.
UNTIMED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], print_blob=True
)
settings.register_profile("svformer", UNTIMED, derandomize=True, database=None)
settings.register_profile("explore", UNTIMED, derandomize=False)
settings.load_profile("svformer")

Frames = NDArray[Any]  # [N, T, C, H, W]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A float64 model, its NIR graph, and clips of real numbers."""

    model: SVFormer
    graph: nir.NIRGraph
    frames_NTCHW: Frames


SMALL = SVFormerConfig(
    num_classes=5, image_size=64, frames=4, embed_dims=(8, 12, 16, 24), depths=(1, 1, 2, 1), head_dim=8
)


@pytest.fixture(scope="session")
def exported() -> Exported:
    """An SVFormer with every kind of layer, with norms and time constants as training could leave them."""
    torch.manual_seed(1)
    model = SVFormer(SMALL)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            # q, k and v have to fire together for attention to send anything
            torch.nn.init.normal_(module.bias, 1.0 if name.endswith("attn.norm1") else 0.3, 0.3)
    for name, parameter in model.named_parameters():
        if name.endswith(".p.w"):
            torch.nn.init.normal_(parameter, 0, 0.5)
    model.double().eval()
    frames = np.random.default_rng(1).normal(size=(2, SMALL.frames, 3, 64, 64))
    return Exported(model=model, graph=export(model), frames_NTCHW=frames)


@st.composite
def convolutions(draw: st.DrawFn, in_shape: Shape | None = None) -> ConvGeometry:
    """Small convolutions with every option, each axis on its own."""
    groups = draw(st.integers(1, 3)) if in_shape is None else draw(st.sampled_from(_divisors(in_shape[0])))
    channels = groups * draw(st.integers(1, 2)) if in_shape is None else in_shape[0]
    height, width = draw(st.tuples(st.integers(1, 6), st.integers(1, 6))) if in_shape is None else in_shape[1:]
    axes = [draw(_axes(size)) for size in (height, width)]
    kernel, stride, padding, dilation = zip(*axes, strict=True)
    return ConvGeometry(
        in_shape=(channels, height, width),
        out_channels=groups * draw(st.sampled_from([1, 2, 3, 3])),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@st.composite
def _axes(draw: st.DrawFn, size: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation that fit into `size` pixels."""
    padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    kernel = draw(st.integers(1, min(4, size + 2 * padding)))
    most = (size + 2 * padding - 1) // (kernel - 1) if kernel > 1 else 3
    return kernel, stride, padding, draw(st.integers(1, min(3, most)))


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


@pytest.fixture(scope="session")
def conv_geometries() -> st.SearchStrategy[ConvGeometry]:
    return convolutions()


@st.composite
def random_int_networks(draw: st.DrawFn) -> tuple[IntNetwork, Frames]:
    """An integer network that is proven not to overflow, and 1 to 3 clips for it.

    Populations have one to three sources, near or far back, through convolutions of any geometry, identities or
    attention, with delays up to longer than a clip; some have gains or biases of their own for every time step.
    Weights, biases, decays and thresholds are arbitrary.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape: Shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    low, high = draw(st.sampled_from([(0, 1), (-3, 3), (-500, 500), (2, 9)]))
    populations: dict[str, IntPopulation] = {"input": IntInput(shape=shape, scale=1.0, low=low, high=high)}
    connections: list[IntConnection] = []
    clips, frames = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    for i in range(draw(st.integers(1, 5))):
        names = list(populations)
        first = draw(st.just(names[-1]) | st.sampled_from(names))
        others = draw(st.lists(st.sampled_from(names), max_size=2))
        operation, shape = draw(_operations(populations[first], rng))
        operations = [operation, *(_fitting(populations[other], shape, rng) for other in others)]
        for source, op in zip([first, *others], operations, strict=True):
            delay = draw(st.integers(0, 2) | st.integers(0, 5))
            gain = _gain(frames, shape, rng) if draw(st.integers(0, 3)) == 0 else None
            connections.append(IntConnection(source=source, target=f"p{i}", operation=op, delay=delay, gain=gain))
        steps = (frames,) if draw(st.integers(0, 3)) == 0 else ()
        populations[f"p{i}"] = draw(st.sampled_from([_neurons, _neurons, _relay]))(shape, steps, rng)
    network = IntNetwork(
        populations=populations, connections=tuple(connections), output=list(populations)[-1], frames=frames
    )
    try:
        prove(network)
    except InputError:
        reject()
    shape = network.input.shape
    return network, rng.integers(low, high + 1, size=(clips, frames, *shape)).astype(np.float64)


@st.composite
def _operations(
    draw: st.DrawFn, source: IntPopulation, rng: np.random.Generator
) -> tuple[IntConvolution | IntIdentity | IntAttention, Shape]:
    """Something that the source can send through, and the shape of what comes out."""
    channels, height, width = source.shape
    kinds = ["convolution", "convolution", "identity", "flatten"]
    if isinstance(source, IntLif) and channels % 3 == 0:
        kinds += ["attention"] * 4
    kind = draw(st.sampled_from(kinds))
    if kind == "convolution":
        geometry = draw(convolutions(source.shape))
        return _weights(geometry, source, rng), geometry.out_shape
    if kind == "attention":
        heads = draw(st.sampled_from(_divisors(channels // 3)))
        geometry = AttentionGeometry(channels=channels // 3, tokens=height * width, heads=heads)
        multiplier, exponent = int(rng.integers(1, 128)), int(rng.integers(-6, 2))
        attention = IntAttention(geometry=geometry, in_shape=source.shape, multiplier=multiplier, exponent=exponent)
        return attention, (channels // 3, height, width)
    shape = source.shape if kind == "identity" else (channels * height * width, 1, 1)
    multiplier, exponent = draw(st.just((1, 0)) | st.tuples(st.integers(1, 127), st.integers(-4, 3)))
    return IntIdentity(in_shape=source.shape, out_shape=shape, multiplier=multiplier, exponent=exponent), shape


def _fitting(source: IntPopulation, shape: Shape, rng: np.random.Generator) -> IntConvolution | IntIdentity:
    """From a source of any shape to this one: a kernel and a padding that make up the difference."""
    if source.shape == shape:
        return IntIdentity(in_shape=shape, out_shape=shape)
    padding = [max(0, -(-(out - size) // 2)) for size, out in zip(source.shape[1:], shape[1:], strict=True)]
    kernel = [n + 2 * p - out + 1 for n, p, out in zip(source.shape[1:], padding, shape[1:], strict=True)]
    geometry = ConvGeometry(
        in_shape=source.shape,
        out_channels=shape[0],
        kernel=(kernel[0], kernel[1]),
        padding=(padding[0], padding[1]),
    )
    return _weights(geometry, source, rng)


def _weights(geometry: ConvGeometry, source: IntPopulation, rng: np.random.Generator) -> IntConvolution:
    """Spikes get the full range of weights; graded messages small ones, so that not every network overflows."""
    largest, exponents = (127, (0, 3)) if isinstance(source, IntLif) else (7, (-3, 1))
    shape = (geometry.out_channels, geometry.in_shape[0] // geometry.groups, *geometry.kernel)
    mantissa = rng.integers(-largest, largest + 1, size=shape).astype(np.int16)
    return IntConvolution(mantissa=mantissa, exponent=int(rng.integers(*exponents)), geometry=geometry)


def _gain(frames: int, shape: Shape, rng: np.random.Generator) -> IntGain:
    """Factors from about -2 to 2."""
    exponent = int(rng.integers(-11, 1))
    largest = min(4095, 2 << -exponent)
    return IntGain(multiplier=rng.integers(-largest, largest + 1, size=(frames, shape[0], 1, 1)), exponent=exponent)


def _neurons(shape: Shape, steps: tuple[int, ...], rng: np.random.Generator) -> IntLif:
    per_channel = (shape[0], 1, 1)
    return IntLif(
        shape=shape,
        scale=1.0,
        bias_mantissa=rng.integers(-200, 300, size=(*steps, *(per_channel if rng.random() < 0.5 else shape))),
        bias_exponent=int(rng.integers(0, 7)),
        decay=rng.integers(0, DECAY_ONE + 1, size=per_channel),
        threshold=rng.integers(1, 300, size=per_channel),
    )


def _relay(shape: Shape, steps: tuple[int, ...], rng: np.random.Generator) -> IntRelay:
    return IntRelay(shape=shape, scale=1.0, bias=rng.integers(-20, 21, size=(*steps, *shape)))


@pytest.fixture(scope="session")
def int_networks() -> st.SearchStrategy[tuple[IntNetwork, Frames]]:
    return random_int_networks()


def _small_graph() -> nir.NIRGraph:
    """4 inputs, 5 neurons, 3 neurons."""
    rng = np.random.default_rng(0)
    lif = nir.LIF(
        tau=np.full(5, 5e-3), r=np.ones(5), v_leak=np.zeros(5), v_threshold=np.full(5, 0.3), v_reset=np.zeros(5)
    )
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc1": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.1),
        "hidden": lif,
        "fc2": nir.Linear(rng.normal(size=(3, 5)) * 1000),
        "out": nir.IF(r=np.ones(3), v_threshold=np.ones(3), v_reset=np.zeros(3)),
        "output": nir.Output(np.array([3])),
    }
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.nir, and 11 clips 00.npy, .. [6, 4], each with another number of spikes."""
    made = tmp_path_factory.mktemp("small")
    nir.write(str(made / "small.nir"), _small_graph())
    rng = np.random.default_rng(1)
    for i in range(11):
        np.save(made / f"{i:02}.npy", (rng.random((6, 4)) < 0.1 + 0.07 * i).astype(np.float32))
    return made
