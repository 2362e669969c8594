"""Requests: what contradicts itself is refused at once, what cannot be run before the long work and without a trace."""

import functools
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import deploy
import graphs
from deploy import run_lava
from deploy.clips.choose import spread
from deploy.clips.source import ClipSource
from deploy.execution import cluster
from deploy.execution.resume import ResultFolder
from deploy.frontend.export import export_checkpoint
from deploy.gates.spikes import ExportCheck
from deploy.ir.graph import write_nir
from deploy.request import DEMO, ESTIMATE, Request
from deploy.shipped import ShippedNetwork
from svformer import SVFormer, SVFormerConfig
from svformer.assets import DEMO_CLIPS
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.data.choice import DatasetChoice
from svformer.networks.checkpoint import save_checkpoint

DOCS = Path(__file__).parents[2] / "docs"
DATA = DatasetChoice(name="procedural")
Capture = pytest.CaptureFixture[str]


def run(*words: object) -> int:
    return run_cli(run_lava.main, [*map(str, words)])


def small(folder: Path, out: Path, **fields: Any) -> Request:
    """The small network of `small_run` on three of its clips, in integers."""
    clips = sorted(folder.glob("*.npy"))[:3]
    return Request(nir=folder / "small.nir", dt_s=1e-3, clips=clips, backend="integer", out=out, **fields)


def words(request: Request, *more: object) -> list[object]:
    """The same request on a command line."""
    network = ["--nir", request.nir, "--dt", request.dt_s, "--backend", request.backend]
    return [*network, "--clip", *request.clips, "--out", request.out, *more]


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    clips = [{name: value for name, value in clip.items() if name != "seconds"} for clip in report["clips"]]
    return {**report, "clips": clips, "timing": None, "provenance": {**report["provenance"], "date": None}}


def test_the_result_is_read_at_the_output_that_is_named(tmp_path: Path, capsys: Capture) -> None:
    """Two Outputs: n fires in every step, m never; the class of the result is that of the Output named."""
    nodes = {"in": graphs.entry(2), "n": graphs.lif(2), "m": graphs.lif(2, v_threshold=9.0)}
    nodes |= {"o": graphs.result(2), "p": graphs.result(2)}
    edges = [("in", "n"), ("in", "m"), ("n", "o"), ("m", "p")]
    write_nir(graphs.graph(nodes, edges), tmp_path / "two.nir")
    np.save(tmp_path / "clip.npy", np.full((4, 2), 3, dtype=np.float32))
    common = ("--nir", tmp_path / "two.nir", "--clip", tmp_path / "clip.npy", "--stop-after", "lower")
    assert run(*common, "--output", "p") == 0
    assert "the result is read at p; other Outputs: o" in capsys.readouterr().out
    assert run(*common, "--output", "q") == 2
    assert "the result is to be read at q; allowed: o, p" in capsys.readouterr().err
    with pytest.raises(InputError, match="--output is for --nir"):
        Request(result="p")


# How much it may take


def test_a_network_of_too_many_cores_is_refused_before_the_long_work(tmp_path: Path, capsys: Capture) -> None:
    """9000 neurons: three cores of 4096. Nothing is left behind."""
    nodes = {
        "input": graphs.entry(4),
        "fc": nir.Linear(np.ones((9000, 4))),
        "out": graphs.lif(9000),
        "output": graphs.result(9000),
    }
    nir.write(str(tmp_path / "wide.nir"), nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
    np.save(tmp_path / "clip.npy", np.ones((6, 4), np.float32))
    network = ["--nir", tmp_path / "wide.nir", "--dt", 1e-3, "--clip", tmp_path / "clip.npy", "--backend", "integer"]
    assert run(*network, "--max-cores", 2, "--out", tmp_path / "out") == 2
    printed = capsys.readouterr()
    assert "--max-cores 2: the network has 9,000 neurons, at least 3 cores of Intel Loihi 2" in printed.err
    assert "quantised" not in printed.out
    assert not (tmp_path / "out").exists()
    assert run(*network, "--max-cores", 3, "--estimate", "--out", tmp_path / "out") == 0


# What contradicts itself


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clips": ["a.avi"], "dataset": DATA}, "--clip and --dataset are both given; choose one"),
        ({"limit": 3}, "--limit 3; allowed: 1 or more, together with --dataset"),
        ({"limit": 0, "dataset": DATA}, "--limit 0; allowed: 1 or more"),
        ({"dt_s": 1e-3}, "--dt is for --nir, the shipped network says its time step; leave it out"),
        ({"dt_s": -1.0, "nir": "a.nir"}, "--dt -1.0; allowed: a positive number of seconds"),
        ({"events_by": "time"}, "--events-by is given without recordings of events; leave it out"),
        ({"views": (0, 3)}, "--views 0x3; allowed: temporal x spatial counts from 1"),
        ({"weight_bits": 9}, "--weight-bits 9; allowed: 2 to 8"),
        ({"processes": 0}, "--processes 0; allowed: 1 or more"),
        ({"max_cores": 0}, "--max-cores 0; allowed: 1 or more"),
        ({"fps": 0.0}, "--fps 0.0; allowed: a positive number of frames a second"),
        ({"place": "row"}, "--place row; allowed: pixel, channel"),
        ({"timeout_s": 0.0}, "--timeout 0.0; allowed: a positive number of seconds"),
        ({"backend": "gpu"}, "--backend gpu; allowed: lava, integer, torch, loihi2"),
        ({"blocks": "toy"}, "--blocks toy; allowed: fused, stock"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "--workers and --scheduler are both given; choose one"),
        ({"scheduler": ""}, "--scheduler '': allowed: the address of a dask scheduler"),
        ({"workers": 2, "estimate": True}, "--workers is for runs on Lava or the integers; leave it out"),
        ({"resume": True, "backend": "loihi2"}, "--resume is for runs on Lava or the integers; leave it out"),
    ],
)
def test_what_contradicts_itself_is_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Request(**fields)


