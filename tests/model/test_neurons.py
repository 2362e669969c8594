"""The parametric LIF neuron: norse's own step, trajectories by hand, threshold ties, gradients."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
from norse.torch.module.snn import SNN
from torch import Tensor

from svformer.model.neurons import PLIF, ArctanSpike, LIFBoxTrainable, plif_step


def currents(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trajectory(plif: PLIF, x_T: list[float]) -> tuple[list[float], list[float]]:
    """Spikes of one neuron, and its membrane potential after every step (after the reset)."""
    state, spikes, potentials = LIFBoxFeedForwardState(v=torch.zeros((), dtype=torch.float64)), [], []
    for x in x_T:
        fired, state = plif_step(torch.tensor(x, dtype=torch.float64), state, plif.p, plif.dt)
        spikes.append(fired.item())
        potentials.append(state.v.item())
    return spikes, potentials


def norse_spikes(x_T: Tensor, *, tau_mem_inv: Tensor, v_th: float) -> tuple[Tensor, Tensor]:
    """Norse's LIF-box neuron: spikes, and the smallest distance to the threshold on the way."""
    p = LIFBoxParameters(tau_mem_inv=tau_mem_inv, v_th=torch.tensor(v_th, dtype=torch.float64))
    state, spikes, distances = LIFBoxFeedForwardState(v=torch.zeros_like(x_T[0])), [], []
    for x in x_T:
        distances.append((state.v + tau_mem_inv * (x - state.v) - v_th).abs().min())
        fired, state = lif_box_feed_forward_step(x, state, p, dt=1.0)
        spikes.append(fired)
    return torch.stack(spikes), torch.stack(distances).min()


@pytest.mark.parametrize("tau", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("v_th", [1.0, 0.7])
def test_equals_norse_away_from_ties(tau: float, v_th: float) -> None:
    plif, x = PLIF(tau=tau, v_th=v_th).double(), currents(16, 2, 300)
    expected, distance = norse_spikes(x, tau_mem_inv=plif.p.tau_mem_inv.detach(), v_th=v_th)
    assert distance > 1e-6
    assert 0.02 < expected.mean() < 0.98
    assert torch.equal(plif(x), expected)


def test_the_loop_over_time_is_that_of_norse() -> None:
    """`PLIF.forward` replaces norse's for speed only: same spikes, same gradients."""
    plif, x = PLIF(tau=2.0).double(), currents(8, 50).requires_grad_()
    ours, theirs = plif(x), SNN.forward(plif, x)[0]
    assert torch.equal(ours, theirs)
    weights = currents(8, 50, seed=1)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), (x, plif.p.w)) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_trajectory_by_hand() -> None:
    # tau 2: v goes half of the way to x at every step.
    # x:                   1.0   1.0    2.0                  0.0   3.0             -1.0   1.5
    # v before the spike:  0.5   0.75   0.75 + 1.25/2=1.375  0.0   1.5             -0.5  -0.5 + 2/2=0.5
    # after it:            0.5   0.75   0 (fired)            0.0   0 (fired)       -0.5   0.5
    x = [1.0, 1.0, 2.0, 0.0, 3.0, -1.0, 1.5]
    spikes, potentials = trajectory(PLIF(tau=2.0).double(), x)
    assert spikes == [0, 0, 1, 0, 1, 0, 0]
    assert potentials == [0.5, 0.75, 0.0, 0.0, 0.0, -0.5, 0.5]
    whole = PLIF(tau=2.0).double()(torch.tensor(x, dtype=torch.float64).reshape(7, 1))
    assert whole.flatten().tolist() == spikes


def test_a_potential_exactly_at_the_threshold_fires() -> None:
    """Norse's own neuron needs v > v_th; the published network fires at v >= v_th."""
    x = torch.full((3, 1), 2.0, dtype=torch.float64)  # tau 2: v = 1.0 exactly at every step, reset each time
    plif = PLIF(tau=2.0).double()
    assert plif(x).flatten().tolist() == [1, 1, 1]
    # norse goes on to v = 1.5 and fires there, at every second step.
    assert norse_spikes(x, tau_mem_inv=plif.p.tau_mem_inv.detach(), v_th=1.0)[0].flatten().tolist() == [0, 1, 0]


def test_the_reset_goes_to_zero_however_far_the_potential_was() -> None:
    assert trajectory(PLIF(tau=2.0).double(), [100.0, 0.0]) == ([1, 0], [0.0, 0.0])


def test_every_clip_starts_at_rest_and_neurons_know_nothing_of_each_other() -> None:
    plif, x = PLIF(tau=3.0).double(), currents(10, 4, 5)
    together = plif(x)
    assert torch.equal(plif(x), together)
    for neuron in range(5):
        assert torch.equal(plif(x[:, 1:2, neuron : neuron + 1]), together[:, 1:2, neuron : neuron + 1])
    assert torch.equal(plif(x[:6]), together[:6])  # what comes later changes nothing before it


@given(tau=st.floats(1.01, 100))
def test_tau_and_decay_are_inverse(tau: float) -> None:
    plif = PLIF(tau=tau)
    assert plif.decay * tau == pytest.approx(1, rel=1e-5)
    assert 0 < plif.decay < 1
    assert list(plif.state_dict()) == ["p.w"]
    assert plif.p.w.shape == ()


def test_a_layer_shows_its_time_constant() -> None:
    assert "tau=2.5, v_th=1" in repr(PLIF(tau=2.5))


