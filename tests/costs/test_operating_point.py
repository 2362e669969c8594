"""Chips at the rate of the frames: static energy, times and the energy-delay product by hand."""

import pytest

from hardware import ChipError, load_chip
from hardware.operating_point import FrameRate, OperatingPoint, operating_point

LOIHI_1, LOIHI_2 = load_chip("loihi1"), load_chip("loihi2")
VIDEO = FrameRate(fps=30, every=4)


def point(**changes: object) -> OperatingPoint:
    """16 steps, 30 synapses deep, one chip of 104 mW, 0.7 and 0.1 mJ."""
    given = {"steps": 16, "depth": 30, "chips": 1, "dynamic_mj": 0.7, "traffic_mj": 0.1, "step_s": 0.5e-3}
    return operating_point(LOIHI_1, VIDEO, **{**given, **changes})


def test_a_clip_lasts_as_long_as_its_frames_take_to_come() -> None:
    """16 frames, one of 4 at 30 a second: 16 x 4 / 30 = 2.133 s at 104 mW are 221.9 mJ."""
    found = point()
    assert found.clip_s == pytest.approx(16 * 4 / 30)
    assert found.static_mj == pytest.approx(104 * 16 * 4 / 30)
    assert found.total_mj == pytest.approx(0.8 + 104 * 16 * 4 / 30)


def test_a_chip_that_is_slower_than_the_frames_lasts_as_long_as_it_needs() -> None:
    found = point(step_s=0.2)
    assert found.clip_s == pytest.approx(16 * 0.2)
    assert found.speed is not None
    assert found.speed.reachable_fps == pytest.approx(4 / 0.2)  # 20 of the 30 a second
    assert found.speed.latency_s == pytest.approx(30 * 0.2)


def test_times_and_energy_delay_product_at_its_fastest() -> None:
    """A step of 0.5 ms: 46 steps are 23 ms; 16 draw 104 x 8 ms = 0.832 mJ."""
    speed = point().speed
    assert speed is not None
    assert speed.reachable_fps == pytest.approx(8000)
    assert speed.first_result_s == pytest.approx(0.023)
    assert speed.latency_s == pytest.approx(30 * 4 / 30)
    assert speed.static_busy_mj == pytest.approx(0.832)
    assert speed.energy_delay_mj_s == pytest.approx((0.8 + 0.832) * 0.023)


def test_what_no_source_says_is_unknown_and_not_zero() -> None:
    found = operating_point(LOIHI_2, VIDEO, steps=16, depth=30, chips=1, dynamic_mj=None, traffic_mj=None, step_s=None)
    assert (found.static_mj, found.total_mj, found.speed) == (None, None, None)
    assert "2601.10035" in found.no_times_because
    assert found.unknown == ("host", "input and output", "messages between cores", "static power")
    assert point().unknown == ("host", "input and output")


@pytest.mark.parametrize(("fps", "every"), [(0, 1), (-1, 1), (30, 0)])
def test_a_rate_that_is_none_is_refused(fps: float, every: int) -> None:
    with pytest.raises(ChipError, match="allowed: more than 0, 1 or more"):
        FrameRate(fps=fps, every=every)
