"""Kept predictions: what rounding changes of a network's results on the calibration clips, and what a run advises."""

from types import SimpleNamespace
from typing import Any

import nir
import numpy as np
import pytest

import graphs
import reals
from deploy.gates.fidelity import fidelity
from deploy.gates.predictions import KeptPredictions, Results
from deploy.gates.remedies import remedies
from deploy.ir.network import Network
from deploy.ir.populations.input import Input
from deploy.passes.bounds import prove
from deploy.passes.calibrate import calibrate
from deploy.passes.probes import SpikeMatch
from deploy.passes.quantize import quantize_calibrated
from deploy.pipeline import deploy

T = 40


def results(wanted: Any, found: Any) -> KeptPredictions:
    """Of clips whose output sends these at one time step."""
    exact: Any = SimpleNamespace(output="out", readout="last")
    rounded: Any = SimpleNamespace(logits=lambda signals: np.asarray(signals["out"], float))
    collected = Results(exact=exact, rounded=rounded)
    for a, b in zip(wanted, found, strict=True):
        collected.add({"out": np.asarray([[a]], float)}, {"out": [b]})
    return collected.kept()


def test_leads_and_errors_by_hand() -> None:
    """Leads 3, 1 and 2: median 2. Differences of two classes change by 0, 2 and 0: their mean square is 4 / 3."""
    kept = results([[4, 1], [2, 1], [0, 2]], [[4, 1], [1, 2], [1, 3]])
    assert (kept.clips, kept.same, kept.lead) == (3, 2, 2)
    assert kept.error == pytest.approx(np.sqrt(4 / 3))
    assert kept.share == pytest.approx(2 / 3)
    assert not kept.enough
    assert str(kept) == (
        "same prediction on 2 of 3 calibration clips; the best class leads by 2 (median), rounding changes that by 1.15"
    )


def test_the_error_is_that_of_all_pairs_of_classes() -> None:
    rng = np.random.default_rng(0)
    wanted, found = rng.normal(size=(2, 5, 4))
    changed = found - wanted
    pairs = [changed[:, i] - changed[:, j] for i in range(4) for j in range(i)]
    assert results(wanted, found).error == pytest.approx(np.sqrt(np.mean(np.square(pairs))))


def test_one_output_has_no_lead() -> None:
    kept = results([[3.0]], [[2.0]])
    assert (kept.same, kept.lead, kept.error) == (1, None, None)
    assert str(kept) == "same prediction on 1 of 1 calibration clip"


def test_spikes_that_are_equal() -> None:
    """4 neurons, 2 time steps: one differs. What is no layer is passed over."""
    first = np.zeros((1, 2, 4, 1, 1), np.uint8)
    second = first.copy()
    second[0, 1, 2] = 1
    match = SpikeMatch(["lif"])
    for name in ("lif", "relay"):
        match.add_first(name, first)
    for name in ("lif", "relay"):
        match.add_second(name, second)
    assert match.shares == {"lif": 7 / 8}


def two_layers() -> Network:
    """A layer whose weights 8 bits cannot hold beside each other, one of a weight that they hold, and sums of both."""
    first, second = reals.dense([[1000.0, 1.3]]), reals.dense([[0.5]])
    return reals.network(
        {
            "input": Input(shape=(2, 1, 1)),
            "coarse": reals.lif((1, 1, 1), threshold=1.0, decay=0.5),
            "exact": reals.lif((1, 1, 1), threshold=0.4, decay=0.5),
            "output": reals.relay((1, 1, 1)),
        },
        reals.link("input", "coarse", first),
        reals.link("coarse", "exact", second),
        reals.link("exact", "output", reals.same((1, 1, 1))),
        frames=T,
    )


def test_the_layer_that_loses_most_is_the_first_that_is_rounded_badly() -> None:
    """The second fires as the first does, so all that it loses was lost before it; both are seen through the relay."""
    net, frames = two_layers(), np.zeros((1, T, 2, 1, 1))
    frames[0, : T // 4, 0] = 1
    frames[0, T // 4 :, 1] = 1
    integers = quantize_calibrated(net, calibrate(net, frames))
    layers = {layer.name: layer for layer in fidelity(net, integers, prove(integers), frames).layers}
    coarse, exact = layers["coarse"], layers["exact"]
    assert coarse.heard_match == 1
    assert coarse.spike_match is not None
    assert coarse.spike_match < 0.7
    assert exact.heard_match == coarse.spike_match == exact.spike_match
    assert layers["output"].spike_match is None
    advice = remedies(layers.values(), svformer=False)
    lost = f"most spikes are lost in coarse, where {100 * coarse.spike_match:.2f} % are equal (100.00 %"
    assert advice.startswith(lost)
    assert "--qat" not in advice
    assert "--qat" in remedies(layers.values(), svformer=True)


def test_weights_that_are_exact_get_no_advice_about_weights() -> None:
    layer: Any = SimpleNamespace(name="lif", weight_error=0.0, spike_match=0.9, heard_match=1.0)
    assert remedies([layer], svformer=True) == (
        "most spikes are lost in lif, where 90.00 % are equal (100.00 % in what it hears); "
        "what helps: --why says which rounding it is"
    )


def test_a_deployment_says_how_many_predictions_are_kept() -> None:
    """Weights in steps of 1 / 64 are held exactly; beside one of 3,000 they are lost, and a line says so."""
    rng = np.random.default_rng(1)
    frames = (rng.random((8, T, 6)) < 0.3).astype(float)
    frames[:, :, 5] = 0
    frames[7] = np.arange(6) == 5  # the last clip shows that input alone
    weight = rng.integers(-60, 60, size=(3, 6)) / 64
    said: dict[float, list[str]] = {}
    for large in (1.0, 3000.0):
        weight[:, 5] = large
        nodes = {
            "input": graphs.entry(6),
            "fc": nir.Linear(weight.copy()),
            "lif": graphs.lif(3),
            "output": graphs.result(3),
        }
        deploy(graphs.chain(nodes, T=T), frames, said.setdefault(large, []).append)
    kept = {large: [line for line in lines if "same prediction" in line] for large, lines in said.items()}
    assert kept[1.0][0].startswith("  same prediction on 8 of 8 calibration clips")
    assert not kept[3000.0][0].startswith("  same prediction on 8 of 8")
    assert any("what helps: --tune 3" in line and "--fine-layers 1" in line for line in said[3000.0])
    assert not any("what helps" in line for line in said[1.0])
