"""What the markers promise: tests that need no Lava, or no torch, are found by an interpreter that has none."""

import re

import pytest

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
