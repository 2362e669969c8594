"""Energy by unit and time of every step are those that SANA-FE finds for the same placed network.

SANA-FE (GPL-3) is no part of this project and is not distributed with it; `pip install .[sanafe]` installs it for these
tests. An empty Loihi takes 2 GB there.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.clips.read import load
from deploy.costs.placing import placed_network, streams
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.plan import Plan
from hardware import AttentionGeometry, ConvGeometry, IdentityGeometry, Incoming, LayerResources, load_chip
from hardware.placed import Activity, PlacedNetwork, Work
from hardware.spread import Order, Spread

pytest.importorskip("sanafe", reason="SANA-FE is not installed: pip install .[sanafe]")

from sanafe_replay import Replayed, aggregated, full

LOIHI_1 = load_chip("loihi1")
SANA_FE = LOIHI_1.events[0]
EXACT = pytest.approx


def layer(name: str, shape: tuple[int, int, int], *inputs: Incoming) -> LayerResources:
    return LayerResources(name=name, shape=shape, inputs=inputs, outgoing=1)


def conv(in_shape: tuple[int, int, int], outputs: int, size: int, **fields: object) -> ConvGeometry:
    half = size // 2
    return ConvGeometry(in_shape=in_shape, out_channels=outputs, kernel=(size, size), padding=(half, half), **fields)


def small() -> tuple[list[LayerResources], dict[str, tuple[int, int, int]], dict[str, int]]:
    """Strided, depthwise and 1x1 convolutions, a shortcut, attention, two taps of a delay line, and a dense end."""
    shape, tokens = (6, 5, 5), (2, 5, 5)
    late = (Incoming(source="c", geometry=conv(shape, 4, 1), lag=lag) for lag in (0, 2))
    dense = ConvGeometry(in_shape=(4, 5, 5), out_channels=3, kernel=(5, 5))
    layers = [
        layer("a", shape, Incoming(source="in", geometry=conv((2, 9, 9), 6, 3, stride=(2, 2)))),
        layer("b", shape, Incoming(source="a", geometry=conv(shape, 6, 5, groups=6))),
        layer("qkv", shape, Incoming(source="b", geometry=conv(shape, 6, 1))),
        layer("mix", tokens, Incoming(source="qkv", geometry=AttentionGeometry(channels=2, tokens=25, heads=1))),
        layer(
            "c",
            shape,
            Incoming(source="mix", geometry=conv(tokens, 6, 1)),
            Incoming(source="a", geometry=IdentityGeometry(shape=shape)),
        ),
        layer("d", (4, 5, 5), *late),
        layer("e", (3, 1, 1), Incoming(source="d", geometry=dense)),
    ]
    numbers = {"in": 2, "a": 5, "b": 4, "qkv": 3, "mix": 2, "c": 6, "d": 3, "e": 1}
    return layers, {"in": (2, 9, 9)}, numbers


Streamed = tuple[IntNetwork, Plan, Activity]


@pytest.fixture(scope="module")
def shipped_clip() -> Streamed:
    """The shipped network in integers, and what it sends of a shipped clip."""
    from deploy.preparation import prepare
    from deploy.request import Request
    from deploy.session import draft

    request = Request(backend="integer")
    made = draft(request, "schedule")
    clip = load(prepare(request).clips[0], made.finished().input_format)
    signals = run_integer(made.integer, clip[np.newaxis])
    return made.integer, made.plan, next(streams(made.integer, made.plan, signals))


def drawn(spread: Spread, steps: int = 6) -> dict[str, NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    return {name: rng.random((steps, int(np.prod(shape)))) < 0.3 for name, shape in spread.shapes.items()}


def assert_same(found: Replayed, work: Work, *, connections: float) -> None:
    """Every event, energy of every unit, time of every step; SANA-FE adds up the connections that messages take."""
    events, mj = work.events, work.events.energy_mj(SANA_FE)
    assert (found.synapses, found.messages) == (connections, events.messages)
    ours = {
        "synapse": mj["synapses"],
        "soma": mj["neurons"] + mj["spikes"],
        "network": mj["messages"] + mj["hops"],
        "total": sum(mj.values()),
    }
    assert {unit: 1e3 * found.energy[unit] for unit in ours} == EXACT(ours, rel=1e-9)
    assert found.step_s == EXACT(work.step_s(SANA_FE).tolist(), rel=1e-9)


@pytest.mark.parametrize("order", ["pixel", "channel"])
def test_a_small_network_with_all_its_synapses(order: Order, tmp_path: Path) -> None:
    layers, entries, numbers = small()
    shapes = {**entries, **{layer.name: layer.shape for layer in layers}}
    spread = Spread(chip=LOIHI_1, order=order, shapes=shapes, numbers=numbers)
    activity: Activity = drawn(spread)
    found = full(layers, spread, activity, list(entries), tmp_path)
    work = PlacedNetwork(layers, spread).work(activity)
    assert_same(found, work, connections=work.events.synapses)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("order", ["pixel", "channel"])
def test_the_shipped_network_with_synapses_counted(order: Order, shipped_clip: Streamed, tmp_path: Path) -> None:
    """Tiny has 5 million synapses, 4 GB in SANA-FE: here a connection stands for all of a neuron into a core."""
    network, plan, activity = shipped_clip
    placed = placed_network(network, plan, LOIHI_1, order)
    found, work = aggregated(placed, activity, [network.input_name], tmp_path), placed.work(activity)
    assert_same(found, work, connections=work.events.messages)
