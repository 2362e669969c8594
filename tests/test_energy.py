"""Prices: each cause by hand, linear in the counts, and nothing left out in silence."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import ChipError, OpCounts, energy_models, load_chip, price, shipped_chips
from hardware.chip import Energy
from hardware.energy import RULES

COUNTS = OpCounts(
    synaptic_ops=1000,
    macs=100,
    attention_coincidences=30,
    attention_gated_adds=20,
    attention_gated_adds_nonzero=7,
    relay_adds=40,
    weight_bits_read=8800,
    gain_macs=10,
    bias_adds=60,
    neuron_updates=200,
    spikes=80,
    graded_messages=20,
    dense_macs=10_000,
    padded_macs=12_000,
    dense_attention_ops=500,
)
some_counts = st.builds(OpCounts, **{field.name: st.integers(0, 10**9) for field in fields(OpCounts)})
priced_chips = [name for name in shipped_chips() if load_chip(name).energy]


def by_cause_pj(energy):
    return {line.cause: pytest.approx(line.pj) for line in energy.causes}


def test_45_nm_by_hand():
    energy = price(COUNTS, load_chip("cmos45_fp32"))
    assert by_cause_pj(energy) == {
        "synaptic_ops": 1000 * 0.9,
        "graded_macs": 100 * 4.6,
        "attention": (30 + 20) * 0.9,
        "relays": 40 * 0.9,
        "step_gains": 10 * 4.6,
        "biases": 60 * 0.9,
        "neuron_updates": 200 * 4.6,
    }
    assert energy.total_pj == pytest.approx(900 + 460 + 45 + 36 + 46 + 54 + 920)
    assert energy.total_mj == pytest.approx(2461e-9)
    assert energy.weighted_layers_mj == pytest.approx(1360e-9)  # what SNN papers report


def test_loihi_1_by_hand():
    energy = price(COUNTS, load_chip("loihi1"))
    assert by_cause_pj(energy) == {
        "synaptic_ops": 1000 * 23.6,
        "graded_macs": 100 * 23.6,
        "attention": 50 * 23.6,
        "relays": 40 * 23.6,
        "step_gains": 10 * 23.6,
        "neuron_updates": 200 * 81,
        "spike_transport": (80 + 20) * 1.7,
    }


def test_loihi_1_says_what_no_source_supports():
    notes = price(COUNTS, load_chip("loihi1")).notes
    assert [note.split(":")[0] for note in notes[:8]] == [
        "graded_macs",
        "attention",
        "relays",
        "step_gains",
        "biases",
        "weight_reads",
        "neuron_updates",
        "spike_transport",
    ]
    stand_ins = [line.cause for line in price(COUNTS, load_chip("loihi1")).causes if line.stand_in]
    assert stand_ins == ["graded_macs", "attention", "relays", "step_gains"]
    assert "100 operations are priced as synaptic operations (23.6 pJ), a stand-in" in notes[0]
    assert "60 of them add nothing to the total" in notes[4]
    assert "active (81 pJ), the upper bound; all inactive (52 pJ) they would cost 1.04e-05 mJ" in notes[6]
    assert "not a measurement" in notes[8]


def test_a_chip_with_figures_of_its_own_needs_no_stand_in():
    notes = price(COUNTS, load_chip("cmos45_fp32")).notes
    assert not [note for note in notes if "stand-in" in note]
    assert notes[0].startswith("weight_reads: 8,800 bits of weights, without a figure of their own; measured")
    assert notes[1].startswith("spike_transport: no published figure of its own; 100 of them")


def test_narrow_weights_save_reads():
    """1,100 operations with 8-bit weights from a memory that takes 10 pJ for 64 bits."""
    energy = price(COUNTS, load_chip("cmos45_int8_sram"))
    assert energy.by_cause_mj()["weight_reads"] == pytest.approx(8800 / 64 * 10 * 1e-9)
    arithmetic = price(COUNTS, load_chip("cmos45_int8"))
    assert energy.total_mj == pytest.approx(arithmetic.total_mj + 1375e-9)


def test_nothing_is_said_about_what_did_not_occur():
    assert price(OpCounts(synaptic_ops=5), load_chip("odin")).notes == ()


@pytest.mark.parametrize("name", priced_chips)
def test_every_count_is_priced_or_spoken_of(name):
    energy = price(COUNTS, load_chip(name))
    priced = {line.cause for line in energy.causes}
    spoken = {note.split(":")[0] for note in energy.notes}
    assert {rule.cause for rule in RULES} <= priced | spoken


def test_every_rule_names_a_count_and_a_figure():
    for rule in RULES:
        assert rule.count(COUNTS) > 0
        assert rule.figure in Energy.model_fields


@given(some_counts, some_counts, st.sampled_from(priced_chips))
def test_the_price_of_a_sum_is_the_sum_of_the_prices(first, second, name):
    chip = load_chip(name)
    parts = price(first, chip).total_pj + price(second, chip).total_pj
    assert price(first + second, chip).total_pj == pytest.approx(parts)


def test_refuses_to_price_loihi_2():
    with pytest.raises(ChipError, match="Intel Loihi 2 cannot be priced: no energy per operation is published"):
        price(COUNTS, load_chip("loihi2"))


def test_models_for_the_report():
    layers = {"a": OpCounts(synaptic_ops=10), "b": OpCounts(synaptic_ops=30, macs=5)}
    models = energy_models(layers, [load_chip("cmos45_fp32"), load_chip("loihi2")])
    assert list(models) == ["cmos45_fp32", "loihi2"]

    priced = models["cmos45_fp32"]
    assert priced["mj_per_video"] == pytest.approx((40 * 0.9 + 5 * 4.6) * 1e-9)
    assert priced["breakdown"]["graded_macs"] == pytest.approx(23e-9)
    assert priced["by_layer"]["a"]["synaptic_ops"] == pytest.approx(9e-9)
    assert sum(sum(layer.values()) for layer in priced["by_layer"].values()) == pytest.approx(priced["mj_per_video"])
    assert priced["figures"]["synaptic_ops"] == "0.9 pJ, estimate: Horowitz, ISSCC 2014: FP32 add (2014, 45 nm)"

    stood_in = energy_models(layers, [load_chip("odin")])["odin"]["figures"]
    assert stood_in["graded_macs"] == f"stand-in: {stood_in['synaptic_ops']}"

    unpriced = models["loihi2"]
    assert unpriced["mj_per_video"] is None
    assert unpriced["breakdown"] == {}
    assert "no energy per operation is published" in unpriced["notes"][0]
