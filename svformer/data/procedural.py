# PYTHON_ARGCOMPLETE_OK
"""Procedural action clips whose classes differ by motion only, as real .avi files in UCF101's layout.

    python -m svformer.data.procedural data/easy
    python -m svformer.data.procedural data/hard --set hard --groups 10 --clips-per-group 1 --seed 7

The easy set has 12 motions of one object (`synthetic.scenes`); the hard one has 20 actions of a jointed figure
(`synthetic.actions`) among clutter and behind posts, filmed by a moving camera (`synthetic.people`). A group
is one scene (shapes, colours, clutter, noise, tempo, size), the same for every class; its clips are variations of it.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.options import between, positive_int
from svformer.common.terminal import say, track
from svformer.data.synthetic import actions, people, scenes
from svformer.data.synthetic.scenes import CLASSES, FPS, HEIGHT_PX, WIDTH_PX

__all__ = ["CLASSES", "WORLDS", "World", "generate"]

QUANTISER = "4"  # quality of MPEG-4, from 1 (best) to 31
DATASET_GROUPS, DATASET_CLIPS = 50, 2  # of 12 classes 864 clips train, 336 test; of 20 classes 1440 and 560
GROUPS, CLIPS_PER_GROUP = between(2, 99), between(1, 99)  # their numbers in a file's name have two digits
Job = tuple[str, int, int]  # class, group, clip; groups and clips count from 1


class DrawClip(Protocol):
    """Renders one clip, uint8 [N, height, width, 3], deterministic in its arguments."""

    def __call__(self, action: str, *, seed: int, group: int, clip: int) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True)
class World:
    """A set of classes and how their clips are drawn; `recipe` names a version and changes with every drawing."""

    classes: tuple[str, ...]
    draw_clip: DrawClip
    recipe: str


WORLDS = {
    "easy": World(classes=CLASSES, draw_clip=scenes.draw_clip, recipe="svformer procedural clips, version 1"),
    "hard": World(classes=actions.CLASSES, draw_clip=people.draw_clip, recipe="svformer procedural people, version 1"),
}


def generate(
    out: str | Path,
    *,
    world: str = "easy",
    classes: Sequence[str] | None = None,
    groups: int = DATASET_GROUPS,
    clips_per_group: int = DATASET_CLIPS,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write the data set and return its folder; a second call after an interruption continues.

    A clip depends on the seed and its class, group and number only, so larger counts and more `classes` (default: all
    of the world) add to the clips that exist; the lists name the clips of the last call. In split k (1 to 3) the k-th
    28 % of the groups are for the test, as in UCF101 (of 25 groups 1-7, 8-14, 15-21), the others for training.
    `workers` is a number of processes (default: one for each core; 1: this process). Raises `InputError` for
    an unknown world or class, counts out of range, and a folder that holds clips of another world or seed.
    """
    if world not in WORLDS:
        raise InputError(f"world {world!r}: no such set of clips; allowed: {', '.join(WORLDS)}")
    GROUPS.check("--groups", groups)
    CLIPS_PER_GROUP.check("--clips-per-group", clips_per_group)
    positive_int.check("--jobs", workers)
    chosen = WORLDS[world].classes if classes is None else tuple(classes)
    unknown = [name for name in chosen if name not in WORLDS[world].classes]
    if unknown or not chosen:
        allowed = ", ".join(WORLDS[world].classes)
        raise InputError(f"classes {', '.join(unknown) or '(none)'}: not in the {world} world; allowed: {allowed}")
    out = Path(out)
    _claim(out, world, seed)
    jobs = [(c, g, k) for c in chosen for g in range(1, groups + 1) for k in range(1, clips_per_group + 1)]
    missing = [job for job in jobs if not _clip_path(out, job).exists()]
    work = functools.partial(_write_clip, out=out, world=world, seed=seed)
    _write_clips(missing, work, workers or os.cpu_count() or 1)
    _write_lists(out / "ucfTrainTestlist", chosen, jobs, groups)
    return out


def _claim(out: Path, world: str, seed: int) -> None:
    """Write recipe and seed into the folder, so that it never holds clips of different worlds or seeds."""
    note, claim = out / "procedural.json", json.dumps({"recipe": WORLDS[world].recipe, "seed": seed})
    if note.exists() and note.read_text(encoding="utf-8").strip() != claim:
        raise InputError(
            f"{note}: not the {world} set with seed {seed} of this version; use its set and seed or an empty folder"
        )
    _write_lines(note, [claim])


def _clip_name(job: Job) -> str:
    action, group, clip = job
    return f"{action}/v_{action}_g{group:02d}_c{clip:02d}.avi"


def _clip_path(out: Path, job: Job) -> Path:
    return out / "UCF-101" / _clip_name(job)


def _write_clips(jobs: list[Job], work: Callable[[Job], None], workers: int) -> None:
    if not jobs:
        return
    with contextlib.ExitStack() as stack:
        done: Iterable[None] = map(work, jobs)
        if workers > 1:
            spawn = multiprocessing.get_context("spawn")  # forking a process that has threads may deadlock
            done = stack.enter_context(ProcessPoolExecutor(workers, spawn)).map(work, jobs, chunksize=8)
        for _ in track(done, "writing clips", total=len(jobs)):
            pass


def _write_clip(job: Job, *, out: Path, world: str, seed: int) -> None:
    """Render and encode one clip; a file under its final name is always complete."""
    action, group, clip = job
    options = {"flags": "+bitexact", "qmin": QUANTISER, "qmax": QUANTISER}
    with (
        atomic_path(_clip_path(out, job)) as temporary,
        av.open(str(temporary), "w", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream("mpeg4", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.codec_context.codec_tag, stream.codec_context.thread_count = "XVID", 1
        for picture in WORLDS[world].draw_clip(action, seed=seed, group=group, clip=clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _write_lists(folder: Path, classes: tuple[str, ...], jobs: list[Job], groups: int) -> None:
    _write_lines(folder / "classInd.txt", [f"{label} {name}" for label, name in enumerate(classes, start=1)])
    share = max(1, round(groups * 7 / 25))
    for split in (1, 2, 3):
        tested = {(share * (split - 1) + i) % groups + 1 for i in range(share)}
        train = [f"{_clip_name(job)} {classes.index(job[0]) + 1}" for job in jobs if job[1] not in tested]
        test = [_clip_name(job) for job in jobs if job[1] in tested]
        _write_lines(folder / f"trainlist{split:02d}.txt", train)
        _write_lines(folder / f"testlist{split:02d}.txt", test)


def _write_lines(path: Path, lines: list[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.data.procedural", description=__doc__ or "")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--set", dest="world", choices=tuple(WORLDS), default="easy", help="of clips (default easy)")
    parser.add_argument("--groups", type=GROUPS, default=DATASET_GROUPS, help=f"scenes (default {DATASET_GROUPS})")
    clips_help = f"a class and scene (default {DATASET_CLIPS})"
    parser.add_argument("--clips-per-group", type=CLIPS_PER_GROUP, default=DATASET_CLIPS, help=clips_help)
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    jobs_help = "processes that draw and encode clips (default: one a core)"
    parser.add_argument("--jobs", dest="workers", type=positive_int, metavar="N", help=jobs_help)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    say(f"{generate(**vars(parse_arguments(argv)))}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
