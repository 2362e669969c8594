"""The gates: what is equal passes and is counted; the first difference is named by layer, step, clip and neuron."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.errors import GateError
from deploy.gates.agreement import Agreement, agreement, require_equal

NAMES = ("first", "second")


def signals() -> dict[str, NDArray[np.int64]]:
    """Two clips of three time steps through two layers, [N, T, C, H, W]."""
    return {"first": np.arange(2 * 3 * 4).reshape(2, 3, 1, 2, 2), "second": np.arange(12).reshape(2, 3, 2, 1, 1)}


def changed(*places: tuple[str, tuple[int, ...]]) -> dict[str, NDArray[np.int64]]:
    found = signals()
    for name, index in places:
        found[name][index] = -1
    return found


def differ(*places: tuple[str, tuple[int, ...]]) -> str:
    with pytest.raises(GateError) as caught:
        require_equal(signals(), changed(*places), names=NAMES, between="A and B")
    return str(caught.value)


def test_equal_signals_pass_and_are_counted() -> None:
    assert require_equal(signals(), signals(), names=NAMES, between="A and B") == Agreement(compared=36, layers=2)


def test_only_the_named_layers_are_compared() -> None:
    found = changed(("second", (0, 0, 0, 0, 0)))
    assert require_equal(signals(), found, names=["first"], between="A and B").layers == 1


def test_one_difference_is_named_with_both_values() -> None:
    """Clip 1, step 2, channel 0, row 1, column 0 of a [2, 3, 1, 2, 2] arange: ((1 * 3 + 2) * 1) * 4 + 2 = 22."""
    assert differ(("first", (1, 2, 0, 1, 0))) == (
        "A and B differ first in layer first, time step 2, neuron (0, 1, 0) of clip 1 (1 values in all): 22 and -1"
    )


def test_the_earliest_time_step_comes_first_whichever_clip_it_is_in() -> None:
    message = differ(("first", (0, 2, 0, 0, 0)), ("first", (1, 1, 0, 1, 1)), ("first", (1, 1, 0, 0, 1)))
    assert "layer first, time step 1, neuron (0, 0, 1) of clip 1 (3 values in all)" in message


def test_the_first_layer_comes_before_the_earliest_step() -> None:
    """What goes wrong in a layer spreads to those behind it: the order of execution says where it started."""
    assert "layer first, time step 2" in differ(("second", (0, 0, 0, 0, 0)), ("first", (0, 2, 0, 0, 0)))


def test_agreement_counts_without_raising() -> None:
    found = changed(("first", (0, 0, 0, 0, 0)), ("first", (1, 2, 0, 1, 1)), ("second", (0, 1, 1, 0, 0)))
    counts = agreement(signals(), found, names=NAMES)
    assert counts["first"] == Agreement(compared=24, different=2, layers=1)
    assert counts["second"] == Agreement(compared=12, different=1, layers=1)
    assert counts["first"].share == pytest.approx(22 / 24)


def test_batches_of_clips_add_up() -> None:
    total = Agreement(compared=10, different=1, layers=2) + Agreement(compared=30, different=3, layers=2)
    assert total == Agreement(compared=40, different=4, layers=2)
    assert total.share == 0.9
    assert Agreement().share == 1.0
