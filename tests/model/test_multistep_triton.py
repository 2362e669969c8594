"""The kernels of the multi-step neuron for GPUs against the step loop: on a GPU, or in Triton's interpreter.

`make test-triton` installs Triton into a folder of its own where torch brought none, and runs this file in the
interpreter, on any machine.
"""

import importlib
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from svformer.model import multistep
from svformer.model.neurons import PLIF

ROOT = Path(__file__).parents[2]
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton reads it when it is imported
HAS_TRITON = importlib.util.find_spec("triton") is not None

if not HAS_TRITON or not (ON_GPU or INTERPRETED):
    pytest.skip("needs Triton and a GPU, or Triton's interpreter: make test-triton", allow_module_level=True)

STATES = {torch.float32: torch.float32, torch.float64: torch.float64}  # of all others: float32
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    return importlib.import_module("svformer.model.multistep_triton")


@pytest.fixture(autouse=True)
def dispatched(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the interpreter the tensors are those of a processor."""
    monkeypatch.setattr(multistep, "_kernels", lambda _: kernels)


def currents(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(DEVICE, dtype)


def run(neurons: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Spikes, and the gradients of the currents and the parameters for random gradients of the spikes."""
    x = x.detach().requires_grad_()
    spikes = neurons(x)
    grad = currents(*spikes.shape, seed=1, dtype=x.dtype)
    return spikes.detach(), *torch.autograd.grad(spikes, (x, *parameters), grad)


def assert_same(plif: PLIF, x: Tensor) -> None:
    """Bit for bit, of half precision after one rounding; the gradient of w is a sum in another order."""
    state = STATES.get(x.dtype, torch.float32)
    assert multistep.takes(x)
    spikes, of_x, of_w = run(plif, x, plif.p.w)
    wanted, wanted_of_x, wanted_of_w = run(lambda x: plif.step_loop(x.to(state)).to(x.dtype), x, plif.p.w)
    assert spikes.dtype == of_x.dtype == x.dtype
    assert torch.equal(spikes, wanted)
    truncated = x.dtype == torch.bfloat16 and not ON_GPU  # the interpreter rounds towards zero
    torch.testing.assert_close(of_x, wanted_of_x, rtol=2**-7 if truncated else 0, atol=0)
    rounding = 1e-12 if x.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(of_w, wanted_of_w, rtol=rounding, atol=rounding)


LAYOUTS = {
    "side by side": lambda x: x,
    "chunk of channels": lambda x: x.chunk(3, dim=2)[1],
    "time inside the batch": lambda x: x.transpose(0, 1),
    "one frame repeated": lambda x: x[:1].expand(9, *x.shape[1:]),
    "every second neuron": lambda x: x[..., ::2],
    "one row": lambda x: x[:, 0, 0],
    "one neuron": lambda x: x[:, 0, 0, :1],
    "one step": lambda x: x[:1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fixed_point", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numbers_are_those_of_the_step_loop(layout: str, fixed_point: bool, dtype: torch.dtype) -> None:
    plif, x = PLIF(tau=2.3, v_th=0.7, fixed_point=fixed_point).to(DEVICE), currents(8, 5, 6, 14, dtype=dtype)
    if dtype == torch.float64:
        plif = plif.double()
    assert 0.05 < plif(x).mean() < 0.95
    assert_same(plif, LAYOUTS[layout](x))


@settings(
    max_examples=15,
    suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.integers(1, 6),
    batch=st.integers(1, 3),
    width=st.sampled_from([1, 7, 511, 512, 513]),
    chunked=st.booleans(),
    tau=st.floats(1.05, 50),
    v_th=st.floats(-0.5, 3),
    dtype=st.sampled_from(DTYPES),
)
def test_any_size(
    steps: int, batch: int, width: int, chunked: bool, tau: float, v_th: float, dtype: torch.dtype
) -> None:
    plif = PLIF(tau=tau, v_th=v_th).to(DEVICE, STATES.get(dtype, torch.float32))
    if chunked:
        assert_same(plif, currents(steps, batch, 3, width, dtype=dtype)[:, :, 1])
    else:
        assert_same(plif, currents(steps, batch, width, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leak_reset_and_slope_are_those_of_the_cell(dtype: torch.dtype) -> None:
    """Numbers that float32 cannot hold: none may be rounded on its way into a kernel."""
    for v_leak, v_reset, alpha in [(0.3, 0.0, 2.0), (0.0, -0.4, 2.0), (-0.2, 0.25, 3.5)]:
        plif = PLIF(tau=2.0).to(DEVICE, dtype)
        plif.p.v_leak, plif.p.v_reset, plif.p.alpha = v_leak, v_reset, alpha
        assert_same(plif, currents(12, 30, dtype=dtype))


def test_the_trial_of_one_neuron(kernels: ModuleType) -> None:
    kernels.check(torch.device(DEVICE))


def test_gradients_by_hand() -> None:
    """The three steps worked out in tests/model/test_multistep.py: decay 1/2, threshold 1, gradients 1, 10, 100."""
    a, b = 1 / (1 + (math.pi / 2) ** 2), 1 / (1 + math.pi**2)
    decay, threshold, x = (
        torch.tensor(value, dtype=torch.float64, device=DEVICE, requires_grad=True)
        for value in (0.5, 1.0, [1.0, 1.5, 4.0])
    )
    spikes = multistep.lif_box(x, decay, threshold)
    assert spikes.tolist() == [0, 1, 1]
    spikes.backward(torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64, device=DEVICE))
    g1, g2, g3 = a + 10 / 2, 10, 100 * b
    assert x.grad.tolist() == pytest.approx([g1 / 2, g2 / 2, g3 / 2])
    assert decay.grad.item() == pytest.approx(1 * g1 + 1 * g2 + 4 * g3)
    assert threshold.grad.item() == pytest.approx(-(a + 10 + 100 * b))


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")  # of the interpreter's NumPy
def test_what_is_no_number_spreads_as_in_the_loop() -> None:
    plif, x = PLIF(tau=2.0).to(DEVICE), currents(6, 8, dtype=torch.float32)
    x[1, 0], x[2, 1], x[0, 2], x[3, 3] = math.nan, math.inf, -math.inf, 3e38
    for found, wanted in zip(run(plif, x), run(plif.step_loop, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from svformer import multistep_triton as kernels

POINTERS = ("x", "spikes", "grad", "grad_x", "potentials", "sums", "decay", "threshold")

def ptx(kernel, numbers, types):
    given = {name: value for name, value in numbers.items() if name in kernel.arg_names}
    signature = {name: "i32" for name in kernel.arg_names}
    signature |= {name: "*" + types.get(name, types["x"]) for name in POINTERS if name in kernel.arg_names}
    signature |= dict.fromkeys(given, "constexpr")
    source = ASTSource(fn=kernel, signature=signature, constexprs=given)
    compiled = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options={"enable_fp_fusion": False})
    assert compiled.asm["cubin"]
    return compiled.asm["ptx"]

for of_x, state in (("fp32", "fp32"), ("fp64", "fp64"), ("bf16", "fp32")):
    numbers = {"LEAK": 0.1, "RESET": 0.0, "STATE": {"fp32": kernels.tl.float32, "fp64": kernels.tl.float64}[state]}
    numbers |= {"BLOCK": kernels.BLOCK, "HEIGHT": 1.0, "SLOPE": 3.141592653589793}
    types = {"x": of_x, "potentials": state, "threshold": state, "decay": "fp32", "sums": "fp64"}
    texts = [ptx(kernel, numbers, types) for kernel in (kernels._forward, kernels._backward)]
    assert not any("fma" in text for text in texts), "a rounding less than in the step loop"
    assert ("div.rn.f64" if state == "fp64" else "div.rn.f32") in texts[1]
    assert "div.full" not in texts[1] and "div.approx" not in texts[1]
"""


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus_without_losing_a_rounding(capability: int, tmp_path: Path) -> None:
    """No GPU is needed to compile for one; the interpreter must be off, hence another process."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    code = COMPILE.replace("CAPABILITY", str(capability))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_second_derivative_is_refused() -> None:
    plif, x = PLIF(tau=2.0).to(DEVICE), currents(5, 40).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(plif(x).sum(), x, create_graph=True)


def test_the_sums_have_the_same_digits_each_time() -> None:
    plif, x = PLIF(tau=2.0).to(DEVICE), currents(5, 3, 3000, dtype=torch.float32)
    for a, b in zip(run(plif, x, plif.p.w), run(plif, x, plif.p.w), strict=True):
        assert torch.equal(a, b)
