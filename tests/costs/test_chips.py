"""Chip files: what ships is complete, and a wrong file is refused with everything that is wrong in it."""

from typing import get_args

import pytest

from deploy.passes.defaults import DEFAULT_MERGE
from deploy.preparation import read_chips
from hardware import Chip, ChipError, load_chip, shipped_chips
from hardware.shown import SHOWN, SPIKING_CHIP, Place, shown_in
from svformer.common.errors import InputError

GOOD = """
name: mine
title: My chip
energy:
  synaptic_op: {value: 2, unit: nJ, kind: measured, source: our lab, year: 2024, node: 65 nm}
limits:
  cores: {value: 4, unit: cores/chip, kind: measured, source: our lab, year: 2024, node: 65 nm}
  neurons: {value: 64, unit: neurons/core, kind: measured, source: our lab, year: 2024, node: 65 nm}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def test_shipped_chips():
    names = ["cmos45_fp32", "cmos45_int8", "cmos45_int8_sram", "cmos45_lemaire", "loihi1", "loihi2"]
    names += ["odin", "spinnaker2", "tianjic", "truenorth"]
    assert shipped_chips() == names
    assert [load_chip(name).name for name in names] == names


@pytest.mark.parametrize(
    ("chip", "op", "pj"),
    [
        ("cmos45_fp32", "synaptic_op", 0.9),
        ("cmos45_fp32", "multiply_accumulate", 3.7 + 0.9),
        ("cmos45_int8", "synaptic_op", 0.1),  # into a sum of 24 bits (audit, M4)
        ("cmos45_int8", "multiply_accumulate", 0.1),
        ("cmos45_int8", "product", 0.2),
        ("loihi1", "synaptic_op", 23.6),
        ("loihi1", "neuron_update", 81),
        ("loihi1", "spike", 1.7),
        ("truenorth", "synaptic_op", 26),
        ("spinnaker2", "synaptic_op", 10),
        ("odin", "synaptic_op", 12.7),
        ("tianjic", "synaptic_op", 1.54),
        ("cmos45_lemaire", "memory_access", 13.2),
        ("cmos45_lemaire", "memory_access_per_bit", 1.09e-5),
    ],
)
def test_published_energies(chip, op, pj):
    assert getattr(load_chip(chip).energy, op).pj == pytest.approx(pj)


@pytest.mark.parametrize(
    ("chip", "op", "low", "high"),
    [
        ("loihi1", "synaptic_op", 23.6, 35.5),  # Davies et al.; SANA-FE's dense synapse
        ("loihi1", "neuron_update", 52, 81),  # Davies et al., inactive and active; SANA-FE between them
        ("truenorth", "synaptic_op", 2.3, 26),  # marginal; all in
        ("spinnaker2", "synaptic_op", 10, 450),  # the chip; its 28 nm prototype
        ("odin", "synaptic_op", 12.7, 12.7),
        ("cmos45_int8", "synaptic_op", 0.03, 0.1),
        ("cmos45_lemaire", "memory_access", 10, 13.2),  # Horowitz's 8 KB (audit, M6)
        ("cmos45_lemaire", "parameter_access", 1.25, 13.2),  # the same, shared by the 8 weights of a word
    ],
)
def test_where_sources_disagree(chip, op, low, high):
    assert getattr(load_chip(chip).energy, op).range_pj == (low, high)


def test_published_limits():
    loihi1, loihi2 = load_chip("loihi1").limits, load_chip("loihi2").limits
    assert [loihi1.cores.value, loihi1.neurons.value, loihi1.synapse_memory.value] == [128, 1024, 128]
    assert [loihi1.fan_in_axons.value, loihi1.fan_out_axons.value, loihi1.weight_bits.value] == [
        4096,
        4096,
        9,
    ]
    assert [loihi2.cores.value, loihi2.neurons.value, loihi2.neuron_groups.value] == [128, 4096, 8]
    assert [loihi2.fan_in_axons.value, loihi2.synapse_memory.value, loihi2.core_memory.value] == [16_000, 12_000, 192]
    assert [loihi2.message_bits.value, loihi2.delay.value] == [32, 63]


def test_limits_of_loihi2_say_what_they_rest_on():
    """Shares that the compile logs print: 10, 64 and 3,585 neurons, a group, 784 and 128 axons."""
    limits = load_chip("loihi2").limits
    assert {limits.neurons.kind, limits.neuron_groups.kind, limits.fan_in_axons.kind} == {"compile log"}
    shares = [100 * n / limits.neurons.value for n in (10, 64, 3585)]
    assert [round(share, 2) for share in shares] == [0.24, 1.56, 87.52]
    assert 100 / limits.neuron_groups.value == 12.5
    assert [round(100 * n / limits.fan_in_axons.value, 2) for n in (784, 128)] == [4.90, 0.80]
    assert limits.synapse_memory.kind == "inferred"


def test_a_mesh_has_a_place_for_every_core(write):
    for name in ("loihi1", "loihi2"):
        chip = load_chip(name)
        mesh = chip.mesh
        assert mesh.columns.value * mesh.rows.value * mesh.cores.value == chip.limits.cores.value
    where = "kind: measured, source: our lab, year: 2024, node: 65 nm}"
    sizes = (("columns", 2, "tiles"), ("rows", 3, "tiles"), ("cores", 1, "cores/tile"))
    mesh = "".join(f"  {name}: {{value: {value}, unit: {unit}, {where}\n" for name, value, unit in sizes)
    with pytest.raises(ChipError, match="the mesh has 6 places for 4 cores"):
        load_chip(write(f"{GOOD}mesh:\n{mesh}"))


def test_loihi1_constants_are_not_called_measurements():
    assert load_chip("loihi1").energy.synaptic_op.kind == "simulated"
    assert load_chip("loihi1").energy.static_power.kind == "measured"


def test_loihi2_has_no_invented_energy():
    chip = load_chip("loihi2")
    assert chip.energy is None
    assert "no energy per operation is published" in chip.no_energy_because


def test_provenance_names_everything():
    assert load_chip("truenorth").energy.synaptic_op.provenance == (
        "26 pJ, measured: Merolla et al., Science 345 (2014, 28 nm); everything the chip draws per synaptic event at "
        "one operating point (real time, 20 Hz); other counts scale it wrongly"
    )


def test_own_file_by_path_and_nanojoule(write):
    chip = load_chip(write(GOOD))
    assert isinstance(chip, Chip)
    assert chip.energy.synaptic_op.pj == 2000.0


def test_other_sources_in_an_own_file(write):
    other = "{value: 5, unit: nJ, kind: simulated, source: their lab, year: 2025, node: 65 nm}"
    text = GOOD.replace("node: 65 nm}\nlimits", f"node: 65 nm, others: [{other}]}}\nlimits")
    assert load_chip(write(text)).energy.synaptic_op.range_pj == (2000.0, 5000.0)
    with pytest.raises(ChipError, match=r"energy\.synaptic_op\.others\.0\.unit: Input should be 'pJ' or 'nJ'"):
        load_chip(write(text.replace("5, unit: nJ", "5, unit: J")))


def test_memory_is_priced_once(write):
    figure = "{value: 2, unit: pJ, kind: measured, source: our lab, year: 2024, node: 65 nm}"
    both = GOOD.replace("energy:\n", f"energy:\n  weight_bit_read: {figure}\n  memory_access: {figure}\n")
    with pytest.raises(ChipError, match="both price the reading of a weight"):
        load_chip(write(both))
    size = figure.replace("pJ", "pJ/bit")
    with pytest.raises(ChipError, match="memory_access_per_bit is a part of memory_access"):
        load_chip(write(GOOD.replace("energy:\n", f"energy:\n  memory_access_per_bit: {size}\n")))


def test_run_lava_takes_own_files_and_tells_what_is_wrong_with_them(write, tmp_path):
    (chip,) = read_chips([str(write(GOOD))])
    assert chip.name == "mine"
    with pytest.raises(InputError, match=r"mine\.yaml: 1 to correct: colour"):
        read_chips([str(write(GOOD + "colour: blue\n"))])
    with pytest.raises(InputError, match="not a readable file"):
        read_chips([str(tmp_path / "none.yaml")])
    with pytest.raises(InputError, match="a chip named odin is in the table already"):
        read_chips([str(write(GOOD.replace("name: mine", "name: odin")))])
    with pytest.raises(InputError, match="a chip named mine is in the table already"):
        read_chips([str(write(GOOD))] * 2)


def test_everything_wrong_is_listed_at_once(write):
    path = write(
        GOOD.replace("unit: nJ", "unit: J")  # not a unit of energy here
        .replace("source: our lab, year: 2024, node: 65 nm}\nlimits", "year: '2024'}\nlimits")  # two missing, one text
        .replace("value: 4,", "value: 4.5,")  # not a whole number of cores
        .replace("value: 64, unit: neurons/core", "value: 64, unit: cores/chip")  # the unit of another limit
        + "colour: blue\nname: again\n"  # unknown key, and a key given twice
    )
    with pytest.raises(ChipError) as caught:
        load_chip(path)
    message = str(caught.value)
    for expected in (
        "8 to correct",
        "name: given twice, again in line 10",
        "energy.synaptic_op.unit: Input should be 'pJ' or 'nJ'",
        "energy.synaptic_op.source: missing",
        "energy.synaptic_op.node: missing",
        "energy.synaptic_op.year: Input should be a valid integer",
        "limits.cores.value: Input should be a valid integer",
        "limits.neurons.unit: Input should be 'neurons/core'",
        "colour: no such key; allowed here: name, title",
    ):
        assert expected in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: mine", "name: My Chip"), "name: 'My Chip'; allowed: small letters, digits and _"),
        (("energy:\n", "energy:\n  colour: 3\n"), r"energy\.colour: no such key; allowed here: .*synaptic_op"),
        (("limits:\n", "limits:\n  colour: 3\n"), r"limits\.colour: no such key; allowed here: .*cores"),
        (("kind: measured", "colour: blue, kind: measured"), r"colour: no such key; allowed here: .*value, unit"),
    ],
)
def test_a_key_that_is_none_is_told_which_there_are(change, message, write):
    with pytest.raises(ChipError, match=message):
        load_chip(write(GOOD.replace(*change, 1)))


def test_keys_are_listed_once_for_a_kind_of_place(write):
    """With a guess where a key is nearly one."""
    text = GOOD.replace("kind: measured", "yer: 2018, kind: measured").replace("limits:\n", "limits:\n  colour: 3\n", 1)
    with pytest.raises(ChipError) as caught:
        load_chip(write(text))
    message = str(caught.value)
    count = GOOD.count("kind: measured")
    assert count > 1
    assert message.count("is year meant? ") == count
    assert message.count("allowed here: ") == 3, "the keys of an energy, of a limit, and those of all limits"
    assert message.count("allowed as for limits.cores.yer") == 1


@pytest.mark.parametrize("value", ["-1", "0", ".nan", ".inf", "'2'", "true"])
def test_refuses_a_value_that_is_no_positive_number(write, value):
    with pytest.raises(ChipError, match=r"1 to correct: energy\.synaptic_op\.value"):
        load_chip(write(GOOD.replace("value: 2,", f"value: {value},")))


def test_refuses_a_figure_of_unknown_kind(write):
    with pytest.raises(ChipError, match="'source code' or 'inferred'"):
        load_chip(write(GOOD.replace("kind: measured", "kind: guessed", 1)))


def test_a_chip_has_energy_or_says_why_not(write):
    with pytest.raises(ChipError, match="either energy, or no_energy_because"):
        load_chip(write("name: mine\ntitle: My chip\n"))
    with pytest.raises(ChipError, match="either energy, or no_energy_because"):
        load_chip(write(GOOD + "no_energy_because: but there is\n"))


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
def test_refuses_what_is_no_mapping(write, text):
    with pytest.raises(ChipError, match="1 to correct: file: Input should be a valid dictionary"):
        load_chip(write(text))


def test_refuses_what_is_no_yaml(write):
    with pytest.raises(ChipError, match=r"not valid YAML.*line 1") as caught:
        load_chip(write("name: [unclosed"))
    assert "\n" not in str(caught.value)


def test_refuses_an_unknown_name_and_a_missing_file(tmp_path):
    with pytest.raises(ChipError, match=r"chip loihi3: .*give one of cmos45_fp32, .*truenorth, or the path"):
        load_chip("loihi3")
    with pytest.raises(ChipError, match="not a readable file"):
        load_chip(tmp_path)


def test_chips_that_are_shown_exist_and_can_do_what_they_are_shown_for():
    """A reason each, no chip twice; break-even lines need a figure for multiply-accumulates."""
    assert len({entry.chip for entry in SHOWN}) == len(SHOWN)
    assert all(entry.reason and entry.places for entry in SHOWN)
    for place in get_args(Place):
        chips = [load_chip(name) for name in shown_in(place)]
        assert chips, place
        assert all(chip.energy is not None for chip in chips)
    for name in (*shown_in("rates"), *shown_in("verdicts")):
        assert load_chip(name).energy.multiply_accumulate is not None


def test_commands_merge_by_the_chip_that_runs_are_about():
    """Not by the figure that papers report (audit, M1)."""
    assert DEFAULT_MERGE == SPIKING_CHIP


# Events of placed networks

EVENTS = """
mesh:
  columns: {value: 1, unit: tiles, kind: measured, source: our lab, year: 2024, node: 65 nm}
  rows: {value: 1, unit: tiles, kind: measured, source: our lab, year: 2024, node: 65 nm}
  cores: {value: 4, unit: cores/tile, kind: measured, source: our lab, year: 2024, node: 65 nm}
