"""UCF101's official layout: entries, labels, repeatable random views, and lists that are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.clips import load_clip
from svformer.data.procedural import CLASSES, generate
from svformer.data.ucf101 import Ucf101, VideoEntry


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set: 12 classes, two groups (one tests), one clip each."""
    return generate(tmp_path_factory.mktemp("ucf101"), groups=2, clips_per_group=1, workers=1)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A layout of two classes without videos to read, whose lists the tests spoil."""
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\r\n2 Bowling\r\n\r\n")
    (lists / "trainlist01.txt").write_text("Bowling/v_Bowling_g08_c01.avi 2\r\nArchery/v_Archery_g08_c01.avi 1\r\n")
    (lists / "testlist01.txt").write_text("Bowling/v_Bowling_g01_c02.avi\n")
    for name in (
        "Bowling/v_Bowling_g08_c01.avi",
        "Archery/v_Archery_g08_c01.avi",
        "Bowling/v_Bowling_g01_c02.avi",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_labels_follow_class_ind_and_test_lists_need_no_number(tiny: Path) -> None:
    train = Ucf101(tiny, train=True)
    assert train.classes == ("Archery", "Bowling")
    name = "Bowling/v_Bowling_g08_c01.avi"
    assert train.entries[0] == VideoEntry(path=tiny / name, label=1, name=name)
    assert [entry.label for entry in train.entries] == [1, 0]
    assert [entry.label for entry in Ucf101(tiny, train=False).entries] == [1]


def test_videos_may_lie_under_ucf_101(root: Path, tmp_path: Path) -> None:
    assert Ucf101(root, train=False).entries[0].path.parent.parent == root / "UCF-101"
    shutil.copytree(root / "UCF-101", tmp_path, dirs_exist_ok=True)
    shutil.copytree(root / "ucfTrainTestlist", tmp_path / "ucfTrainTestlist")
    assert Ucf101(tmp_path, train=False).entries[0].path.parent.parent == tmp_path


def test_test_items_are_the_centre_view(root: Path) -> None:
    dataset = Ucf101(root, train=False, size=24)
    assert dataset.classes == CLASSES
    clip, label = dataset[3]
    assert clip.shape == (16, 3, 24, 24)
    assert clip.dtype == torch.uint8
    assert label == dataset.entries[3].label
    torch.testing.assert_close(clip, load_clip(dataset.entries[3].path, size=24, start=0.5, crop=0.5))


def test_training_views_repeat_with_the_seed_and_change_with_the_epoch(root: Path) -> None:
    first, second = (Ucf101(root, train=True, size=24, seed=7) for _ in range(2))
    assert torch.equal(first[0][0], second[0][0])
    second.set_epoch(1)
    assert not torch.equal(first[0][0], second[0][0])
    second.set_epoch(0)
    assert torch.equal(first[0][0], second[0][0])
    assert not torch.equal(first[0][0], Ucf101(root, train=True, size=24, seed=8)[0][0])


def test_a_cache_changes_no_item(root: Path) -> None:
    for train in (True, False):
        plain = Ucf101(root, train=train, size=24)
        cached = Ucf101(root, train=train, size=24, cache=True)
        for index in range(len(plain)):
            assert torch.equal(plain[index][0], cached[index][0])


def test_flip_mirrors_about_half_of_the_training_items_and_no_test_item(root: Path) -> None:
    plain = Ucf101(root, train=True, size=16, cache=True)
    flipped = Ucf101(root, train=True, size=16, cache=True, flip=True)
    mirrored = 0
    for epoch in range(10):
        plain.set_epoch(epoch)
        flipped.set_epoch(epoch)
        for index in range(len(plain)):
            was_mirrored = torch.equal(flipped[index][0], plain[index][0].flip(-1))
            assert was_mirrored or torch.equal(flipped[index][0], plain[index][0])
            mirrored += was_mirrored
    assert 40 <= mirrored <= 80  # of 120
    test = (Ucf101(root, train=False, size=16, flip=flip)[0][0] for flip in (False, True))
    assert torch.equal(*test)


def test_repeats_of_a_clip_are_cut_and_mirrored_each_on_its_own(root: Path) -> None:
    """The same pictures of the video, which is read once; the first is the item without repeats."""
    data = Ucf101(root, train=True, size=16, flip=True)
    read, mirrored = [], set()
    data.random_clip = lambda index, rng: read.append(index) or Ucf101.random_clip(data, index, rng)
    for index in range(len(data)):
        views, label = data.repeated(index, 3)
        assert label == data.entries[index].label
        rng = np.random.default_rng((data.seed, 0, index))
        whole_TCHW = data.view(index, rng.random(), None)
        squares = [whole_TCHW[..., left : left + 16] for left in range(whole_TCHW.shape[-1] - 15)]
        for number, view in enumerate(views):
            assert any(torch.equal(view, square) or torch.equal(view, square.flip(-1)) for square in squares)
            if any(torch.equal(view, square.flip(-1)) for square in squares):
                mirrored.add((index, number))
        assert torch.equal(views[0], data[index][0])
    assert read == [index for index in range(len(data)) for _ in range(2)]  # for the repeats, and for the item
    alone = {(index, number) for index, number in mirrored if not {(index, n) for n in range(3)} <= mirrored}
    assert len(alone) > 3  # of 12 clips with three coins each


def test_loader_workers_that_live_on_see_the_epoch(root: Path) -> None:
    dataset = Ucf101(root, train=True, size=16, cache=True)
    loader = DataLoader(dataset, batch_size=12, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        clips, labels = next(iter(loader))
        assert clips.shape == (12, 16, 3, 16, 16)
        assert labels.tolist() == [entry.label for entry in dataset.entries]
        assert torch.equal(clips[0], dataset[0][0])


def test_an_index_past_the_end_ends_iteration(root: Path) -> None:
    dataset = Ucf101(root, train=False)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def spoil(root: Path, name: str, text: str | None) -> None:
    path = root / "ucfTrainTestlist" / name
    path.unlink() if text is None else path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classInd.txt", None, r"classInd\.txt: missing"),
        ("classInd.txt", "", r"classInd\.txt: empty"),
        ("classInd.txt", "1 Archery\n3 Bowling\n", r'line 2: "3 Bowling"; expected "2 ClassName"'),
        ("classInd.txt", "1 Archery\n2 Archery\n", r"line 2: .* each name once"),
        ("classInd.txt", "Archery\n", r'line 1: "Archery"; expected "1 ClassName"'),
        ("trainlist01.txt", None, r"trainlist01\.txt: missing"),
        ("trainlist01.txt", "Bowling/v_Bowling_g08_c01.avi 1\n", r"line 1: .* its number"),
        ("trainlist01.txt", "Bowling/v_Bowling_g08_c01.avi two\n", r"line 1: .* its number"),
        ("trainlist01.txt", "\nCurling/v_Curling_g08_c01.avi 3\n", r"line 2: .* a class of classInd"),
        ("trainlist01.txt", "Bowling 2\n", r"line 1: .* expected"),
        (
            "trainlist01.txt",
            "Bowling/v_Bowling_g09_c01.avi 2\n",
            r"1 of its 1 videos .* first Bowling/v_Bowling_g09",
        ),
    ],
)
def test_spoilt_lists_are_refused_with_the_place(tiny: Path, name: str, text: str | None, message: str) -> None:
    spoil(tiny, name, text)
    with pytest.raises(InputError, match=message) as refusal:
        Ucf101(tiny, train=True)
    assert "\n" not in str(refusal.value)


def test_a_wrong_folder_or_split_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no UCF101 data set; expected ucfTrainTestlist/"):
        Ucf101(tmp_path / "elsewhere", train=True)
    with pytest.raises(InputError, match=r"split 4: .* allowed: 1, 2, 3"):
        Ucf101(tiny, split=4, train=True)
    with pytest.raises(InputError, match=r"trainlist02\.txt: missing"):
        Ucf101(tiny, split=2, train=True)


def test_classes_without_a_folder_are_left_out(tiny: Path) -> None:
    """The others count from 0; the lists name both."""
    shutil.rmtree(tiny / "Archery")
    train = Ucf101(tiny, train=True)
    assert train.classes == ("Bowling",)
    assert [(entry.name, entry.label) for entry in train.entries] == [("Bowling/v_Bowling_g08_c01.avi", 0)]


def test_a_part_of_the_published_classes_is_said(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    choice = DatasetChoice(name="ucf101", root=tiny)
    assert open_dataset(choice, size=8, frames=4, train=True).classes == ("Archery", "Bowling")
    assert capfd.readouterr().err == f"{tiny}: 2 of the 101 classes of ucf101 are there\n"


def test_files_in_no_list_are_counted(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tiny / "Bowling" / "v_Bowling_g99_c01.avi").touch()
    (tiny / "Archery" / "mine.mp4").touch()
    assert len(Ucf101(tiny, train=True)) == 2
    assert "2 files in no list of split 1 are left out, first Archery/mine.mp4" in capfd.readouterr().err


def test_missing_files_are_left_out_up_to_a_share(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tiny / "Bowling" / "v_Bowling_g08_c01.avi").unlink()
    message = r"trainlist01\.txt of .*: 1 of its 2 videos are missing, first Bowling/v_Bowling_g08_c01\.avi"
    with pytest.raises(InputError, match=message):
        Ucf101(tiny, train=True, max_unreadable=0.4)
    assert [entry.label for entry in Ucf101(tiny, train=True, max_unreadable=0.5).entries] == [0]
    assert "1 of its 2 videos are missing" in capfd.readouterr().err
    (tiny / "Archery" / "v_Archery_g08_c01.avi").unlink()
    with pytest.raises(InputError, match="2 of its 2 videos are missing"):
        Ucf101(tiny, train=True, max_unreadable=1.0)
