"""What the clips of a run show: predictions that say nothing."""

import dataclasses
import io
from typing import Any

from rich.console import Console

from deploy.report import clip_rows
from deploy.report.keys.report import Report
from deploy.report.page import render
from deploy.report.summary import print_summary


def with_clips(report: Report, *clips: tuple[str, str, tuple[float, ...]], readout: str = "count") -> Report:
    """A report of clips: class, prediction, result of every class."""
    made = tuple(
        dataclasses.replace(report.clips[0], source=f"{i}.npy", label=label, prediction=said, logits=logits)
        for i, (label, said, logits) in enumerate(clips)
    )
    network = dataclasses.replace(report.network, classes=("a", "b"), readout=readout)
    return dataclasses.replace(report, clips=made, network=network)


def test_an_output_that_never_fires_is_told(foreign_run: Any) -> None:
    silent = with_clips(foreign_run.report, ("a", "a", (0.0, 0.0)), ("b", "a", (0.0, 0.0)))
    line = clip_rows.undecided(silent)
    assert line.startswith("in 2 of 2 clips no class leads (no neuron of the output fired in any clip)")
    out = io.StringIO()
    print_summary(silent, Console(file=out, width=500))
    assert f"warning: {line}" in out.getvalue()
    assert f"I{line[1:]}." in render(silent, [])


def test_a_tie_is_told_and_a_lead_is_not(foreign_run: Any) -> None:
    some = with_clips(foreign_run.report, ("a", "a", (3.0, 3.0)), ("b", "b", (1.0, 2.0)))
    assert clip_rows.undecided(some).startswith("in 1 of 2 clips no class leads (all outputs have the same result)")
    assert clip_rows.undecided(with_clips(foreign_run.report, ("b", "b", (1.0, 2.0)))) == ""
    assert clip_rows.undecided(with_clips(foreign_run.report, ("a", "a", (0.0,)))) == ""


def test_layers_that_never_fire_are_told(foreign_run: Any) -> None:
    report: Report = foreign_run.report
    spiking = [layer for layer in report.layers if layer.kind == "lif"]
    assert clip_rows.silent_layers(report) == ""
    layers = tuple(dataclasses.replace(layer, rate=0.0) if layer is spiking[0] else layer for layer in report.layers)
    silent = dataclasses.replace(report, layers=layers)
    line = clip_rows.silent_layers(silent)
    assert line.startswith(f"1 of {len(spiking)} spiking layer")
    assert f"never fired in any clip ({spiking[0].name})" in line
    out = io.StringIO()
    print_summary(silent, Console(file=out, width=500))
    assert f"warning: {line}" in out.getvalue()
    assert f"{line}." in render(silent, [])
