"""Quantised networks of earlier runs: taken where everything is the same, and never anything else."""

import errno
import os
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy import pipeline
from deploy.exchange.integers import same_networks
from deploy.execution import fingerprint
from deploy.execution.cached import QuantisationCache
from deploy.execution.deployment import Deployment
from deploy.execution.entries import Entries
from deploy.tuning.outcome import TuningOptions
from deploy.tuning.unfinished import Unfinished
from svformer.common.cache import cache_folder

T = 20


def network(seed: int = 0) -> nir.NIRGraph:
    rng = np.random.default_rng(seed)
    nodes = {
        "input": graphs.entry(4),
        "first": nir.Affine(rng.normal(size=(6, 4)), rng.normal(size=6)),
        "hidden": graphs.lif(6),
        "second": nir.Linear(rng.normal(size=(3, 6))),
        "lif": graphs.lif(3),
        "output": graphs.result(3),
    }
    return graphs.chain(nodes, T=T)


def clips(seed: int = 0) -> Any:
    return (np.random.default_rng(seed).random((3, T, 4)) < 0.3).astype(float)


@pytest.fixture
def cache(tmp_path: Path) -> QuantisationCache:
    return QuantisationCache(Entries(tmp_path / "networks"))


def deployed(cache: QuantisationCache, graph: nir.NIRGraph, **options: Any) -> tuple[Deployment, list[str]]:
    said: list[str] = []
    return pipeline.deploy(graph, options.pop("clips", clips()), said.append, cache=cache, **options), said


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything fail that takes long."""

    def called(*_args: Any, **_options: Any) -> None:
        raise AssertionError("this was to be known")

    for name in ("calibrate", "quantize_calibrated", "fidelity", "firing_rates"):
        monkeypatch.setattr(pipeline, name, called)


def test_the_second_deployment_is_the_first_and_takes_nothing_that_is_long(
    cache: QuantisationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, said = deployed(cache, network())
    forbid(monkeypatch)
    second, said_again = deployed(cache, network())
    assert same_networks(first.integer, second.integer)
    assert first.integer.notes == second.integer.notes
    assert (first.fixed_point, first.headroom) == (second.fixed_point, second.headroom)
    taken = [line for line in said_again if line not in said]
    assert taken == ["an earlier run has quantised this network with these clips and options: taken as it was"]
    assert [line for line in said_again if line not in taken] == said


def test_a_form_for_a_chip_is_made_of_what_is_known(cache: QuantisationCache, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(cache, network())
    forbid(monkeypatch)
    formed, _ = deployed(cache, network(), form="chip")
    assert formed.form == "chip"
    assert same_networks(formed.integer, pipeline.chip_form(formed.fused).network)


@pytest.mark.parametrize(
    "changes",
    [
        {"clips": clips(1)},
        {"weight_bits": 4},
        {"fine_layers": 1},
        {"merge": "never"},
        {"search": False},
        {"tuning": TuningOptions(epochs=1), "examples": clips(2)},
    ],
)
def test_anything_else_is_quantised_anew(changes: dict[str, Any], cache: QuantisationCache) -> None:
    deployed(cache, network())
    deployed(cache, network(), **changes)
    assert len(list(cache.entries.folder.iterdir())) == 2


def test_texts_of_a_file_take_part(cache: QuantisationCache) -> None:
    """HDF5 gives them as bytes, of the graph and of its nodes."""
    for text in (b"one", b"two"):
        graph = network()
        graph.metadata["note"] = text
        graph.nodes["first"].metadata = {"note": text}
        deployed(cache, graph)
    assert len(list(cache.entries.folder.iterdir())) == 2


def test_another_network_and_other_code_are_quantised_anew(
    cache: QuantisationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = deployed(cache, network())
    other, _ = deployed(cache, network(1))
    assert not same_networks(first.integer, other.integer)
    monkeypatch.setattr(fingerprint, "versions", lambda: {"this project": "changed"})
    deployed(cache, network())
    assert len(list(cache.entries.folder.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"\x89HDF\r\n\x1a\n nothing", None])
def test_a_damaged_entry_is_made_anew(damage: bytes | None, cache: QuantisationCache) -> None:
    first, _ = deployed(cache, network())
    (entry,) = cache.entries.folder.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(content[: len(content) // 2] if damage is None else damage)
    again, said = deployed(cache, network())
    assert same_networks(first.integer, again.integer)
    assert not any("earlier run" in line for line in said)
    assert entry.stat().st_size > len(content) // 2


def test_the_entry_that_was_not_used_for_longest_makes_room(cache: QuantisationCache) -> None:
    for seed in (0, 1):
        deployed(cache, network(seed))
    first, second = sorted(cache.entries.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    os.utime(first, ns=(0, 0))
    os.utime(second, ns=(1, 1))
    deployed(cache, network(0))  # uses the first again
    small = QuantisationCache(Entries(cache.entries.folder, limit=2 * first.stat().st_size + 100))
    deployed(small, network(2))
    left = set(cache.entries.folder.iterdir())
    assert len(left) == 2
    assert first in left
    assert second not in left


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = QuantisationCache(Entries(tmp_path / "file" / "networks"))
    for _ in range(2):
        deployed(cache, network())
    assert cache.entries.clear() == 0


def test_an_entry_is_taken_from_a_folder_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Entries(tmp_path)
    entries.keep("a", lambda path: path.write_text("found"))  # type: ignore[arg-type, return-value]

    def refused(path: Path, *_options: Any, **_more: Any) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    for name in ("touch", "unlink"):
        monkeypatch.setattr(Path, name, refused)
    assert entries.find("a", Path.read_text) == "found"
    assert entries.find("a", lambda path: int(path.read_text())) is None


def test_entries_are_cleared_and_lie_in_the_users_cache(
    cache: QuantisationCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(cache, network())
    assert cache.entries.clear() == 1
    assert list(cache.entries.folder.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Entries().folder == cache_folder() / "networks" == tmp_path / "svformer-loihi" / "networks"


def test_a_deployment_that_is_stopped_while_it_tunes_goes_on(
    cache: QuantisationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run finds the epochs of the first; when it is done the file of the tuning is gone."""
    options = {"tuning": TuningOptions(epochs=2), "examples": clips(1)}
    wanted, _ = deployed(QuantisationCache(Entries(cache.entries.folder.parent / "other")), network(), **options)
    original, kept = Unfinished.write, []

    def stop(progress: Unfinished, path: Path) -> None:
        original(progress, path)
        kept.append(progress.epochs[-1].number)
        if kept == [1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        deployed(cache, network(), **options)
    assert [path.suffix for path in cache.entries.folder.iterdir()] == [".tuning"]
    found, _ = deployed(cache, network(), **options)
    assert kept == [1, 2]
    assert (same_networks(found.integer, wanted.integer), found.tuned) == (True, wanted.tuned)
    assert [path.suffix for path in cache.entries.folder.iterdir()] == [".nir"]
