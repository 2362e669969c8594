"""Models as other people write them -> NIR: every spike of every neuron module, and the output."""

from collections.abc import Callable

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from norse.torch.functional import reset as norse_reset
from torch import Tensor, nn

import deploy
import foreign_neurons as foreign
from deploy.errors import GateError
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.max_pool import MaxPool2d
from deploy.ir.populations.lif import Lif
from deploy.ir.soft_reset import SubtractLIF
from foreign_models import CLIPS, PerFrame, T, conv_norm, images, models, ready
from svformer import SVFormer, SVFormerConfig

NAMES = list(models())


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_fires_every_spike_of_the_model(name: str) -> None:
    given = models()[name]
    imported = deploy.from_torch(given.model, given.x, axes=given.axes)
    check = imported.check(given.x)
    assert check.ties == 0
    assert check.clips == CLIPS
    assert check.output_error < 1e-12
    found = interpret(imported.graph, imported.frames(given.x))
    rates = {path: found[layer.node].mean() for path, layer in imported.layers.items()}
    assert all(0 < rate < 1 for rate in rates.values()), rates  # a silent layer would prove nothing


@pytest.mark.parametrize("name", NAMES)
def test_the_lowered_network_fires_them_too(name: str) -> None:
    given = models()[name]
    imported = deploy.from_torch(given.model, given.x, axes=given.axes)
    frames = imported.frames(given.x)
    exact, network = interpret(imported.graph, frames), deploy.lower(imported.graph)
    lowered = run_float(network, as_images(frames, network))
    compared = [name for name, population in network.populations.items() if isinstance(population, Lif)]
    for layer in compared:
        np.testing.assert_array_equal(lowered[layer].reshape(exact[layer].shape), exact[layer], err_msg=layer)
    assert {node for layer in imported.layers.values() for node in layer.levels or (layer.node,)} <= set(compared)


def test_the_graph_has_few_nodes() -> None:
    """Norms are in the convolutions in front of them, and a loop over time is there once."""
    given = models()["loop over an image"]
    graph = deploy.from_torch(given.model, given.x, axes=given.axes).graph
    assert list(graph.nodes) == ["input", "fc1", "lif1", "fc2", "lif2", "output"]
    assert graph.metadata == {"dt": 1e-3, "T": T}
    given = models()["bordered"]
    graph = deploy.from_torch(given.model, given.x, axes=given.axes).graph
    assert list(graph.nodes) == ["input", "first", "second", "neuron", "last", "output"]
    assert tuple(graph.nodes["first"].padding) == (1, 1)  # the norm's border is what the 1x1 makes of zeros


def test_q_k_and_v_are_channels_of_one_layer() -> None:
    given = models()["attention"]
    imported = deploy.from_torch(given.model, given.x, axes=given.axes)
    parts = [imported.layers[f"{letter}_lif"] for letter in "qkv"]
    assert [part.channels for part in parts] == [(0, 8), (8, 16), (16, 24)]
    assert len({part.node for part in parts}) == 1
    (attention,) = (node for node in imported.graph.nodes.values() if isinstance(node, SpikingAttention))
    assert (int(attention.heads), attention.scale) == (2, 0.125)


def test_currents_are_pooled_by_a_node_and_spikes_by_a_sum_and_a_threshold() -> None:
    kinds = {
        name: [type(node) for node in deploy.from_torch(m.model, m.x, axes=m.axes).graph.nodes.values()]
        for name, m in models().items()
        if name in ("parts", "shortcuts")
    }
    assert MaxPool2d in kinds["parts"]
    assert MaxPool2d not in kinds["shortcuts"]
    assert nir.SumPool2d in kinds["shortcuts"]


class Own(nn.Module):
    """`v <- 0.25 v (1 - spike) + x`, a spike at v > 0.5, written by somebody."""

    decay, threshold = 0.25, 0.5

    def forward(self, x: Tensor) -> Tensor:
        v = spike = torch.zeros_like(x[0])
        out = torch.zeros_like(x)
        for t in range(len(x)):
            v = v * self.decay * (1 - spike) + x[t]
            spike = v.gt(self.threshold).to(x)
            out[t] = spike
        return out


