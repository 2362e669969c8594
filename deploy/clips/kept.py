"""Pictures of the videos that were read last: a run looks at the same clip several times, and decodes it once."""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path

from torch import Tensor

LIMIT = 32_000_000  # bytes; some 160 clips of 64 x 64 pixels, 13 of 224 x 224


class KeptClips:
    """Clips by what they are: those that were not asked for longest make room where all take more than `limit` bytes.

    A file that has changed since is read again.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self._clips, self._lock = limit, dict[Hashable, Tensor](), threading.Lock()

    def find(self, path: Path, view: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """The clip of a file, or what `read` gives; `view` is all that decides what of the file is read.

        Nobody may write into the result.
        """
        key = (view, path.absolute(), *_state(path))
        with self._lock:
            found = self._clips.pop(key, None)
        clip = read() if found is None else found
        with self._lock:
            self._clips[key] = clip  # the last that makes room
            while sum(kept.nbytes for kept in self._clips.values()) > self.limit:
                del self._clips[next(iter(self._clips))]
        return clip


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:  # `read` says it
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


KEPT = KeptClips()
