"""What a Lava block computes, step by step, without Lava: the same messages as the integer interpreter."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
import random_networks
from deploy.engine.kernels import compile_kernel
from deploy.engine.layers import message_range
from deploy.engine.ranges import SPIKES, MessageRange, message_type
from deploy.engine.stream import fastest, stream
from deploy.ir.integer import (
    IntNetwork,
    run_integer,
)
from deploy.passes.schedule import schedule

Messages = NDArray[Any]


@given(case=random_networks.int_networks())
def test_streamed_clips_are_what_the_interpreter_says_of_each_alone(case: tuple[IntNetwork, Messages]) -> None:
    """Any geometry, several branches, delays beyond the end of a clip, 1 to 3 clips without a pause between them."""
    network, frames = case
    expected, found = run_integer(network, frames), stream(network, schedule(network), frames)
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@given(case=random_networks.int_networks(), threads=st.integers(1, 3))
def test_any_number_of_threads_says_the_same(case: tuple[IntNetwork, Messages], threads: int) -> None:
    network, frames = case
    expected = run_integer(network, frames)[network.output]
    found = stream(network, schedule(network), frames, record=[network.output], threads=threads)
    assert found.keys() == {network.output}
    np.testing.assert_array_equal(found[network.output], expected)


@settings(max_examples=20)
@given(case=random_networks.int_networks(), worth_it=st.sampled_from([0, 10**9]))
def test_the_fastest_way_says_the_same(case: tuple[IntNetwork, Messages], worth_it: int) -> None:
    """Interpreted, where layers are small, or streamed."""
    network, frames = case
    found = fastest(network, schedule(network), frames, record=[network.output], worth_it=worth_it)
    assert found.keys() == {network.output}
    np.testing.assert_array_equal(found[network.output], run_integer(network, frames)[network.output])


def test_an_identity_kernel_flattens_in_channel_order() -> None:
    messages = np.arange(12).reshape(3, 2, 2).astype(np.int8)
    kernel = compile_kernel(ints.same((3, 2, 2), (12, 1, 1)), SPIKES)
    assert kernel(messages).ravel().tolist() == list(range(12))


def test_an_identity_kernel_brings_messages_to_another_scale() -> None:
    """3 * 2^-1 times 5 and -5: 15 >> 1 = 7, -15 >> 1 = -8."""
    kernel = compile_kernel(ints.same((2, 1, 1), multiplier=3, exponent=-1), MessageRange(low=-5, high=5))
    assert kernel(np.array([5, -5]).reshape(2, 1, 1)).ravel().tolist() == [7, -8]


def test_a_biased_neuron_starts_when_the_first_frame_reaches_it_and_at_every_clip() -> None:
    """Bias 2 a step, no leak, threshold 5: v = 2, 4, 6 > 5 -> a spike at the third of four frames, of every clip.

    A neuron that integrated its bias before the first frame, or across two clips, would fire at other frames.
    """
    neurons = {
        name: ints.lif(bias_mantissa=2, bias_exponent=6, decay=0, threshold=threshold)
        for name, threshold in {"a": 5, "b": 6, "c": 6}.items()
    }
    network = ints.chain(4, input=ints.entry(), **neurons)
    found = stream(network, schedule(network), np.zeros((3, 4, *ints.ONE)))
    assert found["a"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    # b: 2, 4, 6 + 1 of a's spike = 7 > 6;  c: 2, 4, 6 + 1 of b's spike
    assert found["b"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    assert found["c"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3


@pytest.mark.parametrize(
    ("population", "low", "high", "kind"),
    [
        (ints.entry(low=-7, high=3), -7, 3, np.int32),
        (ints.lif(), 0, 1, np.int8),
        (ints.relay(), -(2**23), 2**23, np.int32),
    ],
)
def test_messages_have_the_type_that_holds_them(population: Any, low: int, high: int, kind: type) -> None:
    assert message_range(population) == MessageRange(low=low, high=high)
    assert message_type(population) == kind
