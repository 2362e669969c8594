"""Which runs a backend makes: the first clip with a process for every layer, and one clip once alone."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from deploy.clips.source import ClipSource
from deploy.errors import GateError
from deploy.execution.backends import BACKENDS, INTEGER, Backend, RunOptions
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from deploy.execution.simulate import Simulation, in_interpreter
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.ir.types import Frames


@dataclass
class Echo:
    """Answers like the interpreter and keeps what it was asked for: clips and processes of every run."""

    wrong_at: int | None = None  # processes of the run in which a message of every layer is another
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, network: IntNetwork, plan: Plan, frames: Frames, options: RunOptions) -> Simulation:
        self.asked.append((len(frames), options.processes))
        found = in_interpreter(network, plan, frames, options)
        if options.processes == self.wrong_at:
            for name in network.neuron_layers:
                found.signals[name] = np.array(found.signals[name])
                found.signals[name].flat[0] ^= 1
        return found


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    found = Echo()
    monkeypatch.setitem(
        BACKENDS, "echo", Backend(name="echo", title="Echo", need=INTEGER.need, run=found, has_processes=True)
    )
    return found


def test_of_several_clips_the_first_runs_once_more_by_layer(
    deployment: Deployment, sources: list[ClipSource], echo: Echo
) -> None:
    run(deployment, sources[:3], backend="echo")
    assert echo.asked == [(3, 1), (1, len(deployment.integer.populations))]


def test_one_clip_runs_once_by_layer(deployment: Deployment, sources: list[ClipSource], echo: Echo) -> None:
    tally = run(deployment, sources[:1], backend="echo")
    assert echo.asked == [(1, len(deployment.integer.populations))]
    assert tally.bit_exact


def test_only_the_first_batch_runs_by_layer(deployment: Deployment, sources: list[ClipSource], echo: Echo) -> None:
    run(deployment, sources[:3], backend="echo", largest_batch=1)
    assert echo.asked == [(1, len(deployment.integer.populations)), (1, 1), (1, 1)]


@pytest.mark.parametrize("clips", [1, 2])
def test_a_difference_by_layer_is_found(
    deployment: Deployment, sources: list[ClipSource], echo: Echo, clips: int
) -> None:
    echo.wrong_at = len(deployment.integer.populations)
    with pytest.raises(GateError, match="Echo, a process for every layer, differ first in layer"):
        run(deployment, sources[:clips], backend="echo")