def own(module: Own) -> deploy.Neuron:
    tau = 1 / (1 - module.decay)
    return deploy.Neuron(tau=tau, r=tau, threshold=module.threshold, fires_at="above")


def net(neuron: nn.Module, scale: float = 6.0) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.neuron, self.fc2 = nn.Linear(6, 20), neuron, nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.neuron(0.5 + scale * self.fc1(x)))

    torch.manual_seed(0)
    return Net()


class Cells(nn.Module):
    """A norse cell called frame by frame, its state passed on."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state, spikes = None, []
        for frame in x:
            spike, state = self.cell(frame, state)
            spikes.append(spike)
        return torch.stack(spikes)


def box(**more: object) -> nn.Module:
    p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(300.0), v_th=torch.tensor(0.3), **more)
    return Cells(norse.LIFBoxCell(p=p))


JELLY = "spikingjelly"
NEURONS: dict[str, Callable[[], nn.Module]] = {
    "own": Own,
    "IF": foreign.IFNode,
    "IF, soft": lambda: foreign.IFNode(v_reset=None),
    "LIF at rest elsewhere": lambda: foreign.LIFNode(v_reset=-0.25),
    "LIF, input whole": lambda: foreign.LIFNode(tau=3.0, decay_input=False),
    "LIF, soft": lambda: foreign.LIFNode(v_reset=None),
    "LIF that ties": lambda: foreign.LIFNode(tau=1.5, v_threshold=0.5),
    "PLIF": lambda: foreign.ParametricLIFNode(w=0.7),
    "norse box": box,
    "norse box, soft": lambda: box(reset_method=norse_reset.reset_subtract),
    "norse with a current": lambda: Cells(norse.LIFCell(p=norse.LIFParameters(v_th=torch.tensor(0.4)))),
}


@pytest.mark.parametrize("name", NEURONS)
def test_every_kind_of_neuron(name: str) -> None:
    given = ready(net(NEURONS[name]()), images(12, CLIPS, 6), "TBN")
    imported = deploy.from_torch(given.model, given.x, axes="TBN", neurons={Own: own})
    check = imported.check(given.x)
    assert check.spikes_compared == 12 * CLIPS * 20
    assert check.ties == 0
    (layer,) = imported.layers.values()
    assert 0.05 < interpret(imported.graph, imported.frames(given.x))[layer.node].mean() < 0.95


def test_a_threshold_that_is_reached_exactly_fires_in_every_form() -> None:
    """At tau 1.5, v = 0.75 / 1.5 = 0.5 is the threshold: PyTorch, NIR and the lowered network fire at every step."""
    given = ready(net(foreign.LIFNode(tau=1.5, v_threshold=0.5)), torch.zeros(2, 1, 6, dtype=torch.float64), "TBN")
    nn.init.zeros_(given.model.fc1.weight)
    nn.init.constant_(given.model.fc1.bias, 0.25 / 6)
    imported = deploy.from_torch(given.model, given.x, axes="TBN")
    imported.check(given.x)
    frames, network = imported.frames(given.x), deploy.lower(imported.graph)
    assert interpret(imported.graph, frames)["neuron"].all()
    assert run_float(network, as_images(frames, network))["neuron"].all()


@pytest.mark.parametrize("cell", [norse.LIBoxCell, norse.LICell])
def test_a_readout_that_sends_its_potential(cell: type[nn.Module]) -> None:
    """An integrator, with or without a current, is compared potential by potential."""

    class Readout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif, self.output, self.li = foreign.LIFNode(step_mode="s"), nn.Linear(6, 3), cell()

        def forward(self, x: Tensor) -> Tensor:
            state, potentials = None, []
            for frame in x:
                v, state = self.li(self.output(self.lif(3 * frame)), state)
                potentials.append(v)
            return torch.stack(potentials)

    torch.manual_seed(0)
    given = ready(Readout(), images(12, CLIPS, 6), "TBN")
    imported = deploy.from_torch(given.model, given.x, axes="TBN")
    check = imported.check(given.x)
    assert (check.layers, check.ties) == (2, 0)
    assert check.output_error < 1e-12
    assert imported.layers["li"].node == "li"
    assert list(imported.graph.nodes)[-1] == "output"  # the layer of that name in the model has another here
    changed = given.model
    changed.li.p = changed.li.p._replace(tau_mem_inv=changed.li.p.tau_mem_inv * 1.02)
    with pytest.raises(GateError, match=r"differ first in layer li, time step 0, .* from the model's potential"):
        imported.check(given.x)


def test_a_current_with_memory_and_a_late_reset_by_subtraction() -> None:
    """Synaptic of snnTorch with what it does by default: theta is taken a time step later, behind the decay."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 20), foreign.Synaptic(alpha=0.5, beta=0.75)

        def forward(self, x: Tensor) -> Tensor:
            syn = mem = torch.zeros(x.shape[1], 20, dtype=x.dtype)
            spikes = []
            for frame in x:
                spike, syn, mem = self.lif(2 * self.fc(frame), syn, mem)
                spikes.append(spike)
            return torch.stack(spikes)

    torch.manual_seed(0)
    given = ready(Loop(), images(12, CLIPS, 6), "TBN")
    imported = deploy.from_torch(given.model, given.x, axes="TBN")
    assert imported.check(given.x).ties == 0
    node = imported.graph.nodes["lif"]
    assert isinstance(node, SubtractLIF)
    np.testing.assert_allclose(node.v_subtract, 1 / 0.75)


