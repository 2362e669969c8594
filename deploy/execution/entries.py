"""Results of earlier runs in the user's cache folder: files by key, bounded together, any of which may be deleted."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from svformer.common.cache import cache_folder
from svformer.common.errors import InputError

T = TypeVar("T")
LIMIT = 500_000_000  # bytes
NETWORK, TUNING = ".nir", ".tuning"  # suffixes
UNREADABLE = (InputError, KeyError, ValueError, TypeError, OSError)


class Entries:
    """Entries in a folder; default: `networks` in the user's cache folder.

    Those that were not used for longest are removed when all together take more than `limit` bytes.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = LIMIT) -> None:
        self.folder = folder or cache_folder() / "networks"
        self.limit = limit

    def path(self, key: str) -> Path:
        """Where the network of a key lies, or will."""
        return self.folder / f"{key}{NETWORK}"

    def find(self, key: str, read: Callable[[Path], T]) -> T | None:
        """What `read` makes of an entry; None where there is none, or where it is damaged: then it is removed."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            found = read(path)
        except UNREADABLE:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # a folder that can only be read
            path.touch()
        return found

    def keep(self, key: str, write: Callable[[Path], None]) -> None:
        """Let `write` make an entry, and make room for it; where nothing can be written nothing is kept."""
        with contextlib.suppress(*UNREADABLE):
            write(self.path(key))
            self._shrink()

    def clear(self) -> int:
        """Remove all entries; returns how many there were."""
        entries = self._all()
        for entry in entries:
            entry.unlink(missing_ok=True)
        return len(entries)

    def _all(self) -> list[Path]:
        """The one that was not used for longest is the first."""
        found = [path for suffix in (NETWORK, TUNING) for path in self.folder.glob(f"*{suffix}")]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def _shrink(self) -> None:
        entries = self._all()
        total = sum(entry.stat().st_size for entry in entries)
        for entry in entries:
            if total <= self.limit:
                return
            total -= entry.stat().st_size
            entry.unlink(missing_ok=True)
