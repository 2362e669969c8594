"""Files that are either complete or not there: nothing half-written is ever found under the final name."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from svformer.common.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds, remove it when it fails.

    Missing parent folders are made. The temporary name has the same suffix, since some writers choose a format by it.
    Raises `InputError` when the folder cannot be made, or when `path` is a folder or a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({error.strerror}); choose another folder") from error
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; a result is an ordinary file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
