"""Dense sizes of a geometry against the reference figures of the published network, and by hand."""

import csv
import dataclasses
from pathlib import Path

import pytest

from svformer.config import PRESETS, SVFormerConfig
from svformer.networks.dense_counts import sizes

RATES = Path(__file__).parents[2] / "hardware" / "data" / "svformer_ucf101_layers.csv"


def test_published_network_has_the_reference_figures() -> None:
    """The authors' model under fvcore: 37.675757 G dense, 0.513802 G attention, 78.275584 M normalised values."""
    found = sizes(dataclasses.replace(PRESETS["ucf101"], norm="per_step"))
    assert found.parameters == 13_801_612
    assert found.dense_macs == 37_675_756_544
    assert found.attention_macs == 513_802_240
    assert found.norm_elements == 78_275_584


def test_neurons_are_those_of_the_published_table() -> None:
    with RATES.open() as file:
        published = sum(int(row["neurons"]) for row in csv.DictReader(file) if row["kind"] == "plif")
    assert sizes(PRESETS["ucf101"]).neurons == published


def test_attention_by_hand() -> None:
    """Two stages of one block, T = 2: 2 x 2 tokens of 8 channels, then 1 token of 8; heads of 4 channels.

    A head multiplies two N x 4 by 4 x 4 products: 2 * N * 16; two heads, T = 2: 4 * 2 * 16 * 4 = 512 and 128.
    """
    config = SVFormerConfig(
        num_classes=2, image_size=32, frames=2, embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), head_dim=4
    )
    assert sizes(config).attention_macs == 512 + 128


@pytest.mark.parametrize(
    ("name", "classes", "channels"), [("ucf101", 101, 3), ("ntu60", 60, 3), ("dvs128_gesture", 11, 2)]
)
def test_presets_of_the_data_sets(name: str, classes: int, channels: int) -> None:
    config = PRESETS[name]
    assert (config.num_classes, config.in_channels) == (classes, channels)
    assert sizes(config).parameters > 10_000_000


def test_attention_with_q_k_first_by_hand() -> None:
    """2 C N^2 in every frame. Stage 3: 3 blocks, 384 channels, 14 x 14 tokens; stage 4: 512 channels, 7 x 7 tokens.

    16 * (3 * 2 * 384 * 196^2 + 2 * 512 * 49^2) = 1,416,167,424 + 39,337,984: 2.8 times as much as k^T v first, where
    2 C N head_dim adds up to 16 * (3 * 2 * 384 * 196 * 64 + 2 * 512 * 49 * 64) = 513,802,240.
    """
    config = dataclasses.replace(PRESETS["ucf101"], attention_order="qk_first")
    assert sizes(config).attention_macs == 1_416_167_424 + 39_337_984


def test_the_twin_does_the_same_dense_work_without_a_spiking_neuron() -> None:
    spiking = sizes(PRESETS["tiny"])
    twin = sizes(dataclasses.replace(PRESETS["tiny"], activation="relu", attention_order="qk_first"))
    assert (twin.dense_macs, twin.norm_elements, twin.neurons) == (spiking.dense_macs, spiking.norm_elements, 0)


def test_local_neurons_add_two_layers_of_neurons_and_norms_to_every_local_block() -> None:
    """Tiny: stage 1 has 16 channels of 16 x 16, stage 2 32 of 8 x 8; 16 time steps."""
    plain, local = (sizes(dataclasses.replace(PRESETS["tiny"], local_neurons=on)) for on in (False, True))
    added = 2 * (16 * 16 * 16 + 32 * 8 * 8)
    assert local.neurons - plain.neurons == added
    assert local.norm_elements - plain.norm_elements == 16 * added
    assert local.dense_macs == plain.dense_macs


def test_weight_bits_change_no_count() -> None:
    assert sizes(dataclasses.replace(PRESETS["tiny"], weight_bits=3)) == sizes(PRESETS["tiny"])
