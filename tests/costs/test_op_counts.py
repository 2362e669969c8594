"""Counts: sums done by hand, brute force over every output position, and the paper's own layer table."""

import csv
from dataclasses import fields
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import (
    AttentionGeometry,
    ChipError,
    ConvGeometry,
    IdentityGeometry,
    MeanCounts,
    OpCounts,
    count_accesses,
    count_attention,
    count_connection,
    count_messages,
    count_neurons,
    count_traffic,
    expected_ops,
)
from hardware.counts import COUNTS


def conv(in_shape=(1, 3, 3), out_channels=1, kernel=(3, 3), **options):
    return ConvGeometry(in_shape=in_shape, out_channels=out_channels, kernel=kernel, **options)


SAME_3x3 = conv(padding=(1, 1))


@st.composite
def convolutions(draw):
    """Small convolutions with every option, each axis on its own."""

    def pair(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    groups = draw(st.integers(1, 3))
    kernel, dilation, padding = pair(1, 4), pair(1, 3), pair(0, 3)
    smallest = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    height, width = (draw(st.integers(low, low + 4)) for low in smallest)
    return ConvGeometry(
        in_shape=(groups * draw(st.integers(1, 2)), height, width),
        out_channels=groups * draw(st.integers(1, 2)),
        kernel=kernel,
        stride=pair(1, 4),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def brute_force(geometry):
    """Walk every output and every tap: how often each input position is read by one output channel."""
    reads_HW = np.zeros(geometry.in_shape[1:], dtype=np.int64)
    _, out_height, out_width = geometry.out_shape
    for out_y, out_x in np.ndindex(out_height, out_width):
        for tap_y, tap_x in np.ndindex(*geometry.kernel):
            y = out_y * geometry.stride[0] - geometry.padding[0] + tap_y * geometry.dilation[0]
            x = out_x * geometry.stride[1] - geometry.padding[1] + tap_x * geometry.dilation[1]
            if 0 <= y < reads_HW.shape[0] and 0 <= x < reads_HW.shape[1]:
                reads_HW[y, x] += 1
    return reads_HW


class TestGeometry:
    def test_3x3_kernel_with_padding_on_a_3x3_image(self):
        # A corner is seen by the 2 x 2 outputs around it, an edge by 2 x 3, the centre by all 9.
        np.testing.assert_array_equal(SAME_3x3.fan_out_map(), [[4, 6, 4], [6, 9, 6], [4, 6, 4]])
        # Inside the image: 4 x 4 + 4 x 6 + 9 = 49. With padding as work: 9 outputs x 9 taps = 81.
        assert SAME_3x3.dense_macs() == 49
        assert SAME_3x3.padded_macs() == 81

    def test_stride_leaves_some_inputs_unread(self):
        # Outputs at rows 0 and 2 with a 1x1 kernel: row and column 1 reach nothing.
        geometry = conv(kernel=(1, 1), stride=(2, 2))
        np.testing.assert_array_equal(geometry.fan_out_map(), [[1, 0, 1], [0, 0, 0], [1, 0, 1]])

    def test_groups_and_output_channels_scale_the_fan_out(self):
        # 6 output channels in 2 groups: each spike reaches 3 of them.
        geometry = conv(in_shape=(4, 5, 5), out_channels=6, padding=(1, 1), groups=2)
        assert geometry.fan_out_map()[2, 2] == 9 * 3
        assert geometry.weights == 6 * (4 // 2) * 9
        assert geometry.padded_macs() == 6 * 25 * 2 * 9

    def test_a_linear_layer_is_a_full_size_kernel(self):
        geometry = conv(in_shape=(8, 4, 5), out_channels=10, kernel=(4, 5))
        assert geometry.out_shape == (10, 1, 1)
        assert geometry.dense_macs() == geometry.padded_macs() == geometry.weights == 8 * 4 * 5 * 10

    @given(convolutions())
    def test_fan_out_equals_brute_force(self, geometry):
        expected = brute_force(geometry) * (geometry.out_channels // geometry.groups)
        np.testing.assert_array_equal(geometry.fan_out_map(), expected)
        assert geometry.dense_macs() == expected.sum() * geometry.in_shape[0] <= geometry.padded_macs()

    def test_every_weighted_layer_of_the_paper(self):
        """The table gives geometry and both dense counts; the 3-D head is 16 two-dimensional kernels."""
        file = resources.files("hardware").joinpath("data", "svformer_ucf101_layers.csv")
        rows = [row for row in csv.DictReader(file.read_text().splitlines()) if row["dense_macs_per_video"]]
        # Stem 1, local blocks 2 x 5, patch embeddings 3, global blocks 4 x 4, local path 2, head 2.
        assert len(rows) == 1 + 2 * 5 + 3 + 4 * 4 + 2 + 2
        for row in rows:
            frames = 16 if row["kind"] == "conv3d" else int(row["T"])
            geometry = ConvGeometry(
                in_shape=(int(row["in_ch"]), *(int(size) for size in row["in_size"].split("x")[-2:])),
                out_channels=int(row["out_ch"]),
                kernel=(int(row["kernel"].split("x")[-1]),) * 2,
                stride=(int(row["stride"]),) * 2,
                padding=(int(row["pad"]),) * 2,
                groups=int(row["groups"]),
            )
            assert frames * geometry.padded_macs() == int(row["dense_macs_per_video"]), row["layer"]
            assert frames * geometry.dense_macs() == int(row["dense_macs_inside_image"]), row["layer"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel": (4, 3)}, "larger than the padded input"),
            ({"groups": 2}, "must divide the channels"),
            ({"stride": (0, 1)}, "at least 1"),
            ({"padding": (-1, 0)}, "padding at least 0"),
        ],
    )
    def test_refuses_what_is_no_convolution(self, options, message):
        with pytest.raises(ChipError, match=message):
            conv(**options)

    def test_refuses_heads_that_do_not_divide_the_channels(self):
        with pytest.raises(ChipError, match="heads must divide"):
            AttentionGeometry(channels=8, tokens=4, heads=3)


class TestConnection:
    def test_a_corner_spike_and_a_centre_spike(self):
        messages = np.zeros((2, 1, 3, 3), dtype=np.uint8)
        messages[0, 0, 0, 0] = 1  # reaches 4
        messages[1, 0, 1, 1] = 1  # reaches 9
        assert count_connection(messages, SAME_3x3, binary=True) == OpCounts(
            synaptic_ops=13, dense_synaptic_ops=2 * 49, dense_macs=2 * 49, padded_macs=2 * 81
        )

    def test_graded_messages_are_macs_whatever_their_value(self):
        messages = np.zeros((1, 1, 3, 3), dtype=np.int32)
        messages[0, 0, 0, 0], messages[0, 0, 0, 1] = -700, 3  # reach 4 and 6
        counts = count_connection(messages, SAME_3x3, binary=False)
        assert (counts.macs, counts.synaptic_ops) == (10, 0)

    def test_a_graded_relay_only_adds(self):
        messages = np.array([[[[5, 0], [-1, 2]]]], dtype=np.int32)
        relay = IdentityGeometry(shape=(1, 2, 2))
        assert count_connection(messages, relay, binary=False) == OpCounts(relay_adds=3)
        # four neurons and as many synapses, three of which are used
        assert count_connection(messages != 0, relay, binary=True) == OpCounts(synaptic_ops=3, dense_synaptic_ops=4)

    @given(convolutions(), st.integers(0, 2**32 - 1), st.floats(0.05, 1))
    def test_equals_pushing_each_spike_through_the_kernel(self, geometry, seed, rate):
        spikes_TCHW = (np.random.default_rng(seed).random((2, *geometry.in_shape)) < rate).astype(np.uint8)
        fan_out = brute_force(geometry) * (geometry.out_channels // geometry.groups)
        by_hand = sum(int(fan_out[y, x]) for _, _, y, x in np.argwhere(spikes_TCHW))
        assert count_connection(spikes_TCHW, geometry, binary=True).synaptic_ops == by_hand

    @given(convolutions())
    def test_all_ones_cost_the_dense_count_and_the_expectation_at_rate_one(self, geometry):
        counts = count_connection(np.ones((3, *geometry.in_shape), dtype=np.uint8), geometry, binary=True)
        assert counts.synaptic_ops == counts.dense_macs == expected_ops(geometry, 1.0, time_steps=3)
        assert counts.dense_synaptic_ops == counts.dense_macs

    def test_expectation_is_exact_at_a_uniform_rate_and_off_by_the_borders_otherwise(self):
        # Every position of one of two channels fires: rate 1/2 everywhere, 49 of 98 operations.
        geometry = conv(in_shape=(2, 3, 3), padding=(1, 1))
        spikes = np.zeros((1, 2, 3, 3), dtype=np.uint8)
        spikes[0, 1] = 1
        assert count_connection(spikes, geometry, binary=True).synaptic_ops == expected_ops(geometry, 0.5) == 49
        # Only the four corners fire: rate 4/9 expects 21.8, but corners reach 4 each: 16.
        corners = np.zeros((1, 1, 3, 3), dtype=np.uint8)
        corners[..., ::2, ::2] = 1
        assert count_connection(corners, SAME_3x3, binary=True).synaptic_ops == 16
        assert expected_ops(SAME_3x3, 4 / 9) == pytest.approx(49 * 4 / 9)

    def test_refusals(self):
        with pytest.raises(ChipError, match=r"\(1, 1, 2, 3\).*\[T, 1, 3, 3\]"):
            count_connection(np.zeros((1, 1, 2, 3)), SAME_3x3, binary=True)
        with pytest.raises(ChipError, match=r"expected \[T, C, H, W\]"):
            count_connection(np.zeros((1, 3, 3)), SAME_3x3, binary=True)
        with pytest.raises(ChipError, match="0 or 1, found 7"):
            count_connection(np.full((1, 1, 3, 3), 7), SAME_3x3, binary=True)
        with pytest.raises(ChipError, match="between 0 and 1"):
            expected_ops(SAME_3x3, 1.5)


def count_attention_slowly(qkv_TCHW, heads):
    """The two products as plain loops over steps, heads, tokens and channels."""
    steps, channels, _, _ = qkv_TCHW.shape
    dim = channels // 3 // heads
    q_TCN, k_TCN, v_TCN = np.split(qkv_TCHW.astype(int).reshape(steps, channels, -1), 3, axis=1)
    coincidences = gated = nonzero = 0
    for step in range(steps):
        for head in range(heads):
            q, k, v = (x[step, head * dim : (head + 1) * dim] for x in (q_TCN, k_TCN, v_TCN))
            context = np.zeros((dim, dim), dtype=int)
            for token in range(q.shape[1]):
                for i in range(dim):
                    for j in range(dim):
                        context[i, j] += k[i, token] and v[j, token]
            coincidences += context.sum()
            for token in range(q.shape[1]):
                for i in range(dim):
                    for j in range(dim):
                        gated += q[i, token]
                        nonzero += q[i, token] and context[i, j] != 0
    return coincidences, gated, nonzero


class TestAttention:
    def test_by_hand(self):
        # One step, one head of 2 channels, 2 tokens. Token 0: k = (1, 1), v = (1, 0): 2 x 1 = 2 coincidences.
        # Token 1: k = (0, 1), v = (1, 1): 1 x 2 = 2. K^T V = [[1, 0], [2, 1]]. Channel 0 of q fires at both
        # tokens: 2 spikes x 2 entries of row 0 = 4 additions, of which (1, 0) has one non-zero: 2 x 1 = 2.
        q, k, v = [[1, 1], [0, 0]], [[1, 0], [1, 1]], [[1, 1], [0, 1]]  # [channel, token]
        qkv_TCHW = np.array([*q, *k, *v], dtype=np.uint8).reshape(1, 6, 1, 2)
        assert count_attention(qkv_TCHW, heads=1) == OpCounts(
            attention_coincidences=4,
            attention_gated_adds=4,
            attention_gated_adds_nonzero=2,
            dense_attention_ops=2 * (2 * 2 * 2),
        )

    @given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1), st.floats(0, 1))
    def test_equals_the_loops(self, heads, dim, seed, rate):
        shape = (2, 3 * heads * dim, 2, 3)
        qkv_TCHW = (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)
        counts = count_attention(qkv_TCHW, heads)
        assert (
            counts.attention_coincidences,
            counts.attention_gated_adds,
            counts.attention_gated_adds_nonzero,
        ) == count_attention_slowly(qkv_TCHW, heads)
        assert counts.attention_ops <= counts.dense_attention_ops

    def test_all_ones_cost_the_dense_count(self):
        counts = count_attention(np.ones((2, 12, 2, 2), dtype=np.uint8), heads=2)
        assert counts.attention_ops == counts.dense_attention_ops == 2 * 2 * (4 * 4 * 2)

    def test_dense_count_of_the_paper(self):
        """By fvcore 513,802,240 operations: 3 blocks of 196 tokens, 1 of 49, heads of 64 channels."""
        stage3 = AttentionGeometry(channels=384, tokens=14 * 14, heads=6).dense_ops()
        stage4 = AttentionGeometry(channels=512, tokens=7 * 7, heads=8).dense_ops()
        assert 16 * (3 * stage3 + stage4) == 513_802_240

    def test_refusals(self):
        with pytest.raises(ChipError, match="no multiple of 3"):
            count_attention(np.zeros((1, 4, 1, 1)), heads=1)
        with pytest.raises(ChipError, match="heads must divide"):
            count_attention(np.zeros((1, 6, 1, 1)), heads=3)
        with pytest.raises(ChipError, match="0 or 1"):
            count_attention(np.full((1, 6, 1, 1), 2), heads=1)


class TestMemoryAndTraffic:
    def test_accesses_of_a_convolution(self):
        # 5 additions fetch 5 weights, and read and write 5 sums; the memories hold 72 and 600 bits.
        accesses = count_accesses(OpCounts(synaptic_ops=5), weight_memory_bits=72, state_memory_bits=600)
        assert accesses == OpCounts(
            parameter_reads=5, parameter_reach=5 * 72, state_reads=5, state_writes=5, state_reach=10 * 600
        )

    def test_accesses_of_a_relay_and_of_attention(self):
        # A relayed value has no weight: it is added to a sum, which is read and written.
        relayed = count_accesses(OpCounts(relay_adds=3), weight_memory_bits=0, state_memory_bits=10)
        assert relayed == OpCounts(state_reads=3, state_writes=3, state_reach=6 * 10)
        # 4 coincidences read and write an entry of K^T V; 6 gated additions read one, and read and write a sum.
        ops = OpCounts(attention_coincidences=4, attention_gated_adds=6)
        accesses = count_accesses(ops, weight_memory_bits=0, state_memory_bits=10, product_memory_bits=100)
        assert accesses == OpCounts(state_reads=6 + 4 + 6, state_writes=6 + 4, state_reach=12 * 10 + 14 * 100)

    def test_spikes_over_a_connection_carry_their_address(self):
        # 3 spikes of 12 neurons: 4 bits each, nothing else; each waits two steps.
        spikes = np.zeros((2, 3, 2, 2), dtype=np.uint8)
        spikes[0, 0, 0, 0] = spikes[0, 2, 1, 1] = spikes[1, 1, 0, 1] = 1
        counts = count_traffic(spikes, payload_bits=0, held_steps=2)
        assert counts == OpCounts(deliveries=3, traffic_bits=3 * 4, held_messages=3, held_steps=6)

    def test_graded_messages_carry_their_value_too(self):
        messages = np.array([[[[5, 0]], [[-1, 2]]]])  # 4 neurons: 2 bits of address
        assert count_traffic(messages, payload_bits=24) == OpCounts(deliveries=3, traffic_bits=3 * 26)
        assert count_traffic(messages[:, :1, :, :1], payload_bits=24) == OpCounts(deliveries=1, traffic_bits=24)


class TestSums:
    def test_neurons_and_messages(self):
        assert count_neurons(16, 100, biases=40) == OpCounts(neuron_updates=1600, bias_adds=640)
        graded = np.array([0, -5, 7]).reshape(1, 3, 1, 1)
        assert count_messages(graded, binary=False) == OpCounts(graded_messages=2)
        assert count_messages(graded != 0, binary=True) == OpCounts(spikes=2)

    def test_counts_add(self):
        total = sum([OpCounts(spikes=1, macs=2), OpCounts(spikes=10), OpCounts(relay_adds=5)])
        assert total == OpCounts(spikes=11, macs=2, relay_adds=5)
        assert sum([], OpCounts()) == OpCounts()
        with pytest.raises(TypeError):
            OpCounts() + 1

    @given(st.integers(0, 2**32 - 1))
    def test_single_steps_add_up_to_the_clip(self, seed):
        qkv_TCHW = (np.random.default_rng(seed).random((4, 6, 3, 3)) < 0.4).astype(np.uint8)
        geometry = conv(in_shape=(6, 3, 3), out_channels=2, padding=(1, 1))
        steps = [qkv_TCHW[t : t + 1] for t in range(4)]
        assert sum(count_attention(s, 2) for s in steps) == count_attention(qkv_TCHW, 2)
        assert sum(count_connection(s, geometry, binary=True) for s in steps) == count_connection(
            qkv_TCHW, geometry, binary=True
        )

    def test_counts_are_plain_integers(self):
        """Not NumPy's: they go into JSON, and must not wrap."""
        counts = count_attention(np.ones((1, 6, 2, 2), dtype=np.uint8), heads=1) + count_connection(
            np.ones((1, 1, 3, 3), dtype=np.uint8), SAME_3x3, binary=True
        )
        assert {type(value) for value in vars(counts).values()} == {int}


def test_a_mean_clip_is_a_share_of_all_of_them():
    """7 and 2 operations in 2 clips: 3.5 and 1 each; half an operation is rounded to the even number."""
    mean = OpCounts(synaptic_ops=7, macs=2).mean(2)
    assert mean == MeanCounts(synaptic_ops=3.5, macs=1.0)
    assert mean.rounded() == OpCounts(synaptic_ops=4, macs=1)


def test_every_count_has_a_label_and_a_meaning():
    assert list(COUNTS) == [field.name for field in fields(OpCounts)]
    assert len({count.label for count in COUNTS.values()}) == len(COUNTS)
    assert all(count.meaning and count.unit for count in COUNTS.values())
    assert {name for name, count in COUNTS.items() if not count.listed} == {
        *("attention_gated_adds_nonzero", "parameter_reach", "state_reach"),
        *("dense_synaptic_ops", "padded_macs", "dense_attention_ops"),
    }
