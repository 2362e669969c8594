"""The table of all kinds of input."""

from collections.abc import Sequence

from fuzzing import clips, commands, files, lists, networks, netx
from fuzzing.kind import Kind
from svformer.common.errors import InputError

KINDS: dict[str, Kind] = {**networks.KINDS, **netx.KINDS, **clips.KINDS, **files.KINDS, **lists.KINDS, **commands.KINDS}


def chosen(names: Sequence[str]) -> dict[str, Kind]:
    """The kinds of these names, or all; raises `InputError` for a name that none has."""
    if unknown := [name for name in names if name not in KINDS]:
        raise InputError(f"--kind {' '.join(unknown)}; allowed: {', '.join(KINDS)}")
    return {name: KINDS[name] for name in names or KINDS}
