"""Files of a data set that cannot be read: left out with one line each, up to a share of the data set."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from svformer.common.errors import InputError

Item = TypeVar("Item")


class UnreadableError(InputError):
    """More files than allowed cannot be read."""

    def __init__(self, message: str) -> None:
        # A data loader raises an error of its worker again with the whole traceback as its message, our line last.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class OncePerFile:
    """A mark for every file of a data set; shared with the workers of a data loader."""

    def __init__(self, files: int) -> None:
        self._marked = torch.zeros(files, dtype=torch.bool)
        self._marked.share_memory_()

    def __len__(self) -> int:
        return len(self._marked)

    @property
    def count(self) -> int:
        """The number of marked files."""
        return int(self._marked.sum())

    def mark(self, index: int) -> bool:
        """Mark a file; whether it is the first time."""
        first = not self._marked[index]
        self._marked[index] = True
        return first


class Unreadable:
    """The files of a data set that turned out unreadable, and the share of files that may be so, from 0 to 1.

    Raises `InputError` for a share outside 0 to 1.
    """

    def __init__(self, files: int, allowed: float) -> None:
        if not 0 <= allowed <= 1:
            raise InputError(f"a share of {allowed:g} unreadable files; allowed: 0 (none) to 1 (all)")
        self.allowed = allowed
        self._found = OncePerFile(files)

    @property
    def count(self) -> int:
        """The number of unreadable files."""
        return self._found.count

    def add(self, index: int, error: InputError) -> None:
        """Report a file once; raises `UnreadableError` when too many are unreadable, or all."""
        if self.allowed == 0:
            raise UnreadableError(str(error)) from error
        if not self._found.mark(index):
            return
        print(f"left out: {error}", file=sys.stderr, flush=True)
        if self.count > self.allowed * len(self._found) or self.count == len(self._found):
            raise UnreadableError(
                f"{self}, more than the {100 * self.allowed:g} % that are allowed, the last: {error}; "
                "or allow more with --max-unreadable SHARE"
            )

    def readable(self, indices: Sequence[int], read: Callable[[int], Item]) -> list[Item]:
        """The results of `read` for the files with these indices, without those for which it raises `InputError`."""
        items = list[Item]()
        for index in indices:
            try:
                items.append(read(index))
            except InputError as error:
                self.add(index, error)
        return items

    def __str__(self) -> str:
        return f"{self.count} of {len(self._found)} files cannot be read"
