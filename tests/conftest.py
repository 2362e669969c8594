"""Settings of all tests, their markers, and what several folders share."""

import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# What tests compute is small, and several of them run side by side: one thread is the fastest. A test of several
# threads asks for them. NumPy and torch read this when they are imported, here and in the processes that tests start.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import graphs
from needed import needed
from svformer.common.cache import cache_folder

if TYPE_CHECKING:
    from small_models import Exported

# How long an example takes to draw or to run depends on the machine, and no test of ours is about time. The examples
# are the same in every run, so that a change is to blame for what fails; other ones are drawn by
# `pytest --hypothesis-profile explore`.
UNTIMED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], print_blob=True
)
settings.register_profile("svformer", UNTIMED, derandomize=True, database=None)
settings.register_profile("explore", UNTIMED, derandomize=False)
settings.load_profile("svformer")

# Marker -> tests that bear it: all of these folders and files, what takes these fixtures, and what cannot be imported
# without the library, as its imports say. Here is what needs one only while it runs. Single tests bear it themselves.
ROOT = Path(__file__).parents[1]
MARKED = {
    "lava": ("tests/lava", "tests/commands/test_run_lava.py", "tests/execution/test_cluster.py", "notebooks"),
    "torch": (
        *(f"tests/{name}" for name in ("commands", "engine", "execution", "lava", "report", "training")),
        *(f"tests/compiler/test_{name}.py" for name in ("group_rows", "long_sums", "loop_delay")),
        *(
            "tests/costs/test_full_geometry.py",
            "tests/data/test_procedural.py",
            "tests/project/test_benchmark_neuron.py",
        ),
        "notebooks",
    ),
    # what trains, starts processes or deploys whole networks
    "slow": (
        *(f"tests/{name}" for name in ("commands", "lava", "training")),
        *(f"tests/execution/test_{name}.py" for name in ("cluster", "memory", "resume")),
        *(f"tests/data/test_{name}.py" for name in ("datasets", "dvs128", "folder", "ntu60")),
        *(f"tests/compiler/test_{name}.py" for name in ("interop", "portable", "stock_simulators")),
        *(f"tests/project/test_{name}.py" for name in ("benchmark_neuron", "docs", "markers", "wheel")),
        "tests/model/test_multistep_triton.py",
        "notebooks",
    ),
}
LIBRARIES = ("lava", "torch")
FIXTURES = {"exported": "torch"}


def pytest_configure(config: pytest.Config) -> None:
    """What a run leaves out cannot be imported in it: `-m "not lava"` is a machine without Lava."""
    for library in LIBRARIES:
        if _left_out(config, library):
            sys.modules[library] = None  # type: ignore[assignment]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that would be left out as a whole are not even imported."""
    return any(_left_out(config, marker) for marker in _markers(collection_path)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for marker in {*_markers(item.path), *(FIXTURES[name] for name in fixtures if name in FIXTURES)}:
            item.add_marker(marker)


def _left_out(config: pytest.Config, marker: str) -> bool:
    return re.search(rf"\bnot {marker}\b", config.option.markexpr) is not None


def _markers(path: Path) -> list[str]:
    named = {name for name, places in MARKED.items() if any(path.is_relative_to(ROOT / place) for place in places)}
    return sorted(named | (needed(path) if path.match("test_*.py") else set()))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests' own; costs of kernels that were measured before are taken from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "svformer-loihi").mkdir()
    for measured in cache_folder().glob("kernels-*.json"):
        shutil.copy(measured, folder / "svformer-loihi")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(scope="session")
def exported() -> "Exported":
    """A whole SVFormer, its NIR graph, and clips for it."""
    from small_models import small_export

    return small_export()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.nir, 4 inputs, 5 neurons, 3 neurons; and 11 clips 00.npy, .. [6, 4], each with another number
    of spikes.
    """
    made = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    nodes = {
        "input": graphs.entry(4),
        "fc1": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.1),
        "hidden": graphs.lif(5, tau=5e-3, v_threshold=0.3),
        "fc2": nir.Linear(rng.normal(size=(3, 5)) * 1000),
        "out": graphs.integrate_and_fire(3, r=1.0),
        "output": graphs.result(3),
    }
    nir.write(str(made / "small.nir"), nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
    rng = np.random.default_rng(1)
    for i in range(11):
        np.save(made / f"{i:02}.npy", (rng.random((6, 4)) < 0.1 + 0.07 * i).astype(np.float32))
    return made
