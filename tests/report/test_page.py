"""The page of a run: it says what the report says, stands alone, and trusts no name."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from numpy.typing import NDArray

from deploy.report import bitmaps, typeset
from deploy.report.by_cause import redrawn
from deploy.report.cost_chart import cost_chart
from deploy.report.keys.report import Report
from deploy.report.keys.run import ExactParity
from deploy.report.markdown import markdown
from deploy.report.page import PAGE_BYTES, grouped, render, write_page
from deploy.report.shown import ShownClip, shown_clips
from hardware.causes import PARTS
from hardware.counts import LISTED
from hardware.shown import shown_in
from pages import rendered
from svformer.pictures.pixels import raster_image

HOSTILE = "<script>alert('1')</script>.\"&"
LINKS = {"src", "srcset", "href", "xlink:href", "action", "data", "poster"}


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in LINKS]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self._hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


@pytest.fixture(scope="module")
def real_page(shipped_run: Any) -> Page:
    return Page(rendered(shipped_run))


def in_order(text: str) -> str:
    return " ".join(text.split())


def pixels(uri: str) -> NDArray[np.uint8]:
    """Picture of a data URI, [H, W, 4]."""
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.round(255 * imread(io.BytesIO(base64.b64decode(data)))).astype(np.uint8)


def test_raster_has_a_row_for_every_neuron_and_a_column_for_every_step() -> None:
    spikes_TCHW = np.zeros((3, 2, 1, 2), np.uint8)
    spikes_TCHW[0, 0, 0, 1] = 1  # channel 0, right pixel: neuron 1
    spikes_TCHW[2, 1, 0, 0] = 1  # channel 1, left pixel: neuron 2
    expected = [[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 0, 0]]
    assert raster_image(spikes_TCHW).tolist() == expected
    drawn = pixels(bitmaps.raster_of("layer", spikes_TCHW).png)
    assert drawn[..., 3].tolist() == expected, "ink is opacity, so that the page's background shows through"
    assert not drawn[..., :3].any()


def test_neurons_that_share_a_row_shade_it() -> None:
    """8 neurons in 2 rows: of the first four one fires, sqrt(1 / 4) = 0.5 of 255; of the others all."""
    spikes_TCHW = np.array([1, 0, 0, 0, 1, 1, 1, 1], np.uint8).reshape(1, 2, 2, 2)
    assert raster_image(spikes_TCHW, rows=2).tolist() == [[128], [255]]


@given(neurons=st.integers(1, 500), rows=st.integers(1, 64), data=st.data())
def test_no_neuron_is_left_out_of_a_raster(neurons: int, rows: int, data: st.DataObject) -> None:
    spikes = np.zeros((1, neurons, 1, 1), np.uint8)
    neuron = data.draw(st.integers(0, neurons - 1))
    spikes[0, neuron] = 1
    image = raster_image(spikes, rows=rows)
    assert image.shape == (min(rows, neurons), 1)
    assert np.count_nonzero(image) == 1
    assert abs(int(image.argmax()) - neuron * len(image) / neurons) <= 1


def test_rates_of_a_raster() -> None:
    spikes_TCHW = np.zeros((2, 4, 1, 1), np.uint8)
    spikes_TCHW[1, :3] = 1
    raster = bitmaps.raster_of("layer", spikes_TCHW)
    assert raster.rates_T == (0.0, 0.75)
    assert (raster.rate, raster.peak) == (0.375, 0.75)


def test_long_clips_have_coarser_rasters_and_curves() -> None:
    """A hundred time steps of one layer have all rows; 10,000 of 8 layers have 10. 256 rates are 128 means of two."""
    assert bitmaps.rows_of_rasters(100, 1) == 128
    assert bitmaps.rows_of_rasters(10_000, 8) == 10
    assert bitmaps.rows_of_rasters(10**7, 10) == bitmaps.LEAST_ROWS
    spikes_TCHW = np.zeros((256, 1, 1, 1), np.uint8)
    spikes_TCHW[2] = 1
    columns = bitmaps.raster_of("layer", spikes_TCHW).columns
    assert len(columns) == 128
    assert [(column.first, column.last, column.rate) for column in columns[:2]] == [(1, 2, 0.0), (3, 4, 0.5)]


def test_a_long_clip_of_many_layers_has_room(shipped_run: Any) -> None:
    """2,000 steps of noise in 22 layers, 12 results and large frames."""
    report, steps = shipped_run.report, 2000
    rng = np.random.default_rng(0)
    names = [layer.name for layer in report.layers if layer.rate is not None]
    shown = ShownClip(
        spikes={name: rng.integers(0, 2, (steps, 200, 1, 1), np.uint8) for name in names},
        frames=rng.normal(size=(steps, 3, 96, 96)).astype(np.float32),
        results=rng.normal(size=(steps, 12)).cumsum(axis=0),
    )
    clips = tuple(dataclasses.replace(clip, steps=steps) for clip in report.clips)
    assert len(render(dataclasses.replace(report, clips=clips), [shown]).encode()) <= PAGE_BYTES


def test_film_shows_colours_as_they_were_before_normalisation() -> None:
    """Red at 0.5 of full scale: (0.5 - 0.45) / 0.225 is the network's input."""
    colour = np.array([0.5, 0.0, 1.0])
    frames = np.broadcast_to(((colour - 0.45) / 0.225)[:, None, None], (2, 3, 4, 4)).astype(np.float32)
    film = bitmaps.film_strip(frames)
    assert [frame.step for frame in film] == [1, 2]
    assert (pixels(film[0].uri) == [128, 0, 255]).all()


