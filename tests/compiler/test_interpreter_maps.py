"""What maps without a state mean: torch's convolutions and pools, and sums done by hand."""

import itertools

import nir
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import random_networks
from deploy.ir.operations.attention import SpikingAttention
from graphs import run
from hardware import ConvGeometry
from svformer.common.errors import InputError

seeds = st.integers(0, 2**32 - 1)


@given(geometry=random_networks.convolutions(), seed=seeds)
def test_conv2d_is_torchs_conv2d(geometry: ConvGeometry, seed: int) -> None:
    """Any stride, padding, dilation and groups, each axis on its own."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=geometry.weight_shape)
    bias, x = rng.normal(size=geometry.out_channels), rng.normal(size=(2, 3, *geometry.in_shape))
    options = {name: getattr(geometry, name) for name in ("stride", "padding", "dilation", "groups")}
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.from_numpy(bias), **options
    )
    found = run(nir.Conv2d(geometry.in_shape[1:], weight, bias=bias, **options), x)
    np.testing.assert_allclose(found, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_in_words_is_torchs(padding: str) -> None:
    rng = np.random.default_rng(0)
    weight, bias, x = rng.normal(size=(4, 2, 3, 5)), rng.normal(size=4), rng.normal(size=(1, 2, 2, 8, 9))
    tensors = (torch.from_numpy(x[0]), torch.from_numpy(weight), torch.from_numpy(bias))
    expected = torch.nn.functional.conv2d(*tensors, padding=padding, dilation=(2, 1)).numpy()
    found = run(nir.Conv2d((8, 9), weight, (1, 1), padding, (2, 1), 1, bias), x)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


EVEN_KERNELS = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


@EVEN_KERNELS
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2) | st.sampled_from(["same", "valid"]),
    dilation=st.integers(1, 3),
    groups=st.integers(1, 2),
    seed=seeds,
)
def test_conv1d_is_torchs_conv1d(
    kernel: int, stride: int, padding: int | str, dilation: int, groups: int, seed: int
) -> None:
    """Also `same` for an even kernel, where torch puts the odd value of the padding at the end."""
    assume(padding != "same" or stride == 1)
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(4, 4 // groups, kernel)), rng.normal(size=4)
    x = rng.normal(size=(2, 3, 4, 11))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = torch.nn.functional.conv1d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.from_numpy(bias), **options
    )
    found = run(nir.Conv1d(11, weight, bias=bias, **options), x)
    np.testing.assert_allclose(found, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)


@EVEN_KERNELS
@given(kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_padding_same_is_torchs_for_even_kernels_too(kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(4, 2, *kernel)), rng.normal(size=(1, 2, 2, 8, 9))
    tensors = (torch.from_numpy(x[0]), torch.from_numpy(weight))
    expected = torch.nn.functional.conv2d(*tensors, padding="same", dilation=dilation)
    found = run(nir.Conv2d((8, 9), weight, 1, "same", dilation, 1, np.zeros(4)), x)
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-12)


@given(
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_pooling_is_torchs(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
    """An average counts the zeros of the padding (torch's default); a sum is kernel size times an average."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 7, 8))
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(x).flatten(0, 1), kernel, stride, padding)
    options = [np.array(values) for values in (kernel, stride, padding)]
    average, total = run(nir.AvgPool2d(*options), x), run(nir.SumPool2d(*options), x)
    np.testing.assert_allclose(average, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)
    np.testing.assert_allclose(total, average * kernel[0] * kernel[1], atol=1e-12)


@given(heads=st.integers(1, 3), head_dim=st.integers(1, 3), height=st.integers(1, 3), seed=seeds)
def test_attention_is_its_formula_written_as_loops(heads: int, head_dim: int, height: int, seed: int) -> None:
    """A[n, j] = scale * sum over i, m of Q[n, i] K[m, i] V[m, j], head by head; tokens n, m; channels i, j."""
    channels, width = heads * head_dim, 2
    qkv = np.random.default_rng(seed).integers(0, 2, size=(3 * channels, height, width))
    q, k, v = qkv.reshape(3, heads, head_dim, height * width)
    expected = np.zeros((heads, head_dim, height * width))
    tokens, of_head = range(height * width), range(head_dim)
    for h, n, m, i, j in itertools.product(range(heads), tokens, tokens, of_head, of_head):
        expected[h, j, n] += 0.25 * q[h, i, n] * k[h, i, m] * v[h, j, m]
    node = SpikingAttention(np.array(qkv.shape), heads=heads, scale=0.25)
    found = run(node, qkv[np.newaxis, np.newaxis])[0, 0]
    np.testing.assert_array_equal(found, expected.reshape(channels, height, width))


def test_attention_never_mixes_time_steps_or_clips() -> None:
    """One clip: q fires at one step, k and v at the next; another clip: all at one step."""
    q, k, v = np.eye(3).reshape(3, 3, 1, 1)
    node = SpikingAttention(np.array([3, 1, 1]), heads=1, scale=1.0)
    apart, together = np.stack([q, k + v]), np.stack([q + k + v, 0 * q])
    assert run(node, np.stack([apart, together])).reshape(2, 2).tolist() == [[0, 0], [1, 0]]


def test_a_dense_layer_a_scale_and_a_flatten_by_hand() -> None:
    x = np.array([1.0, 2.0]).reshape(1, 1, 2)
    weight = np.array([[1.0, 10.0], [0.0, -1.0], [5.0, 0.0]])
    assert run(nir.Linear(weight), x).ravel().tolist() == [21, -2, 5]
    assert run(nir.Affine(weight, np.array([0.5, 0, -1])), x).ravel().tolist() == [21.5, -2, 4]
    assert run(nir.Scale(np.array([3.0, -1.0])), x).ravel().tolist() == [3, -2]
    image = np.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert run(nir.Flatten(np.array([2, 2, 2]), 0, -1), image).ravel().tolist() == list(range(8))


@pytest.mark.parametrize(("delay_s", "expected"), [(0, [1, 2, 3]), (1e-3, [0, 1, 2]), (3e-3, [0] * 3), (9e-3, [0] * 3)])
def test_a_delay_lets_zeros_in(delay_s: float, expected: list[int]) -> None:
    """Also one that is longer than the clip."""
    assert run(nir.Delay(np.array([delay_s])), np.array([[[1.0], [2.0], [3.0]]])).ravel().tolist() == expected


def test_every_neuron_may_have_a_delay_of_its_own() -> None:
    x = np.array([[[1.0, 4.0, 7.0], [2.0, 5.0, 8.0], [3.0, 6.0, 9.0]]])
    found = run(nir.Delay(np.array([0, 1e-3, 2e-3])), x)
    assert found[0].T.tolist() == [[1, 2, 3], [0, 4, 5], [0, 0, 7]]


@pytest.mark.parametrize("delays_s", [[1.5e-3, 1.5e-3], [1e-3, 0.9e-3], [-1e-3, -1e-3]])
def test_a_delay_that_is_no_whole_number_of_steps_is_refused(delays_s: list[float]) -> None:
    with pytest.raises(InputError, match="allowed: whole numbers from 0; check dt"):
        run(nir.Delay(np.array(delays_s)), np.zeros((1, 2, 2)))


def test_dense_layers_side_by_side_have_weights_of_their_own() -> None:
    """Weights [2, 3, 4] on a signal [2, 4]: block by block, as `nir` types them."""
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(2, 3, 4)), rng.normal(size=(1, 5, 2, 4))
    found = run(nir.Linear(weight), x)
    np.testing.assert_allclose(found[..., 1, :], x[..., 1, :] @ weight[1].T)
