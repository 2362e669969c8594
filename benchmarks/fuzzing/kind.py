"""What a kind of input is to the fuzzer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How inputs of one kind are made, and what the product does with them.

    `make` writes an input into an empty folder, by the random numbers alone. `read` does with that folder what a
    command would do: it returns where the input is taken, and raises what the command would end with.
    """

    about: str
    make: Callable[[Random, Path], None]
    read: Callable[[Path], None]