def test_film_of_many_large_frames_is_thinned_and_shrunk() -> None:
    frames = np.zeros((40, 2, 200, 100), np.float32)
    frames[:, :, 100:] = 1.0
    film = bitmaps.film_strip(frames)
    assert len(film) == bitmaps.FRAMES_SHOWN
    assert [frame.step for frame in film] == sorted({frame.step for frame in film})
    picture = pixels(film[0].uri)[..., 0]
    assert picture.shape == (67, 34), "blocks of 3 x 3 pixels"
    assert (picture[:33] == 0).all()
    assert (picture[34:] == 255).all()


def test_input_that_is_no_picture() -> None:
    values = np.array([[-1.0, 3.0], [1.0, 1.0], [3.0, -1.0]], np.float32)  # T = 3
    assert pixels(bitmaps.signal_picture(values))[..., 0].tolist() == [[0, 128, 255], [255, 128, 0]]


def test_page_says_what_the_report_says(shipped_run: Any, real_page: Page) -> None:
    report, text = shipped_run.report, real_page.text
    for count in LISTED:
        assert count.label in text
        assert count.meaning in text
        assert typeset.count(getattr(report.totals, count.name)) in text
    for layer in report.layers:
        assert layer.name in text
        if layer.rate is not None:
            assert f"{100 * layer.rate:.2f}" in text
            assert f"{100 * layer.spike_match:.2f}" in text
    for model in report.energy.models.values():
        assert model.title in text
        if model.mj_per_view is not None:
            assert typeset.energy(model.mj_per_view) in text
        assert all(figure.removeprefix("stand-in: ") in text for figure in model.figures.values())
        assert all(note in text for note in model.notes)
    for clip in report.clips:
        assert {clip.source, clip.prediction, clip.float_prediction, clip.label} <= set(text.split())
    for fitted in report.fit.values():
        assert f"{fitted.cores} cores" in text
        if fitted.placement is None:
            assert fitted.unplaced in text
        else:
            assert f"{fitted.placement.cores} cores" in text
    assert "44,288 relays of delay lines" in text
    assert all(note in text for note in report.network.notes)
    assert report.energy.geometry_difference in text
    assert f"{report.plan.depth} synapses deep" in text
    assert "not run" in text, "parity with Lava was not asked for"
    assert "22 layers of LIF neurons, 16 graded relays (sums that pass on without a threshold), 1 input." in text
    assert report.provenance.command in text


def test_page_shows_every_part_of_the_energy_ledger(shipped_run: Any, real_page: Page) -> None:
    energy, text = shipped_run.report.energy, real_page.text
    for row in energy.paper.ledger:
        assert row.term in text
        assert typeset.count(row.paper_count) in text
        assert typeset.count(row.here_count) in text
    assert typeset.energy(energy.paper.at_its_geometry.mj, 4) in text
    for limit in energy.break_even.published:
        assert limit.source in text
        assert all(typeset.significant(reading.here) in text for reading in limit.readings)
    for model in shown_in("rates"):
        assert energy.break_even.models[model].verdict in text
    for entry in energy.bill:
        assert entry.choice in text
        assert typeset.energy(entry.mj["loihi1"]) in text
    assert [entry.item for entry in energy.bill if entry.deployed] == [
        "shortcuts", "convolutions without a neuron between", "delay lines", "readout over time"
    ]  # fmt: skip
    loihi = energy.models["loihi1"]
    assert typeset.energy(loihi.static.total_mj) in text
    low, high = loihi.range_mj
    assert f"{typeset.energy(low)} to {typeset.energy(high)}" in text
    for fitted in shipped_run.report.fit.values():
        assert fitted.advice in text


