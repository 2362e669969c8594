"""Clips: arrays in all their files, recordings of NIR, recordings of events, and videos."""

import csv
import io
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import av
import h5py
import nir
import numpy as np
import torch

from deploy.clips.files import from_files
from deploy.clips.fit import FrameChoice, fitted
from deploy.clips.read import load, require_fit, require_readable
from deploy.clips.source import input_format
from deploy.passes.from_nir import graph_frames
from fuzzing import hdf5, odd
from fuzzing.kind import Kind
from svformer.data.aedat import write_aedat
from svformer.data.events import EVENT
from svformer.data.nmnist import read_bin

CHANNELS, PIXELS = 4, 8
BYTES_SHARE = 0.4  # of the inputs whose bytes are changed; the others are whole files with odd content


def network(*shape: int, **metadata: Any) -> nir.NIRGraph:
    """An input and an output of a shape: what a clip has to fit."""
    nodes = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(shape))}
    return nir.NIRGraph(nodes, [("input", "output")], metadata={"dt": 1e-3, **metadata}, type_check=False)


def read_for(graph: nir.NIRGraph, choice: FrameChoice) -> Callable[[Path], None]:
    """What a command does with clips before anything runs, and the loading of every one."""

    def read(folder: Path) -> None:
        given = from_files(sorted(path for path in folder.iterdir() if path.name != "other.npy"))
        require_readable(given)
        made = nir.NIRGraph(graph.nodes, graph.edges, metadata=dict(graph.metadata), type_check=False)
        (clips,) = fitted(made, [given], choice)
        wanted = input_format(made, graph_frames(made))
        require_fit(clips, wanted)
        for clip in clips:
            load(clip, wanted)

    return read


# Arrays


def _clip(rng: Random) -> Any:
    steps = rng.randrange(1, 6)
    shapes: tuple[tuple[int, ...], ...] = (
        (steps, CHANNELS),
        (2, steps, CHANNELS),
        (CHANNELS, steps),
        (steps, 1, CHANNELS),
        (CHANNELS,),
    )
    shape = rng.choice(shapes)
    values = np.array([float(rng.random() < 0.3) for _ in range(int(np.prod(shape)))]).reshape(shape)
    return odd.array(rng) if rng.random() < 0.3 else odd.cast(values, rng.choice(odd.DTYPES))


def _arrays(rng: Random) -> dict[str, Any]:
    names = rng.choice(("x", "x y", "clips labels", "arr_0 arr_1", "a b", "X data")).split()
    found = {name: _clip(rng) for name in names}
    for name in {"y", "labels"} & found.keys():
        found[name] = rng.choice((np.array([0, 1]), np.array(["a", "b"]), np.array([0.5, 1]), odd.array(rng)))
    if rng.random() < 0.1:
        found[rng.choice(odd.NAMES)] = odd.array(rng)
    return found


def _npy(rng: Random) -> bytes:
    content = io.BytesIO()
    np.save(content, _object(rng) if rng.random() < 0.05 else _clip(rng), allow_pickle=True)
    return _lying(rng, content.getvalue())


def _object(rng: Random) -> Any:
    found = np.empty(3, dtype=object)
    found[:] = {"a": 1}, None, "text"
    return found


def _lying(rng: Random, content: bytes) -> bytes:
    """A header of numpy that says more than there is."""
    if rng.random() < 0.15 and b"'shape': (" in content:
        at = content.index(b"'shape': (")
        end = max(at, content.find(b")", at))  # changed bytes may have no end
        said = rng.choice((b"(10000000000,", b"(-1,", b"(2,3,99999999", b"(4611686018427387904, 4", b"()(", b"(1e9,"))
        line = b"'shape': " + said
        return content[:at] + line + content[end:][: max(0, len(content) - at)]
    return content


def _npz(rng: Random) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in _arrays(rng).items():
            one = io.BytesIO()
            np.save(one, values, allow_pickle=True)
            archive.writestr(f"{name or 'empty'}.npy", _lying(rng, one.getvalue()))
        if rng.random() < 0.1:
            archive.writestr(rng.choice(("notes.txt", "../up.npy", "a/b.npy")), "text")
    return content.getvalue()


