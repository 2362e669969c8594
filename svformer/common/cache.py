"""The user's cache folder of this project: files that save time and may be deleted at any moment."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`svformer-loihi` in $XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "svformer-loihi"
