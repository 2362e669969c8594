"""The event camera model, by hand for one pixel."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svformer.data.synthetic.event_camera import EventCamera

AT_THE_PICTURE: Any = SimpleNamespace(uniform=lambda low, high, shape: np.zeros(shape))  # all reference levels


def record(logs: list[float], camera: EventCamera, *, step_us: float = 1_000_000.0) -> list[tuple[bool, int]]:
    """What one pixel sends, of which the logarithm of the brightness is given at every picture."""
    pictures_NHW = np.exp(np.array(logs))[:, None, None]
    events = camera.record(pictures_NHW, np.arange(len(logs)) * step_us, AT_THE_PICTURE)
    assert set(events["x"]) <= {0}
    return [(bool(event["p"]), int(event["t"])) for event in events]


def test_an_event_for_every_threshold_that_is_crossed() -> None:
    """From 0 to 0.9 in 1 s, threshold 0.25: crossed at 0.25, 0.5 and 0.75, which is at 0.25 / 0.9 s and so on."""
    events = record([0.0, 0.9], EventCamera(threshold=0.25, dark_level=0.0))
    assert events == [(True, 277_778), (True, 555_556), (True, 833_333)]
    assert record([0.0, -0.9], EventCamera(threshold=0.25, dark_level=0.0)) == [(False, t) for _, t in events]


def test_the_reference_level_stays_where_the_last_event_left_it() -> None:
    """0 -> 0.4: an event at 0.25, and 0.15 is left; -> 0.55: at 0.5; back to 0.3: 0.2 below 0.5, none; -> 0.2: one."""
    events = record([0.0, 0.4, 0.55, 0.3, 0.2], EventCamera(threshold=0.25, dark_level=0.0))
    assert events == [(True, 625_000), (True, 1_666_667), (False, 3_500_000)]  # 0.25 lies half-way from 0.3 to 0.2


def test_a_pixel_is_deaf_for_the_refractory_period() -> None:
    """Of events at 0.28, 0.56 and 0.83 s the second comes too early; the third is 0.56 s after the first."""
    events = record([0.0, 0.9], EventCamera(threshold=0.25, dark_level=0.0, refractory_us=500_000))
    assert [t for _, t in events] == [277_778, 833_333]


def test_what_a_dark_pixel_sees_of_itself_hides_contrast() -> None:
    """1 -> 2: log 2 = 0.69, 2 events; beside a dark level of 10, log (12 / 11) = 0.09: none."""
    bright, dark = (EventCamera(threshold=0.3, dark_level=level) for level in (0.0, 10.0))
    assert len(record([0.0, float(np.log(2))], bright)) == 2
    assert record([0.0, float(np.log(2))], dark) == []


@given(
    levels=st.lists(st.lists(st.floats(0, 255), min_size=6, max_size=6), min_size=2, max_size=5),
    threshold=st.floats(0.1, 1.0),
)
def test_the_events_of_a_pixel_add_up_to_what_it_saw(levels: list[list[float]], threshold: float) -> None:
    """Without a refractory period the signs times the threshold follow the logarithm to within 1.5 thresholds."""
    pictures_NHW = np.array(levels).reshape(len(levels), 2, 3)
    camera = EventCamera(threshold=threshold, refractory_us=0)
    events = camera.record(pictures_NHW, np.arange(len(levels)) * 1e4, np.random.default_rng(0))
    assert (np.diff(events["t"]) >= 0).all()
    seen = np.zeros((2, 3))
    np.add.at(seen, (events["y"], events["x"]), np.where(events["p"], threshold, -threshold))
    logs = np.log(pictures_NHW + camera.dark_level)
    assert np.abs(seen - (logs[-1] - logs[0])).max() == pytest.approx(0, abs=1.5 * threshold + 1e-9)


def test_the_same_seed_gives_the_same_events() -> None:
    pictures_NHW = np.random.default_rng(1).uniform(0, 255, (4, 5, 5))
    first, second, other = (
        EventCamera().record(pictures_NHW, np.arange(4) * 1e4, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == second).all()
    assert len(first) != len(other) or (first != other).any()
