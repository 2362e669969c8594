"""Merging gives the same values and spikes before and after, only where it is exact, and only where it pays."""

import copy
import itertools
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
import reals
from deploy.execution.simulate import simulate
from deploy.ir.contracts import check_network
from deploy.ir.integer import run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import Convolution
from deploy.ir.operations.identity import Identity
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from deploy.ir.populations.relay import Relay
from deploy.ir.types import Shape
from deploy.passes import chain_choice, compose
from deploy.passes.chain_choice import RATE, Merge, most_weights
from deploy.passes.compose import composable, composed_geometry
from deploy.passes.compose import compose as of
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import merge_linear_chains, read_merge
from deploy.pipeline import quantize
from hardware import ConvGeometry
from processes import HANG_S
from svformer.common.errors import InputError

CONVENTION, LOIHI = read_merge("cmos45_fp32"), read_merge("loihi1")
FRAMES = 4
RNG = np.random.default_rng(0)


def conv(in_shape: Shape, out: int, kernel: int, rng: np.random.Generator = RNG, **options: Any) -> Convolution:
    groups = options.pop("groups", 1)
    weight = rng.normal(size=(out, in_shape[0] // groups, kernel, kernel))
    return reals.conv(weight, in_shape, groups=groups, **{name: (n, n) for name, n in options.items()})


def depthwise(in_shape: Shape, kernel: int, **options: Any) -> Convolution:
    return conv(in_shape, in_shape[0], kernel, groups=in_shape[0], **options)


def lif(shape: Shape) -> Lif:
    return reals.lif(shape, threshold=RNG.uniform(0.5, 1.5, size=shape[0]))


def relay(shape: Shape) -> Relay:
    """With a bias for every channel, as convolutions have it."""
    return reals.relay(shape, RNG.normal(size=shape[0]))


def behind_neurons(*operations: Convolution | Identity) -> Network:
    """Input -> neurons -> operations, a relay after each -> neurons -> output."""
    shape = operations[0].geometry.in_shape
    populations: dict[str, Any] = {"input": Input(shape=shape), "first": lif(shape)}
    connections = [reals.link("input", "first", depthwise(shape, 1))]
    for i, operation in enumerate(operations):
        shape = operation.out_shape if isinstance(operation, Identity) else operation.geometry.out_shape
        connections.append(reals.link(list(populations)[-1], f"relay{i}", operation))
        populations[f"relay{i}"] = relay(shape) if isinstance(operation, Convolution) else reals.relay(shape)
    for name, population in [("last", lif(shape)), ("output", reals.relay(shape))]:
        connections.append(reals.link(list(populations)[-1], name, reals.same(shape)))
        populations[name] = population
    return reals.network(populations, *connections, frames=FRAMES)


def assert_same(before: Network, after: Network, seed: int = 0) -> None:
    """All populations that are left send the same; spikes exactly, sums up to rounding."""
    check_network(after, after="merge_linear_chains")
    frames = np.random.default_rng(seed).normal(0, 3, size=(2, before.frames, *before.populations["input"].shape))
    expected, found = run_float(before, frames), run_float(after, frames)
    for name, signal in found.items():
        np.testing.assert_allclose(signal, expected[name], atol=1e-9, err_msg=name)


def merged(network: Network, merge: Merge = CONVENTION) -> Network:
    """The merged network, after the checks that hold for every one."""
    untouched = copy.deepcopy(network)
    result = merge_linear_chains(network, merge=merge)
    np.testing.assert_equal(vars_of(network), vars_of(untouched))
    assert_same(network, result)
    return result


def vars_of(network: Network) -> list[Any]:
    operations = [getattr(c.operation, "weight", None) for c in network.connections]
    return [*network.populations, *(vars(p) for p in network.populations.values()), *operations, network.notes]


def kept(network: Network) -> list[str]:
    return [name for name, p in network.populations.items() if isinstance(p, Relay) and name != "output"]


def test_pointwise_depthwise_pointwise_becomes_one_convolution_with_a_bias_map() -> None:
    """SVFormer's local mixer, narrow: its 5x5 kernel, 3 channels."""
    shape = (3, 6, 6)
    network = behind_neurons(conv(shape, 3, 1), depthwise(shape, 5, padding=2), conv(shape, 3, 1))
    result = merged(network)
    assert kept(result) == []
    (operation,) = (c.operation for c in result.into("last"))
    assert isinstance(operation, Convolution)
    assert operation.geometry == ConvGeometry(in_shape=shape, out_channels=3, kernel=(5, 5), padding=(2, 2))


def test_the_bias_map_at_the_border_by_hand() -> None:
    """A relay's bias of 10 behind a padded 3x3 kernel of ones: each pixel sums the taps that lie inside the image.

    A corner sees 4 of them, an edge 6, the middle 9; the next relay adds its own bias of 1.
    """
    shape = (1, 3, 3)
    network = behind_neurons(conv(shape, 1, 1), conv(shape, 1, 3, padding=1))
    network.connections[2].operation.weight[:] = 1.0
    network.populations["relay0"].bias[:], network.populations["relay1"].bias[:] = 10.0, 1.0
    result = merged(network)
    assert kept(result) == []
    assert result.populations["last"].bias[0].tolist() == [[41, 61, 41], [61, 91, 61], [41, 61, 41]]


def test_a_bias_that_is_the_same_everywhere_stays_one_number_a_channel() -> None:
    shape = (2, 5, 5)
    result = merged(behind_neurons(conv(shape, 2, 1), conv(shape, 4, 3)))
    assert kept(result) == []
    assert result.populations["last"].bias.shape == (4, 1, 1)


def test_flatten_and_dense_layer_become_a_kernel_as_large_as_the_image() -> None:
    shape, flat = (2, 3, 4), (24, 1, 1)
    network = behind_neurons(reals.same(shape, flat), conv(flat, 5, 1))
    result = merged(network)
    (operation,) = (c.operation for c in result.into("last"))
    assert isinstance(operation, Convolution)
    assert operation.geometry.kernel == (3, 4)
    assert kept(result) == []


@st.composite
def chains(draw: st.DrawFn) -> Network:
    """Two to four convolutions of any stride, padding and groups in a row."""
    shape: Shape = (draw(st.sampled_from([1, 2, 4])), draw(st.integers(3, 8)), draw(st.integers(3, 8)))
    operations, rng = [], np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(2, 4))):
        kernel = draw(st.integers(1, min(3, *shape[1:])))
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if shape[0] % g == 0]))
        options = {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 2)), "groups": groups}
        operations.append(conv(shape, groups * draw(st.sampled_from([1, 2])), kernel, rng, **options))
        shape = operations[-1].geometry.out_shape
    return behind_neurons(*operations)


