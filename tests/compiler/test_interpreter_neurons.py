"""What a neuron means: closed forms, and norse's cells."""

import math
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from graphs import DT_S, filled, run

seeds = st.integers(0, 2**32 - 1)


def spike_steps(node: nir.NIRNode, current: float, *, steps: int = 60) -> list[int]:
    """Steps (counted from 1) at which one neuron fires for a constant current."""
    spikes = run(node, np.full((1, steps, 1), current))
    return [int(t) + 1 for t in np.flatnonzero(spikes)]


def every(first: int, period: int, *, steps: int = 60) -> list[int]:
    return list(range(first, steps + 1, period))


def steps_to(distance_left: float, decay: float) -> int:
    """First t with (1 - decay)^t < distance_left; values too close to a tie are not asked for."""
    exact = math.log(distance_left) / math.log1p(-decay)
    assume(abs(exact - round(exact)) > 1e-6)
    return math.floor(exact) + 1


@given(current=st.floats(0.1, 9), tau=st.floats(1.5, 20))
def test_lif_fires_when_the_exponential_crosses_the_threshold(current: float, tau: float) -> None:
    """v_t = x (1 - (1 - 1/tau)^t) from rest, so the interval between spikes is the first t with v_t > 1."""
    if current <= 1:
        assert spike_steps(graphs.lif(1, tau=tau * DT_S), current) == []
        return
    period = steps_to(1 - 1 / current, 1 / tau)
    assert spike_steps(graphs.lif(1, tau=tau * DT_S), current) == every(period, period)


@given(
    current=st.floats(0.5, 3),
    r=st.floats(1, 4),
    leak=st.floats(0, 1),
    threshold=st.floats(0.5, 1.2),
    reset=st.floats(-2, 0.4),
)
def test_lif_with_leak_and_reset_potential(
    current: float, r: float, leak: float, threshold: float, reset: float
) -> None:
    """The potential goes from v_0 to v_end = leak + r x as v_end + (v_0 - v_end) (1 - 1/tau)^t.

    It begins at v_0 = leak, and after every spike again at v_0 = reset.
    """
    tau, end = 5.0, leak + r * current
    assume(end > threshold + 0.01 > leak + 0.02)
    first, period = (steps_to((end - threshold) / (end - start), 1 / tau) for start in (leak, reset))
    neuron = graphs.lif(1, tau=tau * DT_S, r=r, v_leak=leak, v_threshold=threshold, v_reset=reset)
    assert spike_steps(neuron, current) == every(first, period)


@given(current=st.floats(0.05, 3), r=st.floats(100, 900), threshold=st.floats(0.2, 2))
def test_if_fires_when_the_sum_crosses_the_threshold(current: float, r: float, threshold: float) -> None:
    """v_t = r dt x t: without a leak, the interval is floor(threshold / (r dt x)) + 1 steps."""
    exact = threshold / (r * DT_S * current)
    assume(abs(exact - round(exact)) > 1e-6)
    period = math.floor(exact) + 1
    assert spike_steps(graphs.integrate_and_fire(1, r=r, v_threshold=threshold), current) == every(period, period)


def test_a_potential_at_the_threshold_does_not_fire() -> None:
    assert spike_steps(graphs.lif(1, tau=DT_S), 1.0) == []
    assert spike_steps(graphs.lif(1, tau=DT_S), 1.0 + 1e-15) == every(1, 1)
    assert run(nir.Threshold(np.array([1.0])), np.array([[[0.9], [1.0], [1.1]]])).ravel().tolist() == [0, 0, 1]


@given(seed=seeds, leak=st.floats(-0.5, 0.5), threshold=st.floats(0.2, 2))
def test_lif_is_norses_lif_box_cell(seed: int, leak: float, threshold: float) -> None:
    """With norse's time step of 1e-3 s, over 30 steps of random currents."""
    rng = np.random.default_rng(seed)
    x_TN = rng.normal(1.0, 2.0, size=(30, 16))
    tau_s = rng.uniform(2, 20) * DT_S
    values = {"tau_mem_inv": 1 / tau_s, "v_leak": leak, "v_th": threshold, "v_reset": -0.2}
    parameters = norse.LIFBoxParameters(**{n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()})
    expected = run_norse(norse.LIFBoxCell(p=parameters, dt=DT_S), x_TN)
    node = graphs.lif(16, tau=tau_s, v_leak=leak, v_threshold=threshold, v_reset=-0.2)
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], expected)


def run_norse(cell: torch.nn.Module, x_TN: NDArray[Any]) -> NDArray[np.float64]:
    """What a norse cell sends, from the state that it begins with."""
    state, sent = None, []
    for x_N in torch.from_numpy(x_TN):
        out, state = cell(x_N, state)
        sent.append(out.detach().numpy())
    return np.array(sent)


