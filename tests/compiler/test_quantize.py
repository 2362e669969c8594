"""Float -> integers: what is shared, how far a rounding can go, and how few spikes it changes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
import reals
from deploy.ir.contracts import check_integer
from deploy.ir.grid import grid_levels
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import Network, run_float
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.convolution import Convolution, IntConvolution
from deploy.ir.populations.input import Input
from deploy.ir.populations.integrator import Integrator
from deploy.ir.populations.lif import IntLif, Lif
from deploy.ir.populations.relay import IntRelay, Relay
from deploy.ir.rounding import round_bias
from deploy.ir.types import Shape
from deploy.passes.bounds import prove
from deploy.passes.calibrate import INPUT_LEVELS, calibrate
from deploy.passes.from_nir import from_nir
from deploy.passes.merge_linear_chains import merge_linear_chains
from deploy.passes.quantize import quantize_calibrated as quantize
from deploy.passes.scales import streams
from reals import attention, conv, dense, relay, same
from svformer.common.errors import InputError

FRAMES = 8
seeds = st.integers(0, 2**32 - 1)


def lif(shape: Shape, *, tau: Any = 2.0, threshold: Any = 1.0, bias: Any = 0.0) -> Lif:
    """Neurons `v <- v + (x - v) / tau` with a threshold, their gain moved into it."""
    return reals.lif(shape, decay=1 / np.asarray(tau), threshold=np.multiply(threshold, tau), bias=bias)


def network(populations: dict[str, Any], *edges: tuple[str, str, Any]) -> Network:
    return reals.network(populations, *(reals.link(*edge) for edge in edges), frames=FRAMES)


def two_layers(hidden: Convolution, out: Convolution, **neurons: Any) -> Network:
    """Input -> neurons -> relay."""
    populations = {
        "input": Input(shape=hidden.geometry.in_shape),
        "hidden": lif(hidden.geometry.out_shape, **neurons),
        "output": relay(out.geometry.out_shape),
    }
    return network(populations, ("input", "hidden", hidden), ("hidden", "output", out))


def spikes(shape: Shape, *, clips: int = 4, rate: float = 0.4, seed: int = 0) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random((clips, FRAMES, *shape)) < rate).astype(np.float64)


def quantized(float_network: Network, frames: NDArray[Any], **options: Any) -> IntNetwork:
    return quantize(float_network, calibrate(float_network, frames), **options)


def random_network(seed: int, width: int = 12) -> Network:
    """Two layers of neurons with unlike weights, biases and time constants, and a readout."""
    rng = np.random.default_rng(seed)
    shape: Shape = (width, 5, 5)
    first, second = rng.normal(0, 0.5, size=(width, 3, 3, 3)), rng.normal(0, 0.2, size=(width, width, 3, 3))
    populations = {
        "input": Input(shape=(3, 5, 5)),
        "a": lif(shape, tau=rng.uniform(1.2, 4), bias=rng.normal(0, 0.3, size=(width, 1, 1))),
        "b": lif(shape, tau=rng.uniform(1.2, 4), bias=rng.normal(0.3, 0.3, size=shape)),
        "output": relay((4, 1, 1), rng.normal(size=(4, 1, 1))),
    }
    return network(
        populations,
        ("input", "a", conv(first, (3, 5, 5), padding=(1, 1))),
        ("a", "b", conv(second, shape, padding=(1, 1))),
        ("b", "output", conv(rng.normal(size=(4, width, 5, 5)), shape)),
    )


def mismatch(float_network: Network, integers: IntNetwork, frames: NDArray[Any]) -> dict[str, float]:
    """Share of the spikes of every layer that differ."""
    expected, found = run_float(float_network, frames), run_integer(integers, frames)
    layers = [name for name, p in float_network.populations.items() if isinstance(p, Lif)]
    return {name: float((expected[name] != found[name]).mean()) for name in layers}


def shortcut_network() -> Network:
    """A stream of two sums with a branch of neurons at each, as in SVFormer's blocks."""
    rng, shape = np.random.default_rng(0), (4, 1, 1)
    populations = {
        "input": Input(shape=shape),
        "sum0": relay(shape),
        "a": lif(shape),
        "sum1": relay(shape),
        "b": lif(shape),
        "output": relay(shape),
    }
    return network(
        populations,
        ("input", "sum0", dense(rng.normal(size=(4, 4)))),
        ("sum0", "a", same(shape)),
        ("sum0", "sum1", same(shape)),
        ("a", "sum1", dense(rng.normal(size=(4, 4)) * 5)),
        ("sum1", "b", same(shape)),
        ("b", "output", dense(rng.normal(size=(4, 4)))),
    )


