"""One number for all sources of a package, whether or not they come from a repository."""

import hashlib
from pathlib import Path

SVFORMER = Path(__file__).parents[1]


def source_digest(package: Path = SVFORMER) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all Python files in a package's folder, with their names."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