@given(tau=st.floats(1.05, 20), x=st.floats(-3, 0.95), steps=st.integers(1, 30))
def test_a_weak_current_charges_as_the_closed_form(tau: float, x: float, steps: int) -> None:
    """Never above the current, so never a spike: v = x (1 - (1 - 1/tau)^T)."""
    spikes, potentials = trajectory(PLIF(tau=tau).double(), [x] * steps)
    assert not any(spikes)
    assert potentials[-1] == pytest.approx(x * (1 - (1 - 1 / tau) ** steps), rel=1e-5, abs=1e-12)


@given(tau=st.floats(1.05, 20), x=st.floats(1.05, 10))
def test_a_strong_current_fires_at_equal_intervals(tau: float, x: float) -> None:
    """From rest v reaches 1 when (1 - 1/tau)^n <= 1 - 1/x; the reset starts the same charge again."""
    steps = math.log(1 - 1 / x) / math.log(1 - 1 / tau)
    assume(abs(steps - round(steps)) > 1e-3)
    interval = math.ceil(steps)
    spikes, _ = trajectory(PLIF(tau=tau).double(), [x] * (3 * interval))
    assert [step for step, spike in enumerate(spikes, start=1) if spike] == [interval, 2 * interval, 3 * interval]


@pytest.mark.parametrize(
    ("alpha", "distance", "slope"),
    [
        (2.0, 0.0, 1.0),  # alpha / 2 / (1 + 0)
        (2.0, 1 / math.pi, 1 / 2),  # pi/2 * 2 * 1/pi = 1: 1 / (1 + 1)
        (2.0, -1 / math.pi, 1 / 2),
        (2.0, 2 / math.pi, 1 / 5),  # 1 / (1 + 4)
        (4.0, 0.0, 2.0),
        (4.0, 3 / (2 * math.pi), 2 / 10),  # pi/2 * 4 * 3/(2 pi) = 3: 2 / (1 + 9)
    ],
)
def test_surrogate_gradient_by_hand(alpha: float, distance: float, slope: float) -> None:
    x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    spike = ArctanSpike.apply(x, alpha)
    assert spike.item() == (distance >= 0)
    (3 * spike).backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(3 * slope)


def reference(x_T: Tensor, w: Tensor, *, detach: bool) -> Tensor:
    """The neuron written with autograd only: a step whose gradient is that of arctan(pi v) / pi + 1/2."""
    v, spikes = torch.zeros_like(x_T[0]), []
    for x in x_T:
        v = v + (x - v) * torch.sigmoid(w)
        smooth = torch.atan(math.pi * (v - 1)) / math.pi
        spike = (v >= 1).to(v) + smooth - smooth.detach()
        spikes.append(spike)
        v = v * (1 - (spike.detach() if detach else spike))
    return torch.stack(spikes)


def test_gradients_equal_autograd_with_a_detached_reset() -> None:
    plif, x, weights = PLIF(tau=2.5).double(), currents(12, 40).requires_grad_(), currents(12, 40, seed=2)

    def gradients(spikes: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((spikes * weights).sum(), (x, plif.p.w))

    spikes = plif(x)
    assert 0.05 < spikes.mean() < 0.95
    detached, through_the_reset = (reference(x, plif.p.w, detach=detach) for detach in (True, False))
    torch.testing.assert_close(spikes, detached)
    ours, expected, other = gradients(spikes), gradients(detached), gradients(through_the_reset)
    for found, wanted, unwanted in zip(ours, expected, other, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(found, unwanted, rtol=1e-3)  # the comparison can tell the two apart


def charge(x_T: Tensor, w: Tensor) -> Tensor:
    """Membrane potential after the last step."""
    p = LIFBoxTrainable(tau=2.0, v_th=1.0).double()
    del p.w
    p.w = w
    state = LIFBoxFeedForwardState(v=torch.zeros_like(x_T[0]))
    for x in x_T:
        _, state = plif_step(x, state, p, 1.0)
    return state.v


def test_gradient_of_the_time_constant_below_the_threshold() -> None:
    # v = x (1 - (1 - d)^T) with d = sigmoid(w), d' = d (1 - d): dv/dw = x T (1 - d)^(T-1) d (1 - d).
    steps, x, w = 5, 0.8, torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    d = torch.sigmoid(w).item()
    (gradient,) = torch.autograd.grad(charge(torch.full((steps, 1), x, dtype=torch.float64), w).sum(), w)
    assert gradient.item() == pytest.approx(x * steps * (1 - d) ** (steps - 1) * d * (1 - d))


def test_gradient_of_the_time_constant_against_finite_differences() -> None:
    x = currents(9, 20).clamp(max=0.9)  # never reaches 1: nothing is stepwise, a difference quotient is right
    w, step = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), 1e-5
    (gradient,) = torch.autograd.grad(charge(x, w).square().sum(), w)
    with torch.no_grad():
        difference = (charge(x, w + step).square().sum() - charge(x, w - step).square().sum()) / (2 * step)
    assert gradient.item() == pytest.approx(difference.item(), rel=1e-7)


def test_a_silent_layer_can_still_learn() -> None:
    plif = PLIF(tau=2.0)
    x = torch.full((4, 3), 0.5, requires_grad=True)
    spikes = plif(x)
    assert spikes.sum() == 0
    spikes.sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).all()
    assert plif.p.w.grad is not None
    assert plif.p.w.grad > 0  # a faster membrane comes nearer to the threshold
