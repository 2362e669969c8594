"""Imports go one way, and no file hides a library. Read from the sources, nothing is executed."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("svformer", "hardware", "deploy")

# package -> packages that it must not import
FORBIDDEN = {"svformer": {"deploy", "hardware"}, "hardware": {"deploy", "svformer"}, "deploy": set[str]()}
BROUGHT_BY_TORCH = {"triton"}  # by its CUDA builds; without it there is another way
# library -> the only places that may import it
ONLY_IN = {
    "lava": ("deploy/lava_network/",),
    "norse": ("svformer/model/neurons.py",),
    "triton": ("svformer/model/multistep_triton.py",),
    "torchvision": (),
    "cv2": (),
}


# The rooms of each package, from the ground up: each imports itself and those before it. A room is a file or a folder
# that lies directly in the package; `python tools/structure.py` draws what imports what.
ROOMS = {
    "svformer": (
        *("common", "assets", "config", "data", "model", "baselines", "networks"),
        *("evaluation", "pictures", "training"),
        *("sizes", "convert", "evaluate", "train", "fold_time", "ann2snn"),
    ),
    "hardware": (
        *("errors", "keys", "counts", "geometry", "contraction", "op_counts"),
        *("figures", "unit_costs", "anchor", "chip", "chip_files", "causes", "energy", "resources"),
        *("sharing", "demand", "fit", "cutting", "packing", "placement", "traffic"),
        *("spread", "reach", "placed", "more_cores", "operating_point", "shown", "interval", "models"),
        *("devices", "rapl", "break_even", "paper_layers", "paper_ledger", "conventions", "paper"),
        *("hdf5", "integers", "machine", "stored_counts", "recount"),
    ),
    "deploy": (
        *("errors", "ir", "engine", "clips", "frontend", "passes", "exchange"),
        *(
            "torch_network",
            "tuning",
            "arguments",
            "lava_network",
            "gates",
            "costs",
            "execution",
            "report",
            "pipeline",
            "comparison",
        ),
        *("request", "importing", "exporting", "shipped", "preparation", "session"),
        *("export_nir", "run_lava", "compare"),
    ),
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
        ("svformer/model/svformer.py", "import torch\nfrom svformer.model.neurons import PLIF", []),
        ("svformer/model/svformer.py", "def f():\n    from deploy.ir import nodes", ["deploy"]),
        ("svformer/model/neurons.py", "import norse.torch as snn", []),
        ("svformer/model/svformer.py", "import norse.torch as snn", ["norse"]),
        ("hardware/energy.py", "import hardware.paper, svformer.common.errors", ["svformer"]),
        ("deploy/pipeline.py", "from hardware import energy\nfrom svformer import model", []),
        ("deploy/pipeline.py", "from lava.proc.lif.process import LIF", ["lava"]),
        ("deploy/lava_network/blocks.py", "from lava.proc.lif.process import LIF", []),
        ("deploy/lava_network/blocks.py", "import cv2, torchvision.ops", ["cv2", "torchvision"]),
        ("deploy/pipeline.py", "from . import lava_network", []),
    ],
)
def test_the_rules_see_every_form_of_import(place: str, source: str, expected: list[str]) -> None:
    assert violations(place, source) == expected


def room_of(package: str, module: str) -> str:
    """The room of the package that a dotted module lies in; empty for other packages and for the package's face."""
    parts = module.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 and parts[1] in ROOMS[package] else ""


def steps_up(package: str, place: str, source: str) -> list[str]:
    """Rooms above its own that a file imports."""
    order = ROOMS[package]
    own = order.index(room_of(package, place.removesuffix(".py").replace("/", ".")))
    modules = [f"{module}.{name}" for module, name in imported_names(source)]
    found = {room for module in modules if (room := room_of(package, module))}
    return sorted(room for room in found if order.index(room) > own)


def imported_names(source: str) -> list[tuple[str, str]]:
    """Module and name of all absolute imports, those for type checkers and those inside functions included."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [(node.module, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_themselves_and_those_below(package: str) -> None:
    """So a reader can start at the ground and never meets what was not explained yet; and there is no circle."""
    places = {place: source for place, source in sources(package).items() if place != f"{package}/__init__.py"}
    rooms = {room_of(package, place.removesuffix(".py").replace("/", ".")) for place in places}
    assert rooms == set(ROOMS[package]), "a room that the list does not name, or a name without a room"
    found = {place: steps_up(package, place, source) for place, source in places.items()}
    assert {place: rooms for place, rooms in found.items() if rooms} == {}


@pytest.mark.parametrize(
    ("place", "source", "expected"),
    [
        ("deploy/ir/network.py", "from deploy.passes.bounds import prove", ["passes"]),
        ("deploy/ir/network.py", "from deploy import passes", ["passes"]),
        ("deploy/ir/network.py", "def f():\n    import deploy.engine.layers", ["engine"]),
        ("deploy/passes/bounds.py", "from deploy.ir.network import Network\nfrom deploy import lower", []),
    ],
)
def test_a_step_up_is_seen(place: str, source: str, expected: list[str]) -> None:
    assert steps_up("deploy", place, source) == expected


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


def test_no_helper_of_the_tests_hides_a_library() -> None:
    """The folder tests/support lies on sys.path while they run."""
    assert shadowed({path.stem for path in (ROOT / "tests" / "support").glob("*.py")}) == set()


def test_the_tests_are_no_package() -> None:
    """lava-nc and lava-dl install a top-level package `tests`, which ours would hide or be hidden by."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
