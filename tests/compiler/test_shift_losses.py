"""What right shifts cut off is given back by the first bias that can hold it."""

import numpy as np
import pytest

import ints
import reals
from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network
from deploy.ir.populations.input import Input
from deploy.passes.calibrate import Calibration, calibrate
from deploy.passes.shift_losses import shift_losses

VALUES = np.arange(16.0).reshape(1, 16, 1, 1, 1)  # every time step another


def exact(gain: float = 3.0) -> Network:
    """A value, a relay that takes it as it is, neurons that take it times a weight."""
    return reals.network(
        {"in": Input(shape=reals.ONE), "relay": reals.relay(), "neurons": reals.lif(threshold=1e3)},
        reals.link("in", "relay", reals.same()),
        reals.link("relay", "neurons", reals.dense([[gain]])),
        frames=16,
    )


def in_integers(exponent: int, scale: float) -> IntNetwork:
    """The same; the relay shifts values to the right."""
    weight = ints.link("relay", "neurons", ints.dense([[3]]))
    populations = {"in": ints.entry(high=15), "relay": ints.relay(scale=scale), "neurons": ints.lif(threshold=1000)}
    return ints.network(populations, ints.link("in", "relay", ints.dense([[1]], exponent=exponent)), weight, frames=16)


def calibration() -> Calibration:
    return calibrate(exact(), VALUES)


def test_a_relay_gives_back_whole_numbers() -> None:
    """Of 0..15, shifted by 3, 0/8 to 7/8 are cut off: 7/16 on average, which rounds to 0 and goes on, times 3."""
    losses = shift_losses(exact(), in_integers(-3, 1.0), calibration())
    assert set(losses) == {"neurons"}
    assert losses["neurons"].item() == pytest.approx(3 * 7 / 16)


def test_what_is_more_than_half_a_unit_is_given_back_at_once() -> None:
    """Two connections that cut off 7/16 each: 7/8, of which the relay gives back 1, and 1/8 too much goes on."""
    once = in_integers(-3, 1.0)
    twice = ints.network(once.populations, once.connections[0], *once.connections, frames=16)
    losses = shift_losses(exact(), twice, calibration())
    assert losses["relay"].item() == 1
    assert losses["neurons"].item() == pytest.approx(3 * -1 / 8)


def test_nothing_is_cut_off_by_left_shifts() -> None:
    assert shift_losses(exact(), in_integers(0, 1.0), calibration()) == {}


def test_losses_are_real_numbers_whatever_the_scale() -> None:
    """A relay of scale 0.5 holds halves of what arrives: 7/16 of its units are 7/8."""
    losses = shift_losses(exact(), in_integers(-3, 0.5), calibration())
    assert losses["neurons"].item() == pytest.approx(3 * 7 / 8)
