"""The networks that SVFormer is compared with: their sizes, their parts by hand, their checkpoints."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from small_baselines import small_baseline, small_config, small_conversion
from svformer import InputError, load_checkpoint, record_spikes, save_checkpoint
from svformer.baselines.rsnn import RecurrentPLIF
from svformer.baselines.timesformer import Attention
from svformer.baselines.tsm import shifted
from svformer.config import ACTIVATIONS, PRESETS, Model, SVFormerConfig
from svformer.model.layers import TemporalConv
from svformer.model.neurons import PLIF, SubtractiveLIF
from svformer.networks import NETWORKS
from svformer.networks.checkpoint import load_network
from svformer.networks.dense_counts import sizes
from tensors import random_clips

MODELS: tuple[Model, ...] = tuple(ACTIVATIONS)


def of_preset(preset: str, model: Model) -> SVFormerConfig:
    order = "qk_first" if ACTIVATIONS[model] == "relu" else "kv_first"
    return dataclasses.replace(
        PRESETS[preset], model=model, activation=ACTIVATIONS[model], attention_order=order, norm="shared"
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("preset", ["tiny", "ucf101", "dvs128_gesture"])
def test_parameters_are_about_those_of_svformer(preset: str, model: Model) -> None:
    share = sizes(of_preset(preset, model)).parameters / sizes(PRESETS[preset]).parameters
    assert 1 / 1.5 < share < 1.5


def test_attention_is_counted_over_time_and_over_space() -> None:
    """32 pixels are 4 x 4 tokens of 16 channels; 4 frames; 3 blocks; each of two products, over time and space."""
    counted = sizes(small_config("timesformer"))
    over_time, over_space = 16 * 2 * 4 * 4 * 16, 4 * 2 * 16 * 16 * 16
    assert counted.attention_macs == 3 * (over_time + over_space)


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_names_its_model(model: Model, tmp_path: Path) -> None:
    network = small_conversion(steps_per_frame=2) if model == "ann2snn" else small_baseline(model)
    save_checkpoint(network.float(), tmp_path / "a.safetensors")
    found, clips = load_network(tmp_path / "a.safetensors"), random_clips(network.config, 2).float()
    assert isinstance(found, NETWORKS[model])
    with torch.no_grad():
        logits = found(clips)
        assert torch.equal(logits, network(clips))
    assert logits.shape == (2, 5)
    with pytest.raises(InputError, match=f"holds model='{model}'; allowed here: an SVFormer"):
        load_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"this model takes \[B, 3, 4, 32, 32\]"):
        found(clips[:, :, :3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "spiking"}, "model='tsm' has its own activation, 'relu'"),
        ({"norm": "per_step"}, "are choices of model='svformer', found 'tsm'"),
        ({"steps_per_frame": 2}, "steps_per_frame must be 1, or more with model='ann2snn'"),
        ({"embed_dims": (2, 8, 8, 8)}, "every width must be 4 or more"),
        ({"model": "x3d"}, "model must be svformer, tsm, r2plus1d"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    fields = {**dataclasses.asdict(small_config("tsm")), "attention_order": "qk_first", **change}
    if change.get("activation") == "spiking":
        fields["attention_order"] = "kv_first"
    with pytest.raises(InputError, match=message):
        SVFormerConfig(**fields)


def test_a_quarter_of_the_channels_comes_late() -> None:
    """Three frames of four channels, channel c of frame t is 10 t + c."""
    clip = torch.tensor([[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]])[:, None, :, None, None]
    assert shifted(clip).flatten(1).tolist() == [[0, 1, 2, 3], [0, 11, 12, 13], [10, 21, 22, 23]]
    assert shifted(clip, 2).flatten(1).tolist() == [[0, 1, 2, 3], [0, 11, 12, 13], [0, 21, 22, 23]]


def test_a_convolution_over_time_is_a_3d_one() -> None:
    torch.manual_seed(0)
    conv, clip_TBCHW = TemporalConv(3, 5), torch.randn(4, 2, 3, 2, 6)
    three = nn.Conv3d(3, 5, (3, 1, 1), padding=(1, 0, 0))
    three.load_state_dict({"weight": conv.weight[..., None], "bias": conv.bias})
    expected = three(clip_TBCHW.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)
    assert torch.allclose(conv(clip_TBCHW), expected, atol=1e-6)


@pytest.mark.parametrize("over_time", [True, False])
def test_attention_mixes_one_axis(over_time: bool) -> None:
    """What changes in one token reaches all tokens of its row of frames, or of its frame, and no other."""
    torch.manual_seed(0)
    attention, clip = Attention(4, 2, over_time=over_time), torch.randn(3, 1, 4, 2, 2)
    other = clip.clone()
    other[1, 0, :, 0, 1] += 1
    changed = (attention(clip) != attention(other)).any(dim=2)[:, 0]
    expected = torch.zeros_like(changed)
    expected[:, 0, 1] = over_time
    expected[1] |= not over_time
    assert torch.equal(changed, expected)


def test_spikes_come_back_one_step_late() -> None:
    """One neuron, tau 2, threshold 1, and 3 times its own spike: currents 2, 0, 0 give potentials 1, 1.5, 1.5."""
    layer = RecurrentPLIF(1, tau=2.0, v_th=1.0)
    nn.init.zeros_(layer.recurrent.weight)
    layer.recurrent.weight.data[0, 0, 1, 1] = 3.0
    currents = torch.tensor([2.0, 0.0, 0.0]).reshape(3, 1, 1, 1, 1)
    assert layer(currents).flatten().tolist() == [1, 1, 1]
    assert layer.potentials(currents).flatten().tolist() == [1, 1.5, 1.5]
    nn.init.zeros_(layer.recurrent.weight)
    assert torch.equal(layer(currents), PLIF(tau=2.0, v_th=1.0)(currents)), "without a loop it is the layer of SVFormer"


def test_a_spike_takes_one_off_the_potential() -> None:
    """Tau 2 leaves half: 0.75 fires and leaves -0.25; -0.125 + 0.25 does not; 0.0625 + 0.75 fires."""
    layer, currents = SubtractiveLIF(tau=2.0), torch.tensor([0.75, 0.25, 0.75])[:, None]
    assert layer.potentials(currents).flatten().tolist() == [0.75, 0.125, 0.8125]
    assert layer(currents).flatten().tolist() == [1, 0, 1]


def test_more_steps_of_a_frame_bring_a_conversion_nearer() -> None:
    trained = small_baseline("tsm")
    still = random_clips(trained.config, 2)[:, :, :1].expand(-1, -1, trained.config.frames, -1, -1)
    with torch.no_grad():
        expected = trained(still)
        errors = [
            float((small_conversion(steps_per_frame=steps)(still) - expected).abs().mean() / expected.abs().mean())
            for steps in (1, 8, 32)
        ]
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.25


def test_spikes_of_a_conversion_are_recorded() -> None:
    spiking = small_conversion(steps_per_frame=2)
    spikes = record_spikes(spiking, random_clips(spiking.config, 1))
    assert len(spikes) == 9
    assert all(layer.shape[0] == 8 and set(layer.flatten().tolist()) <= {0, 1} for layer in spikes.values())
    with pytest.raises(InputError, match="no spikes to record"):
        record_spikes(small_baseline("tsm"), random_clips(spiking.config, 1))
