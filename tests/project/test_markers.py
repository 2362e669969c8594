"""What the markers promise: tests that need no Lava, or no torch, are found by an interpreter that has none."""

import re
from pathlib import Path

import pytest

import needed
from processes import ROOT, run_python

COLLECT = """
import sys
import pytest

library, folder = sys.argv[1:]
sys.modules[library] = None  # cannot be imported
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-m", f"not {library}", folder]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lava", "torch"])
def test_what_needs_no_library_is_found_without_it(library: str) -> None:
    done = run_python(COLLECT, library, ROOT / "tests")
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+)(/\d+)? tests collected", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) > 300


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", {"torch"}),
        ("from norse.torch import LIF", {"torch"}),
        ("from svformer.data.clips import normalise", {"torch"}),  # which imports it
        ("from svformer.common.npy import load_npy", set()),
        ("import graphs", set()),
        ("from small_models import small_export", {"torch"}),  # of tests/support
        ("from deploy.lava_network.loihi import require_board", {"lava", "torch"}),
        ("def test():\n    import torch", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import lava", {"lava"}),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", {"torch"}),
    ],
)
def test_what_a_file_needs_is_read_from_its_imports(source: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(source)
    assert needed.needed(tmp_path / "test_it.py") == expected
