"""A model that the user's own code builds: the function that builds it, its weights, an example of its input.

Code runs from the module that the user names, and from nothing else: weights and examples are read as numbers.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deploy.frontend.traced.known import Described
from svformer.common.errors import InputError
from svformer.common.npy import load_npy
from svformer.common.tensors import load_tensors

HOLDERS = ("model", "state_dict", "model_state_dict", "net")  # keys under which checkpoints hold the weights
PARALLEL = "module."  # what torch's DataParallel puts in front of the names


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model in evaluation mode, an example of its input in its precision, and what neurons of its own are."""

    model: nn.Module
    example: Tensor
    neurons: Mapping[type, Described]


def load_model(factory: str, *, weights: Path | None, example: Path | None) -> Built:
    """Build a model of the user's own.

    `factory` is MODULE:FUNCTION or FILE.py:FUNCTION; the function takes nothing and returns a model, a model and an
    example, or these and the neurons of its own, as `deploy.from_torch` takes them. `weights` is a .safetensors or what
    torch.save wrote, `example` a .npy or a tensor that torch.save wrote.
    Raises `InputError` for what cannot be found, read or put together.
    """
    built = _built(factory)
    parts = built if isinstance(built, tuple) else (built,)
    model, given, neurons = (*parts, None, None)[:3]
    if not isinstance(model, nn.Module) or len(parts) > 3:
        raise InputError(f"{factory} returns {type(built).__name__}; allowed: a torch.nn.Module, or one and an example")
    if weights is not None:
        _load_weights(model, weights)
    if neurons is not None and not isinstance(neurons, Mapping):
        raise InputError(f"{factory} returns neurons as {type(neurons).__name__}; allowed: {{Class: function}}")
    found = given if example is None else _tensor(example)
    if not isinstance(found, Tensor):
        where = f"{factory} returns" if example is None else f"--example {example} holds"
        what = "no example" if found is None else f"{type(found).__name__}, no tensor"
        raise InputError(f"{where} {what}; give one with --example FILE (.npy or .pt), or return (model, example)")
    floating = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), found.dtype)
    return Built(model=model.eval(), example=found.to(floating), neurons=neurons or {})


def _built(factory: str) -> Any:
    """What the function of MODULE:FUNCTION or FILE.py:FUNCTION returns."""
    place, _, name = factory.rpartition(":")
    if not place or not name.isidentifier():
        raise InputError(f"--model {factory}; allowed: MODULE:FUNCTION or FILE.py:FUNCTION")
    with _beside(Path(place).parent if place.endswith(".py") else Path.cwd()):
        module = _file(Path(place)) if place.endswith(".py") else _module(place)
        function = getattr(module, name, None)
        if not callable(function):
            raise InputError(f"--model {factory}: {place} has no function {name}")
        try:
            return function()
        except Exception as error:  # whatever the user's own code raises
            raise InputError(f"--model {factory}: {name}() raised {type(error).__name__}: {error}") from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"--model {path}: no such file")
    name = f"{path.stem}_of_the_user" if path.stem in sys.modules else path.stem  # it may be called as a library is
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a library that the module itself misses
        raise InputError(f"--model {name}: no such module here or among the installed ones") from error


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Inside the block a folder's modules can be imported, as for a script in it."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _load_weights(model: nn.Module, path: Path) -> None:
    found = _state(path)
    names = set(model.state_dict())
    missing, unknown = sorted(names - found.keys()), sorted(found.keys() - names)
    if missing or unknown:
        raise InputError(
            f"{path}: weights of another model: {len(missing)} missing ({', '.join(missing[:3])}), {len(unknown)} "
            f"unknown ({', '.join(unknown[:3])})"
        )
    try:
        model.load_state_dict(dict(found))
    except RuntimeError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


def _state(path: Path) -> Mapping[str, Tensor]:
    """Weights by name; a checkpoint may hold them under a key beside others, or of a parallel model."""
    found = load_safe(path) if path.suffix == ".safetensors" else load_plain(path)
    held = next((found[key] for key in HOLDERS if isinstance(found, dict) and isinstance(found.get(key), dict)), found)
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise InputError(f"{path}: no weights; allowed: a dictionary of tensors, or one under {', '.join(HOLDERS)}")
    if held and all(name.startswith(PARALLEL) for name in held):
        return {name.removeprefix(PARALLEL): value for name, value in held.items()}
    return held


def load_safe(path: Path) -> Any:
    """What a .safetensors file holds."""
    _require(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable .safetensors file ({error})") from error


def load_plain(path: Path) -> Any:
    """What torch.save wrote, without running code of the file."""
    _require(path)
    try:
        return load_tensors(path)
    except ValueError as error:
        raise InputError(
            f"{path}: not readable as numbers alone; save the weights by themselves: torch.save(model.state_dict(), ..)"
        ) from error


def _tensor(path: Path) -> Tensor:
    if path.suffix != ".npy":
        return load_plain(path)
    _require(path)
    try:
        return torch.from_numpy(load_npy(path))
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a readable array ({error})") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
