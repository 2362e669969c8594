"""Every kernel of an operation against the integer interpreter's own arithmetic, and how one of them is chosen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ints
import random_networks
from deploy.engine import dense, kernels
from deploy.engine.autotune import Autotuned, Cost, CostTable, never_slowest
from deploy.engine.kernels import compile_kernel, variants
from deploy.engine.neurons import Neurons, populated
from deploy.engine.ranges import SPIKES, MessageRange, exact_type, sum_type
from deploy.engine.simd import WORD, first_bit, jit, pack, popcount, transpose_bits
from deploy.ir.machine import DECAY_ONE
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.max_pool import IntMaxPool
from deploy.ir.populations.lif import IntLif, fire
from hardware import ConvGeometry

Array = NDArray[Any]

RANGES = [
    SPIKES,
    MessageRange(low=-128, high=127),
    MessageRange(low=0, high=255),
    MessageRange(low=-(2**15) + 129, high=2**15 - 129),
    MessageRange(low=-(2**23), high=2**23),
]


def drawn_messages(rng: np.random.Generator, shape: tuple[int, ...], messages: MessageRange, rate: float) -> Array:
    values = rng.integers(messages.low, messages.high + 1, size=shape)
    firing = rng.random(shape) < rate
    return np.where(firing, 1 if messages == SPIKES else values, 0).astype(messages.dtype)


def check_all(operation: IntOperation, messages: MessageRange, rates: list[float], seed: int) -> None:
    """Every variant, frame after frame, as kernels keep buffers between frames."""
    rng = np.random.default_rng(seed)
    frames = [drawn_messages(rng, operation.in_shape, messages, rate) for rate in rates]
    expected = [operation(frame[np.newaxis].astype(np.int64))[0] for frame in frames]
    for name in variants(operation, messages):
        kernel = compile_kernel(operation, messages, variant=name)
        for frame, result in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(kernel(frame), result, err_msg=name)


@st.composite
def weighted(draw: st.DrawFn, geometry: ConvGeometry) -> IntConvolution:
    """Weights of 8 bits and of more; an exponent to either side."""
    largest = draw(st.sampled_from([1, 127, 128, 255, 2**15 - 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mantissa = rng.integers(-largest, largest, size=geometry.weight_shape, endpoint=largest != 128).astype(np.int16)
    return IntConvolution(mantissa=mantissa, exponent=draw(st.integers(-4, 4)), geometry=geometry)


@st.composite
def many_channels(draw: st.DrawFn) -> ConvGeometry:
    """More channels than a word of spikes or a tile of outputs holds, in every group; few pixels."""
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = draw(st.sampled_from([1, 63, 64, 65, 130])), draw(st.sampled_from([1, 16, 64, 65, 128, 150]))
    return ConvGeometry(
        in_shape=(groups * inputs, draw(st.integers(2, 7)), draw(st.integers(2, 7))),
        out_channels=groups * outputs,
        kernel=draw(st.sampled_from([(1, 1), (2, 2), (1, 2)])),
        stride=draw(st.sampled_from([(1, 1), (2, 2)])),
        padding=draw(st.sampled_from([(0, 0), (1, 1)])),
        groups=groups,
    )


rates = st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), min_size=2, max_size=2)


@given(
    operation=random_networks.convolutions().flatmap(weighted),
    messages=st.sampled_from(RANGES),
    rates=rates,
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_of_any_geometry(
    operation: IntConvolution, messages: MessageRange, rates: list[float], seed: int
) -> None:
    check_all(operation, messages, rates, seed)


@given(
    operation=random_networks.max_pools(),
    messages=st.sampled_from(RANGES),
    rates=rates,
    seed=st.integers(0, 2**32 - 1),
)
def test_a_max_pool_of_any_geometry(
    operation: IntMaxPool, messages: MessageRange, rates: list[float], seed: int
) -> None:
    check_all(operation, messages, rates, seed)
    wide = np.ones(operation.in_shape, np.int32)  # an input whose values would fit into fewer bits
    np.testing.assert_array_equal(compile_kernel(operation, messages)(wide), operation(wide[np.newaxis])[0])


@given(
    operation=many_channels().flatmap(weighted),
    messages=st.sampled_from(RANGES),
    rates=rates,
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_of_many_channels(
    operation: IntConvolution, messages: MessageRange, rates: list[float], seed: int
) -> None:
    check_all(operation, messages, rates, seed)


@given(
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([1, 3, 16, 64, 65, 130]),
    tokens=st.sampled_from([1, 7, 16, 64, 65, 196]),
    factor=st.tuples(st.integers(1, 127), st.integers(-6, 3)),
    rates=rates,
    seed=st.integers(0, 2**32 - 1),
)
def test_attention(
    heads: int, head_dim: int, tokens: int, factor: tuple[int, int], rates: list[float], seed: int
) -> None:
    in_shape = (3 * heads * head_dim, tokens, 1)
    operation = ints.attention(in_shape, heads=heads, multiplier=factor[0], exponent=factor[1])
    check_all(operation, SPIKES, rates, seed)


def results(operation: IntConvolution, messages: MessageRange, values: list[int]) -> dict[str, list[int]]:
    frame = np.array(values, dtype=messages.dtype).reshape(-1, 1, 1)
    made = {name: compile_kernel(operation, messages, variant=name) for name in variants(operation, messages)}
    return {name: kernel(frame).ravel().tolist() for name, kernel in made.items()}


@pytest.mark.parametrize("weight", [127, -128, 255, -256, -(2**15)])
def test_more_spikes_than_16_bits_can_add_up(weight: int) -> None:
    """300 spikes times 127 = 38100, and 32767 is the most that 16 bits hold: the rows are added up in pieces."""
    found = results(ints.dense(np.full((1, 300), weight)), SPIKES, [1] * 300)
    assert found == {name: [300 * weight] for name in found}
    assert {"float", "gathered"} <= found.keys()


def test_sums_that_float32_cannot_hold() -> None:
    """127 * 2^22 + 1 needs 29 bits; float32 has 24."""
    assert (exact_type(2**24 - 1), exact_type(2**24)) == (np.float32, np.float64)
    found = results(ints.dense(np.array([[127, 1]])), MessageRange(low=0, high=2**22), [2**22, 1])
    assert found == {name: [127 * 2**22 + 1] for name in ("float", "rows")}


def test_sums_that_int32_cannot_hold() -> None:
    """3 * 127 * 2^23 = 3,196,059,648 is above 2^31 - 1 = 2,147,483,647; and so is 2^23 << 8, of a sum that fits."""
    assert [sum_type(worst, 0) for worst in (2**15 - 1, 2**15, 2**31 - 1, 2**31)] == [
        *(np.int16, np.int32, np.int32, np.int64)
    ]
    assert (sum_type(2**22, 8), sum_type(2**23, 8)) == (np.int32, np.int64)
    graded = MessageRange(low=-(2**23), high=2**23)
    assert results(ints.dense(np.full((1, 3), 127)), graded, [2**23] * 3) == {"float": [127 * 3 * 2**23]}
    assert results(ints.dense(np.ones((1, 1)), exponent=8), graded, [-(2**23)]) == {"float": [-(2**31)]}


def test_a_right_shift_comes_after_the_sum() -> None:
    """(-3 - 4) >> 2 = floor(-1.75) = -2; (3 + 3) >> 2 = 1, where (3 >> 2) + (3 >> 2) would be 0."""
    found = results(ints.dense(np.array([[-3, -4], [3, 3]]), exponent=-2), SPIKES, [1, 1])
    assert found == {name: [-2, 1] for name in found}


@pytest.mark.parametrize(
    ("geometry", "largest", "messages", "expected"),
    [
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1)), 127, SPIKES, {"float", "bytes", "gathered"}),
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1)), 255, SPIKES, {"float", "gathered"}),
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1)), 127, RANGES[1], {"float", "bytes"}),
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1)), 127, RANGES[2], {"float", "two bytes"}),
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1)), 255, RANGES[2], {"float"}),
        (ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(3, 3)), 255, RANGES[2], {"float", "rows"}),
        (
            ConvGeometry(in_shape=(2, 3, 3), out_channels=2, kernel=(1, 1), groups=2),
            127,
            SPIKES,
            {"float", "bytes", "gathered", "scattered", "planes"},
        ),
    ],
)
def test_only_exact_kernels_are_offered(
    geometry: ConvGeometry, largest: int, messages: MessageRange, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "byte_product_is_exact", lambda: True)
    operation = ints.constant(geometry, largest)
    assert variants(operation, messages).keys() == expected


@pytest.mark.parametrize(("largest", "offered"), [(2**15 - 129, True), (2**15 - 128, False)])
def test_messages_of_two_bytes(largest: int, offered: bool) -> None:
    """2^15 - 129 = 127 * 256 + 127; the next one is 128 * 256 - 128, and 128 is no int8."""
    messages = MessageRange(low=-largest, high=largest)
    found = results(ints.dense(np.array([[1, 0], [0, -3]])), messages, [largest, -largest])
    assert found == {name: [largest, 3 * largest] for name in found}
    assert ("two bytes" in found) is (offered and dense.byte_product_is_exact())


def test_without_an_exact_byte_product_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "byte_product_is_exact", lambda: False)
    found = results(ints.dense(np.array([[5, -7]])), SPIKES, [1, 1])
    assert found == {name: [-2] for name in ("float", "rows", "gathered")}


def saturating(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The int8 product of processors that add pairs of products in 16 bits (vpmaddubsw)."""
    products = a.long()[:, :, None] * b.long()[None]
    return products.unfold(1, 2, 2).sum(-1).clamp(-(2**15), 2**15 - 1).sum(1).int()


