"""What the result of a clip is: each readout by hand, the same in real numbers, integers and the search for scales."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

import graphs
import ints
from deploy.ir.integer import run_integer
from deploy.ir.network import run_float
from deploy.ir.readout import READOUTS, Readout, choose_readout, read_out
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.quantize import result_error
from deploy.pipeline import quantize
from svformer.common.errors import InputError

# Four time steps; class 0 fires three times, class 1 once and first, class 2 never.
SPIKES = np.array([[[0, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        ("count", [3, 1, 0]),
        ("last", [1, 0, 0]),
        ("mean", [0.75, 0.25, 0]),
        ("max", [1, 1, 0]),
        ("first-spike", [3, 4, 0]),
    ],
)
def test_by_hand(readout: Readout, expected: list[float]) -> None:
    np.testing.assert_array_equal(read_out(SPIKES, readout), [expected])


def test_graded_messages_by_hand() -> None:
    """Potentials -3, 5, 1 of one output: the last is 1, the mean 1, the largest 5."""
    potentials = np.array([-3.0, 5.0, 1.0]).reshape(1, 3, 1, 1, 1)
    results: tuple[Readout, ...] = ("last", "mean", "max")
    assert [read_out(potentials, r).tolist() for r in results] == [[[1]], [[1]], [[5]]]


def test_what_a_graph_says_decides_and_else_what_its_output_sends() -> None:
    assert choose_readout(None, spiking=True) == "count"
    assert choose_readout(None, spiking=False) == "last"
    assert [choose_readout(r, spiking=True) for r in READOUTS] == list(READOUTS)
    with pytest.raises(InputError, match=r"readout count: the output sends graded values; allowed: last, mean, max$"):
        choose_readout("count", spiking=False)
    with pytest.raises(InputError, match="readout sum: the output sends spikes; allowed: count, last, mean"):
        choose_readout("sum", spiking=True)


def classifier(*behind: nir.NIRNode, **metadata: Any) -> nir.NIRGraph:
    """Three neurons that fire where their own input does, then `behind`."""
    between = {f"n{i}": node for i, node in enumerate(behind)}
    nodes = {"in": graphs.entry(3), "lif": graphs.lif(3, tau=1e-3, v_threshold=0.5), **between, "out": graphs.result(3)}
    return graphs.chain(nodes, T=4, **metadata)


def test_spikes_are_counted_in_every_execution_and_the_output_is_no_population() -> None:
    network = lower(classifier())
    assert (network.readout, network.output, list(network.populations)) == ("count", "lif", ["in", "lif"])
    clip = SPIKES[..., np.newaxis, np.newaxis].astype(float)
    assert read_out(run_float(network, clip)["lif"], network.readout).tolist() == [[3, 1, 0]]
    integer = quantize(network, clip)
    assert integer.logits(run_integer(integer, clip)).tolist() == [[3, 1, 0]]
    last = quantize(lower(classifier(readout="last")), clip)
    assert last.logits(run_integer(last, clip)).tolist() == [[1, 0, 0]]


def test_a_flattened_image_is_only_marked_and_a_sum_is_not() -> None:
    flatten = nir.Flatten(input_type={"input": np.array((1, 1, 3))}, start_dim=0, end_dim=-1)
    flat = graphs.chain(
        {"in": graphs.entry(1, 1, 3), "lif": graphs.lif(1, 1, 3), "flat": flatten, "out": graphs.result(3)}, T=4
    )
    assert (lower(flat).output, lower(flat).readout) == ("lif", "count")
    summed = lower(classifier(nir.Linear(np.ones((3, 3)))))
    assert (summed.readout, summed.spiking(summed.output)) == ("last", False)
    assert len(summed.populations) == 3, "a dense layer behind the neurons has sums of its own"


def test_an_input_that_is_the_output_stays() -> None:
    graph = graphs.chain({"in": graphs.entry(3), "out": graphs.result(3)}, T=4)
    assert list(lower(graph).populations) == ["in", "out"]


def test_the_search_for_scales_sees_the_spikes_that_are_counted() -> None:
    """A network whose output fires in other steps than the last: by the last step every candidate looks perfect."""
    network = lower(classifier())
    clip = SPIKES[:, :, :, np.newaxis, np.newaxis].astype(float)
    clip[:, -1] = 0
    integer = quantize(network, clip)
    assert result_error(integer, calibrate(network, clip)) == 0
    deaf = replace(integer, populations={**integer.populations, "lif": ints.lif((3, 1, 1), threshold=10**5)})
    assert result_error(deaf, calibrate(network, clip)) == pytest.approx(np.sqrt((2**2 + 1**2) / 3))
    by_last = replace(deaf, readout="last")
    assert result_error(by_last, calibrate(replace(network, readout="last"), clip)) == 0
