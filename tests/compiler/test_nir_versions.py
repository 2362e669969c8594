"""What plain nir makes of our files, in a process of its own that knows nothing of us: the same graph, or a refusal.

Older versions are read where a folder has them: NIR_VERSIONS=FOLDER with 1.0.6 and 1.0.7 in it, each made with
`pip install --no-deps --target FOLDER/1.0.6 nir==1.0.6`. (We need 1.0.8 ourselves, for its recordings of spikes.)
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from deploy.frontend.portable import portable
from deploy.ir.graph import write_nir

READ = """
import json, sys
sys.path[:0] = sys.argv[2:]
import nir
assert "deploy" not in sys.modules
graph = nir.read(sys.argv[1])
def summed(node):
    return [float(abs(getattr(node, field)).sum()) for field in ("weight", "tau") if hasattr(node, field)]
nodes = {name: [type(node).__name__, *summed(node)] for name, node in graph.nodes.items()}
metadata = {name: float(graph.metadata[name]) for name in ("dt", "T")}
print(json.dumps({"version": nir.version, "nodes": nodes, "edges": sorted(graph.edges), "metadata": metadata}))
"""


def read_alone(path: Path, version: str | None, *options: str) -> subprocess.CompletedProcess[str]:
    """`nir.read` of a version (None: the installed one) in an isolated process."""
    folders = []
    if version is not None:
        folder = Path(os.environ.get("NIR_VERSIONS", "no folder"), version)
        if not (folder / "nir").is_dir():
            pytest.skip(f"nir {version} is not there; NIR_VERSIONS names a folder that has it")
        folders = [str(folder)]
    command = [sys.executable, "-I", *options, "-c", READ, str(path), *folders]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [None, "1.0.6", "1.0.7"])
def test_the_portable_graph_is_read_as_it_is(version: str | None, exported: Any, tmp_path: Path) -> None:
    graph = portable(exported.graph)
    write_nir(graph, tmp_path / "portable.nir")
    read = read_alone(tmp_path / "portable.nir", version)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert found["version"] == (version or nir.version)
    assert [tuple(edge) for edge in found["edges"]] == sorted(graph.edges)
    assert found["metadata"] == {"dt": 1e-3, "T": exported.model.config.frames}
    assert found["nodes"].keys() == graph.nodes.keys()
    for name, (kind, *sums) in found["nodes"].items():
        node = graph.nodes[name]
        assert kind == type(node).__name__
        expected = [np.abs(getattr(node, field)).sum() for field in ("weight", "tau") if hasattr(node, field)]
        np.testing.assert_allclose(sums, expected, rtol=1e-12)


@pytest.mark.parametrize("version", [None, "1.0.6", "1.0.7"])
@pytest.mark.parametrize("options", [(), ("-O",)], ids=["", "optimised"])
def test_a_file_with_our_nodes_is_refused(
    version: str | None, options: tuple[str, ...], exported: Any, tmp_path: Path
) -> None:
    """Also by a Python that leaves assertions out, which is what nir refuses with."""
    write_nir(exported.graph, tmp_path / "model.nir")
    read = read_alone(tmp_path / "model.nir", version, *options)
    assert read.returncode != 0
    assert read.stdout == ""
    assert "str2NIRNode" in read.stderr  # the type of a node, not something else
