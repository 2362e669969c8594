"""Integer arithmetic: neurons against an independent reference of Lava's fixed-point LIF, the rest by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
from deploy.errors import GateError
from deploy.ir.contracts import check_integer
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import delayed
from deploy.ir.operations.base import shifted
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif, fire
from hardware import ConvGeometry

Ints = NDArray[np.int64]


def lif_reference(a: Ints, du: int, dv: Ints, bias_mant: Ints, bias_exp: int, vth: Ints) -> NDArray[np.bool_]:
    """PyLifModelBitAcc of lava-nc 0.10, written from measurements of it (200 steps, bit-exact), [T, neurons].

    `a` is what a synapse gives, in units of a weight; u and v count in 1/64 of it. The current u wraps once, the
    potential v saturates.
    """
    u = np.zeros(a.shape[1], dtype=np.int64)
    v, spikes = u.copy(), []
    bias = np.where(bias_exp >= 0, bias_mant << max(bias_exp, 0), bias_mant >> max(-bias_exp, 0))
    for t in range(len(a)):
        u = np.sign(u) * ((np.abs(u) * (4096 - du - 1)) >> 12)
        u = (u.astype(np.int32) + (a[t].astype(np.int32) << 6)).astype(np.int64)
        u = np.where(u > 2**23, u - 2**24, u)
        u = np.where(u <= -(2**23), u + 2**24, u)
        v = np.sign(v) * ((np.abs(v) * (4096 - dv)) >> 12) + u + bias
        v = np.clip(v, -(2**23) + 1, 2**23 - 1)
        fired = v > (vth << 6)
        v = np.where(fired, 0, v)
        spikes.append(fired)
    return np.array(spikes)


def neurons(count: int, **fields: Any) -> IntLif:
    return ints.lif((count, 1, 1), **{"decay": 0, "threshold": 10, **fields})


def spikes_of(lif: IntLif, currents_TC: Ints) -> NDArray[np.uint8]:
    return fire(lif, currents_TC[np.newaxis, :, :, np.newaxis, np.newaxis])[0, :, :, 0, 0]


@given(
    seed=st.integers(0, 2**32 - 1),
    largest=st.sampled_from([3, 500, 2**17 - 1, 2**17, 2**17 + 3, 2**20]),
    threshold=st.sampled_from([0, 5, 2**10, 2**17 - 2, 2**17 - 1, 2**17]),
    bias_exponent=st.integers(0, 12),
)
def test_neurons_are_lavas_lif_bit_for_bit(seed: int, largest: int, threshold: int, bias_exponent: int) -> None:
    """Also where the current wraps (from 2^17 on) and where the potential saturates (2^23)."""
    rng = np.random.default_rng(seed)
    currents = rng.integers(-largest, largest + 1, size=(40, 30))
    currents[:, :10] = largest  # drives v into saturation, or u over its edge, at every step
    currents[:, 10:20] = -largest
    decay, bias = rng.choice([0, 1, 5, 2048, 4095, 4096], 30), rng.integers(-4095, 4096, size=30)
    vth = np.full(30, threshold)
    lif = neurons(30, decay=decay, bias_mantissa=bias, bias_exponent=bias_exponent, threshold=vth)
    expected = lif_reference(currents, 4095, decay, bias, bias_exponent, vth)
    np.testing.assert_array_equal(spikes_of(lif, currents), expected)


@given(seed=st.integers(0, 2**32 - 1), largest=st.sampled_from([3, 500, 2**11]))
def test_neurons_with_a_current_that_decays_are_lavas_too(seed: int, largest: int) -> None:
    """Du = current_decay - 1: Lava takes du + 1 of 4096 from the current in every step."""
    rng = np.random.default_rng(seed)
    currents, decay = rng.integers(-largest, largest + 1, size=(40, 8)), rng.integers(0, 4097, size=8)
    current_decay, bias = int(rng.integers(1, 4097)), rng.integers(-4095, 4096, size=8)
    lif = neurons(8, decay=decay, bias_mantissa=bias, threshold=largest, current_decay=current_decay)
    expected = lif_reference(currents, current_decay - 1, decay, bias, 0, np.full(8, largest))
    np.testing.assert_array_equal(spikes_of(lif, currents), expected)


def test_a_clip_begins_with_the_states_that_it_is_given() -> None:
    """Without input, in 1/64: u = 128, 64, 32, ..; v = 320 + 128 / 2 = 384 > 5 * 64 at once; from rest it never fires.

    u keeps half of 256 in the first step: 128; v keeps all of 320: 448. Then 64, 32, .. from 0.
    """
    begun = neurons(1, current_decay=2048, start=320, start_current=256, threshold=5)
    assert spikes_of(begun, np.zeros((4, 1), dtype=np.int64)).ravel().tolist() == [1, 0, 0, 0]
    assert not spikes_of(neurons(1, current_decay=2048, threshold=5), np.zeros((4, 1), dtype=np.int64)).any()


def test_an_integrator_sends_its_potential_rounded() -> None:
    """Decay 1/2, inputs of 3, in 1/64: 192, 288, 336, 360, which are 3, 4.5 (halves go up), 5.25, 5.6; -96 is -1.5."""
    shape = (2, 1, 1)
    integrator = ints.integrator(shape, bias_mantissa=[0, -96], decay=[2048, 4096])
    network = ints.chain(4, **{"in": ints.entry(shape, high=9), "out": integrator})
    sent = run_integer(network, np.tile([3.0, 0.0], 4).reshape(1, 4, *shape))["out"]
    assert sent.reshape(4, 2).T.tolist() == [[3, 5, 5, 6], [-1, -1, -1, -1]]
    assert sent.dtype == np.int32


def test_a_loop_by_hand() -> None:
    """Input 2, 0, 0, .. into a neuron with threshold 1 and no memory that sends itself 2, and -1 two steps later.

    It fires at step 0, receives 2 at step 1 (fires), 2 - 1 at step 2 (does not), 0 - 1 at step 3, nothing at step 4.
    """
    network = ints.network(
        {"in": ints.entry(high=2), "a": ints.lif(threshold=1)},
        ints.link("in", "a", ints.same()),
        ints.link("a", "a", ints.dense([[2]]), delay=1),
        ints.link("a", "a", ints.dense([[-1]]), delay=2),
        frames=5,
    )
    check_integer(network, after="test")
    frames = np.array([2.0, 0, 0, 0, 0]).reshape(1, 5, 1, 1, 1)
    assert run_integer(network, frames)["a"].ravel().tolist() == [1, 1, 0, 0, 0]


def test_a_current_of_two_to_the_17_is_the_last_that_does_not_wrap() -> None:
    """131072 * 64 = 2^23 still is above the threshold; one more is -2^23 + 64."""
    fired = spikes_of(neurons(3, threshold=100), np.array([[131071, 131072, 131073]]))
    assert fired.tolist() == [[1, 1, 0]]


def test_a_saturated_potential_cannot_pass_the_largest_threshold() -> None:
    """The potential ends at 2^23 - 1 = 131072 * 64 - 1: above 131071 * 64, not above 131072 * 64."""
    fired = spikes_of(neurons(2, threshold=[131071, 131072]), np.full((5, 2), 100_000))
    assert fired.T.tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]


def test_a_potential_ends_one_above_the_lowest_24_bit_number() -> None:
    """Two currents of -131071 end at 1 - 2^23; 131072 (2^23 in 1/64) more is 1 > 0. From -2^23 it were 0."""
    assert spikes_of(neurons(1, threshold=0), np.array([[-131071], [-131071], [131072]])).ravel().tolist() == [0, 0, 1]


def test_decay_rounds_towards_zero_below_zero_too() -> None:
    """Decay 1/2, bias 1/64, a current of -1 at the first step. In units of 1/64:

    -64 + 1 = -63, then -31 + 1 = -30, -15 + 1 = -14, -7 + 1 = -6, -3 + 1 = -2, -1 + 1 = 0, 0 + 1 = 1 > 0: a spike at
    step 7, and from rest at once again. Rounded down, -63 / 2 were -32, and the first spike came a step later.
    """
    currents = np.array([-1, 0, 0, 0, 0, 0, 0, 0])[:, np.newaxis]
    lif = neurons(1, decay=2048, bias_mantissa=1, threshold=0)
    assert spikes_of(lif, currents).ravel().tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("total", "exponent", "expected"), [(5, 2, 20), (-5, 2, -20), (5, -1, 2), (-5, -1, -3)])
def test_right_shifts_round_down(total: int, exponent: int, expected: int) -> None:
    assert shifted(np.array([total]), exponent).item() == expected


def test_the_shift_comes_after_the_sum() -> None:
    """Weights 3 and 3, exponent -2: (3 + 3) >> 2 = 1; each alone would give 0."""
    operation = ints.dense([[3, 3]], exponent=-2)
    assert operation(np.ones((1, 2, 1, 1), dtype=np.int64)).item() == 1


def test_attention_in_integers_by_hand() -> None:
    """Two tokens, one head of one channel: q = 1 1, k = 1 1, v = 1 0: k^T v = 1, so 1 for each token; * 6 >> 1 = 3."""
    operation = ints.attention((3, 1, 2), multiplier=6, exponent=-1)
    qkv = np.array([[1, 1], [1, 1], [1, 0]]).reshape(1, 3, 1, 2)
    assert operation(qkv).ravel().tolist() == [3, 3]


def test_an_input_is_rounded_and_clipped() -> None:
    entry = ints.entry((5, 1, 1), scale=10.0, low=-12, high=20)
    assert entry.quantize(np.array([-9.0, -0.26, 0.24, 1.96, 3.0])).tolist() == [-12, -3, 2, 20, 20]


def relayed(exponent: int, delay: int) -> IntNetwork:
    """Input -> relay (times 3 * 2^exponent, bias 1) -> output (delayed)."""
    return ints.network(
        {"in": ints.entry(high=9), "relay": ints.relay(bias=1, scale=4.0), "out": ints.relay(scale=4.0)},
        ints.link("in", "relay", ints.dense([[3]], exponent=exponent)),
        ints.link("relay", "out", ints.same(), delay=delay),
        frames=3,
    )


def test_a_network_by_hand() -> None:
    """Frames 1, 2, 5 -> 3 x 2 + 1 = 7, 13, 31 -> one step later 0, 7, 13; the result is 13 / scale 4 = 3.25."""
    network = relayed(exponent=1, delay=1)
    signals = run_integer(network, np.array([1.0, 2.0, 5.0]).reshape(1, 3, 1, 1, 1))
    assert signals["relay"].ravel().tolist() == [7, 13, 31]
    assert signals["out"].ravel().tolist() == [0, 7, 13]
    assert network.logits(signals).tolist() == [[3.25]]
    assert {name: signal.dtype for name, signal in signals.items()} == dict.fromkeys(signals, np.dtype(np.int32))


@given(steps=st.integers(0, 6))
def test_what_is_delayed_longer_than_a_clip_never_arrives(steps: int) -> None:
    frames = np.arange(1, 5).reshape(1, 4, 1)
    assert delayed(frames, steps).ravel().tolist() == ([0] * steps + [1, 2, 3, 4])[:4]


def test_the_contract_finds_currents_that_meet_in_different_units() -> None:
    network = relayed(exponent=0, delay=0)
    check_integer(network, after="test")
    for sender in (ints.entry(), ints.lif()):
        populations = {"relay": sender, "out": network.populations["out"]}
        broken = ints.network(populations, *network.connections[1:], frames=3)
        with pytest.raises(GateError, match=r"relay -> out: scales 1.0 and 4.0 differ"):
            check_integer(broken, after="test")


@pytest.mark.parametrize("largest", [1, 2, 1 << 12, (1 << 12) + 1, 1 << 20])
def test_sums_are_exact_on_both_sides_of_what_float32_holds(largest: int) -> None:
    """The largest sum of 4,096 weights of 1 is 2^24 at messages of 2^12, where float32 is left for float64.

    One message less is 2^24 - 1 and more than it 2^24 + 1, which float32 does not have.
    """
    geometry = ConvGeometry(in_shape=(4096, 1, 1), out_channels=2, kernel=(1, 1))
    mantissa = np.ones((2, 4096, 1, 1), dtype=np.int16)
    mantissa[1, ::2] = -1
    operation = IntConvolution(mantissa=mantissa, exponent=0, geometry=geometry)
    x = np.full((3, 4096, 1, 1), largest)
    x[1, 0] -= 1
    x[2, 1::2] *= -1
    np.testing.assert_array_equal(operation(x)[:, :, 0, 0], x[:, :, 0, 0] @ mantissa[:, :, 0, 0].T.astype(np.int64))
