"""The paper's ledger to the digit, from the shipped table."""

from dataclasses import replace
from itertools import accumulate

import pytest

from hardware import (
    ChipError,
    ConvGeometry,
    OpCounts,
    conventions,
    load_chip,
    paper,
    paper_layers,
    paper_ledger,
    price,
    synapse_use,
)

LAYERS = paper_layers.load_layers()
TOTAL = sum(paper_ledger.paper_counts().values(), OpCounts())
ADD_PJ, MAC_PJ = 0.9, 4.6
MEASURED_RATES = {layer.name: layer.rate for layer in LAYERS if layer.neurons}


def test_published_sums_to_the_digit():
    assert TOTAL.padded_macs == 37_675_756_544
    assert TOTAL.dense_macs == 36_735_177_728
    assert TOTAL.synaptic_ops == 3_756_476_637
    assert TOTAL.macs == 2_732_889_088
    assert TOTAL.neuron_updates == 16 * 5_218_304


def test_15_95_mj():
    # 3,756,476,637 x 0.9 pJ = 3.3808 mJ; 2,732,889,088 x 4.6 pJ = 12.5713 mJ.
    assert paper_ledger.recomputed_mj() == pytest.approx(3.3808289733 + 12.5712898048, abs=1e-9)
    assert f"{paper_ledger.recomputed_mj():.2f}" == "15.95"
    graded_share = TOTAL.macs * MAC_PJ / (TOTAL.synaptic_ops * ADD_PJ + TOTAL.macs * MAC_PJ)
    assert f"{graded_share:.0%}" == "79%"


def test_the_log_as_printed():
    assert f"{paper_ledger.logged_mj():.0f}" == "195"


def test_why_the_log_is_wrong():
    """Each row of a convolution is C_out / 16 x 1.002379 times what its geometry and rate give."""
    stem, down2 = (layer for layer in LAYERS if layer.name in ("stem.conv", "down2.conv"))
    assert stem.logged_macs / (stem.counts.padded_macs + stem.counts.bias_adds) == pytest.approx(128 / 16, rel=3e-3)
    assert down2.logged_acs / down2.counts.synaptic_ops == pytest.approx(256 / 16 * 1.0024, rel=1e-3)


def test_ledger_term_by_term():
    """15.95; with biases 16.08; with attention and neuron updates as additions 16.2; with batch norm 16.9."""
    terms = [term for term in paper_ledger.ledger() if term.count]
    running = list(accumulate(term.mj for term in terms))
    assert [f"{mj:.2f}" for mj in running] == ["3.38", "15.95", "15.96", "16.08", "16.13", "16.21", "16.93", "17.24"]
    counts = {term.name: term.count for term in terms}
    assert counts["attention, additions"] == pytest.approx(58_672_876)  # 0.05 of the 0.51 G dense operations
    assert counts[paper_ledger.NORM] == 2 * 78_275_584  # as fvcore counts its elements


def test_other_readings_of_the_same_log():
    """All with biases, 16.08. Attention dense: 513,802,240 MACs, 2.36 mJ; norm 0.72; neurons 0.384 a MAC each."""
    assert paper_layers.dense_attention_ops(LAYERS) == 513_802_240
    spikformer, tool, mean_rate, one, four, quadratic, printed = paper_ledger.other_readings().values()
    stem = 693_633_024  # 3.19 mJ; the rest as additions: 3,756,476,637 + 2,732,889,088 - stem + 58,672,876 of attention
    assert spikformer == pytest.approx(stem * 4.6e-9 + (3_756_476_637 + 2_732_889_088 - stem + 58_672_876) * 0.9e-9)
    assert tool == pytest.approx(16.0802 + 58_672_876 * 0.9e-9, abs=1e-3)
    assert mean_rate == pytest.approx(4.6e-9 * 37_675_756_544 * TOTAL.spikes / 83_492_864)
    assert one == pytest.approx(16.0802 + 0.7201 + 2.3635 + 0.3841, abs=1e-3)
    assert four == pytest.approx(one + 3 * 0.3841, abs=1e-3)
    assert [f"{mj:.1f}" for mj in (four, quadratic, printed)] == ["20.7", "22.8", "195.1"]
    # 16 steps x 2 products x N^2 x C: 3 blocks of 196 tokens and 384 channels, 1 of 49 and 512
    dense = 16 * 2 * (3 * 196**2 * 384 + 49**2 * 512)
    assert paper_layers.dense_attention_ops(LAYERS, q_k_first=True) == dense


