"""Lowering can be watched: every pass, what it says of itself, and what it leaves."""

import numpy as np

from deploy import lower, lowering_steps
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from hardware import load_chip


def test_every_pass_is_a_step_and_none_changes_the_result(exported) -> None:
    steps = list(lowering_steps(exported.graph))
    passes = ["from_nir", "merge_linear_chains", "drop_markers", "normalise_gains", "move_biases", "split_relays"]
    passes += ["balance_rows", "refine_first_layers", "split_streams", "group_rows"]
    assert [step.name for step in steps] == passes
    assert all(step.what.endswith(".") and "\n" not in step.what for step in steps)
    expected = interpret(exported.graph, exported.frames_NTCHW)["output"][:, -1]
    for step in steps:
        signals = run_float(step.network, exported.frames_NTCHW)
        result = signals[step.network.output][:, -1].reshape(expected.shape)
        np.testing.assert_allclose(result, expected, atol=1e-9)


def test_merging_takes_relays_away(exported) -> None:
    read, merged, *_, last = lowering_steps(exported.graph)
    assert read.populations == len(exported.graph.nodes)
    assert read.relays > merged.relays
    assert read.populations - merged.populations == read.relays - merged.relays  # no neuron is lost
    assert (last.populations, last.connections, last.weights) == (
        len(lower(exported.graph).populations),
        merged.connections,
        merged.weights,
    )


def test_the_width_of_weights_reaches_the_pass_that_prices_them(exported) -> None:
    """A chip that pays for every bit that it reads pays less for 3 than for 8; one that counts operations does not."""

    def prices(chip: str, bits: int) -> tuple[str, ...]:
        notes = lower(exported.graph, merge=load_chip(chip), weight_bits=bits).notes
        return tuple(note for note in notes if "merged " in note)

    assert prices("cmos45_fp32", 3) == prices("cmos45_fp32", 8)
    narrow, wide = prices("cmos45_int8_sram", 3), prices("cmos45_int8_sram", 8)
    assert len(narrow) == len(wide) > 0
    for cheap, dear in zip(narrow, wide, strict=True):
        (name, low), (same_name, high) = (
            (n.split(":")[0], float(n.split("merged ")[1].split(",")[0])) for n in (cheap, dear)
        )
        assert name == same_name
        assert low < high
