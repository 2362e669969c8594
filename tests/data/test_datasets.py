"""What all data sets share: options of the command line, files that cannot be read, and the look-alike of UCF101."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import svformer
from deploy import run_lava
from deploy.clips.files import from_files, with_views
from deploy.clips.read import batches
from deploy.clips.source import ClipSource, InputFormat
from deploy.frontend.export import export_checkpoint
from deploy.ir.graph import write_nir
from svformer import evaluate, train
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.config import PRESETS, SVFormerConfig
from svformer.data import lookalike
from svformer.data.arguments import add_dataset_arguments, optional_dataset
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.clips import Sampling
from svformer.data.procedural import generate
from svformer.data.synthetic import lookalikes
from svformer.data.ucf101 import Ucf101
from svformer.training.recipe import RECIPES
from svformer.training.samples import Key, Samples

TINY = SVFormerConfig(
    num_classes=2, image_size=32, frames=4, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
)
SHORT = Sampling(frames=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 clips in each part."""
    return lookalikes.ucf101(tmp_path_factory.mktemp("ucf101"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "data")


def spoil(data: Ucf101, *indices: int) -> list[str]:
    """Make these files unreadable; returns their names."""
    for index in indices:
        data.entries[index].path.write_bytes(b"no video")
    return [data.entries[index].path.name for index in indices]


# Options


def parse(*options: str) -> DatasetChoice | None:
    parser = ArgumentParser()
    add_dataset_arguments(parser, default=None)
    return optional_dataset(parser.parse_args(options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root", "x"], "--root is given without --dataset"),
        (["--dataset", "ntu60"], "--dataset ntu60 needs --root"),
        (["--dataset", "folder"], "--dataset folder needs --root"),
        (
            ["--dataset", "ucf101", "--root", "x", "--split", "4"],
            "--split 4: ucf101 has no such split; allowed: 1, 2, 3",
        ),
        (["--dataset", "ntu60", "--root", "x", "--split", "1"], "ntu60 has no such split; allowed: xsub, xview"),
        (["--dataset", "dvs128", "--root", "x", "--split", "1"], "dvs128 has no such split; leave it out"),
        (["--dataset", "folder", "--root", "x", "--split", "1"], "folder has no such split; leave it out"),
        (["--split", "1"], "a clip has no such split; leave it out"),
        (["--dataset", "ucf101", "--root", "x", "--download"], "--download is for --dataset dvs128 only"),
        (
            ["--dataset", "ntu60", "--root", "x", "--events-by", "time"],
            "--events-by is for events, and ntu60 holds videos",
        ),
        (["--dataset", "procedural", "--max-unreadable", "1.5"], "--max-unreadable 1.5; allowed: a share from 0 to 1"),
        (["--dataset", "imagenet"], "invalid choice: 'imagenet'"),
        (["--events-by", "colour"], "invalid choice: 'colour'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(*options)


def test_splits_are_those_of_the_data_set(whole: Path) -> None:
    def names(*options: str) -> list[str]:
        choice = parse("--dataset", "ucf101", "--root", str(whole), *options)
        assert choice is not None
        return [entry.name for entry in open_dataset(choice, size=32, frames=4, train=False).entries]

    first = [entry.name for entry in Ucf101(whole, train=False).entries]
    assert names() == names("--split", "1") == first
    assert names("--split", "2") == [entry.name for entry in Ucf101(whole, split=2, train=False).entries] != first


def test_options_become_a_choice() -> None:
    assert parse() is None
    assert parse("--events-by", "time") is None  # of clips
    assert parse("--dataset", "procedural") == DatasetChoice()
    options = ("--dataset", "dvs128", "--root", "x", "--events-by", "time", "--download", "--max-unreadable", "0.5")
    expected = {"name": "dvs128", "root": Path("x"), "events_by": "time", "download": True, "max_unreadable": 0.5}
    assert parse(*options) == DatasetChoice(**expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "imagenet"}, "--dataset imagenet: no such data set; allowed: procedural, procedural_hard, ucf101"),
        ({"name": "folder"}, "--dataset folder needs --root, the folder that holds its files"),
        ({"name": "ntu60", "root": "x", "split": 1}, "--split 1: ntu60 has no such split; allowed: xsub, xview"),
        ({"max_unreadable": -0.1}, "--max-unreadable -0.1; allowed: a share from 0 to 1"),
        ({"download": True}, "--download is for --dataset dvs128 only; leave it out"),
    ],
)
def test_a_notebook_is_refused_in_the_words_of_the_command_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        DatasetChoice(**fields)


def test_a_notebook_opens_a_data_set_in_three_lines(whole: Path) -> None:
    choice = svformer.DatasetChoice(name="ucf101", root=str(whole), split=1)
    data = svformer.open_dataset(choice, size=32, frames=4, train=True)
    assert len(data) == 12
    assert data[0][0].shape == (4, 3, 32, 32)


# Files that cannot be read


def test_a_held_out_file_that_cannot_be_read_is_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Ucf101(root, train=False, size=16, sampling=SHORT, max_unreadable=0.2)
    (name,) = spoil(data, 3)
    for _ in range(2):
        labels = [label for _, batch in DataLoader(data, batch_size=5) for label in batch.tolist()]
        assert labels == [entry.label for index, entry in enumerate(data.entries) if index != 3]
    assert data.unreadable.count == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("left out: ")
    assert f"{name}: not a readable video" in error
    with pytest.raises(InputError, match=name):
        data[3]


@pytest.mark.parametrize("cache", [False, True])
def test_of_a_training_file_that_cannot_be_read_the_next_takes_the_place(root: Path, cache: bool) -> None:
    spoil(Ucf101(root, train=True), 3, 4, 11)
    data = Ucf101(root, train=True, size=16, sampling=SHORT, max_unreadable=0.25, cache=cache)
    labels = [label for _, batch in DataLoader(data, batch_size=5) for label in batch.tolist()]
    expected = [entry.label for entry in data.entries]
    expected[3] = expected[4] = expected[5]
    expected[11] = expected[0]
    assert labels == expected
    assert data.unreadable.count == 3
    assert str(data.unreadable) == "3 of 12 files cannot be read"


@pytest.mark.parametrize("part", [True, False])
def test_too_many_files_that_cannot_be_read_fail_the_run(root: Path, part: bool) -> None:
    data = Ucf101(root, train=part, size=16, sampling=SHORT, max_unreadable=0.1)
    first, second = spoil(data, 2, 7)
    with pytest.raises(InputError, match=rf"^2 of 12 files cannot be read, more than the 10 % .*{second}") as refusal:
        list(DataLoader(data, batch_size=4))
    assert "--max-unreadable" in str(refusal.value)
    assert first not in str(refusal.value)


def test_without_an_allowance_the_first_fails_the_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Ucf101(root, train=False, size=16, sampling=SHORT, max_unreadable=0)
    (name,) = spoil(data, 2)
    with pytest.raises(InputError, match=rf"{name}: not a readable video"):
        list(DataLoader(data, batch_size=4))
    assert capsys.readouterr().err == ""


def test_nothing_readable_is_no_data_set_whatever_is_allowed(root: Path) -> None:
    data = Ucf101(root, train=True, size=16, sampling=SHORT, max_unreadable=1)
    spoil(data, *range(12))
    with pytest.raises(InputError, match="12 of 12 files cannot be read"):
        data[0]


@pytest.mark.parametrize("allowed", [0.1, 0])
def test_what_fails_in_a_worker_is_one_line(root: Path, allowed: float) -> None:
    data = Ucf101(root, train=False, size=16, sampling=SHORT, max_unreadable=allowed)
    spoil(data, 1, 10)
    with pytest.raises(InputError) as refusal:
        list(DataLoader(data, batch_size=4, num_workers=1))
    assert "\n" not in str(refusal.value)
    assert "Traceback" not in str(refusal.value)
    assert "not a readable video" in str(refusal.value)
    assert str(refusal.value).startswith("2 of 12 files" if allowed else str(data.entries[1].path))


def test_a_batch_without_any_readable_file_is_refused(root: Path) -> None:
    data = Ucf101(root, train=False, size=16, sampling=SHORT, max_unreadable=0.2)
    spoil(data, 3)
    with pytest.raises(InputError, match="none of the 1 files of a batch can be read; choose larger batches"):
        list(DataLoader(data, batch_size=1))


def test_loader_workers_count_together(root: Path) -> None:
    data = Ucf101(root, train=False, size=16, sampling=SHORT, max_unreadable=0.2)
    spoil(data, 1, 10)
    batches = list(DataLoader(data, batch_size=2, num_workers=2))
    assert [len(labels) for _, labels in batches] == [1, 2, 2, 2, 2, 1]
    assert data.unreadable.count == 2


SMALL = InputFormat(frames=2, shape=(3, 16, 16))


def deployed(data: Ucf101) -> list[ClipSource]:
    """The clips of a data set as deploy/clips/choose.py lists them."""
    return [
        ClipSource(path=entry.path, label=None, entry=entry, leave_out=functools.partial(data.unreadable.add, index))
        for index, entry in enumerate(data.entries)
    ]


def test_a_deployment_goes_without_them_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Ucf101(root, train=False, max_unreadable=0.5)
    spoil(data, 0, 1, 2, 7)
    parts = list(batches(deployed(data), SMALL, 3))
    assert [len(part) for part, _ in parts] == [3, 2, 3]  # of the first three none is left
    assert all(frames.shape == (len(part), 2, 3, 16, 16) for part, frames in parts)
    assert [source.path for part, _ in parts for source in part] == [
        entry.path for index, entry in enumerate(data.entries) if index not in (0, 1, 2, 7)
    ]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["left out"] * 4
    assert lines[4:] == ["4 of 12 clips cannot be read and are left out"]
    assert data.unreadable.count == 4


def test_what_is_allowed_is_a_share_of_the_data_set_not_of_what_is_run(root: Path) -> None:
    data = Ucf101(root, train=False, max_unreadable=0.2)
    spoil(data, 0, 1, 2)
    parts = list(batches(deployed(data)[1:3:2] + deployed(data)[5:6], SMALL, 3))
    assert [len(part) for part, _ in parts] == [1]
    with pytest.raises(InputError, match="1 of 1 clips cannot be read; nothing is left to run"):
        list(batches(deployed(data)[:1], SMALL, 3))
    with pytest.raises(InputError, match="3 of 12 files cannot be read, more than the 20 %"):
        list(batches(deployed(data), SMALL, 3))


def test_a_clip_that_stands_for_itself_is_never_left_out(root: Path) -> None:
    data = Ucf101(root, train=False)
    spoil(data, 1)
    with pytest.raises(InputError, match=f"^{data.entries[1].path}: not a readable video"):
        list(batches(from_files([entry.path for entry in data.entries]), SMALL, 3))


def test_all_views_of_a_file_are_one_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Ucf101(root, train=False, max_unreadable=0.1)
    spoil(data, 5)
    parts = list(batches(with_views(deployed(data), 3, 1), SMALL, 36))
    assert [len(part) for part, _ in parts] == [33]
    assert capsys.readouterr().err.count("left out: ") == 1


# The command line tools


def run(tool: object, *arguments: object) -> int:
    return run_cli(tool.main, [*map(str, arguments)])  # type: ignore[attr-defined]


def test_train_evaluate_and_deploy_the_look_alike_with_a_file_that_cannot_be_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    for part in (True, False):
        spoil(Ucf101(root, train=part), 4)
    data, allow = ("--dataset", "ucf101", "--root", root), ("--max-unreadable", 0.1)
    training = (*data, "--epochs", 2, "--batch-size", 2, "--out", tmp_path)
    assert run(train, *training) == 2
    assert "1 of 12 files cannot be read, more than the 1 % that are allowed" in capsys.readouterr().err
    assert run(train, *training, *allow) == 0
    printed = capsys.readouterr()
    assert "on 11 held-out clips" in printed.out
    assert printed.err.count("left out: ") == 2
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert run(evaluate, "--checkpoint", checkpoint, *data) == 2
    assert run(evaluate, "--checkpoint", checkpoint, *data, *allow) == 0
    assert "on 11 held-out clips" in capsys.readouterr().out
    _, graph = export_checkpoint(checkpoint)
    write_nir(graph, tmp_path / "model.nir")
    deployment = (*data, "--nir", tmp_path / "model.nir", "--backend", "integer", "--json", "--out", tmp_path / "lava")
    assert run(run_lava, *deployment) == 2
    assert run(run_lava, *deployment, *allow) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["clips"]) == 11
    assert "1 of 12 clips cannot be read and are left out" in printed.err


