"""Files of arrays: what each kind holds, which of it are clips and which classes; what is no clip is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from deploy.clips.arrays import read_arrays
from svformer.common.errors import InputError

X = np.arange(24.0).reshape(2, 4, 3)  # two clips of four time steps
Y = np.array([1, 0])
Write = Callable[[Path], None]


def hdf5(**arrays: Any) -> Write:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name.replace("__", "/")] = values

    return write


def npz(*arrays: Any, **named: Any) -> Write:
    return lambda path: np.savez(path, *arrays, **named)


def pt(value: Any) -> Write:
    return lambda path: torch.save(value, path)


def text(lines: str) -> Write:
    return lambda path: path.write_text(lines) and None


def plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else [clip.tolist() for clip in values]


T = torch.tensor(X)


@pytest.mark.parametrize(
    ("name", "write", "labels"),
    [
        ("a.npz", npz(anything=X), None),
        ("a.npz", npz(x=X, y=Y), ("1", "0")),
        ("a.npz", npz(Clips=X, Labels=np.array(["run", "sit"])), ("run", "sit")),
        ("a.npz", npz(recorded=X, targets=Y.astype(float)), ("1", "0")),
        ("a.npz", npz(x=X, y=Y[:, None], rate=np.array(5)), ("1", "0")),
        ("a.h5", hdf5(x=X), None),
        ("a.hdf5", hdf5(test__data=X, test__labels=Y), ("1", "0")),
        ("a.h5", hdf5(x=X, y=["run", "sit"]), ("run", "sit")),
        ("a.pt", pt(T), None),
        ("a.pth", pt([T[0], T[1]]), None),
        ("a.pt", pt((T, torch.tensor(Y))), ("1", "0")),
        ("a.pt", pt([(T[0], 1), (T[1], 0)]), ("1", "0")),
        ("a.pt", pt([(T[0], "run"), (T[1], "sit")]), ("run", "sit")),
        ("a.pt", pt({"x": T, "labels": torch.tensor(Y)}), ("1", "0")),
        ("a.pt", pt({"x": [T[0], T[1]], "y": [1, 0]}), ("1", "0")),
        ("a.pt", pt(T.requires_grad_()), None),
        ("a.pt", pt(torch.tensor(X, dtype=torch.bfloat16)), None),
        ("a.pt", pt(torch.tensor(X).to_sparse()), None),
    ],
)
def test_the_same_clips_in_many_files(name: str, write: Write, labels: tuple[str, ...] | None, tmp_path: Path) -> None:
    write(tmp_path / name)
    found = read_arrays(tmp_path / name)
    assert plain(found.values) == X.tolist()
    assert found.labels == labels


def test_arrays_without_names_are_a_clip_each(tmp_path: Path) -> None:
    """More than ten of them, whose names do not sort by their numbers; they may differ in length."""
    clips = [np.full((1 + i, 3), i) for i in range(12)]
    np.savez(tmp_path / "a.npz", *clips, y=np.arange(12))
    found = read_arrays(tmp_path / "a.npz")
    assert plain(found.values) == [clip.tolist() for clip in clips]
    assert found.labels == tuple(map(str, range(12)))


@pytest.mark.parametrize(
    "lines",
    [
        "0,1,2\n3,4,5\n",
        "a,b,c\n0,1,2\n3,4,5\n",
        "\ufeffa;b;c\n0;1;2\n\n3;4;5",
        "0\t1\t2\n3\t4\t5\n",
        "# as numpy.savetxt writes it\n0.0 1.0 2.0\n3.0e0 4.0 5.0\n",
    ],
)
def test_a_table_has_a_row_for_each_time_step(lines: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(lines, encoding="utf-8")
    values = read_arrays(tmp_path / "a.csv").values
    assert plain(values) == [[0, 1, 2], [3, 4, 5]]


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    for value in (1, 2):
        (tmp_path / "a.csv").write_text(f"{value},{value}\n" * value)
        assert plain(read_arrays(tmp_path / "a.csv").values) == [[value, value]] * value


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", npz(a=X, b=X), "which of a, b are the clips? allowed: one array, or 'x'"),
        ("a.npz", npz(x=X, y=Y, labels=Y), "which of x, y, labels are the clips?"),
        ("a.npz", npz(), "no array in it"),
        ("a.npz", npz(x=X, y=np.eye(2)), "labels of shape [2, 2]; allowed: [clips], a class for each"),
        ("a.npz", npz(x=X, y=np.array([0.5, 1])), "labels that are no classes; allowed: names, or whole numbers"),
        ("a.npz", npz(x=X, y=np.array([np.inf, 1])), "labels that are no classes; allowed: names, or whole numbers"),
        ("a.npz", npz(x=np.array([1, None])), "not a readable .npz file"),
        ("a.npz", npz(x=X, y=np.array([b"run", b"\xff"])), "labels that are no text in UTF-8 ('utf-8' codec"),
        ("a.npz", text("no archive"), "not an archive of arrays; write it with numpy.savez"),
        ("a.h5", hdf5(u=X, v=X), "which of u, v are the clips?"),
        ("a.h5", text("no HDF5"), "not a readable HDF5 file"),
        ("a.pt", pt(torch.nn.Linear(2, 2)), "holds more than tensors, and code in a file is never executed"),
        ("a.pt", pt(torch.nn.Linear(2, 2).state_dict()), "which of weight, bias are the clips?"),
        ("a.pt", pt([]), "no array in it"),
        ("a.pt", pt([(T[0], T[1])]), "pairs whose second part is no class"),
        ("a.pt", pt({"x": T, "y": None}), "holds NoneType where a tensor belongs"),
        ("a.pt", text("no tensors"), "not a readable file of tensors; write it with torch.save"),
        ("a.csv", text("1,2\n3,x\n"), "not a table of numbers (could not convert string 'x' to float64"),
        ("a.csv", text("1,2\n3\n"), "not a table of numbers (the number of columns changed from 2 to 1"),
        ("a.csv", text("a,b\n"), "not a table of numbers (no rows); allowed: a row for each time step"),
        ("a.csv", text(""), "not a table of numbers (no rows)"),
    ],
)
def test_what_holds_no_clips_is_refused(name: str, write: Write, message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as refusal:
        read_arrays(tmp_path / name)
    line = str(refusal.value)
    assert line.startswith(f"{tmp_path / name}: ")
    assert message in line
    assert "\n" not in line
