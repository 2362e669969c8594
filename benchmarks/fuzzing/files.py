"""Checkpoints, chip files, and what runs leave: finished batches, reports."""

import contextlib
import io
import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml

import hardware
from deploy.clips.source import ClipSource, input_format
from deploy.execution.batch import BatchResult
from deploy.execution.resume import decode, encode
from deploy.ir.graph import read_nir
from deploy.passes.merge_linear_chains import read_merge
from deploy.preparation import read_chips
from deploy.request import Request
from deploy.session import run
from fuzzing import hdf5, networks, odd
from fuzzing.kind import Kind
from hardware import ChipError, shipped_chips
from hardware.recount import DifferenceError, recount
from svformer.common.errors import InputError
from svformer.config import SVFormerConfig
from svformer.networks import build
from svformer.networks.checkpoint import load_network, read_notes, save_checkpoint

# Small, with every kind of layer.
CONFIG = SVFormerConfig(
    num_classes=2, frames=2, image_size=32, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_dim=2
)


def odd_json(rng: Random, value: Any, changes: int = 1) -> Any:
    """A value of JSON with some of its parts replaced, renamed or removed."""
    for _ in range(changes):
        value = _odd_part(rng, value)
    return value


def _odd_part(rng: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice([*value])
        changed = dict(value)
        if rng.random() < 0.15:
            changed.pop(key)
        elif rng.random() < 0.1:
            changed[rng.choice(odd.NAMES)] = changed.pop(key)
        else:
            changed[key] = _odd_part(rng, value[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        changed_list = list(value)
        if rng.random() < 0.15:
            changed_list.pop(place)
        else:
            changed_list[place] = _odd_part(rng, value[place])
        return changed_list
    return rng.choice((odd.number(rng), rng.choice(odd.NAMES), None, True, [], {}, [value, value], {"a": value}))


# Checkpoints


@cache
def _ours() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        save_checkpoint(build(CONFIG), path, {"classes": '["a", "b"]', "stride": "4"})
        return path.read_bytes()


def make_checkpoint(rng: Random, folder: Path) -> None:
    """Ours with another header, or with other bytes."""
    content = _ours()
    if rng.random() < 0.5:
        (folder / "c.safetensors").write_bytes(odd.mutated(rng, content))
        return
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    said = header["__metadata__"]
    if rng.random() < 0.6:
        config = json.loads(said["config"])
        said["config"] = json.dumps(odd_json(rng, config, rng.choice((1, 1, 2))))
    elif rng.random() < 0.3:
        key = rng.choice([*said])
        said[key] = rng.choice(odd.NAMES)
    else:
        header = odd_json(rng, header, rng.choice((1, 2)))
    text = json.dumps(header).encode()
    (folder / "c.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def make_pyth(rng: Random, folder: Path) -> None:
    """The authors' form, with odd tensors, or with other bytes."""
    state = dict(_pyth_state())
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice([*state])
        values = state[name]
        if not isinstance(values, torch.Tensor):
            continue
        state[name] = rng.choice(
            (
                values.reshape(-1)[:0],
                values.reshape(-1),
                values[None],
                torch.zeros(1).expand(2**20, *values.shape[1:]) if values.ndim else values,
                torch.cat([values, values]) if values.ndim else values,
                values.double(),
                odd.number(rng),
                values.to("meta"),
                values.to_sparse() if values.ndim else values,
            )
        )
        if rng.random() < 0.3:
            state[rng.choice((*odd.NAMES, "blocks3.99.act1.x", "head.weight"))] = state.pop(name)
    content = io.BytesIO()
    held = rng.choice(({"model_state": state}, {"model_state": state, "epoch": 3}, state, [state], {"model_state": 3}))
    torch.save(held, content)
    found = content.getvalue()
    (folder / "c.pyth").write_bytes(odd.mutated(rng, found) if rng.random() < 0.4 else found)


@cache
def _pyth_state() -> dict[str, Any]:
    """Weights by the authors' names of the head; those of the other layers may be ours."""
    names = {
        "head.conv3d.": "dwconv_bf_head.",
        "head.bn3d.": "dwconv_bn.",
        "head.fc.": "head.",
        "head.plif.p.": "lif_bf_head.",
    }
    found = dict[str, Any]()
    for name, values in build(CONFIG).state_dict().items():
        ours = next((ours for ours in names if name.startswith(ours)), "")
        found[names.get(ours, "") + name.removeprefix(ours)] = values
    return found


def read_checkpoint(folder: Path) -> None:
    (path,) = folder.iterdir()
    load_network(path, head_dim=2)
    read_notes(path)


# Chips


def make_chip(rng: Random, folder: Path) -> None:
    """A shipped chip file with odd parts, or other text."""
    file = Path(hardware.__file__).parent / "chips" / f"{rng.choice(shipped_chips())}.yaml"
    text = file.read_text("utf-8")
    form = rng.random()
    if form < 0.5:
        content = yaml.safe_load(text)
        text = yaml.dump(odd_json(rng, content | {"name": "mine"}, rng.choice((0, 1, 1, 2, 4))), allow_unicode=True)
    elif form < 0.6:
        text += rng.choice(("\n? [a]: b", "\nx: &a [*a]", "\n- a", "\n!!python/object/apply:os.system ['true']: 1"))
        text += rng.choice(("", "\n" + "[" * 3000, "\nname: &x {<<: *x}", "\ndate: 2020-13-45", "\n? {a: b}\n: c"))
    content_bytes = text.encode()
    (folder / "mine.yaml").write_bytes(odd.mutated(rng, content_bytes) if rng.random() < 0.4 else content_bytes)


def read_chip(folder: Path) -> None:
    read_chips([folder / "mine.yaml"])
    read_merge(str(folder / "mine.yaml"))


# What runs leave


@cache
def _run() -> dict[str, bytes]:
    """Files of a small run: a part, spikes, integers and report."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "n.nir").write_bytes(networks.written(networks.graph(Random(5))))
        shape = input_format(read_nir(folder / "n.nir"), 1).shape
        np.save(folder / "c.npy", np.ones((3, *shape), dtype=np.float32))
        request = Request(nir=folder / "n.nir", clips=[folder / "c.npy"], backend="integer", out=folder / "o")
        with contextlib.redirect_stderr(io.StringIO()):
            tally = run(request).tally
        assert tally is not None
        found = {name: (folder / "o" / name).read_bytes() for name in ("report.json", "spikes.h5", "integers.h5")}
        return found | {"part.npz": encode(BatchResult(taken=(0,), places=(0,), left_out={}, tally=tally))}


def make_part(rng: Random, folder: Path) -> None:
    """A part of a run that was stopped: other bytes, or odd values in it."""
    content = _run()["part.npz"]
    if rng.random() < 0.5:
        with np.load(io.BytesIO(content)) as file:
            arrays = dict(file)
        values = json.loads(arrays["part"].tobytes())
        values = odd_json(rng, values, rng.choice((1, 2)))
        arrays["part"] = np.frombuffer(json.dumps(values).encode(), dtype=np.uint8)
        if rng.random() < 0.3:
            arrays[rng.choice([*arrays])] = odd.array(rng)
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        (folder / "part.npz").write_bytes(stream.getvalue())
    else:
        (folder / "part.npz").write_bytes(odd.mutated(rng, content))


def read_part(folder: Path) -> None:
    """As a run does that goes on: what is damaged or of another run is run again."""
    source = ClipSource(path=Path("c.npy"), label=None)
    try:
        decode((folder / "part.npz").read_bytes(), [source])
    except (LookupError, ValueError) as error:
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error


def make_report(rng: Random, folder: Path) -> None:
    """The files of a run, one of them odd."""
    files = dict(_run())
    files.pop("part.npz")
    name = rng.choice([*files])
    if name == "report.json" and rng.random() < 0.7:
        files[name] = json.dumps(odd_json(rng, json.loads(files[name]), rng.choice((1, 1, 2)))).encode()
    elif name != "report.json" and rng.random() < 0.7:
        files[name] = hdf5.with_odd_content(rng, files[name], rng.choice((1, 1, 2)))
    else:
        files[name] = odd.mutated(rng, files[name])
    for file, content in files.items():
        (folder / file).write_bytes(content)


def read_report(folder: Path) -> None:
    """As `python -m hardware.recount`: equal, or the first difference, or refused."""
    try:
        recount(folder)
    except (ChipError, DifferenceError) as error:
        raise InputError(str(error)) from error


KINDS = {
    "checkpoint": Kind(about="our checkpoints (.safetensors)", make=make_checkpoint, read=read_checkpoint),
    "pyth": Kind(about="the authors' checkpoints (.pyth)", make=make_pyth, read=read_checkpoint),
    "chip": Kind(about="chip files (.yaml)", make=make_chip, read=read_chip),
    "part": Kind(about="finished batches of a run that was stopped (.npz)", make=make_part, read=read_part),
    "report": Kind(about="files of a run, counted again", make=make_report, read=read_report),
}
