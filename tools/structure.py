#!/usr/bin/env python3
"""Rooms, floors and arrows of the packages: which part imports which, read from the sources alone.

    python tools/structure.py                 # a table for each package
    python tools/structure.py deploy --arrows

A room is a file or folder that lies directly in a package. A floor is the longest way down to a room that imports no
other. An arrow between two rooms that import each other, directly or by way of others, lies on a circle; there should
be none (tests/project/test_architecture.py holds the order of the rooms).
"""

import argparse
import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
PACKAGES = ("svformer", "hardware", "deploy")


def room_of(package: str, module: str) -> str | None:
    """The room that a dotted module of the package lies in; None for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else None


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of all absolute imports, those for type checkers and those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(package: str) -> "nx.DiGraph[str]":
    """An edge from every room to each other room of the package that it imports."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for path in sorted((ROOT / package).rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        room = room_of(package, module)
        if room is None or room == "__init__":
            continue  # a package's face hands names on; it is no room
        graph.add_node(room)
        for name in imported_modules(path.read_text("utf-8")):
            other = room_of(package, name)
            if other not in (None, room) and _exists(package, other):
                graph.add_edge(room, other)
    return graph


def _exists(package: str, room: str | None) -> bool:
    return (ROOT / package / f"{room}.py").is_file() or (ROOT / package / str(room)).is_dir()


def floors(graph: "nx.DiGraph[str]") -> list[list[str]]:
    """Rooms by floor, from the ground up; rooms on a circle share a floor."""
    condensed = nx.condensation(graph)
    levels: dict[int, int] = {}
    for group in reversed(list(nx.topological_sort(condensed))):
        levels[group] = max((levels[other] + 1 for other in condensed.successors(group)), default=0)
    found: list[list[str]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for group, level in levels.items():
        found[level] += sorted(condensed.nodes[group]["members"])
    return [sorted(level) for level in found]


def circles(graph: "nx.DiGraph[str]") -> list[list[str]]:
    """Groups of rooms that import each other."""
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), help=f"default: {' '.join(PACKAGES)}")
    parser.add_argument("--arrows", action="store_true", help="print what every room imports, too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    for package in arguments.packages:
        graph = rooms(package)
        levels, found = floors(graph), circles(graph)
        arrows = graph.number_of_edges()
        print(f"{package}: {len(graph)} rooms, {len(levels)} floors, {arrows} arrows, {len(found)} circles")
        for number, level in reversed(list(enumerate(levels, 1))):
            print(f"  {number:2}  {', '.join(level)}")
            if arguments.arrows:
                for room in level:
                    print(f"        {room} -> {', '.join(sorted(graph.successors(room))) or '-'}")
        for group in found:
            print(f"  circle: {', '.join(group)}")


if __name__ == "__main__":
    main()
