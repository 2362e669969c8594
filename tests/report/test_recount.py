"""A run counted and priced again from its files alone, and what is told where one of them was changed."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

import deploy
import ints
from deploy.costs.counting import count_operations
from deploy.exchange.of_run import write_of_run
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.identity import Junction
from deploy.ir.operations.product import IntProduct, SignalProduct
from deploy.ir.operations.segment import IntSegment, Segment
from deploy.passes.schedule import schedule
from hardware import ProductGeometry, integers
from hardware.integers import read_integers
from hardware.machine import sent_by_all
from hardware.recount import main, recount
from hardware.stored_counts import counts_of, weight_bits
from random_networks import int_networks

STEPS, NEURONS, CLIPS = 20, 5, 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three clips, of which two are kept."""
    return ran(tmp_path_factory.mktemp("recount"), keep_clips=2)


def ran(folder: Path, **options: Any) -> Path:
    rng, none, tau = np.random.default_rng(0), np.zeros(NEURONS), np.full(NEURONS, 2e-3)
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc1": nir.Linear(rng.normal(size=(NEURONS, 4))),
        "hidden": nir.LIF(tau=tau, r=none + 1, v_leak=none, v_threshold=none + 0.3, v_reset=none),
        "fc2": nir.Linear(rng.normal(size=(3, NEURONS))),
        "out": nir.LI(tau=tau[:3], r=np.ones(3), v_leak=np.zeros(3)),
        "output": nir.Output(np.array([3])),
    }
    said = {"dt": 1e-4, "T": STEPS}
    nir.write(folder / "net.nir", nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata=said))
    clips = [folder / f"{number}.npy" for number in range(CLIPS)]
    for clip in clips:
        np.save(clip, rng.normal(0.5, 1.0, size=(STEPS, 4)).astype(np.float32))
    out = folder / "out"
    deploy.run(deploy.Request(nir=folder / "net.nir", clips=clips, backend="integer", out=out, **options))
    return out


@pytest.fixture
def changed(finished: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run, in which a report's value or a file's array is another."""

    def change(file: str, place: str, index: Any, value: Any) -> Path:
        out = tmp_path / "out"
        shutil.copytree(finished, out)
        if file == "report.json":
            report = found = json.loads((out / file).read_text())
            for name in place.split("/"):
                found = found[int(name) if name.isdigit() else name]
            found[index] = value
            (out / file).write_text(json.dumps(report))
        else:
            with h5py.File(out / file, "r+") as opened:
                opened[place][index] = value
        return out

    return change


@settings(max_examples=40)
@given(int_networks())
def test_messages_and_counts_of_any_network_are_found_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[IntNetwork, NDArray[Any]]
) -> None:
    found_again(*drawn, tmp_path_factory.getbasetemp() / "integers.h5")


def found_again(network: IntNetwork, frames: NDArray[Any], path: Path) -> None:
    expected, plan = run_integer(network, frames), schedule(network)
    write_of_run(network, plan, expected[network.input_name], path)
    stored = read_integers(path)
    sent = sent_by_all(stored, stored.sent)
    for name, messages in sent.items():
        np.testing.assert_array_equal(messages, expected[name], err_msg=name)
    for clip in range(len(frames)):
        counted = counts_of(stored, {name: messages[clip] for name, messages in sent.items()})
        of_clip = {name: signal[clip : clip + 1] for name, signal in expected.items()}
        assert counted == count_operations(network, plan, of_clip)


@pytest.mark.parametrize("spikes", [False, True])
def test_segments_and_products_of_signals_are_found_again(tmp_path: Path, spikes: bool) -> None:
    """Values of relays, or spikes, times spikes, both summed over rows and not; some spikes come a time step late."""
    axes = ProductGeometry(sizes=(3, 2, 4), left=(0, 1), right=(2, 1), output=(0, 2), out_shape=(3, 4, 1))
    vector, values = (14, 1, 1), ints.lif if spikes else ints.relay
    network = ints.network(
        {
            "in": ints.entry((3, 2, 1)),
            "values": values((3, 2, 1)),
            "spikes": ints.lif((4, 2, 1), threshold=12),
            "vector": (ints.lif if spikes else ints.relay)(vector),
            "out": ints.integrator((3, 4, 1)),
        },
        ints.link("in", "values", ints.same((3, 2, 1), multiplier=5)),
        ints.link("in", "spikes", ints.conv(np.arange(12).reshape(4, 3, 1, 1), (3, 2, 1))),
        ints.link("values", "vector", IntSegment(in_shape=(3, 2, 1), out_shape=vector, first=0)),
        ints.link("spikes", "vector", IntSegment(in_shape=(4, 2, 1), out_shape=vector, first=6, exponent=3), delay=1),
        ints.link("vector", "out", IntProduct(geometry=axes, multiplier=-3, exponent=-1)),
        frames=6,
    )
    clips = np.random.default_rng(0).integers(0, 2, (3, 6, 3, 2, 1)).astype(np.float64)
    sent = run_integer(network, clips)["out"]
    assert sent.any()
    found_again(network, clips, tmp_path / "integers.h5")


def test_a_run_with_products_of_signals_is_equal_to_its_files(tmp_path: Path) -> None:
    """As above, through the command's own way: a mask of currents, from NIR to the report."""
    rng = np.random.default_rng(0)

    def segment(first: int) -> Segment:
        return Segment(np.array([4]), np.array([8]), first)

    def spiking(threshold: float) -> nir.IF:
        return nir.IF(*(np.full(4, value) for value in (1e4, threshold, 0.0)))

    nodes: dict[str, nir.NIRNode] = {
        "input": nir.Input(np.array([4])),
        "current": nir.Affine(rng.normal(size=(4, 4)), np.full(4, 0.2)),
        "hidden": spiking(0.3),
        "values": segment(0),
        "spikes": segment(4),
        "vector": Junction(np.array([8])),
        "product": SignalProduct(*map(np.array, ([8], [4], [0], [0], [0], [4, 1, 1])), scale=0.5),
        "flat": nir.Flatten({"input": np.array([4, 1, 1])}, 0, -1),
        "out": spiking(0.1),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "current"), ("current", "hidden"), ("current", "values"), ("hidden", "spikes")]
    edges += [("values", "vector"), ("spikes", "vector"), ("vector", "product"), ("product", "flat"), ("flat", "out")]
    graph = nir.NIRGraph(nodes, [*edges, ("out", "output")], metadata={"dt": 1e-4, "T": STEPS}, type_check=False)
    deploy.write_nir(graph, tmp_path / "net.nir")
    np.save(tmp_path / "clips.npy", rng.random((2, STEPS, 4)).astype(np.float32))
    out, clips = tmp_path / "out", [tmp_path / "clips.npy"]
    deploy.run(deploy.Request(nir=tmp_path / "net.nir", clips=clips, backend="integer", out=out, keep_clips="all"))
    found = recount(out)
    assert (found.clips, found.spikes) == (2, 2 * 2 * STEPS * 4)
    assert found.layers == len(json.loads((out / "report.json").read_text())["layers"])