def test_every_kind_of_run_has_a_folder_of_its_own() -> None:
    assert [Request().folder, Request(estimate=True).folder] == [DEMO, ESTIMATE]
    assert Request(clips=["a.avi"]).folder == Path("runs/clips")
    assert Request(dataset=DATA).folder == Path("runs/procedural")
    assert Request(dataset=DATA, out="runs/mine").folder == Path("runs/mine")


def test_what_takes_seconds_is_replaced_where_nobody_named_the_folder() -> None:
    assert Request().replaces
    assert Request(estimate=True).replaces
    assert not Request(out="runs/demo").replaces
    assert not Request(clips=["a.avi"]).replaces
    assert not Request(dataset=DATA).replaces
    assert Request(dataset=DATA, force=True).replaces


# Which clips


def clips_of(labels: str) -> list[ClipSource]:
    return [ClipSource(path=Path(f"{place}.avi"), label=label) for place, label in enumerate(labels)]


def places(labels: str, count: int) -> list[int]:
    return [int(clip.path.stem) for clip in spread(clips_of(labels), count)]


def test_a_limit_takes_clips_of_all_classes() -> None:
    """By class the list aaaabbbbcccc is 0 .. 11; of N clips the i-th is at place 12 i / N."""
    assert places("aaaabbbbcccc", 3) == [0, 4, 8]
    assert places("aaaabbbbcccc", 6) == [0, 2, 4, 6, 8, 10]
    assert places("aaaabbbbcccc", 2) == [0, 6]
    assert places("aaaabbbbcccc", 5) == [0, 2, 4, 7, 9]
    assert places("aaaabbbbcccc", 99) == list(range(12))


def test_a_limit_takes_clips_of_all_classes_whatever_their_order() -> None:
    """Every third clip of abcabcabcabc would be an a. By class: a is 0 3 6 9, b 1 4 7 10, c 2 5 8 11."""
    assert places("abcabcabcabc", 3) == [0, 1, 2]
    assert places("abcabcabcabc", 4) == [0, 5, 7, 9]  # places 0, 3, 6 and 9 by class


def test_a_larger_class_has_a_larger_share() -> None:
    chosen = [clip.label for clip in spread(clips_of("aaaaaaaabb"), 5)]
    assert chosen == ["a", "a", "a", "a", "b"]


# What a run leaves


def test_a_request_from_python_gives_the_report_of_the_command(small_run: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    outcome = deploy.run(small(small_run, tmp_path / "python"), lines.append)
    assert run(*words(small(small_run, tmp_path / "command"))) == 0
    written = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("python", "command")]
    assert without_times(written[0]) == without_times(written[1])
    assert json.loads(json.dumps(outcome.report.plain())) == written[0]
    assert outcome.page == tmp_path / "python" / "report.html"
    assert outcome.page.is_file()
    assert outcome.tally is not None
    assert [clip.source.path.name for clip in outcome.tally.clips] == ["00.npy", "01.npy", "02.npy"]
    assert lines[0].startswith("lowered: ")


def test_a_report_is_not_replaced_unasked(small_run: Path, tmp_path: Path, capsys: Capture) -> None:
    request = small(small_run, tmp_path)
    assert run(*words(request)) == 0
    first = (tmp_path / "report.json").read_bytes()
    capsys.readouterr()
    for more in ((), ("--estimate",)):
        assert run(*words(request, *more)) == 2
        assert "report.json: exists; choose another --out, or --force to overwrite it" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_bytes() == first
    assert run(*words(request, "--weight-bits", 4, "--force")) == 0
    assert json.loads((tmp_path / "report.json").read_text())["network"]["weight_bits"] == 4
    assert run(*words(request, "--estimate", "--force")) == 0
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == ["report.html", "report.json"], "what another run left would lie beside it"
    assert "Estimate" in (tmp_path / "report.html").read_text("utf-8"), "the page is that of the run before"


def test_a_stopped_run_is_given_up_with_force_alone(tmp_path: Path) -> None:
    (tmp_path / "part-000000.npz").write_bytes(b"what was done")
    with pytest.raises(InputError, match=r"has done \(1 file\); go on with --resume, choose another --out, or start"):
        ResultFolder(tmp_path)
    assert ResultFolder(tmp_path, force=True).clips == 0
    assert list(tmp_path.iterdir()), "nothing is removed before the new run has begun"


