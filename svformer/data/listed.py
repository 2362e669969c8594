"""Clips that a list names, of which some may not be on disk."""

import sys
from collections.abc import Sequence

from svformer.common.errors import InputError
from svformer.data.videos import VideoEntry


def require_files(entries: Sequence[VideoEntry], part: str, *, allowed: float, layout: str) -> list[VideoEntry]:
    """The entries whose file is there; what is left out is said on standard error.

    `part` names the list, `allowed` is the share of its files that may be missing (0 to 1). Raises `InputError` where
    more are, or all.
    """
    found = [entry for entry in entries if entry.path.is_file()]
    missing = [entry.name for entry in entries if not entry.path.is_file()]
    if not missing and found:
        return found
    if not entries:
        raise InputError(f"{part}: names no clip of the classes that are there; expected {layout}")
    text = f"{part}: {len(missing)} of its {len(entries)} videos are missing, first {missing[0]}"
    if not found or len(missing) > allowed * len(entries):
        raise InputError(
            f"{text}; expected {layout}; unpack the whole archive there, or allow more with --max-unreadable SHARE"
        )
    print(f"{text}; the run goes without them", file=sys.stderr, flush=True)
    return found
