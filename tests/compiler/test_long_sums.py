"""Integrators as readouts of long clips: a scale for what clips show, and a count of what goes beyond."""

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy import lower, quantize, run_lava, simulate, write_nir
from deploy.ir.populations.integrator import ROOM, IntIntegrator

STEPS = 3000


def integrators(rows: Any) -> nir.NIRGraph:
    """Real numbers behind a dense layer, added up over the clip: v <- v + W x."""
    weights = np.asarray(rows, dtype=float)
    outputs, inputs = weights.shape
    added_up = nir.I(r=np.full(outputs, 1 / graphs.DT_S))
    nodes = {"in": graphs.entry(inputs), "w": nir.Linear(weights), "i": added_up, "out": graphs.result(outputs)}
    return graphs.chain(nodes, T=STEPS)


def readout(graph: nir.NIRGraph, clips: Any) -> IntIntegrator:
    found = quantize(lower(graph), clips).populations["i"]
    assert isinstance(found, IntIntegrator)
    return found


def test_a_sum_over_thousands_of_steps_is_near_the_exact_one() -> None:
    """The worst case is 3,000 steps of 4 inputs at their largest, about 15,000; what noise adds up to is about 50. A
    register for the worst case would leave it steps of 1 / 8, and errors of the square root of 3,000 halves of one.
    """
    rng = np.random.default_rng(0)
    weights, clips = rng.normal(0, 0.5, (3, 4)), rng.normal(0, 1, (2, STEPS, 4))
    graph = integrators(weights)
    network = lower(graph)
    exact = (clips @ weights.T).sum(axis=1)
    result = simulate(quantize(network, clips), clips, backend="integer")
    assert np.abs(exact).max() > 20
    np.testing.assert_allclose(result.logits, exact, atol=0.5)


def test_the_scale_has_room_for_eight_times_what_clips_show() -> None:
    """A constant input of 1: 3,000 at the end, in a register of 2^17 units."""
    clips = np.ones((1, STEPS, 1))
    found = readout(integrators([[1.0]]), clips)
    assert found.may_saturate
    assert found.scale <= 2**17 / (ROOM * STEPS)


def test_what_somebody_reads_does_not_saturate() -> None:
    """Its worst case is proven, as before: a LIF behind it could fire otherwise."""
    graph = integrators([[1.0]])
    graph.nodes["lif"] = graphs.lif(1)
    graph.edges = [("in", "w"), ("w", "i"), ("i", "lif"), ("lif", "out")]
    assert not readout(graph, np.ones((1, STEPS, 1))).may_saturate


def test_a_run_counts_readouts_that_saturate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scales by a clip of 0.01, a run with 1: a hundred times as far, where there is room for eight times."""
    network, small, large = tmp_path / "i.nir", tmp_path / "small.npy", tmp_path / "large.npy"
    write_nir(integrators([[1.0]]), network)
    grid = np.tile([[1.0], [-1.0]], (STEPS // 2, 1))  # the range of the input, but no sum
    np.save(small, np.where(np.arange(STEPS)[:, np.newaxis] < 20, grid, 0.01))
    np.save(large, np.ones((STEPS, 1)))
    options = ["--nir", network, "--calibrate", small, "--backend", "integer"]
    for clip, saturates in ((small, False), (large, True)):
        out = tmp_path / clip.stem
        run_lava.main([*map(str, options), "--clip", str(clip), "--out", str(out)])
        report = json.loads((out / "report.json").read_text())
        assert (report["parity"]["float_vs_integer"]["readouts_saturated"] > 0) == saturates
        assert ("messages of the readout stand at the end of its register" in capsys.readouterr().out) == saturates
