"""Training that starts from a trained network: as it is (--init), or with rounded weights (--qat)."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from small_training import CONFIG, assert_equal_state, new_trainer, run_main
from svformer import PRESETS, InputError, SVFormer, load_checkpoint, save_checkpoint
from svformer.assets import TINY_CHECKPOINT
from svformer.config import Norm
from svformer.data.clips import Sampling
from svformer.data.ucf101 import Ucf101
from svformer.evaluation.accuracy import evaluate
from svformer.training.loop import train
from svformer.training.recipe import FINE_TUNING
from svformer.training.request import TrainingRequest
from svformer.training.start import Start, new_network, starting_point


def test_fine_tuning_with_rounded_weights(
    root: Path, data: Ucf101, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = new_trainer(data)
    train(trainer, tmp_path / "float")
    start = tmp_path / "float" / "checkpoint.safetensors"
    save_checkpoint(trainer.model, start)
    options = ["--qat", "--weight-bits", "3", "--init", str(start), "--epochs", "2"]
    assert run_main(monkeypatch, root, tmp_path / "qat", *options) == 0
    before, after = load_checkpoint(start), load_checkpoint(tmp_path / "qat" / "checkpoint.safetensors")
    assert after.config == dataclasses.replace(before.config, weight_bits=3)
    tuned = after.state_dict()
    changed = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, tuned[name])}
    assert not any("running" in name or "tracked" in name for name in changed)  # statistics stay
    assert {name for name, parameter in after.named_parameters() if parameter.ndim > 1} <= changed

    record = json.loads((tmp_path / "qat" / "run.json").read_text())
    assert record["config"]["weight_bits"] == 3
    assert record["recipe"] == dataclasses.asdict(dataclasses.replace(FINE_TUNING, epochs=2, batch_size=8))
    accuracy = evaluate(after, Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))).accuracy
    assert record["accuracy"] == dataclasses.asdict(accuracy)  # with the rounding in evaluation, too
    held_out = Ucf101(root, train=False, size=32, sampling=Sampling(frames=4))
    assert record["before"]["real_top1"] == evaluate(before, held_out).accuracy.top1
    untrained = SVFormer(after.config)
    untrained.load_state_dict(before.state_dict())
    assert record["before"]["rounded_top1"] == evaluate(untrained, held_out).accuracy.top1
    assert run_main(monkeypatch, root, tmp_path / "qat", *options, "--resume") == 0
    assert run_main(monkeypatch, root, tmp_path / "bf16", *options, "--precision", "bf16") == 2


def test_fine_tuning_starts_from_the_network_that_ships() -> None:
    shipped = load_checkpoint(TINY_CHECKPOINT)
    start = starting_point(TrainingRequest(qat=True))
    assert start.config == dataclasses.replace(shipped.config, weight_bits=8)
    assert len(start.classes) == 12
    assert_equal_state(new_network(start, classes=start.classes, channels=3), shipped)
    assert starting_point(TrainingRequest(qat=True, weight_bits=4)).config.weight_bits == 4
    assert starting_point(TrainingRequest()) == Start(config=PRESETS["tiny"])


def test_a_network_of_other_classes_is_not_fine_tuned() -> None:
    rounded = dataclasses.replace(CONFIG, weight_bits=8)
    start = Start(config=rounded, state=SVFormer(CONFIG).state_dict(), classes=tuple("abcdefghijkl"))
    for classes, found in (("abcdefghijk", "11"), ("mbcdefghijkl", "12 other")):
        message = f"the checkpoint tells 12 classes apart, the data have {found}; fine-tune on"
        with pytest.raises(InputError, match=message):
            new_network(start, classes=classes, channels=3)


def test_a_trained_network_gets_a_new_classifier_for_other_classes() -> None:
    """Everything but the last layer stays; for the same classes, or as many where none are named, that stays, too."""
    trained = SVFormer(CONFIG)
    state = trained.state_dict()
    named, unnamed = (Start(config=CONFIG, state=state, classes=classes) for classes in (tuple("abcdefghijkl"), ()))
    for start, classes in ((named, "abcdefghijkl"), (unnamed, "mbcdefghijkl")):
        assert_equal_state(new_network(start, classes=classes, channels=3), trained)
    for start, classes in ((named, "mbcdefghijkl"), (named, "ab"), (unnamed, "ab")):
        found = new_network(start, classes=classes, channels=3).state_dict()
        assert len(found["head.fc.weight"]) == len(classes)
        changed = {name for name in state if not torch.equal(state[name], found[name])}
        assert changed == {"head.fc.weight", "head.fc.bias"}
    with pytest.raises(InputError, match="takes frames of 3 channels, the data have 2; choose data"):
        new_network(named, classes="abcdefghijkl", channels=2)


def test_a_run_starts_from_a_trained_network(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no step to speak of, what comes out is what went in, but for the classifier; its geometry is its own."""
    torch.manual_seed(3)
    start = SVFormer(dataclasses.replace(CONFIG, num_classes=5))
    save_checkpoint(start, tmp_path / "start.safetensors", {"classes": json.dumps(list("abcde"))})
    options = ["--init", str(tmp_path / "start.safetensors"), "--epochs", "2", "--lr", "1e-9"]
    assert run_main(monkeypatch, root, tmp_path / "tuned", *options) == 0
    tuned = load_checkpoint(tmp_path / "tuned" / "checkpoint.safetensors")
    assert dataclasses.replace(tuned.config, num_classes=5) == start.config
    for name, parameter in tuned.named_parameters():
        if "head.fc" not in name:
            torch.testing.assert_close(parameter, start.get_parameter(name), rtol=1e-4, atol=1e-6)
    assert run_main(monkeypatch, root, tmp_path / "other", *options, "--norm", "shared") == 2


@pytest.mark.parametrize(
    ("norm", "arguments", "message"),
    [
        ("shared", ["--weight-bits", "4"], "belongs to --qat"),
        ("shared", ["--qat"], "none ships for preset tiny on ucf101; train one without --qat, then give it as"),
        (
            "shared",
            ["--qat", "--init", "CHECKPOINT", "--norm", "shared"],
            "a trained network has its geometry; leave it out",
        ),
        (
            "shared",
            ["--qat", "--init", "CHECKPOINT", "--head-dim", "4"],
            "a trained network has its geometry; leave it out",
        ),
        ("shared", ["--qat", "--init", "CHECKPOINT", "--weight-bits", "9"], "--weight-bits 9; allowed: 2 to 8"),
        ("shared", ["--qat", "--init", "CHECKPOINT", "--weight-bits", "0"], "--weight-bits 0; allowed: 2 to 8"),
        ("shared", ["--qat", "--init", "nowhere.safetensors"], "no such checkpoint"),
        ("per_step", ["--qat", "--init", "CHECKPOINT"], "weight_bits needs norm='shared'"),
    ],
)
def test_what_cannot_be_fine_tuned_is_one_line_and_leaves_nothing(
    norm: Norm,
    arguments: list[str],
    message: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = tmp_path / "start.safetensors"
    save_checkpoint(SVFormer(dataclasses.replace(CONFIG, norm=norm)), checkpoint)
    given = [str(checkpoint) if argument == "CHECKPOINT" else argument for argument in arguments]
    assert run_main(monkeypatch, root, tmp_path / "out", *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