@pytest.mark.parametrize(
    ("chip", "mj"),
    [("tianjic", "5.8"), ("spinnaker2", "37.6"), ("odin", "47.7"), ("loihi1", "88.7"), ("truenorth", "97.7")],
)
def test_additions_with_other_constants(chip, mj):
    assert f"{price(TOTAL, load_chip(chip)).by_cause_mj()['synaptic_ops']:.1f}" == mj


def test_loihi_1_range():
    # 88.65 mJ of additions; 83,492,864 neuron updates x 52 pJ = 4.34 (with which 93) to x 81 pJ = 6.76 mJ;
    # 2,732,889,088 graded inputs at the stand-in of 23.6 pJ = 64.50 mJ (with which 157.5).
    energy = price(TOTAL, load_chip("loihi1"))
    parts = energy.by_cause_mj()
    assert parts["synaptic_ops"] + 83_492_864 * 52e-9 == pytest.approx(93, abs=0.05)
    assert parts["neuron_updates"] == pytest.approx(6.763, abs=1e-3)
    assert parts["graded_macs"] == pytest.approx(64.496, abs=1e-3)
    assert energy.range_mj[0] == pytest.approx(157.5, abs=0.05)
    assert "4.34 mJ" in " ".join(energy.notes)


def test_memory_at_8_bits_is_about_460_mj():
    """Weights 199 mJ and potentials 257 mJ behind spikes, from memories as large as each layer's, and their updates."""
    behind_spikes, everywhere = paper_ledger.memory_mj()
    assert behind_spikes == pytest.approx(460, abs=5)
    assert everywhere > 1.5 * behind_spikes

    def access_pj(values):
        return 1.09e-5 * 8 * values + 13.2

    fc1 = next(layer for layer in LAYERS if layer.name == "stage1.block0.mlp.fc1")
    ops, outputs, steps = fc1.counts.synaptic_ops, 256 * 56 * 56, 16
    by_hand_pj = ops * access_pj(128 * 256) + 2 * ops * access_pj(outputs) + steps * outputs * access_pj(256)
    priced = price(fc1.counts, load_chip("cmos45_lemaire")).by_cause_mj()
    shown = ("parameter_access", "parameter_memory_size", "state_access", "state_memory_size")
    assert sum(priced[cause] for cause in shown) == pytest.approx(by_hand_pj * 1e-9)


def test_use_of_synapses_in_the_papers_network():
    """AC-weighted input rate 10.75 %, 1.72 spikes per synapse and video."""
    found = synapse_use(TOTAL, 16)
    assert found is not None
    assert f"{found.per_step:.2%}" == "10.75%"
    assert f"{found.per_inference:.2f}" == "1.72"


def test_its_own_rates_give_its_own_energy():
    """The table prints neuron rates rounded: the sums agree to some thousandths."""
    assert paper_ledger.at_paper_geometry_mj(MEASURED_RATES) == pytest.approx(paper_ledger.recomputed_mj(), rel=1e-3)


def test_rates_of_a_smaller_network_stand_for_missing_blocks():
    """All binary layers at 10 %: 0.1 x 34,942,867,456 additions. Blocks 1 and 2 of stage 3 take the rate of block 0."""
    flat = {name: 0.1 for name in MEASURED_RATES if ".block1." not in name and ".block2." not in name}
    assert len(flat) < len(MEASURED_RATES)
    counts = paper_layers.at_rates(LAYERS, flat)
    assert counts.synaptic_ops == pytest.approx(3_494_286_746, abs=20)
    assert counts.macs == TOTAL.macs
    with pytest.raises(ChipError, match=r"needs a firing rate of stage1\.block0\.local\.plif"):
        paper_layers.at_rates(LAYERS, {"other": 0.5})


def test_claims_and_their_accuracy():
    assert paper_ledger.PAPER_MJ_PER_VIDEO == 21.0
    assert paper_ledger.PAPER_ACCURACY == {1: 80.73, 15: 84.03}
    # The 84.03 % take fifteen views, and so fifteen times the energy.
    assert 15 * paper_ledger.recomputed_mj() == pytest.approx(239.28, abs=0.005)


def test_a_measured_network_beside_the_paper():
    """10 additions, 2 MACs, 3 biases, 4 + 1 of attention, 6 shortcut currents, 7 updates, by hand."""
    measured = OpCounts(
        synaptic_ops=10, macs=2, bias_adds=3, attention_coincidences=4, attention_gated_adds=1, relay_adds=6,
        neuron_updates=7, gain_macs=8,
    )  # fmt: skip
    rows = paper_ledger.beside(measured)
    assert [row.here_count for row in rows] == [10, 2, 3, 0, 5, 6, 7, 8, 7]
    in_all = 10 * 0.9 + 2 * 4.6 + 3 * 0.9 + 5 * 0.9 + 6 * 0.9 + 7 * 0.9 + 8 * 4.6 + 7 * 3.7
    assert rows[-1].here_sum_mj == pytest.approx(in_all * 1e-9)
    assert rows[1].paper_sum_mj == pytest.approx(paper_ledger.recomputed_mj())
    assert [row.term for row in rows] == [term.name for term in paper_ledger.ledger()]


