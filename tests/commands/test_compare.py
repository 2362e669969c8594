"""Networks side by side: products of a ReLU network by hand and by its geometry, and the command as a user runs it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy import compare
from deploy.clips.files import from_files
from deploy.clips.source import InputFormat
from deploy.comparison.relu import run_relu
from deploy.comparison.relu_counts import ProductCounter
from deploy.comparison.rows import CHIPS, Row, _each_once, judged
from deploy.comparison.tables import ENERGY, chip_titles, heading, verdicts, write_comparison
from hardware import OpCounts, energy_models, load_chip
from hardware.devices import OnDevice
from hardware.interval import Interval
from svformer import SVFormer, SVFormerConfig
from svformer.common.cli import run_cli
from svformer.data.procedural import generate
from svformer.data.synthetic.scenes import CLASSES
from svformer.networks.checkpoint import save_checkpoint
from svformer.networks.dense_counts import sizes

SMALL = SVFormerConfig(
    num_classes=12, image_size=32, frames=4, embed_dims=(4, 8, 8, 8), depths=(1, 1, 1, 1), head_dim=4
)
RELU = dataclasses.replace(SMALL, activation="relu", attention_order="qk_first")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 held-out and 12 training videos."""
    return generate(tmp_path_factory.mktemp("procedural"), groups=2, clips_per_group=1, workers=1)


def test_a_convolution_of_a_relu_network_by_hand() -> None:
    """3 x 3 with padding on 2 x 2 pixels: a value in a corner of so small an image reaches all 4 outputs."""
    conv, counter = nn.Conv2d(1, 2, 3, padding=1), ProductCounter()
    x = torch.tensor([[[[[1.0, 0.0], [0.0, -2.0]]]]])  # [T, B, C, H, W], two values that are not 0
    counter.convolution(conv, (x,), torch.empty(0))
    (found,) = counter.layers.values()
    # 2 values x 4 positions x 2 channels; dense 4 x 4 x 2; with padding 4 outputs x 9 taps x 2
    assert found.counts(4) == OpCounts(
        macs=16,
        products=16,  # both factors have 8 bits
        dense_macs=32,
        padded_macs=72,
        weight_bits_read=16 * 4,
        bias_adds=8,  # 4 pixels x 2 channels
        parameter_reads=16 + 8,
        parameter_reach=16 * (18 * 4) + 8 * (2 * 13),  # 18 weights of 4 bits, 2 biases of 13
        state_reads=16,  # an activation a product
        state_writes=8,
        state_reach=16 * (4 * 8) + 8 * (8 * 8),  # 4 values of 8 bits, 8 results
    )
    assert found.dense().counts(4).macs == found.dense().counts(4).state_reads == 32


def test_layers_add_over_clips_and_memories_do_not_grow() -> None:
    conv, counter = nn.Conv2d(1, 2, 3, padding=1), ProductCounter()
    x = torch.tensor([[[[[1.0, 0.0], [0.0, -2.0]]]]])
    for _ in range(3):
        counter.convolution(conv, (x,), torch.empty(0))
    (found,) = counter.layers.values()
    once = ProductCounter()
    once.convolution(conv, (x,), torch.empty(0))
    (single,) = once.layers.values()
    assert found.counts(8) == sum([single.counts(8)] * 3, OpCounts())


def test_attention_of_a_relu_network_by_hand() -> None:
    """2 tokens, 2 channels of one head; q k^T multiplies pairs of non-zero factors, the softmax has no zeros."""
    q = torch.tensor([[1.0, 2.0], [0.0, 3.0]])  # [C, N]
    k = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    v = torch.tensor([[0.0, 5.0], [6.0, 7.0]])
    counter = ProductCounter()
    model = SVFormer(RELU)
    attn = model.stage3.block0.attn
    attn.heads = 1
    for part in (q, k, v):
        counter.softmax(attn, attn.plif_q, (), part.reshape(1, 1, 2, 1, 2))
    (found,) = counter.attention.values()
    # channel 0: 2 q x 1 k, channel 1: 1 q x 0 k; then 3 values of v x 2 rows of the softmax
    macs = 2 * 1 + 0 + 3 * 2
    assert found.counts(8) == OpCounts(
        macs=macs,
        products=macs,
        dense_attention_ops=2 * 2 * 2 * 2,
        state_reads=2 * macs,  # two activations each
        state_writes=4 + 4,  # the softmax of 2 x 2 tokens, and 2 channels of 2 tokens
        state_reach=2 * macs * (12 * 8) + 8 * (8 * 8),
    )


