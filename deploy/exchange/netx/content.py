"""What a `.net` file holds, as plain values, and everything in it that cannot be run, by layer.

lava-dl's netx passes over what it does not know: other layer types, keys, delays of convolutions, graded spikes. Here
each of these is a problem that is told, or it is run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from deploy.ir.fields import DAMAGED
from deploy.ir.machine import DECAY_ONE
from hardware.hdf5 import opened
from svformer.common.errors import InputError
from svformer.common.room import available_bytes

INPUT, FLATTEN, CONV, POOL, DENSE, RECURRENT = "input", "flatten", "conv", "pool", "dense", "dense_rec"
NEEDED: dict[str, tuple[str, ...]] = {
    INPUT: ("shape",),
    FLATTEN: (),
    CONV: ("shape", "weight", "stride", "padding", "dilation", "groups", "neuron"),
    POOL: ("shape", "weight", "kernelSize", "stride", "padding", "dilation", "neuron"),
    DENSE: ("shape", "weight"),
    RECURRENT: ("shape", "weight", "weight_rec", "neuron"),
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    INPUT: ("weight", "bias", "neuron", "range"),  # the last is ours: smallest and largest value of a clip, unless 0, 1
    FLATTEN: ("shape",),
    CONV: ("bias", "delay", "inChannels", "outChannels", "kernelSize"),
    POOL: ("delay",),
    DENSE: ("bias", "delay", "neuron", "inFeatures", "outFeatures"),
    RECURRENT: ("bias", "inFeatures", "outFeatures"),
}
NEURONS = ("CUBA", "LOIHI")
NEURON_KEYS = ("type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "weight_exp", "messageBits")
LARGEST = 2.0**53  # so far float64 holds every whole number
ROUNDING = 1e-3  # a stored number may be as far from a whole one: slayer computes it in float32

Values = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """Parameters of CUBA neurons: one for all, or one a channel."""

    current_decay: Values  # of 4096
    decay: Values  # of 4096
    threshold: Values  # in the unit of the weights


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a file: whole numbers by key."""

    name: str  # type and number: conv1
    kind: str
    values: Mapping[str, Values]
    neuron: Neuron | None


def layers_of(path: Path) -> list[Layer]:
    """The layers of a file in their order; raises `InputError` for all that cannot be run, or for no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `export_hdf5` of lava-dl's blocks writes one")
    try:
        with opened(path, room=available_bytes()) as file:
            if "node" in file:
                raise InputError(f"{path}: not a network of lava-dl but a NIR file; give it with --nir")
            if "layer" not in file:
                raise InputError(f"{path}: not a network of lava-dl; allowed: HDF5 with a group 'layer'")
            plain = [_plain(file["layer"][str(i)]) for i in range(len(file["layer"]))]
    except (OSError, *DAMAGED) as error:
        raise InputError(f"{path}: not a readable .net file ({error}); export it again") from error
    if not plain:
        raise InputError(f"{path}: no layers in it; export it again")
    problems = [f"layer {i} ({_kind(found)}): {line}" for i, found in enumerate(plain) for line in _problems(found)]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return [_layer(i, found) for i, found in enumerate(plain)]


def _plain(group: h5py.Group) -> dict[str, Any]:
    return {key: _plain(item) if isinstance(item, h5py.Group) else item[()] for key, item in group.items()}


def _text(value: Any) -> str:
    found = np.asarray(value).ravel().tolist()[:1]
    return "" if not found else found[0].decode(errors="replace") if isinstance(found[0], bytes) else str(found[0])


def _kind(layer: Mapping[str, Any]) -> str:
    return _text(layer.get("type", ""))


def _problems(layer: Mapping[str, Any]) -> Iterator[str]:
    kind = _kind(layer)
    if kind not in NEEDED:
        yield f"a type that is not run; allowed: {', '.join(NEEDED)}"
        return
    if missing := [key for key in NEEDED[kind] if key not in layer]:
        yield f"{', '.join(missing)} missing"
    if unknown := sorted(layer.keys() - {"type", *NEEDED[kind], *OPTIONAL[kind]}):
        yield f"{', '.join(unknown)} cannot be run"
    for key, value in layer.items():
        if isinstance(value, dict) and key != "neuron":
            yield f"{key} is a group ({', '.join(value)}); allowed: real numbers"
        elif key not in ("type", "neuron"):
            yield from _not_whole(key, value)
    if "neuron" in layer:
        yield from _neuron_problems(layer["neuron"])


def _not_whole(key: str, value: Any) -> Iterator[str]:
    found = np.asarray(value)
    if found.dtype.kind not in "iufb" or not found.size:
        yield f"{key} of {found.dtype if found.size else 'no values'}; allowed: whole numbers"
    elif not (np.abs(found.astype(np.float64)) <= LARGEST).all():
        yield f"{key} holds values that are not finite, or beyond 2^53; allowed: whole numbers"
    elif np.abs(found - np.rint(found)).max() > ROUNDING:
        yield f"{key} is not whole; netx would cut it off, export it quantised"


def _neuron_problems(neuron: Any) -> Iterator[str]:
    if not isinstance(neuron, dict) or (kind := _text(neuron.get("type", ""))) not in NEURONS:
        found = kind if isinstance(neuron, dict) else neuron
        yield f"neurons of type {found}; allowed: {', '.join(NEURONS)}"
        return
    if missing := {"iDecay", "vDecay", "vThMant"} - neuron.keys():
        yield f"neuron/{', '.join(sorted(missing))} missing"
        return
    if unknown := sorted(neuron.keys() - set(NEURON_KEYS)):
        yield f"neuron/{', '.join(unknown)} cannot be run"
    odd = [line for key in NEURON_KEYS[1:] if key in neuron for line in _not_whole(f"neuron/{key}", neuron[key])]
    yield from odd
    if odd:
        return
    for key in ("iDecay", "vDecay"):
        if not ((np.asarray(neuron[key]) >= 0) & (np.asarray(neuron[key]) <= DECAY_ONE)).all():
            yield f"neuron/{key} outside 0..{DECAY_ONE}"
    if (np.asarray(neuron["vThMant"]) < 0).any():
        yield "neuron/vThMant below 0"
    if np.any(np.asarray(neuron.get("refDelay", 1)) > 1):
        yield "a refractory period (refDelay), which netx leaves out; allowed: 1"
    if np.any(neuron.get("gradedSpike", False)):
        yield "graded spikes (gradedSpike), which netx leaves out"
    if np.any(neuron.get("weight_exp", 0)):
        yield "an exponent of the weights (weight_exp), which netx leaves out; fold it into them"


def _layer(number: int, found: Mapping[str, Any]) -> Layer:
    kind, neuron = _kind(found), found.get("neuron")
    values = {key: _whole(value) for key, value in found.items() if key not in ("type", "neuron")}
    return Layer(
        name=f"{kind}{number}",
        kind=kind,
        values=values | {"shape": values["shape"].reshape(-1)} if "shape" in values else values,
        neuron=None if neuron is None else _neuron(neuron),
    )


def _neuron(found: Mapping[str, Any]) -> Neuron:
    current_decay, decay, threshold = (_whole(found[key]).reshape(-1) for key in ("iDecay", "vDecay", "vThMant"))
    return Neuron(current_decay=current_decay, decay=decay, threshold=threshold)


def _whole(value: Any) -> Values:
    return np.rint(np.asarray(value, dtype=np.float64)).astype(np.int64)
