"""The backend in PyTorch: the messages of the interpreter, type for type, in as many runs as the device needs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import random_networks
from deploy.clips.source import ClipSource
from deploy.execution import on_torch
from deploy.execution.backends import RunOptions
from deploy.execution.deployment import Deployment
from deploy.execution.memory import integer_need, torch_need
from deploy.execution.run import run
from deploy.execution.simulate import simulate
from deploy.ir.integer import IntNetwork
from deploy.report.record import record
from svformer.common.errors import InputError


@settings(max_examples=40)
@given(case=random_networks.int_networks())
def test_random_networks_send_the_same_in_the_same_types(case: tuple[IntNetwork, np.ndarray]) -> None:
    network, frames = case
    expected, found = (simulate(network, frames, backend=name) for name in ("integer", "torch"))
    assert found.signals.keys() == expected.signals.keys()
    for name, signal in expected.signals.items():
        np.testing.assert_array_equal(found.signals[name], signal, err_msg=name)
        assert found.signals[name].dtype == signal.dtype
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert found.time_steps == expected.time_steps
    assert torch_need(network).of(1) > 0 < integer_need(network).of(1)


def test_clips_that_do_not_fit_at_once_run_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, sources: list[ClipSource]
) -> None:
    whole = run(deployment, sources, backend="torch")
    monkeypatch.setattr(on_torch, "_clips_at_once", lambda network, options, device, clips: 2)
    cut = run(deployment, sources, backend="torch")
    for one, two in zip(whole.clips, cut.clips, strict=True):
        np.testing.assert_array_equal(one.logits, two.logits)


def test_threads_are_put_back(deployment: Deployment, sources: list[ClipSource]) -> None:
    before = torch.get_num_threads()
    clips = np.zeros((1, deployment.plan.frames, *deployment.integer.input.shape))
    simulate(deployment.integer, clips, backend="torch", cores=before + 1)
    assert torch.get_num_threads() == before


def test_a_device_without_room_for_a_clip_is_refused(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU of a test")
    with pytest.raises(
        InputError, match=r"--backend torch: one clip needs about .* free on the GPU of a test; set CUDA"
    ):
        on_torch._clips_at_once(deployment.integer, RunOptions(), torch.device("cuda"), 3)


def test_the_report_says_that_nothing_ran_on_lava(deployment: Deployment, sources: list[ClipSource]) -> None:
    report = record(deployment, run(deployment, sources, backend="torch"), backend="torch")
    assert report.parity.integer_vs_lava.bit_exact is None
    assert report.parity.integer_vs_backend.bit_exact is True
    assert report.parity.integer_vs_backend.spikes_compared > 0
    assert report.timing.lava_processes == 0