def _csv(rng: Random) -> bytes:
    stream, mark = io.StringIO(), rng.choice(",;\t ")
    rows = csv.writer(stream, delimiter=mark)
    if rng.random() < 0.3:
        rows.writerow(["a", "b", "c", "d"])
    for _ in range(rng.randrange(5)):
        rows.writerow([odd.number(rng) if rng.random() < 0.1 else rng.choice((0, 1, 0.5)) for _ in range(CHANNELS)])
    return stream.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1")))


def _tensor(rng: Random) -> Any:
    found = _clip(rng)
    whole = (
        torch.zeros(2, 4)
        if found.dtype.kind in "US"
        else torch.tensor(np.ascontiguousarray(found.astype(found.dtype.newbyteorder("="))))
    )
    forms: tuple[Callable[[], Any], ...] = (
        lambda: whole,
        lambda: whole,
        lambda: [whole, whole],
        lambda: {"x": whole, "y": torch.tensor([0, 1])},
        lambda: [(whole, 1), (whole, 0)],
        lambda: (whole, torch.tensor([1])),
        lambda: whole.float().to_sparse() if whole.ndim and not whole.is_complex() else whole,
        lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (2**20, 2**20)),
        lambda: torch.zeros(1).expand(2**34),
        lambda: torch.zeros(1).expand(2**31, 4),
        lambda: torch.quantize_per_tensor(torch.zeros(2, 4), 0.1, 0, torch.quint8),
        lambda: whole.to(torch.bfloat16) if whole.dtype.is_floating_point else whole,
        lambda: torch.zeros(2, 4, device="meta"),
        lambda: {"model_state": {"a": whole}},
        lambda: {1: whole, None: 3},
        lambda: "text",
        lambda: None,
        list,
    )
    return rng.choice(forms)()


def _pt(rng: Random) -> bytes:
    content = io.BytesIO()
    torch.save(_tensor(rng), content, _use_new_zipfile_serialization=rng.random() < 0.8)
    return content.getvalue()


def _h5(rng: Random) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in _arrays(rng).items():
            if values.dtype.kind not in "US":
                file.create_dataset(name if name.isalnum() and name not in file else f"odd{len(file)}", data=values)
    return hdf5.with_odd_content(rng, content.getvalue(), rng.choice((0, 1, 2)))


ARRAYS = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".pt": _pt, ".pth": _pt, ".h5": _h5}


def make_array(rng: Random, folder: Path) -> None:
    suffix = rng.choice([*ARRAYS])
    content = ARRAYS[suffix](rng)
    (folder / f"clip{suffix}").write_bytes(odd.mutated(rng, content) if rng.random() < BYTES_SHARE else content)


def make_recording(rng: Random, folder: Path) -> None:
    """A recording of NIR on a grid or of events, with odd content or bytes."""
    steps, gridded = rng.randrange(1, 6), rng.random() < 0.5
    data = (np.array([rng.random() < 0.3 for _ in range(steps * CHANNELS)])).reshape(1, steps, CHANNELS)
    grid = nir.TimeGriddedData(data=data if rng.random() < 0.5 else data.astype(float), dt=1e-3)
    found = grid if gridded else nir.TimeGriddedData(data=data, dt=1e-3).to_event(n_events=8)
    nodes = {"input": nir.NIRNodeData({"spikes": found})}
    file = folder / "run.h5"
    nir.write_data(str(file), nir.NIRGraphData(nodes))
    content = file.read_bytes()
    if rng.random() < BYTES_SHARE:
        file.write_bytes(odd.mutated(rng, content))
    else:
        file.write_bytes(hdf5.with_odd_content(rng, content, rng.choice((1, 1, 2, 3))))


# Events and videos