@given(network=chains())
def test_any_chain_computes_the_same_before_and_after(network: Network) -> None:
    """Border, strides, groups, biases: whatever the pass decides to merge, it must be exact.

    Never merging keeps the most relays, always merging the fewest, and a chip something between them.
    """
    relays = [len(kept(merged(network, merge))) for merge in ("always", CONVENTION, LOIHI, "never")]
    assert relays[0] == min(relays)
    assert relays[-1] == max(relays)


@pytest.mark.parametrize(
    ("second", "keeps"),
    [
        ({"kernel": 3, "padding": 1}, True),  # a rim of inner zeros that the composed kernel would not know
        ({"kernel": 1, "padding": 1}, True),
        ({"kernel": 3, "padding": 0}, False),
        ({"kernel": 2, "padding": 0, "dilation": 2}, True),  # composed kernels have no dilation
    ],
)
def test_two_convolutions_merge_only_where_the_border_stays_exact(second: dict[str, int], keeps: bool) -> None:
    shape = (2, 6, 6)
    network = behind_neurons(conv(shape, 2, 3, padding=1), conv(shape, 2, **second))
    assert kept(merged(network)) == (["relay0"] if keeps else [])


def test_the_dilation_of_one_weight_says_nothing() -> None:
    """A 1x1 kernel with a dilation of 3 in front of one of two neighbours, 1 pixel apart."""
    first = reals.conv(np.ones((2, 1, 1, 1)), (2, 1, 2), groups=2, dilation=(1, 3))
    second = reals.conv(np.ones((1, 2, 1, 2)), (2, 1, 2))
    assert composable(reals.link("a", "b", first), reals.link("b", "c", second))
    assert composed_geometry([first, second]).out_shape == of(first, second).out_shape == (1, 1, 1)