# What cannot be run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "folder", "--root", "nowhere"], "nowhere: no such folder"),
        (["--dataset", "folder", "--root", "empty"], "empty: no videos to train on"),
        (["--nir", "nowhere.nir", "--dataset", "procedural"], "nowhere.nir: no such file"),
        (["--clip", "broken.npy"], "broken.npy: not a readable .npy file"),
        (["--chip", "broken.npy"], "broken.npy"),
        (["--merge", "abacus"], "--merge abacus; allowed: always, never, or a chip with energy"),
        (["--reference", "nowhere.h5"], "nowhere.h5: no such recording"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler tcp://127.0.0.1:1: no dask scheduler answers there"),
        (["--resume"], "parts: nothing to resume; start without --resume"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_long_work_and_leaves_nothing(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Before the shipped network is exported, and before clips are generated."""
    monkeypatch.setattr("deploy.preparation.shipped_network", lambda entries: pytest.fail("work was begun"))
    monkeypatch.setattr("svformer.data.catalogue.generate", lambda *_, **__: pytest.fail("clips were generated"))
    impatient = functools.partial(cluster.workers_of, patience=cluster.Patience(connect_s=1))
    monkeypatch.setattr(cluster, "workers_of", impatient)
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken.npy").write_bytes(b"no array")
    assert run(*options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_clips_that_do_not_fit_leave_nothing(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The shipped network, which has to be read first, is not written."""
    graph = deploy.read_nir(small_run / "small.nir")
    graph.metadata |= {"dt": 1e-3, "T": 6}
    check = ExportCheck(spikes_compared=1, ties=0, logit_error=0.0)
    shipped = ShippedNetwork(graph=graph, check=check, earlier=False)
    monkeypatch.setattr("deploy.preparation.shipped_network", lambda entries: shipped)
    np.save(tmp_path / "other.npy", np.zeros((6, 5)))
    assert run("--clip", tmp_path / "other.npy", "--out", tmp_path / "out") == 2
    assert "other.npy: shape [6, 5], this graph takes [T, 4] (T, input shape)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_clip_of_another_shape_does_not_choose_the_time_steps(
    small_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The graph has no T; with the axes in another order the first of them is no number of time steps."""
    np.save(tmp_path / "turned.npy", np.zeros((4, 6)))
    network = ("--nir", small_run / "small.nir", "--dt", 1e-3)
    assert run(*network, "--clip", tmp_path / "turned.npy", "--out", tmp_path / "out") == 2
    assert "turned.npy: shape [4, 6], this graph takes [T, 4] (T, input shape)" in capsys.readouterr().err


# The documentation


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / "your_own.md").read_text("utf-8"), re.DOTALL)


def test_the_examples_for_python_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they name: videos in folders of two classes, and a network that tells these apart."""
    for number, clip in itertools.product(range(2), sorted(DEMO_CLIPS.rglob("*.avi"))[:2]):
        for part in ("train", "test"):
            folder = tmp_path / "my_videos" / part / clip.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, folder / f"{number}.avi")
    torch.manual_seed(0)
    config = SVFormerConfig(
        num_classes=2, image_size=32, frames=4, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
    )
    classes = sorted(folder.name for folder in (tmp_path / "my_videos" / "test").iterdir())
    save_checkpoint(SVFormer(config).eval(), tmp_path / "mine.safetensors", {"classes": json.dumps(classes)})
    write_nir(export_checkpoint(tmp_path / "mine.safetensors")[1], tmp_path / "runs" / "mine.nir")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {name: np.ones((1, 3, 4), dtype=np.uint8) for name in ("spikes_in", "spikes_1", "spikes_2")}
    assert len(examples()) == 3
    for example in examples():
        exec(compile(example, "docs/your_own.md", "exec"), names)  # noqa: S102 (our own documentation)
    assert names["clip_TCHW"].shape == (16, 3, 64, 64)
    assert names["data"].classes == tuple(classes)
    assert len(names["outcome"].report.clips) == 2
    assert {clip.label for clip in names["outcome"].report.clips} == set(classes)
    assert Path("runs/python/report.html").is_file()
    recorded = nir.read_data("run.h5").nodes["lif1"].observables["spikes"]
    assert (recorded.data.shape, recorded.dt) == ((1, 3, 4), 1e-4)


def test_a_network_without_an_output_is_refused(tmp_path: Path, capsys: Capture) -> None:
    nodes = {"input": nir.Input(input_type={"input": np.array([4])}), "linear": nir.Linear(np.ones((2, 4)))}
    nir.write(tmp_path / "open.nir", nir.NIRGraph(nodes, [("input", "linear")], type_check=False))
    np.save(tmp_path / "clip.npy", np.zeros((6, 4)))
    words = ("--nir", tmp_path / "open.nir", "--dt", 1e-3, "--clip", tmp_path / "clip.npy", "--out", tmp_path / "out")
    assert run(*words) == 2
    assert "no Output node" in capsys.readouterr().err