def test_what_exchanges_currents_is_one_stream_with_one_scale() -> None:
    net = shortcut_network()
    assert streams(net) == [("sum0", "a", "sum1", "b"), ("output",)]
    integers = quantized(net, spikes((4, 1, 1)))
    check_integer(integers, after="quantize")
    assert len({integers.populations[name].scale for name in ("sum0", "a", "sum1", "b")}) == 1


@given(seed=seeds, bits=st.integers(2, 8), whole=st.booleans())
def test_how_far_rounding_can_go(seed: int, bits: int, whole: bool) -> None:
    require_close_rounding(seed, bits, whole, search=False)


@settings(max_examples=20)
@given(seed=seeds, bits=st.integers(2, 8), whole=st.booleans())
def test_how_far_rounding_can_go_in_the_best_of_several(seed: int, bits: int, whole: bool) -> None:
    require_close_rounding(seed, bits, whole, search=True)


def require_close_rounding(seed: int, bits: int, whole: bool, *, search: bool) -> None:
    """Weights within half a step of their exponent, unless clipped; decays, thresholds and biases, too."""
    net, frames = random_network(seed, width=3), spikes((3, 5, 5), seed=seed)
    integers = quantized(net, frames if whole else frames * 0.7, weight_bits=bits, search=search)
    limit = 2 ** (bits - 1) - 1
    for exact, found in zip(net.connections, integers.connections, strict=True):
        assert isinstance(exact.operation, Convolution)
        assert isinstance(found.operation, IntConvolution)
        source, target = (integers.populations[name] for name in (found.source, found.target))
        factor = target.scale / (1.0 if isinstance(source, IntLif) else source.scale)
        mantissa, step = found.operation.mantissa, 2.0**found.operation.exponent
        assert np.abs(mantissa).max() <= limit
        clipped = (np.abs(mantissa) == limit) & (np.abs(exact.operation.weight * factor) > limit * step)
        assert (clipped | (np.abs(mantissa * step - exact.operation.weight * factor) <= step / 2)).all()
        assert found.operation.exponent >= 0 or not isinstance(source, IntLif)  # Lava's Conv has no right shift
    for name in ("a", "b"):
        exact, found = net.populations[name], integers.populations[name]
        assert isinstance(exact, Lif)
        assert isinstance(found, IntLif)
        assert np.abs(found.decay / 4096 - exact.decay).max() <= 0.5 / 4096
        assert np.abs(found.threshold - exact.threshold * found.scale).max() <= 0.5
    output, exact_output = integers.populations["output"], net.populations["output"]
    assert isinstance(output, IntRelay)
    assert isinstance(exact_output, Relay)
    # The bias takes back what rounded weights add on average, so the mean current of a channel stays what it was.
    into_output, shown = integers.connections[-1], frames if whole else frames * 0.7
    exact_signals = run_float(net, shown)
    arrived = into_output(exact_signals["b"].astype(np.int64)).mean(axis=(0, 1, 3, 4)) + output.bias.ravel()
    wanted = exact_signals["output"].mean(axis=(0, 1, 3, 4)) * output.scale
    assert np.abs(arrived - wanted).max() <= 0.5 + 1e-6


@given(size=st.integers(1, 6), magnitude=st.floats(-3, 20), seed=seeds)
def test_a_bias_keeps_12_bits_and_a_sign(size: int, magnitude: float, seed: int) -> None:
    """In 1/64 of a bit; 1/64 more where the threshold was rounded up and no exponent is needed: ties become spikes."""
    bias = np.random.default_rng(seed).normal(size=(size, 1, 1)) * 2.0**magnitude
    rounded_up = bool(seed % 2)
    mantissa, exponent = round_bias(bias, np.array(9.9 if rounded_up else 10.0))
    assert np.abs(mantissa).max() <= 4095
    more = 1 if exponent == 0 and rounded_up else 0
    assert np.abs((mantissa - more) * 2.0**exponent - bias * 64).max() <= 2.0**exponent / 2
    assert exponent == 0 or np.abs(mantissa).max() >= 2047  # no bit is given away


