"""Layers of sinabs by their names: what fires once a time step is a node, what does not is refused in a line."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import deploy
import foreign_sinabs as sinabs
from deploy.ir.interpreter import interpret
from foreign_models import CLIPS, T, images
from svformer.common.errors import InputError

FRAMES = 4 * images(CLIPS, T, 2, 6, 6)


class Layers(nn.Module):
    """A convolution and a dense layer, each with neurons behind; frames [B, T, 2, 6, 6]."""

    def __init__(self, neurons: Callable[[], nn.Module], *, squeezed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.first = nn.Conv2d(2, 4, 3, padding=1), neurons()
        self.dense, self.second = nn.Linear(4 * 36, 5), neurons()
        self.squeezed = squeezed

    def current(self, x: Tensor) -> Tensor:
        return 4 * self.dense(x) + 6

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.flatten(0, 1))
        if self.squeezed:
            return self.second(self.current(self.first(y).flatten(1))).unflatten(0, x.shape[:2])
        return self.second(self.current(self.first(y.unflatten(0, x.shape[:2])).flatten(2)))


KNOWN: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "IAF": (sinabs.IAF, False),
    "LIF": (sinabs.LIF, False),
    "LIF, hard reset": (lambda: sinabs.LIF(reset_fn=sinabs.MembraneReset()), False),
    "LIF, subtracts 0.7": (lambda: sinabs.LIF(reset_fn=sinabs.MembraneSubtract(0.7)), False),
    "LIF, input as it is": (lambda: sinabs.LIF(norm_input=False), False),
    "LIF, current with memory": (lambda: sinabs.LIF(tau_syn=3.0), False),
    "ExpLeak": (sinabs.ExpLeak, False),
    "IAFSqueeze, batch": (lambda: sinabs.IAFSqueeze(batch_size=CLIPS), True),
    "IAFSqueeze, time": (lambda: sinabs.IAFSqueeze(num_timesteps=T), True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_every_spike_is_that_of_the_layer(name: str) -> None:
    neurons, squeezed = KNOWN[name]
    model = Layers(neurons, squeezed=squeezed).double().eval()
    imported = deploy.from_torch(model, FRAMES, axes="BTCHW")
    assert imported.check(FRAMES).output_error < 1e-12
    found = interpret(imported.graph, imported.frames(FRAMES))
    assert abs(found[imported.layers["second"].node].mean()) > 0


def test_squeezed_tensors_of_a_single_clip_have_time_alone() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), sinabs.IAFSqueeze(batch_size=1)).double().eval()
    imported = deploy.from_torch(net, FRAMES[0], axes="TCHW")
    assert imported.graph.metadata["T"] == T
    imported.check(FRAMES[0])


@pytest.mark.parametrize(
    ("neurons", "said"),
    [
        (
            lambda: sinabs.IAF(spike_fn=sinabs.MultiSpike),
            "spike_fn=MultiSpike sends several spikes in a time step; allow",
        ),
        (
            lambda: sinabs.IAF(min_v_mem=-1.0),
            "min_v_mem, a bound below which no potential falls, .*; allowed: min_v_mem=N",
        ),
        (
            lambda: sinabs.LIF(reset_fn=sinabs.MembraneReset(0.2)),
            r"reset_fn=MembraneReset\(.*0.2\); allowed: MembraneSubtract",
        ),
        (sinabs.ALIF, "neurons of this class are not known; say what it is: neurons="),
    ],
)
def test_what_no_node_has_is_refused(neurons: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(InputError, match=rf"first, second \({type(neurons()).__name__}\): {said}"):
        deploy.from_torch(Layers(neurons).double().eval(), FRAMES, axes="BTCHW")


def test_time_in_front_of_the_clips_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"dimensions of clips and time is \[4 time\] and \[2 clips\]: .*\[B, T, \.\.\]"
    ):
        deploy.from_torch(Layers(sinabs.IAF).double().eval(), FRAMES.transpose(0, 1).contiguous(), axes="TBCHW")
