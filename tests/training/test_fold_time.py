"""Norms of every time step folded into shared ones: sums by hand, nothing lost where steps are alike, the tool."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from svformer import InputError, SVFormer, SVFormerConfig, fold_time, load_checkpoint, save_checkpoint
from svformer.common.cli import run_cli
from svformer.data.clips import Sampling
from svformer.data.procedural import CLASSES
from svformer.data.ucf101 import Ucf101
from svformer.evaluation import agreement
from svformer.evaluation.accuracy import evaluate
from svformer.evaluation.agreement import compare_networks
from svformer.evaluation.recording import Spikes, run_recorded
from svformer.model.layers import TimeNorm
from svformer.training import folding
from svformer.training.folding import REFERENCE
from svformer.training.shared_norms import Moments, PairedNorm, fold

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "tiny_rgb.pyth"
CONFIG = SVFormerConfig(
    num_classes=len(CLASSES),
    image_size=32,
    frames=4,
    embed_dims=(8, 8, 16, 16),
    depths=(1, 1, 2, 1),
    head_dim=8,
    norm="per_step",
)


def per_step_model(config: SVFormerConfig = CONFIG, *, alike: bool = False) -> SVFormer:
    """Norms with statistics of every kind, each time step its own, or all steps `alike`."""
    torch.manual_seed(0)
    model = SVFormer(config).double().eval()
    for norm in model.modules():
        if not isinstance(norm, TimeNorm):
            continue
        tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for tensor, (low, high) in zip(tensors, [(1, 4), (-0.5, 1), (-0.3, 0.3), (0.1, 1)], strict=True):
            assert tensor is not None
            values = torch.empty(config.frames, norm.channels, dtype=torch.float64).uniform_(low, high)
            tensor.data = (values[:1].expand_as(values) if alike else values).flatten()
    return model


def clips(*sizes: int, config: SVFormerConfig = CONFIG) -> list[Tensor]:
    """Batches of real numbers [B, C, T, H, W], float64."""
    torch.manual_seed(1)
    shape = (config.in_channels, config.frames, config.image_size, config.image_size)
    return [torch.randn(size, *shape, dtype=torch.float64) for size in sizes]


def two_steps(weights: tuple[float, float], variances: tuple[float, float] = (1, 4)) -> TimeNorm:
    """One channel, two time steps; an epsilon of 0, so that the gains are weights / sqrt(variances)."""
    norm = TimeNorm(1, frames=2, mode="per_step").double().eval()
    norm.eps = 0.0
    norm.weight.data = torch.tensor(weights, dtype=torch.float64)
    norm.running_var = torch.tensor(variances, dtype=torch.float64)
    return norm


def by_step(*values: list[float]) -> Tensor:
    """[T, B, 1, 1, 1] from one list of clips for each time step."""
    return torch.tensor(values, dtype=torch.float64)[..., None, None, None]


# The statistics


def test_two_time_steps_by_hand() -> None:
    x, y = by_step([1, 3], [2, 6]), by_step([5, 7], [0, 4])
    moments = Moments()
    moments.add(x, y)
    norm = moments.shared_norm(two_steps((3, 2)))  # gains 3 / 1 and 2 / 2
    # x: mean 12 / 4, mean square (1 + 9 + 4 + 36) / 4; y: mean 16 / 4, mean square (25 + 49 + 0 + 16) / 4.
    assert norm.running_mean == 3
    assert norm.running_var == 12.5 - 3**2
    gain = math.sqrt((22.5 - 4**2) / (12.5 - 3**2))  # 1.36, between 1 and 3
    torch.testing.assert_close(norm(x), 4 + gain * (x - 3))
    assert norm(x).var(unbiased=False).item() == pytest.approx(22.5 - 4**2)


@pytest.mark.parametrize(
    ("weights", "deviation", "gain"),
    [
        ((3, 2), 2, 2),
        ((3, 2), 5, 3),  # a wider current than either step's gain gives
        ((3, 2), 0.5, 1),
        ((-3, -2), 2, -2),
        ((-3, -2), 5, -3),
        ((-3, 2), 2, -2),  # gains -3 and 1, mean -1
        ((-1, 6), 2, 2),  # gains -1 and 3, mean 1
    ],
)
def test_the_gain_has_the_sign_and_the_range_of_those_of_the_steps(
    weights: tuple[float, float], deviation: float, gain: float
) -> None:
    x = by_step([-1, 1], [1, -1])
    moments = Moments()
    moments.add(x, deviation * x)
    torch.testing.assert_close(moments.shared_norm(two_steps(weights))(x), gain * x)


@pytest.mark.parametrize(("outputs", "gain"), [((9, 1), 3), ((5, 5), 1)])
def test_a_channel_that_never_moves_gets_a_gain_within_the_range(outputs: tuple[float, float], gain: float) -> None:
    """Where what is wanted differs between the steps all the same, its variance would need an infinite gain."""
    moments = Moments()
    moments.add(by_step([0.1] * 3, [0.1] * 3), by_step([outputs[0]] * 3, [outputs[1]] * 3))
    norm = moments.shared_norm(two_steps((3, 2)))
    torch.testing.assert_close(norm(by_step([0.1, 1.1], [0.1, 2.1])), 5 + gain * by_step([0, 1], [0, 2]))


def test_batches_add_up() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 6, 1, 4, 4, dtype=torch.float64)  # three time steps, six clips
    per_step = TimeNorm(1, frames=3, mode="per_step").double()
    whole, parts = Moments(), Moments()
    whole.add(x, y)
    for some in (slice(0, 1), slice(1, 6)):
        parts.add(x[:, some], y[:, some])
    expected = whole.shared_norm(per_step).state_dict()
    for name, found in parts.shared_norm(per_step).state_dict().items():
        torch.testing.assert_close(found, expected[name], msg=name)


# Folding a network


def test_steps_that_are_alike_fold_without_loss() -> None:
    per_step = per_step_model(alike=True)
    folded = fold(per_step, clips(3, 2))
    assert folded.config == dataclasses.replace(CONFIG, norm="shared")
    (other,) = clips(2)
    expected_logits, expected = run_recorded(per_step, other)
    logits, spikes = run_recorded(folded, other)
    assert 0.05 < np.mean([layer.mean() for layer in expected.values()]) < 0.6  # there is something to compare
    for layer, fired in expected.items():
        np.testing.assert_array_equal(spikes[layer], fired, layer)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-9, atol=1e-9)


def norm_signals(model: SVFormer, batches: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """What goes into and comes out of every norm over all clips, each [T, B, C, H, W]."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, TimeNorm):
            into = seen.setdefault(name, [])
            module.register_forward_hook(lambda _, inputs, output, into=into: into.append((inputs[0], output)))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    return {
        name: (torch.cat([x for x, _ in pairs], 1), torch.cat([y for _, y in pairs], 1)) for name, pairs in seen.items()
    }


