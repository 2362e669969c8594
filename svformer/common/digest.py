"""Files as one number: sources, whether or not they come from a repository, and what a result was made of."""

import hashlib
from pathlib import Path


def source_digest(first: Path, *others: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all .py files in folders and below them, with their names."""
    digest = hashlib.sha256()
    for folder in (first, *others):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