@pytest.mark.parametrize("dataset", ["ucf101", "ntu60", "dvs128"])
def test_the_command_writes_look_alikes(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    monkeypatch.setitem(lookalikes.WRITERS, dataset, lambda out, seed: written.append((out, seed)) or out)
    assert run(lookalike, dataset, tmp_path, "--seed", 3) == 0
    assert written == [(tmp_path, 3)]
    assert capsys.readouterr().out.strip() == str(tmp_path)
    assert run(lookalike, "imagenet", tmp_path) == 2


def test_a_training_clip_is_drawn_alike_whoever_takes_its_place(root: Path) -> None:
    """The view follows from (seed, epoch, index) of what was asked for."""
    data = Ucf101(root, train=True, size=16, sampling=SHORT, max_unreadable=0.2)
    spoil(data, 6)
    assert torch.equal(data[6][0], data[6][0])
    assert not torch.equal(data[6][0], data[7][0])


def test_an_augmentation_that_crops_sees_whole_pictures(tmp_path: Path) -> None:
    """Random resized crop chooses from all of a 96 x 72 picture, not from a square of it."""
    root = generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    data = Ucf101(root, train=True, size=36, sampling=Sampling(frames=4))
    assert data[0][0].shape == (4, 3, 36, 36)
    samples = Samples(data, dataclasses.replace(RECIPES["ucf101"], repeats=2), size=32)
    assert data[0][0].shape == (4, 3, 36, 48)
    assert samples[Key(0, 0)][0].shape == (2, 4, 3, 32, 32)
    Samples(data, RECIPES["tiny"], size=36)
    assert data[0][0].shape == (4, 3, 36, 36)
