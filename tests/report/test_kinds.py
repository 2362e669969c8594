"""What a layer is, in one word wherever it is named: LIF -> LI, 4 -> 5 -> 3, in every part of the report. The
node that marks the output is no layer.
"""

import re
from typing import Any

import numpy as np
import pytest

from deploy.ir.populations.input import IntInput
from deploy.ir.populations.relay import IntRelay
from deploy.report.keys.network import Kind
from deploy.report.kinds import WORDS, groups
from deploy.report.markdown import markdown
from pages import rendered

KINDS: dict[str, Kind] = {"input": "input", "hidden": "lif", "out": "integrator"}


def test_one_word_in_layers_plan_and_fixed_point(integrating_run: Any) -> None:
    report = integrating_run.report
    assert {layer.name: layer.kind for layer in report.layers} == KINDS
    assert {layer.name: layer.kind for layer in report.plan.layers} == KINDS
    rounded = {name: kind for name, kind in KINDS.items() if kind != "input"}
    assert {layer.name: layer.kind for layer in report.fixed_point} == rounded


def test_integrators_are_neurons(integrating_run: Any) -> None:
    """5 LIF neurons and 3 integrators, each updated in 20 time steps; relays and inputs are none."""
    report = integrating_run.report
    layers = {layer.name: layer for layer in report.layers}
    assert {name: layer.neurons for name, layer in layers.items()} == {"input": 0, "hidden": 5, "out": 3}
    updates = {"input": 0, "hidden": 5 * 20, "out": 3 * 20}
    assert {name: layer.neuron_updates for name, layer in layers.items()} == updates
    assert report.network.neurons == 8
    assert report.totals.neuron_updates == 160
    assert (layers["out"].rate, layers["out"].spikes) == (None, 0), "they send potentials, no spikes"
    assert layers["hidden"].rate is not None


def test_the_page_calls_them_integrators(integrating_run: Any) -> None:
    report = integrating_run.report
    html = " ".join(rendered(integrating_run).split())
    assert "One clip through 5 spiking neurons and 3 integrators" in html
    assert (
        "1 layer of LIF neurons, 1 layer of integrators (neurons that send their potential and do not reset), 1 input."
    ) in html
    for name, kind in KINDS.items():
        assert re.search(rf'<td class="name">\s*{name}\s*</td><td>{WORDS[kind].label}</td>', html), name
    assert "8 neurons" in markdown(report)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], ""),
        (["lif", "input", "lif"], "2 layers of LIF neurons, 1 input"),
        (["relay", "relay"], "2 graded relays (sums that pass on without a threshold)"),
    ],
)
def test_groups_in_words(kinds: list[Any], said: str) -> None:
    assert groups(kinds) == said


def test_kinds_of_populations_without_a_potential() -> None:
    shape = (1, 1, 1)
    assert IntInput(shape=shape, scale=1.0, low=0, high=1).kind == "input"
    assert IntRelay(shape=shape, scale=1.0, bias=np.zeros(shape, dtype=np.int64)).kind == "relay"
