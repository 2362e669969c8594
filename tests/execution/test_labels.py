"""Classes of clips: tables, numbers and names; what names no class, or none of the network's, is refused."""

from pathlib import Path

import pytest

from deploy.clips.labels import class_number, require_classes, with_labels
from deploy.clips.source import ClipSource
from svformer.common.errors import InputError


def sources(folder: Path, *names: str) -> list[ClipSource]:
    return [ClipSource(path=folder / name, label=None) for name in names]


def table(folder: Path, rows: str) -> Path:
    (folder / "labels.csv").write_text(rows, encoding="utf-8")
    return folder / "labels.csv"


@pytest.mark.parametrize(
    "rows",
    [
        "a.npy,1\nx.npz#0,cat\nx.npz#1,2\n",
        "file,class\nx.npz#1, 2\nother.npy,5\nx.npz#0,cat\n\na.npy,1\n",
        "\ufefffile;class\na.npy;1\nx.npz#0;cat\nx.npz#1;2\n",
        "a.npy\t1\nx.npz#0\tcat\nx.npz#1\t2\n",
    ],
)
def test_rows_name_clips_in_any_order(rows: str, tmp_path: Path) -> None:
    labelled = with_labels(sources(tmp_path, "a.npy", "x.npz#0", "x.npz#1"), table(tmp_path, rows))
    assert [source.label for source in labelled] == ["1", "cat", "2"]


def test_clips_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    clips = sources(tmp_path, "one/a.npy", "two/a.npy")
    labelled = with_labels(clips, table(tmp_path, "two/a.npy,2\none/a.npy,1\n"))
    assert [source.label for source in labelled] == ["1", "2"]
    with pytest.raises(InputError, match=r"several clips are called a\.npy; write their paths into the table"):
        with_labels(clips, table(tmp_path, "a.npy,1\n"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("aa.npy,1\n", r"no row for a\.npy \(is the row aa\.npy meant for it\?\); allowed: for each clip"),
        ("b.npy,1\n", r"no row for a\.npy; allowed: for each clip, its file and class"),
        ("a.npy,1,2\n", r"row 1: a\.npy, 1, 2; allowed: a file name and its class"),
        ("a.npy\n", r"row 1: a\.npy; allowed: a file name and its class"),
        ("a.npy,\n", "row 1: "),
        ("a.npy,1\na.npy,2\n", r"row 2: a\.npy has another class already, 1"),
        ("", r"no row for a\.npy"),
    ],
)
def test_tables_of_another_form_are_refused(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        with_labels(sources(tmp_path, "a.npy"), table(tmp_path, rows))


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: not readable"):
        with_labels([], tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("label", "classes", "number"),
    [
        ("b", ("a", "b"), 1),
        ("1", ("a", "b"), 1),
        ("1", ("7", "1", "3"), 1),  # a name before a number
        ("0", ("7", "1", "3"), 0),
        ("2", (), 2),
        ("02", (), 2),
        ("3", (), None),
        ("-1", (), None),
        ("cat", (), None),
        ("c", ("a", "b"), None),
        (None, (), None),
    ],
)
def test_a_class_is_a_name_or_a_number(label: str | None, classes: tuple[str, ...], number: int | None) -> None:
    assert class_number(label, classes, outputs=3) == number


def test_a_class_that_the_network_has_not_is_refused(tmp_path: Path) -> None:
    def labelled(label: str) -> list[ClipSource]:
        return [ClipSource(path=tmp_path / "x.npz#4", label=label)]

    require_classes([*labelled("2"), *sources(tmp_path, "unlabelled.npy")], (), 3)
    with pytest.raises(InputError, match=r"x\.npz: class 3 of x\.npz#4; this network has the numbers 0 to 2$"):
        require_classes(labelled("3"), (), 3)
    with pytest.raises(InputError, match=r"class cat of .* this network has the numbers 0 to 1, or dog, cow"):
        require_classes(labelled("cat"), ("dog", "cow"), 2)