def test_a_kernel_with_a_border_is_no_dense_layer_of_a_flattened_image() -> None:
    """Its border gives two values more, which no kernel as large as the image does."""
    flattened, border = reals.same((2, 1, 2), (4, 1, 1)), reals.conv(np.ones((1, 4, 1, 1)), (4, 1, 1), padding=(0, 1))
    assert border.out_shape == (1, 1, 3)
    assert not composable(reals.link("a", "b", flattened), reals.link("b", "c", border))


def test_a_chain_that_merges_in_pairs_but_not_as_a_whole_keeps_a_relay() -> None:
    """Padded 3x3, 1x1, padded 3x3: either relay may go, not both."""
    shape = (2, 6, 6)
    network = behind_neurons(conv(shape, 2, 3, padding=1), conv(shape, 2, 1), conv(shape, 2, 3, padding=1))
    result = merged(network)
    assert len(kept(result)) == 1
    assert "merged not exact" in result.notes[-1]


def test_delayed_branches_that_meet_are_merged_with_their_delays() -> None:
    """The temporal readout: delay -> convolution from every frame, summed, then a dense layer."""
    shape, summed = (2, 3, 3), (4, 1, 1)
    populations: dict[str, Any] = {"input": Input(shape=shape), "first": lif(shape)}
    connections = [reals.link("input", "first", depthwise(shape, 1))]
    for delay in (2, 1):
        populations |= {f"delay{delay}": reals.relay(shape), f"conv{delay}": reals.relay(summed)}
        connections += [
            reals.link("first", f"delay{delay}", reals.same(shape), delay=delay),
            reals.link(f"delay{delay}", f"conv{delay}", conv(shape, 4, 3)),
        ]
    populations |= {"conv0": relay(summed), "sum": reals.relay(summed)}
    populations |= {"dense": relay((5, 1, 1)), "output": reals.relay((5, 1, 1))}
    connections += [
        reals.link("first", "conv0", conv(shape, 4, 3)),
        *(reals.link(f"conv{d}", "sum", reals.same(summed)) for d in (2, 1, 0)),
        reals.link("sum", "dense", conv(summed, 5, 1)),
        reals.link("dense", "output", reals.same((5, 1, 1))),
    ]
    network = reals.network(populations, *connections, frames=FRAMES)
    result = merged(network)
    assert not {"delay2", "delay1", "conv2", "conv1", "conv0", "dense"} & result.populations.keys()
    assert sorted(c.delay for c in result.out_of("first")) == [0, 1, 2]


def test_a_bias_in_front_of_a_delay_stays_where_it_is() -> None:
    """It arrives two steps late: no constant bias behind the delay can stand for that."""
    network = behind_neurons(conv((1, 2, 2), 1, 1), conv((1, 2, 2), 1, 1))
    first, second, third, *rest = network.connections
    late = reals.link(third.source, third.target, third.operation, delay=2)
    delayed = reals.network(network.populations, first, second, late, *rest, frames=FRAMES)
    assert kept(merged(delayed)) == ["relay0"]
    network.populations["relay0"].bias[:] = 0
    assert kept(merged(delayed)) == []


def test_a_sum_that_several_take_stays() -> None:
    """A shortcut stream: its relay sends to the branch and to the next sum."""
    shape = (2, 4, 4)
    network = behind_neurons(conv(shape, 2, 1), conv(shape, 2, 1))
    short = reals.link("relay0", "last", reals.same(shape))
    branched = reals.network(network.populations, *network.connections, short, frames=FRAMES)
    assert kept(merged(branched)) == ["relay0"]


def test_neurons_are_never_merged() -> None:
    network = behind_neurons(conv((2, 4, 4), 2, 1))
    result = merged(network)
    assert [n for n, p in result.populations.items() if isinstance(p, Lif)] == ["first", "last"]