def test_a_shortcut_of_a_relu_network_by_hand() -> None:
    """A block adds twice: 2 frames of 6 values, each sum of two values that are fetched."""
    block, counter = SVFormer(RELU).stage1.block0, ProductCounter()
    counter.shortcuts(block, (), torch.ones(2, 1, 6, 1, 1))
    (found,) = counter.layers.values()
    counted = found.counts(8)
    assert (counted.relay_adds, counted.state_reads, counted.state_writes, counted.macs) == (24, 48, 24, 0)


def test_a_relu_network_is_counted_as_its_geometry_says(tmp_path: Path) -> None:
    """Padded products and attention of a clip are those of `svformer.sizes`; no more are done than there are."""
    torch.manual_seed(0)
    model = SVFormer(RELU).eval()
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"v_{'ab'[i % 2]}_g01_c0{i}.npy")
        np.save(paths[-1], np.random.default_rng(i).normal(size=(4, 3, 32, 32)).astype(np.float32))
    wanted = InputFormat(frames=4, shape=(3, 32, 32))
    found = run_relu(model, from_files(paths), wanted, classes=("a", "b", *"cdefghijkl"))
    expected = sizes(RELU)
    assert sum(layer.padded_macs for layer in found.layers) == 3 * expected.dense_macs
    assert sum(layer.dense_macs for layer in found.attention) == 3 * expected.attention_macs
    clip, dense = (run.per_clip(weight_bits=4, attention=True) for run in (found, found.dense()))
    assert 0 < clip.macs < dense.macs <= expected.dense_macs + expected.attention_macs
    weighted = found.dense().per_clip(weight_bits=4, attention=False)
    assert weighted.macs == weighted.dense_macs
    assert weighted.weight_bits_read == pytest.approx(4 * weighted.macs, abs=4)
    memory = [
        energy_models({"all": counts}, [load_chip("cmos45_lemaire")])["cmos45_lemaire"].mj_per_view or 0.0
        for counts in (clip, dense)
    ]
    assert 0 < memory[0] < memory[1], "zeros are not fetched"
    assert 0 < found.active_share < 1
    with torch.no_grad():
        best = model(torch.from_numpy(np.stack([np.load(p) for p in paths])).transpose(1, 2)).argmax(1).tolist()
    assert found.top1 == np.mean([b == i % 2 for i, b in enumerate(best)])


def run(*arguments: object) -> int:
    return run_cli(compare.main, [*map(str, arguments)])


