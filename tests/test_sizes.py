"""Dense sizes of a geometry against the reference figures of the published network, and by hand."""

import csv
import dataclasses
from pathlib import Path

import pytest

from svformer.config import PRESETS, SVFormerConfig
from svformer.sizes import sizes

RATES = Path(__file__).parents[1] / "hardware" / "data" / "svformer_ucf101_layers.csv"


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
