"""report.json: all that a run found, as plain values. The keys are an interface (DESIGN); the page draws from them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploy.costs.counting import expected_operations, readout_layers
from deploy.execution.batch import peak_rss_mb
from deploy.execution.deployment import Deployment
from deploy.execution.tally import ClipResult, Tally
from deploy.gates.agreement import Agreement
from deploy.ir.storage import parameter_count, synapse_memory_bits, widest_weight_bits
from deploy.passes.mapping import mapping
from deploy.report.energy import energy
from deploy.report.plan import plan_rows
from hardware import Chip, OpCounts, fit, load_chip, shipped_chips
from hardware.fit import BITS_PER_KIB
from hardware.paper_ledger import CONVENTION
from svformer.evaluation.scores import mean_scores, top_share

__all__ = ["BITS_PER_KIB", "CONVENTION", "SCHEMA", "by_video", "estimate", "record"]

SCHEMA = "svformer-run/1"


def estimate(deployment: Deployment, *, chips: Sequence[Chip] = ()) -> dict[str, Any]:
    """What is known before anything runs: layers, plan, proof, fit; `chips` are a user's own."""
    return {
        "schema": SCHEMA,
        "network": _network(deployment),
        "plan": _plan(deployment),
        "mapping": [dataclasses.asdict(row) for row in mapping(deployment.integer, deployment.plan)],
        "headroom": [{**dataclasses.asdict(h), "share": h.share} for h in deployment.headroom],
        "fit": _fit(deployment, [*map(load_chip, ("loihi1", "loihi2")), *chips]),
    }


def record(deployment: Deployment, tally: Tally, *, backend: str, chips: Sequence[Chip] = ()) -> dict[str, Any]:
    """The whole report of a run; `chips` are a user's own, beside those that ship."""
    clips, counts = len(tally.clips), tally.counts
    return {
        **estimate(deployment, chips=chips),
        "backend": backend,
        "clips": [_clip(clip, deployment) for clip in tally.clips],
        "accuracy": _accuracy(deployment, tally),
        "parity": _parity(tally),
        "layers": _layers(deployment, tally, counts),
        "totals": _per_clip(sum(counts.values(), OpCounts()), clips),
        "readout": _per_clip(sum((counts[name] for name in readout_layers(deployment.integer)), OpCounts()), clips),
        "by_step": {name: _by_step(steps, clips) for name, steps in tally.steps.items()},
        "energy": energy(deployment, tally, [*map(load_chip, shipped_chips()), *chips]),
        "timing": {
            "build_s": tally.build_s,
            "run_s": tally.run_s,
            "seconds_per_clip": tally.run_s / clips,
            "time_steps": tally.time_steps,
            "peak_rss_mb": max(peak_rss_mb(), tally.peak_rss_mb),
        },
    }


def _network(deployment: Deployment) -> dict[str, Any]:
    meta = deployment.graph.metadata
    return {
        "name": str(meta.get("model", "network")),
        "nodes": len(deployment.graph.nodes),
        "populations": len(deployment.integer.populations),
        "neurons": sum(int(np.prod(deployment.integer.populations[n].shape)) for n in deployment.spiking),
        "parameters": parameter_count(deployment.integer),
        "weight_bits": widest_weight_bits(deployment.integer),
        "synapse_memory_kib": synapse_memory_bits(deployment.integer) / BITS_PER_KIB,
        "frames": deployment.plan.frames,
        "input_shape": list(deployment.input_format.shape),
        "dt_s": float(meta["dt"]),
        "trained_on": meta.get("dataset"),
        "classes": list(deployment.classes),
        "calibration_clips": deployment.calibration_clips,
        "notes": list(deployment.network.notes),
    }


def _plan(deployment: Deployment) -> dict[str, Any]:
    plan = deployment.plan
    return {
        "depth": plan.depth,
        "first_step": {name: plan.first_step(name) for name in plan.depths},
        "longest_delay": plan.longest_lag,
        "layers": plan_rows(deployment.integer, plan, deployment.headroom, deployment.needs),
    }


def _clip(clip: ClipResult, deployment: Deployment) -> dict[str, Any]:
    return {
        "source": clip.source.path.name,
        "start": clip.source.start,
        "crop": clip.source.crop,
        "label": clip.source.label,
        "prediction": _name(int(clip.logits.argmax()), deployment.classes),
        "logits": [round(float(x), 6) for x in clip.logits],
        "float_prediction": _name(int(clip.float_logits.argmax()), deployment.classes),
        "steps": deployment.plan.frames,
        "seconds": clip.seconds,
    }


def _name(index: int, classes: tuple[str, ...]) -> str:
    return classes[index] if index < len(classes) else str(index)


def by_video(tally: Tally) -> list[list[ClipResult]]:
    """Views of one video together, in order."""
    videos: dict[Path, list[ClipResult]] = {}
    for clip in tally.clips:
        videos.setdefault(clip.source.path, []).append(clip)
    return list(videos.values())