def test_geometry_difference_in_plain_words():
    tiny = paper_ledger.NetworkSize(image_size=(32, 32), time_steps=16, parameters=201_234, padded_macs=37_675_757)
    words = paper_ledger.geometry_difference(tiny)
    assert "This network: 32 x 32 pixels, T = 16, 201,234 parameters, 0.03768 G dense MACs per clip." in words
    assert "Paper: 224 x 224 pixels, T = 16, 13,801,612 parameters, 37.68 G dense MACs per clip." in words
    assert "0.100% of the paper's dense work per clip" in words


def test_no_difference_is_said_where_there_is_none():
    said = paper_ledger.geometry_difference(paper_ledger.paper_network())
    assert said.endswith("Both do the same dense work per clip, but for 0.00%.")
    smaller = replace(paper_ledger.paper_network(), time_steps=8)
    assert "do not test the paper's 21 mJ" in paper_ledger.geometry_difference(smaller)


def test_geometry_of_a_row():
    """The head is 16 kernels of 7 x 7, one for each frame."""
    head = next(layer for layer in LAYERS if layer.name == "head.conv3d")
    geometry = ConvGeometry(in_shape=(1024, 7, 7), out_channels=1024, kernel=(7, 7), groups=512)
    assert 16 * geometry.weights == head.counts.padded_macs
    assert head.counts.parameter_reach == 8 * (16 * geometry.weights * head.counts.synaptic_ops + 1024 * 1024)


def test_command_prints_the_ledger(capsys):
    paper.main([])
    printed = " ".join(capsys.readouterr().out.split())
    for expected in (
        "37,675,756,544",
        "3,756,476,637",
        "2,732,889,088",
        "15.95 mJ, 79% of it in layers whose input is graded",
        "8.46 mJ stem as MACs, all others as additions, attention",
        "16.13 mJ the authors' own tool on corrected counts",
        "21.00 mJ every dense MAC at 4.6 pJ times the mean rate of all neurons",
        "195.07 mJ the log as printed, every convolution over-counted by C_out / 16",
        "no match is claimed",
        "does not publish the sum behind it",
        "80.73 % top-1, 1 view(s): 15.95 mJ",
        "84.03 % top-1, 15 view(s): 239.28 mJ",
        "463 mJ behind spikes",
        "Loihi 1, neurons at rest: 93.0 mJ behind spikes",
        "10.75% of the time steps: 0.11 times a frame, 1.72 times a video",
        "5.22 M neurons alone fill 40 Loihi 1 chips",
        "8.87 J of static energy",  # 40 x 104 mW x 16 x 4 / 30 s
    ):
        assert expected in printed


def test_every_combination_of_conventions() -> None:
    """2 x 3 x 3 x 5 x 6 x 3 of them; the plainest is what papers count, the fullest is summed here by hand."""
    readings = conventions.all_readings()
    assert len(readings) == 1620
    plain = tuple(axis[0] for axis in conventions.AXES)
    assert readings[plain] == pytest.approx(paper_ledger.recomputed_mj())
    full = (
        *plain[:2],
        "biases as logged",
        "attention as dense MACs, q k^T first",
        "a neuron update as 4 MACs",
        plain[5],
    )
    quadratic = 16 * 2 * (3 * 196**2 * 384 + 49**2 * 512)
    by_hand = 16.08 + (quadratic + 4 * 83_492_864) * 4.6e-9
    assert readings[full] == pytest.approx(by_hand, abs=0.005)
    assert conventions.near_the_paper(readings, 1e3) == 1620
    assert conventions.near_the_paper({("a",): 20.49, ("b",): 20.51, ("c",): 21.49}, 0.5) == 2


def test_rates_move_less_than_half_of_the_papers_energy() -> None:
    """Graded inputs cost 2,732,889,088 x 4.6 pJ at any rate; with a spike everywhere all binary synapses are used."""
    none, every = paper_ledger.span_of_rates()
    assert none == pytest.approx(2_732_889_088 * 4.6e-9)
    assert every == pytest.approx(none + TOTAL.dense_synaptic_ops * 0.9e-9)
