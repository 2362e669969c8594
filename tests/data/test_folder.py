"""Any folder of videos: the two layouts, the split by hash, and what is refused."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from deploy import run_lava
from deploy.frontend.export import export_checkpoint
from deploy.ir.graph import write_nir
from svformer import SVFormer, SVFormerConfig
from svformer.assets import DEMO_CLIPS
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.data.folder import VideoFolder, folder_parts, is_test_clip, say_split
from svformer.networks.checkpoint import save_checkpoint


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(root: Path, *, train: bool) -> list[str]:
    return [entry.name for entry in VideoFolder(root, train=train).entries]


@pytest.mark.parametrize("test_folder", ["test", "val"])
def test_parts_that_are_there_are_taken(tmp_path: Path, test_folder: str) -> None:
    touch(tmp_path, ["train/run/b.mp4", "train/jump/a.avi", "train/run/a.MKV", f"{test_folder}/run/c.webm"])
    training, test = VideoFolder(tmp_path, train=True), VideoFolder(tmp_path, train=False)
    assert training.parts.given
    assert training.classes == test.classes == ("jump", "run")
    assert [(entry.name, entry.label) for entry in training.entries] == [
        ("jump/a.avi", 0),
        ("run/a.MKV", 1),
        ("run/b.mp4", 1),
    ]
    assert [(entry.name, entry.label) for entry in test.entries] == [("run/c.webm", 1)]


def test_classes_without_a_clip_to_test_with_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The accuracy would be taken for that of all classes."""
    touch(tmp_path, ["train/run/a.mp4", "train/jump/a.mp4", "train/sit/a.mp4", "test/run/b.mp4", "test/sit/b.txt"])
    say_split(tmp_path, folder_parts(tmp_path))
    expected = f"{tmp_path}: no clips of jump, sit to test with: accuracy is of the others\n"
    assert capsys.readouterr().err == expected
    touch(tmp_path, ["test/jump/b.mp4", "test/sit/b.mp4"])
    say_split(tmp_path, folder_parts(tmp_path))
    assert capsys.readouterr().err == ""


def test_without_parts_a_hash_decides_and_nothing_moves(tmp_path: Path) -> None:
    """sha256("run/4.mp4") is a multiple of 5, sha256("run/0.mp4") is not."""
    assert is_test_clip(Path("anywhere/run/4.mp4"))
    assert not is_test_clip(Path("elsewhere/run/0.mp4"))
    touch(tmp_path, (f"run/{i}.mp4" for i in range(200)))
    before = {part: names(tmp_path, train=part) for part in (True, False)}
    assert not VideoFolder(tmp_path, train=True).parts.given
    assert sorted(before[True] + before[False]) == sorted(f"run/{i}.mp4" for i in range(200))
    assert 20 <= len(before[False]) <= 60  # a fifth of 200 is 40
    touch(tmp_path, (f"run/{i}.mp4" for i in range(200, 300)))
    for part in (True, False):
        assert set(before[part]) <= set(names(tmp_path, train=part))


def test_other_files_are_no_clips(tmp_path: Path) -> None:
    touch(tmp_path, ["train/run/a.mp4", "train/run/notes.txt", "train/run/.hidden.mp4", "train/list.mp4"])
    touch(tmp_path, ["test/run/a.mp4", "test/run/deeper/b.mp4"])
    assert names(tmp_path, train=True) == names(tmp_path, train=False) == ["run/a.mp4"]


def test_what_gives_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder; expected train/CLASS"):
        VideoFolder(tmp_path / "nowhere", train=True)
    with pytest.raises(InputError, match="no videos to train on; expected"):
        VideoFolder(touch(tmp_path / "empty", ["readme.txt"]), train=True)
    with pytest.raises(InputError, match="no videos to test with; expected"):
        VideoFolder(touch(tmp_path / "untested", ["train/run/a.mp4", "test/readme.txt"]), train=True)
    with pytest.raises(InputError, match="test clips of jump, but none to train on"):
        VideoFolder(touch(tmp_path / "untrained", ["train/run/a.mp4", "test/run/b.mp4", "test/jump/a.mp4"]), train=True)
    with pytest.raises(InputError, match="no videos to train on; expected"):
        VideoFolder(touch(tmp_path / "half", ["train/run/a.mp4"]), train=True)


def test_a_network_that_was_not_trained_on_a_folder_is_shown_all_of_it(tmp_path: Path) -> None:
    """Without train/ and test/ nothing is held out from it; with them they are as given."""
    touch(tmp_path, ["whole/1/a.npy", "whole/0/a.npy", "whole/0/b.aedat", "whole/0/notes.txt"])
    suffixes = {".npy", ".aedat"}
    found = folder_parts(tmp_path / "whole", suffixes=suffixes, trained=False)
    expected = ["0/a.npy", "0/b.aedat", "1/a.npy"]
    for train in (True, False):
        assert [path.relative_to(tmp_path / "whole").as_posix() for path in found.part(train=train)] == expected
    touch(tmp_path, ["parts/train/0/a.npy", "parts/test/1/a.npy"])
    found = folder_parts(tmp_path / "parts", suffixes=suffixes, trained=False)
    assert [path.parent.name for path in found.test] == ["1"]
    with pytest.raises(InputError, match="test clips of 1, but none to train on"):
        folder_parts(tmp_path / "parts", suffixes=suffixes)
    with pytest.raises(InputError, match="no clips to train on; expected"):
        folder_parts(touch(tmp_path / "none", ["0/notes.txt"]), suffixes=suffixes, trained=False)


def test_a_folder_is_deployed_and_the_split_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of Bob/0.avi to 16.avi and DownhillSway/0.avi to 16.avi, five test: Bob/16, DownhillSway/2, 4, 12 and 14."""
    clips = sorted(DEMO_CLIPS.rglob("*.avi"))[:2]
    for clip in clips:
        (tmp_path / "clips" / clip.parent.name).mkdir(parents=True)
        for number in range(17):
            shutil.copy(clip, tmp_path / "clips" / clip.parent.name / f"{number}.avi")
    _, graph = export_checkpoint(untrained(tmp_path / "checkpoint.safetensors", ["Bob", "DownhillSway"]))
    write_nir(graph, tmp_path / "model.nir")
    options = ["--nir", tmp_path / "model.nir", "--backend", "integer", "--json", "--out", tmp_path / "out"]
    data = ["--dataset", "folder", "--root", tmp_path / "clips"]
    assert run_cli(run_lava.main, [*map(str, [*options, *data])]) == 0
    printed = capsys.readouterr()
    assert "5 clips, about one in 5, test; the hash of their names chose them" in printed.err
    found = json.loads(printed.out)["clips"]
    assert [(clip["label"], clip["source"]) for clip in found] == [
        ("Bob", "Bob/16.avi"),
        *(("DownhillSway", f"DownhillSway/{number}.avi") for number in (12, 14, 2, 4)),
    ]


def untrained(path: Path, classes: list[str]) -> Path:
    torch.manual_seed(0)
    config = SVFormerConfig(
        num_classes=2, image_size=32, frames=4, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
    )
    save_checkpoint(SVFormer(config).eval(), path, {"classes": json.dumps(classes)})
    return path
