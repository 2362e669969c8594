"""Recordings in NIR's data format: as clips, as a reference, on a grid or as events; what does not fit is refused."""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy.clips.files import from_files
from deploy.clips.nir_data import clip_format, load_sample, read_spikes, samples
from deploy.clips.read import load
from deploy.clips.source import InputFormat
from deploy.gates.reference import compare
from deploy.report.record import reference_summary
from deploy.report.summary import reference_lines
from svformer.common.errors import InputError

DT_S = 1e-3
SPIKES = np.random.default_rng(0).random((2, 5, 4)) < 0.4


def write(path: Path, **nodes: dict[str, Any]) -> Path:
    data = {name: nir.NIRNodeData(observables) for name, observables in nodes.items()}
    nir.write_data(str(path), nir.NIRGraphData(nodes=data))
    return path


def grid(values: Any = SPIKES, dt_s: float = DT_S) -> nir.TimeGriddedData:
    return nir.TimeGriddedData(np.asarray(values), dt_s)


def events(dt_s: float = DT_S) -> nir.EventData:
    """The same spikes as events, at the beginning of their steps."""
    return grid(dt_s=dt_s).to_event(n_events=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.h5"


@pytest.mark.parametrize("observable", [grid(), events()], ids=["grid", "events"])
def test_every_sample_is_a_clip(observable: Any, path: Path) -> None:
    """Also events whose time divided by dt is a hair below a whole number."""
    write(path, input={"spikes": observable})
    assert [sample.name for sample in samples(path)] == ["x.h5#0", "x.h5#1"]
    assert clip_format(samples(path)[1], DT_S) == (5, DT_S)
    for source, expected in zip(from_files([path]), SPIKES, strict=True):
        found = load(source, InputFormat(frames=5, shape=(2, 2)))
        assert found.dtype == np.float32
        assert found.tolist() == expected.reshape(5, 2, 2).tolist()


def test_no_event_is_lost_to_rounding(path: Path) -> None:
    """6 * 1e-4 / 1e-4 is 5.999..; stock nir puts such an event a step too early."""
    steps = 200
    every_step = np.ones((1, steps, 1), dtype=bool)
    write(path, layer={"spikes": nir.TimeGriddedData(every_step, 1e-4).to_event(n_events=steps)})
    assert load_sample(path, steps, (1,)).all()
    stock = nir.read_data(str(path)).nodes["layer"].observables["spikes"].to_time_gridded(1e-4)
    assert not stock.data.all()


def test_values_keep_their_size(path: Path) -> None:
    valued = nir.ValuedEventData(
        np.array([[1, 0, -1]]), np.array([[0.0, 1e-3, np.inf]]), 2, 2e-3, np.array([[0.5, -2, 9]])
    )
    write(path, input={"current": valued})
    assert load_sample(path, 2, (2,)).tolist() == [[0, 0.5], [-2, 0]]
    write(path, input={"current": grid(SPIKES * 0.25)})
    assert load_sample(path, 5, (4,)).tolist() == (SPIKES[0] * 0.25).tolist()


def test_the_input_is_the_node_that_is_named_so(path: Path) -> None:
    write(path, input_1={"x": grid()}, layer={"spikes": grid(~SPIKES)})
    assert load_sample(path, 5, (4,)).tolist() == SPIKES[0].tolist()


def message(function: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_clip_is_refused(path: Path) -> None:
    assert "no such recording" in message(samples, path)
    path.write_bytes(b"nothing")
    assert "not a recording of NIR" in message(samples, path)
    write(path, a={"spikes": grid()}, b={"spikes": grid()})
    assert "which of a (spikes), b (spikes) is the input?" in message(samples, path)
    write(path, input={"spikes": grid(), "v": grid()})
    assert "which of input (spikes, v) is the input?" in message(samples, path)
    write(path, input={"spikes": grid()})
    assert "5 time steps of 4 values; this graph takes 5 of [3]" in message(load_sample, path, 5, (3,))
    assert "time steps of 0.001 s, the graph runs with 0.0001 s; see --dt" in message(clip_format, path, 1e-4)
    assert clip_format(path, None) == (5, DT_S)
    write(path, input={"spikes": events()})
    assert "events without a time step" in message(clip_format, path, None)


def graph(*layers: str) -> nir.NIRGraph:
    """Memoryless neurons with threshold 0.5 one after the other: each passes spikes on."""
    neurons = graphs.lif(4, tau=DT_S, v_threshold=0.5)
    return graphs.chain({"input": graphs.entry(4), **dict.fromkeys(layers, neurons), "output": graphs.result(4)})


def test_a_reference_is_compared_layer_by_layer(path: Path) -> None:
    """Layer a equals the reference in both executions; of b.lif two float spikes differ, the first at step 1."""
    other = SPIKES.copy()
    other[1, 1, 2] ^= True
    other[0, 3, 0] ^= True
    write(path, a={"spikes": grid()}, b_lif={"spikes": events()}, c={"spikes": grid(other)}, input={"spikes": grid()})
    deployed = {name: SPIKES.astype(np.uint8).reshape(2, 5, 4, 1, 1) for name in ("a", "b.lif", "d")}
    deployed["b.lif"] = other.reshape(2, 5, 4, 1, 1)
    found = compare(path, graph("a", "b.lif", "d"), SPIKES, deployed)
    assert found["file"] == "x.h5"
    assert found["unmatched"] == ["c"]
    a, b = found["layers"]
    assert a == {
        "name": "a",
        "rate": SPIKES.mean(),
        "compared": 40,
        "float_match": 1.0,
        "float_first_difference": None,
        "deployed_match": 1.0,
        "deployed_first_difference": None,
    }
    assert b["name"] == "b.lif"
    assert b["float_first_difference"] is None
    assert b["deployed_match"] == pytest.approx(38 / 40)
    assert b["deployed_first_difference"] == [1, 1, 2]
    assert list(reference_lines(reference_summary(found))) == [
        "reference: the network has no layer c",
        "reference a: of 40 neuron states the same: float 100.00 %, deployed 100.00 %",
        "reference b.lif: of 40 neuron states the same: float 100.00 %, deployed 95.00 %",
    ]


def test_a_reference_that_cannot_be_compared_is_refused(path: Path) -> None:
    deployed = {"a": SPIKES.astype(np.uint8)}
    write(path, a={"v": grid()})
    assert "no node has an observable 'spikes'; found a (v)" in message(read_spikes, path)
    write(path, other={"spikes": grid()})
    assert "spikes of other; the network's layers are a" in message(compare, path, graph("a"), SPIKES, deployed)
    write(path, a={"spikes": grid(dt_s=1e-4)})
    assert "time steps other than the graph's 0.001 s: a (0.0001 s)" in message(
        compare, path, graph("a"), SPIKES, deployed
    )
    write(path, a={"spikes": grid(SPIKES[:, :, :3])})
    assert "a has [2, 5, 3] spikes (clips, time steps, neurons), ours [2, 5, 4]" in message(
        compare, path, graph("a"), SPIKES, deployed
    )
