"""Odd numbers, names and bytes: what files hold that nobody meant to write."""

import math
from random import Random
from typing import Any

import numpy as np

WHOLE = (0, 1, 2, 3, 5, 7, 16, 127, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**32, 2**40, 2**62)
NUMBERS = (*WHOLE, *(-n for n in WHOLE), 0.5, -0.25, 1e-3, 1e-30, 1e-300, 3.5e38, 1e300, math.inf, -math.inf, math.nan)
NAMES = (
    *("", " ", ".", "..", "../../up", "/etc/hostname", "a/b", "a.b", "input", "output", "nodes", "a" * 300),
    *(
        "<script>alert(1)</script>",
        "Läufer 走る",
        "\N{RIGHT-TO-LEFT OVERRIDE}gnp",
        "new\nline",
        "%s%n",
        "{0}",
        "#3",
        "-x",
    ),
)
DTYPES = ("f8", "f4", "f2", ">f8", "i8", "i4", "i1", "u1", "u8", "?", "c16", "S4", "U3")


def number(rng: Random) -> int | float:
    return rng.choice(NUMBERS)


def array(rng: Random, shape: tuple[int, ...] | None = None) -> Any:
    """An array of a random type, with ordinary and odd values."""
    if shape is None:
        shape = tuple(rng.choice((0, 1, 1, 2, 3, 4, 7)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 5))))
    size = math.prod(shape)
    values = [number(rng) if rng.random() < 0.2 else rng.gauss(0, 1) for _ in range(size)]
    with np.errstate(all="ignore"):
        return cast(np.array(values, dtype=np.float64).reshape(shape), rng.choice(DTYPES))


def cast(values: Any, dtype: str) -> Any:
    """The values in another type, as far as it holds them."""
    kind = np.dtype(dtype).kind
    if kind in "iu":
        limits = np.iinfo(dtype)
        finite = np.nan_to_num(np.asarray(values, dtype=np.float64))
        return np.clip(finite, float(limits.min) / 2, float(limits.max) / 2).astype(dtype)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype)


def mutated(rng: Random, content: bytes) -> bytes:
    """Bytes with one to six changes: bits, numbers, pieces cut, moved or put in twice."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if found:
            rng.choice(CHANGES)(rng, found)
    return bytes(found)


def _flip(rng: Random, found: bytearray) -> None:
    found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)


def _overwrite(rng: Random, found: bytearray) -> None:
    at, size = rng.randrange(len(found)), rng.choice((1, 2, 4, 8))
    value = int(rng.choice(WHOLE)) % 2 ** (8 * size)
    found[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _noise(rng: Random, found: bytearray) -> None:
    at, size = rng.randrange(len(found)), rng.randrange(1, 64)
    found[at : at + size] = rng.randbytes(size)


def _cut(rng: Random, found: bytearray) -> None:
    at = rng.randrange(len(found))
    del found[at : at + rng.choice((1, 4, 64, len(found)))]


def _repeat(rng: Random, found: bytearray) -> None:
    at = rng.randrange(len(found))
    found[at:at] = found[at : at + rng.choice((1, 8, 256))] * rng.choice((1, 2, 50))


def _near_the_beginning(rng: Random, found: bytearray) -> None:
    found[rng.randrange(min(len(found), 96))] = rng.randrange(256)


CHANGES = (_flip, _overwrite, _noise, _cut, _repeat, _near_the_beginning, _near_the_beginning)
