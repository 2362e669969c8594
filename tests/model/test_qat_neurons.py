"""Neurons with the decays and thresholds of a chip: exact arithmetic, ties, and gradients through the rounding."""

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from svformer.model.neurons import PLIF
from tensors import normal as random

SEEDS = st.integers(0, 2**31)


@given(seed=SEEDS, tau=st.floats(1.01, 50), v_th=st.floats(0.1, 3))
def test_neurons_on_a_chip_in_exact_arithmetic(seed: int, tau: float, v_th: float) -> None:
    """Decay k / 4096, threshold n / 64 in units of v / decay, against fractions; never a float in between."""
    layer = PLIF(tau=tau, v_th=v_th, fixed_point=True).double()
    k = round(4096 * torch.sigmoid(layer.p.w).item())
    assert layer.decay == k / 4096
    n = round(64 * v_th / layer.decay)
    assert layer.threshold == pytest.approx(n / 64 * layer.decay, rel=1e-12)
    currents = (4096 * 2 * v_th * random(6, 5, seed=seed)).round() / 4096
    found = layer(currents)
    for neuron in range(5):
        v = Fraction(0)
        for step, current in enumerate(currents[:, neuron].tolist()):
            v += Fraction(current) - v * Fraction(k, 4096)
            assume(v != Fraction(n, 64))  # a tie is the roundings' to decide
            fires = v > Fraction(n, 64)
            assert found[step, neuron] == fires
            v = Fraction(0) if fires else v


def test_a_current_that_lifts_a_resting_neuron_just_to_the_threshold_makes_it_fire() -> None:
    layer = PLIF(tau=2.3, fixed_point=True)
    n = round(64 / layer.decay)
    at, below = (torch.full((1, 1), value / 64) for value in (n, n - 1))
    assert layer(at).item() == 1
    assert layer(below).item() == 0


def test_the_slowest_neuron_keeps_a_decay_above_zero() -> None:
    layer = PLIF(tau=1e6, fixed_point=True)
    assert layer.decay == 1 / 4096
    assert layer.threshold == 1.0


def test_time_constants_learn_through_the_rounding() -> None:
    """Where rounding changes nothing, the gradient is that of the real neuron: tau = 2 is 2048 / 4096, and 128 / 64."""
    x = random(6, 40)
    gradients = []
    for fixed_point in (False, True):
        layer = PLIF(tau=2.0, fixed_point=fixed_point).double()
        gradients.append(torch.autograd.grad((layer(x) * random(6, 40, seed=1)).sum(), layer.p.w)[0].item())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-9)
