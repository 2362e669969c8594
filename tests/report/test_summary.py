"""What a terminal shows of a run and of an estimate: the report's figures, words that agree, no paper beside others."""

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
from rich.console import Console

from deploy.ir.model import name_of
from deploy.ir.operations.attention import SpikingAttention
from deploy.report import rows
from deploy.report.keys.run import ExactParity, ReferenceLayer, ReferenceSummary
from deploy.report.summary import print_estimate, print_summary


def printed(show: Callable[[Any, Console], None], report: Any) -> str:
    file = io.StringIO()
    show(report, Console(file=file, width=200, soft_wrap=True))
    return file.getvalue()


def test_a_run_of_ours(shipped_run: Any) -> None:
    report = shipped_run.report
    text = printed(print_summary, report)
    assert "top-1 over 2 clips: float 100.00 %, integer 100.00 %, deployed 100.00 %" in text
    for model in report.energy.models.values():
        assert model.title in text
        if model.mj_per_view is not None:
            assert f"{model.weighted_layers_mj:.4g}" in text
            assert f"{model.mj_per_view:.4g}" in text
    assert f"the paper says 21 mJ a video. {report.energy.geometry_difference}" in text
    assert f"{report.energy.paper.at_its_geometry.mj:.4g} mJ a view" in text
    for limit in report.energy.break_even.published:
        assert f"break-even by {limit.source}: {limit.verdict}" in text
    assert "loihi2: does not fit as it stands, 2 obstacles, first: stage3.block0.attn.plif_proj: multiplies" in text


def test_a_run_of_a_network_that_is_not_ours(foreign_run: Any) -> None:
    text = printed(print_summary, foreign_run.report)
    assert "note: the graph does not name its classes" in text
    assert "the paper" not in text
    assert "loihi1: does not fit as it stands, 1 obstacle, first: output: needs messages of 24 bits" in text
    assert "loihi2: 1 core, 1 chip" in text
    assert not re.search(r"\b1 (clips|chips|cores|obstacles|layers|videos|steps)\b", text)


def test_an_estimate_has_plan_fit_and_fixed_point(integrating_run: Any) -> None:
    text = printed(print_estimate, integrating_run.report)
    assert "Fixed point, %: errors of rounding" in text
    assert "8 neurons, 43 parameters of 8 bits, 2 synapses deep" in text
    assert "Plan: T = 20 steps a clip" in text
    assert "loihi2: by placement 1 core, 1 chip" in text
    assert "first-fit decreasing, no fewer for these parts" in text
    assert "by the rule of a core for each layer, without the input, 2 cores, 1 chip" in text
    assert "cannot hold: out: needs messages of 24 bits" in text
    assert "needs a microcode neuron: out (neurons that send their potential)" in text


def test_one_layer_that_equals_lava_is_one(foreign_run: Any) -> None:
    exact = ExactParity(bit_exact=True, layers=1, spikes_compared=100)
    parity = dataclasses.replace(foreign_run.report.parity, integer_vs_backend=exact, integer_vs_lava=exact)
    text = printed(print_summary, dataclasses.replace(foreign_run.report, backend="lava", parity=parity))
    assert "integer interpreter = Lava, bit for bit: 1 layer, every time step, 100 messages" in text


def test_a_reference_is_shown_with_its_first_difference(foreign_run: Any) -> None:
    layer = ReferenceLayer(
        name="hidden",
        rate=0.2,
        compared=100,
        float_match=0.99,
        float_first_difference=(0, 3, 1),
        deployed_match=1.0,
        deployed_first_difference=None,
    )
    reference = ReferenceSummary(file="other.h5", layers=(layer,), unmatched=("deep",))
    text = printed(print_summary, dataclasses.replace(foreign_run.report, reference=reference))
    assert "reference: the network has no layer deep" in text
    assert (
        "reference hidden: of 100 neuron states the same: float 99.00 %, deployed 100.00 %; "
        "float differs first at clip, step, neuron [0, 3, 1], counted from 0"
    ) in text


def test_views_of_the_paper_by_hand(shipped_run: Any) -> None:
    """15 views cost 15 times a view; without the paper's layer names there is no third column."""
    energy = shipped_run.report.energy
    grid = rows.views(energy)
    assert [len(cells) for cells in (grid.heads, *grid.rows)] == [4, 4, 4, 4]
    assert grid.rows[0][1].replace("\N{NARROW NO-BREAK SPACE}", " ") == "15.95 mJ"
    assert grid.rows[1][1].replace("\N{NARROW NO-BREAK SPACE}", " ") == "239.3 mJ"  # 15 x 15.9521
    others = dataclasses.replace(energy, paper=dataclasses.replace(energy.paper, at_its_geometry=None))
    assert [len(cells) for cells in (rows.views(others).heads, *rows.views(others).rows)] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("metadata", "attends", "name"),
    [
        ({}, False, "network"),
        ({}, True, "SVFormer"),
        ({"model": "SVFormer"}, False, "SVFormer"),
        ({"model": "mine"}, True, "mine"),
    ],
)
def test_the_graph_names_its_model_or_shows_it_by_its_attention(
    metadata: dict[str, str], attends: bool, name: str
) -> None:
    shape = np.array([12, 1, 2])
    nodes = {"input": nir.Input(shape), "output": nir.Output(np.array([4, 1, 2]) if attends else shape)}
    edges = [("input", "output")]
    if attends:
        nodes["attend"] = SpikingAttention(input_shape=shape, heads=2, scale=0.25)
        edges = [("input", "attend"), ("attend", "output")]
    assert name_of(nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)) == name
