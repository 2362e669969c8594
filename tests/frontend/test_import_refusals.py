"""What has no counterpart is refused, in one line that names the module, what was found, and what works."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deploy
import foreign_neurons as foreign
from foreign_models import CLIPS, Attention, Loop, PerFrame, T, conv_norm, images, models, ready
from svformer.common.errors import InputError


class Net(nn.Module):
    """conv, neuron, then what a test says; frames [T, B, 2, 8, 8]."""

    def __init__(self, behind: Callable[["Net", Tensor], Tensor], neuron: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.lif = conv_norm(2, 4), neuron or foreign.LIFNode()
        self.second, self.head = foreign.IFNode(), nn.Linear(4, 3)
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self, self.lif(self.stem(x)))


def refused(model: nn.Module, x: Tensor, axes: str, **options: object) -> str:
    """The line with which a model is refused; also the interpreter of Python sees bad input (ValueError) in it."""
    with pytest.raises(InputError) as caught:
        deploy.from_torch(model, x, axes=axes, **options)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FRAMES = images(T, CLIPS, 2, 8, 8)
CASES: dict[str, tuple[Callable[[Net, Tensor], Tensor], str]] = {
    "softmax": (
        lambda net, s: s.flatten(3).softmax(3),
        r"aten\._softmax\.default has no counterpart; allowed: spik",
    ),
    "relu": (lambda net, s: net.second(F.relu(s)), r"aten\.relu\.default has no counterpart; allowed between neurons"),
    "norm of the clip": (lambda net, s: F.layer_norm(s, (8, 8)), "native_layer_norm.* allowed: batch norm"),
    "product": (
        lambda net, s: net.stem(s[:, :, :2]) * net.stem(s[:, :, :2]).flip(2),
        "a product of 2 signals of real numbers; allowed: of one with spikes",
    ),
    "maximum": (
        lambda net, s: torch.maximum(net.stem(s[:, :, :2]), s),
        "a maximum of real numbers; allowed: of spikes",
    ),
    "twice": (lambda net, s: net.lif(net.lif(s)), r"lif \(LIFNode\): it is called twice in a time step"),
    "batch as time": (
        lambda net, s: net.second(s.flatten(0, 1)).unflatten(0, (T, CLIPS)),
        r"second \(IFNode\): its first dimension, which it takes for time, is \[4 time, 2 clips\]",
    ),
    "over the batch": (lambda net, s: s.mean(1), "a sum over the batch; allowed: each clip by itself"),
    "over clips": (
        lambda net, s: F.max_pool2d(s.flatten(2).transpose(0, 1), (1, 2)),
        "a max pool over dimensions that are not those of an image",
    ),
    "dense over time": (
        lambda net, s: s.flatten(2).transpose(0, 2) @ torch.ones(T, 3, dtype=s.dtype),
        "a dense layer over time or clips; allowed: over channels, or pixels, of each time step",
    ),
    "negative maximum": (
        lambda net, s: F.max_pool2d(-s.flatten(0, 1), 2),
        "a maximum of a signal times a negative number",
    ),
    "behind a mean": (
        lambda net, s: net.second(s.mean(0, keepdim=True)),
        r"second \(IFNode\): a neuron behind a mean or a sum over time; allowed: linear layers up to the output; "
        "take the mean over time behind this",
    ),
    "the largest of a mean": (
        lambda net, s: F.max_pool2d(s.mean(0), 2),
        "a maximum of a mean or a sum over time; allo",
    ),
    "a gate of a mean": (
        lambda net, s: s * s.sum(0, keepdim=True),
        "a (product of means|mean or a sum over time meets)",
    ),
    "attention of means": (
        lambda net, s: s.mean(0).flatten(2) @ s.mean(0).flatten(2).transpose(1, 2),
        "a matrix product of means or sums over time; allowed: linear layers up to the output",
    ),
    "above a mean": (lambda net, s: (s.mean(0) > 0.5) * 1.0, "a comparison of a mean or a sum over time"),
    "less its mean": (
        lambda net, s: net.second(s - s.mean(0, keepdim=True)),
        "a mean or a sum over time meets the frames, of which some come before it; allowed: linear layers up to",
    ),
    "pairs of frames": (
        lambda net, s: F.avg_pool3d(s.transpose(0, 1).transpose(1, 2), (2, 1, 1)),
        "an average over a part of time; allowed: over rows and columns, or the mean of all time steps",
    ),
    "the largest frame": (
        lambda net, s: s.amax(0),
        "a maximum over time or clips; allowed: over channels and pixels of",
    ),
    "uneven maxima": (
        lambda net, s: F.adaptive_max_pool2d(s.flatten(0, 1), 3),
        r"an adaptive max pool from \[8, 8\] to \[3, 3\]; allowed: sizes that divide",
    ),
    "a crop": (lambda net, s: s[:, :, :, 1:-1], "a part of the image is taken"),
    "a part of time": (lambda net, s: s[1:3], "2 of 4 time steps are taken; allowed: one by one, or all"),
    "an early step": (lambda net, s: s[1], "the output is that of time step 1 of 4; allowed: the last, all, or a mean"),
    "other steps": (lambda net, s: s[1:2] + s[0:1], r"a sum over the time steps \[0, 1\]; allowed: over all 4"),
    "uneven padding": (lambda net, s: F.pad(s, [0, 1, 0, 1]), r"padding \[0, 1, 0, 1\] of the last dimensions"),
    "whole numbers": (lambda net, s: (0.6 * s).to(torch.int64) * 1.0, "real numbers are cut to torch.int64"),
    "mixed axes": (lambda net, s: s.reshape(T, CLIPS, 8, 4, 8)[:, :, :3] * 1.0, "a reshape mixes axes|a part of the"),
    "a constant output": (lambda net, s: torch.ones(3), "output 0 does not depend on the input"),
}


class Inner(nn.Module):
    """A module inside of a model, whose forward is what a test says."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of_test = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.of_test(x)


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.mean((3, 4)))[0]


