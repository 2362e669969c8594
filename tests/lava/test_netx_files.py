"""lava-dl's `.net` files: what slayer exports gives here the spikes of stock netx on Lava's CPU, and slayer's own."""

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

import graphs
import ints
from deploy.exchange.files import write_integers
from deploy.exchange.netx.reading import read_net
from deploy.ir.graph import write_nir
from deploy.ir.integer import IntConnection, IntNetwork, run_integer
from deploy.ir.machine import STATE_SHIFT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Shape
from deploy.lava_network import compat
from deploy.lava_network.watchdog import LavaRun
from deploy.passes.bounds import prove
from deploy.report.keys.report import Report
from deploy.request import Request
from deploy.session import run
from hardware import ConvGeometry
from processes import HANG_S

# isort: split
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

CLIPS, STEPS = 2, 40
NEURON = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


def cuba() -> Any:
    """Slayer's blocks with CUBA neurons."""
    return compat.load_lava_dl().slayer.block.cuba


def neuron(**fields: Any) -> dict[str, Any]:
    """Parameters of neurons; slayer takes them out of the dictionary that it is given."""
    return NEURON | fields


def delayed(block: Any, steps: Sequence[float]) -> Any:
    """A block whose channels have learnt delays; slayer stores what is left of them when they are rounded down."""
    block.delay.delay.data, block.delay.init = torch.tensor(steps), True
    return block


