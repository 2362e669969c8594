"""Neurons whose weights are far smaller or larger than those of their layer get a unit of their own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import reals
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from deploy.passes.balance_rows import balance_rows

T = 20


def layer(rows: Any, *, threshold: Any = 1.0, bias: Any = 0.0, subtract: Any = None) -> Network:
    """Neurons behind a dense layer, and what adds up their spikes."""
    rows = np.asarray(rows, dtype=float)
    shape = (len(rows), 1, 1)
    lif = replace(
        reals.lif(shape, threshold=threshold, bias=bias),
        subtract=None if subtract is None else reals.values(subtract),
        start=np.full(shape, 0.25),
    )
    return reals.network(
        {"input": Input(shape=(rows.shape[1], 1, 1)), "lif": lif, "output": reals.relay()},
        reals.link("input", "lif", reals.dense(rows)),
        reals.link("lif", "output", reals.dense(np.ones((1, len(rows))))),
        frames=T,
    )


def weights(network: Network) -> NDArray[np.float64]:
    (connection,) = network.into("lif")
    assert isinstance(connection.operation, Convolution)
    return connection.operation.weight.reshape(len(connection.operation.weight), -1)


def neurons(network: Network) -> Lif:
    found = network.populations["lif"]
    assert isinstance(found, Lif)
    return found


def test_a_small_row_is_multiplied_by_a_power_of_two() -> None:
    """1 / 0.003 = 333, of which 256 is the power of two below: 0.003 becomes 0.768; threshold, bias and start, too."""
    found = balance_rows(layer([[1, 0.5], [-0.8, 0.4], [0.003, 0.001]], threshold=[1, 1, 0.004], bias=[0, 0.1, 0.002]))
    np.testing.assert_array_equal(weights(found), [[1, 0.5], [-0.8, 0.4], [0.003 * 256, 0.001 * 256]])
    assert neurons(found).threshold.ravel().tolist() == [1, 1, 0.004 * 256]
    assert neurons(found).bias.ravel().tolist() == [0, 0.1, 0.002 * 256]
    assert neurons(found).start.ravel().tolist() == [0.25, 0.25, 64]  # type: ignore[union-attr]


def test_a_large_row_is_divided() -> None:
    """The channel in the middle keeps its unit, and 0.8 shares it: 900 is 2^9 times as large as 1, and is divided."""
    found = balance_rows(layer([[1, 0.5], [-0.8, 0.4], [900, -3]], threshold=[1, 1, 500]))
    np.testing.assert_array_equal(weights(found), [[1, 0.5], [-0.8, 0.4], [900 / 512, -3 / 512]])


def test_rows_that_are_alike_stay_as_they_are() -> None:
    net = layer([[1, 0.5], [0.3, 0.26]])
    assert balance_rows(net) is net


def test_a_threshold_or_bias_that_weights_are_nothing_beside_takes_the_room() -> None:
    """Currents of 2^17 units at 8-bit weights: 516 times the largest weight fits beside it, 1e6 costs its own bits."""
    for network in (layer([[1.0], [1.0], [1.0]], threshold=[1, 1, 1e6]), layer(np.ones((3, 1)), bias=[0, 0, -1e6])):
        found = balance_rows(network)
        assert weights(found).ravel()[:2].tolist() == [1, 1]
        assert 1 / 2048 <= weights(found).ravel()[2] <= 1 / 512
    never = layer([[1.0], [1.0]], threshold=[1, np.inf])
    assert balance_rows(never) is never


def test_what_shares_its_unit_with_others_keeps_it() -> None:
    """A stream that enters by an identity; what sends real numbers."""
    shape = (2, 1, 1)
    rows = reals.dense([[1.0, 1.0], [1e-3, 1e-3]])
    net = reals.network(
        {"input": Input(shape=shape), "sum": reals.relay(shape), "lif": reals.lif(shape)},
        reals.link("input", "sum", rows),
        reals.link("sum", "lif", reals.same(shape)),
        reals.link("input", "lif", rows),
        frames=T,
    )
    assert balance_rows(net) is net


@given(
    exponents=st.lists(st.integers(-30, 30), min_size=2, max_size=6),
    subtracting=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_fires_as_before_in_every_bit(exponents: list[int], subtracting: bool, seed: int) -> None:
    rng, units = np.random.default_rng(seed), 2.0 ** np.array(exponents)
    rows, subtract = rng.normal(size=(len(units), 3)) * units[:, np.newaxis], units if subtracting else None
    net = layer(rows, threshold=units * 0.7, bias=rng.normal(0.2, 0.2, len(units)) * units, subtract=subtract)
    balanced, frames = balance_rows(net), rng.random((1, T, 3, 1, 1))
    np.testing.assert_array_equal(run_float(balanced, frames)["lif"], run_float(net, frames)["lif"])
    largest = np.abs(weights(balanced)).max(axis=1)
    assert largest.max() < 8 * largest.min(), "a band is 2 bits wide, and up to 1 bit below the largest"


@pytest.mark.parametrize("rows", [np.zeros((2, 2)), [[0, 0], [1, 2]]])
def test_rows_of_zeros_stay(rows: Any) -> None:
    """They have the thresholds of the others."""
    net = layer(rows)
    assert balance_rows(net) is net
