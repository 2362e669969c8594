"""The spiking baselines as NIR graphs: PyTorch's spikes, and integers that keep what floats do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.clips.files import from_files
from deploy.clips.read import load
from deploy.clips.source import InputFormat, input_format
from deploy.errors import GateError
from deploy.frontend.export import export
from deploy.gates.export import check_export
from deploy.ir.model import STEPS_PER_FRAME, fixed_frames
from deploy.passes.lowering import lower
from small_baselines import small_baseline, small_config, small_conversion
from svformer import InputError
from svformer.data.procedural import generate
from svformer.model.network import Network
from tensors import random_clips


def spiking(name: str) -> Network:
    return small_conversion(steps_per_frame=3) if name == "ann2snn" else small_baseline("rsnn")


def frames_of(model: Network) -> np.ndarray:
    """Two clips [N, T, C, H, W], every frame as often as the graph takes it."""
    clips = random_clips(model.config, 2).transpose(1, 2).numpy()
    return clips.repeat(model.config.steps_per_frame, axis=1)


@pytest.mark.parametrize("name", ["rsnn", "ann2snn"])
def test_a_graph_gives_the_spikes_and_logits_of_its_model(name: str) -> None:
    model = spiking(name)
    graph = export(model)
    check = check_export(model, graph, frames_of(model))
    steps = model.config.frames * model.config.steps_per_frame
    assert check.spikes_compared > 2 * steps * 500
    assert check.logit_error is not None
    assert (fixed_frames(graph), graph.metadata["model"]) == (steps, name)
    assert input_format(graph, steps) == InputFormat.of(model.config)


@pytest.mark.parametrize(("name", "layer"), [("rsnn", "layers.1.plif.recurrent"), ("ann2snn", "blocks.1.conv1.late")])
def test_a_weight_that_differs_is_found(name: str, layer: str) -> None:
    """Of a loop, and of the channels that come late."""
    model = spiking(name)
    graph = export(model)
    graph.nodes[layer].weight += 0.5
    with pytest.raises(GateError, match="PyTorch and NIR differ first in layer"):
        check_export(model, graph, frames_of(model))


def test_loops_and_delays_are_there_once_lowered() -> None:
    loops = [c for c in lower(export(spiking("rsnn"))).connections if c.source == c.target]
    assert [c.delay for c in loops] == [1, 1, 1, 1]
    model = spiking("ann2snn")
    late = {c.source: c.delay for c in lower(export(model)).connections if c.source.endswith(".late") and c.delay}
    assert set(late.values()) == {model.config.steps_per_frame}, "one frame"
    assert len(late) == 4


def test_a_network_without_spikes_has_no_graph() -> None:
    with pytest.raises(InputError, match="model='tsm' has no spikes to export; allowed: a spiking network"):
        export(small_baseline("tsm"))


def test_a_frame_of_a_video_stays(tmp_path: Path) -> None:
    """12 time steps are 4 frames, each three times; they are those that the trained network saw."""
    graph = export(spiking("ann2snn"))
    videos = sorted(generate(tmp_path, groups=2, clips_per_group=1, workers=1).rglob("*.avi"))
    (source,) = from_files(videos[:1])
    shown, once = load(source, input_format(graph, 12)), load(source, InputFormat.of(small_config("tsm")))
    assert once.shape == (4, 3, 32, 32)
    assert np.array_equal(shown, once.repeat(3, axis=0))
    graph.metadata[STEPS_PER_FRAME] = 5
    with pytest.raises(InputError, match="steps_per_frame is 5 and T 12; allowed: a whole number from 1 that divides"):
        input_format(graph, 12)


def test_scales_are_quantiles_of_the_activations() -> None:
    """The first layer's: of 1,000 values, the largest but one."""
    model, clips = small_baseline("tsm"), random_clips(small_config("tsm"), 4)
    seen = list[torch.Tensor]()
    model.relu.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        model(clips)
    expected = np.sort(seen[0].numpy(), axis=None)[int(np.ceil(0.999 * seen[0].numel())) - 1]
    assert float(small_conversion(steps_per_frame=1).relu.scale) == pytest.approx(float(expected), rel=1e-6)
