"""The shipped network: compared with PyTorch once, and taken as it was by later runs of the same code."""

from pathlib import Path

import numpy as np
import pytest

from deploy import shipped
from deploy.execution import fingerprint
from deploy.execution.entries import Entries
from deploy.ir.interpreter import interpret
from deploy.shipped import ShippedNetwork, shipped_network


@pytest.fixture
def entries(tmp_path: Path) -> Entries:
    return Entries(tmp_path)


@pytest.fixture
def first(entries: Entries) -> ShippedNetwork:
    return shipped_network(entries)


def test_a_later_run_takes_the_same_graph_without_pytorch(
    entries: Entries, first: ShippedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "_exported", lambda: pytest.fail("this was to be known"))
    again = shipped_network(entries)
    assert again.check == first.check
    assert (first.earlier, again.earlier) == (False, True)
    assert again.said == f"{first.said}, compared by an earlier run of the same code"
    assert again.graph.metadata == {**first.graph.metadata, "T": np.int64(16)}
    clip = np.random.default_rng(0).normal(size=(1, 16, 3, 64, 64))
    found, expected = (interpret(graph, clip, record=["output"])["output"] for graph in (again.graph, first.graph))
    np.testing.assert_array_equal(found, expected)


def test_without_entries_it_is_compared_each_time(entries: Entries, first: ShippedNetwork) -> None:
    assert not shipped_network(None).earlier


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_a_damaged_entry_is_made_anew(content: bytes, entries: Entries, first: ShippedNetwork) -> None:
    (entry,) = entries.folder.iterdir()
    entry.write_bytes(content)
    assert not shipped_network(entries).earlier
    assert shipped_network(entries).earlier


def test_other_code_compares_anew(entries: Entries, first: ShippedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "versions", lambda: {"this project": "other"})
    assert not shipped_network(entries).earlier


def test_a_network_that_no_run_compared_is_no_entry(entries: Entries, first: ShippedNetwork) -> None:
    """A file without the figures of a comparison, such as a user's own under this name."""
    (entry,) = entries.folder.iterdir()
    shipped.write_nir(first.graph, entry)
    assert not shipped_network(entries).earlier