BRANCH = r"inner \(Inner\): forward branches on values .*; allowed: branches on shapes and settings"
INNER: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a branch": (lambda: Inner(lambda s: 2 * s if s.sum() > 3 else s), BRANCH),
    "a loop": (lambda: Inner(lambda s: sum(s for _ in range(int(s.sum()) % 3 + 1))), BRANCH),
    "chosen by values": (
        lambda: Inner(lambda s: s[s > 0].sum() * s),
        r"^inner \(Inner\): the size of its result depends on values; allowed: sizes that follow from shapes$",
    ),
    "numpy": (
        lambda: Inner(lambda s: s * float(s.detach().numpy().mean())),
        r"inner \(Inner\): torch.export cannot follow its forward: .*; allowed: operations of torch on tensors",
    ),
    "an LSTM": (Remembering, r"^inner\.rnn \(LSTM\): its gates multiply real numbers, .* allowed: spiking neurons"),
}


@pytest.mark.parametrize("name", INNER)
def test_a_module_inside_is_named(name: str) -> None:
    make, said = INNER[name]
    net = Net(lambda net, s: net.inner(s))
    net.inner = make()
    line = refused(net.double().eval(), FRAMES, "TBCHW")
    assert re.search(said, line), line


def test_several_refusals_have_numbers() -> None:
    net = Net(lambda net, s: net.second(torch.tanh(s)) + F.relu(s)).double().eval()
    line = refused(net, FRAMES, "TBCHW")
    assert re.search(r"^2 refusals: \(1\) forward \(.*aten\.tanh.*; \(2\) forward \(.*aten\.relu", line), line


@pytest.mark.parametrize("name", CASES)
def test_what_has_no_counterpart(name: str) -> None:
    behind, said = CASES[name]
    line = refused(Net(behind).double().eval(), FRAMES, "TBCHW")
    assert re.search(said, line), line


def test_all_neurons_that_cannot_be_are_told_at_once() -> None:
    net = Net(lambda net, s: net.second(net.stem(s[:, :, :2])), neuron=foreign.QIFNode())
    net.second = foreign.QIFNode()
    line = refused(net.double().eval(), FRAMES, "TBCHW")
    assert line.startswith("lif, second (QIFNode): neurons of this class are not known; say what it is: neurons=")


def test_different_faults_are_told_together() -> None:
    net = Net(lambda net, s: F.layer_norm(F.gelu(s), (8, 8)), neuron=foreign.QIFNode()).double().eval()
    line = refused(net, FRAMES, "TBCHW")
    assert "(QIFNode): neurons of this class" in line
    assert "aten.gelu.default has no counterpart" in line
    assert "native_layer_norm" in line


def test_a_class_that_changes_a_known_neuron_is_not_taken_for_it() -> None:
    class Adaptive(foreign.LIFNode):
        def neuronal_charge(self, x: Tensor) -> Tensor:
            return 2 * super().neuronal_charge(x)

    class Named(foreign.LIFNode):
        def __init__(self) -> None:
            super().__init__(tau=1.5)

    net = Net(lambda net, s: s, neuron=Adaptive()).double().eval()
    assert "lif (Adaptive): neurons of this class are not known" in refused(net, FRAMES, "TBCHW")
    same = Net(lambda net, s: s, neuron=Named()).double().eval()
    assert deploy.from_torch(same, FRAMES, axes="TBCHW").check(FRAMES).ties == 0


def test_a_recurrent_reset_that_loses_input_is_refused() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neurons = foreign.RLeaky(nn.Linear(6, 6), 0.5, reset_mechanism="zero")

        def forward(self, x: Tensor) -> Tensor:
            return self.neurons(x, torch.zeros_like(x), torch.zeros_like(x))[0]

    line = refused(Step().double().eval(), images(CLIPS, 6), "BN")
    assert "neurons (RLeaky): reset_mechanism='zero' with reset_delay=True loses the input behind a spike" in line


def test_attention_between_time_steps_is_refused_by_name() -> None:
    """Tokens of all time steps together: a frame would need those that come after it."""
    x = models()["attention"].x
    line = refused(ready(Attention(joint_time=True), x, "BTCHW").model, x, "BTCHW")
    assert "attention joins time steps: a frame would need frames that come after it" in line


