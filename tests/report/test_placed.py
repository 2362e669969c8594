"""The placed network and the rate of the frames in a report: sums, texts, the page, and what is unknown."""

import json
import re
from typing import Any

import pytest

from deploy.costs.placing import Placing, place_rates
from deploy.execution.run import run
from deploy.report import placed_rows
from deploy.report.markdown import markdown
from deploy.report.operating_points import frame_rate
from deploy.report.record import estimate, record
from hardware import load_chip
from pages import rendered

LOIHI_1 = load_chip("loihi1")


def page(run: Any, **changes: Any) -> str:
    return rendered(run, **changes)


def test_units_add_up_and_stand_beside_the_ledger(shipped_run: Any) -> None:
    report = shipped_run.report
    found = report.placed["loihi1"]
    first = found.sources[0]
    assert sum(first.units.values()) == pytest.approx(first.mj)
    assert first.units["messages"] == pytest.approx(found.messages * 111e-9)
    assert first.units["neurons"] == pytest.approx(found.updates * 72.8e-9)
    assert found.range_mj[0] <= first.mj <= found.range_mj[1]
    assert [source.name for source in found.sources][-1] == "Davies et al."
    rows = {row.unit: row for row in placed_rows.units(report, "loihi1")}
    assert list(rows) == ["synapses", "neurons", "spikes", "messages", "hops", "all"]
    assert rows["spikes"].ledger == rows["hops"].ledger == "–"


def test_events_of_the_mean_clip_are_those_of_the_ledger(shipped_run: Any) -> None:
    """Spikes of all layers, and graded values of all but the input."""
    report, found = shipped_run.report, shipped_run.report.placed["loihi1"]
    entered = report.layers[0].spikes + report.layers[0].graded_messages
    assert found.spikes == pytest.approx(report.totals.spikes + report.totals.graded_messages - entered)
    assert found.updates >= report.totals.neuron_updates


def test_first_result_takes_the_depth_and_a_clip_of_mean_steps(shipped_run: Any) -> None:
    plan, source = shipped_run.deployment.plan, shipped_run.report.placed["loihi1"].sources[0]
    assert source.first_result_s == pytest.approx((plan.depth + plan.frames) / plan.frames * source.clip_s)


def test_static_energy_is_at_the_rate_of_the_frames(shipped_run: Any) -> None:
    """16 frames, one of 4 at 30 a second, one chip of 104 mW."""
    found = shipped_run.report.energy.operating_points["loihi1"]
    assert (found.rate.fps, found.rate.every) == (30, 4)
    assert found.static_mj == pytest.approx(104 * 16 * 4 / 30)
    static = shipped_run.report.energy.models["loihi1"].static
    assert static.mj == pytest.approx(found.static_mj)
    assert static.latency_s == pytest.approx(16 * 4 / 30)


def test_another_rate_can_be_asked_for(shipped_run: Any) -> None:
    report = record(shipped_run.deployment, shipped_run.tally, backend="integer", fps=1000)
    assert report.energy.operating_points["loihi1"].static_mj == pytest.approx(104 * 16 * 4 / 1000)


def test_frames_of_what_is_no_video_come_with_the_time_step(foreign_run: Any) -> None:
    found = frame_rate(foreign_run.deployment)
    assert (found.frame_s, found.every) == (pytest.approx(1e-4), 1)
    assert frame_rate(foreign_run.deployment, 50).frame_s == pytest.approx(0.02)


def test_the_page_shows_units_times_and_a_bar_at_the_rate(shipped_run: Any) -> None:
    html = page(shipped_run)
    assert "Placed on Intel Loihi 1" in html
    assert "at least" in html
    store = re.search(r'<script type="application/json" id="rate-data">(.*?)</script>', html)
    assert store is not None
    (chip,) = json.loads(store[1])["chips"]
    point = shipped_run.report.energy.operating_points["loihi1"]
    assert chip["mw"] * chip["steps"] * chip["every"] / chip["fps"] == pytest.approx(point.static_mj)
    assert chip["dynamic"] + chip["traffic"] == pytest.approx(shipped_run.report.placed["loihi1"].sources[0].mj)
    assert "Intel Loihi 2: a runtime model measured on Loihi 2 exists" in html


def test_texts_say_bound_rate_and_what_is_unknown(shipped_run: Any) -> None:
    lines = "\n".join(placed_rows.placed_lines(shipped_run.report))
    where = r"\d+ cores, \d+ of layers and 12 of the input, on 1 chip, by pixel"
    said = rf"estimated as if placed on Intel Loihi 1 \({where}\): .* by source\), at least "
    assert re.search(said, lines)
    assert "one core more" in lines
    assert "with 128 cores, each given to the slowest layer" in lines
    row = next(row for row in placed_rows.points(shipped_run.report) if row.chip == "loihi1")
    assert "30 frames a second, one of 4 taken" in placed_rows.at_rate(row)
    assert "host, input and output unknown" in placed_rows.at_rate(row)
    assert "| why they differ |" in markdown(shipped_run.report)


def test_a_run_that_is_not_placed_has_static_energy_and_no_times(foreign_run: Any) -> None:
    sources = [clip.source for clip in foreign_run.tally.clips]
    tally = run(foreign_run.deployment, sources, backend="integer")
    report = record(foreign_run.deployment, tally, backend="integer")
    assert report.placed == {}
    point = report.energy.operating_points["loihi1"]
    assert point.speed is None
    assert point.static_mj == pytest.approx(104 * 20 * 1e-4)
    assert ("Intel Loihi 1", "the network was not placed in this run") in list(placed_rows.unknown_times(report))


def test_cores_of_layers_are_those_of_the_rule_and_the_input_has_others(shipped_run: Any) -> None:
    """3 x 64 x 64 values fill 12 cores of 1,024 neurons."""
    report = shipped_run.report
    found = report.placed["loihi1"]
    assert found.input_cores == 12
    assert found.cores == report.fit["loihi1"].cores + 12


def test_an_estimate_goes_by_rates_and_says_so(shipped_run: Any) -> None:
    deployment = shipped_run.deployment
    rates = {layer.name: layer.rate for layer in deployment.fixed_point.layers if layer.rate is not None}
    placing = Placing(order="channel", chips=(LOIHI_1,))
    placed = place_rates(deployment.integer, deployment.plan, rates, placing)
    found = estimate(deployment, placed=placed, order="channel").placed["loihi1"]
    assert (found.of, found.order, found.now) == ("rates", "channel", None)
    assert "rates of the calibration clips" in found.notes[-1]
    of_spikes = shipped_run.report.placed["loihi1"]
    assert found.synapses == pytest.approx(of_spikes.synapses, rel=0.2)
    assert found.messages > of_spikes.messages, "channels spread over cores take more messages"
