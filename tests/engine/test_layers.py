"""What a Lava block computes, step by step, without Lava: the same messages as the integer interpreter."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deploy.engine import stream as engine_stream
from deploy.engine.kernels import compile_kernel
from deploy.engine.layers import message_range
from deploy.engine.ranges import message_type
from deploy.engine.ranges import SPIKES, MessageRange
from deploy.engine.stream import fastest, stream
from deploy.ir.integer import IntConnection, IntNetwork, run_integer
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from deploy.passes.schedule import schedule

Messages = NDArray[Any]


@given(data=st.data())
def test_streamed_clips_are_what_the_interpreter_says_of_each_alone(data: st.DataObject, int_networks: Any) -> None:
    """Any geometry, several branches, delays beyond the end of a clip, 1 to 3 clips without a pause between them."""
    network, frames = data.draw(int_networks)
    expected, found = run_integer(network, frames), stream(network, schedule(network), frames)
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@given(data=st.data(), threads=st.integers(1, 3))
def test_the_fastest_way_says_the_same(data: st.DataObject, threads: int, int_networks: Any) -> None:
    """The result alone, interpreted and, by any number of threads, streamed."""
    network, frames = data.draw(int_networks)
    expected = run_integer(network, frames)[network.output]
    for worth_it in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_stream, "WORTH_IT", worth_it)
            patch.setattr(engine_stream, "threads", lambda work_ns, cores: threads)
            found = fastest(network, schedule(network), frames, record=[network.output])
        assert found.keys() == {network.output}
        np.testing.assert_array_equal(found[network.output], expected)


def test_an_identity_kernel_flattens_in_channel_order() -> None:
    messages = np.arange(12).reshape(3, 2, 2).astype(np.int8)
    kernel = compile_kernel(IntIdentity(in_shape=(3, 2, 2), out_shape=(12, 1, 1)), SPIKES)
    assert kernel(messages).ravel().tolist() == list(range(12))


def test_an_identity_kernel_brings_messages_to_another_scale() -> None:
    """3 * 2^-1 times 5 and -5: 15 >> 1 = 7, -15 >> 1 = -8."""
    kernel = compile_kernel(
        IntIdentity(in_shape=(2, 1, 1), out_shape=(2, 1, 1), multiplier=3, exponent=-1), MessageRange(low=-5, high=5)
    )
    assert kernel(np.array([5, -5]).reshape(2, 1, 1)).ravel().tolist() == [7, -8]


def lif(shape: tuple[int, int, int], *, bias: int, threshold: int) -> IntLif:
    return IntLif(
        shape=shape,
        scale=1.0,
        bias_mantissa=np.full((1, 1, 1), bias),
        bias_exponent=6,
        decay=np.zeros((1, 1, 1), dtype=np.int64),
        threshold=np.full((1, 1, 1), threshold),
    )


def test_a_biased_neuron_starts_when_the_first_frame_reaches_it_and_at_every_clip() -> None:
    """Bias 2 a step, no leak, threshold 5: v = 2, 4, 6 > 5 -> a spike at the third of four frames, of every clip.

    A neuron that integrated its bias before the first frame, or across two clips, would fire at other frames.
    """
    shape = (1, 1, 1)
    pass_on = IntIdentity(in_shape=shape, out_shape=shape)
    names = ["input", "a", "b", "c"]
    network = IntNetwork(
        populations={
            "input": IntInput(shape=shape, scale=1.0, low=0, high=1),
            **{name: lif(shape, bias=2, threshold=5 + (name != "a")) for name in names[1:]},
        },
        connections=tuple(IntConnection(source=s, target=t, operation=pass_on) for s, t in itertools.pairwise(names)),
        output="c",
        frames=4,
    )
    found = stream(network, schedule(network), np.zeros((3, 4, *shape)))
    assert found["a"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    # b: 2, 4, 6 + 1 of a's spike = 7 > 6;  c: 2, 4, 6 + 1 of b's spike
    assert found["b"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    assert found["c"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3


@pytest.mark.parametrize(
    ("population", "low", "high", "kind"),
    [
        (IntInput(shape=(1, 1, 1), scale=1.0, low=-7, high=3), -7, 3, np.int32),
        (lif((1, 1, 1), bias=0, threshold=1), 0, 1, np.int8),
        (IntRelay(shape=(1, 1, 1), scale=1.0, bias=np.zeros((1, 1, 1), dtype=np.int64)), -(2**23), 2**23, np.int32),
    ],
)
def test_messages_have_the_type_that_holds_them(population: Any, low: int, high: int, kind: type) -> None:
    assert message_range(population) == MessageRange(low=low, high=high)
    assert message_type(population) == kind
