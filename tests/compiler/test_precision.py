"""What rounding one part of a network at a time flips: `run_lava.py --why`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import reals
import residual_networks
from deploy.gates.precision import ALL, INTEGERS, PARTS, Agreement, precision, with_rounded
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.input import Input
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.quantize import quantize_calibrated
from deploy.passes.refine_first_layers import refine_first_layers
from deploy.report.precision import print_precision

CLIPS = residual_networks.clips(3, size=8)
EXACT = refine_first_layers(residual_networks.residual((1, 1), width=4, size=8), layers=1)


def rounded(exact: Network, frames: Any) -> IntNetwork:
    return quantize_calibrated(exact, calibrate(exact, frames), search=False)


@pytest.fixture(scope="module")
def found() -> dict[str, Agreement]:
    return precision(EXACT, rounded(EXACT, CLIPS), CLIPS)


def test_parts_that_a_network_does_not_have_are_left_out(found: dict[str, Agreement]) -> None:
    """No gains and no starts; 8-bit weights, thresholds, leaks, the factors of identities and the input are there."""
    parts = [name.removesuffix(" alone") for name in found if name.endswith(" alone")]
    assert parts == ["weights", "thresholds", "leaks", "factors", "input"]
    assert list(found) == [INTEGERS, ALL, *(f"{p} alone" for p in parts), *(f"all but {p}" for p in parts)]
    assert set(parts) < set(PARTS)


def test_weights_cost_most_and_factors_of_a_stream_nothing(found: dict[str, Agreement]) -> None:
    assert found["factors alone"].mean == 1
    assert found["factors alone"].result_error == 0
    assert found["weights alone"].mean < 1
    assert found["weights alone"].mean == min(found[f"{part} alone"].mean for part in ("weights", "leaks", "input"))
    assert list(found[INTEGERS].equal) == EXACT.neuron_layers


def test_chunks_of_clips_change_nothing(found: dict[str, Agreement]) -> None:
    assert precision(EXACT, rounded(EXACT, CLIPS), CLIPS, at_once=1) == found


def test_each_part_comes_as_it_is_in_integers() -> None:
    """A weight is m 2^e of the scale, a leak of 1/3 is 1365 / 4096, a threshold a whole number of units."""
    exact = reals.network(
        {"in": Input(shape=reals.ONE), "lif": reals.lif(threshold=np.pi, decay=1 / 3)},
        reals.link("in", "lif", reals.dense([[np.sqrt(2)]])),
        frames=2,
    )
    frames = np.ones((1, 2, 1, 1, 1))
    integers = rounded(exact, frames)
    lif: Any = integers.populations["lif"]
    leaking = with_rounded(exact, integers, ["leaks"])
    assert leaking.connections[0].operation is exact.connections[0].operation
    leaky: Any = leaking.populations["lif"]
    assert leaky.decay.item() == 1365 / 4096
    assert leaky.threshold.item() == np.pi
    fires: Any = with_rounded(exact, integers, ["thresholds"]).populations["lif"]
    assert fires.threshold.item() == lif.threshold.item() / lif.scale
    (weighted,) = with_rounded(exact, integers, ["weights"]).connections
    assert isinstance(weighted.operation, Convolution)
    (c,) = integers.connections
    mantissa = c.operation.mantissa.item()  # type: ignore[attr-defined]
    assert weighted.operation.weight.item() == mantissa * 2.0**c.operation.exponent / lif.scale
    assert weighted.operation.weight.item() == pytest.approx(np.sqrt(2), rel=1e-2)


def test_all_parts_in_real_registers_are_close_to_the_integers(found: dict[str, Agreement]) -> None:
    assert found[ALL].mean == pytest.approx(found[INTEGERS].mean, abs=0.03)


def test_gains_and_attention_are_parts(exported: Any) -> None:
    """A whole SVFormer: what its rounded network of real numbers computes is near what it computed."""
    network, frames = lower(exported.graph), exported.frames_NTCHW
    integers = rounded(network, frames)
    parts = with_rounded(network, integers, list(PARTS))
    for name in ("factors", "weights"):
        assert name in {key.removesuffix(" alone") for key in precision(network, integers, frames[:1])}
    first = network.neuron_layers[0]
    before, after = (run_float(net, frames, record=[first])[first] for net in (network, parts))
    assert (before == after).mean() > 0.98


def test_the_tables_name_every_part_and_layer(found: dict[str, Agreement], tmp_path: Path) -> None:
    with (tmp_path / "text").open("w") as file:
        print_precision(found, Console(file=file, width=200))
    text = (tmp_path / "text").read_text()
    for name in ("everything, in integers", "weights", "thresholds", *EXACT.neuron_layers):
        assert name in text


def test_results_that_do_not_vary_have_no_error() -> None:
    silent = replace(EXACT, output="last", connections=tuple(c for c in EXACT.connections if c.target != "output"))
    populations = {name: p for name, p in silent.populations.items() if name != "output"}
    lif: Any = populations["last"]
    silent = replace(silent, populations={**populations, "last": replace(lif, threshold=np.full((1, 1, 1), 1e9))})
    assert precision(silent, rounded(silent, CLIPS), CLIPS)[INTEGERS].result_error is None