def test_networks_side_by_side(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spiking network at two widths, one trained for 3 bits, one with norms of every step, and the twin."""
    torch.manual_seed(0)
    forms = {
        "plain": SMALL,
        "three": dataclasses.replace(SMALL, weight_bits=3),
        "by_step": dataclasses.replace(SMALL, norm="per_step"),
        "relu": RELU,
    }
    paths = [tmp_path / f"{name}.safetensors" for name in forms]
    for path, config in zip(paths, forms.values(), strict=True):
        save_checkpoint(SVFormer(config), path, {"classes": json.dumps(CLASSES)})
    options = ["--root", dataset, "--limit", 2, "--weight-bits", 8, 4, "--out", tmp_path / "out", "--json"]
    assert run(*paths, *options) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == json.loads((tmp_path / "out" / "comparison.json").read_text())
    found = [(row["name"], row["weight_bits"], row["static"]) for row in rows]
    assert found == [
        ("plain", 8, True),
        ("plain", 4, True),
        ("three", 3, True),
        ("by_step", 8, False),
        ("by_step", 4, False),
        ("relu", 8, True),
        ("relu", 8, True),
        ("relu", 4, True),
        ("relu", 4, True),
    ]
    plain, narrow, trained = rows[:3]
    assert plain["memory_kib"] == 2 * narrow["memory_kib"]
    assert trained["memory_kib"] <= narrow["memory_kib"] * 3 / 4
    dense, sparse = rows[-4:-2]
    assert rows[-1]["memory_kib"] == sparse["memory_kib"] / 2
    assert dense["macs"] > sparse["macs"]
    assert dense["energy_mj"][CHIPS[0]] > sparse["energy_mj"][CHIPS[0]] > 0
    for row in rows:
        low, high = row["interval_mj"][CHIPS[0]].values()
        assert low < row["energy_mj"][CHIPS[0]] < high
    assert plain["against"].keys() == {"relu (every product)", "relu (zeros skipped)"}
    coral = dense["device_mj"]["Coral Edge TPU"]
    assert coral["mj"] == pytest.approx(5.5 * coral["low_mj"])
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "not static on a chip" in page
    assert "4 networks at 3 widths on the same 2 clips of procedural" in page
    assert "networks with ReLU and softmax ran in PyTorch" in page
    assert page.count("<tr>") > len(rows) * 4


def test_a_network_with_fine_layers_that_is_tuned(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row says both; the five bits below the three of some weights are stored, too."""
    torch.manual_seed(0)
    save_checkpoint(SVFormer(SMALL), path := tmp_path / "plain.safetensors", {"classes": json.dumps(CLASSES)})
    rows = []
    for folder, options in (("plain", []), ("finer", ["--fine-layers", 2, "--tune", 1])):
        command = [path, "--root", dataset, "--limit", 2, "--weight-bits", 3, "--out", tmp_path / folder, "--json"]
        assert run(*command, *options) == 0
        rows += json.loads(capsys.readouterr().out)
    plain, finer = rows
    assert plain["form"] == "norm shared over time"
    assert finer["form"] == "norm shared over time, 2 fine layers, tuned for 1 epoch"
    assert finer["memory_kib"] > plain["memory_kib"]


ROW = Row(
    name="a", form="norm shared over time", weight_bits=8, clips=1, float_top1=None, deployed_top1=None, agreement=1.0,
    spike_match=0.9, active_share=0.2, memory_kib=1.5, synaptic_ops=10.0, macs=2.0, attention_ops=0.0,
    neuron_updates=4.0, energy_mj=dict.fromkeys(CHIPS, 1e-6), static=True,
    interval_mj={}, device_mj={},
)  # fmt: skip


def test_a_row_comes_back_from_its_file_without_draws() -> None:
    row = dataclasses.replace(
        ROW,
        interval_mj={"odin": Interval(low_mj=1.0, high_mj=2.0)},
        device_mj={"coral": OnDevice(mj=2.0, low_mj=1.0, high_mj=3.0)},
        draws_mj={"odin": np.linspace(1, 2, 10)},
    )
    assert Row.of_plain(json.loads(json.dumps(row.plain()))) == dataclasses.replace(row, draws_mj={})


def test_a_verdict_needs_the_draws_and_a_twin_of_equal_bits() -> None:
    """Cheaper where all draws say so, undecided where half do; a twin of other bits says nothing."""
    draws = np.linspace(1, 2, 100)
    spikes = dataclasses.replace(ROW, draws_mj={"odin": draws, "loihi1": draws})
    twin = dataclasses.replace(ROW, name="r", form="ReLU, every product", spike_match=None)
    twin = dataclasses.replace(twin, draws_mj={"odin": draws + 2})
    even = dataclasses.replace(twin, form="ReLU, zeros skipped", draws_mj={"odin": draws[::-1].copy()})
    narrow = dataclasses.replace(twin, weight_bits=4)
    found, *others = judged([spikes, twin, even, narrow])
    assert found.against == {"r (every product)": {"odin": "cheaper"}, "r (zeros skipped)": {"odin": "undecided"}}
    assert verdicts([found, *others]) == [
        "a to r (every product) at 8 bits: cheaper on odin",
        "a to r (zeros skipped) at 8 bits: undecided on odin",
    ]
    assert "draws_mj" not in found.plain()


def test_one_network_at_several_widths_is_one(tmp_path: Path) -> None:
    """Without a ReLU network the page has no word about it; where no class is known, it says why there is no top-1."""
    rows = [dataclasses.replace(ROW, weight_bits=bits) for bits in (8, 4, 3)]
    assert heading(rows) == "1 network at 3 widths"
    assert heading(rows[:1]) == "1 network"
    write_comparison(rows, "folder", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "1 network at 3 widths on the same 1 clip of folder" in page
    assert "ReLU" not in page
    assert "a: no clip bears a class of the network: it has no top-1." in page


def test_the_convention_counts_weighted_layers_and_the_table_says_so() -> None:
    assert [title.rpartition(", ")[2] for title in chip_titles()] == ["weighted layers", *["everything"] * 4]
    assert ENERGY[0][0] == "cmos45_fp32 mJ, weighted"


def test_steps_that_deployments_have_in_common_are_said_once() -> None:
    said: list[str] = []
    say = _each_once(said.append)
    for line in ("lowered", "8 bits", "lowered", "4 bits"):
        say(line)
    assert said == ["lowered", "8 bits", "4 bits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors: no such checkpoint"),
        ([__file__, "--weight-bits", "9"], "--weight-bits 9; allowed: 2 to 8"),
        ([__file__, "--limit", "0"], "--limit 0; allowed: 1 or more"),
        ([__file__, "--tune", "0"], "--tune 0; allowed: 1 or more"),
        ([__file__, "--fine-layers", "-1"], "--fine-layers -1; allowed: 1 or more"),
    ],
)
def test_refusals(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