@pytest.mark.parametrize(
    ("product", "exact"), [(torch.matmul, True), (saturating, False)], ids=["32 bits", "pairs in 16 bits"]
)
def test_a_byte_product_that_saturates_is_found_out(
    product: Callable[..., torch.Tensor], exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(-128)(-128) + (-128)(-128) = 32768, one more than 16 bits hold."""
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: product(a.int(), b.int()))
    assert dense.byte_product_is_exact.__wrapped__() is exact


def test_attention_of_more_tokens_than_16_bits_count() -> None:
    def offered(tokens: int) -> set[str]:
        return set(variants(ints.attention((3, tokens, 1)), SPIKES))

    assert offered(2**15 - 1) == {"float", "packed"}
    assert offered(2**15) == {"float"}


@st.composite
def lifs(draw: st.DrawFn) -> tuple[IntLif, int]:
    """Decay, threshold and bias of every shape that they can have; thresholds that fire at any height."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    frames = draw(st.integers(1, 4))
    spread = st.sampled_from([(1, 1, 1), (shape[0], 1, 1), shape])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([(), (frames,)]))
    lif = ints.lif(
        shape,
        bias_mantissa=rng.integers(-(2**12), 2**12, size=(*steps, *draw(spread))),
        bias_exponent=draw(st.sampled_from([0, 6, 11, 30])),
        decay=rng.integers(0, DECAY_ONE + 1, size=draw(spread)),
        threshold=rng.integers(-5, 2 ** draw(st.sampled_from([3, 8, 17])), size=draw(spread)),
    )
    return lif, frames


