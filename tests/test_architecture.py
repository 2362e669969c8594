"""Imports go one way, and no file hides a library. Read from the sources, nothing is executed."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("svformer", "hardware", "deploy")

# package -> packages that it must not import
FORBIDDEN = {"svformer": {"deploy", "hardware"}, "hardware": {"deploy", "svformer"}, "deploy": set[str]()}
BROUGHT_BY_TORCH = {"triton"}  # by its CUDA builds; without it there is another way
# library -> the only places that may import it
ONLY_IN = {
    "lava": ("deploy/lava_network/",),
    "norse": ("svformer/neurons.py",),
    "triton": ("svformer/multistep_triton.py",),
    "torchvision": (),
    "cv2": (),
}


def imported(source: str) -> set[str]:
    """Top-level names of all absolute imports in a source, wherever they stand in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def violations(place: str, source: str) -> list[str]:
    """What the file at `place` (relative to the root, with /) imports against the rules."""
    forbidden = FORBIDDEN[place.split("/")[0]]
    only_in = {library for library, allowed in ONLY_IN.items() if not place.startswith(allowed)}
    return sorted(imported(source) & (forbidden | only_in))


def shadowed(names: set[str]) -> set[str]:
    """Which of the names belong to the standard library or to an installed library."""
    return names & (set(sys.stdlib_module_names) | set(packages_distributions()))


def sources(package: str) -> dict[str, str]:
    """Place -> source of all files of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}


def declared() -> set[str]:
    """Names of all libraries that the set-up installs for running, normalised."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    without_deps = (ROOT / "requirements" / "without-deps.txt").read_text("utf-8").splitlines()
    texts = [*project["dependencies"], *(line for line in without_deps if not line.startswith("#"))]
    return {canonicalize_name(Requirement(text).name) for text in texts}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    found = {place: violations(place, source) for place, source in sources(package).items()}
    assert found
    assert {place: names for place, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("place", "source", "expected"),
    [
        ("svformer/model.py", "import torch\nfrom svformer.neurons import PLIF", []),
        ("svformer/model.py", "def f():\n    from deploy.ir import nodes", ["deploy"]),
        ("svformer/neurons.py", "import norse.torch as snn", []),
        ("svformer/model.py", "import norse.torch as snn", ["norse"]),
        ("hardware/energy.py", "import hardware.paper, svformer.errors", ["svformer"]),
        ("deploy/pipeline.py", "from hardware import energy\nfrom svformer import model", []),
        ("deploy/pipeline.py", "from lava.proc.lif.process import LIF", ["lava"]),
        ("deploy/lava_network/blocks.py", "from lava.proc.lif.process import LIF", []),
        ("deploy/lava_network/blocks.py", "import cv2, torchvision.ops", ["cv2", "torchvision"]),
        ("deploy/pipeline.py", "from . import lava_network", []),
    ],
)
def test_the_rules_see_every_form_of_import(place: str, source: str, expected: list[str]) -> None:
    assert violations(place, source) == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_library_is_declared(package: str) -> None:
    """What is here only because another library needs it may go with that library's next version."""
    libraries = set().union(*map(imported, sources(package).values())) - set(sys.stdlib_module_names)
    distributions = packages_distributions()
    allowed = declared()
    undeclared = {
        library
        for library in libraries - set(PACKAGES) - BROUGHT_BY_TORCH
        if not {canonicalize_name(name) for name in distributions.get(library, [])} & allowed
    }
    assert undeclared == set()


def test_no_file_in_deploy_hides_a_library() -> None:
    """A script's folder comes first on sys.path, so deploy/nir.py would be what `import nir` finds there."""
    names = {path.stem for path in (ROOT / "deploy").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert shadowed(names - {"__init__", "__pycache__"}) == set()
    assert shadowed({"nir", "types", "run_lava"}) == {"nir", "types"}


def test_the_tests_are_no_package() -> None:
    """lava-nc and lava-dl install a top-level package `tests`, which ours would hide or be hidden by."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
