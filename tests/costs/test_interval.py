"""Totals as intervals, and what a measured network says of another: sums by hand, and draws that are the same again."""

import numpy as np
import pytest

from hardware import OpCounts, load_chip
from hardware.anchor import extrapolated
from hardware.geometry import ConvGeometry
from hardware.interval import DRAWS, Interval, compared, drawn_mj

ODIN, LOIHI = load_chip("odin"), load_chip("loihi1")
CLIP = OpCounts(synaptic_ops=1000, neuron_updates=10, spikes=5)


def test_a_lone_source_may_be_wrong_by_a_factor_of_two() -> None:
    """Of a log-uniform draw between half and double, 5 % lie below 2^-0.9 and above 2^0.9."""
    found = Interval.of(drawn_mj([CLIP], ODIN))
    nominal = 1000 * 12.7e-9
    assert found.low_mj == pytest.approx(nominal * 2**-0.9, rel=0.03)
    assert found.high_mj == pytest.approx(nominal * 2**0.9, rel=0.03)


def test_constants_lie_between_what_their_sources_say() -> None:
    draws = drawn_mj([CLIP], LOIHI)
    assert len(draws) == DRAWS
    assert draws.min() >= (1000 * 23.6 + 10 * 52 + 5 * 1.7) * 1e-9
    assert draws.max() <= (1000 * 35.5 + 10 * 81 + 5 * 180.3) * 1e-9


def test_a_stand_in_is_less_certain_than_what_it_stands_for() -> None:
    own, stood_in = (np.log(drawn_mj([ops], LOIHI)) for ops in (OpCounts(synaptic_ops=100), OpCounts(macs=100)))
    assert np.ptp(stood_in) > np.ptp(own) + np.log(2)
    assert np.exp(stood_in.min()) < 100 * 23.6e-9 < np.exp(stood_in.max())


def test_equal_figures_of_one_source_are_one_draw() -> None:
    """An addition of FP32 is 0.9 pJ wherever it is done: the ratio of two sums of additions is certain."""
    chip = load_chip("cmos45_fp32")
    first, second = drawn_mj([OpCounts(synaptic_ops=4)], chip), drawn_mj([OpCounts(relay_adds=2)], chip)
    assert first == pytest.approx(2 * second)


def test_clips_that_spread_widen_the_interval_by_their_standard_error() -> None:
    """Counts 900, 1000 and 1100: mean 1000, standard error 100 / sqrt(3); the constant is the same in both."""
    spread = [OpCounts(synaptic_ops=count) for count in (900, 1000, 1100)]
    ratio = drawn_mj(spread, ODIN) / drawn_mj([OpCounts(synaptic_ops=1000)] * 3, ODIN)
    assert ratio.mean() == pytest.approx(1, abs=0.003)
    assert ratio.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)


def test_draws_are_the_same_in_every_run_and_other_ones_for_other_networks() -> None:
    clips = [OpCounts(synaptic_ops=count) for count in (900, 1100)]
    assert np.array_equal(drawn_mj(clips, ODIN), drawn_mj(clips, ODIN))
    assert not np.array_equal(drawn_mj(clips, ODIN), drawn_mj(clips, ODIN, stream="another"))


def test_a_verdict_needs_95_percent_of_the_draws() -> None:
    draws = np.linspace(1, 2, 1000)
    assert compared(draws, draws + 0.1) == "cheaper"
    assert compared(draws, draws - 0.1) == "dearer"
    assert compared(draws, draws[::-1].copy()) == "undecided"


def test_weighted_layers_alone() -> None:
    chip = load_chip("cmos45_fp32")
    whole = drawn_mj([CLIP], chip)
    weighted = drawn_mj([CLIP], chip, weighted=True)
    assert weighted == pytest.approx(drawn_mj([OpCounts(synaptic_ops=1000)], chip))
    assert (weighted < whole).all()


def test_pilotnet_by_the_shapes_of_the_notebook() -> None:
    """Synapses and neurons of the chip file from layers 200 x 66 x 3 to 1, convolutions of 3 x 3."""
    shape, synapses, neurons = (3, 66, 200), 0, 3 * 66 * 200
    layers = (
        (24, (2, 2), (0, 0)),
        (36, (2, 2), (0, 0)),
        (48, (2, 2), (0, 0)),
        (64, (2, 1), (1, 0)),
        (64, (1, 1), (0, 0)),
    )
    for channels, stride, padding in layers:
        conv = ConvGeometry(in_shape=shape, out_channels=channels, kernel=(3, 3), stride=stride, padding=padding)
        synapses += conv.padded_macs()
        neurons += int(np.prod(conv.out_shape))
        shape = conv.out_shape
    inputs = int(np.prod(shape))
    for outputs in (100, 50, 10, 1):
        synapses, neurons, inputs = synapses + inputs * outputs, neurons + outputs, outputs
    anchor = load_chip("loihi2").anchor
    assert anchor is not None
    assert (anchor.synapses, anchor.neurons) == (synapses, neurons)


def test_an_extrapolation_by_hand() -> None:
    """1.094 mJ for 14,550,054 synapses or 158,509 neurons in 16 steps: 4.70 pJ and 431 pJ."""
    found = extrapolated(
        OpCounts(dense_macs=1_000_000, neuron_updates=900, relay_updates=100), load_chip("loihi2").anchor
    )
    assert found is not None
    assert found.by_synapses_mj == pytest.approx(4.6993e-3, rel=1e-4)
    assert found.by_updates_mj == pytest.approx(1000 * 431.36e-9, rel=1e-4)
    assert found.range_mj == (found.by_updates_mj, found.by_synapses_mj)
    assert "PilotNet" in found.source
    assert extrapolated(OpCounts(), LOIHI.anchor) is None
