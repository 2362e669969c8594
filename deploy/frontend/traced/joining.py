"""q, k and v as one layer of neurons, which `SpikingAttention` reads.

Three LIF layers that nothing else hears become one of all their channels, and the convolutions in front of them one
convolution (of their common source), or one in groups (of sources that were joined in turn). Where they cannot, each
signal is put into its channels by a convolution. Spikes that come from elsewhere pass through a layer of thresholds.
"""

from collections.abc import Sequence
from dataclasses import replace

import nir
import numpy as np

from deploy.frontend.traced.draft import FIRED, Conv, Draft
from deploy.frontend.traced.spreading import place
from deploy.frontend.traced.walk import Place


def join(draft: Draft, attention: str, layers: dict[str, Place]) -> dict[str, Place]:
    """Give an attention node of three sources one that holds them; returns where the neuron layers are then."""
    parts = draft.sources[attention]
    if len(parts) == 1:
        if not isinstance(draft.nodes[parts[0]], (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)):
            draft.sources[attention] = (draft.gate(f"{attention}.qkv", FIRED, parts[0]),)
        return layers
    own = len(set(parts)) == 3 and all(draft.heard_by(part) == [attention] for part in parts)
    if not own or not all(isinstance(draft.nodes[part], nir.LIF) for part in parts):
        draft.sources[attention] = (draft.gate(f"{attention}.qkv", FIRED, *place(draft, parts)),)
        return layers
    sources = _side_by_side(draft, [draft.sources[part] for part in parts])
    nodes = [draft.nodes[part] for part in parts]
    fields = ("tau", "r", "v_leak", "v_threshold", "v_reset")
    node = nir.LIF(**{field: np.concatenate([getattr(node, field) for node in nodes]) for field in fields})
    name = draft.free("+".join(parts))
    widths = [draft.shapes[part][0] for part in parts]
    shape = (sum(widths), *draft.shapes[parts[0]][1:])
    ends = np.cumsum([0, *widths]).tolist()
    for part in parts:
        draft.forget(part)
    found = draft.add(name, node, *sources, shape=shape, spiking=True, alone=True)
    draft.sources[attention] = (found,)
    places = {part: (ends[i], ends[i + 1]) for i, part in enumerate(parts)}
    return {
        path: replace(place, node=found, channels=places[place.node]) if place.node in places else place
        for path, place in layers.items()
    }


def _side_by_side(draft: Draft, sources: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Nodes whose sum is what three layers hear, the channels of one behind those of the other."""
    if all(len(own) == 1 for own in sources):
        parts = [own[0] for own in sources]
        joined = _joined_convolution(draft, parts)
        return place(draft, parts) if joined is None else (joined,)
    return tuple(place(draft, [_summed(draft, own) for own in sources]))


def _summed(draft: Draft, own: tuple[str, ...]) -> str:
    return own[0] if len(own) == 1 else draft.sum(f"{own[0]}.sum", *own)


def _joined_convolution(draft: Draft, parts: Sequence[str]) -> str | None:
    """One convolution in place of several that nothing else hears, and of those in front of them; None: not alike."""
    convs = [draft.nodes[part] for part in parts]
    if len(set(parts)) < len(parts) or any(len(draft.heard_by(part)) > 1 for part in parts):
        return None
    if not all(isinstance(conv, Conv) for conv in convs):
        return None
    first, *others = (conv for conv in convs if isinstance(conv, Conv))
    if any(_form(conv) != _form(first) for conv in others):
        return None
    sources = [draft.sources[part][0] for part in parts]
    if len(set(sources)) == 1:
        if first.groups != 1:
            return None
        source, groups = sources[0], 1
    else:
        inner = _joined_convolution(draft, sources)
        if inner is None:
            return None
        source, groups = inner, len(parts) * first.groups
    weight, bias = (np.concatenate([getattr(conv, field) for conv in (first, *others)]) for field in ("weight", "bias"))
    for part in parts:
        draft.forget(part)
    return draft.conv("+".join(parts), replace(first, weight=weight, bias=bias, groups=groups), source)


def _form(conv: Conv) -> tuple[object, ...]:
    return conv.weight.shape, conv.groups, conv.window
