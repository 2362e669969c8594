"""What one way to round a network of `precision_table.py` does to it on its clips."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from precision_networks import Subject
from precision_ways import Way
from slayer_rounding import rounded_as_slayer

from deploy.clips.labels import class_number
from deploy.clips.read import load_clips
from deploy.clips.source import ClipSource
from deploy.execution.batch import BATCH
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from deploy.gates.agreement import Agreement
from deploy.ir.integer import as_images
from deploy.ir.network import Network, run_float
from deploy.ir.readout import read_out
from deploy.passes.statistics import chunks
from deploy.pipeline import DraftOptions, deploy
from deploy.tuning.outcome import TuningOptions
from svformer.common.terminal import counting

Results = tuple[np.ndarray, np.ndarray, Agreement]  # [N, K] in real numbers and rounded; spikes


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one way does to a network; shares from 0 to 1."""

    clips: int
    float_top1: float | None  # None where no clip has a class of the network
    top1: float | None
    same: float  # clips with the prediction of the network in real numbers
    spikes: float  # neurons and time steps with the same message, spike or none
    made_min: float  # minutes until the network was rounded, tuning included
    made_core_min: float  # minutes of processor time in these
    tuned: str  # what tuning came to, in a line; empty where there was none

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The cell that `dataclasses.asdict` made plain."""
        return cls(**values)


def measured(subject: Subject, way: Way, epochs: int) -> Cell:
    """Round a network and run its clips in real numbers and in integers; `epochs` are those of tuning."""
    started_s, started_core_s = time.monotonic(), time.process_time()
    options = DraftOptions(weight_bits=way.weight_bits, fine_layers=way.fine_layers)
    if way.tuned:
        options |= DraftOptions(tuning=TuningOptions(epochs=epochs), examples=subject.examples)
    deployment = deploy(subject.graph, subject.calibration, lambda line: None, **options)
    made_min, made_core_min = (time.monotonic() - started_s) / 60, (time.process_time() - started_core_s) / 60
    find = partial(_in_slayer, fits=way.slayer_fits) if way.slayer else _in_integers
    exact, found, spikes = find(deployment, subject.clips)
    predicted, wanted = found.argmax(1), exact.argmax(1)
    classes = [class_number(clip.label, deployment.classes, exact.shape[1]) for clip in subject.clips]
    return Cell(
        clips=len(subject.clips),
        float_top1=_right(wanted, classes),
        top1=_right(predicted, classes),
        same=float((predicted == wanted).mean()),
        spikes=spikes.share,
        made_min=made_min,
        made_core_min=made_core_min,
        tuned=str(deployment.tuned or ""),
    )


def _right(predicted: np.ndarray, classes: Sequence[int | None]) -> float | None:
    known = [place == label for place, label in zip(predicted, classes, strict=True) if label is not None]
    return float(np.mean(known)) if known else None


def _in_integers(deployment: Deployment, clips: Sequence[ClipSource]) -> Results:
    with counting(len(clips), "clips in integers") as on_clips:
        tally = run(deployment, clips, backend="integer", keep=0, on_clips=on_clips)
    exact, found = (np.stack([getattr(v, of) for v in tally.verdicts]) for of in ("float_logits", "integer_logits"))
    return exact, found, sum(tally.layers.values(), Agreement())


def _in_slayer(deployment: Deployment, clips: Sequence[ClipSource], *, fits: bool) -> Results:
    """The lowered network beside itself with parameters rounded as lava-dl does; both in real numbers."""
    exact = deployment.network
    return beside(exact, rounded_as_slayer(exact, fits=fits), as_images(_read(deployment, clips), exact))


def _read(deployment: Deployment, clips: Sequence[ClipSource]) -> np.ndarray:
    return load_clips(clips, deployment.input_format)


def beside(exact: Network, other: Network, frames_NTCHW: np.ndarray) -> Results:
    """Results of two networks in real numbers on the same clips, and how many of their spikes are equal."""
    layers, record = exact.neuron_layers, [*exact.neuron_layers, exact.output]
    spikes, results = Agreement(), list[tuple[np.ndarray, np.ndarray]]()
    for part in chunks(frames_NTCHW, BATCH):
        wanted, found = run_float(exact, part, record=record), run_float(other, part, record=record)
        for name in layers:
            differ = wanted[name] != found[name]
            spikes += Agreement(compared=differ.size, different=int(differ.sum()), layers=1)
        results.append((read_out(wanted[exact.output], exact.readout), read_out(found[exact.output], exact.readout)))
    first, second = (np.concatenate(some) for some in zip(*results, strict=True))
    return first, second, spikes