def tensors(count: int, **values: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(np.broadcast_to(v, count).astype(np.float64)) for name, v in values.items()}


@given(seed=seeds, leak=st.floats(-0.5, 0.5))
def test_li_is_norses_li_box_cell(seed: int, leak: float) -> None:
    rng = np.random.default_rng(seed)
    x_TN, tau_s = rng.normal(size=(30, 16)), rng.uniform(2, 20, size=16) * DT_S
    cell = norse.LIBoxCell(p=norse.LIBoxParameters(**tensors(16, tau_mem_inv=1 / tau_s, v_leak=leak)), dt=DT_S)
    found = run(nir.LI(**filled((16,), tau=tau_s, r=1.0, v_leak=leak)), x_TN[np.newaxis])[0]
    np.testing.assert_allclose(found, run_norse(cell, x_TN), atol=1e-12)


@given(seed=seeds, reset=st.floats(-0.5, 0.5))
def test_if_is_norses_iaf_cell(seed: int, reset: float) -> None:
    """Norse adds the input as it is, which is r dt = 1, and begins at its reset potential."""
    x_TN = np.random.default_rng(seed).normal(0.3, 1.0, size=(30, 16))
    cell = norse.IAFCell(norse.IAFParameters(**tensors(16, v_th=1.0, v_reset=reset)))
    node = graphs.integrate_and_fire(16, v_reset=reset)
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], run_norse(cell, x_TN))


@given(seed=seeds)
def test_cubalif_is_norses_lif_cell_when_a_spike_adds_one_to_its_current(seed: int) -> None:
    """In NIR a spike adds w_in dt / tau_syn; norse's current jumps by 1, which is w_in = tau_syn / dt."""
    rng = np.random.default_rng(seed)
    x_TN = rng.normal(0.5, 1.0, size=(30, 16))
    tau_syn_s, tau_mem_s = rng.uniform(2, 20, size=(2, 16)) * DT_S
    inverse = tensors(16, tau_syn_inv=1 / tau_syn_s, tau_mem_inv=1 / tau_mem_s, v_th=0.7)
    cell = norse.LIFCell(norse.LIFParameters(**inverse, **tensors(16, v_leak=0.1, v_reset=-0.2)), dt=DT_S).double()
    fields = {"v_leak": 0.1, "v_threshold": 0.7, "v_reset": -0.2, "w_in": tau_syn_s / DT_S}
    node = graphs.cubalif(16, tau_syn=tau_syn_s, tau_mem=tau_mem_s, **fields)
    np.testing.assert_array_equal(run(node, x_TN[np.newaxis])[0], run_norse(cell, x_TN))


@given(
    current=st.floats(-2, 2),
    decay=st.floats(0.05, 0.9),
    synaptic=st.floats(0.05, 0.9),
    r=st.floats(0.5, 2),
    w_in=st.floats(-2, 2),
    leak=st.floats(-1, 1),
)
def test_integrators_follow_their_exponentials(
    current: float, decay: float, synaptic: float, r: float, w_in: float, leak: float
) -> None:
    """For a constant input, with a = 1 - decay and b = 1 - synaptic, t steps after rest:

    I   r dt x t
    LI  leak + r x (1 - a^t)
    CubaLI  leak + r w x (1 - a^t - decay b (a^t - b^t) / (a - b))
    """
    assume(abs(decay - synaptic) > 1e-3)
    t, a, b = np.arange(1, 41), 1 - decay, 1 - synaptic
    x = np.full((1, 40, 1), current)
    values = filled((1,), r=r, v_leak=leak)
    times = {"tau_mem": np.array([DT_S / decay]), "tau_syn": np.array([DT_S / synaptic])}
    np.testing.assert_allclose(run(nir.I(r=values["r"]), x).ravel(), r * DT_S * current * t, atol=1e-12)
    leaky = run(nir.LI(tau=times["tau_mem"], **values), x).ravel()
    np.testing.assert_allclose(leaky, leak + r * current * (1 - a**t), atol=1e-10)
    cuba = run(nir.CubaLI(**times, **values, w_in=np.array([w_in])), x).ravel()
    shape = 1 - a**t - decay * b * (a**t - b**t) / (a - b)
    np.testing.assert_allclose(cuba, leak + r * w_in * current * shape, atol=1e-9)


def test_cubalif_fires_when_its_cubali_crosses_the_threshold() -> None:
    times = filled((1,), tau_syn=4e-3, tau_mem=8e-3, r=1.5, v_leak=0.2, w_in=2.0)
    x = np.full((1, 30, 1), 0.8)
    potential = run(nir.CubaLI(**times), x).ravel()
    fired = run(graphs.cubalif(1, **times, v_threshold=0.9, v_reset=-1.0), x).ravel()
    first = int(np.argmax(potential > 0.9))
    assert first == np.argmax(fired) > 0
    assert not fired[first + 1]  # from -1 it needs more than a step
