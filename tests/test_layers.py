"""What a Lava block computes, step by step, without Lava: the same messages as the integer interpreter."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deploy.engine.kernels import compile_kernel, exact_type
from deploy.engine.layers import build_layer, largest_message, message_type
from deploy.ir.integer import (
    IntAttention,
    IntConnection,
    IntConvolution,
    IntIdentity,
    IntInput,
    IntLif,
    IntNetwork,
    IntRelay,
    run_integer,
)
from deploy.passes.schedule import schedule
from hardware import AttentionGeometry, ConvGeometry

Messages = NDArray[Any]


def stream(network: IntNetwork, frames_NTCHW: Messages) -> dict[str, Messages]:
    """Send clips back to back through one layer a population, as Lava does; what each sent, [N, T, C, H, W].

    The source sends its frame f at step f + 1; every other message takes one step to the next population.
    """
    plan, clips = schedule(network), len(frames_NTCHW)
    layers = {n: build_layer(network, plan, n) for n, p in network.populations.items() if not isinstance(p, IntInput)}
    frames = network.input.quantize(frames_NTCHW).reshape(-1, *network.input.shape)
    silence = np.zeros(network.input.shape, dtype=np.int64)
    sent: dict[str, list[Messages]] = {name: [] for name in network.populations}
    for step in range(1, plan.steps(clips) + 1):
        now = {network.input_name: frames[step - 1] if step <= len(frames) else silence}
        now |= {name: layer.send(step) for name, (layer, _) in layers.items()}
        for layer, sources in layers.values():
            layer.receive(step, [now[source] for source in sources])
        for name, messages in now.items():
            sent[name].append(messages)
    first = {name: plan.first_step(name) - 1 for name in sent}
    return {
        name: np.stack(all_steps[first[name] : first[name] + len(frames)]).reshape(
            clips, plan.frames, *all_steps[0].shape
        )
        for name, all_steps in sent.items()
    }


@given(data=st.data())
def test_streamed_clips_are_what_the_interpreter_says_of_each_alone(data: st.DataObject, int_networks: Any) -> None:
    """Any geometry, several branches, delays beyond the end of a clip, 1 to 3 clips without a pause between them."""
    network, frames = data.draw(int_networks)
    expected, found = run_integer(network, frames), stream(network, frames)
    for name in network.populations:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@given(data=st.data())
def test_a_convolution_kernel_is_the_convolution(data: st.DataObject, conv_geometries: Any) -> None:
    geometry = data.draw(conv_geometries)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    largest = data.draw(st.sampled_from([1, 200, 2**23]))
    shape = (geometry.out_channels, geometry.in_shape[0] // geometry.groups, *geometry.kernel)
    mantissa = rng.integers(-127, 128, size=shape).astype(np.int16)
    operation = IntConvolution(mantissa=mantissa, exponent=data.draw(st.integers(-4, 4)), geometry=geometry)
    kernel = compile_kernel(operation, largest_message=largest)
    for _ in range(2):  # a kernel keeps a buffer between the frames
        messages = rng.integers(-largest, largest + 1, size=geometry.in_shape)
        np.testing.assert_array_equal(kernel(messages), operation(messages[np.newaxis])[0])


@given(heads=st.integers(1, 3), head_dim=st.integers(1, 4), height=st.integers(1, 4), seed=st.integers(0, 99))
def test_an_attention_kernel_is_the_attention(heads: int, head_dim: int, height: int, seed: int) -> None:
    geometry = AttentionGeometry(channels=heads * head_dim, tokens=height * 2, heads=heads)
    in_shape = (3 * geometry.channels, height, 2)
    operation = IntAttention(geometry=geometry, in_shape=in_shape, multiplier=5, exponent=-2)
    spikes = np.random.default_rng(seed).integers(0, 2, size=in_shape).astype(np.int8)
    found = compile_kernel(operation, largest_message=1)(spikes)
    np.testing.assert_array_equal(found, operation(spikes[np.newaxis].astype(np.int64))[0])


def test_an_identity_kernel_flattens_in_channel_order() -> None:
    messages = np.arange(12).reshape(3, 2, 2).astype(np.int8)
    kernel = compile_kernel(IntIdentity(in_shape=(3, 2, 2), out_shape=(12, 1, 1)), largest_message=1)
    assert kernel(messages).ravel().tolist() == list(range(12))


def test_an_identity_kernel_brings_messages_to_another_scale() -> None:
    """3 * 2^-1 times 5 and -5: 15 >> 1 = 7, -15 >> 1 = -8."""
    kernel = compile_kernel(
        IntIdentity(in_shape=(2, 1, 1), out_shape=(2, 1, 1), multiplier=3, exponent=-1), largest_message=5
    )
    assert kernel(np.array([5, -5]).reshape(2, 1, 1)).ravel().tolist() == [7, -8]


def test_sums_that_float32_cannot_hold_are_exact() -> None:
    """127 * 2^22 + 1 needs 29 bits; float32 has 24."""
    assert exact_type(2**24 - 1) is np.float32
    assert exact_type(2**24) is np.float64
    geometry = ConvGeometry(in_shape=(2, 1, 1), out_channels=1, kernel=(1, 1))
    operation = IntConvolution(mantissa=np.array([[[[127]], [[1]]]], dtype=np.int16), exponent=0, geometry=geometry)
    messages = np.array([2**22, 1], dtype=np.int32).reshape(2, 1, 1)
    assert compile_kernel(operation, largest_message=2**22)(messages).item() == 127 * 2**22 + 1


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
    found = stream(network, np.zeros((3, 4, *shape)))
    assert found["a"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    # b: 2, 4, 6 + 1 of a's spike = 7 > 6;  c: 2, 4, 6 + 1 of b's spike
    assert found["b"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3
    assert found["c"].reshape(3, 4).tolist() == [[0, 0, 1, 0]] * 3


@pytest.mark.parametrize(
    ("population", "largest", "kind"),
    [
        (IntInput(shape=(1, 1, 1), scale=1.0, low=-7, high=3), 7, np.int32),
        (lif((1, 1, 1), bias=0, threshold=1), 1, np.int8),
        (IntRelay(shape=(1, 1, 1), scale=1.0, bias=np.zeros((1, 1, 1), dtype=np.int64)), 2**23, np.int32),
    ],
)
def test_messages_have_the_type_that_holds_them(population: Any, largest: int, kind: type) -> None:
    network = IntNetwork(populations={"p": population}, connections=(), output="p", frames=1)
    assert largest_message(network, "p") == largest
    assert message_type(population) == kind