def _accuracy(deployment: Deployment, tally: Tally) -> dict[str, Any]:
    """Top-1 of every execution over the videos whose class is one of the network's."""
    videos = [v for v in by_video(tally) if v[0].source.label in deployment.classes]
    found: dict[str, Any] = {"videos": len(videos), "views": len(tally.clips)}
    if not videos:
        return {**found, "note": _why_no_accuracy(deployment)}
    labels = [deployment.classes.index(str(v[0].source.label)) for v in videos]
    for name in ("float", "integer", "deployed"):
        attribute = "logits" if name == "deployed" else f"{name}_logits"
        scores = [mean_scores(np.stack([getattr(view, attribute) for view in v])) for v in videos]
        found[f"{name}_top1"] = top_share(np.stack(scores), labels)
    return found


def _why_no_accuracy(deployment: Deployment) -> str:
    if not deployment.classes:
        return (
            "the graph does not name its classes: predictions are numbers of outputs, and none is right or wrong here"
        )
    trained_on = deployment.graph.metadata.get("dataset", "its training set")
    return (
        f"no clip here bears one of the {len(deployment.classes)} classes of {trained_on} that this network was "
        "trained to tell apart, so the prediction means nothing; spikes, parity, operations and energy are real"
    )


def _parity(tally: Tally) -> dict[str, Any]:
    total = sum(tally.layers.values(), Agreement())
    same = [int(c.float_logits.argmax() == c.integer_logits.argmax()) for c in tally.clips]
    errors = np.concatenate([c.integer_logits - c.float_logits for c in tally.clips])
    exact = tally.lava
    return {
        "integer_vs_lava": {
            "bit_exact": tally.bit_exact,
            "layers": exact.layers if exact else 0,
            "spikes_compared": exact.compared if exact else 0,
        },
        "float_vs_integer": {
            "top1_agreement": float(np.mean(same)),
            "spike_match": total.share,
            "logit_rmse": float(np.sqrt(np.mean(errors**2))),
            "inputs_clipped": tally.clipped_inputs / tally.inputs,
        },
    }


def _layers(deployment: Deployment, tally: Tally, counts: dict[str, OpCounts]) -> list[dict[str, Any]]:
    """Every population, with its counts by rate x synapses beside those that were traced."""
    sent = {name: (found.spikes + found.graded_messages) / len(tally.clips) for name, found in counts.items()}
    expected = expected_operations(deployment.integer, sent)
    layers = [_layer(name, deployment, tally, found) for name, found in counts.items()]
    for layer in layers:
        static = expected.get(layer["name"])
        layer["expected_ops"] = static.ops if static else None
        layer["expected_differs_by"] = list(static.reasons) if static else []
    return layers


def _layer(name: str, deployment: Deployment, tally: Tally, counts: OpCounts) -> dict[str, Any]:
    population, clips = deployment.integer.populations[name], len(tally.clips)
    size, steps = deployment.integer.size(name), clips * deployment.plan.frames
    spiking = population.spiking
    return {
        "name": name,
        "kind": population.kind,
        "shape": list(population.shape),
        "neurons": size if population.kind in ("lif", "integrator") else 0,
        "spikes": counts.spikes / clips,
        "rate": counts.spikes / (size * steps) if spiking else None,
        "float_rate": tally.float_spikes[name] / (size * steps) if spiking else None,
        "spike_match": tally.layers[name].share if spiking else None,
        **_per_clip(counts, clips),
    }


def _per_clip(counts: OpCounts, clips: int) -> dict[str, float]:
    return {name: value / clips for name, value in dataclasses.asdict(counts).items()}


def _by_step(steps: Sequence[OpCounts], clips: int) -> dict[str, list[float]]:
    """Counts of every time step of the mean clip; what never occurs is left out."""
    values = [dataclasses.asdict(step) for step in steps]
    return {name: found for name in values[0] if any(found := [_mean(step[name], clips) for step in values])}


def _mean(total: int, clips: int) -> float:
    return total // clips if total % clips == 0 else total / clips


def _fit(deployment: Deployment, chips: Sequence[Chip]) -> dict[str, Any]:
    """Cores and chips, and what the whole network asks for; chips without limits are left out."""
    needs = deployment.needs
    asked = {
        "neurons": sum(need.neurons for need in needs),
        "synapse_memory_kib": sum(need.kernel_bits for need in needs) / BITS_PER_KIB,
        "synapses": sum(need.synapses for need in needs),
        "fan_in_axons": sum(need.fan_in_axons for need in needs),
        "fan_out_axons": sum(need.fan_out_axons for need in needs),
    }
    fits = {chip.name: fit(needs, chip) for chip in chips if chip.limits is not None}
    return {name: {**dataclasses.asdict(found), "needs": asked, "advice": found.advice} for name, found in fits.items()}