def test_the_ledger_can_be_drawn_again_for_any_model(shipped_run: Any, real_page: Page) -> None:
    """The script's data are the report's energies, memory as one part; a chip without a price is not offered."""
    report = shipped_run.report
    models, data = report.energy.models, redrawn(report)
    priced = [model for model in models.values() if model.mj_per_view is not None]
    assert [model["title"] for model in data["models"]] == [model.title for model in priced]
    for drawn, model in zip(data["models"], priced, strict=True):
        assert np.sum(drawn["parts"]) == pytest.approx(model.mj_per_view, rel=1e-3)
        assert np.shape(drawn["parts"]) == (len(report.layers), len(data["causes"]))
    loihi = next(model for model in data["models"] if model["title"] == models["loihi1"].title)
    assert dict(zip(data["causes"], loihi["stand_in"], strict=True))["MACs of graded messages"] is True
    colours = dict(zip(data["causes"], data["colours"], strict=True))
    assert colours == {part.label: part.colour for part in PARTS.values() if part.label in colours}
    assert {"ledger", "ledger-legend", "ledger-controls", "ledger-data"} <= set(real_page.ids)


def test_static_and_traced_counts_differ_at_borders_and_delays_alone(shipped_run: Any) -> None:
    layers = {layer.name: layer for layer in shipped_run.report.layers}
    for layer in layers.values():
        if layer.expected_ops is not None and not layer.expected_differs_by:
            traced = layer.synaptic_ops + layer.macs + layer.relay_adds + layer.comparisons
            assert traced == pytest.approx(layer.expected_ops), layer.name
    assert layers["down3.conv"].expected_differs_by == ("borders",)
    assert layers["head.local.sum"].expected_differs_by == ("delays",)


def test_markdown_says_what_the_report_says(shipped_run: Any, real_page: Page) -> None:
    report = shipped_run.report
    text = markdown(report)
    assert in_order(text) in in_order(real_page.text)
    for count in LISTED:
        assert f"| {count.label} | {typeset.count(getattr(report.totals, count.name))} |" in text
    for model in report.energy.models.values():
        assert model.title in text
        if model.mj_per_view is not None:
            assert typeset.energy(model.mj_per_view) in text
    assert "no match is claimed" in in_order(text)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 9
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, "every row has as many cells"


def test_layers_lie_in_the_chart_where_their_rate_and_energy_are(shipped_run: Any) -> None:
    """x: 0.1 % to 100 % over three decades; a layer is never below the line by more than its neurons allow."""
    report = shipped_run.report
    chart = cost_chart(report, "cmos45_fp32")
    assert chart is not None
    layers = {layer.name: layer for layer in report.layers}
    for point in chart.layers:
        layer = layers[point.name]
        rate = layer.synaptic_ops / layer.dense_synaptic_ops
        assert point.x == pytest.approx(100 * (1 + np.log10(rate) / 3))
        assert 0 <= point.y <= 100
    assert chart.spikes[0].x1 == 0
    assert chart.spikes[-1].x2 == pytest.approx(100)
    assert cost_chart(report, "loihi1") is None


def test_every_layer_has_its_raster(shipped_run: Any, real_page: Page) -> None:
    report, kept = shipped_run.report, shipped_run.tally.kept
    pictures = [link for link in real_page.links if link.startswith("data:image/png")]
    order = [layer.name for layer in report.layers if layer.name in kept]
    assert len(order) == 22
    first = 2 * report.network.frames + 1  # frames in the player and in the strip, and the raster of all layers
    assert pictures[first : first + 22] == [bitmaps.raster_of(name, kept[name][0]).png for name in order]


def test_page_stands_alone(shipped_run: Any, real_page: Page) -> None:
    html = rendered(shipped_run)
    anchors = [link for link in real_page.links if link.startswith("#")]
    assert {link[1:] for link in anchors} <= set(real_page.ids)
    assert all(link.startswith("data:") for link in set(real_page.links) - set(anchors))
    assert not {"iframe", "object", "embed", "base"} & set(real_page.tags)
    for word in ("url(", "@import", "fetch(", "XMLHttpRequest", "import("):
        assert word not in html
    assert len(html) < 3e6


def test_bit_exact_is_said_where_it_was_proven(shipped_run: Any) -> None:
    exact = ExactParity(bit_exact=True, layers=34, spikes_compared=1234567)
    parity = dataclasses.replace(shipped_run.report.parity, integer_vs_backend=exact, integer_vs_lava=exact)
    text = Page(rendered(shipped_run, backend="lava", parity=parity)).text
    assert "bit-exact" in text
    assert "1,234,567 messages of 34 layers" in text


def test_network_that_is_not_ours(foreign_run: Any) -> None:
    """20 steps x 3 inputs x 5 neurons at 4.6 pJ and 20 spikes x 2 outputs at 0.9 pJ: 1,416 pJ."""
    page = Page(rendered(foreign_run))
    for said in ("One clip through 5 spiking neurons", "not run", "The prediction.", "no published energy"):
        assert said in page.text
    assert typeset.energy(1416e-9) in page.text
    assert f"0.1{typeset.NARROW}ms" in page.text, "the time step"
    assert "spoken.npy below, and the spikes" in in_order(page.text), "pictures stand below the text"
    assert sum(link.startswith("data:image") for link in page.links) == 4, "the input and one layer, twice"
    assert "top-1" not in page.text.lower()


