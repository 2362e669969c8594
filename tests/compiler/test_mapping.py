"""What of a network Loihi 2 holds, part by part, and the plan that a person prints."""

import numpy as np
import pytest
from rich.console import Console

from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntGain,
    IntIdentity,
    IntInput,
    IntIntegrator,
    IntLif,
    IntNetwork,
    IntRelay,
)
from deploy.passes.bounds import prove
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.report.keys.network import DelayLine
from deploy.report.network import mapped_parts
from deploy.report.plan import planned_layers, print_mapping, print_plan
from hardware import AttentionGeometry, ConvGeometry

SHAPE = (3, 2, 2)
FRAMES = 4


def lif(shape: tuple[int, int, int] = SHAPE, **options: object) -> IntLif:
    values: dict[str, object] = {
        "shape": shape,
        "scale": 1.0,
        "bias_mantissa": np.zeros((1, 1, 1), dtype=np.int64),
        "bias_exponent": 0,
        "decay": np.full((1, 1, 1), 2048),
        "threshold": np.full((1, 1, 1), 2),
    }
    return IntLif(**{**values, **options})  # type: ignore[arg-type]


def same(shape: tuple[int, int, int] = SHAPE) -> IntIdentity:
    return IntIdentity(in_shape=shape, out_shape=shape)


def convolution(out_channels: int = 3) -> IntConvolution:
    geometry = ConvGeometry(in_shape=SHAPE, out_channels=out_channels, kernel=(3, 3), padding=(1, 1))
    weights = np.full((out_channels, 3, 3, 3), 5, dtype=np.int16)
    return IntConvolution(mantissa=weights, exponent=0, geometry=geometry)


def network(*connections: IntConnection, **populations: object) -> IntNetwork:
    entry = IntInput(shape=SHAPE, scale=1.0, low=0, high=1)
    return IntNetwork(
        populations={"in": entry, **populations},  # type: ignore[dict-item]
        connections=connections,
        output=list(populations)[-1],
        frames=FRAMES,
    )


def rows(net: IntNetwork) -> list[tuple[str, str, str, bool]]:
    return [(row.where, row.what, row.process, row.maps) for row in mapping(net, schedule(net))]


def test_convolution_dense_neurons_relay_and_delay_map() -> None:
    """In -> a, then a and in (one step later) meet in a relay, which a layer reads as a whole."""
    geometry = ConvGeometry(in_shape=SHAPE, out_channels=2, kernel=SHAPE[1:])
    dense = IntConvolution(mantissa=np.ones((2, 3, 2, 2), dtype=np.int16), exponent=0, geometry=geometry)
    net = network(
        IntConnection(source="in", target="a", operation=convolution()),
        IntConnection(source="a", target="sum", operation=same()),
        IntConnection(source="in", target="sum", operation=same()),
        IntConnection(source="sum", target="out", operation=dense),
        a=lif(),
        sum=IntRelay(shape=SHAPE, scale=1.0, bias=np.zeros(SHAPE, dtype=np.int64)),
        out=lif((2, 1, 1)),
    )
    assert rows(net) == [
        ("in -> a", "convolution 3x3, stride 1", "Conv", True),
        ("a", "LIF neurons", "LIFReset", True),
        ("a -> sum", "identity", "Conv", True),
        ("in -> sum", "identity", "Conv", True),
        ("in -> sum", "delay of 1 time steps", "GradedVec", True),
        ("sum", "graded relay", "GradedVec", True),
        ("sum -> out", "dense", "Conv", True),
        ("out", "LIF neurons", "LIFReset", True),
    ]
    assert obstacles(mapping(net, schedule(net))) == []


def test_attention_needs_a_microcode_neuron() -> None:
    geometry = AttentionGeometry(channels=1, tokens=4, heads=1)
    attention = IntAttention(geometry=geometry, in_shape=SHAPE, multiplier=1, exponent=0)
    net = network(
        IntConnection(source="in", target="qkv", operation=same()),
        IntConnection(source="qkv", target="out", operation=attention),
        qkv=lif(),
        out=lif((1, 2, 2)),
    )
    (found,) = obstacles(mapping(net, schedule(net)))
    assert found.startswith("qkv -> out (attention Q (K^T V)): product of two signals")


@pytest.mark.parametrize(
    ("population", "needed"),
    [
        (lif(bias_mantissa=np.arange(FRAMES).reshape(FRAMES, 1, 1, 1)), "a bias of every time step"),
        (lif(start=np.ones((1, 1, 1), dtype=np.int64)), "a start other than rest after every clip"),
        (IntRelay(shape=SHAPE, scale=1.0, bias=np.ones(SHAPE, dtype=np.int64)), "a bias"),
        (
            IntRelay(shape=SHAPE, scale=1.0, bias=np.zeros((FRAMES, *SHAPE), dtype=np.int64)),
            "a bias of every time step",
        ),
        (
            IntIntegrator(
                **{k: v for k, v in vars(lif()).items() if k != "threshold"},
            ),
            "a potential as graded message",
        ),
    ],
)
def test_what_no_neuron_of_lava_does(population: object, needed: str) -> None:
    net = network(IntConnection(source="in", target="out", operation=same()), out=population)
    assert [row.microcode for row in mapping(net, schedule(net)) if not row.maps] == [needed]


def test_gain_of_every_step_needs_a_microcode_neuron() -> None:
    gain = IntGain(multiplier=np.arange(1, FRAMES + 1).reshape(FRAMES, 1, 1, 1), exponent=0)
    net = network(IntConnection(source="in", target="out", operation=same(), gain=gain), out=lif())
    assert obstacles(mapping(net, schedule(net))) == [
        "in -> out (gain): a factor of every time step behind the synaptic sum"
    ]


def test_plan_says_step_line_memory_and_margin_of_every_layer() -> None:
    """A 3x3 kernel of fives over 3 channels of spikes: at most 27 * 5 = 135 of 2^17 and of 2^23.

    The shortcut waits one step with 12 input values of 4 bytes each. Weights: 3 * 3 * 9 of 2 bits: all are 5, so one
    bit and a sign, the factor 5 not being a power of two: 5 takes 3 bits and a sign.
    """
    net = network(
        IntConnection(source="in", target="a", operation=convolution()),
        IntConnection(source="a", target="out", operation=same()),
        IntConnection(source="in", target="out", operation=same()),
        a=lif(),
        out=lif(),
    )
    entry, a, out = planned_layers(net, schedule(net), prove(net))
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
        IntConnection(source="in", target=long, operation=convolution()),
        IntConnection(source=long, target="out", operation=same()),
        **{long: lif(), "out": IntRelay(shape=SHAPE, scale=1.0, bias=np.ones(SHAPE, dtype=np.int64))},
    )
    plan = schedule(net)
    console = Console(width=40, soft_wrap=True)
    print_plan(planned_layers(net, plan, prove(net)), FRAMES, console)
    print_mapping(mapped_parts(net, plan), console)
    text = capsys.readouterr().out
    assert long in text
    assert "…" not in text
    assert "first result after 3 + 3 steps" in text
    assert "1 convolution 3x3 (Conv), 1 LIF neurons (LIFReset), 1 identity (Conv)" in text
    assert "needs a microcode neuron: out (graded relay): a bias" in text
