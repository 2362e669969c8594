"""loihi2.json: clips on a Loihi 2 board."""

from dataclasses import dataclass, field
from typing import Literal

from deploy.report.keys.network import MappedPart
from deploy.report.keys.stored import Stored
from hardware.keys import key

SCHEMA: Literal["svformer-loihi2/1"] = "svformer-loihi2/1"


@dataclass(frozen=True, kw_only=True)
class BoardClip:
    """One clip on the board."""

    source: str = field(metadata=key("name of the file"))
    prediction: int = field(metadata=key("number of the largest logit"))
    logits: tuple[float, ...] = field(metadata=key("result, in units of the float network"))


@dataclass(frozen=True, kw_only=True)
class BoardBatch:
    """Clips that streamed through the board together."""

    clips: int = field(metadata=key("clips of the batch"))
    time_steps: int = field(metadata=key("time steps that it took"))
    profiler: dict[str, dict[str, tuple[float, ...]]] = field(
        metadata=key("by probe and reading: values of Intel's profiler, in its units")
    )


@dataclass(frozen=True, kw_only=True)
class BoardReport(Stored):
    """What the board itself gave: predictions from its output, and the readings of the profiler."""

    schema: Literal["svformer-loihi2/1"] = field(default=SCHEMA, metadata=key("name of this form of file"))
    mapping: tuple[MappedPart, ...] = field(metadata=key("what holds each part on Loihi 2"))
    clips: tuple[BoardClip, ...] = field(metadata=key("every clip, in order"))
    messages_compared: int = field(metadata=key("messages of the output that equal those of the integer interpreter"))
    runs: tuple[BoardBatch, ...] = field(metadata=key("every batch"))
