"""Public names of a package whose modules are imported when a name is used for the first time.

Otherwise `import svformer` alone would import torch, and every command would take seconds to print its help or to
complete a word after Tab. For the same reason a command imports the modules that do its work inside `main`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence


def exported(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The `__getattr__` (PEP 562) of a package with these public names, {module: names}."""
    modules = {name: module for module, exports in names.items() for name in exports}

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return get
