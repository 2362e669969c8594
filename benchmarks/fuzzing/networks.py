"""Networks: NIR files of random graphs, files of integers and of lava-dl; what is taken has to run alike everywhere."""

import io
import itertools
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import nir
import numpy as np

from deploy.clips.source import input_format
from deploy.engine.stream import stream
from deploy.exchange.integers import graph_of
from deploy.execution.simulate import simulate
from deploy.ir.graph import read_nir
from deploy.ir.integer import as_images, run_integer
from deploy.ir.shapes import infer_shapes
from deploy.request import Request
from deploy.session import draft
from fuzzing import hdf5, odd
from fuzzing.kind import Kind
from svformer.common.errors import InputError

NETWORK, CLIP = "network.nir", "clip.npy"
LARGEST = 4096  # values of an input that a clip is made for; a larger network is read and refused or not, no more
DEPLOYED_EVERY, LAVA_EVERY = 3, 150  # of networks that are taken, one is quantised and run; of these fewer on Lava
Shape = tuple[int, ...]


# Random graphs


def graph(rng: Random) -> nir.NIRGraph:
    """A small graph of standard nodes that fit each other; at times with a loop, a shortcut or a graph inside."""
    shape: Shape = rng.choice(((3,), (5,), (2, 6, 6), (1, 5, 4)))
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
    edges, before = list[tuple[str, str]](), "input"
    for i in range(rng.randrange(1, 6)):
        node, shape = rng.choice(FLAT if len(shape) == 1 else IMAGES)(rng, shape)
        name = f"{i}"
        nodes[name] = node
        edges.append((before, name))
        if rng.random() < 0.1 and len(shape) == 1:
            nodes[f"{i}back"] = nir.Linear(weights(rng, shape[0], shape[0]))
            edges += [(name, f"{i}back"), (f"{i}back", name)]
        before = name
    nodes["output"] = nir.Output(np.array(shape))
    edges.append((before, "output"))
    said: dict[str, Any] = {"dt": 1e-3} | ({"T": rng.randrange(1, 5)} if rng.random() < 0.3 else {})
    made = nir.NIRGraph(nodes, edges, metadata=said, type_check=False)
    return _around(made, rng) if rng.random() < 0.05 else made


def _around(inner: nir.NIRGraph, rng: Random) -> nir.NIRGraph:
    nodes = {"input": inner.nodes["input"], "inside": inner, "output": inner.nodes["output"]}
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata=inner.metadata, type_check=False)


def weights(rng: Random, *shape: int) -> Any:
    return np.array([rng.gauss(0, 1) for _ in range(int(np.prod(shape)))]).reshape(shape)


def _fields(rng: Random, shape: Shape, **scales: float) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {name: np.full(shape, scale) for name, scale in scales.items()}
    return {name: scale * np.exp(weights(rng, *shape) / 3) for name, scale in scales.items()}