def test_a_network_that_is_not_svformer_is_not_set_beside_its_paper(foreign_run: Any, shipped_run: Any) -> None:
    assert (foreign_run.report.is_svformer, shipped_run.report.is_svformer) == (False, True)
    page, text = Page(rendered(foreign_run)).text, markdown(foreign_run.report)
    for said in ("SVFormer", "21 mJ", f"21{typeset.NARROW}mJ", "Beside the paper", "paper’s network"):
        assert said not in page
        assert said not in text


def test_words_agree_with_their_numbers(foreign_run: Any) -> None:
    text = in_order(Page(rendered(foreign_run)).text)
    for wrong in ("1 clips", "1 chips", "1 cores", "1 obstacles", "1 layers", "1 steps", "1 relays", "1 inputs"):
        assert not re.search(rf"\b{wrong}", text), wrong
    assert "1 obstacle, first: output: needs messages of 24 bits" in text
    assert "2 cores, 1 chip" in text
    assert "1 layer of LIF neurons, 1 graded relay (sums that pass on without a threshold), 1 input." in text


def test_frames_may_be_missing(foreign_run: Any) -> None:
    page = Page(rendered(foreign_run, {"frames": None, "results": None}))
    assert sum(link.startswith("data:image") for link in page.links) == 2, "the spikes in the player and below"


def test_hostile_names_stay_text(foreign_run: Any, tmp_path: Path) -> None:
    """The layer, and the clip, have a name that is a script."""
    named = json.dumps(foreign_run.report.plain())
    for name in ("hidden", "spoken"):
        named = named.replace(name, json.dumps(HOSTILE)[1:-1])
    (tmp_path / "report.json").write_text(named)
    spikes = {HOSTILE: foreign_run.tally.kept["hidden"][0]}
    page = Page(render(Report.read(tmp_path / "report.json"), [ShownClip(spikes=spikes)]))
    harmless = Page(rendered(foreign_run, {"frames": None, "results": None, "differences": {}}))
    assert page.tags.count("script") == harmless.tags.count("script")
    assert page.links == harmless.links
    assert HOSTILE in page.text


def test_long_list_of_clips_is_cut_and_says_so(foreign_run: Any) -> None:
    text = Page(rendered(foreign_run, clips=foreign_run.report.clips * 1200)).text
    assert "The first 500 of 1,200" in text
    assert text.count("spoken.npy") < 510


def test_same_obstacle_of_several_layers_is_said_once() -> None:
    found = grouped(("a: too wide", "b: too long: 3", "c: too wide"))
    assert [(o.what, o.layers) for o in found] == [("too wide", ("a", "c")), ("too long: 3", ("b",))]


def test_nothing_is_left_where_the_page_cannot_be_made(foreign_run: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with pytest.raises(IndexError):
        write_page(foreign_run.report, [ShownClip(place=1)], path)  # there is no second clip
    assert list(tmp_path.iterdir()) == []
    write_page(foreign_run.report, shown_clips(foreign_run.deployment, foreign_run.tally), path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (typeset.energy(0.0372277), "37.2 µJ"),
        (typeset.energy(21.0, 2), "21 mJ"),
        (typeset.energy(0.9996e-3), "1.00 µJ"),
        (typeset.energy(1234.5), "1.23 J"),
        (typeset.energy(3.6e-12), "0.00360 pJ"),
        (typeset.energy(0.0), "0"),
        (typeset.energy(None), "–"),
        (typeset.count(6554474.67), "6,554,475"),
        (typeset.count(15.25), "15.25"),
        (typeset.count(20), "20"),
        (typeset.percent(0.12345, 2), "12.35 %"),
        (typeset.percent(1.0, 2), "100.00 %"),
        (typeset.percent(0.99999, 2), "> 99.99 %"),
        (typeset.percent(0.00001, 2), "< 0.01 %"),
        (typeset.duration(0.2234), "223 ms"),
        (typeset.duration(12.34), "12.3 s"),
        (typeset.size([3, 64, 64]), "3 × 64 × 64"),
    ],
)
def test_numbers_are_written_with_units(written: str, expected: str) -> None:
    assert written.replace(typeset.NARROW, " ") == expected


def test_stacked_bar_ends_where_its_parts_add_up() -> None:
    """1 + 0 + 3 of 8: 12.5 % and, right behind, 37.5 %; the empty part is not drawn."""
    first, second = typeset.stacked({"a": 1.0, "b": 0.0, "c": 3.0}, full=8.0)
    assert (first.name, first.start, first.width) == ("a", 0.0, 12.5)
    assert (second.name, second.start, second.width) == ("c", 12.5, 37.5)
