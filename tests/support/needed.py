"""Which libraries a test file cannot be imported without, read from the sources: its imports, and theirs."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (ROOT, ROOT / "tests" / "support", ROOT / "benchmarks")  # where modules of ours lie
# Library -> packages that bring it when they are imported.
BRINGS = {"lava": {"lava"}, "torch": {"norse", "snntorch", "spikingjelly", "tonic", "torch"}}


def needed(path: Path) -> set[str]:
    """Libraries of `BRINGS` that are imported when this file is: imports at the top of it and of all modules of ours
    that follow, not those inside functions or for type checkers alone.
    """
    seen, waiting, libraries = set[Path](), [path], set[str]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for module in _imported(file):
            own = _file_of(module)
            if own is None:
                libraries.add(module.partition(".")[0])
            else:
                waiting.append(own)
    return {name for name, packages in BRINGS.items() if libraries & packages}


@cache
def _file_of(module: str) -> Path | None:
    """The source of a module of ours; None for that of a library."""
    for place in PLACES:
        base = place.joinpath(*module.split("."))
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def _imported(file: Path) -> frozenset[str]:
    """Modules that are imported with a file, with the packages around them."""
    found = set[str]()
    for node in _imports(ast.parse(file.read_text("utf-8")).body):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]  # the last may be a module
        for name in names:
            parts = name.split(".")
            found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return frozenset(found)


def _imports(body: Iterable[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0):
            yield node
        elif isinstance(node, ast.If):
            checked = "TYPE_CHECKING" in ast.unparse(node.test)
            yield from _imports([*([] if checked else node.body), *node.orelse])
        elif isinstance(node, (ast.Try, ast.With, ast.ClassDef)):
            yield from _imports([*node.body, *getattr(node, "orelse", [])])
