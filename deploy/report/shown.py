"""Clips that a page shows, one by one: what a run has kept of each, its frames, and what its attention selects.

Legend: T time steps, C channels of q (k and v have as many), H rows, W columns, D channels of a head.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.clips.read import load
from deploy.execution.deployment import Deployment
from deploy.execution.tally import Tally
from deploy.ir.linear import attend
from deploy.ir.operations.attention import IntAttention

Spikes = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """What a layer of spiking attention `q (k^T v)` did in a clip, from its spikes alone."""

    name: str  # population that hears it
    heads: int
    products: NDArray[np.float64]  # k^T v of every head, mean over the time steps, [heads, D of k, D of v]
    selected: NDArray[np.float64]  # what q selects, unscaled, sum over the channels, [T, H, W]


@dataclass(frozen=True, kw_only=True)
class ShownClip:
    """One clip of a run; what there is nothing of is empty or None."""

    place: int = 0  # in the list of the report's clips
    spikes: Spikes = field(default_factory=dict)  # of every neuron layer, [T, C, H, W]
    frames: NDArray[np.float32] | None = None  # [T, *input shape]
    results: NDArray[np.float64] | None = None  # after each time step, [T, K]
    differences: Spikes = field(
        default_factory=dict
    )  # time steps at which the float network's neuron differs, [C, H, W]
    attention: tuple[AttentionMap, ...] = ()


def shown_clips(deployment: Deployment, tally: Tally, places: Iterable[int] | None = None) -> Iterator[ShownClip]:
    """The clips that a run has kept, each made when it is asked for; their frames are read again.

    `places` are those of the list of clips to show, in this order (default: of all kept ones).
    """
    for place in range(tally.kept_clips) if places is None else places:
        source = tally.clips[place].source
        steps = source.frames or deployment.plan.frames
        spikes = {name: signal[place, :steps] for name, signal in tally.kept.items()}
        yield ShownClip(
            place=place,
            spikes=spikes,
            frames=load(source, deployment.input_format),
            results=None if tally.kept_results is None else tally.kept_results[place, :steps],
            differences={name: counts[place] for name, counts in tally.kept_differences.items()},
            attention=tuple(attention_maps(deployment, spikes)),
        )


def attention_maps(deployment: Deployment, spikes: Spikes) -> Iterator[AttentionMap]:
    """The maps of every layer of attention whose q, k and v are spikes of one kept layer [T, 3C, H, W]."""
    for connection in deployment.fused.connections:
        operation, sent = connection.operation, spikes.get(connection.source)
        if isinstance(operation, IntAttention) and sent is not None:
            heads = operation.geometry.heads
            yield AttentionMap(
                name=connection.target,
                heads=heads,
                products=counted_pairs(sent, heads).mean(axis=0),
                selected=attend(sent.astype(np.float64), heads=heads).sum(axis=1),
            )


def counted_pairs(qkv_TCHW: NDArray[Any], heads: int) -> NDArray[np.float64]:
    """`k^T v` of every time step and head: tokens at which both spike, [T, heads, D of k, D of v]."""
    steps, channels = qkv_TCHW.shape[:2]
    _, k, v = qkv_TCHW.reshape(steps, 3, heads, channels // 3 // heads, -1).astype(np.float64).transpose(1, 0, 2, 3, 4)
    return k @ v.transpose(0, 1, 3, 2)