@given(
    case=lifs(),
    largest=st.sampled_from([3, 2**17 + 2, 2**23]),
    kinds=st.lists(st.sampled_from([np.int32, np.int64]), min_size=1, max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_neurons_in_one_pass(case: tuple[IntLif, int], largest: int, kinds: list[type], seed: int) -> None:
    """Spikes of two clips, the second after a reset; currents in one or two parts, that wrap in u (above 2^17) and
    saturate v. Biases too large for sums of 32 bits take the slow form.
    """
    lif, frames = case
    parts = np.random.default_rng(seed).integers(-largest, largest + 1, size=(len(kinds), 2, frames, *lif.shape))
    neurons = populated(lif, frames)
    assert isinstance(neurons, Neurons) == bool(np.abs(lif.bias_by_step(frames)).max() < 2**29)
    found = np.zeros(parts.shape[1:], np.uint8)
    for clip, frame in np.ndindex(2, frames):
        if frame == 0:
            neurons.reset()
        now = [part.astype(kind) for part, kind in zip(parts[:, clip, frame], kinds, strict=True)]
        neurons.update(now, frame, found[clip, frame])
    np.testing.assert_array_equal(found, fire(lif, parts.sum(axis=0)))


def test_a_bias_of_every_step_takes_its_turn() -> None:
    """Threshold 5, no leak: 0 + 4 = 4, 4 + 2 = 6 > 5 fires, then 0 + 9 fires."""
    lif = ints.lif(bias_mantissa=np.array([4, 2, 9]).reshape(3, 1, 1, 1), bias_exponent=6, decay=0, threshold=5)
    neurons, nothing = Neurons(lif, 3), np.zeros((1, 1, 1), np.int32)
    assert lif.bias_by_step(3).ravel().tolist() == [256, 128, 576]
    out = np.empty((1, 1, 1), neurons.dtype)
    assert [neurons.update([nothing], frame, out).item() for frame in range(3)] == [0, 1, 1]


@jit
def counted(words: Array, out: Array) -> None:
    for i in range(words.size):
        out[i, 0], out[i, 1] = popcount(words[i]), first_bit(words[i])


@jit
def packed(values: Array, at: int) -> int:
    return pack(values, at)


@jit
def transposed(words: Array) -> None:
    transpose_bits(words, WORD)


def test_bits_of_words() -> None:
    out = np.zeros((3, 2), np.int64)
    counted(np.array([0, 0b101000, 2**63], np.uint64), out)
    assert out.tolist() == [[0, 64], [2, 3], [1, 63]]


@given(seed=st.integers(0, 2**32 - 1), at=st.integers(0, 99))
def test_packing_and_transposing_bits(seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 2, size=100).astype(np.int8)
    expected = (np.pad(values, (0, WORD))[at : at + WORD] != 0).tolist()
    assert [packed(values, at) >> i & 1 for i in range(WORD)] == expected
    words = rng.integers(0, 2**64, size=2 * WORD, dtype=np.uint64)
    turned = words.copy()
    transposed(turned)  # the second block
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(2, WORD, WORD)
    np.testing.assert_array_equal(
        np.unpackbits(turned.view(np.uint8), bitorder="little").reshape(2, WORD, WORD)[1], bits[1].T
    )
    assert turned[:WORD].tolist() == words[:WORD].tolist()


class Answer:
    """A kernel that says who it is."""

    by_spike = True

    def __init__(self, name: int) -> None:
        self.name = name
        self.calls = 0

    def __call__(self, messages: Array) -> Array:
        self.calls += 1
        return np.full((1, 1, 1), self.name)


def test_the_cheapest_line_is_chosen_at_every_step() -> None:
    """10 + 5 n against 100: equal at 18 spikes."""
    chosen = Autotuned({"event": (Answer(1), Cost(10, 5)), "dense": (Answer(2), Cost(100, 0))}, (1, 1, 1))
    for spikes, name in ((0, 0), (1, 1), (17, 1), (19, 2), (40, 2)):
        frame = np.zeros((40, 1, 1), np.int8)
        frame[:spikes] = 1
        assert chosen(frame).item() == name
        assert chosen(frame.astype(np.int32)).item() == name


def test_what_is_never_the_cheapest_is_left_out() -> None:
    costs = {"event": Cost(10, 5), "dense": Cost(100, 0), "slow": Cost(101, 0), "slower": Cost(11, 5)}
    assert never_slowest(costs, most_spikes=1000) == ["event", "dense"]
    assert never_slowest(costs, most_spikes=10) == ["event"]


def measure_again(file: Path, kernel: Answer) -> Cost:
    """As in another process."""
    return CostTable(file, worth_keeping_ns=0).cost_of("key", lambda: kernel, SPIKES, (4, 4, 4))


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    file, kernel = tmp_path / "cache" / "kernels.json", Answer(1)
    first = measure_again(file, kernel)
    calls = kernel.calls
    assert calls > 0
    assert measure_again(file, kernel) == first
    assert kernel.calls == calls
    assert json.loads(file.read_text()) == {"key": list(first)}


def test_what_is_quick_to_measure_is_not_kept(tmp_path: Path) -> None:
    table, kernel = CostTable(tmp_path / "kernels.json", worth_keeping_ns=float("inf")), Answer(1)
    first = table.cost_of("key", lambda: kernel, SPIKES, (4, 4, 4))
    assert table.cost_of("key", lambda: pytest.fail("made again"), SPIKES, (4, 4, 4)) == first
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"key": 7}', '{"key": ["a", 1]}'])
def test_a_cache_that_is_no_cache_is_measured_anew(tmp_path: Path, content: str) -> None:
    file, kernel = tmp_path / "kernels.json", Answer(1)
    file.write_text(content)
    first = measure_again(file, kernel)
    assert kernel.calls > 0
    assert json.loads(file.read_text()) == {"key": list(first)}


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert measure_again(tmp_path / "file" / "kernels.json", Answer(1)).call >= 0
    assert (tmp_path / "file").read_text() == ""
