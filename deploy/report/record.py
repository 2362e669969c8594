"""report.json as a type, built from what was deployed and what a run found: the only place where reports are made."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.clips.labels import class_number
from deploy.clips.source import file_of, names_of
from deploy.costs.counting import expected_operations, readout_layers
from deploy.costs.placing import PlacedClips
from deploy.costs.resources import messages_sent
from deploy.execution.backends import LAVA
from deploy.execution.batch import peak_rss_mb
from deploy.execution.deployment import Deployment
from deploy.execution.tally import ClipResult, Tally
from deploy.gates.agreement import Agreement
from deploy.report.energy import energy
from deploy.report.keys.report import Estimate, Report
from deploy.report.keys.run import (
    AccuracySummary,
    ClipSummary,
    ExactParity,
    FloatParity,
    LayerSummary,
    Parity,
    ReferenceLayer,
    ReferenceSummary,
    Timing,
)
from deploy.report.kinds import NEURONS
from deploy.report.network import (
    filled_register,
    fitted_chips,
    fixed_point,
    kept_predictions,
    mapped_parts,
    network_summary,
    plan_summary,
)
from deploy.report.placed import placed_chips
from hardware import Chip, OpCounts, load_chip, shipped_chips
from hardware.spread import Order
from svformer.common.digest import file_digest
from svformer.common.provenance import provenance
from svformer.evaluation.scores import mean_scores, top_share

LIBRARIES = ("svformer-loihi", "torch", "norse", "nir", "lava-nc", "lava-dl", "numpy")


def estimate(
    deployment: Deployment,
    *,
    chips: Sequence[Chip] = (),
    sent: Mapping[str, float] | None = None,
    placed: Mapping[str, PlacedClips] | None = None,
    order: Order = "pixel",
    of_rates: bool = True,
) -> Estimate:
    """What is known before anything runs; `chips` are a user's own, beside those that ship.

    After a run `sent` holds the messages of every population in the mean clip, for the traffic between cores. `placed`
    is what its clips come to on cores in this `order`, or (`of_rates`) what firing rates say of one.
    """
    return Estimate(
        network=network_summary(deployment),
        plan=plan_summary(deployment),
        mapping=mapped_parts(deployment.integer, deployment.plan),
        headroom=tuple(map(filled_register, deployment.headroom)),
        fit=fitted_chips(deployment, _all_chips(chips), sent),
        placed=placed_chips(deployment, placed or {}, _all_chips(chips), order, of_rates=of_rates),
        fixed_point=fixed_point(deployment.fixed_point),
        kept_predictions=kept_predictions(deployment.fixed_point),
        provenance=provenance(LIBRARIES),
    )


def record(
    deployment: Deployment,
    tally: Tally,
    *,
    backend: str,
    chips: Sequence[Chip] = (),
    order: Order = "pixel",
    fps: float | None = None,
    reference: Mapping[str, Any] | None = None,
    network: Path | None = None,
) -> Report:
    """The whole report of a run.

    `chips` are a user's own, beside those that ship; `order` is how the clips were placed on cores, `fps` the rate of a
    video's frames (default: `deploy.report.operating_points.VIDEO_FPS`); `reference` is what
    `deploy.gates.reference.compare` found, where there is a recording to compare with; `network` is the file that
    the network was read from.
    """
    clips, counts = len(tally.clips), tally.counts
    readout = readout_layers(deployment.integer)
    known = _estimated(deployment, tally, chips, order)
    names = names_of([clip.source for clip in tally.clips])
    return Report(
        **vars(known),
        backend=backend,
        kept_clips=tally.kept_clips,
        clips=tuple(_clip(clip, name, deployment) for clip, name in zip(tally.clips, names, strict=True)),
        accuracy=_accuracy(deployment, tally),
        parity=_parity(tally, backend),
        layers=tuple(_layers(deployment, tally, counts)),
        totals=sum(counts.values(), OpCounts()).mean(clips),
        readout=sum((counts[name] for name in readout), OpCounts()).mean(clips),
        by_step={name: _by_step(steps, clips) for name, steps in tally.steps.items()},
        energy=energy(_of_mean_length(deployment, tally), tally, _all_chips(chips), fps=fps, order=order),
        timing=Timing(
            build_s=tally.build_s,
            run_s=tally.run_s,
            seconds_per_clip=tally.run_s / clips,
            time_steps=tally.time_steps,
            peak_rss_mb=max(peak_rss_mb(), tally.peak_rss_mb),
            lava_processes=tally.travelled.processes if tally.travelled else 0,
            lava_channels=tally.travelled.channels if tally.travelled else 0,
            lava_channel_messages=tally.travelled.messages if tally.travelled else 0,
        ),
        reference=None if reference is None else reference_summary(reference),
        checksums=_checksums(network, dict(zip(names, tally.clips[: tally.kept_clips], strict=False))),
    )


def _checksums(network: Path | None, clips: Mapping[str, ClipResult]) -> dict[str, str] | None:
    """Of the network's file, by its name, and of the files of clips, by theirs in the report; None without any."""
    files = {} if network is None else {network.name: network}
    files |= {name: file_of(clip.source) for name, clip in clips.items()}
    return {name: file_digest(path) for name, path in files.items() if path.is_file()} or None


