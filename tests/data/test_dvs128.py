"""DVS128 Gesture: both layouts, what is refused, and the look-alike through every command."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tonic.datasets import DVSGesture

from deploy import run_lava
from deploy.clips.read import example_clips
from deploy.clips.source import InputFormat
from deploy.frontend.export import export_checkpoint
from deploy.gates.export import check_export
from deploy.ir.graph import write_nir
from svformer import evaluate, train
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.config import PRESETS, SVFormerConfig
from svformer.data.clips import Sampling
from svformer.data.dvs128 import CLASSES, Dvs128, shifted
from svformer.data.event_files import read_events
from svformer.data.synthetic import lookalikes

TINY = SVFormerConfig(
    num_classes=2, in_channels=2, image_size=32, frames=4, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two users in each part, in all five lights: the 110 files a part that tonic wants to see."""
    return lookalikes.dvs128(tmp_path_factory.mktemp("dvs128"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One user in each part in two lights, 22 recordings a part."""
    return lookalikes.dvs128(tmp_path_factory.mktemp("small"), users=1, lights=("lab", "led"))


def test_the_look_alike_is_tonics_to_tonic(root: Path) -> None:
    """Its class lists the files without downloading, and hands out the same events and labels."""
    assert tuple(DVSGesture.classes) == CLASSES
    for part in (True, False):
        theirs, ours = DVSGesture(save_to=str(root), train=part), Dvs128(root, train=part)
        assert sorted(theirs.data) == sorted(str(entry.path) for entry in ours.entries)
        assert len(ours) == 110
        for number in range(0, 110, 17):
            events, label = theirs[number]
            entry = next(entry for entry in ours.entries if str(entry.path) == theirs.data[number])
            assert entry.label == label
            found = read_events(entry.path)
            assert all((found[name] == events[name]).all() for name in ("x", "y", "p", "t"))
    with tarfile.open(root / "DVSGesture" / "ibmGestureTest.tar.gz") as archive:
        assert sum(name.endswith(".npy") for name in archive.getnames()) == 110


@pytest.mark.parametrize("part", [True, False])
def test_both_forms_hold_the_same_recordings(small: Path, part: bool) -> None:
    tonics, ibms = Dvs128(small, train=part, size=64), Dvs128(small / "DvsGesture", train=part, size=64)
    assert {entry.path.suffix for entry in tonics.entries} == {".npy"}
    assert {entry.path.suffix for entry in ibms.entries} == {".aedat"}
    place = {entry.name: index for index, entry in enumerate(tonics.entries)}
    assert len({entry.name for entry in ibms.entries}) == len(ibms) == len(tonics) == 22
    for index, entry in enumerate(ibms.entries):
        other = place[f"{entry.path.stem}/{entry.label}.npy"]
        assert torch.equal(ibms.view(index), tonics.view(other))  # by count, so that tonic's milliseconds do not matter
    users = {int(entry.path.name[4:6]) for entry in ibms.entries}
    assert users == ({1} if part else {24})


def test_items_are_counts_and_training_moves_them(small: Path) -> None:
    sampling = Sampling(frames=8)
    test, training = (Dvs128(small, train=part, size=128, sampling=sampling, seed=3) for part in (False, True))
    clip, label = test[12]
    assert clip.shape == (8, 2, 128, 128)
    assert clip.dtype == torch.int16
    assert label == test.entries[12].label
    assert torch.equal(clip, test.view(12, start=0.0, crop=1.0))  # a recording has one view
    seen = set()
    for epoch in range(6):
        training.set_epoch(epoch)
        moved, still = training[5][0], training.view(5)
        assert torch.equal(moved, training[5][0])
        assert (moved.sum(dim=(2, 3)) <= still.sum(dim=(2, 3))).all()  # what leaves the picture is gone
        rows, columns = (still.sum(dim=axes).argmax() - moved.sum(dim=axes).argmax() for axes in ((0, 1, 3), (0, 1, 2)))
        assert max(abs(int(rows)), abs(int(columns))) <= 8  # 128 / 16
        seen.add((int(rows), int(columns)))
    assert len(seen) > 3


def test_frames_by_time_differ_from_frames_by_count(small: Path) -> None:
    by_count, by_time = (
        Dvs128(small, train=False, events_by=by).view(0).sum(dim=(1, 2, 3)) for by in ("count", "time")
    )
    assert by_count.unique().numel() == 1
    assert by_time.unique().numel() > 8
    assert abs(int(by_count.sum()) - int(by_time.sum())) <= 32


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("user24_lab_labels.csv", None, "missing; expected the labels of user24_lab.aedat"),
        ("user24_lab_labels.csv", "", 'begins with ""; expected "class,startTime_usec,endTime_usec"'),
        ("user24_lab_labels.csv", "1,2,3\n", 'begins with "1,2,3"'),
        ("user24_lab_labels.csv", "class,startTime_usec,endTime_usec\n12,1,2\n", 'line 2: "12,1,2"; expected a class'),
        ("user24_lab_labels.csv", "class,startTime_usec,endTime_usec\n1,1,2\n1,5,5\n", 'line 3: "1,5,5"'),
        ("user24_lab_labels.csv", "class,startTime_usec,endTime_usec\n1,one,2\n", 'line 2: "1,one,2"'),
        ("user24_lab_labels.csv", "class,startTime_usec,endTime_usec\n1,2\n", 'line 2: "1,2"'),
        (
            "trials_to_test.txt",
            "user24_lab.aedat\nuser29_led.aedat\n",
            "1 of the 2 recordings .* first user29_led.aedat",
        ),
        ("trials_to_test.txt", "\n", "no DVS128 Gesture"),
    ],
)
def test_spoilt_lists_are_refused_with_the_place(
    name: str, text: str | None, message: str, small: Path, tmp_path: Path
) -> None:
    for path in (small / "DvsGesture").glob("*24_lab*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "trials_to_test.txt").write_text("user24_lab.aedat\n\n")
    assert len(Dvs128(tmp_path, train=False)) == 11
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        Dvs128(tmp_path, train=False)
    assert "\n" not in str(refusal.value)


def test_files_under_other_names_are_refused(tmp_path: Path) -> None:
    for name in ("user24_led/11.npy", "someone/1.npy"):
        path = tmp_path / name / "DVSGesture" / "ibmGestureTest" / name
        path.parent.mkdir(parents=True)
        path.touch()
        with pytest.raises(InputError, match=r"expected userNN_LIGHT/K\.npy with K from 0 to 10"):
            Dvs128(tmp_path / name, train=False)


def test_nothing_is_downloaded_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(self: DVSGesture) -> None:
        asked.append((self.location_on_system, self.train))
        raise OSError("no route to host")

    monkeypatch.setattr(DVSGesture, "download", download)
    with pytest.raises(InputError, match=r"no DVS128 Gesture; expected DVSGesture/ibmGestureTrain/.* with --download"):
        Dvs128(tmp_path, train=True)
    assert asked == []
    with pytest.raises(InputError, match=r"tonic could not fetch DVS128 Gesture \(no route to host\)"):
        Dvs128(tmp_path, train=True, download=True)
    assert asked == [(str(tmp_path / "DVSGesture"), True)]


def test_what_tonic_fetched_is_read(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is there already is not fetched again, though tonic would for fewer than 100 files."""

    def download(self: DVSGesture) -> None:
        with tarfile.open(small / "DVSGesture" / self.filename) as archive:
            archive.extractall(self.location_on_system, filter="data")

    monkeypatch.setattr(DVSGesture, "download", download)
    assert len(Dvs128(tmp_path, train=False, download=True)) == 22
    monkeypatch.setattr(DVSGesture, "download", lambda self: pytest.fail("fetched again"))
    assert len(Dvs128(tmp_path, train=False, download=True)) == 22


def test_a_shift_moves_and_nothing_comes_in() -> None:
    clip = torch.arange(1, 10, dtype=torch.int16).reshape(1, 1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9
    assert shifted(clip, 1, 0).flatten().tolist() == [0, 1, 2, 0, 4, 5, 0, 7, 8]
    assert shifted(clip, -1, 2).flatten().tolist() == [0, 0, 0, 0, 0, 0, 2, 3, 0]
    assert torch.equal(shifted(clip, 0, 0), clip)


# The command line tools


def run(tool: object, *arguments: object) -> int:
    return run_cli(tool.main, [*map(str, arguments)])  # type: ignore[attr-defined]


@pytest.mark.lava
def test_train_evaluate_export_and_deploy_the_look_alike(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    data = ("--dataset", "dvs128", "--root", small / "DvsGesture")
    assert run(train, *data, "--epochs", 1, "--batch-size", 2, "--out", tmp_path) == 0
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert json.loads((tmp_path / "run.json").read_text())["classes"] == list(CLASSES)
    capsys.readouterr()
    assert run(evaluate, "--checkpoint", checkpoint, *data, "--events-by", "time") == 0
    assert "on 22 held-out clips" in capsys.readouterr().out

    network, out = tmp_path / "model.nir", tmp_path / "lava"
    model, graph = export_checkpoint(checkpoint)
    check_export(model, graph, example_clips(InputFormat(frames=4, shape=(2, 32, 32)), 2))
    write_nir(graph, network)
    options = ("--nir", network, "--json", "--out", out, "--timeout", 600)
    assert run(run_lava, *options, *data, "--limit", 12) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parity"]["integer_vs_lava"]["bit_exact"] is True
    assert report["accuracy"]["videos"] == 12  # segments of two files, each a clip of its own
    labels, sources = ([clip[key] for clip in report["clips"]] for key in ("label", "source"))
    assert sorted(labels) == sorted([*CLASSES, CLASSES[0]])  # 12 of 22 clips of 11 classes: all classes, one twice
    assert {source.partition("#")[0] for source in sources} == {"user24_lab.aedat", "user24_led.aedat"}
    assert sources[0].startswith("user24_lab.aedat#1@")

    events = tmp_path / "events.npy"
    np.save(events, read_events(small / "DVSGesture" / "ibmGestureTest" / "user24_lab" / "0.npy"))
    recording = small / "DvsGesture" / "user24_led.aedat"
    options = (*options, "--backend", "integer", "--force")
    assert run(run_lava, *options, "--clip", events, recording) == 0
    clips = json.loads(capsys.readouterr().out)["clips"]
    assert [(Path(clip["source"]).name, clip["label"]) for clip in clips] == [
        ("events.npy", None),
        ("user24_led.aedat", None),
    ]
    assert run(run_lava, *options, "--clip", events, "--views", "5x3") == 2
    assert "events.npy is a recording of events, which is one view as a whole" in capsys.readouterr().err
    assert run(run_lava, "--clip", events, "--out", tmp_path / "none") == 2
    assert "this graph takes [3, 64, 64], a recording of events gives [2, height, width]" in capsys.readouterr().err
    assert run(run_lava, "--nir", network, "--out", tmp_path / "none") == 2
    assert "give --clip FILE.npy of shape [T, 2, 32, 32], or a recording of events" in capsys.readouterr().err
