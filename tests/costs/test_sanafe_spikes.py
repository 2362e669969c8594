"""SANA-FE's neurons fire as ours do: every LIF layer, every neuron, every time step.

Its Loihi (`leaky_integrate_fire` of its loihi.yaml) was written by others for their own purpose. What these tests do
not cover: it has no graded messages, no attention, no currents with memory that round, and no potential that saturates.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

import ints
from deploy.clips.read import load
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.machine import DECAY_ONE, STATE_SHIFT
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Signals
from hardware import ConvGeometry

pytest.importorskip("sanafe", reason="SANA-FE is not installed: pip install .[sanafe]")

from sanafe_neurons import Fired, fired

Run = tuple[IntNetwork, Signals]


@pytest.fixture(scope="module", params=["loihi1", "cmos45_fp32"])
def shipped(request: pytest.FixtureRequest) -> Run:
    """The shipped network in integers, its chains of convolutions apart or merged, and what it sends of a clip."""
    from deploy.preparation import prepare
    from deploy.request import Request
    from deploy.session import draft

    asked = Request(backend="integer", merge=request.param)
    made = draft(asked, "schedule")
    clip = load(prepare(asked).clips[0], made.finished().input_format)
    return made.integer, run_integer(made.integer, clip[np.newaxis])


def differences(found: Fired, signals: Signals) -> int:
    """Neurons and time steps in which one of the two fires alone."""
    ours = {name: signals[name][0].reshape(spikes.shape) != 0 for name, spikes in found.spikes.items()}
    assert all(spikes.any() for spikes in ours.values()), "a layer that never fires shows nothing"
    return sum(int((ours[name] != spikes).sum()) for name, spikes in found.spikes.items())


@pytest.mark.slow
def test_every_lif_layer_of_the_shipped_network(shipped: Run) -> None:
    """Layers behind layers of spikes are fed by SANA-FE's own; one step of a decay in 4096 is seen."""
    network, signals = shipped
    found = fired(network, signals)
    assert list(found.spikes) == network.neuron_layers
    assert found.synapses > 890_000
    assert (len(found.spikes), sum(spikes.size for spikes in found.spikes.values())) == (22, 655_360)
    assert differences(found, signals) == 0
    assert differences(fired(with_other_decays(network), signals), signals) > 0


def with_other_decays(network: IntNetwork) -> IntNetwork:
    lifs = ((name, p) for name, p in network.populations.items() if isinstance(p, IntLif))
    return replace(network, populations=network.populations | {n: replace(p, decay=p.decay + 1) for n, p in lifs})


@pytest.mark.parametrize("reset", ["to zero", "by subtraction"])
def test_all_decays_with_currents_of_both_signs(reset: Literal["to zero", "by subtraction"]) -> None:
    """A neuron for every decay, 0 to 4096: a potential is rounded towards zero above and below it."""
    rng, frames, shape = np.random.default_rng(0), 24, (DECAY_ONE + 1, 1, 1)
    thresholds = rng.integers(1, 4000, shape)
    subtract = {"subtract": thresholds} if reset == "by subtraction" else {}
    layer = ints.lif(
        shape,
        decay=np.arange(DECAY_ONE + 1),
        threshold=thresholds,
        bias_mantissa=rng.integers(-4096, 4096, shape),
        **subtract,
    )
    network = ints.chain(frames, given=ints.entry(shape, low=-3000, high=3000), fires=layer)
    signals = run_integer(network, rng.integers(-3000, 3001, (1, frames, *shape)).astype(np.float64))
    assert differences(fired(network, signals), signals) == 0


def geometries() -> Iterator[ConvGeometry]:
    """Strided with padding, depthwise, of two groups and dilated, and dense, one behind the other."""
    first = ConvGeometry(in_shape=(4, 9, 8), out_channels=6, kernel=(3, 3), stride=(2, 1), padding=(1, 0))
    yield first
    depthwise = ConvGeometry(in_shape=first.out_shape, out_channels=6, kernel=(5, 5), padding=(2, 2), groups=6)
    yield depthwise
    dilated = ConvGeometry(in_shape=depthwise.out_shape, out_channels=8, kernel=(2, 2), dilation=(2, 1), groups=2)
    yield dilated
    yield ConvGeometry(in_shape=dilated.out_shape, out_channels=5, kernel=dilated.out_shape[1:])


def test_layers_behind_convolutions_of_every_kind() -> None:
    """Spikes of four layers in a row reach the last one over SANA-FE's synapses alone."""
    rng, frames, kinds = np.random.default_rng(1), 12, list(geometries())
    shapes = [kinds[0].in_shape, *(kind.out_shape for kind in kinds)]
    layers = [ints.lif(shape, decay=900, threshold=40, bias_mantissa=8 << STATE_SHIFT) for shape in shapes]
    names = [f"layer{n}" for n in range(len(shapes))]
    links = [
        ints.link(names[n], names[n + 1], ints.drawn(kind, rng, 60, exponent=n % 2)) for n, kind in enumerate(kinds)
    ]
    network = ints.network(
        {"given": ints.entry(shapes[0], low=-100, high=100), **dict(zip(names, layers, strict=True))},
        ints.link("given", names[0], ints.same(shapes[0])),
        *links,
        frames=frames,
    )
    signals = run_integer(network, rng.integers(-100, 101, (1, frames, *shapes[0])).astype(np.float64))
    found = fired(network, signals)
    assert found.synapses == sum(kind.synapses for kind in kinds)
    assert differences(found, signals) == 0