@pytest.mark.parametrize("local_neurons", [False, True])
def test_every_folded_norm_keeps_mean_and_variance(local_neurons: bool) -> None:
    """Measured in a run of each network by itself; right only if all norms before it were folded before it."""
    config = dataclasses.replace(CONFIG, local_neurons=local_neurons)
    per_step, batches = per_step_model(config), clips(3, 2)
    before = {name: tensor.clone() for name, tensor in per_step.state_dict().items()}
    folded = fold(per_step, batches)
    for name, tensor in per_step.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    references, signals = norm_signals(per_step, batches), norm_signals(folded, batches)
    assert len(signals) == (25 if local_neurons else 21) + 2
    over, matched = (0, 1, 3, 4), 0
    for name, (x, y) in signals.items():
        wanted, published = references[name][1], per_step.get_submodule(name).state_dict()
        torch.testing.assert_close(y.mean(over), wanted.mean(over), msg=name)
        gains = (published["weight"] / (published["running_var"] + 1e-5).sqrt()).unflatten(0, (4, -1))
        gain = (wanted.std(over) / x.std(over)).clamp(gains.amin(0), gains.amax(0))
        torch.testing.assert_close(y.std(over), gain * x.std(over), msg=name)
        matched += int(torch.isclose(y.std(over), wanted.std(over)).sum())
        statistics = folded.get_submodule(name).state_dict()
        torch.testing.assert_close(statistics["running_mean"], x.mean(over), msg=name)
        torch.testing.assert_close(statistics["running_var"], x.var(over, unbiased=False), msg=name)
    assert 100 < matched < sum(y.shape[2] for _, y in signals.values())  # both kinds of gain are here


def test_weights_and_time_constants_stay() -> None:
    per_step = per_step_model().float()
    folded = fold(per_step, [batch.float() for batch in clips(2)])
    assert not folded.training
    for name, tensor in per_step.state_dict().items():
        if not isinstance(per_step.get_submodule(name.rpartition(".")[0]), TimeNorm):
            assert torch.equal(folded.state_dict()[name], tensor), name
    assert {tensor.dtype for tensor in folded.parameters()} == {torch.float32}