def _estimated(deployment: Deployment, tally: Tally, chips: Sequence[Chip], order: Order) -> Estimate:
    sent = messages_sent(tally.steps, len(tally.clips))
    return estimate(deployment, chips=chips, sent=sent, placed=tally.placed, order=order, of_rates=False)


def _of_mean_length(deployment: Deployment, tally: Tally) -> Deployment:
    """The network for clips of the mean length, or of one time step more where that is no whole number."""
    return deployment.lasting(-(-tally.frames(deployment.plan.frames) // len(tally.clips)))


def _all_chips(chips: Sequence[Chip]) -> list[Chip]:
    return [*map(load_chip, shipped_chips()), *chips]


def _clip(clip: ClipResult, name: str, deployment: Deployment) -> ClipSummary:
    return ClipSummary(
        source=name,
        start=clip.source.start,
        crop=clip.source.crop,
        label=clip.source.label,
        prediction=_name(int(clip.logits.argmax()), deployment.classes),
        logits=tuple(round(float(x), 6) for x in clip.logits),
        float_prediction=_float_prediction(clip, deployment.classes),
        steps=clip.source.frames or deployment.plan.frames,
        seconds=clip.seconds,
        counts={name: count for name, count in vars(clip.counts).items() if count},
    )


def _float_prediction(clip: ClipResult, classes: tuple[str, ...]) -> str | None:
    return None if clip.verdict is None else _name(int(clip.verdict.float_logits.argmax()), classes)


def _name(index: int, classes: tuple[str, ...]) -> str:
    return classes[index] if index < len(classes) else str(index)


def _by_video(tally: Tally) -> list[list[ClipResult]]:
    """Views of one video together, in order."""
    videos: dict[Path, list[ClipResult]] = {}
    for clip in tally.clips:
        videos.setdefault(clip.source.path, []).append(clip)
    return list(videos.values())


def _accuracy(deployment: Deployment, tally: Tally) -> AccuracySummary:
    """Top-1 of every execution over the videos whose class is one of the network's."""
    outputs = len(tally.clips[0].logits)
    numbered = [(v, class_number(v[0].source.label, deployment.classes, outputs)) for v in _by_video(tally)]
    known = [(video, number) for video, number in numbered if number is not None]
    if not known:
        return AccuracySummary(videos=0, views=len(tally.clips), note=_why_no_accuracy(deployment))
    checked = [(video, number) for video, number in known if all(view.verdict for view in video)]
    return AccuracySummary(
        videos=len(known),
        checked_videos=len(checked),
        views=len(tally.clips),
        float_top1=_top1(checked, lambda view: view.verdict.float_logits if view.verdict else None),
        integer_top1=_top1(checked, lambda view: view.verdict.integer_logits if view.verdict else None),
        deployed_top1=_top1(known, lambda view: view.logits),
    )


def _top1(
    known: Sequence[tuple[list[ClipResult], int]], logits: Callable[[ClipResult], NDArray[np.float64] | None]
) -> float | None:
    """Share of videos, given as views and class, whose class has the largest score; None without videos."""
    if not known:
        return None
    scores = [mean_scores(np.stack([found for v in views if (found := logits(v)) is not None])) for views, _ in known]
    return top_share(np.stack(scores), [number for _, number in known])


def _why_no_accuracy(deployment: Deployment) -> str:
    if not deployment.classes:
        return (
            "the graph does not name its classes: predictions are numbers of outputs, and none is right or wrong here; "
            "label the clips with such numbers to see how many are"
        )
    trained_on = deployment.graph.metadata.get("dataset", "its training set")
    return (
        f"no clip here bears one of the {len(deployment.classes)} classes of {trained_on} that this network was "
        "trained to tell apart, so the prediction means nothing; spikes, parity and operations are counted all the same"
    )


def _parity(tally: Tally, backend: str) -> Parity:
    total = sum(tally.layers.values(), Agreement())
    same = [int(v.float_logits.argmax() == v.integer_logits.argmax()) for v in tally.verdicts]
    errors = np.concatenate([v.integer_logits - v.float_logits for v in tally.verdicts])
    return Parity(
        clips_checked=len(tally.verdicts),
        integer_vs_backend=_exact(tally),
        integer_vs_lava=_exact(tally if backend == LAVA.name else Tally()),
        float_vs_integer=FloatParity(
            top1_agreement=float(np.mean(same)),
            spike_match=total.share,
            logit_rmse=float(np.sqrt(np.mean(errors**2))),
            inputs_clipped=tally.clipped_inputs / tally.inputs,
            readouts_saturated=tally.saturated,
        ),
    )


def _exact(tally: Tally) -> ExactParity:
    found = tally.exact or Agreement()
    return ExactParity(bit_exact=tally.bit_exact, layers=found.layers, spikes_compared=found.compared)


def _layers(deployment: Deployment, tally: Tally, counts: dict[str, OpCounts]) -> list[LayerSummary]:
    """Every population, with its counts by rate x synapses beside those that were traced."""
    sent = {name: (found.spikes + found.graded_messages) / len(tally.clips) for name, found in counts.items()}
    expected = expected_operations(_of_mean_length(deployment, tally).integer, sent)
    found = []
    for name, counted in counts.items():
        static = expected.get(name)
        ops, reasons = (static.ops, static.reasons) if static else (None, ())
        found.append(_layer(name, deployment, tally, counted, expected_ops=ops, expected_differs_by=reasons))
    return found


def _layer(name: str, deployment: Deployment, tally: Tally, counts: OpCounts, **expected: Any) -> LayerSummary:
    population, clips = deployment.integer.populations[name], len(tally.clips)
    size, steps = deployment.integer.size(name), tally.frames(deployment.plan.frames)
    kind, spiking = population.kind, population.spiking
    return LayerSummary(
        name=name,
        kind=kind,
        shape=population.shape,
        neurons=size if kind in NEURONS else 0,
        rate=counts.spikes / (size * steps) if spiking else None,
        float_rate=tally.float_spikes[name] / tally.layers[name].compared if name in tally.layers else None,
        spike_match=tally.layers[name].share if name in tally.layers else None,
        **vars(counts.mean(clips)),
        **expected,
    )


def _by_step(steps: Sequence[OpCounts], clips: int) -> dict[str, tuple[int | float, ...]]:
    """Counts of every time step of the mean clip; what never occurs is left out."""
    values = [dataclasses.asdict(step) for step in steps]
    return {name: found for name in values[0] if any(found := tuple(_mean(step[name], clips) for step in values))}


def _mean(total: int, clips: int) -> int | float:
    return total // clips if total % clips == 0 else total / clips


def reference_summary(found: Mapping[str, Any]) -> ReferenceSummary:
    """What `deploy.gates.reference.compare` found."""
    layers = (
        ReferenceLayer(
            name=layer["name"],
            rate=layer["rate"],
            compared=layer["compared"],
            float_match=layer["float_match"],
            float_first_difference=_place(layer["float_first_difference"]),
            deployed_match=layer["deployed_match"],
            deployed_first_difference=_place(layer["deployed_first_difference"]),
        )
        for layer in found["layers"]
    )
    return ReferenceSummary(file=found["file"], layers=tuple(layers), unmatched=tuple(found["unmatched"]))


def _place(found: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Clip, time step and neuron."""
    if found is None:
        return None
    clip, step, neuron = found
    return clip, step, neuron