def test_training_mode_is_refused() -> None:
    line = refused(Net(lambda net, s: s).double(), FRAMES, "TBCHW")
    assert "in training mode; call model.eval()" in line


def test_a_potential_is_no_output() -> None:
    given = models()["loop over an image"]
    line = refused(given.model, given.x, "BN", output=1)
    what = "output 1 is the potential of lif2; allowed: spikes, or layers behind spikes"
    assert line == f"{what}; choose another of the outputs: output=.."
    assert "output 2 of a model that returns 2 tensors" in refused(given.model, given.x, "BN", output=2)


def test_a_state_that_the_model_writes_is_refused() -> None:
    class Fed(Loop):
        def forward(self, x: Tensor) -> Tensor:
            spike, _ = self.lif1(self.fc1(x), torch.full((len(x), 12), 0.5, dtype=x.dtype))
            return self.fc2(spike)

    line = refused(Fed("zero", frames=False).double().eval(), images(CLIPS, 6), "BN")
    assert line.startswith("lif1 (Leaky): its state is given by the model; allowed: the state of its own last call")


def test_a_branch_on_values_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """And torch, which prints the whole graph then, keeps it to itself."""
    net = Net(lambda net, s: s if s.sum() > 0 else -s).double().eval()
    assert "forward branches on values of its input, its signals or its weights" in refused(net, FRAMES, "TBCHW")
    assert capfd.readouterr() == ("", "")


def test_a_number_that_is_read_from_weights_is_a_constant_and_one_from_signals_is_refused() -> None:
    net = Net(lambda net, s: s * net.head.weight.abs().max().item()).double().eval()
    assert deploy.from_torch(net, FRAMES, axes="TBCHW").check(FRAMES).ties == 0
    net = Net(lambda net, s: s * s.abs().max().item()).double().eval()
    assert "has no counterpart" in refused(net, FRAMES, "TBCHW")


def test_a_neuron_of_several_levels_is_refused() -> None:
    class Levels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(0, 4).round() / 4

    net = Net(lambda net, s: s, neuron=Levels()).double().eval()
    line = refused(net, FRAMES, "TBCHW", neurons={Levels: lambda module: deploy.Neuron()})
    assert "lif (Levels): it sends 0, 0.25" in line
    assert "neurons of several levels" in line


def test_a_model_without_a_known_neuron_says_how_to_name_one() -> None:
    model = nn.Sequential(PerFrame(nn.Conv2d(2, 4, 3)), nn.ReLU()).double().eval()
    line = refused(model, FRAMES, "TBCHW")
    assert line.startswith("no module of this model is a neuron that is known; say what it is: neurons={ItsClass: ")


def test_a_step_neuron_that_gets_all_steps_is_refused() -> None:
    net = Net(lambda net, s: s, neuron=foreign.LIFNode(step_mode="s")).double().eval()
    assert "lif (LIFNode): it takes one time step in a call, and gets several" in refused(net, FRAMES, "TBCHW")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reset_mechanism": "none"}, "reset_mechanism='none'; allowed: 'zero'"),
        ({"reset_delay": False}, "reset_delay=False fires late at large inputs; use 'zero'"),
        ({"beta": 0.0}, "a time step late with beta=0: nothing is left of v; use 'zero'"),
    ],
)
def test_resets_that_no_node_has(options: dict[str, object], said: str) -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = foreign.Leaky(**{"beta": 0.5, **options})

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(x)[0]

    assert said in refused(One().double().eval(), images(CLIPS, 6), "BN")


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("TBXHW", "axes 'TBXHW'; allowed: letters of TBCHWN, each once"),
        ("TBCH", r"axes 'TBCH' for an example of shape \[4, 2, 2, 8, 8\], 5 axes; allowed: a letter for each"),
        ("TTCHW", "each once"),
    ],
)
def test_axes_that_do_not_fit(axes: str, said: str) -> None:
    line = refused(Net(lambda net, s: s).double().eval(), FRAMES, axes)
    assert re.search(said, line), line


def test_an_example_is_a_tensor() -> None:
    net = Net(lambda net, s: s).double().eval()
    assert "the example is of type ndarray; allowed: the tensor" in refused(net, np.zeros((4, 2, 2, 8, 8)), "TBCHW")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tau": 0.5}, "tau 0.5; allowed: 1 or more, in time steps"),
        ({"current": 0.0}, "current 0.0; allowed: 1 or more"),
        ({"fires_at": "sometimes"}, "fires_at 'sometimes'; allowed: 'threshold', 'above'"),
        ({"reset": 0.0, "subtract": 1.0}, "reset and subtract are both given; choose one"),
        ({"threshold": float("nan")}, "allowed: finite numbers"),
        ({"threshold": None, "reset": 0.0}, "a reset without a threshold; leave it out, or give one"),
    ],
)
def test_a_neuron_that_cannot_be(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        deploy.Neuron(**options)
