"""Files of strangers: no code of theirs runs, and what they say beyond what they hold is refused by its size."""

import dataclasses
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import h5py
import nir
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import graphs
from deploy.clips.arrays import read_arrays
from deploy.clips.files import from_files
from deploy.clips.nir_data import is_recording, samples
from deploy.clips.read import stored_clip
from deploy.frontend.factory import load_plain
from deploy.ir.graph import read_nir
from hardware import ChipError, load_chip
from hardware.hdf5 import opened
from svformer.common import room
from svformer.common.errors import InputError
from svformer.common.npy import DAMAGED, load_npy, load_npz
from svformer.common.tensors import load_tensors
from svformer.config import SVFormerConfig
from svformer.data import decoding
from svformer.data.clips import load_clip
from svformer.data.event_files import read_events
from svformer.networks import build
from svformer.networks.checkpoint import FORMAT, load_network
from svformer.training.state import read_state

LITTLE = 50_000_000  # bytes that are free in these tests, where a test says so
CONFIG = SVFormerConfig(
    num_classes=2, frames=2, image_size=32, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_dim=2
)


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("svformer.common.room", "deploy.ir.graph", "deploy.clips.arrays", "deploy.clips.nir_data"):
        monkeypatch.setattr(f"{place}.available_bytes", lambda: LITTLE)
    monkeypatch.setattr(room, "SMALL", 0)


# No code runs


class Dangerous:
    """What runs code when it is unpickled: makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def pickled_in_torch(path: Path, mark: Path) -> None:
    torch.save({"model_state": {"a": Dangerous(mark)}, "format": 1}, path)


def pickled_in_npy(path: Path, mark: Path) -> None:
    np.save(path, np.array([Dangerous(mark)], dtype=object), allow_pickle=True)


def pickled_in_npz(path: Path, mark: Path) -> None:
    np.savez(path, x=np.array([Dangerous(mark)], dtype=object), allow_pickle=True)


def bare_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Dangerous(mark)))


def yaml_tag(path: Path, mark: Path) -> None:
    path.write_text(f"!!python/object/apply:os.mkdir ['{mark}']\n")


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.pt", pickled_in_torch, read_arrays),
        ("a.pyth", pickled_in_torch, load_network),
        ("a.pyth", bare_pickle, load_network),
        ("a.pt", pickled_in_torch, load_plain),
        ("a.pt", pickled_in_torch, lambda path: read_state(path, run={})),
        ("a.npy", pickled_in_npy, read_arrays),
        ("a.npy", pickled_in_npy, read_events),
        ("a.npy", bare_pickle, read_arrays),
        ("a.npz", pickled_in_npz, read_arrays),
        ("a.yaml", yaml_tag, load_chip),
    ],
)
def test_no_code_of_a_file_runs(
    name: str, write: Callable[[Path, Path], None], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    mark = tmp_path / "code-ran"
    write(tmp_path / name, mark)
    with pytest.raises((InputError, ChipError)):
        read(tmp_path / name)
    assert not mark.exists()


def test_the_dangerous_object_is_one(tmp_path: Path) -> None:
    """The files above would run code, were they read carelessly."""
    bare_pickle(tmp_path / "a.pyth", tmp_path / "code-ran")
    pickle.loads((tmp_path / "a.pyth").read_bytes())
    assert (tmp_path / "code-ran").is_dir()


# Arrays that say more than they hold


def npy(shape: str, dtype: str = "<f8", body: bytes = b"") -> bytes:
    """A .npy whose header has these words."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("(10000000000, 4)"), "its header says 320,000,000,000 bytes of values, 0 are there"),
        (npy("(3,)", body=b"12345678"), "its header says 24 bytes of values, 8 are there"),
        (npy("(-1, 4)"), r"shape \[-1, 4\]"),
        (npy("(4, "), "a header that is none"),
        (npy("(4611686018427387904, 8)"), "its header says"),
        (b"\x93NUMPY\x09\x00", r"version \(9, 0\) of the format"),
        (b"nothing", "magic string"),
        (b"", "EOF"),
    ],
)
def test_an_array_that_is_not_there_takes_no_memory(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for mapped in (True, False):
        with pytest.raises(ValueError, match=message):
            load_npy(tmp_path / "a.npy", mapped=mapped)
    with pytest.raises(DAMAGED, match=message):
        load_npz(tmp_path / "a.npz", "a.npz")
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match=r"not a readable .npy? file|not a readable .npz file"):
            read_arrays(tmp_path / name)


def test_an_archive_that_unpacks_to_more_than_there_is_room_for_is_refused(tmp_path: Path, little_room: None) -> None:
    """80 MB of zeros in an archive of 80 kB, where 50 MB are free."""
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((2500, 4000)))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(InputError, match=r"bomb.npz: would take 0.2 GB of memory, 0.1 GB are free here"):
        read_arrays(tmp_path / "bomb.npz")