def test_statistics_need_clips() -> None:
    with pytest.raises(InputError, match="no clips to take statistics from"):
        fold(per_step_model(), [])


def test_paired_halves_do_not_mix() -> None:
    paired = PairedNorm(two_steps((3, 2)))
    paired.shared = TimeNorm(1, frames=2, mode="shared").double().eval()
    x = by_step([1, 3, 10, 20], [2, 6, 30, 40])
    with torch.no_grad():
        y = paired(x)
    # Gains 3 and 1 for the first two clips of the batch; mean 0, variance 1, gain 1 for the others.
    torch.testing.assert_close(y[:, :2], by_step([3, 9], [2, 6]))
    torch.testing.assert_close(y[:, 2:], x[:, 2:] / math.sqrt(1 + 1e-5))


# What it cost


class Recorded(nn.Module):
    """Gives the same logits and spikes for every clip."""

    def __init__(self, logits: list[float], spikes: dict[str, list[int]]) -> None:
        super().__init__()
        self.logits, self.spikes = logits, spikes

    def run(self, batch: Tensor) -> tuple[Tensor, Spikes]:
        spikes = {name: np.tile(np.array(fired, np.uint8), len(batch)) for name, fired in self.spikes.items()}
        return torch.tensor(self.logits).expand(len(batch), -1), spikes


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_comparison_by_hand(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "run_recorded", lambda model, batch: model.run(batch))
    models = {
        REFERENCE: Recorded([0, 1], {"a": [1, 1, 0, 0], "b": [0] * 6}),
        "other": Recorded([1, 0], {"a": [1, 0, 1, 0], "b": [0, 0, 0, 0, 0, 1]}),
    }
    data = [(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), label) for label in (1, 1, 0)]
    measured = compare_networks(models, data, batch_size=batch_size)  # type: ignore[arg-type]
    reference, other = measured.values()
    assert reference.clips == other.clips == 3
    assert (reference.top1, reference.same_prediction, reference.spike_match) == (2 / 3, 1, 1)
    assert (other.top1, other.same_prediction) == (1 / 3, 0)
    assert reference.layer_firing_rates == {"a": 2 / 4, "b": 0}
    assert other.layer_firing_rates == {"a": 2 / 4, "b": 1 / 6}
    assert other.layer_spike_match == {"a": 2 / 4, "b": 5 / 6}
    assert (other.spike_match, other.firing_rate) == (7 / 10, 3 / 10)


# The command line tool


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "per_step.safetensors"
    notes = {"classes": json.dumps(CLASSES), "dataset": "my_clips", "command": "python -m svformer.train"}
    save_checkpoint(per_step_model().float(), path, notes)
    return path


def run_main(root: Path, *arguments: str | Path) -> int:
    return run_cli(fold_time.main, ["--dataset", "ucf101", "--root", str(root), *map(str, arguments)])


