"""What a run starts from: a preset with random weights, or a trained network, as it is or with rounded weights."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svformer.assets import TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.common.terminal import say
from svformer.config import ACTIVATIONS, PRESETS, SVFormerConfig
from svformer.model.network import Network
from svformer.networks import build
from svformer.networks.checkpoint import StateDict, load_network, read_notes
from svformer.training.request import TrainingRequest

CLASSIFIER = "fc"  # the last layer of every network here, which tells the classes apart


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network before its first step.

    Attributes:
        config: Its geometry.
        state: Trained parameters; None: random weights.
        classes: Names of the classes that it was trained for; empty where its file does not say them.
    """

    config: SVFormerConfig
    state: StateDict | None = None
    classes: tuple[str, ...] = ()


def trained_file(request: TrainingRequest) -> Path | None:
    """The checkpoint that a run starts from; None: random weights."""
    return request.init or (TINY_CHECKPOINT if request.qat else None)


def starting_point(request: TrainingRequest) -> Start:
    """The preset's geometry with what the request changes, or a trained network, whose weights `qat` rounds."""
    path = trained_file(request)
    if path is None:
        return Start(config=_of_preset(request))
    trained = load_network(path)
    config = dataclasses.replace(trained.config, weight_bits=request.bits) if request.qat else trained.config
    names = json.loads(read_notes(path).get("classes", "[]"))
    return Start(config=config, state=trained.state_dict(), classes=tuple(names))


def _of_preset(request: TrainingRequest) -> SVFormerConfig:
    preset = PRESETS[request.preset]
    activation = request.activation or ACTIVATIONS.get(request.model, preset.activation)
    order = "qk_first" if activation == "relu" else preset.attention_order
    return dataclasses.replace(
        preset,
        norm=request.norm or preset.norm,
        activation=activation,
        attention=request.attention or preset.attention,
        head_dim=request.head_dim or preset.head_dim,
        attention_order=order,
        model=request.model,
    )


def new_network(start: Start, *, classes: Sequence[str], channels: int) -> Network:
    """A network for the classes and the channels of the data.

    A trained one keeps its classifier where it was trained for these classes, or for as many where its file names none.
    Raises `InputError` where it takes other channels than the data have, and where rounding is to be trained for other
    classes than the network knows.
    """
    if start.state is None:
        return build(dataclasses.replace(start.config, num_classes=len(classes), in_channels=channels))
    if start.config.in_channels != channels:
        raise InputError(
            f"the checkpoint takes frames of {start.config.in_channels} channels, the data have {channels}; "
            "choose data of the kind that it was trained on, or train without --init"
        )
    kept = _knows(start, classes)
    if start.config.weight_bits is not None and not kept:
        raise InputError(
            f"the checkpoint tells {start.config.num_classes} classes apart, the data have {_others(start, classes)}; "
            "fine-tune on the data that it was trained on"
        )
    model = build(dataclasses.replace(start.config, num_classes=len(classes)))
    state = start.state if kept else model.state_dict() | _without_classifier(start.state)
    model.load_state_dict(state)
    if not kept:
        say(f"new classifier for {_others(start, classes)} classes; the network that it starts from told others apart")
    return model


def _knows(start: Start, classes: Sequence[str]) -> bool:
    if start.classes:
        return start.classes == tuple(classes)
    return start.config.num_classes == len(classes)


def _others(start: Start, classes: Sequence[str]) -> str:
    """How many classes the data have, with the word that tells them from as many others."""
    return f"{len(classes)} other" if len(classes) == start.config.num_classes else str(len(classes))


def _without_classifier(state: StateDict) -> StateDict:
    return {name: tensor for name, tensor in state.items() if name.split(".")[-2] != CLASSIFIER}
