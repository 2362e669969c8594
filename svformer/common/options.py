"""What the options of commands take: types for a parser that also check values from Python, in the same words."""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from svformer.common.errors import InputError

Value = TypeVar("Value", int, float)


@dataclass(frozen=True, kw_only=True)
class Number(Generic[Value]):
    """The numbers that an option takes: the `type` of its argument, and a check for a value that Python code gives."""

    read: Callable[[str], Value]
    allowed: str  # in words
    holds: Callable[[Value], bool]

    def __call__(self, text: str) -> Value:
        try:
            value = self.read(text)
        except ValueError:
            value = None
        if value is None or not self.holds(value):
            raise argparse.ArgumentTypeError(f"{text}; allowed: {self.allowed}")
        return value

    def check(self, option: str, value: Value | None) -> None:
        """Raise `InputError` for a number that the option does not take; None means that it was not given."""
        if value is not None and not self.holds(value):
            raise InputError(f"{option} {value}; allowed: {self.allowed}")


def at_least(lowest: int) -> Number[int]:
    """Whole numbers from `lowest`."""
    return Number(read=int, allowed=f"{lowest} or more", holds=lambda value: value >= lowest)


def between(lowest: int, highest: int) -> Number[int]:
    """Whole numbers from `lowest` to `highest`."""
    return Number(read=int, allowed=f"{lowest} to {highest}", holds=lambda value: lowest <= value <= highest)


def positive(allowed: str) -> Number[float]:
    """Numbers above 0, infinity excluded."""
    return Number(read=float, allowed=allowed, holds=lambda value: 0 < value < math.inf)


positive_int = at_least(1)
positive_float = positive("a positive number")
positive_seconds = positive("a positive number of seconds")
positive_fps = positive("a positive number of frames a second")
positive_ms = positive("a positive number of milliseconds")
share = Number(read=float, allowed="a share from 0 to 1", holds=lambda value: 0 <= value <= 1)


def views(text: str) -> tuple[int, int]:
    """Temporal and spatial views of a clip, "5x3"."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}; allowed: temporal x spatial counts from 1, such as 5x3")
    return int(found[1]), int(found[2])


def pixels(text: str) -> tuple[int, int]:
    """Width and height of a picture, "240x180"."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}; allowed: width x height in pixels, such as 240x180")
    return int(found[1]), int(found[2])


def fields_of(kind: type, arguments: argparse.Namespace, *, apart: Sequence[str] = ()) -> dict[str, Any]:
    """The options of a command line as arguments of a dataclass, whose fields have their names; without those `apart`.

    An option that is neither a field nor apart would have no effect, which is a mistake of the command.
    """
    options = {name: value for name, value in vars(arguments).items() if name not in apart}
    if unknown := options.keys() - {field.name for field in dataclasses.fields(kind)}:
        raise TypeError(f"options without an effect: {', '.join(sorted(unknown))}")
    return options
