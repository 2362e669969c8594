"""Rows of very different size in front of what sends real numbers: a connection and an exponent for each size."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reals
from deploy import quantize, simulate
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.input import Input
from deploy.passes.group_rows import group_rows

T = 16


def readout(rows: Any) -> Network:
    """Spikes of three neurons into a graded output of one value a row."""
    rows = np.asarray(rows, dtype=float)
    shape = (rows.shape[1], 1, 1)
    return reals.network(
        {"input": Input(shape=shape), "lif": reals.lif(shape, threshold=1.0), "output": reals.relay((len(rows), 1, 1))},
        reals.link("input", "lif", reals.same(shape)),
        reals.link("lif", "output", reals.dense(rows)),
        frames=T,
    )


def kernels(network: Network) -> list[list[list[float]]]:
    found = []
    for c in network.into("output"):
        assert isinstance(c.operation, Convolution)
        found.append(c.operation.weight.reshape(len(c.operation.weight), -1).tolist())
    return found


def clips(seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).uniform(0, 3, (4, T, 3, 1, 1))


def test_rows_of_one_size_stay_one_connection() -> None:
    """At 8 bits the largest weight is 127 steps, so a row of 1 / 31 still has 4 of them."""
    net = readout([[1, 0.5, -0.2], [0.033, 0.01, 0.002], [0, 0, 0]])
    assert group_rows(net).connections == net.connections
    assert not group_rows(net).notes


def test_rows_of_unlike_size_are_connections_of_their_own() -> None:
    """0.03 is below 1 / 31.75 of 1, and 0.0005 below that of 0.03; rows of zeros go with the largest."""
    rows = [[0.03, 0, 0.01], [1, 0.5, -0.2], [0, 0.0005, 0], [0, 0, 0]]
    found = group_rows(readout(rows))
    zero = [0.0, 0.0, 0.0]
    assert kernels(found) == [
        [zero, [1, 0.5, -0.2], zero, zero],
        [[0.03, 0, 0.01], zero, zero, zero],
        [zero, zero, [0, 0.0005, 0], zero],
    ]
    assert "lif -> output: 3 connections, since its rows need as many exponents" in found.notes
    synapses = [c.operation.geometry.weights for c in found.into("output")]
    assert synapses == [6, 3, 3], "a weight is stored once, in the connection that has it"


def test_few_bits_are_not_split_at_every_difference() -> None:
    """Weights of 4 bits have 7 steps: rows of an eighth and more stay together."""
    assert len(group_rows(readout([[1, 0, 0], [0.13, 0, 0]]), weight_bits=4).into("output")) == 1
    assert len(group_rows(readout([[1, 0, 0], [0.12, 0, 0]]), weight_bits=4).into("output")) == 2


@given(decades=st.integers(2, 4), seed=st.integers(0, 2**16))
def test_small_rows_keep_their_weights_in_integers(decades: int, seed: int) -> None:
    """The same numbers before and after; in integers a row that was lost beside the large one is right within 1 %."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0.5, 1, (2, 3)) * [[1], [10.0**-decades]]
    net, x = readout(rows), clips(seed)
    exact = run_float(net, x)["output"]
    grouped = group_rows(net)
    np.testing.assert_allclose(run_float(grouped, x)["output"], exact, rtol=1e-12)
    found = simulate(quantize(grouped, x), x, backend="integer")
    scale = found.signals["output"][:, :, 1].astype(float).ravel()
    unit = quantize(grouped, x).populations["output"].message_unit
    np.testing.assert_allclose(scale / unit, exact[:, :, 1].ravel(), atol=0.01 * 10.0**-decades * 3)


@pytest.mark.lava
def test_lava_runs_what_was_split() -> None:
    net, x = group_rows(readout([[1, 0.5, -0.2], [0.003, 0.001, -0.002]])), clips()
    integer = quantize(net, x)
    assert len(integer.into("output")) == 2
    expected, found = (simulate(integer, x, backend=backend).signals for backend in ("integer", "lava"))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
