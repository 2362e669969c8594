"""At which rate spikes pay: published limits, and the cost lines by hand."""

import pytest

from hardware import OpCounts, SynapseUse, cost_lines, load_chip, synapse_use
from hardware.break_even import PUBLISHED, judged, verdict

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
DAMPFHOFFER, DAVIDSON, YAN = PUBLISHED


def test_use_of_synapses_by_hand():
    found = synapse_use(COUNTS, time_steps=16)
    assert found == SynapseUse(per_step=0.25, per_inference=4.0)
    assert synapse_use(OpCounts(macs=5), 16) is None, "nothing lies behind a neuron"


def test_each_limit_is_compared_in_its_unit():
    found = SynapseUse(per_step=0.06, per_inference=0.96)
    assert found.in_unit_of(DAMPFHOFFER) == found.in_unit_of(DAVIDSON) == 0.96
    assert found.in_unit_of(YAN) == 0.06
    assert verdict(0.96, DAMPFHOFFER) == "depends on the hardware"
    assert verdict(0.96, DAVIDSON) == "spikes cost less"
    assert verdict(1.71, DAVIDSON) == "spikes cost more"
    assert DAVIDSON.per_step(16) == (1.7 / 16, 1.7 / 16)
    assert YAN.per_step(16) == (0.057, 0.064)


def test_limits_beside_a_measurement():
    """0.96 uses a clip lie between 0.15 and 1.38 and below 1.7; 6 % of the steps lie between 5.7 and 6.4 %."""
    between, below, depends = judged(SynapseUse(per_step=0.06, per_inference=0.96), time_steps=16)
    assert (between.limits, between.measured, between.verdict) == ("0.15 to 1.38", 0.96, "depends on the hardware")
    assert (below.limits, below.verdict, below.rates) == ("1.7", "spikes cost less", (1.7 / 16, 1.7 / 16))
    assert (depends.measured, depends.verdict) == (0.06, "depends on the hardware")
    assert depends.unit == "spikes per synapse and time step"


def test_arithmetic_alone_favours_spikes_at_any_rate():
    """0.9 pJ a spike, 4.6 a MAC and 4.6 a neuron update: 50 updates are 0.23 pJ a synapse and step."""
    lines = cost_lines(COUNTS, load_chip("cmos45_fp32"))
    assert lines is not None
    assert (lines.spike_pj, lines.dense_pj) == (pytest.approx(0.9), pytest.approx(4.6))
    assert lines.fixed_pj == pytest.approx(50 * 4.6 / 1000)
    assert lines.rate == 0.25
    assert lines.break_even_rate == pytest.approx((4.6 - 0.23) / 0.9)
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
    assert lines.verdict == f"spikes cost less below a rate of {lines.break_even_rate:.1%}"


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
