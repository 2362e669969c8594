"""The page of an estimate: what is known before anything runs, from report.json alone."""

import dataclasses
from typing import Any

import pytest

from deploy.report.estimate_page import estimate_page
from deploy.report.keys.report import Estimate
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


def test_a_name_is_no_script(estimated: Estimate) -> None:
    network = dataclasses.replace(estimated.network, name="<script>alert(1)</script>")
    page = estimate_page(dataclasses.replace(estimated, network=network))
    assert "<script>alert(1)" not in page


def test_what_was_not_measured_is_left_out(estimated: Estimate) -> None:
    bare = dataclasses.replace(estimated, fixed_point=(), kept_predictions=None, placed={})
    page = estimate_page(bare)
    assert "What fixed point costs every layer" not in page
    assert "Measured: rounding" not in page