def notes_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_the_tool_folds_fine_tunes_and_reports(
    checkpoint: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folded, tuned = tmp_path / "new" / "folded.safetensors", tmp_path / "tuned.safetensors"
    assert run_main(root, checkpoint, "--out", folded, "--batch-size", "5") == 0
    shown = capsys.readouterr().out
    assert "recalibrated" in shown
    assert "stage3.block1.attn.plif_proj" in shown
    report = json.loads(folded.with_suffix(".json").read_text())
    assert (report["calibration_clips"], report["fine_tuning"]) == (24, None)
    assert report["networks"]["per_step"]["clips"] == 12
    assert list(report["networks"]) == ["per_step", "recalibrated"]

    options = ("--out", tuned, "--batch-size", "4", "--calibration-clips", "7", "--epochs", "1", "--json")
    assert run_main(root, checkpoint, *options) == 0
    report = json.loads(tuned.with_suffix(".json").read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert report["calibration_clips"] == 7
    recipe = report["fine_tuning"]["recipe"]
    assert (recipe["epochs"], recipe["batch_size"], recipe["peak_lr"]) == (1, 4, 1e-4)
    assert len(report["fine_tuning"]["loss"]) == 1
    assert list(report["networks"]) == ["per_step", "recalibrated", "fine_tuned"]
    assert report["seconds"].keys() == {"fold", "fine_tune"}

    held_out = Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))
    for path, name in ((checkpoint, "per_step"), (tuned, "fine_tuned")):
        model = load_checkpoint(path)
        assert report["networks"][name]["top1"] == evaluate(model, held_out).accuracy.top1
        assert model.config == dataclasses.replace(CONFIG, norm="per_step" if name == "per_step" else "shared")
    assert report["networks"]["per_step"]["spike_match"] == 1
    assert 0.3 < report["networks"]["recalibrated"]["spike_match"] < 1
    kernels = [load_checkpoint(path).stem.conv.weight for path in (checkpoint, folded, tuned)]
    assert torch.equal(kernels[0], kernels[1])
    assert not torch.equal(kernels[0], kernels[2])
    notes = notes_of(tuned)
    assert json.loads(notes["classes"]) == list(CLASSES)
    assert notes["dataset"] == "my_clips"
    assert notes["command"] == report["command"]
    assert notes["command"].startswith("python -m svformer.fold_time --dataset ucf101 --root ")


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the shared golden files are not here")
def test_the_authors_checkpoint_goes_through(
    seven_classes: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "shared.safetensors"
    assert run_main(seven_classes, GOLDEN, "--head-dim", "16", "--out", out) == 0
    published, model = load_checkpoint(GOLDEN, head_dim=16), load_checkpoint(out)
    assert model.config == dataclasses.replace(published.config, norm="shared")
    assert torch.equal(model.stage3.block0.attn.qkv.weight, published.stage3.block0.attn.qkv.weight)
    assert json.loads(notes_of(out)["classes"]) == list(CLASSES[:7])  # the file says none: those of the data
    assert notes_of(out)["dataset"] == "ucf101"
    networks = json.loads(out.with_suffix(".json").read_text())["networks"]
    assert networks["recalibrated"]["spike_match"] > 0.7
    assert networks["recalibrated"]["firing_rate"] == pytest.approx(networks["per_step"]["firing_rate"], rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "model.pyth"], "allowed: a name that ends in .safetensors"),
        (["--out", "taken.safetensors"], "taken.safetensors: exists; choose another --out, or --force"),
        (["--out", "noted.safetensors"], "noted.json: exists"),
        (["--out", "new.safetensors", "--calibration-clips", "0"], "--calibration-clips 0; allowed: 1 or more"),
        (["--out", "new.safetensors", "--batch-size", "0"], "--batch-size 0; allowed: 1 or more"),
        (["--out", "new.safetensors", "--epochs", "1", "--lr", "nan"], "--lr nan; allowed: a positive number"),
        (["--out", "new.safetensors", "--epochs", "-1"], "--epochs -1; allowed: 0 or more"),
        (["--out", "new.safetensors", "--epochs", "1", "--batch-size", "25"], "fewer than one batch of 25"),
        (["--out", "new.safetensors", "--root", "nowhere"], "no UCF101 data set"),
        ([], "required: --out"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for taken in ("taken.safetensors", "noted.json"):
        Path(taken).write_text("precious")
    assert run_main(root, checkpoint, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noted.json", checkpoint.name, "taken.safetensors"]
    assert Path("taken.safetensors").read_text() == Path("noted.json").read_text() == "precious"


def test_force_overwrites(checkpoint: Path, root: Path) -> None:
    options = ("--out", checkpoint, "--calibration-clips", "2", "--force")
    assert run_main(root, checkpoint, *options) == 0
    assert load_checkpoint(checkpoint).config.norm == "shared"
    with pytest.raises(InputError, match="norms are shared over time already; allowed: norm per_step"):
        folding.load_per_step(checkpoint, head_dim=8)


def test_a_network_without_spikes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relu.safetensors"
    save_checkpoint(SVFormer(dataclasses.replace(CONFIG, activation="relu", attention_order="qk_first")), path)
    with pytest.raises(InputError, match=r"relu\.safetensors: has activation='relu' and no spikes"):
        folding.load_per_step(path, head_dim=8)


def test_other_classes_are_refused(root: Path, seven_classes: Path) -> None:
    data, seven = Ucf101(root, train=True), Ucf101(seven_classes, train=True)
    folding.check_classes(CONFIG, {}, data)
    folding.check_classes(CONFIG, {"classes": json.dumps(CLASSES)}, data)
    with pytest.raises(InputError, match="tells 12 classes apart, the data have 7; fold on the data that it was"):
        folding.check_classes(CONFIG, {}, seven)
    others = json.dumps([CLASSES[0], "Juggling", *CLASSES[2:]])
    with pytest.raises(InputError, match=f"first: it has Juggling, the data {CLASSES[1]}"):
        folding.check_classes(CONFIG, {"classes": others}, data)
