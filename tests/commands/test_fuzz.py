"""The fuzzer: its first inputs of every kind are taken or refused, and what fails is seen, kept and made again."""

import importlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from processes import HANG_S
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = (
    *("nir", "nir-bytes", "integers", "net", "clip", "nir-data", "events", "video", "checkpoint", "pyth", "chip"),
    *("part", "report", "list", "command"),
)
FEW = 8  # inputs of a kind that a test reads


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def fuzz() -> ModuleType:
    return importlib.import_module("fuzz")


def campaign(out: Path, read: Callable[[Path], None], **limits: float) -> Any:
    """A campaign of a kind whose inputs are files with their random number."""
    found, kind = importlib.import_module("fuzzing.campaign"), importlib.import_module("fuzzing.kind")
    out.mkdir(exist_ok=True)

    def make(rng: Random, folder: Path) -> None:
        (folder / "input.txt").write_text(str(rng.random()))

    own = kind.Kind(about="numbers", make=make, read=read)
    return found.Campaign(kind=own, name="own", seed=3, out=out, limits=found.Limits(**limits))


def test_the_table_has_all_kinds() -> None:
    assert tuple(importlib.import_module("fuzzing.kinds").KINDS) == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_the_first_inputs_of_every_kind_are_taken_or_refused(name: str, tmp_path: Path) -> None:
    found = importlib.import_module("fuzzing.campaign")
    kind = importlib.import_module("fuzzing.kinds").KINDS[name]
    made, tally = found.Campaign(kind=kind, name=name, seed=1, out=tmp_path, limits=found.Limits()), found.Tally()
    made.run(tally, seconds=HANG_S, most=FEW)
    assert (tally.next, tally.failures) == (FEW, 0), tally.alike


def test_an_input_is_the_same_whatever_was_made_before(tmp_path: Path) -> None:
    one = campaign(tmp_path, lambda folder: None)
    contents = []
    for number in (5, 2, 5):
        one.make(number)
        contents.append((one.folder / "input.txt").read_text())
    assert contents[0] == contents[2] != contents[1]


def refuses(folder: Path) -> None:
    raise InputError("an input; allowed: another")


def raises(folder: Path) -> None:
    raise KeyError("a key")


def takes_memory(folder: Path) -> None:
    np.ones(2**28)


def never_ends(folder: Path) -> None:
    while True:
        sum(range(1000))


def only_waits(folder: Path) -> None:
    time.sleep(1e6)


def ends_the_process(folder: Path) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("read", "outcome", "look"),
    [
        (refuses, "refused", None),
        (lambda folder: None, "taken", None),
        (raises, "tracebacks", "KeyError"),
        (takes_memory, "memory", "_ArrayMemoryError"),
        (never_ends, "hangs", "never_ends"),
        (only_waits, "hangs", ""),
        (ends_the_process, "crashes", "ends_the_process"),
    ],
)
def test_what_becomes_of_an_input_is_seen(
    read: Callable[[Path], None], outcome: str, look: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process with 0.5 s of processor time and 1 GB; the first failure of a kind is kept, with what was said."""
    found = importlib.import_module("fuzzing.campaign")
    monkeypatch.setattr(found, "WALL", 6)
    one, tally = campaign(tmp_path, read, hang_s=0.5, memory_mb=1024), found.Tally()
    one.run(tally, seconds=HANG_S, most=1)
    assert (tally.next, dict(tally.counts)) == (1, {outcome: 1})
    kept = [path.name for path in tmp_path.glob("failures/*")]
    assert kept == ([] if look is None else ["own-0"])
    if look is not None:
        assert look in next(iter(tally.alike))
        assert (tmp_path / "failures" / "own-0" / "input.txt").is_file()


def test_the_command_goes_on_with_the_next_inputs(
    fuzz: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    seen = []
    for _ in range(2):
        assert run_cli(fuzz.main, ["--seconds", "1", "--kind", "list", "chip", "--json", *out]) == 0
        seen.append(json.loads(capsys.readouterr().out.partition("\n")[0]))
    assert all(seen[1][kind]["next"] > seen[0][kind]["next"] > 0 for kind in ("list", "chip"))
    assert run_cli(fuzz.main, ["--seed", "9", *out]) == 2
    assert "of seed 0; choose another --out for seed 9" in capsys.readouterr().err
    assert run_cli(fuzz.main, ["--kind", "abacus"]) == 2
    assert "--kind abacus; allowed: nir, nir-bytes" in capsys.readouterr().err


def test_one_input_is_read_again(fuzz: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(fuzz.main, ["--replay", "list:1", "--out", str(tmp_path)]) in (0, 2)
    assert [*(tmp_path / "input").iterdir()]


def test_what_makes_inputs_bears_what_it_has_changed() -> None:
    """An array that one change has made huge is not read by the next, and a header may have lost its end."""
    hdf5, clips = (importlib.import_module(f"fuzzing.{name}") for name in ("hdf5", "clips"))
    with h5py.File(io.BytesIO(), "w") as file:
        for shape in ((2**40,), (10**6, 10**6)):
            file["a"] = 1.0
            hdf5._replace(file, "a", shape=shape, dtype="f8", chunks=tuple(min(n, 64) for n in shape))
            for change in (hdf5._other_form, hdf5._odd_element, hdf5._group, hdf5._edges, hdf5._odd_array):
                change(Random(1), file, "a")
            del file["a"]
    assert all(clips._lying(Random(seed), b"'shape': (3, 2") for seed in range(50))
