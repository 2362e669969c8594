"""`--write-integer` and back: a file of integers runs as the network that was written, and refuses to be changed."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from deploy import run_lava
from deploy.ir.graph import read_nir
from deploy.report.keys.report import Report
from deploy.request import Request
from deploy.session import run as carry_out
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

Capture = pytest.CaptureFixture[str]


def run(*words: object) -> int:
    return run_cli(run_lava.main, [*map(str, words)])


def spikes(folder: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(folder / "spikes.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_a_file_of_integers_runs_as_the_network_that_was_written(small_run: Path, tmp_path: Path) -> None:
    """The same spikes of all layers, the same results and counts; and what is written from the file is the file."""
    clips = sorted(small_run.glob("*.npy"))
    common = ("--backend", "integer", "--clip", *clips[:5])
    written = tmp_path / "small.integer.nir"
    first = ("--nir", small_run / "small.nir", "--dt", 1e-3, "--out", tmp_path / "a", "--write-integer", written)
    assert run(*common, *first) == 0
    again = ("--nir", written, "--out", tmp_path / "b", "--write-integer", tmp_path / "again.nir")
    assert run(*common, *again) == 0
    a, b = (spikes(tmp_path / folder) for folder in "ab")
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert sum(map(np.sum, a.values())) > 0
    one, two = (Report.read(tmp_path / folder / "report.json") for folder in "ab")
    assert (one.totals, one.headroom, one.by_step) == (two.totals, two.headroom, two.by_step)
    assert [clip.prediction for clip in one.clips] == [clip.prediction for clip in two.clips]
    assert "taken as they stand" in str(two.network.notes)
    metadata = [read_nir(path).metadata["integer"] for path in (written, tmp_path / "again.nir")]
    assert metadata[0]["populations"].keys() == metadata[1]["populations"].keys() == {"input", "hidden", "out"}


def test_shorter_and_longer_clips_and_another_readout_than_when_it_was_written(small_run: Path, tmp_path: Path) -> None:
    written = tmp_path / "small.integer.nir"
    clip = next(small_run.glob("*.npy"))
    options = ("--backend", "integer", "--force")
    assert (
        run("--nir", small_run / "small.nir", "--dt", 1e-3, "--clip", clip, "--estimate", "--write-integer", written)
        == 0
    )
    np.save(tmp_path / "long.npy", np.ones((9, 4), dtype=np.float32))
    assert run("--nir", written, "--clip", tmp_path / "long.npy", clip, *options, "--out", tmp_path / "o") == 0
    assert run("--nir", written, "--clip", clip, "--readout", "first-spike", *options, "--out", tmp_path / "o") == 0
    assert Report.read(tmp_path / "o" / "report.json").network.readout == "first-spike"


def test_what_would_change_integers_is_refused(small_run: Path, tmp_path: Path, capsys: Capture) -> None:
    written, clip = tmp_path / "small.integer.nir", next(small_run.glob("*.npy"))
    start = ("--nir", small_run / "small.nir", "--dt", 1e-3, "--clip", clip, "--estimate", "--write-integer")
    assert run(*start, written) == 0
    capsys.readouterr()
    for words, message in (
        ((*start, written), "exists; choose another --write-integer, or --force"),
        ((*start, tmp_path / "x.h5"), "allowed: a name that ends in .nir"),
        (("--nir", written, "--clip", clip, "--weight-bits", 4), "--weight-bits: "),
        (("--nir", written, "--clip", clip, "--from", "sinabs", "--merge", "never"), "--merge, --from: "),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="--stop-after shows tables and writes nothing"):
        run_lava.parse_arguments(["--stop-after", "read", "--write-integer", "x.nir"])


def test_every_step_shows_given_integers(small_run: Path, tmp_path: Path, capsys: Capture) -> None:
    written, clip = tmp_path / "small.integer.nir", next(small_run.glob("*.npy"))
    assert (
        run("--nir", small_run / "small.nir", "--dt", 1e-3, "--clip", clip, "--estimate", "--write-integer", written)
        == 0
    )
    for step in ("read", "lower", "calibrate", "quantize", "schedule"):
        assert run("--nir", written, "--clip", clip, "--stop-after", step) == 0
        assert "hidden" in capsys.readouterr().out


def test_the_shipped_network_is_written_and_read(tmp_path: Path) -> None:
    """Shortcuts, attention, delays and a readout over time: 34 populations, the same spikes from the file."""
    common = {"backend": "integer", "limit": None}
    first = carry_out(Request(out=tmp_path / "a", write_integer=tmp_path / "shipped.nir", **common))
    again = carry_out(Request(nir=tmp_path / "shipped.nir", out=tmp_path / "b", **common))
    a, b = (spikes(tmp_path / folder) for folder in "ab")
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert first.tally is not None
    assert again.tally is not None
    for one, two in zip(first.tally.clips, again.tally.clips, strict=True):
        np.testing.assert_array_equal(one.logits, two.logits)


@pytest.mark.parametrize("how", ["--estimate", "--why"])
def test_low_bits_that_lie_apart_are_read_again(small_run: Path, tmp_path: Path, how: str) -> None:
    network, clip = ("--nir", small_run / "small.nir", "--dt", 1e-3), next(small_run.glob("*.npy"))
    fine = ("--estimate", "--fine-layers", 1, "--write-integer", tmp_path / "fine.nir")
    assert run(*network, "--clip", clip, *fine) == 0
    assert run("--nir", tmp_path / "fine.nir", "--clip", clip, how) == 0


def test_a_damaged_file_is_refused_before_clips_are_read(small_run: Path, tmp_path: Path) -> None:
    written, clip = tmp_path / "small.integer.nir", next(small_run.glob("*.npy"))
    assert (
        run("--nir", small_run / "small.nir", "--dt", 1e-3, "--clip", clip, "--estimate", "--write-integer", written)
        == 0
    )
    with h5py.File(written, "r+") as file:
        file["node/metadata/integer/populations/hidden/decay"][...] = 77
    with pytest.raises(InputError, match=r"nodes and integers contradict each other \(hidden\)"):
        carry_out(Request(nir=written, clips=[clip], out=tmp_path / "o"))


def test_a_network_goes_out_to_netx_and_comes_back(small_run: Path, tmp_path: Path, capsys: Capture) -> None:
    """The same class of every clip; a .net says neither names nor a readout, so the layers are told apart by order."""
    clips = sorted(small_run.glob("*.npy"))[3:8]
    common, written = ("--backend", "integer", "--clip", *clips), tmp_path / "small.net"
    first = ("--nir", small_run / "small.nir", "--dt", 1e-3, "--out", tmp_path / "a", "--write-integer", written)
    assert run(*common, *first) == 0
    assert "for netx: no weight above 252 units" in capsys.readouterr().out
    assert run(*common, "--net", written, "--dt", 1e-3, "--out", tmp_path / "b") == 0
    a, b = (spikes(tmp_path / folder) for folder in "ab")
    assert [name.split("/")[1] for name in b if name.endswith("data")] == ["dense1", "dense2"]
    for ours, theirs in (("hidden", "dense1"), ("out", "dense2")):
        np.testing.assert_array_equal(
            next(values for name, values in a.items() if f"/{ours}/" in name and name.endswith("data")),
            next(values for name, values in b.items() if f"/{theirs}/" in name and name.endswith("data")),
        )
    assert run(*common, "--nir", small_run / "small.nir", "--net", written) == 2
    assert "--nir and --net are both given" in capsys.readouterr().err


def test_what_netx_cannot_hold_is_refused_before_anything_runs(tmp_path: Path, capsys: Capture) -> None:
    assert run("--estimate", "--write-integer", tmp_path / "shipped.net", "--out", tmp_path / "o") == 2
    error = capsys.readouterr().err
    assert "stem.conv: relay;" in error
    assert "stage3.block0.attn.plif_proj: hears stage3.block0.attn.plif_qkv, attention" in error
    assert not (tmp_path / "shipped.net").exists()
