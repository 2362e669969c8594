"""What of a network Loihi 2 holds, part by part, and the plan that a person prints."""

from typing import Any

import numpy as np
import pytest
from rich.console import Console

import ints
from deploy.costs.resources import layer_resources
from deploy.ir.integer import IntConnection, IntGain, IntNetwork
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.plan import Plan
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.lif import IntLif
from deploy.passes.bounds import prove
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.report.keys.network import DelayLine, PlannedLayer
from deploy.report.network import mapped_parts
from deploy.report.plan import planned_layers, print_mapping, print_plan

SHAPE = (3, 2, 2)
FRAMES = 4


def planned(net: IntNetwork, plan: Plan) -> tuple[PlannedLayer, ...]:
    return planned_layers(net, plan, prove(net), layer_resources(net, plan))


def lif(**fields: Any) -> IntLif:
    return ints.lif(SHAPE, **{"decay": 2048, "threshold": 2, **fields})


def convolution() -> IntConvolution:
    return ints.conv(np.full((3, 3, 3, 3), 5), SHAPE, padding=(1, 1))


def network(*connections: IntConnection, **populations: IntPopulation) -> IntNetwork:
    return ints.network({"in": ints.entry(SHAPE), **populations}, *connections, frames=FRAMES)


def rows(net: IntNetwork) -> list[tuple[str, str, str, bool]]:
    return [(row.where, row.what, row.process, row.maps) for row in mapping(net, schedule(net))]


def test_convolution_dense_neurons_relay_and_delay_map() -> None:
    """In -> a, then a and in (one step later) meet in a relay, which a layer reads as a whole."""
    net = network(
        ints.link("in", "a", convolution()),
        ints.link("a", "sum", ints.same(SHAPE)),
        ints.link("in", "sum", ints.same(SHAPE)),
        ints.link("sum", "out", ints.conv(np.ones((2, 3, 2, 2)), SHAPE)),
        a=lif(),
        sum=ints.relay(SHAPE),
        out=ints.lif((2, 1, 1)),
    )
    assert rows(net) == [
        ("in -> a", "convolution 3x3, stride 1", "Conv", True),
        ("a", "LIF neurons", "LIFReset", True),
        ("a -> sum", "identity", "Conv", True),
        ("in -> sum", "identity", "Conv", True),
        ("in -> sum", "delay of 1 time steps", "GradedVec", True),
        ("sum", "graded relay", "GradedVec", True),
        ("sum -> out", "dense", "Sparse", True),
        ("out", "LIF neurons", "LIFReset", True),
    ]
    assert obstacles(mapping(net, schedule(net))) == []


def test_attention_needs_a_microcode_neuron() -> None:
    net = network(
        ints.link("in", "qkv", ints.same(SHAPE)),
        ints.link("qkv", "out", ints.attention(SHAPE)),
        qkv=lif(),
        out=ints.lif((1, 2, 2)),
    )
    (found,) = obstacles(mapping(net, schedule(net)))
    assert found.startswith("qkv -> out (attention Q (K^T V)): product of two signals")


@pytest.mark.parametrize(
    ("population", "needed"),
    [
        (lif(bias_mantissa=np.arange(FRAMES).reshape(FRAMES, 1, 1, 1)), "a bias of every time step"),
        (lif(start=1), "a start other than rest after every clip"),
        (ints.relay(SHAPE, 1), "a bias"),
        (ints.relay(SHAPE, np.zeros((FRAMES, *SHAPE))), "a bias of every time step"),
        (ints.integrator(SHAPE, decay=2048), "a potential as graded message"),
    ],
)
def test_what_no_neuron_of_lava_does(population: IntPopulation, needed: str) -> None:
    net = network(ints.link("in", "out", ints.same(SHAPE)), out=population)
    assert [row.microcode for row in mapping(net, schedule(net)) if not row.maps] == [needed]


def test_gain_of_every_step_needs_a_microcode_neuron() -> None:
    gain = IntGain(multiplier=np.arange(1, FRAMES + 1).reshape(FRAMES, 1, 1, 1), exponent=0)
    net = network(ints.link("in", "out", ints.same(SHAPE), gain=gain), out=lif())
    assert obstacles(mapping(net, schedule(net))) == [
        "in -> out (gain): a factor of every time step behind the synaptic sum"
    ]


def test_plan_says_step_line_memory_and_margin_of_every_layer() -> None:
    """A 3x3 kernel of fives over 3 channels of spikes: at most 27 * 5 = 135 of 2^17 and of 2^23.

    The shortcut waits one step with 12 input values of 4 bytes each. Weights: 3 * 3 * 9 of 2 bits: all are 5, so one
    bit and a sign, the factor 5 not being a power of two: 5 takes 3 bits and a sign.
    """
    net = network(
        ints.link("in", "a", convolution()),
        ints.link("a", "out", ints.same(SHAPE)),
        ints.link("in", "out", ints.same(SHAPE)),
        a=lif(),
        out=lif(),
    )
    entry, a, out = planned(net, schedule(net))
    assert (entry.kind, entry.first_step, entry.current) == ("input", 1, None)
    assert (a.first_step, a.delay_lines) == (2, ())
    assert a.weight_kib == 3 * 3 * 9 * 4 / 8192
    assert a.state_kib == 12 * 24 / 8192
    assert (a.current.worst, a.current.limit) == (135, 2**17 - 1)
    assert (a.sum.worst, a.sum.limit) == (135, 2**23 - 1)
    assert out.first_step == 3
    assert out.delay_lines == (DelayLine(source="in", steps=1, bytes=12 * 4),)
    assert (out.current.worst, out.sum) == (2, None), "an identity adds nothing up inside the synapse"


def test_plan_and_mapping_are_printed_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "stage10.block10.attention.plif_projection"
    net = network(
        ints.link("in", long, convolution()),
        ints.link(long, "out", ints.same(SHAPE)),
        **{long: lif(), "out": ints.relay(SHAPE, 1)},
    )
    plan = schedule(net)
    console = Console(width=40, soft_wrap=True)
    print_plan(planned(net, plan), FRAMES, console)
    print_mapping(mapped_parts(net, plan), console)
    text = capsys.readouterr().out
    assert long in text
    assert "…" not in text
    assert (
        "a clip takes 6 time steps, on a chip one step each: 3 until its first frame is through, then 3 frames" in text
    )
    assert "Loihi 2, by the processes of Lava: 1 obstacle" in text
    assert "12 LIF neurons (LIFReset), in all 12 neurons" in text
    assert "1 convolution 3x3 (Conv), 1 identity (Conv), in all 2 connections" in text
    assert "needs a microcode neuron: out (graded relay): a bias" in text
