"""A model of an event camera: a pixel sends an event whenever its brightness has changed by a certain factor.

Every pixel compares the logarithm of its brightness with its own reference level. When they differ by the threshold,
the pixel sends the sign of the difference and moves the reference by the threshold; after an event it sends no other
for the refractory period. Between the pictures of a video the logarithm changes linearly. Lichtsteiner et al., IEEE
Journal of Solid-State Circuits 43(2), 2008; the interpolation is that of Rebecq et al., "ESIM", CoRL 2018.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svformer.data.events import EVENT, Events

Doubles = NDArray[np.float64]
US_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class EventCamera:
    """Properties of the sensor and of the light."""

    threshold: float = 0.3  # change of the natural logarithm of the brightness; 0.3 is 35 % brighter
    refractory_us: int = 1_000  # microseconds
    dark_level: float = 10.0  # brightness of a pixel without light, in levels of the video (0 .. 255)

    def record(self, pictures_NHW: NDArray[Any], times_us: NDArray[Any], rng: np.random.Generator) -> Events:
        """Events between the first and the last picture, in order of time.

        `pictures_NHW` are levels from 0 to 255, `times_us` [N] in microseconds. `rng` draws the first reference levels,
        within half a threshold of the first picture.
        """
        logs = np.log(np.asarray(pictures_NHW, np.float64) + self.dark_level)
        reference = logs[0] + self.threshold * rng.uniform(-0.5, 0.5, logs[0].shape)
        last_us = np.full(logs[0].shape, -np.inf)
        parts = [np.empty(0, EVENT)]
        for first, second, start_us, end_us in zip(logs, logs[1:], times_us, times_us[1:], strict=False):
            crossings = np.trunc((second - reference) / self.threshold).astype(int)
            for number in range(1, int(np.abs(crossings).max()) + 1):
                y, x = np.nonzero(np.abs(crossings) >= number)
                brighter = crossings[y, x] > 0
                level = reference[y, x] + np.where(brighter, number, -number) * self.threshold
                passed = (level - first[y, x]) / (second[y, x] - first[y, x])
                at_us = start_us + np.clip(passed, 0, 1) * (end_us - start_us)
                sent = at_us - last_us[y, x] >= self.refractory_us
                last_us[y[sent], x[sent]] = at_us[sent]
                parts.append(_events(x[sent], y[sent], brighter[sent], at_us[sent]))
            reference += crossings * self.threshold
        events = np.concatenate(parts)
        return events[np.argsort(events["t"], kind="stable")]


def _events(x: NDArray[np.intp], y: NDArray[np.intp], brighter: NDArray[np.bool_], at_us: Doubles) -> Events:
    events = np.empty(len(x), EVENT)
    events["x"], events["y"], events["p"], events["t"] = x, y, brighter, np.rint(at_us)
    return events