def test_a_potential_at_the_threshold_fires_as_in_the_model() -> None:
    """The model fires at v >= 1, the chip at v > threshold: v = (0 + 2) / 2 is a tie, and must fire at every step."""
    net = two_layers(dense([[2.0]]), dense([[1.0]]), threshold=np.nextafter(1.0, 0.0))  # as the export writes it
    integers = quantized(net, np.ones((1, FRAMES, 1, 1, 1)))
    hidden = integers.populations["hidden"]
    assert isinstance(hidden, IntLif)
    weight = integers.connections[0].operation
    assert isinstance(weight, IntConvolution)
    assert weight.mantissa.item() << weight.exponent == hidden.threshold.item()
    assert run_integer(integers, np.ones((1, FRAMES, 1, 1, 1)))["hidden"].all()


def test_a_potential_at_a_strict_threshold_does_not_fire() -> None:
    """NIR fires at v > v_threshold: at v = (0 + 2) / 2 = 1 not yet, at v = (1 + 2) / 2 = 1.5 in the step after."""
    net = two_layers(dense([[2.0]]), dense([[1.0]]))
    frames = np.ones((1, FRAMES, 1, 1, 1))
    fired = run_integer(quantized(net, frames), frames)["hidden"].ravel()
    np.testing.assert_array_equal(fired, [0, 1] * (FRAMES // 2))


def test_a_single_layer_by_hand() -> None:
    """Weight 0.6, tau 2, an input at every step: v = 0.3, 0.45, 0.525, .. stays below 0.6; 1.3: 0.65, 0.975, 1.1375.

    The second fires at every third step, also after rounding.
    """
    net = two_layers(dense([[0.6], [1.3]]), dense([[1.0, 1.0]]))
    frames = np.ones((1, FRAMES, 1, 1, 1))
    fired = run_integer(quantized(net, frames), frames)["hidden"]
    assert fired.reshape(FRAMES, 2).T.tolist() == [[0] * FRAMES, [0, 0, 1, 0, 0, 1, 0, 0]]


def test_a_single_layer_of_8_bits_changes_few_spikes() -> None:
    """200 neurons with 20 inputs: fewer than 1 % of the spikes, of which none are missing on the whole."""
    rng = np.random.default_rng(1)
    net = two_layers(dense(rng.normal(0, 0.6, size=(200, 20))), dense(rng.normal(size=(3, 200))))
    frames = spikes((20, 1, 1), clips=20)
    integers = quantized(net, frames)
    assert mismatch(net, integers, frames)["hidden"] < 0.01
    rates = [run(n, frames)["hidden"].mean() for run, n in ((run_float, net), (run_integer, integers))]
    assert rates[0] == pytest.approx(rates[1], abs=0.002)
    assert rates[0] > 0.05


def test_more_bits_change_fewer_spikes() -> None:
    """On average over random networks, and over both layers; 8 bits leave less than an eighth of what 3 bits do."""
    frames = spikes((3, 5, 5), clips=6, rate=0.3, seed=9)
    networks = [random_network(seed) for seed in range(5)]

    def average(bits: int) -> float:
        shares = [mismatch(net, quantized(net, frames, weight_bits=bits), frames) for net in networks]
        return float(np.mean([list(by_layer.values()) for by_layer in shares]))

    by_bits = [average(bits) for bits in (3, 4, 5, 6, 8)]
    assert by_bits == sorted(by_bits, reverse=True)
    assert by_bits[-1] < by_bits[0] / 8


def attention_network(*scales: float) -> Network:
    """Two attentions of their own neurons into one sum, and neurons behind it."""
    shape, out = (3, 2, 2), (1, 2, 2)
    pointwise = conv(np.random.default_rng(0).uniform(0.5, 3, size=(3, 3, 1, 1)), shape)
    names = [f"qkv{i}" for i in range(len(scales))]
    return network(
        {"input": Input(shape=shape), **{n: lif(shape) for n in names}, "proj": lif(out), "output": relay(out)},
        *(("input", name, pointwise) for name in names),
        *((name, "proj", attention(shape, scale)) for name, scale in zip(names, scales, strict=True)),
        ("proj", "output", conv(np.ones((1, 1, 1, 1)), out)),
    )


@pytest.mark.parametrize("scale", [0.125, 16**-0.5, 48**-0.5, 0.3])
def test_the_factor_of_attention_is_exact_where_the_scale_is_free(scale: float) -> None:
    """`proj` has no other input: its scale makes the factor a power of two."""
    integers = quantized(attention_network(scale), spikes((3, 2, 2)))
    operation = next(c.operation for c in integers.connections if c.target == "proj")
    assert isinstance(operation, IntAttention)
    assert operation.multiplier == 1
    assert 2.0**operation.exponent == pytest.approx(scale * integers.populations["proj"].scale, rel=1e-12)


def test_a_second_factor_is_within_one_part_in_128() -> None:
    integers = quantized(attention_network(0.25, 0.3), spikes((3, 2, 2)))
    first, second = (c.operation for c in integers.connections if c.target == "proj")
    assert isinstance(first, IntAttention)
    assert isinstance(second, IntAttention)
    assert first.multiplier == 1
    assert second.multiplier < 128
    ratio = (second.multiplier * 2.0**second.exponent) / 2.0**first.exponent
    assert ratio == pytest.approx(0.3 / 0.25, rel=1 / 128)


@pytest.mark.parametrize("silent", ["input -> hidden", "hidden -> output", "both"])
def test_layers_of_zeros_stay_layers_of_zeros(silent: str) -> None:
    weights = {"input -> hidden": np.ones((2, 2)), "hidden -> output": np.ones((2, 2))}
    for name in weights if silent == "both" else [silent]:
        weights[name] = np.zeros((2, 2))
    net = two_layers(dense(weights["input -> hidden"]), dense(weights["hidden -> output"]))
    frames = spikes((2, 1, 1))
    integers = quantized(net, frames)
    assert not run_integer(integers, frames)["output"].any()


def test_a_relay_that_sends_zeros_and_others() -> None:
    shape = (2, 1, 1)
    net = network(
        {"input": Input(shape=shape), "sum": relay(shape), "a": lif(shape), "b": lif(shape), "output": relay(shape)},
        ("input", "sum", dense(np.eye(2))),
        ("sum", "a", dense(np.zeros((2, 2)))),
        ("sum", "b", dense(np.eye(2) * 3)),
        ("a", "output", dense(np.eye(2))),
        ("b", "output", dense(np.eye(2))),
    )
    found = run_integer(quantized(net, spikes(shape)), np.ones((1, FRAMES, *shape)))
    assert not found["a"].any()
    assert found["b"].all()


def test_a_large_threshold_limits_the_scale() -> None:
    """An IF neuron of a NIR file with r = 1 and dt = 1 ms: threshold 1000, inputs of 30; 17 bits hold 131071."""
    net = two_layers(dense([[30.0]]), dense([[1.0]]), threshold=1000.0, tau=1.0)
    integers = quantized(net, np.ones((1, FRAMES, 1, 1, 1)))
    hidden = integers.populations["hidden"]
    assert isinstance(hidden, IntLif)
    assert 2**15 <= hidden.threshold.item() < 2**17  # scales of the octave below the largest are tried


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 16])
def test_other_widths_of_weights_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=rf"weight_bits={bits}; allowed: 2 to 8"):
        quantized(random_network(0), spikes((3, 5, 5)), weight_bits=bits)