def _events(rng: Random, count: int) -> Any:
    events = np.zeros(count, EVENT)
    for axis in ("x", "y"):
        events[axis] = [rng.randrange(PIXELS) for _ in range(count)]
    events["p"] = [rng.random() < 0.5 for _ in range(count)]
    events["t"] = sorted(rng.randrange(10**5) for _ in range(count))
    if count and rng.random() < 0.2:
        events[rng.choice(("x", "y", "t"))][rng.randrange(count)] = rng.choice((-1, 127, 128, 2**15 - 1))
    return events


def make_events(rng: Random, folder: Path) -> None:
    events = _events(rng, rng.choice((0, 1, 3, 40, 40)))
    form = rng.choice(("aedat", "aedat", "npy", "columns", "bin"))
    if form == "aedat":
        file = folder / "events.aedat"
        write_aedat(file, events)
    elif form == "bin":
        file = folder / "events.bin"
        file.write_bytes(rng.randbytes(5 * len(events)))
    else:
        (folder / "user01_led").mkdir()
        file = folder / "events.npy" if form == "npy" else folder / "user01_led" / "3.npy"
        values = events if form == "npy" else np.stack([events[n].astype(float) for n in ("x", "y", "p", "t")], axis=1)
        if rng.random() < 0.2 and values.dtype.names is None and values.size:
            values[rng.randrange(len(values)), rng.randrange(4)] = odd.number(rng)
        np.save(file, values)
    content = file.read_bytes()
    if rng.random() < BYTES_SHARE:
        content = odd.mutated(rng, content)
    file.write_bytes(_lying(rng, content))
    for path in list(folder.iterdir()):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def read_events(folder: Path) -> None:
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    if file.suffix == ".bin":
        read_bin(file)
        return
    number = file.stat().st_size
    choice = (
        FrameChoice(sensor=(128, 128)),
        FrameChoice(frames=3, events_by="time"),
        FrameChoice(bin_ms=10.0),
        FrameChoice(bin_ms=1e-3),
    )[number % 4]
    steps = {} if choice.frames or choice.bin_ms else {"T": 3}
    read_for(network(2, PIXELS, PIXELS, **steps), choice)(file.parent)


def make_video(rng: Random, folder: Path) -> None:
    """One of the shipped videos in one of several containers, with changed bytes."""
    suffix = rng.choice([*_VIDEOS])
    content = _video(suffix)
    changed = content if rng.random() < 0.02 else odd.mutated(rng, content)
    (folder / f"video{rng.choice((suffix, suffix, '.mp4', '.bin'))}").write_bytes(changed)


_VIDEOS: dict[str, tuple[str, str]] = {  # suffix -> format and codec
    ".avi": ("avi", "mpeg4"),
    ".mp4": ("mp4", "mpeg4"),
    ".mkv": ("matroska", "ffv1"),
    ".webm": ("webm", "libvpx"),
    ".gif": ("gif", "gif"),
    ".ts": ("mpegts", "mpeg2video"),
}


@cache
def _video(suffix: str) -> bytes:
    content, (container, codec) = io.BytesIO(), _VIDEOS[suffix]
    with av.open(content, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=25)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = {"gif": "rgb8", "ffv1": "bgr0"}.get(codec, "yuv420p")
        for i in range(12):
            picture = np.full((32, 48, 3), 20 * i, dtype=np.uint8)
            picture[i : i + 8, 2 * i : 2 * i + 8] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return content.getvalue()


KINDS = {
    "clip": Kind(
        about="arrays: .npy, .npz, .csv, .pt, .h5", make=make_array, read=read_for(network(CHANNELS), FrameChoice())
    ),
    "nir-data": Kind(
        about="recordings in NIR's data format", make=make_recording, read=read_for(network(CHANNELS), FrameChoice())
    ),
    "events": Kind(about="recordings of events: .aedat, .npy, .bin", make=make_events, read=read_events),
    "video": Kind(
        about="videos with mutated bytes",
        make=make_video,
        read=read_for(network(3, 32, 32, T=4, model="SVFormer"), FrameChoice()),
    ),
}
