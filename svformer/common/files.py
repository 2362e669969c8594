"""Files that are either complete or not there: nothing half-written is ever found under the final name."""

import contextlib
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from svformer.common.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds, remove it when it fails.

    Missing parent folders are made. The temporary name has the same suffix, since some writers choose a format by it.
    What a process left there that was killed while it wrote the same file is removed, too.
    Raises `InputError` when the folder cannot be made, or when `path` is a folder or a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({error.strerror}); choose another folder") from error
    handle, temporary = _begun(path)
    try:
        for other in path.parent.glob(f"{glob.escape(_begins(path))}????????{glob.escape(path.suffix)}"):
            _remove_left(other)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; a result is an ordinary file
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _begins(path: Path) -> str:
    return f".{path.stem}-unfinished-"


def _begun(path: Path) -> tuple[int, Path]:
    """A new temporary file, locked for as long as this process writes it, however it ends."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_begins(path), suffix=path.suffix)
        with contextlib.suppress(OSError):  # a file system without locks: nobody removes anything there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process took it for one that was left, before it was locked


def _remove_left(unfinished: Path) -> None:
    """Remove a temporary file that no living process writes."""
    with contextlib.suppress(OSError):  # somebody writes it, it is gone, or not ours to touch
        handle = os.open(unfinished, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unfinished.unlink()
        finally:
            os.close(handle)


def require_new(*paths: Path, force: bool) -> None:
    """Raise `InputError` where a result would overwrite a file, unless the user asks for that (`force`)."""
    taken = [str(path) for path in paths if path.exists()]
    if taken and not force:
        raise InputError(f"{taken[0]}: exists; choose another --out, or --force to overwrite it")


def read_text(path: str | Path) -> str:
    """The text of a file, UTF-8 with or without a byte order mark; raises `InputError` for what is none."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no text in UTF-8 ({error}); save it as such") from error
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from error


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write a whole file through `atomic_path`.

    For formats whose libraries write piece by piece and crash on a full disk (HDF5): their content is made in memory
    first, so that a full disk raises an ordinary `OSError` here.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