def trained(blocks: Sequence[Any], path: Path, *, shape: Sequence[int], share: float = 0.3) -> tuple[Any, Any]:
    """Clips [N, *shape, T] and what slayer makes of them; the blocks are exported to `path`."""
    x = (torch.rand(CLIPS, *shape, STEPS) < share).float()
    with torch.no_grad():
        y = x
        for block in blocks:
            y = block(y)
    with h5py.File(path, "w") as file:
        for number, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{number}"))
    return np.moveaxis(x.numpy(), -1, 1), np.moveaxis(y.numpy(), -1, 1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


@contextlib.contextmanager
def stock(path: Path) -> Iterator[Any]:
    """Netx's own network of a file, reset when the first frame of a clip reaches a layer."""
    network = compat.load_lava_dl().netx.hdf5.Network(str(path), reset_interval=STEPS, reset_offset=1)
    yield network
    network.net_config.f.close()


def on_netx(path: Path, clips_NT: Any) -> Any:
    """Spikes [N, T, K] of a file on Lava's CPU; clips and files have their axes the other way round there."""
    with stock(path) as network:
        depth = len(network)
        frames = np.concatenate([*clips_NT, np.zeros_like(clips_NT[0][:depth])])
        if len(network.inp.shape) == 1:  # netx passes over a flatten in front of the first layer
            frames = frames.reshape(len(frames), -1)
        data = frames.transpose(*reversed(range(frames.ndim))).astype(int)
        source, sink = Source(data=data), Sink(shape=network.out.shape, buffer=len(frames))
        source.s_out.connect(network.inp)
        network.out.connect(sink.a_in)
        with LavaRun(sink, run_cfg=Loihi2SimCfg(select_tag="fixed_pt"), timeout_s=HANG_S) as running:
            running.step(len(frames))
            spikes = np.moveaxis(sink.data.get(), -1, 0)[depth:].astype(int)
    spikes = spikes.transpose(0, *reversed(range(1, spikes.ndim)))
    return spikes.reshape(len(clips_NT), STEPS, -1)


def ours(path: Path, clips_NT: Any) -> tuple[IntNetwork, Any]:
    """The network of a file, proven, and what its output sends, [N, T, K]."""
    network, shape = read_net(path)
    network = replace(network, frames=STEPS)
    prove(network)
    assert clips_NT.shape[2:] == shape
    signals = run_integer(network, clips_NT.reshape(*clips_NT.shape[:2], *network.input.shape))
    return network, signals[network.output].reshape(len(clips_NT), STEPS, -1)


def test_convolutions_dense_and_recurrent_layers_give_the_spikes_of_stock_netx(tmp_path: Path) -> None:
    """Weight norm, windows that are not square, delays, parameters of every channel, recurrence."""
    block, path = cuba(), tmp_path / "a.net"
    blocks = [
        block.Input(delay_shift=False),
        block.Conv(neuron(), 2, 4, (3, 2), stride=(2, 1), padding=(1, 0), weight_scale=4, weight_norm=True),
        block.Conv(neuron(voltage_decay=0.0), 4, 4, 2, groups=2, dilation=(1, 2), weight_scale=4),
        block.Flatten(),
        delayed(block.Dense(neuron(), 24, 6, weight_scale=4, weight_norm=True, delay=True), [0.0, 3.2, 1, 0, 7.9, 2]),
        block.Dense(neuron(shared_param=False, current_decay=(0.2, 0.9)), 6, 5, weight_scale=4),
        block.Recurrent(neuron(current_decay=1.0), 5, 4, weight_scale=5),
    ]
    clips, _ = trained(blocks, path, shape=(2, 6, 6))
    network, spikes = ours(path, clips)
    assert list(network.populations) == ["in", "conv1", "conv2", "dense4", "dense5", "dense_rec6"]
    assert {c.delay for c in network.into("dense4")} == {0, 1, 2, 3, 7}
    assert 0.1 < spikes.mean() < 0.9
    # netx holds back what a delay keeps at the end of a clip, and lets it into the next: clip by clip it does not
    for n in range(CLIPS):
        np.testing.assert_array_equal(on_netx(path, clips[n : n + 1])[0], spikes[n])


def test_pooling_and_an_input_with_neurons_give_the_spikes_of_slayer(tmp_path: Path) -> None:
    """Stock netx has no pooling, and connects nothing with the neurons of an input. A block sends a time step late."""
    block, path = cuba(), tmp_path / "b.net"
    blocks = [
        block.Input(neuron(threshold=26 / 64, current_decay=1.0), weight=0.5, bias=0.125),
        block.Conv(neuron(), 2, 4, 3, padding=1, weight_scale=4),
        block.Pool(neuron(threshold=57 / 64), 2, weight_scale=0.75),
        delayed(block.Conv(neuron(), 4, 4, 2, weight_scale=4, delay=True), [0.0, 2, 1, 5]),
        block.Flatten(),
        block.Dense(neuron(), 16, 6, weight_scale=4),
    ]
    clips, expected = trained(blocks, path, shape=(2, 5, 5))
    network, spikes = ours(path, clips)
    assert {c.delay for c in network.into("conv3")} == {0, 1, 2, 5}
    assert network.populations["pool2"].shape == (4, 3, 3), "a row and a column of zeros behind 5 x 5 pixels"
    late = 5  # blocks with neurons
    assert 0.1 < spikes.mean() < 0.9
    np.testing.assert_array_equal(spikes[:, : STEPS - late], expected[:, late:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # netx takes the single value of an array as NumPy soon will not
        with pytest.raises(NotImplementedError), stock(path):
            pass


def test_an_affine_layer_is_read_at_its_potential(tmp_path: Path) -> None:
    """Slayer's Affine never fires; what it sends here is what its `v` is on Lava, in the unit of the weights."""
    block, path = cuba(), tmp_path / "c.net"
    blocks = [
        block.Input(delay_shift=False),
        block.Dense(neuron(), 5, 6, weight_scale=4),
        block.Affine(neuron(), 6, 3, weight_scale=2),
    ]
    clips, _ = trained(blocks[:2], path, shape=(5,))
    blocks[2](torch.zeros(1, 6, 1))
    with h5py.File(path, "a") as file:
        blocks[2].export_hdf5(file.create_group("layer/2"))
    network, potentials = ours(path, clips[:1])
    assert (network.populations["dense2"].kind, network.readout) == ("integrator", "last")
    with stock(path) as stock_network:
        frames = np.concatenate([clips[0], np.zeros((2, 5))]).T.astype(int)
        source, sink = Source(data=frames), Sink(shape=stock_network.out.shape, buffer=STEPS + 2)
        source.s_out.connect(stock_network.inp)
        stock_network.out.connect(sink.a_in)
        state = stock_network.layers[-1].neuron.v
        with LavaRun(sink, run_cfg=Loihi2SimCfg(select_tag="fixed_pt"), timeout_s=HANG_S) as running:
            running.step(STEPS + 2)
            v, spikes = state.get(), sink.data.get()
    assert not spikes.any()
    np.testing.assert_array_equal((v.astype(int) + 32) >> 6, potentials[0, -1])


def test_a_file_runs_on_lava_as_any_other_network(tmp_path: Path) -> None:
    """Counted, priced, and bit for bit the integers', in blocks and on Lava's own processes."""
    block, path = cuba(), tmp_path / "d.net"
    blocks = [block.Input(delay_shift=False), block.Dense(neuron(), 5, 6, weight_scale=4)]
    clips, _ = trained(blocks, path, shape=(5,))
    np.save(tmp_path / "clips.npy", clips)
    for blocks_of in ("fused", "stock"):
        out = tmp_path / blocks_of
        run(Request(net=path, clips=[tmp_path / "clips.npy"], blocks=blocks_of, out=out))  # type: ignore[arg-type]
        report = Report.read(out / "report.json")
        assert (report.network.name, report.network.dt_s, report.network.frames) == ("d.net", 1e-3, STEPS)
        assert report.totals.synaptic_ops > 0


# Written


def drawn(seed: int) -> tuple[IntNetwork, Any]:
    """Convolutions, then dense layers, of any weights and parameters that netx holds, and clips of spikes for it."""
    rng, biased = np.random.default_rng(seed), seed % 2 == 0
    shape: Shape = (int(rng.integers(1, 4)), *rng.integers(4, 7, 2).tolist())  # type: ignore[assignment]
    entry = ints.entry(shape)
    populations: dict[str, IntPopulation] = {"in": entry}
    connections: list[IntConnection] = []
    for i in range(int(rng.integers(0, 3))):
        groups = int(rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
        geometry = ConvGeometry(
            in_shape=shape,
            out_channels=groups * int(rng.integers(1, 3)),
            kernel=(int(rng.integers(1, 4)), int(rng.integers(1, 3))),
            stride=(1, int(rng.integers(1, 3))),
            padding=(int(rng.integers(1, 3)), 1),
            dilation=(int(rng.integers(1, 3)), 1),
            groups=groups,
        )
        mantissa, exponent = weights(geometry.weight_shape, rng)
        operation = IntConvolution(mantissa=mantissa, exponent=exponent, geometry=geometry)
        connections.append(ints.link(list(populations)[-1], f"conv{i}", operation))
        shape = geometry.out_shape
        populations[f"conv{i}"] = neurons(shape, rng, biased=biased)
    for i in range(int(rng.integers(1, 4))):
        outputs, name = int(rng.integers(2, 7)), f"dense{i}"
        geometry = ConvGeometry(in_shape=shape, out_channels=outputs, kernel=shape[1:])
        mantissa, exponent = weights(geometry.weight_shape, rng)
        late, looped = rng.random(2) < (0 if biased else 0.5)  # `holds`: before the first frame biases act, too
        delays = rng.integers(0, 5, (outputs, 1, 1, 1)) if late and not looped else np.zeros((1, 1, 1, 1), np.int64)
        for delay in np.unique(delays).tolist():
            part = np.where(delays == delay, mantissa, 0).astype(np.int16)
            operation = IntConvolution(mantissa=part, exponent=exponent, geometry=geometry)
            connections.append(ints.link(list(populations)[-1], name, operation, delay=delay))
        shape = geometry.out_shape
        populations[name] = neurons(shape, rng, biased=biased)
        if looped:
            back, _ = weights((outputs, outputs), rng)
            connections.append(ints.link(name, name, ints.dense(back, exponent=exponent), delay=1))
    clips = (rng.random((CLIPS, STEPS, *entry.shape)) < 0.3).astype(np.float64)
    return ints.network(populations, *connections, frames=STEPS), clips


def weights(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Any, int]:
    """Of both signs, all positive or all negative; up to the last value that a synapse holds."""
    low, high = [(-128, 128), (1, 128), (-128, 0), (-3, 4)][rng.integers(4)]
    return rng.integers(low, high, shape, dtype=np.int16), int(rng.integers(0, 2))


def neurons(shape: Shape, rng: np.random.Generator, *, biased: bool) -> IntLif:
    """With one parameter for all or one a channel, a current that remembers or none, whole biases or none."""

    def values(low: int, high: int) -> Any:
        return rng.integers(low, high, (shape[0] if rng.random() < 0.5 else 1, 1, 1))

    bias = rng.integers(-60, 90, shape if rng.random() < 0.3 else (shape[0], 1, 1)) * biased
    memory = {"current_decay": values(800, 4097)} if rng.random() < 0.6 else {}
    return ints.lif(
        shape, threshold=values(1, 500), decay=values(0, 4097), bias_mantissa=bias, bias_exponent=STATE_SHIFT, **memory
    )


@pytest.mark.parametrize("seed", range(12))
def test_what_is_written_gives_the_same_spikes_on_stock_netx(tmp_path: Path, seed: int) -> None:
    """... of the last layer, whose input are the spikes of all others."""
    network, clips = drawn(seed)
    prove(network)
    write_integers(network, tmp_path / "w.net", dt_s=1e-3, input_shape=network.input.shape, metadata={})
    expected = run_integer(network, clips)[network.output].reshape(CLIPS, STEPS, -1)
    with h5py.File(tmp_path / "w.net") as file:
        clips = clips.reshape(CLIPS, STEPS, *file["layer/0/shape"][()])
    for n in range(CLIPS):
        np.testing.assert_array_equal(on_netx(tmp_path / "w.net", clips[n : n + 1])[0], expected[n])


def test_a_nir_file_goes_out_to_netx(tmp_path: Path) -> None:
    """From a network in real numbers to a `.net` file: stock netx fires as the run that wrote it did."""
    rng, out = np.random.default_rng(0), tmp_path / "out"
    nodes = {
        "input": graphs.entry(2, 6, 6),
        "conv": nir.Conv2d((6, 6), rng.normal(size=(3, 2, 3, 3)), 1, 1, 1, 1, rng.normal(size=3) * 0.1),
        "first": graphs.lif(3, 6, 6, tau=4e-3, v_threshold=0.8),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "second": graphs.lif(3, 3, 3, tau=3e-3, v_threshold=0.9),
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "dense": nir.Affine(rng.normal(size=(4, 27)) * 3, rng.normal(size=4)),
        "third": graphs.lif(4, tau=5e-3, v_threshold=0.7),
        "output": graphs.result(4),
    }
    write_nir(graphs.graph(nodes, list(itertools.pairwise(nodes))), tmp_path / "theirs.nir")
    clips = (rng.random((CLIPS, STEPS, 2, 6, 6)) < 0.3).astype(np.float32)
    np.save(tmp_path / "clips.npy", clips)
    files = {"nir": tmp_path / "theirs.nir", "clips": [tmp_path / "clips.npy"]}
    run(Request(**files, write_integer=tmp_path / "ours.net", out=out))  # type: ignore[arg-type]
    spikes = nir.read_data(out / "spikes.h5").nodes["third"].observables["spikes"]
    assert isinstance(spikes, nir.TimeGriddedData)
    found = on_netx(tmp_path / "ours.net", clips)
    assert found.any()
    np.testing.assert_array_equal(found, spikes.data[:CLIPS].astype(int))
