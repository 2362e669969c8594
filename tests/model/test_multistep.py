"""The multi-step neuron against norse's step loop: the same bits; by hand; what only the loop can do."""

import copy
import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from svformer.model import multistep, multistep_cpu
from svformer.model.multistep import lif_box
from svformer.model.multistep_cpu import BLOCK
from svformer.model.neurons import PLIF, ArctanSpike, LIFBoxTrainable


def currents(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def run(neurons: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Spikes, and the gradients of the currents and the parameters for random gradients of the spikes."""
    x = x.detach().requires_grad_()
    spikes = neurons(x)
    grad = currents(*spikes.shape, seed=1, dtype=x.dtype)
    return spikes.detach(), *torch.autograd.grad(spikes, (x, *parameters), grad)


def assert_same(plif: PLIF, x: Tensor, view: Callable[[Tensor], Tensor] = lambda x: x) -> None:
    """Bit for bit; only the gradient of w is a sum over all neurons and steps, in another order."""
    spikes, of_x, of_w = run(lambda x: plif(view(x)), x, plif.p.w)
    wanted, wanted_of_x, wanted_of_w = run(lambda x: plif.step_loop(view(x)), x, plif.p.w)
    assert torch.equal(spikes, wanted)
    assert torch.equal(of_x, wanted_of_x)
    rounding = 1e-12 if x.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(of_w, wanted_of_w, rtol=rounding, atol=rounding)


@pytest.fixture
def no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PLIF, "step_loop", None)


@pytest.fixture
def loop_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multistep, "lif_box", None)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Three threads at work, however small the layer."""
    monkeypatch.setattr(multistep_cpu, "WORTH_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def threads_of(plif: PLIF, x: Tensor) -> set[int]:
    """Which threads compute a layer."""
    seen, kernel = set(), multistep_cpu._forward

    def seeing(*arguments: Any) -> None:
        seen.add(threading.get_ident())
        kernel(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multistep_cpu, "_forward", seeing)
        plif(x)
    return seen


# The step loop


LAYOUTS = {
    "side by side": lambda x: x,
    "chunk of channels": lambda x: x.chunk(3, dim=2)[1],
    "time inside the batch": lambda x: x.transpose(0, 1),
    "channels last": lambda x: x.permute(0, 1, 3, 2),
    "one frame repeated": lambda x: x[:1].expand(9, *x.shape[1:]),
    "every second neuron": lambda x: x[..., ::2],
    "one row": lambda x: x[:, 0, 0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fixed_point", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_are_those_of_the_step_loop(layout: str, fixed_point: bool, dtype: torch.dtype) -> None:
    plif, x = PLIF(tau=2.3, v_th=0.7, fixed_point=fixed_point).to(dtype), currents(8, 5, 6, 14, dtype=dtype)
    assert 0.05 < plif(x).mean() < 0.95
    assert_same(plif, x, LAYOUTS[layout])


@given(
    steps=st.integers(1, 20),
    batch=st.integers(1, 3),
    width=st.sampled_from([1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5]),
    chunked=st.booleans(),
    tau=st.floats(1.05, 50),
    v_th=st.floats(0.05, 3),
    seed=st.integers(0, 99),
)
def test_any_size(steps: int, batch: int, width: int, chunked: bool, tau: float, v_th: float, seed: int) -> None:
    plif = PLIF(tau=tau, v_th=v_th).double()
    if chunked:
        assert_same(plif, currents(steps, batch, 3, width, seed=seed), lambda x: x[:, :, 1])
    else:
        assert_same(plif, currents(steps, batch, width, seed=seed))


def test_a_single_neuron() -> None:
    assert_same(PLIF(tau=1.5), currents(20, dtype=torch.float32))


@pytest.mark.parametrize(("of_x", "of_w"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_currents_and_time_constant_of_different_precision(of_x: torch.dtype, of_w: torch.dtype) -> None:
    for fixed_point in (False, True):
        plif = PLIF(tau=2.7, v_th=0.7, fixed_point=fixed_point).to(of_w)
        found, wanted = (run(f, currents(6, 50, dtype=of_x), plif.p.w) for f in (plif, plif.step_loop))
        assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in wanted] == [of_x, of_x, of_w]
        assert torch.equal(found[0], wanted[0])
        assert torch.equal(found[1], wanted[1])
        torch.testing.assert_close(found[2], wanted[2], rtol=1e-4, atol=1e-4)


def test_what_is_no_number_spreads_as_in_the_loop() -> None:
    plif, x = PLIF(tau=2.0), currents(6, 8, dtype=torch.float32)
    x[1, 0], x[2, 1], x[0, 2], x[3, 3] = math.nan, math.inf, -math.inf, 3e38
    for found, wanted in zip(run(plif, x), run(plif.step_loop, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


def test_leak_and_reset_are_those_of_the_cell() -> None:
    for v_leak, v_reset, alpha in [(0.3, 0.0, 2.0), (0.0, -0.4, 2.0), (-0.2, 0.25, 3.5)]:
        plif = PLIF(tau=2.0).double()
        plif.p.v_leak, plif.p.v_reset, plif.p.alpha = v_leak, v_reset, alpha
        assert_same(plif, currents(12, 30))


# By hand


def test_gradients_by_hand() -> None:
    """One neuron, three steps, decay 1/2, threshold 1, alpha 2; the spikes' gradients are 1, 10, 100.

    x     x - v before it   v       spike   slope = 1 / (1 + (pi (v - 1))^2)
    1     1                 0.5     0       a = 1 / (1 + (pi / 2)^2)
    1.5   1                 1       1       1
    4     4                 2       1       b = 1 / (1 + pi^2)

    Gradients of v, from the last: 100 b; 10, since the reset lets nothing through from later; a + 10 / 2, since half
    of the first potential stays in the second. Of x: half of these. Of the decay: each times x - v. Of the threshold:
    the part that comes through the spikes, negative.
    """
    a, b = 1 / (1 + (math.pi / 2) ** 2), 1 / (1 + math.pi**2)
    x = torch.tensor([1.0, 1.5, 4.0], dtype=torch.float64, requires_grad=True)
    decay, threshold = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.5, 1.0))
    spikes = lif_box(x, decay, threshold)
    assert spikes.tolist() == [0, 1, 1]
    spikes.backward(torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64))
    g1, g2, g3 = a + 10 / 2, 10, 100 * b
    assert x.grad.tolist() == pytest.approx([g1 / 2, g2 / 2, g3 / 2])
    assert decay.grad.item() == pytest.approx(1 * g1 + 1 * g2 + 4 * g3)
    assert threshold.grad.item() == pytest.approx(-(a + 10 + 100 * b))


def test_the_gradient_of_the_threshold_is_that_of_the_loop() -> None:
    class Learnt(LIFBoxTrainable):
        def __init__(self) -> None:
            super().__init__(tau=2.0, v_th=1.0)
            self.v = nn.Parameter(torch.tensor(0.8))

        @property
        def threshold(self) -> Tensor:
            return self.v

    plif = PLIF()
    plif.p = Learnt()
    plif, x = plif.double(), currents(9, 40)
    found, wanted = (run(f, x, plif.p.w, plif.p.v) for f in (plif, plif.step_loop))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert found[3] != 0


def test_a_potential_exactly_at_the_threshold_fires_in_every_step() -> None:
    x = torch.full((3, 1), 2.0)  # tau 2: v = 1.0 exactly, reset each time
    assert PLIF(tau=2.0)(x).flatten().tolist() == [1, 1, 1]
    below = torch.full((3, 1), 2.0 - 2**-22)
    assert PLIF(tau=2.0)(below).flatten().tolist() == [0, 1, 0]


# Threads and processes


@pytest.mark.usefixtures("no_loop")
def test_the_number_of_threads_changes_no_digit(threads: int) -> None:
    plif, x = PLIF(tau=2.0), currents(5, 3, 2 * BLOCK + 9, dtype=torch.float32)
    many, seen = run(plif, x, plif.p.w), threads_of(plif, x)
    assert len(seen) == threads
    torch.set_num_threads(1)
    assert threads_of(plif, x) == {threading.get_ident()}
    for a, b in zip(many, run(plif, x, plif.p.w), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("threads")
def test_several_python_threads_at_once() -> None:
    plif, clips = PLIF(tau=2.0).double(), [currents(5, 3 * BLOCK, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(plif, clips))
    for spikes, x in zip(found, clips, strict=True):
        assert torch.equal(spikes, plif.step_loop(x))


@pytest.mark.usefixtures("threads")
def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them Ctrl-C, which arrives in the main thread, wherever that is."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(multistep_cpu, "_forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PLIF()(currents(5, 3 * BLOCK))


def test_without_openmp_one_thread_does_it_all(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plif, x = PLIF(tau=2.0), currents(5, threads * BLOCK, dtype=torch.float32)
    wanted = run(plif, x, plif.p.w)
    monkeypatch.setattr(multistep_cpu, "OPENMP", None)
    assert threads_of(plif, x) == {threading.get_ident()}
    for found, expected in zip(run(plif, x, plif.p.w), wanted, strict=True):
        assert torch.equal(found, expected)


class Spikes(Dataset[Tensor]):
    def __init__(self) -> None:
        self.plif = PLIF(tau=2.0).double()

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            return self.plif(currents(5, 2 * BLOCK, seed=index))


@pytest.mark.usefixtures("threads")
def test_workers_of_a_data_loader() -> None:
    data = Spikes()
    data[0]  # the parent's threads are there when the workers are forked
    for index, spikes in enumerate(DataLoader(data, batch_size=None, num_workers=2)):
        assert torch.equal(spikes, data[index])


# As a part of PyTorch


@pytest.mark.usefixtures("no_loop")
def test_without_gradients() -> None:
    plif, x = PLIF(tau=2.0), currents(5, 40, dtype=torch.float32).requires_grad_()
    wanted = plif(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(plif(x), wanted)
            assert not plif(x).requires_grad
    frozen = PLIF(tau=2.0).requires_grad_(False)
    assert not frozen(x.detach()).requires_grad
    assert torch.equal(run(frozen, x)[1], run(plif, x)[1])
    plif(x.detach()).sum().backward()
    assert plif.p.w.grad != 0


def test_a_layer_can_be_copied_after_use() -> None:
    plif, x = PLIF(tau=3.0), currents(5, 40, dtype=torch.float32)
    plif(x).sum().backward()
    again = copy.deepcopy(plif)
    assert torch.equal(again(x), plif(x))
    assert list(again.state_dict()) == ["p.w"]


def test_spikes_may_be_changed_in_place_and_currents_may_not() -> None:
    """The backward pass computes the potentials from the currents."""
    plif, wanted = PLIF(tau=2.0), run(PLIF(tau=2.0), currents(5, 40))[1]
    assert torch.equal(run(lambda x: plif(x).mul_(1), currents(5, 40))[1], wanted)
    x = currents(5, 40).requires_grad_() * 1
    spikes = plif(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()


def test_a_second_derivative_is_refused() -> None:
    plif, x = PLIF(tau=2.0).double(), currents(5, 40).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(plif(x).sum(), x, create_graph=True)
    (grad,) = torch.autograd.grad(plif.step_loop(x).sum(), x, create_graph=True)
    grad.sum().backward()
    assert plif.p.w.grad is not None


def test_checkpointed_activations() -> None:
    plif, x = PLIF(tau=2.0).double(), currents(5, 40)
    found = run(lambda x: torch.utils.checkpoint.checkpoint(plif, x, use_reentrant=False), x, plif.p.w)
    torch.testing.assert_close(found, run(plif, x, plif.p.w), rtol=0, atol=0)


# What only the loop does


@pytest.mark.usefixtures("loop_only")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_goes_through_the_loop(dtype: torch.dtype) -> None:
    plif, x = PLIF(tau=2.0).to(dtype), currents(5, 40, dtype=dtype)
    spikes, of_x, _ = run(plif, x, plif.p.w)
    assert torch.equal(spikes, plif.step_loop(x))
    assert of_x.dtype == dtype


@pytest.mark.usefixtures("loop_only")
def test_shapes_without_values_go_through_the_loop() -> None:
    with torch.device("meta"):
        plif, x = PLIF(tau=2.0), torch.empty(4, 2, 3, 8, 8)
    assert plif(x).shape == x.shape
    assert PLIF(tau=2.0)(torch.empty(4, 0)).shape == (4, 0)


# torch.compile looks at autograd functions in a way that torch itself warns of.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.usefixtures("loop_only")
def test_tracers_see_the_loop() -> None:
    plif, x = PLIF(tau=2.0).double().requires_grad_(False), currents(5, 40)
    wanted = plif.step_loop(x)
    assert torch.equal(torch.compile(plif, backend="eager", fullgraph=True)(x), wanted)
    assert torch.equal(torch.export.export(plif, (x,)).module()(x), wanted)


# On a GPU; the kernels for it are tested in tests/model/test_multistep_triton.py


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_computes_the_same() -> None:
    pytest.importorskip("triton", reason="no Triton beside this GPU")
    plif, x = PLIF(tau=2.0).double(), currents(5, 40)
    wanted = run(plif, x, plif.p.w)
    on_gpu = copy.deepcopy(plif).cuda()
    assert multistep.takes(x.cuda())
    for found, expected in zip(run(on_gpu, x.cuda(), on_gpu.p.w), wanted, strict=True):
        torch.testing.assert_close(found.cpu(), expected)


def test_a_gpu_without_triton_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or without a C compiler, which Triton needs."""

    class NoCompiler:
        @staticmethod
        def check(device: torch.device) -> None:
            raise RuntimeError("Failed to find C compiler.")

    absent = {"triton": None, "svformer.model.multistep_triton": None}, "multistep_triton"
    for modules, reason in (absent, ({"svformer.model.multistep_triton": NoCompiler}, "C compiler")):
        monkeypatch.delattr("svformer.model.multistep_triton", raising=False)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        multistep._kernels.cache_clear()
        with pytest.warns(RuntimeWarning, match=f"step by step on this GPU.*{reason}"):
            assert multistep._kernels("cuda") is None
        assert multistep._kernels("cuda") is None  # not once more: a warning is an error here
    multistep._kernels.cache_clear()


# Compiled code


def test_without_a_folder_to_keep_compiled_code_in() -> None:
    """Numba finds none for a function that stands in no file."""
    code = (lambda x: 2 * x).__code__.replace(co_filename="no such file")
    assert multistep_cpu._compiled(type(test_a_single_neuron)(code, {}))(21) == 42


def test_the_surrogate_is_that_of_the_cell() -> None:
    """With a decay of 1 a neuron forgets: its spike and its gradient are those of `ArctanSpike`."""
    x: Any = currents(1, 300).requires_grad_()
    one, threshold = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    for alpha in (2.0, 5.0):
        found = torch.autograd.grad(lif_box(x, one, threshold, alpha=alpha).sum(), x)
        wanted = torch.autograd.grad(ArctanSpike.apply(x - threshold, alpha).sum(), x)
        assert torch.equal(found[0], wanted[0])