def test_neurons_of_their_own_parameters() -> None:
    """A threshold for each of 20 neurons."""

    class Learned(Own):
        def __init__(self) -> None:
            super().__init__()
            self.threshold = 0.3 + images(20)

    given = ready(net(Learned()), images(12, CLIPS, 6), "TBN")

    def describe(module: Learned) -> deploy.Neuron:
        return deploy.Neuron(tau=4 / 3, r=4 / 3, threshold=module.threshold.numpy(), fires_at="above")

    imported = deploy.from_torch(given.model, given.x, axes="TBN", neurons={Learned: describe})
    assert imported.check(given.x).ties == 0
    assert len(np.unique(imported.graph.nodes["neuron"].v_threshold)) == 20


def test_an_image_that_is_repeated_over_channels_before_it_is_over_time() -> None:
    """Grey becomes three channels, then four time steps; neurons of one's own do not say which is time."""

    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.own = conv_norm(3, 4), Own()

        def forward(self, image: Tensor) -> Tensor:
            return self.own(self.stem(image.expand(-1, 3, -1, -1).unsqueeze(0).repeat(T, 1, 1, 1, 1)))

    given = ready(Grey(), images(CLIPS, 1, 6, 6), "BCHW")
    imported = deploy.from_torch(given.model, given.x, axes="BCHW", neurons={Own: own})
    assert imported.graph.metadata["T"] == T
    assert imported.check(given.x).ties == 0


@pytest.mark.parametrize("norm", ["shared", "per_step"])
def test_our_own_model_goes_the_same_way(norm: str) -> None:
    """A concatenation, a norm of every time step, a convolution over the clip: all that SVFormer has."""
    torch.manual_seed(2)
    config = SVFormerConfig(
        num_classes=2, image_size=32, frames=2, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_dim=4, norm=norm
    )
    given = ready(SVFormer(config), images(2, 3, 2, 32, 32), "BCTHW")
    imported = deploy.from_torch(given.model, given.x, axes="BCTHW")
    neurons = {name for name, module in given.model.named_modules() if type(module).__name__ == "PLIF"}
    assert set(imported.layers) == neurons
    assert imported.check(given.x).ties == 0


def test_one_time_step_and_one_clip() -> None:
    """An image for one time step: nothing has an axis of time, nor of clips."""
    given = ready(nn.Sequential(PerFrame(nn.Conv2d(3, 4, 3)), foreign.LIFNode()), images(1, 1, 3, 6, 6), "TBCHW")
    imported = deploy.from_torch(given.model, given.x, axes="TBCHW")
    assert imported.graph.metadata["T"] == 1
    assert imported.check(given.x).spikes_compared == 4 * 4 * 4
