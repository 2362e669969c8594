"""Arrays of NumPy in files of strangers: nothing is executed, and no memory is taken that the file does not fill."""

import contextlib
import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from svformer.common.room import COPIES, require_room

ARCHIVE = (b"PK\x03\x04", b"PK\x05\x06")  # how a .npz begins
_version: Callable[[IO[bytes]], tuple[int, int]] = np.lib.format.read_magic
HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What damaged files make NumPy and zipfile raise; none of them is an error of its own.
DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, TypeError, OverflowError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


@contextlib.contextmanager
def _of_any_python() -> Iterator[None]:
    """NumPy would warn that a header of Python 2 takes longer to read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Reading `\.npy` or `\.npz` file required additional header")
        yield


@_of_any_python()
def load_npy(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """The array of a .npy; `mapped`: of which only what is used is read, where the file can be mapped.

    Raises `ValueError` or `OSError` for another file, for one that ends before its values, and for pickled objects;
    `InputError` where the values do not fit into the memory.
    """
    with path.open("rb") as file:
        size = _said(file, os.fstat(file.fileno()).st_size)
    if mapped:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:
            pass  # no values, or none of a kind that can be mapped
    require_room(path, COPIES * size)
    return np.load(path, allow_pickle=False)


@_of_any_python()
def load_npz(file: Path | BinaryIO, what: object) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by their names; `what` is how the file is called.

    Raises one of `DAMAGED` for another file, `InputError` where the arrays do not fit into the memory.
    """
    with zipfile.ZipFile(file) as archive:
        arrays = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        require_room(what, COPIES * sum(member.file_size for member in arrays))
        for member in arrays:
            with archive.open(member) as content:
                _said(content, member.file_size)
    if not isinstance(file, Path):
        file.seek(0)
    with np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _said(file: IO[bytes], there: int) -> int:
    """Bytes of the values that a header says, of which `there` are in the file; raises `ValueError` for more."""
    try:
        version = _version(file)
        if version not in HEADERS:
            raise ValueError(f"version {version} of the format; allowed: {', '.join(map(str, HEADERS))}")
        shape, _, dtype = HEADERS[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"a header that is none ({type(error).__name__})") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {list(shape)}")
    size, there = math.prod(shape) * dtype.itemsize, there - file.tell()
    if size > there:
        raise ValueError(f"its header says {size:,} bytes of values, {there:,} are there")
    return size
