"""The chip form: other populations, the same messages of every layer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import ints
import random_networks
from deploy.costs.counting import count_operations
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.operations.product import IntProduct
from deploy.ir.operations.segment import IntSegment
from deploy.ir.populations.constant import IntConstant
from deploy.ir.populations.gate import IntGate
from deploy.passes.chip_form import chip_form
from deploy.passes.chip_form.wiring import as_weight, digits
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from hardware import ProductGeometry
from svformer.common.errors import InputError

FRAMES = 3


def attention_network(*, heads: int, head_dim: int, height: int, width: int, exponent: int = 2) -> IntNetwork:
    """Spikes of q, k and v enter as they are; their attention goes to a relay with a bias."""
    channels = heads * head_dim
    qkv, out = (3 * channels, height, width), (channels, height, width)
    return ints.network(
        {
            "input": ints.entry(qkv),
            "spikes": ints.lif(qkv, threshold=0),
            "block.out": ints.relay(out, [300] * channels),
        },
        ints.link("input", "spikes", ints.same(qkv)),
        ints.link("spikes", "block.out", ints.attention(qkv, heads=heads, multiplier=3, exponent=exponent)),
        frames=FRAMES,
    )


def require_same(network: IntNetwork, form: IntNetwork, frames: np.ndarray) -> dict[str, np.ndarray]:
    expected, found = run_integer(network, frames), run_integer(form, frames)
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    return found


@settings(max_examples=30, deadline=None)
@given(
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 5),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    exponent=st.integers(-3, 9),
    seed=st.integers(0, 99),
)
def test_attention_of_any_size_is_the_same(**case: int) -> None:
    """Both orders of the products, factors that a synapse holds and that it does not, shifts to the right."""
    seed = case.pop("seed")
    network = attention_network(**case)
    form = chip_form(network).network
    frames = np.random.default_rng(seed).integers(0, 2, (2, FRAMES, *network.input.shape))
    require_same(network, form, frames)
    assert not obstacles(mapping(form, schedule(form)))


def test_the_product_that_takes_fewer_neurons_comes_first() -> None:
    """2 x 2 tokens and 16 channels a head: 2 N C d + C d + N C = 2368 neurons by k^T v, by q^T k
    2 N^2 C + h N^2 + 5 N C = 848; 4 x 4 tokens and 2 channels: 152 by k^T v, 1328 by q^T k.
    """
    few_tokens = chip_form(attention_network(heads=1, head_dim=16, height=2, width=2)).network
    assert few_tokens.populations["block.keys"].shape == (64, 1, 1)
    assert sum(few_tokens.size(n) for n in few_tokens.added if n.startswith("block.")) == 848
    many_tokens = chip_form(attention_network(heads=1, head_dim=2, height=4, width=4)).network
    assert "block.keys" not in many_tokens.populations
    assert many_tokens.populations["block.counts"].shape == (4, 1, 1)


def test_a_gate_by_hand() -> None:
    """Two tokens, one channel. k = 1 1, v = 1 1, so the count is 2 and A is 4; q = 1 0: sums 2 + 4 and 2, of which
    6 is above 3. What is left behind is 6 - 4 = 2 for the first token, 0 for the second; times 3 x 2^2, and 300 more.
    """
    network = attention_network(heads=1, head_dim=1, height=1, width=2)
    form = chip_form(network).network
    clip = np.zeros((1, FRAMES, 3, 1, 2), dtype=int)
    clip[0, 1] = [[[1, 0]], [[1, 1]], [[1, 1]]]
    found = require_same(network, form, clip)
    assert isinstance(form.populations["block.gates"], IntGate)
    assert form.populations["block.gates"].threshold == 3
    assert found["block.counts"][0, 1].ravel().tolist() == [2]
    assert found["block.gates"][0, 1].ravel().tolist() == [6, 0]
    assert found["block.out"][0, 1].ravel().tolist() == [2 * 3 * 4 + 300, 300]


def test_a_spike_reaches_only_the_pairs_that_it_is_part_of() -> None:
    """The clip above: 2 k and 2 v spikes reach one coincidence each, those 2 the count; q is held and reaches its gate.

    Zeros of the kernels are no synapses.
    """
    network = attention_network(heads=1, head_dim=1, height=1, width=2)
    form = chip_form(network).network
    clip = np.zeros((1, FRAMES, 3, 1, 2), dtype=int)
    clip[0, 1] = [[[1, 0]], [[1, 1]], [[1, 1]]]
    counts = count_operations(form, schedule(form), run_integer(form, clip))
    assert counts["block.coincidences"].synaptic_ops == 4
    assert counts["block.counts"].synaptic_ops == 2
    assert counts["block.queries"].synaptic_ops == 1
    assert (counts["block.gates"].macs, counts["block.gates"].synaptic_ops) == (1 * 2 + 1, 0)


@pytest.mark.parametrize("bias", [1, -64, 127, -8192, 16_000, 700_000, -7_000_000])
def test_a_bias_of_any_size_comes_from_the_neuron_that_always_fires(bias: int) -> None:
    shape = (2, 2, 3)
    values = np.array([bias, 0]).reshape(2, 1, 1) + np.zeros(shape, dtype=np.int64)
    network = ints.network(
        {"input": ints.entry(shape), "sum": replace(ints.relay(shape), bias=values)},
        ints.link("input", "sum", ints.same(shape)),
        frames=FRAMES,
    )
    form = chip_form(network).network
    assert isinstance(form.populations["always"], IntConstant)
    assert not np.any(form.receivers["sum"].stored_bias)
    found = require_same(network, form, np.ones((1, FRAMES, *shape), dtype=int))
    assert set(found["sum"][0, :, 0].ravel()) == {bias + 1}
    assert all(-7 <= c.operation.exponent <= 7 for c in form.connections)


@given(values=st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=4))
def test_digits_add_up(values: list[int]) -> None:
    found = list(digits(np.array(values)))
    assert sum((digit * 128**power for digit, power in found), np.zeros(len(values))).tolist() == values
    assert all(np.abs(digit).max() <= 64 for digit, _ in found)


def test_what_a_synapse_holds() -> None:
    assert as_weight(96) == (3, 5)
    assert as_weight(-127 * 2**7) == (-127, 7)
    assert as_weight(2**13) == (64, 7)
    assert as_weight(2**14) is None
    assert as_weight(129) is None


def product_network(seed: int, *, binary: bool, multiplier: int, exponent: int) -> IntNetwork:
    """Values, of relays or neurons, and spikes in a vector; axes of both, of one, kept and summed."""
    rng = np.random.default_rng(seed)
    sizes = tuple(rng.integers(1, 4, size=4).tolist())
    left = tuple(np.flatnonzero(rng.random(4) < 0.6).tolist())
    right = tuple(sorted({*np.flatnonzero(rng.random(4) < 0.6).tolist(), *(set(range(4)) - set(left))}))
    output = tuple(rng.permutation(4)[: rng.integers(1, 4)].tolist())
    out_shape = (1, int(np.prod([sizes[axis] for axis in output])), 1)
    g = ProductGeometry(sizes=sizes, left=left, right=right, output=output, out_shape=out_shape)
    values, spikes = (g.values, 1, 1), (g.inputs - g.values, 1, 1)
    vector, unit = (g.inputs, 1, 1), 1 if binary else int(rng.integers(1, 100))
    return ints.network(
        {
            "input": ints.entry(vector, low=-9, high=9),
            "values": ints.lif(values, threshold=0) if binary else ints.relay(values),
            "spikes": ints.lif(spikes, threshold=0),
            "block.vector": ints.lif(vector, threshold=0) if binary else ints.relay(vector),
            "block.out": ints.relay(out_shape, [7]),
        },
        ints.link("input", "values", ints.dense(rng.integers(-60, 60, size=(g.values, g.inputs)))),
        ints.link("input", "spikes", ints.dense(rng.integers(-60, 60, size=(spikes[0], g.inputs)))),
        ints.link("values", "block.vector", IntSegment(in_shape=values, out_shape=vector, first=0)),
        ints.link(
            "spikes",
            "block.vector",
            IntSegment(in_shape=spikes, out_shape=vector, first=g.values, multiplier=unit),
        ),
        ints.link("block.vector", "block.out", IntProduct(geometry=g, multiplier=multiplier, exponent=exponent)),
        frames=FRAMES,
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    binary=st.booleans(),
    multiplier=st.sampled_from([1, 3, -5, 127]),
    exponent=st.integers(-3, 8),
)
def test_products_of_signals_are_the_same(seed: int, **case: Any) -> None:
    """Coincidences of spikes, gates of values of both signs, factors of both signs, shifts to the right."""
    network = product_network(seed, **case)
    try:
        form = chip_form(network).network
    except InputError:  # sums on the way to some factors leave 24 bits
        reject()
    frames = np.random.default_rng(seed).integers(-9, 10, size=(2, FRAMES, *network.input.shape))
    found = require_same(network, form, frames)
    assert ("block.coincidences" in found) == case["binary"]
    assert ("block.gates" in found) != case["binary"]


@settings(max_examples=40, deadline=None)
@given(pool=random_networks.max_pools(), low=st.sampled_from([0, -3, -700]), seed=st.integers(0, 99))
def test_max_pools_are_the_same(pool: IntMaxPool, low: int, seed: int) -> None:
    """Windows of any size, over the border, of values of both signs; times factors, and shifted to the right."""
    network = ints.network(
        {
            "input": ints.entry(pool.in_shape, low=low, high=500),
            "current": ints.relay(pool.in_shape, [-9]),
            "block.out": ints.relay(pool.out_shape),
        },
        ints.link("input", "current", ints.same(pool.in_shape)),
        ints.link("current", "block.out", pool),
        frames=FRAMES,
    )
    form = chip_form(network).network
    frames = np.random.default_rng(seed).integers(low, 501, size=(2, FRAMES, *network.input.shape))
    require_same(network, form, frames)


def test_a_max_pool_by_hand() -> None:
    """-3 and 5 of values from -8 to 8 are 5 and 13 lifted by 8; the step is 32, the difference 8 + 32 passes, and 32
    goes off again.
    """
    pool = ints.max_pool((1, 1, 2), (1, 2), multiplier=3)
    network = ints.network(
        {"in": ints.entry((1, 1, 2), low=-8, high=8), "out": ints.relay()}, ints.link("in", "out", pool), frames=1
    )
    form = chip_form(network).network
    found = require_same(network, form, np.array([-3, 5]).reshape(1, 1, 1, 1, 2))
    names = ("place", "place2", "above", "opened", "larger", "largest")
    assert [int(found[f"out.{name}"].item()) for name in names] == [5, 13, 8 + 32, 32, 13, 5]
    assert found["out"].item() == 15


def test_a_product_of_large_values_takes_the_step_off_before_it_adds() -> None:
    """Eight values up to 2^19 and a step of 2^21: 24 bits hold the sum of the values, not that of what gates send."""
    g = ProductGeometry(sizes=(8,), left=(0,), right=(0,), output=(), out_shape=(1, 1, 1))
    network = ints.network(
        {"in": ints.entry((16, 1, 1), low=0, high=2**19), "vector": ints.relay((16, 1, 1)), "out": ints.relay()},
        ints.link("in", "vector", ints.dense(np.diag([1] * 8 + [0] * 8))),
        ints.link("in", "vector", ints.dense(np.diag([0] * 8 + [1] * 8), exponent=-4)),
        ints.link("vector", "out", IntProduct(geometry=g, multiplier=1, exponent=0)),
        frames=1,
    )
    form = chip_form(network).network
    assert "out.chosen" in form.populations
    sent = np.random.default_rng(0).integers(0, 2**19, size=(3, 1, 16, 1, 1)) * (np.arange(16) % 3 > 0)[:, None, None]
    found = require_same(network, form, sent)
    assert found["out.chosen"].max() < 2**19


def test_a_product_by_gates_by_hand() -> None:
    """Values -40 and 9 of at most 540, a spike for the first: A is 2048, -40 + 2048 passes, 9 does not."""
    g = ProductGeometry(sizes=(2,), left=(0,), right=(0,), output=(0,), out_shape=(2, 1, 1))
    network = ints.network(
        {
            "in": ints.entry((4, 1, 1), low=-540, high=540),
            "vector": ints.relay((4, 1, 1)),
            "out": ints.relay((2, 1, 1)),
        },
        ints.link("in", "vector", ints.dense(np.eye(4, dtype=int))),
        ints.link("vector", "out", IntProduct(geometry=g, multiplier=3, exponent=0)),
        frames=1,
    )
    with pytest.raises(InputError, match="vector -> out \\(product of two signals\\)"):
        chip_form(network)  # what stands for spikes may be negative here
    entry = ints.entry((4, 1, 1), low=0, high=540)
    weights = np.array([[-1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    network = replace(
        network,
        populations={**network.populations, "in": entry},
        connections=(ints.link("in", "vector", ints.dense(weights)), network.connections[1]),
    )
    form = chip_form(network).network
    found = require_same(network, form, np.array([49, 9, 1, 0]).reshape(1, 1, 4, 1, 1))
    assert form.populations["out.gates"].threshold == 540
    assert found["out.opened"].ravel().tolist() == [2048, 0]
    assert found["out.gates"].ravel().tolist() == [2008, 0]
    assert found["out"].ravel().tolist() == [-120, 0]


@settings(max_examples=40, deadline=None)
@given(case=random_networks.int_networks())
def test_random_networks_are_the_same(case: tuple[IntNetwork, np.ndarray]) -> None:
    network, frames = case
    try:
        form = chip_form(network).network
    except InputError:
        reject()
    assume(form.added)
    require_same(network, form, frames)
    assert form.neuron_layers == network.neuron_layers


def test_every_reason_is_named() -> None:
    """A bias of every time step at the relay, and a start other than rest at the neurons."""
    network = attention_network(heads=1, head_dim=2, height=2, width=2)
    by_step = replace(ints.relay((2, 2, 2)), bias=np.arange(FRAMES).reshape(FRAMES, 1, 1, 1))
    neurons = replace(network.populations["spikes"], start=ints.values(1))
    changed = replace(network, populations={**network.populations, "spikes": neurons, "block.out": by_step})
    with pytest.raises(InputError) as caught:
        chip_form(changed)
    assert "block.out (graded relay): a bias of every time step" in str(caught.value)
    assert "spikes (LIF neurons): a start other than rest after every clip" in str(caught.value)
    assert str(caught.value).endswith("use --form fused")


def test_sums_on_the_way_that_leave_24_bits_are_summed_before_they_are_scaled() -> None:
    """A times the factor, 8 x 3 x 2^11 = 384 x 2^7, is more than the 127 x 2^7 of a synapse: relays sum first."""
    form = chip_form(attention_network(heads=1, head_dim=2, height=2, width=2, exponent=11)).network
    assert "block.sums" in form.populations
    assert "block.sums" not in chip_form(attention_network(heads=1, head_dim=2, height=2, width=2)).network.populations
