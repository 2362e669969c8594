"""Finished runs side by side: what is read, which columns and charts there are, and what is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import compare
from deploy.comparison.runs import Column, Measure, compare_runs, read_runs
from deploy.comparison.scatter import axis_of_amounts, axis_of_shares, scatter
from deploy.report import typeset
from svformer.common.cli import run_cli
from svformer.common.errors import InputError


@pytest.fixture
def folders(shipped_run: Any, foreign_run: Any, tmp_path: Path) -> list[Path]:
    """The run of the shipped network, and one without classes of a network of others."""
    found = []
    for name, run in (("ours", shipped_run), ("theirs", foreign_run)):
        (tmp_path / name).mkdir()
        run.report.write(tmp_path / name / "report.json")
        found.append(tmp_path / name)
    return found


def column(title: str, *values: float | None, write: Any = typeset.energy) -> Column:
    return Column(measure=Measure(title=title, value=lambda report: None, write=write), values=values)


def test_figures_are_those_of_the_reports(folders: list[Path], shipped_run: Any) -> None:
    found = compare_runs(read_runs(folders))
    assert found.names == ("ours", "theirs")
    figures = {one.title: one for one in found.columns}
    report = shipped_run.report
    assert figures["top-1 deployed"].values == (report.accuracy.deployed_top1, None)
    assert figures["neurons"].values == (report.network.neurons, 5)
    (loihi,) = (one for title, one in figures.items() if title.startswith("energy") and "Intel Loihi 1" in title)
    assert loihi.values[0] == report.energy.models["loihi1"].mj_per_view
    assert (
        figures["cores of Intel Loihi 2, by placement, obstacles aside"].values[0]
        == report.fit["loihi2"].placement.cores
    )
    speed = report.energy.operating_points["loihi1"].speed
    assert figures["latency on Intel Loihi 1, at least"].texts[0] == typeset.duration(speed.first_result_s)
    assert found.plain()[1]["top-1 deployed"] is None
    assert any("different clips" in remark for remark in found.remarks)


def test_a_figure_that_no_run_has_is_no_column(folders: list[Path]) -> None:
    titles = [one.title for one in compare_runs(read_runs(folders[1:])).columns]
    assert "top-1 deployed" not in titles
    assert all(any(value is not None for value in one.values) for one in compare_runs(read_runs(folders)).columns)


def test_accuracy_is_drawn_where_two_runs_have_it_and_cost_differently(shipped_run: Any, tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        totals = dataclasses.replace(shipped_run.report.network, neurons=100 + i)
        dataclasses.replace(shipped_run.report, network=totals).write(tmp_path / str(i) / "report.json")
    assert compare_runs(read_runs([tmp_path / "0", tmp_path / "1"])).charts == ()
    accuracy = column("top-1", 0.5, 0.75, None, write=typeset.percent)
    drawn = scatter(["a", "b", "c"], column("energy", 1.0, 2.0, 3.0), accuracy)
    assert drawn is not None
    assert [(point.name, point.says) for point in drawn.points] == [
        ("a", f"a: 50.0{typeset.NARROW}%, 1.00{typeset.NARROW}mJ"),
        ("b", f"b: 75.0{typeset.NARROW}%, 2.00{typeset.NARROW}mJ"),
    ]
    assert scatter(["a", "b", "c"], column("energy", 1.0, None, 3.0), accuracy) is None


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6))
def test_amounts_lie_on_their_axis_in_order(values: list[float]) -> None:
    axis = axis_of_amounts(values)
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= 100
    assert all(-1e-6 <= axis.place(tick) <= 100 + 1e-6 for tick in axis.ticks)
    assert 1 <= len(axis.ticks) <= 8, "their names have room"
    if max(values) < 10 * min(values):
        assert axis.place(2.0) == pytest.approx(2 * axis.place(1.0)), "it begins at 0"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_shares_lie_on_their_axis(values: list[float]) -> None:
    axis = axis_of_shares(values)
    assert all(-1e-6 <= axis.place(value) <= 100 for value in values)
    assert 2 <= len(axis.ticks) <= 8


def test_the_command_writes_table_page_and_figures(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = folders[0].parent / "out"
    arguments = [*map(str, folders), "--out", str(out)]
    assert run_cli(compare.main, arguments) == 0
    assert "top-1 deployed" in capsys.readouterr().out
    page = (out / "comparison.html").read_text("utf-8")
    assert "2 runs side by side" in page
    assert "Content-Security-Policy" in page
    rows = json.loads((out / "comparison.json").read_text())
    assert [row["run"] for row in rows] == ["ours", "theirs"]
    assert run_cli(compare.main, arguments) == 2, "it is there already"
    assert run_cli(compare.main, [*arguments, "--force"]) == 0
    assert run_cli(compare.main, [*arguments, "--force", "--quiet"]) == 0
    assert run_cli(compare.main, [*arguments, "--force", "--weight-bits", "4"]) == 2
    assert "--weight-bits: for checkpoints" in capsys.readouterr().err


def test_what_is_no_finished_run_is_refused(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for paths, said in (
        ([tmp_path / "empty"], r"report\.json: cannot be read"),
        ([folders[0], tmp_path / "a.safetensors"], "no folder of a finished run"),
        ([folders[0], folders[0] / "report.json"], "named twice"),
    ):
        with pytest.raises(InputError, match=said):
            read_runs(paths)


def test_runs_of_one_name_are_told_apart(shipped_run: Any, tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "run").mkdir(parents=True)
        shipped_run.report.write(tmp_path / parent / "run" / "report.json")
    assert [run.name for run in read_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])] == ["a/run", "b/run"]