def test_calibration_says_what_the_clips_show() -> None:
    """Channel 0 fires 1 of 4 values, channel 1 sends 2.0 always: mean squares 0.25 and 4."""
    net = two_layers(dense([[1.0, 0.0]]), dense([[1.0]]))
    frames = np.array([[1.0, 2.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]).reshape(1, 4, 2, 1, 1)
    found = calibrate(net, frames)
    assert found.mean_square["input"].tolist() == [0.25, 4]
    assert found.input_range == (0, 2)
    assert calibrate(net, frames, input_range=(-1, 3)).input_range == (-1, 3)
    assert quantize(net, found).populations["input"] == ints.entry((2, 1, 1), high=2)
    entry = quantize(net, calibrate(net, frames / 4)).populations["input"]
    assert entry == ints.entry((2, 1, 1), high=2, scale=4.0)


def test_an_input_on_a_grid_keeps_it() -> None:
    """Pixels (p / 255 - 0.45) / 0.225 are (4 p - 459) / 229.5; counts have steps of 1; measurements no grid."""
    pixels = (np.arange(256, dtype=np.float32) / 255 - np.float32(0.45)) / np.float32(0.225)
    assert grid_levels(pixels, INPUT_LEVELS) == pytest.approx(229.5, rel=1e-5)
    assert grid_levels(np.array([0.0, 3.0, 7.0]), INPUT_LEVELS) == 1.0
    assert grid_levels(np.random.default_rng(0).normal(size=1000), INPUT_LEVELS) is None


@pytest.mark.parametrize("unit", [1e-5, 0.3, 2.0, 1e5])
def test_a_grid_has_no_unit(unit: float) -> None:
    """0, 2 and 5 are 5 levels to the largest, whatever a level is; 3 levels do not hold them, and of zeros is none."""
    values = np.array([0, -2, 5], dtype=np.float32) * np.float32(unit)
    assert grid_levels(values, 5) == pytest.approx(1 / unit, rel=1e-6)
    assert grid_levels(values, 4) is None
    assert grid_levels(values * 0, 5) is None


def test_a_few_pixels_tell_nothing_of_the_others() -> None:
    """A black clip of a video whose white is known: the levels of all pixels, not the one of black."""
    black = np.full((1, FRAMES, 3, 5, 5), -2.0)
    assert calibrate(random_network(0), black).input_levels == 0.5
    assert calibrate(random_network(0), black, input_range=(-2.0, 2.5)).input_levels is None


@pytest.mark.parametrize("largest", [2**15, 2**20, 2**30])
def test_whole_numbers_of_any_size_can_enter(largest: int) -> None:
    """64 inputs of 16 bits times mantissas of 127 would overflow 24 bits; they enter with as many levels as fit."""
    rng = np.random.default_rng(0)
    net = two_layers(dense(rng.normal(size=(5, 64)) / largest), dense(np.ones((1, 5))))
    frames = rng.integers(-largest, largest, (2, FRAMES, 64, 1, 1)).astype(np.float64)
    integers = quantized(net, frames)
    assert integers.input.scale < 1
    assert integers.input.clipped(frames) == 0
    assert max(headroom.share for headroom in prove(integers)) <= 1
    exact, found = run_float(net, frames)["hidden"], run_integer(integers, frames)["hidden"]
    assert exact.sum() > 20
    assert (exact != found).mean() < 0.04


def test_clips_of_zeros_calibrate_what_biases_drive() -> None:
    """Tau 2, bias 1.5: v is 0.75, then 1.125 and a spike, so every second step; a bias of 0.9 never gets to 1."""
    bias = np.reshape([1.5, 0.9], (2, 1, 1))
    net = two_layers(dense(np.ones((2, 2))), dense([[1.0, 1.0]]), bias=bias)
    zeros = np.zeros((1, FRAMES, 2, 1, 1))
    fired = run_integer(quantized(net, zeros), zeros)["hidden"].reshape(FRAMES, 2)
    assert fired.T.tolist() == [[0, 1] * (FRAMES // 2), [0] * FRAMES]


def test_clips_of_zeros_calibrate_what_nothing_drives() -> None:
    net = two_layers(dense(np.ones((2, 2))), dense([[1.0, 1.0]]))
    zeros = np.zeros((1, FRAMES, 2, 1, 1))
    assert not run_integer(quantized(net, zeros), zeros)["output"].any()


def test_calibration_needs_a_clip() -> None:
    with pytest.raises(InputError, match="calibration needs at least one clip, found none"):
        calibrate(random_network(0), np.zeros((0, 4, 3, 5, 5)))


def adding(weight_OI: Any, frames: int) -> Network:
    """Integrators that keep everything."""
    dense_layer = dense(weight_OI)
    shape = dense_layer.geometry.out_shape
    integrators = Integrator(shape=shape, bias=np.zeros((1, 1, 1)), decay=np.zeros((1, 1, 1)))
    return reals.network(
        {"input": Input(shape=dense_layer.geometry.in_shape), "output": integrators},
        reals.link("input", "output", dense_layer),
        frames=frames,
    )


@pytest.mark.parametrize("rate", [1.0, 0.05])
def test_what_right_shifts_cut_off_does_not_add_up(rate: float) -> None:
    """A right shift takes half a unit of a sum in every step, so 1000 of 2000 steps, and nothing of a sum of 0.

    Rounded to the nearest, a sum is off by 0.29 units (root mean square), 2000 by 0.29 * sqrt(2000) = 13; the bias is
    off by 1 / 128 at most, which makes 16. Three times the one and the other are 55 units.
    """
    steps, rng = 2000, np.random.default_rng(0)
    net = adding(rng.normal(size=(6, 4)), steps)
    frames = rng.normal(size=(1, steps, 4, 1, 1)) * (rng.random((1, steps, 1, 1, 1)) < rate)
    integers = quantized(net, frames)
    (connection,) = integers.connections
    assert connection.operation.exponent < 0
    exact, found = run_float(net, frames)["output"], run_integer(integers, frames)["output"]
    off = found[0, -1].ravel() - exact[0, -1].ravel() * integers.populations["output"].scale
    assert np.abs(off).max() < 55
    assert abs(off.mean()) < 25


def test_a_whole_svformer(exported: Any) -> None:
    """Every register is proven. In an untrained network differences grow from layer to layer, from under 1 %."""
    net = merge_linear_chains(from_nir(exported.graph), merge="always")
    integers = quantized(net, exported.frames_NTCHW)
    check_integer(integers, after="quantize")
    assert max(headroom.share for headroom in prove(integers)) <= 1
    shares = mismatch(net, integers, exported.frames_NTCHW)
    assert max(share for name, share in shares.items() if name.startswith("stage1")) < 0.01, shares
    assert np.mean(list(shares.values())) < 0.15, shares


def test_spikes_that_enter_neurons_directly() -> None:
    """Spikes of 1 into neurons with threshold 0.9 at tau 1: each goes through."""
    shape = (2, 1, 1)
    net = network(
        {
            "input": Input(shape=shape),
            "a": lif(shape, threshold=0.9),
            "b": lif(shape, tau=1.0, threshold=0.9),
            "output": relay(shape),
        },
        ("input", "a", dense(np.eye(2) * 2)),
        ("a", "b", same(shape)),
        ("b", "output", same(shape)),
    )
    frames = spikes(shape)
    integers = quantized(net, frames)
    check_integer(integers, after="quantize")
    assert mismatch(net, integers, frames) == {"a": 0, "b": 0}
    np.testing.assert_allclose(integers.logits(run_integer(integers, frames)), frames[:, -1, :, 0, 0])


def test_spikes_that_leave_as_a_flat_vector() -> None:
    """The usual end of a NIR file of others: neurons, Flatten, Output. The result is the spikes of the last step."""
    shape, flat = (2, 2, 2), (8, 1, 1)
    net = network(
        {"input": Input(shape=shape), "a": lif(shape), "output": relay(flat)},
        ("input", "a", conv(np.eye(2)[:, :, None, None] * 3, shape)),
        ("a", "output", same(shape, flat)),
    )
    frames = spikes(shape)
    integers = quantized(net, frames)
    check_integer(integers, after="quantize")
    np.testing.assert_array_equal(integers.logits(run_integer(integers, frames)), frames[:, -1].reshape(-1, 8))


def test_an_input_that_enters_neurons_directly() -> None:
    shape = (2, 1, 1)
    net = network(
        {"input": Input(shape=shape), "a": lif(shape, tau=1.0), "output": relay(shape)},
        ("input", "a", same(shape)),
        ("a", "output", dense(np.eye(2))),
    )
    frames = np.random.default_rng(0).normal(size=(2, FRAMES, *shape)) * 2
    integers = quantized(net, frames)
    check_integer(integers, after="quantize")
    assert mismatch(net, integers, frames)["a"] < 0.01


def test_many_weights_that_all_round_up() -> None:
    """576 inputs: one weight of 45, the others 0.6 of a step of 45 / 127, which all become a whole one."""
    weight = np.full((1, 576), 0.6 * 45 / 127)
    weight[0, 0] = 45.0
    quantized(two_layers(dense(weight), dense([[1.0]])), spikes((576, 1, 1)))


def test_a_wide_layer_of_real_inputs() -> None:
    """32 x 32 RGB pixels, flattened."""
    rng = np.random.default_rng(0)
    net = two_layers(dense(rng.uniform(-0.1, 0.1, size=(10, 3072))), dense(rng.normal(size=(3, 10))))
    frames = rng.random((1, FRAMES, 3072, 1, 1))
    quantized(net, frames)
