"""The benchmark that deploys the published geometry, on a small one: what it prints is what was counted."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from hardware import OpCounts
from svformer import SVFormerConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = SVFormerConfig(num_classes=5, image_size=32, frames=4, embed_dims=(4, 8, 8, 8), depths=(1, 1, 1, 1), head_dim=4)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("full_geometry")


def deployed_form(found: Any) -> str:
    forms = [e.choice for e in found.energy.bill if e.deployed and e.item.startswith("convolutions")]
    return str(forms[0])


def test_ledger_of_a_network_at_published_rates(benchmark: ModuleType) -> None:
    console = Console(quiet=True)
    found = benchmark.measure(SMALL, "never", console)
    merged = benchmark.measure(SMALL, "always", console)
    assert deployed_form(found) == "a relay behind every convolution"
    assert deployed_form(merged) == "merged into one kernel wherever that is exact"
    totals, in_one = (sum(run.counts.values(), OpCounts()) for run in (found, merged))
    assert totals.macs > in_one.macs, "values of relays are multiplied"
    assert totals.synaptic_ops < in_one.synaptic_ops, "the kernels of a chain reach fewer neurons than the merged one"
    assert totals.neuron_updates == in_one.neuron_updates == SMALL.frames * found.estimate.network.neurons
    (placed,), (energy,) = found.estimate.placed.values(), [found.energy.operating_points["loihi1"]]
    assert placed.of == "spikes"
    assert placed.sources[0].mj == pytest.approx(energy.dynamic_mj + energy.traffic_mj)
    rate = totals.spikes / totals.neuron_updates
    assert 0.05 < rate < 0.25, "the published rates are 2 to 30 %"
