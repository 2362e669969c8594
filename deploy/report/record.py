"""report.json: all that a run found, as plain values. The keys are an interface (DESIGN); the page draws from them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.counting import layer_needs, parameter_count, synapse_memory_bits, widest_weight_bits
from deploy.frontend.from_nir import from_nir
from deploy.gates import Agreement
from deploy.ir.integer import IntInput, IntLif
from deploy.ir.network import Convolution
from deploy.pipeline import ClipResult, Deployment, Tally, neurons, peak_rss_mb
from hardware import OpCounts, energy_models, fit, load_chip, shipped_chips
from hardware import paper as published

SCHEMA = "svformer-run/1"
BITS_PER_KIB = 8 * 1024
CONVENTION = "cmos45_fp32"  # the chip file behind the field's 0.9 and 4.6 pJ, and behind the paper's 21 mJ


def estimate(deployment: Deployment) -> dict[str, Any]:
    """What is known before anything runs: layers, plan, proof, fit."""
    return {
        "schema": SCHEMA,
        "network": _network(deployment),
        "plan": _plan(deployment),
        "headroom": [{**dataclasses.asdict(h), "share": h.share} for h in deployment.headroom],
        "fit": _fit(deployment),
    }


def record(deployment: Deployment, tally: Tally, *, backend: str) -> dict[str, Any]:
    """The whole report of a run."""
    clips = len(tally.clips)
    return {
        **estimate(deployment),
        "backend": backend,
        "clips": [_clip(clip, deployment) for clip in tally.clips],
        "accuracy": _accuracy(deployment, tally),
        "parity": _parity(tally),
        "layers": [_layer(name, deployment, tally, clips) for name in deployment.integer.populations],
        "totals": _per_clip(sum(tally.counts.values(), OpCounts()), clips),
        "energy": _energy(deployment, tally, clips),
        "timing": {
            "build_s": tally.build_s,
            "run_s": tally.run_s,
            "seconds_per_clip": tally.run_s / clips,
            "time_steps": tally.time_steps,
            "peak_rss_mb": peak_rss_mb(),
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
        "longest_delay": max(plan.lags),
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


def _mean_scores(logits: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Softmax scores averaged over the views of a video (arXiv 2406.15034, section 4.1)."""
    values = np.stack(logits)
    scores = np.exp(values - values.max(axis=1, keepdims=True))
    return (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0)


def _accuracy(deployment: Deployment, tally: Tally) -> dict[str, Any]:
    """Top-1 of every execution over the videos whose class is one of the network's."""
    videos = [v for v in by_video(tally) if v[0].source.label in deployment.classes]
    found: dict[str, Any] = {"videos": len(videos), "views": len(tally.clips)}
    if not videos:
        return {**found, "note": _why_no_accuracy(deployment)}
    labels = [deployment.classes.index(str(v[0].source.label)) for v in videos]
    for name in ("float", "integer", "deployed"):
        attribute = "logits" if name == "deployed" else f"{name}_logits"
        best = [int(_mean_scores([getattr(view, attribute) for view in v]).argmax()) for v in videos]
        found[f"{name}_top1"] = float(np.mean([b == label for b, label in zip(best, labels, strict=True)]))
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


def _layer(name: str, deployment: Deployment, tally: Tally, clips: int) -> dict[str, Any]:
    population, counts = deployment.integer.populations[name], tally.counts[name]
    size, steps = neurons(population), clips * deployment.plan.frames
    spiking = isinstance(population, IntLif)
    return {
        "name": name,
        "kind": "input" if isinstance(population, IntInput) else "lif" if spiking else "relay",
        "shape": list(population.shape),
        "neurons": size if spiking else 0,
        "spikes": counts.spikes / clips,
        "rate": counts.spikes / (size * steps) if spiking else None,
        "float_rate": tally.float_spikes[name] / (size * steps) if spiking else None,
        "spike_match": tally.layers[name].share if spiking else None,
        **_per_clip(counts, clips),
    }


def _per_clip(counts: OpCounts, clips: int) -> dict[str, float]:
    return {name: value / clips for name, value in dataclasses.asdict(counts).items()}


def _energy(deployment: Deployment, tally: Tally, clips: int) -> dict[str, Any]:
    """Energy of the mean clip on every chip, beside the paper's figure."""
    models = energy_models(
        {name: _mean(counts, clips) for name, counts in tally.counts.items()},
        [load_chip(name) for name in shipped_chips()],
    )
    convention = models[CONVENTION]["weighted_layers_mj"]
    assert convention is not None  # this chip file has prices
    return {
        "models": models,
        "convention": CONVENTION,
        "paper_mj_per_video": published.PAPER_MJ_PER_VIDEO,
        "ratio_to_paper": convention / published.PAPER_MJ_PER_VIDEO,
        "geometry_difference": _beside_the_paper(deployment),
    }


def _mean(counts: OpCounts, clips: int) -> OpCounts:
    """Counts of the mean clip, rounded to whole operations."""
    return OpCounts(**{name: round(value / clips) for name, value in dataclasses.asdict(counts).items()})


def _beside_the_paper(deployment: Deployment) -> str:
    """How far the network is from the published one, both before chains are merged."""
    if deployment.graph.metadata.get("model") != "SVFormer":
        return "This network is not SVFormer: the paper's figure stands here for scale only."
    graph, frames = deployment.graph, deployment.plan.frames
    fields = [getattr(node, name, None) for node in graph.nodes.values() for name in ("weight", "gain", "bias")]
    connections = from_nir(graph).connections
    height, width = deployment.input_format.shape[1:3]
    return published.geometry_difference(
        published.NetworkSize(
            image_size=(height, width),
            time_steps=frames,
            parameters=sum(values.size for values in fields if values is not None),
            padded_macs=sum(
                c.operation.geometry.padded_macs() * (frames if not c.delay else frames - c.delay)
                for c in connections
                if isinstance(c.operation, Convolution)
            ),
        )
    )


def _fit(deployment: Deployment) -> dict[str, Any]:
    needs = layer_needs(deployment.integer, deployment.plan)
    return {name: dataclasses.asdict(fit(needs, load_chip(name))) for name in ("loihi1", "loihi2")}