def _lif(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.LIF(**_fields(rng, shape, tau=3e-3, r=1.0, v_threshold=0.6, v_leak=0.0, v_reset=0.0)), shape


def _cuba(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    fields = _fields(rng, shape, tau_mem=4e-3, tau_syn=2e-3, r=1.0, v_threshold=0.6, v_leak=0.0, v_reset=0.0)
    return nir.CubaLIF(**fields, w_in=np.ones(shape)), shape


def _if(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.IF(**_fields(rng, shape, r=1e3, v_threshold=1.0, v_reset=0.0)), shape


def _li(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.LI(**_fields(rng, shape, tau=3e-3, r=1.0, v_leak=0.0)), shape


def _scale(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.Scale(**_fields(rng, shape, scale=1.0)), shape


def _threshold(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.Threshold(**_fields(rng, shape, threshold=0.5)), shape


def _delay(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.Delay(np.full(shape, rng.choice((0.0, 1e-3, 2e-3)))), shape


def _affine(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    out = rng.randrange(1, 6)
    return nir.Affine(weights(rng, out, shape[0]), weights(rng, out)), (out,)


def _linear(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    out = rng.randrange(1, 6)
    return nir.Linear(weights(rng, out, shape[0])), (out,)


def _conv(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    out, kernel, stride, padding = rng.randrange(1, 4), rng.randrange(1, 4), rng.randrange(1, 3), rng.randrange(2)
    if min(shape[1:]) + 2 * padding < kernel:
        return _lif(rng, shape)
    node = nir.Conv2d(
        input_shape=(shape[1], shape[2]),
        weight=weights(rng, out, shape[0], kernel, kernel),
        stride=stride,
        padding=padding,
        dilation=1,
        groups=1,
        bias=weights(rng, out),
    )
    return node, (out, *((n + 2 * padding - kernel) // stride + 1 for n in shape[1:]))


def _pool(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    if min(shape[1:]) < 2:
        return _lif(rng, shape)
    kind = rng.choice((nir.SumPool2d, nir.AvgPool2d))
    two = np.array([2, 2])
    return kind(kernel_size=two, stride=two, padding=np.array([0, 0])), (shape[0], shape[1] // 2, shape[2] // 2)


def _flatten(rng: Random, shape: Shape) -> tuple[Any, Shape]:
    return nir.Flatten({"input": np.array(shape)}, 0, -1), (int(np.prod(shape)),)


Layer = Callable[[Random, Shape], tuple[Any, Shape]]
SAME: tuple[Layer, ...] = (_lif, _lif, _cuba, _if, _li, _scale, _threshold, _delay)
FLAT: tuple[Layer, ...] = (*SAME, _affine, _affine, _linear, _linear)
IMAGES: tuple[Layer, ...] = (*SAME, _conv, _conv, _conv, _pool, _flatten, _flatten)


# Files


def written(made: nir.NIRGraph) -> bytes:
    content = io.BytesIO()
    nir.write(content, made, compression=None)
    return content.getvalue()


def make(rng: Random, folder: Path) -> None:
    """A file of a random graph, whose content is odd in up to four places."""
    changes = rng.choice((0, 1, 1, 1, 2, 4))
    (folder / NETWORK).write_bytes(hdf5.with_odd_content(rng, written(graph(rng)), changes))


def make_of_bytes(rng: Random, folder: Path) -> None:
    (folder / NETWORK).write_bytes(odd.mutated(rng, written(graph(rng))))


def make_integers(rng: Random, folder: Path) -> None:
    """A file of integers: the graph of a network that was quantised, with odd content."""
    changes = rng.choice((0, 1, 1, 2, 4))
    (folder / NETWORK).write_bytes(hdf5.with_odd_content(rng, _integers(rng.randrange(24)), changes))


@cache
def _integers(number: int) -> bytes:
    rng = Random(number)
    while True:
        made = graph(rng)
        try:
            shape = infer_shapes(made)["input"]
            network = quantised(made, np.ones((2, 3, *shape)))
            return written(graph_of(network, dt_s=1e-3, input_shape=shape, metadata={}))
        except (ValueError, InputError):
            continue  # that one has no such form, or cannot be deployed


def quantised(made: nir.NIRGraph, frames: Any) -> Any:
    """The integers of a graph for clips [N, T, ..] that it is calibrated with; raises `InputError` where refused."""
    from deploy.pipeline import advance, drafted

    made.metadata["T"] = frames.shape[1]
    return advance(drafted(made, frames.astype(np.float32)), lambda line: None, last="schedule").integer


# What the product does


def read(folder: Path) -> None:
    """Read and deploy a network as `run_lava.py --nir` does, on random spikes; then compare its executions."""
    path = folder / NETWORK
    clip = write_clip(folder, input_format(read_nir(path), 1).shape)
    if clip is not None:
        compare_executions(Request(nir=path, clips=[clip], dt_s=1e-3, cache=False))


def write_clip(folder: Path, shape: Shape) -> Path | None:
    """A clip of three time steps of random spikes; None for a network that is too large for one."""
    if np.prod(shape, dtype=float) > LARGEST:
        return None
    np.save(folder / CLIP, (np.random.default_rng(0).random((3, *shape)) < 0.4).astype(np.float32))
    return folder / CLIP


def compare_executions(request: Request) -> None:
    """Lower a network, quantise and run some of them; AssertionError where engine, Lava and interpreter differ."""
    checked = zlib.crc32(Path(str(request.nir or request.net)).read_bytes())
    if checked % DEPLOYED_EVERY:
        draft(request, "lower")
        return
    made = draft(request, "schedule")
    clips = as_images(made.clips, made.network)
    judge = run_integer(made.integer, clips)
    streamed = stream(made.integer, made.plan, clips, threads=1)
    _require_equal("engine", judge, streamed)
    if checked % LAVA_EVERY == 0:
        _require_equal("Lava", judge, simulate(made.integer, clips, plan=made.plan, timeout_s=120).signals)


def _require_equal(what: str, judge: dict[str, Any], found: Any) -> None:
    for name, expected in judge.items():
        if not np.array_equal(expected, found[name]):
            raise AssertionError(f"{what} and the integer interpreter differ in {name}")


KINDS = {
    "nir": Kind(about="NIR files: valid HDF5 with odd content", make=make, read=read),
    "nir-bytes": Kind(about="NIR files with mutated bytes", make=make_of_bytes, read=read),
    "integers": Kind(about="NIR files of integers with odd content", make=make_integers, read=read),
}
