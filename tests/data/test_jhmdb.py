"""J-HMDB in its official layout and in that of UCF101."""

from pathlib import Path

import pytest

from svformer.common.errors import InputError
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.jhmdb import Jhmdb
from svformer.data.procedural import generate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of files without content, under ReCompress_Videos/; b.avi of wave is in neither part of split 1."""
    (tmp_path / "splits").mkdir()
    parts = {"brush_hair": {"Mine (1).avi": 1, "x y.avi": 2}, "wave": {"a.avi": 2, "b.avi": 0, "c.avi": 1}}
    for name, files in parts.items():
        lines = "".join(f"{file} {part}\n" for file, part in files.items())
        (tmp_path / "splits" / f"{name}_test_split1.txt").write_text(lines)
        (tmp_path / "ReCompress_Videos" / name).mkdir(parents=True)
        for file in files:
            (tmp_path / "ReCompress_Videos" / name / file).touch()
    return tmp_path


def test_parts_and_labels_follow_the_lists(root: Path) -> None:
    train, test = Jhmdb(root, train=True), Jhmdb(root, train=False)
    assert train.classes == test.classes == ("brush_hair", "wave")
    assert [(e.name, e.label) for e in train.entries] == [("brush_hair/Mine (1).avi", 0), ("wave/c.avi", 1)]
    assert [(e.name, e.label) for e in test.entries] == [("brush_hair/x y.avi", 0), ("wave/a.avi", 1)]


def test_classes_may_lie_beside_the_lists(root: Path) -> None:
    for folder in (root / "ReCompress_Videos").iterdir():
        folder.rename(root / folder.name)
    (root / "ReCompress_Videos").rmdir()
    assert len(Jhmdb(root, train=True)) == 2


def test_what_is_missing_or_malformed_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="split 4: J-HMDB has no such split; allowed: 1, 2, 3"):
        Jhmdb(root, split=4, train=True)
    with pytest.raises(InputError, match=r"no J-HMDB data set; expected splits/CLASS_test_split2\.txt"):
        Jhmdb(root, split=2, train=True)
    (root / "ReCompress_Videos" / "wave" / "a.avi").unlink()
    with pytest.raises(InputError, match=r"1 of its 2 videos are missing, first wave/a\.avi"):
        Jhmdb(root, train=False)
    (root / "splits" / "wave_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(InputError, match=r'wave_test_split1\.txt, line 1: "a\.avi 3"; expected "NAME\.avi 1"'):
        Jhmdb(root, train=False)


def test_the_layout_of_ucf101_is_read_too(tmp_path: Path) -> None:
    """The stride is the one that is asked for: half the time between two pictures."""
    generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    choice = DatasetChoice(name="jhmdb", root=tmp_path, stride=2)
    data = open_dataset(choice, size=8, frames=4, train=False)
    assert len(data.classes) == 12
    assert data.sampling.stride == 2
    assert data.sampling.span_s == 3 * 2 / 30
