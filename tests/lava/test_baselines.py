"""The spiking baselines on Lava: loops, and delays of the temporal shift, bit for bit as in the integers."""

from pathlib import Path

import numpy as np
import pytest

import deploy
from deploy.frontend.export import export
from deploy.ir.graph import write_nir
from deploy.report.keys.report import Report
from deploy.session import run
from small_baselines import small_baseline, small_conversion


@pytest.mark.parametrize("name", ["rsnn", "ann2snn"])
def test_lava_runs_them_as_the_integers_say(name: str, tmp_path: Path) -> None:
    model = small_conversion(steps_per_frame=2) if name == "ann2snn" else small_baseline("rsnn")
    write_nir(export(model), tmp_path / "model.nir")
    steps = model.config.frames * model.config.steps_per_frame
    clips = np.random.default_rng(0).normal(size=(2, steps, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "clips.npz", clips=clips, labels=[0, 1])
    request = deploy.Request(nir=tmp_path / "model.nir", clips=[tmp_path / "clips.npz"], out=tmp_path / "out")
    report = run(request).report
    assert isinstance(report, Report)
    assert report.parity.integer_vs_lava is not None
    assert report.accuracy.deployed_top1 is not None
    assert report.totals.synaptic_ops > 0