def test_an_operation_that_the_judge_does_not_know_is_told_in_a_line(
    changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = "integer/connections/00000/operation/kind"
    assert main([str(changed("integers.h5", place, ..., b"IntOther"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "input -> hidden (IntOther); allowed: IntConvolution, " in line


def test_a_run_is_equal_to_its_files(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recount(finished)
    assert (found.clips, found.of_clips) == (2, CLIPS)
    assert found.spikes == 2 * STEPS * NEURONS
    assert (found.layers, found.cost_models) == (None, 9), "layers are means of all clips; one chip has no energy"
    assert main([str(finished)]) == 0
    said = capsys.readouterr().out
    assert "equal: 200 states of neurons in 2 of 3 clips" in said
    assert "not compared: counts of layers" in said
    assert "0 layers" not in said


def test_layers_are_compared_where_all_clips_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ran(tmp_path, keep_clips="all")
    assert main([str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clips"], found["layers"]) == (CLIPS, 3), "input, hidden, out"


@pytest.mark.parametrize(
    ("file", "place", "index", "value", "told"),
    [
        ("spikes.h5", "nodes/hidden/observables/spikes/data", (1, 3, 2), None, "hidden, clip 2, time step 3, neuron 2"),
        ("integers.h5", "integer/populations/hidden/threshold", ..., 1, "hidden, clip 1, time step"),
        ("report.json", "clips/1/counts", "synaptic_ops", 7, "clip 2, synaptic_ops: report.json has 7, the recount"),
        ("report.json", "totals", "macs", 7.5, "totals, macs: report.json has 7.5, the recount"),
        ("report.json", "energy/models/loihi1", "mj_per_view", 1.0, "loihi1, mJ a view: report.json has 1, the"),
        ("report.json", "energy/models/odin/breakdown", "synaptic_ops", 2.0, "odin, synaptic_ops, mJ: report.json"),
    ],
)
def test_the_first_difference_is_told(
    changed: Callable[..., Path],
    finished: Path,
    file: str,
    place: str,
    index: Any,
    value: Any,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if value is None:
        with h5py.File(finished / file) as opened:
            value = not opened[place][index]
    assert main([str(changed(file, place, index, value))]) == 3
    assert f"first difference: {told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("report.json", "no report of a run"),
        ("integers.h5", "no integers of a run"),
        ("spikes.h5", "cannot be read"),
    ],
)
def test_a_file_that_is_not_there_is_told_in_a_line(
    finished: Path, tmp_path: Path, missing: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / missing).unlink()
    assert main([str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_the_width_of_weights_by_hand() -> None:
    """4, 8 and -12 are 1, 2 and -3 times four: three bits; -128 to 127 are eight; nothing but 0 takes one."""
    assert [weight_bits(np.array(w)) for w in ([4, 8, -12], [-128, 127], [0, 0], [1])] == [3, 8, 1, 2]


@pytest.mark.parametrize("sizes", [np.ones((2, 2), np.int64), np.array([1j]), np.array([1.5])])
def test_sizes_are_whole_numbers_in_a_row(sizes: Any) -> None:
    with pytest.raises(ValueError, match="allowed: whole numbers in a row"):
        integers._sizes(sizes)