@pytest.mark.parametrize(("width", "merges"), [(8, True), (128, False)])
def test_relays_stay_where_they_cost_less(width: int, merges: bool) -> None:
    """1x1 from W to W channels, depthwise 5x5; a firing rate of 0.1, 0.9 pJ an addition, 4.6 a multiply-accumulate.

    A pixel of one convolution takes 0.1 * 25 W^2 additions. With a relay between it takes 0.1 W^2 for the spikes, W for
    the relay's biases, and 25 W multiply-accumulates for its values: less from W = 54 on (border pixels, which see
    fewer taps, move that a little).
    """
    shape = (width, 6, 6)
    pointwise, spread = conv(shape, width, 1), depthwise(shape, 5, padding=2)
    as_one = ConvGeometry(in_shape=shape, out_channels=width, kernel=(5, 5), padding=(2, 2))
    one = 0.9 * round(RATE * as_one.synapses) / 1000
    two = (0.9 * (round(RATE * pointwise.geometry.synapses) + width * 36) + 4.6 * spread.geometry.synapses) / 1000
    assert (one < two) is merges
    result = merged(behind_neurons(pointwise, spread))
    assert kept(result) == ([] if merges else ["relay0"])
    (note,) = result.notes
    assert note.startswith("relay0: merges into one convolution" if merges else "relay0: keeps relay0 as graded relay")
    costs = f"merged {one:,.4g}, all relays {two:,.4g}, chosen {min(one, two):,.4g} nJ a time step"
    assert f"(45 nm arithmetic, FP32: {costs} at a rate of 10%)" in note


@pytest.mark.parametrize(
    ("merge", "merges"), [("cmos45_fp32", True), ("cmos45_lemaire", False), ("always", True), ("never", False)]
)
def test_the_cost_model_decides(merge: str, merges: bool) -> None:
    """W = 32, 6 x 6 pixels: 576 pairs of neighbouring pixels along 5 x 5 taps (24 along an axis), 36 pixels.

    Merged: 0.1 * 576 W^2 = 59.0 k additions, 53 nJ. Relay: 3.7 k, 1.2 k biases and 576 W = 18.4 k MACs, 89 nJ. But with
    memory every operation is three accesses of 13 pJ and more: 59.0 k against 22.1 k (and 3.5 k of biases and sums).
    """
    shape = (32, 6, 6)
    pointwise, spread = conv(shape, 32, 1), depthwise(shape, 5, padding=2)
    assert spread.geometry.synapses == 576 * 32
    result = merged(behind_neurons(pointwise, spread), read_merge(merge))
    assert kept(result) == ([] if merges else ["relay0"])
    assert ("as asked" in result.notes[0]) is (merge in ("always", "never"))


@pytest.mark.parametrize(("rate", "merges"), [(0.05, True), (0.5, False)])
def test_the_rate_decides(rate: float, merges: bool) -> None:
    """W = 32 as above: merged 531 nJ times the rate, with a relay 86 nJ and more: even at a rate of 17 %."""
    shape = (32, 6, 6)
    network = behind_neurons(conv(shape, 32, 1), depthwise(shape, 5, padding=2))
    result = merge_linear_chains(network, merge=CONVENTION, rates={"first": rate})
    assert kept(result) == ([] if merges else ["relay0"])
    assert "nJ a time step at measured rates" in result.notes[0]


@pytest.mark.parametrize("merge", ["loihi2", "sometimes"])
def test_only_a_chip_with_figures_can_decide(merge: str) -> None:
    with pytest.raises(InputError, match=f"--merge {merge}; allowed: always, never, or a chip with energy"):
        read_merge(merge)


