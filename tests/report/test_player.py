"""The first screen: the clip, the spikes of all layers and the results over time, complete without a script."""

import base64
import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from deploy.report import bitmaps
from deploy.report.player import COLOURS, LINES, PICTURES, player, result_lines, stacked_raster
from pages import rendered
from svformer.pictures.pixels import raster_image


class Screen(HTMLParser):
    """Tags with their attributes, of the player alone; and what stands above it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._inside |= "player" in (found.get("class") or "").split() and not self.tags
        if self._inside:
            self.tags.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "section"

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]

    @property
    def results_TK(self) -> Any:
        lines = [attrs["data-results"] for _, attrs in self.tags if "data-results" in attrs]
        return np.array([line.split() for line in lines if line], dtype=float).T


def screen(run: Any, **shown: Any) -> Screen:
    return Screen(rendered(run, shown))


def test_every_frame_and_all_layers_are_there(shipped_run: Any) -> None:
    """Without a script the first frame is seen, and no button that would do nothing."""
    found, report = screen(shipped_run), shipped_run.report
    stills = found.of_class("still")
    assert [still["data-step"] for still in stills] == [str(step + 1) for step in range(report.network.frames)]
    assert ["hidden" in still for still in stills] == [False] + [True] * (len(stills) - 1)
    assert len(found.of_class("whole")) == 1
    assert len(found.of_class("band")) == len(shipped_run.tally.kept)
    assert all("hidden" in attrs for attrs in (*found.of_class("cursor"), *found.of_class("controls")))


def test_controls_have_names(foreign_run: Any) -> None:
    found = screen(foreign_run)
    buttons = [attrs for tag, attrs in found.tags if tag == "button"]
    assert [attrs["data-do"] for attrs in buttons if "data-do" in attrs] == ["play", "back", "forward"]
    assert [attrs["data-speed"] for attrs in buttons if "data-speed" in attrs] == ["1", "0.5", "0.25"]
    assert all("aria-label" in attrs for attrs in buttons if attrs.get("data-do") != "play")
    (slider,) = [attrs for tag, attrs in found.tags if tag == "input"]
    assert (slider["type"], slider["max"], slider["aria-label"]) == ("range", "20", "time step")


def test_last_results_are_those_of_the_report(shipped_run: Any) -> None:
    logits = np.array(shipped_run.report.clips[0].logits)
    results_TK = screen(shipped_run).results_TK
    assert results_TK.shape == (shipped_run.report.network.frames, min(LINES, len(logits)))
    assert results_TK[-1] == pytest.approx(np.sort(logits)[::-1][:LINES], rel=1e-3)
    assert shipped_run.tally.kept_results[0, -1] == pytest.approx(logits, abs=1e-6)


def test_results_grow_with_the_clip(foreign_run: Any) -> None:
    """One spike a step from neuron 2, whose weights are 0.5 and 1; the last message is the result, at every step."""
    results_TK = foreign_run.tally.kept_results[0]
    assert results_TK.shape == (20, 2)
    assert results_TK == pytest.approx(np.broadcast_to([0.5, 1.0], (20, 2)), rel=0.02)


def test_a_signal_takes_the_place_of_the_film(foreign_run: Any) -> None:
    found = screen(foreign_run)
    assert not found.of_class("still")
    assert [attrs["src"] for attrs in found.of_class("signal")] == [
        bitmaps.signal_picture(np.ones((20, 3), np.float32))
    ]
    assert len(found.of_class("cursor")) == 3, "input, spikes, results"


@pytest.mark.parametrize("missing", ["frames", "results", "spikes"])
def test_what_is_missing_is_left_out(foreign_run: Any, missing: str) -> None:
    found = screen(foreign_run, **{missing: {} if missing == "spikes" else None})
    assert len(found.of_class("cursor")) == 2


def test_without_a_kept_clip_there_is_no_player(foreign_run: Any) -> None:
    assert screen(foreign_run, spikes={}, frames=None, results=None).tags == []


def test_layers_lie_one_below_the_other() -> None:
    """3 rows and 1 row: three quarters and one quarter of the height, each layer as alone."""
    rng = np.random.default_rng(0)
    spikes = {"a": rng.integers(0, 2, (4, 3, 1, 1)), "b": rng.integers(0, 2, (4, 1, 1, 1))}
    uri, bands = stacked_raster(spikes)
    assert [(band.name, band.neurons, band.top, band.share) for band in bands] == [("a", 3, 0, 75), ("b", 1, 75, 25)]
    drawn = imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))[..., 3]
    assert np.array_equal(np.round(255 * drawn), np.concatenate([raster_image(layer) for layer in spikes.values()]))


def test_lines_are_stairs_between_the_margins() -> None:
    """Results 0, 1 and 4, 2: the second class is first; 4 lies 14 % below the top, 0 14 % above the bottom."""
    found = result_lines(np.array([[0.0, 4.0], [1.0, 2.0]]), ("first",))
    assert [(line.name, line.colour) for line in found.lines] == [("1", COLOURS[0]), ("first", COLOURS[1])]
    assert found.lines[0].points == "0.000,14.00 50.000,14.00 50.000,50.00 100.000,50.00"
    assert found.lines[1].points == "0.000,86.00 50.000,86.00 50.000,68.00 100.000,68.00"
    assert (found.lowest, found.highest) == (0.0, 4.0)


def test_a_shorter_clip_ends_the_raster() -> None:
    spikes = {"a": np.ones((10, 2, 1, 1), np.uint8)}
    drawn = player(spikes, None, None, steps=4, classes=())
    assert drawn is not None
    assert drawn.raster == stacked_raster({"a": spikes["a"][:4]})[0]


def test_long_and_large_clips_stay_light() -> None:
    """1000 frames of noise: 64 of them, the first included, in less than the page may weigh."""
    frames = np.random.default_rng(0).normal(size=(1000, 1, 150, 150)).astype(np.float32)
    film = bitmaps.film(frames, PICTURES)
    assert len(film) == PICTURES
    assert (film[0].step, film[1].step) == (1, 16)
    assert all(frame.uri.startswith("data:image/jpeg") for frame in film)
    assert sum(len(frame.uri) for frame in film) < 2.5e6
    assert bitmaps.film(frames[:2], PICTURES)[0].uri.startswith("data:image/png")