events:
  - name: lab
    kind: measured
    source: our lab
    year: 2024
    node: 65 nm
    synapse: {pj: 2, ns: 3, others: [{pj: 4, ns: 5, note: dense}]}
    soma_access: {pj: 1, ns: 1}
    soma_update: {pj: 1, ns: 1}
    spike: {pj: 1, ns: 1}
    message_out: {pj: 1, ns: 1}
    message_in: {pj: 0, ns: 1}
    hop_east_west: {pj: 1, ns: 1}
    hop_north_south: {pj: 1, ns: 1}
    barrier: [{tiles: 1, ns: 10}, {tiles: 3, ns: 30}]
"""


def test_every_shipped_chip_has_times_or_says_why_not():
    for chip in map(load_chip, shipped_chips()):
        assert bool(chip.events) == (chip.no_times_because is None), chip.name
    assert [costs.name for costs in load_chip("loihi1").events] == ["SANA-FE", "Davies et al."]


def test_what_the_ledger_and_the_units_of_loihi1_both_price_is_the_same_figure():
    """A synapse, an update and a message: the ledger's figures of a source are sums of that source's units."""
    ledger, (sana_fe, davies) = load_chip("loihi1").energy, load_chip("loihi1").events

    def of(figure, source):
        return {found.value for found in [figure, *figure.others] if found.source.startswith(source)}

    assert of(ledger.synaptic_op, "SANA-FE") == {case.synapse.pj for case in sana_fe.cases}
    assert of(ledger.synaptic_op, "Davies") == {davies.synapse.pj}
    assert of(ledger.neuron_update, "SANA-FE") == {round(sana_fe.soma_access.pj + sana_fe.soma_update.pj, 6)}
    assert max(of(ledger.neuron_update, "Davies")) == davies.soma_access.pj + davies.soma_update.pj
    assert of(ledger.spike, "SANA-FE") == {sana_fe.spike.pj + sana_fe.message_out.pj}
    assert of(ledger.spike, "Davies") == {davies.message_out.pj}
    assert {found.kind for found in ledger.synaptic_op.others} == {sana_fe.kind}
    assert (sana_fe.hop_east_west.pj, sana_fe.hop_north_south.pj) == (3.0, 4.2)
    assert (davies.hop_east_west.pj, davies.hop_north_south.pj) == (3.0, 4.0)


def test_hops_are_priced_with_the_units_alone(write):
    hops = "  hop_east_west: {value: 3, unit: pJ, kind: measured, source: our lab, year: 2024, node: 65 nm}\n"
    with pytest.raises(ChipError, match=r"energy\.hop_east_west: no such key"):
        load_chip(write(GOOD.replace("energy:\n", f"energy:\n{hops}", 1)))


def test_a_chip_of_ones_own_may_have_events(write):
    """A barrier is that of the most tiles that are in use; other synapses make a set of their own."""
    (lab,) = load_chip(write(GOOD + EVENTS)).events
    assert [lab.barrier_s(tiles) for tiles in (1, 2, 3, 9)] == pytest.approx([1e-8, 1e-8, 3e-8, 3e-8])
    assert [(case.name, case.synapse.pj) for case in lab.cases] == [("lab", 2), ("lab, dense", 4)]
    assert load_chip(write(GOOD)).why_no_times == "its chip file gives no times"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("pj: 2,", "pj: -2,", r"events\.0\.synapse\.pj: Input should be greater than or equal to 0"),
        ("{tiles: 1, ns: 10}", "{tiles: 2, ns: 10}", r"barrier is given for \[2, 3\] tiles; begin with 1"),
        ("    year: 2024\n    node", "    node", r"events\.0\.year: missing"),
        ("events:", "no_times_because: none\nevents:", "events need limits and a mesh .* and no no_times_because"),
    ],
)
def test_wrong_events_are_refused(write, old, new, problem):
    with pytest.raises(ChipError, match=problem):
        load_chip(write(GOOD + EVENTS.replace(old, new, 1)))
