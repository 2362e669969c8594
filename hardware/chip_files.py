"""Files of chips: those in `hardware/chips/`, and a user's own of the same form, loaded by its path."""

import functools
from collections.abc import Hashable
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from hardware.chip import Chip
from hardware.errors import ChipError


def shipped_chips() -> list[str]:
    """Names of the chips that ship with the project, sorted."""
    files = (file.name for file in _chip_folder().iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load_chip(name_or_path: str | Path) -> Chip:
    """Load a shipped chip by its name, or a user's own file by its path.

    Raises ChipError, which lists everything that is wrong with the file: unknown and missing keys, keys given
    twice, figures without unit or source, numbers of the wrong type.
    """
    where = str(name_or_path)
    if where in shipped_chips():
        return _shipped(where)
    try:
        return _parse(Path(where).read_text("utf-8"), where=where)
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(shipped_chips())
        raise ChipError(
            f"chip {where}: not the name of a shipped chip and not a readable file ({error}); "
            f"give one of {names}, or the path of a .yaml file"
        ) from error


@functools.cache
def _shipped(name: str) -> Chip:
    """A shipped chip, read once: a report asks for the same ones dozens of times."""
    return _parse(_chip_folder().joinpath(f"{name}.yaml").read_text("utf-8"), where=name)


def _chip_folder() -> Any:  # importlib's Traversable, whose home differs between Python 3.11 and 3.14
    return resources.files("hardware").joinpath("chips")


def _parse(text: str, *, where: str) -> Chip:
    data, problems = _content(text, where=where)
    try:
        chip = Chip.model_validate(data)
    except ValidationError as error:
        problems = problems + _problems(error)
    if problems:
        raise ChipError(f"chip {where}: {len(problems)} to correct: {'; '.join(problems)}")
    return chip


def _content(text: str, *, where: str) -> tuple[Any, list[str]]:
    """What a file says, and the keys that it says twice."""
    try:
        loader = _DuplicateKeyLoader(text)
        try:
            return loader.get_single_data(), loader.duplicates
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ChipError(f"chip {where}: not valid YAML: too deep") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # the last two: dates that are none, keys that are lists
        raise ChipError(f"chip {where}: not valid YAML: {' '.join(str(error).split())}") from error


def _problems(error: ValidationError) -> list[str]:
    """What is wrong with each key and what is allowed, in words of the file and not of the library.

    The keys that a kind of place may have are listed once.
    """
    found, listed = list[str](), dict[tuple[str, ...], str]()
    for detail in error.errors():
        location = ".".join(str(part) for part in detail["loc"]) or "file"
        said = str(detail["msg"])
        if detail["type"] == "extra_forbidden":
            keys = tuple(_keys(detail["loc"][:-1]))
            like = get_close_matches(str(detail["loc"][-1]), keys, 1)
            allowed = f"allowed as for {listed[keys]}" if keys in listed else f"allowed here: {', '.join(keys)}"
            said = f"no such key; {f'is {like[0]} meant? ' if like else ''}{allowed}"
            listed.setdefault(keys, location)
        elif detail["type"] == "missing":
            said = "missing"
        elif detail["type"] == "string_pattern_mismatch":
            said = f"{detail['input']!r}; allowed: small letters, digits and _"
        found.append(f"{location}: {said}")
    return found


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a place of a file may have."""
    model: Any = Chip
    for step in location:
        model = model if isinstance(step, int) else _model_of(model, step)
    return list(model.model_fields)


def _model_of(model: Any, name: str) -> Any:
    """The model of a key's value; that of the items, where it is a list or a dictionary of them."""
    field = model.model_fields.get(name)
    waiting = [] if field is None else [field.annotation]
    while waiting:
        found = waiting.pop()
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
        waiting += get_args(found)
    return model


class _DuplicateKeyLoader(yaml.SafeLoader):
    """YAML lets a later key overwrite an earlier one without a word; here that is a mistake."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct as usual, and note every key that was given before in the same mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                self.duplicates.append(f"{key.value}: given twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