@pytest.mark.parametrize("merge", [CONVENTION, "always"])
def test_a_kernel_that_no_chip_stores_is_never_composed(merge: Merge, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,536 channels to 384 (589,824 weights), the mean over 14 x 14 pixels (75,264), a dense layer to 100 (38,400).

    As one kernel 100 x 1,536 x 14 x 14 = 30,105,600 weights, where 128 cores of 12,000 words of 64 bits hold 12,288,000
    of 8 bits; the last two as one are 100 x 384 x 14 x 14 = 7,526,400. Two of four bits take the place of one of eight.
    """
    first, mean = ConvGeometry(in_shape=(1536, 14, 14), out_channels=384, kernel=(1, 1)), (384, 14, 14)
    zeros = Convolution(weight=np.zeros(first.weight_shape), geometry=first)
    network = behind_neurons(zeros, depthwise(mean, 14), conv((384, 1, 1), 100, 1))
    composed: list[int] = []
    monkeypatch.setattr(compose, "compose", lambda a, b: composed.append(of(a, b).weights) or of(a, b))
    result = merge_linear_chains(network, merge=merge)
    assert "relay0" in kept(result)
    assert "merged 30,105,600 weights, allowed 12,288,000: what one Loihi 2 stores" in result.notes[-1]
    assert max(composed) <= 7_526_400
    assert most_weights(4) == 2 * most_weights(8) == 2 * 12_288_000


def test_a_kernel_of_the_graph_itself_may_be_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four weights are allowed. A dense layer of 2 x 12 behind a flattened image stays as large as it is, so it merges;
    3 channels to 4 to 3 have 24 weights apart and 9 as one, 3 to 1 to 3 have 6 and 9.
    """
    monkeypatch.setattr(chain_choice, "most_weights", lambda weight_bits: 4)
    shape, flat = (3, 2, 2), (12, 1, 1)
    assert kept(merged(behind_neurons(Identity(in_shape=shape, out_shape=flat), conv(flat, 2, 1)), "always")) == []
    assert kept(merged(behind_neurons(conv(shape, 4, 1), conv((4, 2, 2), 3, 1)), "always")) == []
    assert kept(merged(behind_neurons(conv(shape, 1, 1), conv((1, 2, 2), 3, 1)), "always")) == ["relay0"]


def test_the_smallest_kernels_are_composed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 channels to 6, the mean over 3 x 3 pixels, 6 to 2: from the front 6 x 8 x 9 = 432 weights lie in between, from
    the back 2 x 6 x 9 = 108; either way 2 x 8 x 9 = 144 are left.
    """
    network = behind_neurons(conv((8, 3, 3), 6, 1), depthwise((6, 3, 3), 3), conv((6, 1, 1), 2, 1))
    composed: list[int] = []
    monkeypatch.setattr(compose, "compose", lambda a, b: composed.append(of(a, b).weights) or of(a, b))
    assert kept(merged(network, "always")) == []
    assert [weights for weights in composed if weights > 12] == [108, 144]


def test_parallel_chains_are_each_taken_as_a_whole() -> None:
    """Their relays take turns in the order of execution, as they do behind `from_nir`."""
    rng, nodes, edges = np.random.default_rng(0), {}, []
    nodes["in"] = graphs.entry(2, 6, 6)
    nodes["lif"] = graphs.lif(2, 6, 6, v_threshold=0.3)
    edges.append(("in", "lif"))
    for branch in "ab":
        names = ["lif", *(f"{branch}{i}" for i in range(3)), "out"]
        edges += list(itertools.pairwise(names))
        for name, kernel in zip(names[1:4], (1, 3, 1), strict=True):
            weight, bias = rng.normal(size=(2, 2, kernel, kernel)), rng.normal(size=2)
            nodes[name] = nir.Conv2d((6, 6), weight, 1, kernel // 2, 1, 1, bias)
    nodes["out"] = graphs.result(2, 6, 6)
    network = from_nir(graphs.graph(nodes, edges, T=3))
    result = merge_linear_chains(network, merge=CONVENTION)
    assert [note.split(":")[0] for note in result.notes] == ["a0 -> a1", "b0 -> b1"]
    frames: NDArray[Any] = rng.normal(size=(1, 3, 2, 6, 6))
    np.testing.assert_allclose(run_float(result, frames)["out"], run_float(network, frames)["out"], atol=1e-9)


@pytest.mark.lava
@pytest.mark.parametrize("merge", ["always", "never"])
def test_either_form_on_lava_is_its_integers(exported: Any, merge: Merge) -> None:
    """Kernels merged everywhere, or a relay behind every convolution: every message at every time step."""
    integers = quantize(lower(exported.graph, merge=merge), exported.frames_NTCHW)
    expected = run_integer(integers, exported.frames_NTCHW)
    found = simulate(integers, exported.frames_NTCHW, backend="lava", timeout_s=HANG_S).signals
    assert ("stage1.block0.local.dwconv" in integers.populations) is (merge == "never")
    for name in integers.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("merge", ["always", "never", "cmos45_fp32", "cmos45_lemaire"])
def test_a_whole_svformer_keeps_every_spike(exported: Any, merge: str) -> None:
    network = from_nir(exported.graph)
    result = merge_linear_chains(network, merge=read_merge(merge))
    assert len(result.populations) < len(network.populations) * (1 if merge == "never" else 0.5)
    expected, found = (interpret(exported.graph, exported.frames_NTCHW), run_float(result, exported.frames_NTCHW))
    for name, population in result.populations.items():
        if isinstance(population, Lif):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    np.testing.assert_allclose(found["output"][..., 0, 0], expected["output"], atol=1e-9)
