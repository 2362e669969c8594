"""Lowering can be watched: every pass, what it says of itself, and what it leaves."""

import numpy as np

from deploy import lower, lowering_steps
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float


def test_every_pass_is_a_step_and_none_changes_the_result(exported) -> None:
    steps = list(lowering_steps(exported.graph))
    assert [step.name for step in steps] == ["from_nir", "merge_linear_chains", "normalise_gains", "split_relays"]
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
