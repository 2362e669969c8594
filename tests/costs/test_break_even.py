"""At which rate spikes pay: published limits, and the cost lines by hand."""

import pytest

from hardware import OpCounts, SynapseUse, cost_lines, load_chip, synapse_use
from hardware.break_even import DEPENDS, EQUAL, LESS, MORE, judged

# 200 synapses behind 10 neurons over some steps: 1000 chances, 250 used.
COUNTS = OpCounts(
    synaptic_ops=250,
    dense_synaptic_ops=1000,
    neuron_updates=50,
    macs=100,
    parameter_reads=350,
    parameter_reach=350 * 4000,
    state_reads=400,
    state_writes=400,
    state_reach=800 * 2000,
    weight_bits_read=350 * 8,
)


def test_use_of_synapses_by_hand():
    found = synapse_use(COUNTS, time_steps=16)
    assert found == SynapseUse(per_step=0.25, per_inference=4.0)
    assert synapse_use(OpCounts(macs=5), 16) is None, "nothing lies behind a neuron"


def readings(per_step: float, time_steps: float) -> list[tuple[float, float, float, str]]:
    """Low, high, measured and verdict of every limit, an inference being a frame and then the clip."""
    use = SynapseUse(per_step=per_step, per_inference=per_step * time_steps)
    return [(r.low, r.high, r.here, r.verdict) for limit in judged(use, time_steps) for r in limit.readings]


def test_the_papers_network_lies_on_both_sides_of_every_limit() -> None:
    """10.75 % of the time steps: 0.1075 uses a frame, 1.72 a clip of 16.

    Dampfhoffer 0.15 to 1.38; Davidson and Furber 12 / 7 = 1.714; Yan by spyx: 1 / 8 at T = 1, 5 / 128 at T = 16.
    """
    assert readings(0.1075, 16) == [
        (0.15, 1.38, 0.1075, LESS),
        (0.15, 1.38, pytest.approx(1.72), MORE),
        (12 / 7, 12 / 7, 0.1075, LESS),
        (12 / 7, 12 / 7, pytest.approx(1.72), EQUAL),
        (1 / 8, 1 / 8, 0.1075, LESS),
        (5 / 128, 5 / 128, 0.1075, MORE),
    ]
    first = judged(SynapseUse(per_step=0.1075, per_inference=1.72), 16)[0]
    assert first.verdict == (
        "spikes cost less if an inference is a frame, spikes cost more if an inference is the clip"
    )


def test_a_verdict_that_does_not_depend_on_the_reading_says_so() -> None:
    quiet = judged(SynapseUse(per_step=0.001, per_inference=0.005), 5)
    assert {limit.verdict for limit in quiet} == {"spikes cost less, whether an inference is a frame or the clip"}


def test_yan_as_published_for_five_to_ten_steps() -> None:
    assert readings(0.06, 5)[-1] == (0.057, 0.064, 0.06, DEPENDS)
    assert readings(0.06, 10)[-1][:2] == (0.057, 0.064)
    assert readings(0.06, 11)[-1][:2] == (4 / 88, 4 / 88), "ceil(log2(12)) = 4"


def test_limits_as_rates_of_a_time_step() -> None:
    """A limit of uses an inference is a 16th of it a time step where the clip is the inference."""
    (_, _), (_, clip), (_, yan) = (limit.readings for limit in judged(SynapseUse(per_step=0.1, per_inference=1.6), 16))
    assert clip.rates == (12 / 7 / 16, 12 / 7 / 16)
    assert yan.rates == (5 / 128, 5 / 128)


def test_arithmetic_alone_favours_spikes_at_any_rate():
    """0.9 pJ a spike, 4.6 a MAC and 4.6 a neuron update: 50 updates are 0.23 pJ a synapse and step."""
    lines = cost_lines(COUNTS, load_chip("cmos45_fp32"))
    assert lines is not None
    assert (lines.spike_pj, lines.dense_pj) == (pytest.approx(0.9), pytest.approx(4.6))
    assert lines.fixed_pj == pytest.approx(50 * 4.6 / 1000)
    assert lines.rate == 0.25
    assert lines.break_even_rate == pytest.approx((4.6 - 0.23) / 0.9)
    assert 1 < lines.low_rate < lines.break_even_rate < lines.high_rate
    assert lines.verdict == "spikes cost less at any rate"


def test_memory_brings_the_limit_below_one():
    """A spike: weight, potential in and out. A MAC: weight and activation. Memories of 4000 and 2000 bits."""
    lines = cost_lines(COUNTS, load_chip("cmos45_lemaire"))
    assert lines is not None
    weight, state = 13.2 + 1.09e-5 * 4000, 13.2 + 1.09e-5 * 2000
    assert lines.spike_pj == pytest.approx(0.1 + 0.1 + weight + 2 * state)
    assert lines.dense_pj == pytest.approx(3.2 + 0.1 + weight + state)
    assert lines.fixed_pj == pytest.approx(50 * (3.2 + 2 * state) / 1000)
    assert 0.6 < lines.break_even_rate < 0.75
    assert 0 < lines.low_rate < lines.high_rate < 1
    assert lines.verdict == (
        f"spikes cost less below a rate of {lines.low_rate:.1%}, more above {lines.high_rate:.1%}, "
        "and the constants are too uncertain to say more"
    )


def test_neurons_may_cost_more_than_they_save():
    busy = OpCounts(synaptic_ops=1, dense_synaptic_ops=10, neuron_updates=100)
    lines = cost_lines(busy, load_chip("cmos45_fp32"))
    assert lines is not None
    assert lines.verdict == "spikes cost more at any rate"


@pytest.mark.parametrize("chip", ["loihi1", "odin", "loihi2"])
def test_a_chip_without_multiply_accumulates_has_no_lines(chip):
    assert cost_lines(COUNTS, load_chip(chip)) is None


def test_nothing_behind_neurons_has_no_lines():
    assert cost_lines(OpCounts(macs=3), load_chip("cmos45_fp32")) is None
