"""Source files as one number, whether or not they come from a repository."""

import hashlib
from pathlib import Path


def source_digest(*folders: Path) -> str:
    """All .py files in the folders and below them, with their names from there, as one number."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
