"""Runs the batches of a list of clips that are not done yet, wherever that is, and adds up what they leave."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from deploy.clips.read import LeftOut
from deploy.clips.source import ClipSource
from deploy.execution.batch import BatchResult, kept_again, run_batch
from deploy.execution.resume import ResultFolder
from deploy.execution.spec import RunSpec
from deploy.execution.tally import Tally
from svformer.common.errors import InputError, UserFacingError

Results = Generator[BatchResult, None, None]
OnClips = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips of one length to run at the same time, and their places in the list."""

    places: Sequence[int]
    sources: Sequence[ClipSource]


class Runner(Protocol):
    """Where batches run."""

    @property
    def workers(self) -> int:
        """How many run at the same time."""

    @property
    def available_bytes(self) -> int | None:
        """Memory that each of them may take; None: all there is in this process."""

    def run(self, spec: RunSpec, sources: Sequence[ClipSource], batches: Sequence[Batch], on_clips: OnClips) -> Results:
        """What each of the batches comes to, in any order; `on_clips` gets the clips of unfinished ones.

        `sources` are all clips of the run.
        """


class InProcess:
    """Batches run in this process, one after the other."""

    workers = 1
    available_bytes = None

    def run(self, spec: RunSpec, sources: Sequence[ClipSource], batches: Sequence[Batch], on_clips: OnClips) -> Results:
        for batch in batches:
            yield run_batch(spec, batch.sources, places=batch.places, on_steps=in_clips(spec, batch, on_clips))


def in_clips(spec: RunSpec, batch: Batch, on_clips: OnClips) -> Callable[[int], None]:
    """What hears the time steps of a batch that are done, and tells them as clips."""
    clips = len(batch.sources)
    steps = spec.of(batch.sources).plan.steps(clips)
    return lambda done: on_clips(clips * done / steps)


def batches_left(sources: Sequence[ClipSource], done: Sequence[BatchResult], size: int) -> list[Batch]:
    """Split the clips that are in no stored result into batches of at most `size`, each of clips of one length.

    A batch holds neighbours among the clips of its length; the batches come in the order of their first clips.
    """
    taken = {place for part in done for place in part.taken}
    lengths: dict[int | None, list[list[int]]] = {}
    for place, source in enumerate(sources):
        runs = lengths.setdefault(source.frames, [[]])
        if place in taken or len(runs[-1]) == size:
            runs.append([])
        if place not in taken:
            runs[-1].append(place)
    runs_of_all = sorted(run for runs in lengths.values() for run in runs if run)
    return [Batch(places=tuple(run), sources=[sources[place] for place in run]) for run in runs_of_all]


def collect(
    spec: RunSpec,
    sources: Sequence[ClipSource],
    *,
    size: int,
    runner: Runner,
    results: ResultFolder | None = None,
    on_clips: OnClips = lambda clips: None,
) -> Tally:
    """All clips in batches of at most `size`: those that lie in `results` from there, the others by `runner`."""
    several = len(batches_left(sources, [], size)) > 1
    stored = results if results and (results.resume or several) else None
    found = stored.open(spec, sources) if stored else []
    so_far = _Progress(sources, on_clips)
    for part in found:
        so_far.add(part)
    batches = batches_left(sources, found, size)
    with _going_on(len(sources), stored), closing(runner.run(spec, sources, batches, so_far.on_unfinished)) as running:
        for part in running:
            if stored:
                stored.add(part)
            so_far.add(part)
    so_far.left_out.say()
    return so_far.tally(spec)


class _Progress:
    """The parts of a run so far."""

    def __init__(self, sources: Sequence[ClipSource], on_clips: OnClips) -> None:
        self.sources, self.on_clips = sources, on_clips
        self.parts: list[BatchResult] = []
        self.left_out = LeftOut(sources)

    @property
    def done(self) -> int:
        """Clips that are done, those left out included."""
        return sum(part.count for part in self.parts)

    def add(self, part: BatchResult) -> None:
        """Take up a part; raises `InputError` where too many of its clips, with those before, cannot be read."""
        self.parts.append(part)
        for place, reason in part.left_out.items():
            self.left_out.add(self.sources[place], InputError(reason))
        self.on_clips(self.done)

    def on_unfinished(self, clips: float) -> None:
        self.on_clips(self.done + clips)

    def tally(self, spec: RunSpec) -> Tally:
        """All parts in the order of the clips; the spikes of the first clips, also where a later one took the place of
        one that cannot be read.
        """
        parts = sorted(self.parts, key=lambda part: part.first)
        total = sum((part.tally for part in parts), Tally()).ordered(
            [place for part in parts for place in part.places], spec.keep
        )
        kept = sum(place < spec.keep for part in parts for place in part.places)
        if missing := total.clips[kept : spec.keep]:
            total = sum((kept_again(spec, clip.source) for clip in missing), total)
        return total


@contextmanager
def _going_on(clips: int, stored: ResultFolder | None) -> Iterator[None]:
    """Say, of what ends a run too early, how much is done and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, UserFacingError) as error:
        if stored is None:
            raise
        done = f"{stored.clips} of {clips} clips are done; go on with the same command and --resume"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(done) from None
        error.add_note(done)
        raise
