"""Public names of a package whose modules are imported when a name is asked for.

`import svformer` alone would import torch otherwise, and every command would take seconds to print its help or to
answer Tab. For the same reason a command's module imports what does its work inside `main`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence


def exported(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The `__getattr__` (PEP 562) of a package with these names, {module: names}."""
    modules = {name: module for module, those in names.items() for name in those}

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return get
