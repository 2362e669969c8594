"""Which clips of a run the interpreters judge, where a backend runs so many that judging all would take far longer."""

from collections.abc import Sequence
from pathlib import Path

from deploy.arguments import Check
from deploy.clips.source import ClipSource

SMALL = 500  # clips of a run that are all judged, where nobody says another number
SAMPLE = 100  # clips that are judged of a larger one


def checked_places(sources: Sequence[ClipSource], check: Check | None, *, keep: int) -> frozenset[int] | None:
    """Places in the list of the clips that both interpreters run, beside the backend; None: all of them.

    `check` clips are spread evenly over the list, whole videos (all views of a file), so at least as many ("sample":
    `SAMPLE`; None: all of a run of at most `SMALL` clips, else a sample). The first `keep`, whose spikes are kept, are
    always among them: where they differ from those of the float network is kept, too.
    """
    wanted = _wanted(check, len(sources))
    if wanted is None:
        return None
    videos: dict[Path, list[int]] = {}
    for place, source in enumerate(sources):
        videos.setdefault(source.path, []).append(place)
    views = list(videos.values())
    count = min(-(-wanted * len(views) // len(sources)), len(views))
    spread = {place for i in range(count) for place in views[i * len(views) // count]}
    return frozenset(spread | set(range(min(keep, len(sources)))))


def _wanted(check: Check | None, clips: int) -> int | None:
    """How many; None: all."""
    if check is None:
        check = "all" if clips <= SMALL else "sample"
    if check == "all":
        return None
    wanted = SAMPLE if check == "sample" else check
    return None if wanted >= clips else wanted
