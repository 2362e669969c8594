"""The page of an estimate: what is known before anything runs, from report.json alone."""

import dataclasses
import html
import io
from typing import Any

import pytest
from rich.console import Console

from deploy.report.estimate_page import estimate_page
from deploy.report.keys.network import MappedPart
from deploy.report.keys.report import Estimate
from deploy.report.plan import print_mapping
from deploy.report.summary import print_summary
from hardware import load_chip


@pytest.fixture
def estimated(shipped_run: Any) -> Estimate:
    """What the run of the shipped network knew before it ran."""
    return Estimate(**{name: getattr(shipped_run.report, name) for name in Estimate.__dataclass_fields__})


def test_it_says_size_and_fit(estimated: Estimate) -> None:
    page = estimate_page(estimated)
    assert "Estimate: nothing was run" in page
    for chip, fitted in estimated.fit.items():
        assert load_chip(chip).title in page
        assert f"{fitted.cores:,} core" in page
    assert "18 obstacles" in page, "of Loihi 1, as the terminal says"
    assert estimated.fixed_point[0].name.rpartition(".")[2] in page
    assert estimated.provenance.processor in page
    assert "<script src" not in page


def test_what_no_process_of_loihi_2_holds_is_said_wherever_the_chip_is(estimated: Estimate, shipped_run: Any) -> None:
    """Attention, and relays with a bias: the chip file alone knows nothing of them."""
    missing = [part for part in estimated.mapping if part.microcode]
    assert missing
    out = io.StringIO()
    print_summary(shipped_run.report, Console(file=out, width=500))
    line = f"by the processes of Lava {len(missing)} obstacles on Loihi 2, first: {missing[0].where}"
    assert line in out.getvalue()
    page = estimate_page(estimated)
    assert f"{len(missing)} parts that no neuron process" in page
    assert missing[-1].microcode in html.unescape(page)
    bare = dataclasses.replace(estimated, mapping=())
    assert "by the processes of Lava" not in estimate_page(bare)


def test_the_chip_form_is_named_where_it_helps_alone(estimated: Estimate) -> None:
    def said(*parts: MappedPart) -> str:
        out = io.StringIO()
        print_mapping(parts, Console(file=out, width=500))
        return out.getvalue()

    attention = next(part for part in estimated.mapping if part.what.startswith("attention"))
    reset = dataclasses.replace(attention, what="LIF neurons", microcode="a reset by subtraction")
    assert "--form chip" in said(attention)
    assert "--form chip" not in said(attention, reset)
    assert "--form chip" not in said(dataclasses.replace(attention, microcode=""))


def test_a_name_is_no_script(estimated: Estimate) -> None:
    network = dataclasses.replace(estimated.network, name="<script>alert(1)</script>")
    page = estimate_page(dataclasses.replace(estimated, network=network))
    assert "<script>alert(1)" not in page


def test_what_was_not_measured_is_left_out(estimated: Estimate) -> None:
    bare = dataclasses.replace(estimated, fixed_point=(), kept_predictions=None, placed={})
    page = estimate_page(bare)
    assert "What fixed point costs every layer" not in page
    assert "Measured: rounding" not in page
