"""The same small network counted here, by NeuroBench and by SpikingJelly 2: where they agree, and why they do not.

What the tools said is in fixtures/crosscheck_counts.json, which `python benchmarks/crosscheck_counts.py` wrote; where
they can be imported, they are asked again. The differences are those of docs/counting.md.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional

from hardware import OpCounts

ROOT = Path(__file__).parents[2]


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crosscheck_counts", ROOT / "benchmarks" / "crosscheck_counts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


crosscheck = load_benchmark()
NETWORK = crosscheck.small_network()
OURS: dict[str, OpCounts] = crosscheck.our_counts(NETWORK)
RECORD: dict[str, Any] = json.loads(crosscheck.FIXTURE.read_text())
NEUROBENCH, SPIKINGJELLY = (RECORD["counts"][tool] for tool in ("neurobench", "spikingjelly"))
BINARY = [name for name, layer in NETWORK.layers.items() if layer.binary]
GRADED = [name for name, layer in NETWORK.layers.items() if not layer.binary]


def test_the_network_shows_every_difference() -> None:
    assert (BINARY, GRADED) == (["down", "mix", "project"], ["stem", "classify"])
    assert OURS["stem"].macs < OURS["stem"].dense_macs < OURS["stem"].padded_macs
    assert (NETWORK.layers["mix"].module.weight == 0).any()
    assert 0 < OURS["attention"].attention_coincidences < OURS["attention"].dense_attention_ops


@pytest.mark.parametrize("layer", ["down", "project"])
def test_all_three_agree_on_additions_behind_spikes(layer: str) -> None:
    ours = OURS[layer].synaptic_ops
    assert ours == NEUROBENCH[layer]["effective_acs"] == SPIKINGJELLY[layer]["synops"]
    assert NEUROBENCH[layer]["effective_macs"] == SPIKINGJELLY[layer]["macs"] == 0


def test_neurobench_leaves_weights_of_zero_out() -> None:
    """A chip stores them, and a spike fetches them: 954 additions, of which 703 add something other than 0."""
    layer = NETWORK.layers["mix"]
    with_weight = int(functional.conv2d(layer.inputs, (layer.module.weight != 0).float()).sum())
    assert NEUROBENCH["mix"]["effective_acs"] == with_weight
    assert OURS["mix"].synaptic_ops == SPIKINGJELLY["mix"]["synops"] > with_weight


@pytest.mark.parametrize("layer", GRADED)
def test_graded_inputs_are_counted_where_they_are_not_zero(layer: str) -> None:
    """NeuroBench does so too; SpikingJelly counts every product, those with padding included."""
    assert OURS[layer].macs == NEUROBENCH[layer]["effective_macs"] > 0
    assert SPIKINGJELLY[layer]["macs"] == OURS[layer].padded_macs >= OURS[layer].dense_macs > OURS[layer].macs
    assert NEUROBENCH[layer]["effective_acs"] == SPIKINGJELLY[layer]["synops"] == 0


@pytest.mark.parametrize("layer", NETWORK.layers)
def test_neurobenchs_dense_count_has_exact_borders_as_ours(layer: str) -> None:
    assert NEUROBENCH[layer]["dense"] == OURS[layer].dense_macs


def test_attention_is_counted_as_spikingjelly_does() -> None:
    """K^T V of two binary operands: coincidences; Q (K^T V): head_dim additions for every spike of q."""
    ours = OURS["attention"]
    assert SPIKINGJELLY["attention"] == {"synops": ours.attention_ops, "macs": 0}
    assert "attention" not in NEUROBENCH


@pytest.mark.parametrize("layer", NETWORK.layers)
def test_parameters_read_as_spikingjelly_says(layer: str) -> None:
    """A spike fetches a weight for each addition. Graded inputs: all of them there, those that are not zero here."""
    found = SPIKINGJELLY[layer]
    weights = OURS[layer].synaptic_ops if layer in BINARY else OURS[layer].padded_macs
    module, geometry = NETWORK.layers[layer].module, NETWORK.layers[layer].geometry
    outputs = crosscheck.STEPS * torch.Size(geometry.out_shape).numel()
    assert found["weight_reads"] == weights
    assert found["bias_reads"] == (0 if module.bias is None else outputs)


@pytest.mark.filterwarnings("default")  # those of the tools are not ours to fix
@pytest.mark.parametrize("tool", crosscheck.TOOLS)
def test_the_tools_still_say_the_same(tool: str) -> None:
    for needed in {"neurobench": ("neurobench", "snntorch"), "spikingjelly": ("spikingjelly", "loguru")}[tool]:
        pytest.importorskip(needed, reason="no requirement of this project; benchmarks/crosscheck_counts.py says how")
    assert crosscheck.TOOLS[tool](NETWORK) == RECORD["counts"][tool]


def test_the_record_says_which_versions() -> None:
    assert RECORD["versions"]["spikingjelly"].startswith("2.")
    assert set(RECORD["versions"]) == {"neurobench", "spikingjelly", "snntorch", "torch"}