def test_a_file_of_holes_is_refused(tmp_path: Path, little_room: None) -> None:
    """A .npy of 20 MB without a byte on the disk; three copies of it are more than 50 MB."""
    head = npy("(250, 10000)")
    with (tmp_path / "holes.npy").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + 250 * 10000 * 8)
    with pytest.raises(InputError, match=r"holes.npy: would take 0.1 GB"):
        stored_clip(tmp_path / "holes.npy", (10000,))


def sparse(place: int, size: int) -> torch.Tensor:
    """A square with one value at (place, place), which may be outside."""
    places = torch.full((2, 1), place, dtype=torch.long)
    return torch.sparse_coo_tensor(places, torch.ones(1), (size, size), check_invariants=False)


def test_a_sparse_tensor_with_places_outside_itself_is_refused(tmp_path: Path) -> None:
    torch.save(sparse(10**9, 4), tmp_path / "a.pt")
    with pytest.raises(InputError, match="not a readable file of tensors"):
        read_arrays(tmp_path / "a.pt")
    torch.save(sparse(2, 4), tmp_path / "b.pt")
    values = read_arrays(tmp_path / "b.pt").values
    assert isinstance(values, np.ndarray)
    assert np.argwhere(values).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(100_000_000),
        sparse(0, 10_000),
    ],
    ids=["one value for all", "sparse"],
)
def test_a_tensor_that_is_larger_than_its_file_is_refused(
    tensor: torch.Tensor, tmp_path: Path, little_room: None
) -> None:
    torch.save({"x": tensor}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 10_000
    with pytest.raises(InputError, match=r"a.pt: would take 1.2 GB of memory"):
        read_arrays(tmp_path / "a.pt")


def test_a_tensor_without_numbers_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(2, 4, device="meta"), tmp_path / "a.pt")
    with pytest.raises(InputError, match="not a readable file of tensors"):
        read_arrays(tmp_path / "a.pt")


# HDF5


def hdf5(path: Path, change: Callable[[h5py.File], None]) -> Path:
    """A NIR file after a change."""
    nodes = {"input": graphs.entry(2), "a": nir.Linear(np.ones((2, 2))), "output": graphs.result(2)}
    nir.write(str(path), graphs.chain(nodes))
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def in_another_file(file: h5py.File) -> None:
    del file["node/nodes/a/weight"]
    file.create_dataset("node/nodes/a/weight", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def virtual(file: h5py.File) -> None:
    del file["node/nodes/a/weight"]
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
    file.create_virtual_dataset("node/nodes/a/weight", layout)


def without_bytes(file: h5py.File) -> None:
    del file["node/nodes/a/weight"]
    file.create_dataset("node/nodes/a/weight", shape=(100_000, 1000), dtype="f4", chunks=(100, 100))


def link(path: str, target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = target(file)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_another_file, "/node/nodes/a/weight: its values lie in another file"),
        (virtual, "/node/nodes/a/weight: its values lie in another file"),
        (without_bytes, "/node/nodes/a/weight: would take 2.4 GB of memory, 0.1 GB are free"),
        (link("node/nodes/a/weight", lambda file: h5py.ExternalLink("/etc/x.h5", "/x")), "a link to /etc/x.h5:/x"),
        (link("node/nodes/b", lambda file: h5py.SoftLink("/node")), "/node/nodes/b: a link to /node; allowed"),
        (link("node/nodes/b", lambda file: file["node"]), "/node/nodes/b: a link to what is there already"),
        (link("node/nodes/b", lambda file: file["node/nodes/a"]), "a link to what is there already"),
    ],
)
def test_hdf5_that_is_not_whole_in_itself_is_refused(
    change: Callable[[h5py.File], None], message: str, tmp_path: Path, little_room: None
) -> None:
    path = hdf5(tmp_path / "a.nir", change)
    with pytest.raises(InputError, match=f"a.nir: not a readable NIR file .*{message}"):
        read_nir(path)
    path = path.rename(tmp_path / "a.h5")
    with pytest.raises(InputError, match=message):
        read_arrays(path)
    with pytest.raises(ValueError, match=message), opened(path, room=LITTLE):
        pass


