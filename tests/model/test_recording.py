"""What is recorded inside a network: membranes that explain the spikes, attention in whole numbers."""

import numpy as np
import pytest
import torch

from svformer import InputError, attention_maps, record_membranes, record_spikes
from svformer.model.attention.qkv import spiking_attention


@pytest.fixture(scope="module")
def recorded(exported):
    clip_BCTHW = torch.as_tensor(exported.frames_NTCHW).transpose(1, 2)
    return exported.model, clip_BCTHW, record_spikes(exported.model, clip_BCTHW)


def test_potentials_explain_every_spike(recorded) -> None:
    """V <- v + decay (x - v); a spike where v reaches the threshold; then 0."""
    model, clip, spikes = recorded
    layers = ["stage1.block0.local.plif", "stage3.block1.attn.plif_k"]
    traces = record_membranes(model, clip, layers)
    assert list(traces) == layers
    for name, trace in traces.items():
        v = np.zeros_like(trace.potential[0])
        for current, potential, fired in zip(trace.current, trace.potential, trace.spikes, strict=True):
            v = v + trace.decay * (current - v)
            np.testing.assert_allclose(potential, v, rtol=1e-12)
            assert ((potential >= trace.threshold) == fired).all()
            v = np.where(fired, 0.0, v)
        assert (trace.spikes == spikes[name]).all()
        assert 0 < trace.spikes.mean() < 1


def test_other_names_than_neuron_layers_are_refused(recorded) -> None:
    model, clip, _ = recorded
    with pytest.raises(InputError, match=r"stage1, nowhere: no neuron layers .* allowed: stage1.block0.local.plif"):
        record_membranes(model, clip, ["stage1", "down2.plif", "nowhere"])


def test_attention_is_counting(recorded) -> None:
    """One entry of k^T v by hand, and all of q (k^T v) against the layer of the model."""
    model, _, spikes = recorded
    maps = attention_maps(model, spikes)
    assert list(maps) == ["stage3.block0.attn", "stage3.block1.attn", "stage4.block0.attn"]
    for name, found in maps.items():
        q, k, v = (torch.as_tensor(spikes[f"{name}.plif_{part}"]).double() for part in "qkv")
        heads, d = found.coincidences.shape[2:4]
        both = (found.k[1, 0, 0, 2] & found.v[1, 0, 0, 3]).sum()  # positions where k channel 2 and v channel 3 fire
        assert found.coincidences[1, 0, 0, 2, 3] == both
        attended = spiking_attention(q, k, v, heads=heads)
        np.testing.assert_allclose(found.selected.reshape(attended.shape) * d**-0.5, attended, rtol=1e-12)
    assert any(found.coincidences.any() for found in maps.values())
