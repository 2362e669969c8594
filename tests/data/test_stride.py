"""The stride of training goes with a network: into its checkpoint, its graph, and how clips are read for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.clips.files import from_files
from deploy.clips.read import load
from deploy.clips.source import input_format
from deploy.frontend.export import export_checkpoint
from svformer.common.errors import InputError
from svformer.config import PRESETS
from svformer.data.choice import DatasetChoice, with_stride
from svformer.data.clips import Sampling, load_clip, normalise
from svformer.data.procedural import generate
from svformer.evaluation.figures import evaluate_checkpoint
from svformer.model.svformer import SVFormer
from svformer.networks.checkpoint import read_notes, save_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network with random weights that says stride 1."""
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(SVFormer(PRESETS["tiny"]), path, {"stride": "1"})
    return path


def test_a_choice_of_the_user_comes_first() -> None:
    choice = DatasetChoice(name="procedural")
    assert with_stride(choice, {}).stride is None
    assert with_stride(choice, {"stride": "2"}).stride == 2
    assert with_stride(DatasetChoice(stride=3), {"stride": "2"}).stride == 3
    with pytest.raises(InputError, match="--stride is for videos, and dvs128 holds events"):
        DatasetChoice(name="dvs128", root="x", stride=3)
    with pytest.raises(InputError, match="--stride 0"):
        DatasetChoice(stride=0)


def test_deployed_clips_are_read_as_in_training(checkpoint: Path, tmp_path: Path) -> None:
    root = generate(tmp_path / "data", groups=2, clips_per_group=1, workers=1)
    video = sorted(root.rglob("*.avi"))[0]
    assert read_notes(checkpoint) == {"stride": "1"}
    _, graph = export_checkpoint(checkpoint)
    wanted = input_format(graph, 16)
    (source,) = from_files([video])
    size = wanted.shape[-1]
    near, far = (load_clip(video, size=size, sampling=Sampling(stride=stride)) for stride in (1, 4))
    np.testing.assert_array_equal(load(source, wanted), normalise(near).numpy())
    assert not torch.equal(near, far)


def test_a_graph_with_another_word_for_stride_is_refused(checkpoint: Path) -> None:
    _, graph = export_checkpoint(checkpoint)
    graph.metadata["stride"] = "two"
    with pytest.raises(InputError, match="stride is two; allowed: a whole number of pictures from 1"):
        input_format(graph, 16)


def test_evaluation_sees_what_the_network_was_trained_on(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def opened(choice: DatasetChoice, **options: object) -> None:
        seen.append(choice.stride)
        raise InputError("enough")

    monkeypatch.setattr("svformer.evaluation.figures.open_dataset", opened)
    for stride in (None, 2):
        with pytest.raises(InputError, match="enough"):
            evaluate_checkpoint(checkpoint, DatasetChoice(stride=stride))
    assert seen == [1, 2]