def test_what_hdf5_holds_beside_numbers_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = h5py.Empty("f4")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        read_arrays(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("observable", "message"),
    [
        (
            nir.TimeGriddedData(data=np.zeros((1, 3, 4)), dt=float("nan")),
            "input, spikes: dt is nan; allowed",
        ),
        (nir.EventData(idx=np.array([[7]]), time=np.array([[0.0]]), n_neurons=4, t_max=1.0), "beyond the 4 neurons"),
        (nir.EventData(idx=np.array([[1]]), time=np.array([[-5.0]]), n_neurons=4, t_max=1.0), "or at no time"),
        (nir.EventData(idx=np.array([[1]]), time=np.array([[0.0]]), n_neurons=4, t_max=float("inf")), "t_max inf"),
    ],
)
def test_recordings_that_cannot_be_put_on_a_grid_are_refused(observable: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    nir.write_data(str(path), nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": observable})}))
    assert is_recording(path)
    with pytest.raises(InputError, match=message):
        samples(path)


# Checkpoints, videos, chip files, tables


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"embed_dims": (2**20,) * 4}, r"does not fit the model: .*expected \[1048576"),
        ({"embed_dims": (2**40,) * 4}, r"its geometry cannot be built"),
        ({"depths": (1, 1, 999, 1)}, "weights for 1002 blocks"),
    ],
)
def test_a_checkpoint_that_says_a_larger_network_is_refused_before_it_is_built(
    said: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Its weights are those of four channels and four blocks."""
    config = dataclasses.replace(CONFIG, **said)
    save_file(build(CONFIG).state_dict(), tmp_path / "a.safetensors", {"format": FORMAT, "config": config.to_json()})
    with pytest.raises(InputError, match=message):
        load_network(tmp_path / "a.safetensors")


def test_a_picture_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, width, height in (("large.avi", 96, 64), ("strip.avi", 1088, 32)):
        with av.open(str(tmp_path / name), "w") as file:
            stream = file.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
            for packet in (*stream.encode(picture), *stream.encode(None)):
                file.mux(packet)
    with pytest.raises(InputError, match=r"strip.avi: .*pictures of 1088 x 32 pixels, whose sides are more than 32"):
        load_clip(tmp_path / "strip.avi", size=16)
    assert load_clip(tmp_path / "large.avi", size=16).shape == (16, 3, 16, 16)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 96 * 64 - 1)
    with pytest.raises(InputError, match=r"large.avi: .*pictures of 96 x 64 pixels, more than 6,143"):
        load_clip(tmp_path / "large.avi", size=16)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3000,
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "? [a]: b\n: c",
        "date: 2020-13-45",
        "x: &a [*a]",
        "name: \x07bell",
    ],
)
def test_a_chip_file_that_is_none_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ChipError) as refused:
        load_chip(tmp_path / "a.yaml")
    assert "\n" not in str(refused.value)


def test_times_of_events_that_no_clock_shows_are_refused(tmp_path: Path) -> None:
    events = np.array([[1, 1, 1, 5.0], [1, 1, 1, 1e300]])
    np.save(tmp_path / "a.npy", events)
    with pytest.raises(InputError, match=r"a.npy: events up to 1e\+303 us; allowed: times below 9\.0072e\+15 us"):
        read_events(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [b"\xff\xfe1 A", b"\x00\xe4"])
def test_a_list_in_another_encoding_is_refused(content: bytes, tmp_path: Path) -> None:
    from svformer.data.ucf101 import Ucf101

    (tmp_path / "ucfTrainTestlist").mkdir()
    (tmp_path / "ucfTrainTestlist" / "classInd.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"classInd.txt: no text in UTF-8"):
        Ucf101(tmp_path, train=True)


def test_names_that_would_leave_a_folder_are_only_names(tmp_path: Path) -> None:
    """Archives are read in memory; what their members are called leads nowhere."""
    member = io.BytesIO()
    np.save(member, np.zeros((3, 4)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("../../up.npy", member.getvalue())
    before = {*tmp_path.parent.rglob("*")}
    (clip,) = from_files([tmp_path / "a.npz"])
    assert stored_clip(clip.path, (4,)).shape == (3, 4)
    assert {*tmp_path.parent.rglob("*")} == before


def test_damaged_tensors_say_their_kind_of_error(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(ValueError, match="Error"):
        load_tensors(tmp_path / "a.pt")


def test_sizes_beyond_those_of_arrays_are_refused(tmp_path: Path) -> None:
    """A padding of 2^62, which would overflow on the way."""

    def change(file: h5py.File) -> None:
        file["node/nodes/a/type"][()] = "Conv2d"
        fields = {"stride": [1, 1], "dilation": [1, 1], "padding": [2**62, 0], "groups": 1, "bias": [0.0]}
        for name, value in {**fields, "input_shape": [4, 4]}.items():
            file[f"node/nodes/a/{name}"] = value
        del file["node/nodes/a/weight"]
        file["node/nodes/a/weight"] = np.ones((1, 1, 2, 2))

    with pytest.raises(InputError, match=r"padding: .*; allowed: whole numbers up to 2,147,483,647"):
        read_nir(hdf5(tmp_path / "a.nir", change))
