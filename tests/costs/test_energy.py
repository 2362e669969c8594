"""Prices: each cause by hand, linear in the counts, and nothing left out in silence."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import ChipError, ChipTime, OpCounts, energy_models, load_chip, price, shipped_chips
from hardware.causes import MEMORY, PARTS, RULES, memory_as_one
from hardware.chip import Energy

COUNTS = OpCounts(
    synaptic_ops=1000,
    macs=100,
    products=300,
    attention_coincidences=30,
    attention_gated_adds=20,
    attention_gated_adds_nonzero=7,
    relay_adds=40,
    comparisons=12,
    weight_bits_read=8800,
    gain_macs=10,
    bias_adds=60,
    neuron_updates=200,
    relay_updates=70,
    parameter_reads=1160,
    parameter_reach=1160 * 1000,
    state_reads=1400,
    state_writes=1390,
    state_reach=2790 * 500,
    spikes=80,
    graded_messages=20,
    deliveries=150,
    traffic_bits=1500,
    held_messages=30,
    held_steps=45,
    dense_synaptic_ops=9000,
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
        "max_pooling": 12 * 0.9,  # the sign of a difference: as the addition of a relay
        "step_gains": 10 * 4.6,
        "biases": 60 * 0.9,
        "neuron_updates": 200 * 4.6,
    }
    assert energy.total_pj == pytest.approx(900 + 460 + 45 + 36 + 10.8 + 46 + 54 + 920)
    assert energy.total_mj == pytest.approx(2471.8e-9)
    assert energy.weighted_layers_mj == pytest.approx(1360e-9)  # what SNN papers report


def test_loihi_1_by_hand():
    energy = price(COUNTS, load_chip("loihi1"))
    assert by_cause_pj(energy) == {
        "synaptic_ops": 1000 * 23.6,
        "graded_macs": 100 * 23.6,
        "attention": 50 * 23.6,
        "relays": 40 * 23.6,
        "max_pooling": 12 * 23.6,
        "step_gains": 10 * 23.6,
        "neuron_updates": 200 * 81,
        "relay_updates": 70 * 81,  # a relay is a neuron there (audit, M8)
        "spike_transport": (80 + 20) * 1.7,
    }


def test_loihi_1_says_what_no_source_supports():
    notes = price(COUNTS, load_chip("loihi1")).notes
    assert [note.split(":")[0] for note in notes[:12]] == [
        "graded_macs",
        "attention",
        "relays",
        "max_pooling",
        "step_gains",
        "biases",
        "memory",
        "synaptic_ops",
        "neuron_updates",
        "relay_updates",
        "spike_transport",
        "spike_transport",
    ]
    stand_ins = [line.cause for line in price(COUNTS, load_chip("loihi1")).causes if line.stand_in]
    assert stand_ins == ["graded_macs", "attention", "relays", "max_pooling", "step_gains"]
    assert "100 operations are priced as synaptic operations (23.6 pJ), a stand-in" in notes[0]
    assert "60 of them add nothing to the total" in notes[5]
    assert "3,950 accesses to parameters and potentials without a figure" in notes[6]  # 1160 + 1400 + 1390
    assert "priced at 81 pJ, 1.62e-05 mJ; 52 pJ (Davies et al., IEEE Micro 38(1), Table 2: inactive)" in notes[8]
    assert "would make 1.04e-05 mJ" in notes[8]
    assert "not a measurement" in notes[12]


def test_a_chip_with_figures_of_its_own_needs_no_stand_in():
    notes = price(COUNTS, load_chip("cmos45_fp32")).notes
    assert not [note for note in notes if "stand-in" in note]
    assert notes[0].startswith("spike_transport: no published figure of its own; 100 of them")
    assert notes[1].startswith("memory: 3,950 accesses")


def test_integers_are_priced_at_their_widths():
    """INT8: sums of 24 bits take 0.1 pJ an addition, a message of 24 bits three products of 0.2 pJ (audit, M4)."""
    energy = price(COUNTS, load_chip("cmos45_int8"))
    assert by_cause_pj(energy) == {
        "synaptic_ops": 1000 * 0.1,
        "graded_macs": 100 * 0.1,
        "products": 300 * 0.2,
        "attention": 50 * 0.1,
        "relays": 40 * 0.1,
        "max_pooling": 12 * 0.1,
        "step_gains": 10 * 3.2,  # wide currents: an INT32 multiply and add
        "biases": 60 * 0.1,
        "neuron_updates": 200 * 3.2,
    }
    assert energy.weighted_layers_mj == pytest.approx((100 + 10 + 60) * 1e-9)
    twin = price(OpCounts(macs=100, products=100), load_chip("cmos45_int8"))
    assert twin.weighted_layers_mj == pytest.approx(100 * 0.3e-9), "activations of 8 bits take one product"
    assert memory_as_one(energy.by_cause_mj())["graded_macs"] == pytest.approx(70e-9), "drawn as one"


def test_narrow_weights_save_reads():
    """1,100 operations with 8-bit weights from a memory that takes 10 pJ for 64 bits."""
    energy = price(COUNTS, load_chip("cmos45_int8_sram"))
    assert energy.by_cause_mj()["weight_reads"] == pytest.approx(8800 / 64 * 10 * 1e-9)
    arithmetic = price(COUNTS, load_chip("cmos45_int8"))
    assert energy.total_mj == pytest.approx(arithmetic.total_mj + 1375e-9)


def test_memory_by_hand():
    """Lemaire et al.: 13.2 pJ an access, and 1.09e-5 pJ more for every bit that the memory holds."""
    energy = price(COUNTS, load_chip("cmos45_lemaire"))
    assert by_cause_pj(energy) == {
        "synaptic_ops": 1000 * 0.1,
        "graded_macs": 100 * 3.2,
        "attention": 50 * 0.1,
        "relays": 40 * 0.1,
        "max_pooling": 12 * 0.1,
        "step_gains": 10 * 3.2,
        "biases": 60 * 0.1,
        "neuron_updates": 200 * 3.2,
        "parameter_access": 1160 * 13.2,
        "parameter_memory_size": 1160 * 1000 * 1.09e-5,
        "state_access": 2790 * 13.2,
        "state_memory_size": 2790 * 500 * 1.09e-5,
        "message_access": (100 + 150 + 2 * 30) * 13.2,  # sent, taken in, and in and out of a delay line
        "event_addressing": 1112 * 0.1,
        "message_addressing": 150 * 6.4,
    }
    assert not [note for note in energy.notes if note.startswith("memory:")]


def test_small_memories_have_a_span():
    """By 10 pJ at 8 KB, with 8 weights of a word used together, and by the published 13.2 pJ (audit, M6)."""
    ops = OpCounts(parameter_reads=80, state_reads=30, state_writes=10)
    low, high = price(ops, load_chip("cmos45_lemaire")).range_mj
    assert low == pytest.approx((80 * 10 / 8 + 40 * 10) * 1e-9)
    assert high == pytest.approx(120 * 13.2e-9)


def test_a_memory_costs_more_the_more_it_holds():
    """8 KB, 32 KB and 1 MB: Horowitz has 10, 20 and 100 pJ an access, the line near them 13.9, 16.1 and 104.6."""
    chip = load_chip("cmos45_lemaire")
    for kib, pj in ((8, 13.9), (32, 16.1), (1024, 104.6)):
        bits = kib * 8 * 1024
        energy = price(OpCounts(parameter_reads=1, parameter_reach=bits), chip)
        assert energy.total_pj == pytest.approx(pj, abs=0.05)


def test_what_other_sources_would_make_of_it():
    """Loihi 1: 23.6 to 35.5 pJ for all priced as synaptic operations, 52 to 81 an update, 1.7 to 180.3 a spike."""
    synaptic = 1000 + 100 + 50 + 40 + 12 + 10
    low, high = price(COUNTS, load_chip("loihi1")).range_mj
    assert low == pytest.approx((synaptic * 23.6 + (200 + 70) * 52 + 100 * 1.7) * 1e-9)
    assert high == pytest.approx((synaptic * 35.5 + (200 + 70) * 81 + 100 * 180.3) * 1e-9)
    alone = price(COUNTS, load_chip("cmos45_fp32"))
    assert alone.range_mj == pytest.approx((alone.total_mj, alone.total_mj))


def test_each_constant_is_varied_by_its_sources_or_halved_and_doubled():
    layers = {"all": COUNTS}
    varied = energy_models(layers, [load_chip("loihi1")])["loihi1"].sensitivity
    assert [(line.constant, line.sources) for line in varied] == [
        ("spike", 2), ("synaptic_op", 4), ("neuron_update", 3), ("relay_update", 3)
    ]  # fmt: skip
    total = price(COUNTS, load_chip("loihi1")).total_mj
    spike, synaptic, _, _ = varied
    assert (spike.low_pj, spike.high_pj) == (1.7, 180.3)
    assert spike.high_mj == pytest.approx(total + 100 * (180.3 - 1.7) * 1e-9)
    # stand-ins are priced with the same constant, and vary with it
    assert synaptic.high_mj == pytest.approx(total + 1212 * (35.5 - 23.6) * 1e-9)
    lone = energy_models(layers, [load_chip("odin")])["odin"].sensitivity
    assert [(line.low_pj, line.high_pj, line.sources) for line in lone] == [(12.7 / 2, 12.7 * 2, 1)]


def test_static_energy_at_a_stated_latency():
    """3 chips of 104 mW for 16 ms: 4.992 mJ, whatever is fired."""
    held = {"loihi1": ChipTime(chips=3, latency_s=0.016), "odin": ChipTime(chips=1, latency_s=1.0)}
    models = energy_models({"all": COUNTS}, map(load_chip, ("loihi1", "odin")), held=held)
    static = models["loihi1"].static
    assert static is not None
    assert static.mj == pytest.approx(4.992)
    assert static.total_mj == pytest.approx(4.992 + models["loihi1"].mj_per_view)
    assert "104 mW/chip, measured: Frady et al., NICE 2020" in static.figure
    assert models["odin"].static is None, "its file has no static power"
    assert energy_models({"all": COUNTS}, [load_chip("loihi1")])["loihi1"].static is None, "nothing was placed"


def test_whether_a_chip_holds_what_is_priced_on_it():
    """Nobody looked where a chip has no limits; what is no chip holds nothing (audit, M3)."""
    chips = [load_chip(name) for name in ("cmos45_int8", "loihi1", "odin", "tianjic", "truenorth")]
    models = energy_models({"all": COUNTS}, chips, obstacles={"loihi1": 0, "odin": 1, "truenorth": 3})
    assert [model.holds for model in models.values()] == [
        *("", "holds it", "cannot hold it: 1 obstacle", "not checked: does it hold this?"),
        "cannot hold it: 3 obstacles",
    ]


def test_exact_means_are_priced():
    """Halves of operations are not rounded away, layer by layer (audit, L2)."""
    layers = {"a": OpCounts(relay_adds=1).mean(2), "b": OpCounts(relay_adds=1).mean(2)}
    assert energy_models(layers, [load_chip("cmos45_fp32")])["cmos45_fp32"].mj_per_view == pytest.approx(0.9e-9)


def test_nothing_is_said_about_what_did_not_occur():
    assert price(OpCounts(synaptic_ops=5), load_chip("odin")).notes == ()


@pytest.mark.parametrize("name", priced_chips)
def test_every_count_is_priced_or_spoken_of(name):
    energy = price(COUNTS, load_chip(name))
    priced = {line.cause for line in energy.causes}
    spoken = {note.split(":")[0] for note in energy.notes}
    assert {rule.cause for rule in RULES if not (rule.memory or rule.drawn_with)} <= priced | spoken
    assert "memory" in spoken or priced & {rule.cause for rule in RULES if rule.memory}


def test_every_rule_names_a_count_and_a_figure():
    for rule in RULES:
        assert rule.count(COUNTS) > 0
        assert rule.figure in Energy.model_fields


def test_all_that_memory_costs_is_one_part():
    parts = memory_as_one(price(COUNTS, load_chip("cmos45_lemaire")).by_cause_mj())
    memory_pj = (1160 + 2790 + 310) * 13.2 + (1160 * 1000 + 2790 * 500) * 1.09e-5 + 1112 * 0.1 + 150 * 6.4
    assert parts[MEMORY] == pytest.approx(memory_pj * 1e-9)
    assert list(parts) == [
        *("synaptic_ops", "graded_macs", "attention", "relays", "max_pooling", "step_gains", "biases"),
        *("neuron_updates", MEMORY),
    ]  # fmt: skip
    assert memory_as_one({"biases": 1.0, "weight_reads": 0.0}) == {"biases": 1.0}, "nothing is no part"


def test_parts_have_labels_and_colours_of_their_own():
    assert {rule.part for rule in RULES} == PARTS.keys()
    assert len({part.colour for part in PARTS.values()}) == len({part.label for part in PARTS.values()}) == len(PARTS)
    assert len({rule.label for rule in RULES}) == len(RULES)


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
    assert priced.mj_per_view == pytest.approx((40 * 0.9 + 5 * 4.6) * 1e-9)
    assert priced.breakdown["graded_macs"] == pytest.approx(23e-9)
    assert priced.by_layer["a"]["synaptic_ops"] == pytest.approx(9e-9)
    assert sum(sum(layer.values()) for layer in priced.by_layer.values()) == pytest.approx(priced.mj_per_view)
    assert priced.figures["synaptic_ops"] == "0.9 pJ, estimate: Horowitz, ISSCC 2014: FP32 add (2014, 45 nm)"

    stood_in = energy_models(layers, [load_chip("odin")])["odin"].figures
    assert stood_in["graded_macs"] == f"stand-in: {stood_in['synaptic_ops']}"

    unpriced = models["loihi2"]
    assert unpriced.mj_per_view is None
    assert unpriced.breakdown == {}
    assert "no energy per operation is published" in unpriced.notes[0]
