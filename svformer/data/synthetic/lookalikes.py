"""Writers of small look-alikes of the official data sets; `svformer.data.lookalike` is the command."""

import csv
import io
import itertools
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from svformer.common.errors import InputError
from svformer.common.files import atomic_path, write_bytes
from svformer.common.terminal import track
from svformer.data import procedural
from svformer.data.aedat import write_aedat
from svformer.data.choice import LOOKALIKES
from svformer.data.dvs128 import CLASSES as GESTURES
from svformer.data.dvs128 import IBM_LISTS, LABEL_COLUMNS, TONIC_FOLDERS
from svformer.data.event_files import US_PER_MS
from svformer.data.events import SENSOR_PX, Events
from svformer.data.ntu60 import VideoName
from svformer.data.synthetic import scenes
from svformer.data.synthetic.event_camera import US_PER_S, EventCamera

NTU_PERFORMERS = (1, 3)  # a training and a test performer of xsub
NTU_SIZES_PX = {1: (171, 97), 2: (213, 119), 3: (161, 121)}  # width and height by camera
NTU_FPS = 30

# Brightness of the scene, relative to `EventCamera.dark_level`: in dim light there are fewer events.
LIGHTS = {"fluorescent": 1.0, "fluorescent_led": 1.5, "lab": 0.7, "led": 0.5, "natural": 2.0}
FIRST_USERS = {True: 1, False: 24}  # first user of the training part (True) and of the test part (False)
BEFORE_US, BETWEEN_US = US_PER_S, US_PER_S // 2  # pauses in a recording: before the first gesture, between gestures


def ucf101(out: str | Path, *, seed: int = 0) -> Path:
    """Write the easy procedural set with two groups; returns its folder."""
    return procedural.generate(out, groups=2, clips_per_group=1, seed=seed, workers=1)


def ntu60(out: str | Path, *, seed: int = 0, actions: int = len(scenes.CLASSES)) -> Path:
    """Write a video for each performer, camera and action; returns the folder, which must not exist (`InputError`)."""
    folder = _new(Path(out) / "nturgb+d_rgb")
    jobs = list(itertools.product(NTU_PERFORMERS, NTU_SIZES_PX, range(1, actions + 1)))
    for performer, camera, action in track(jobs, "writing videos"):
        sample = VideoName(setup=1, camera=camera, performer=performer, replication=1, action=action)
        pictures = scenes.draw_clip(scenes.CLASSES[action - 1], seed=seed, group=performer, clip=camera)
        with atomic_path(folder / sample.file_name) as temporary:
            write_video(temporary, pictures, size_px=NTU_SIZES_PX[camera], fps=NTU_FPS)
    return Path(out)


def write_video(path: Path, pictures: NDArray[np.uint8], *, size_px: tuple[int, int], fps: int) -> None:
    """Write pictures [N, height, width, 3] as MPEG-4, scaled to `size_px` (width, height)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, options={"qmin": "4", "qmax": "4"})
        stream.width, stream.height = size_px
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(*size_px, format="yuv420p")))
        container.mux(stream.encode())


@dataclass(frozen=True, kw_only=True)
class GestureRecording:
    """All gestures of one user in one light; the times of events count from the start of each gesture."""

    name: str
    train: bool
    gestures: tuple[Events, ...]


def dvs128(out: str | Path, *, seed: int = 0, users: int = 2, lights: Sequence[str] = tuple(LIGHTS)) -> Path:
    """Write recordings of `users` users in each part, each in every light; returns the folder.

    Raises `InputError` where it exists.
    """
    tonics, ibms = _new(Path(out) / "DVSGesture"), _new(Path(out) / "DvsGesture")
    recorded = _recordings(seed, users, lights)
    names: dict[bool, list[str]] = {True: [], False: []}
    for recording in track(recorded, "recording events", total=2 * users * len(lights)):
        _write_for_tonic(recording, tonics / TONIC_FOLDERS[recording.train] / recording.name)
        _write_as_ibm(recording, ibms)
        names[recording.train].append(f"{recording.name}.aedat")
    for train in (True, False):
        _write_lines(ibms / IBM_LISTS[train], names[train])
        _pack(tonics / TONIC_FOLDERS[train])
    return Path(out)


def _recordings(seed: int, users: int, lights: Sequence[str]) -> Iterator[GestureRecording]:
    for train, offset in itertools.product((True, False), range(users)):
        user = FIRST_USERS[train] + offset
        motions = scenes.CLASSES[: len(GESTURES)]
        videos = [scenes.draw_clip(motion, seed=seed, group=user, clip=1) for motion in motions]
        for light in lights:
            rng = np.random.default_rng((seed, user, list(LIGHTS).index(light)))
            gestures = tuple(_seen(video, LIGHTS[light], rng) for video in videos)
            yield GestureRecording(name=f"user{user:02d}_{light}", train=train, gestures=gestures)


def _seen(video_NHWC: NDArray[np.uint8], light: float, rng: np.random.Generator) -> Events:
    """Events of a video whose middle square lies in the middle of the sensor."""
    side = scenes.HEIGHT_PX
    left = (scenes.WIDTH_PX - side) // 2
    grey_NHW = light * video_NHWC[:, :, left : left + side].mean(axis=-1)
    times_us = np.arange(len(video_NHWC)) * (US_PER_S / scenes.FPS)
    events = EventCamera(threshold=0.4).record(grey_NHW, times_us, rng)
    for axis in ("x", "y"):
        events[axis] += (SENSOR_PX - side) // 2
    return events


def _write_for_tonic(recording: GestureRecording, folder: Path) -> None:
    for number, events in enumerate(recording.gestures):
        columns = [events["x"], events["y"], events["p"], events["t"] // US_PER_MS]
        content = io.BytesIO()
        np.save(content, np.stack([column.astype(np.int32) for column in columns], axis=1))
        write_bytes(folder / f"{number}.npy", content.getbuffer())


def _pack(folder: Path) -> None:
    """Write the archive that would contain the files of a part, beside their folder."""
    with (
        atomic_path(folder.with_name(f"{folder.name}.tar.gz")) as temporary,
        tarfile.open(temporary, "w:gz", compresslevel=1) as archive,
    ):
        archive.add(folder, folder.name)


def _write_as_ibm(recording: GestureRecording, folder: Path) -> None:
    """All gestures in one file, with labels beside it."""
    start_us, parts, rows = BEFORE_US, list[Events](), list[tuple[int, int, int]]()
    for number, gesture in enumerate(recording.gestures, start=1):
        events = gesture.copy()
        events["t"] += start_us
        end_us = int(events["t"][-1]) + 1
        parts.append(events)
        rows.append((number, start_us, end_us))
        start_us = end_us + BETWEEN_US
    with atomic_path(folder / f"{recording.name}.aedat") as temporary:
        write_aedat(temporary, np.concatenate(parts))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([LABEL_COLUMNS, *rows])
    _write_lines(folder / f"{recording.name}_labels.csv", text.getvalue().splitlines())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _new(folder: Path) -> Path:
    if folder.exists():
        raise InputError(f"{folder}: there already; remove it, or choose another folder")
    return folder


class Writer(Protocol):
    """Writes a look-alike into a folder and returns the folder."""

    def __call__(self, out: str | Path, *, seed: int = 0) -> Path: ...


_WRITERS: tuple[Writer, ...] = (ucf101, ntu60, dvs128)
WRITERS = dict(zip(LOOKALIKES, _WRITERS, strict=True))
