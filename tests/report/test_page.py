"""The page of a run: it says what the report says, stands alone, and trusts no name."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from numpy.typing import NDArray

from deploy.clips.files import shipped
from deploy.execution.tally import Tally
from deploy.frontend.export import export_checkpoint
from deploy.pipeline import deploy, run
from deploy.report import bitmaps as plot
from deploy.report import typeset
from deploy.report.by_cause import redrawn
from deploy.report.cost_chart import cost_chart
from deploy.report.markdown import markdown
from deploy.report.page import LEDGER, grouped, render, write_page
from deploy.report.record import record
from hardware import OpCounts, paper_ledger
from svformer.assets import DEMO_CLIPS, TINY_CHECKPOINT

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


def other_network(name: str = "hidden") -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """Report and spikes of a network that is not ours: 3 values in, 5 neurons in a layer, 2 outputs without names.

    No attention, no relay on the way, nothing decided, no class known, run without Lava, 20 time steps; one neuron
    fires at every step, the others never.
    """
    spikes = np.zeros((1, 20, 5, 1, 1), np.uint8)
    spikes[:, :, 2] = 1
    counted = {**{key: 0.0 for key, *_ in LEDGER}, "dense_synaptic_ops": 0.0}
    unknown = {"rate": None, "float_rate": None, "spike_match": None, "expected_ops": None, "expected_differs_by": []}
    fired = {"rate": 0.2, "float_rate": 0.3, "spike_match": 0.9, "spikes": 20.0, "synaptic_ops": 40.0}
    fired |= {"expected_ops": 38.0, "expected_differs_by": ["borders"]}
    convention: dict[str, Any] = {
        "title": "a convention",
        "mj_per_video": 3.6e-8,
        "weighted_layers_mj": 3.6e-8,
        "breakdown": {"synaptic_ops": 3.6e-8},
        "by_layer": {"in": {"synaptic_ops": 0.0}, name: {"synaptic_ops": 0.0}, "out": {"synaptic_ops": 3.6e-8}},
        "figures": {"synaptic_ops": "0.9 pJ"},
        "notes": [name],
        "range_mj": [3.6e-8, 3.6e-8],
        "sensitivity": [],
        "static": None,
    }
    unpriced = {
        **dict.fromkeys(("mj_per_video", "weighted_layers_mj", "static")),
        **{key: {} for key in ("breakdown", "by_layer", "figures")},
        **{key: [] for key in ("range_mj", "sensitivity")},
    }
    report = {
        "schema": "svformer-run/1",
        "network": {
            "name": "hand-made",
            "nodes": 5, "populations": 3, "neurons": 5, "parameters": 25, "weight_bits": 8, "frames": 20,
            "input_shape": [3], "dt_s": 1e-4, "trained_on": None, "classes": [], "calibration_clips": 1, "notes": [],
            "synapse_memory_kib": 1.5,
        },
        "plan": {"depth": 2, "first_step": {"in": 1, name: 2, "out": 3}, "longest_delay": 0},
        "headroom": [{"where": f"in -> {name}", "what": "sum", "worst": 381.0, "limit": 8388607, "share": 4.5e-5}],
        "fit": {
            "loihi1": {
                "chip": "loihi1", "cores": 2, "chips": 1, "obstacles": [], "unchecked": [],
                "layers": [{"name": layer, "cores": 1, "cores_by_limit": {"neurons": 1}} for layer in (name, "out")],
                "advice": f"{name} takes most, 1 core of 2, by its neurons: it fits one core",
                "needs": {
                    "neurons": 7, "synapse_memory_kib": 1.5, "synapses": 25, "fan_in_axons": 8, "fan_out_axons": 5,
                },
            },
        },
        "backend": "integer",
        "clips": [
            {
                "source": f"{name}.npy", "start": 0.5, "crop": 0.5, "label": None, "prediction": "1",
                "logits": [0.0, 1.0], "float_prediction": "0", "steps": 20, "seconds": 0.01,
            },
        ],
        "accuracy": {"videos": 0, "views": 1, "note": "no clip bears a class; the prediction means nothing"},
        "parity": {
            "integer_vs_lava": {"bit_exact": None, "layers": 0, "spikes_compared": 0},
            "float_vs_integer": {"top1_agreement": 0.0, "spike_match": 0.9, "logit_rmse": 0.5},
        },
        "layers": [
            {**counted, **unknown, "name": "in", "kind": "input", "shape": [3, 1, 1], "neurons": 0},
            {**counted, **fired, "name": name, "kind": "lif", "shape": [5, 1, 1], "neurons": 5},
            {**counted, **unknown, "name": "out", "kind": "relay", "shape": [2, 1, 1], "neurons": 0},
        ],
        "totals": {**counted, "synaptic_ops": 40.0},
        "readout": counted,
        "energy": {
            "models": {"convention": convention, "loihi2": {**unpriced, "title": "unpriced chip", "notes": ["why"]}},
            "convention": "convention", "paper_mj_per_video": 21.0, "ratio_to_paper": 1.7e-9,
            "geometry_difference": "Another network.",
            "paper": {
                "ledger": paper_ledger.beside(OpCounts(synaptic_ops=40)),
                "recomputed_mj": 15.95, "at_its_geometry": None,
                "accuracy": {"1": 80.73, "15": 84.03}, "views": {"1": 3.6e-8, "15": 5.4e-7},
            },
            "break_even": None,
            "bill": [],
        },
        "timing": {"build_s": 0.0, "run_s": 0.01, "seconds_per_clip": 0.01, "time_steps": 22, "peak_rss_mb": 100.0},
    }  # fmt: skip
    return report, {name: spikes}


@pytest.fixture(scope="module")
def real() -> tuple[dict[str, Any], Tally]:
    """The shipped network on two shipped clips, in the integer interpreter."""
    _, graph = export_checkpoint(TINY_CHECKPOINT)
    sources = shipped(DEMO_CLIPS)[:2]
    deployment = deploy(graph, sources, say=lambda line: None)
    tally = run(deployment, sources, backend="integer")
    return record(deployment, tally, backend="integer"), tally


@pytest.fixture(scope="module")
def real_page(real: tuple[dict[str, Any], Tally]) -> Page:
    report, tally = real
    return Page(render(report, tally.kept, tally.shown_frames))


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
    assert plot.raster_image(spikes_TCHW).tolist() == expected
    drawn = pixels(plot.raster("layer", spikes_TCHW).png)
    assert drawn[..., 3].tolist() == expected, "ink is opacity, so that the page's background shows through"
    assert not drawn[..., :3].any()


def test_neurons_that_share_a_row_shade_it() -> None:
    """8 neurons in 2 rows: of the first four one fires, sqrt(1 / 4) = 0.5 of 255; of the others all."""
    spikes_TCHW = np.array([1, 0, 0, 0, 1, 1, 1, 1], np.uint8).reshape(1, 2, 2, 2)
    assert plot.raster_image(spikes_TCHW, rows=2).tolist() == [[128], [255]]


@given(neurons=st.integers(1, 500), rows=st.integers(1, 64), data=st.data())
def test_no_neuron_is_left_out_of_a_raster(neurons: int, rows: int, data: st.DataObject) -> None:
    spikes = np.zeros((1, neurons, 1, 1), np.uint8)
    neuron = data.draw(st.integers(0, neurons - 1))
    spikes[0, neuron] = 1
    image = plot.raster_image(spikes, rows=rows)
    assert image.shape == (min(rows, neurons), 1)
    assert np.count_nonzero(image) == 1
    assert abs(int(image.argmax()) - neuron * len(image) / neurons) <= 1


def test_rates_of_a_raster() -> None:
    spikes_TCHW = np.zeros((2, 4, 1, 1), np.uint8)
    spikes_TCHW[1, :3] = 1
    raster = plot.raster("layer", spikes_TCHW)
    assert raster.rates_T == (0.0, 0.75)
    assert (raster.rate, raster.peak) == (0.375, 0.75)


def test_film_shows_colours_as_they_were_before_normalisation() -> None:
    """Red at 0.5 of full scale: (0.5 - 0.45) / 0.225 is the network's input."""
    colour = np.array([0.5, 0.0, 1.0])
    frames = np.broadcast_to(((colour - 0.45) / 0.225)[:, None, None], (2, 3, 4, 4)).astype(np.float32)
    film = plot.film_strip(frames)
    assert [frame.step for frame in film] == [1, 2]
    assert (pixels(film[0].png) == [128, 0, 255, 255]).all()


def test_film_of_many_large_frames_is_thinned_and_shrunk() -> None:
    frames = np.zeros((40, 2, 200, 100), np.float32)
    frames[:, :, 100:] = 1.0
    film = plot.film_strip(frames)
    assert len(film) == plot.FRAMES_SHOWN
    assert [frame.step for frame in film] == sorted({frame.step for frame in film})
    picture = pixels(film[0].png)[..., 0]
    assert picture.shape == (67, 34), "blocks of 3 x 3 pixels"
    assert (picture[:33] == 0).all()
    assert (picture[34:] == 255).all()


def test_input_that_is_no_picture() -> None:
    values = np.array([[-1.0, 3.0], [1.0, 1.0], [3.0, -1.0]], np.float32)  # T = 3
    assert pixels(plot.signal_picture(values))[..., 0].tolist() == [[0, 128, 255], [255, 128, 0]]


def test_page_says_what_the_report_says(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    report, text = real[0], real_page.text
    for key, title, _ in LEDGER:
        assert title in text
        assert typeset.count(report["totals"][key]) in text
    for layer in report["layers"]:
        assert layer["name"] in text
        if layer["rate"] is not None:
            assert f"{100 * layer['rate']:.2f}" in text
            assert f"{100 * layer['spike_match']:.2f}" in text
    for energy in report["energy"]["models"].values():
        assert energy["title"] in text
        assert typeset.energy(energy["mj_per_video"]) in text
        assert all(figure.removeprefix("stand-in: ") in text for figure in energy["figures"].values())
        assert all(note in text for note in energy["notes"])
    for clip in report["clips"]:
        assert {clip["source"], clip["prediction"], clip["float_prediction"], clip["label"]} <= set(text.split())
    for fitted in report["fit"].values():
        assert f"{fitted['cores']} cores" in text
    assert all(note in text for note in report["network"]["notes"])
    assert report["energy"]["geometry_difference"] in text
    assert f"{report['plan']['depth']} synapses deep" in text
    assert "not run" in text, "parity with Lava was not asked for"


def test_page_shows_every_part_of_the_energy_ledger(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    report, text = real[0], real_page.text
    energy = report["energy"]
    for row in energy["paper"]["ledger"]:
        assert row["term"] in text
        assert typeset.count(row["paper_count"]) in text
        assert typeset.count(row["measured_count"]) in text
    assert typeset.energy(energy["paper"]["at_its_geometry"]["mj"], 4) in text
    for limit in energy["break_even"]["published"]:
        assert limit["source"] in text
        assert typeset.significant(limit["measured"]) in text
    for model in ("cmos45_fp32", "cmos45_lemaire"):
        assert energy["break_even"]["models"][model]["verdict"] in text
    for entry in energy["bill"]:
        assert entry["choice"] in text
        assert typeset.energy(entry["mj"]["loihi1"]) in text
    assert [entry["item"] for entry in energy["bill"] if entry["deployed"]] == [
        "shortcuts", "convolutions without a neuron between", "delay lines", "readout over time"
    ]  # fmt: skip
    loihi = energy["models"]["loihi1"]
    assert typeset.energy(loihi["static"]["total_mj"]) in text
    low, high = loihi["range_mj"]
    assert f"{typeset.energy(low)} to {typeset.energy(high)}" in text
    for fitted in report["fit"].values():
        assert fitted["advice"] in text


def test_the_ledger_can_be_drawn_again_for_any_model(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    """The script's data are the report's energies, memory as one cause; a chip without a price is not offered."""
    report = real[0]
    models, data = report["energy"]["models"], redrawn(report)
    priced = [model for model in models.values() if model["mj_per_video"] is not None]
    assert [model["title"] for model in data["models"]] == [model["title"] for model in priced]
    for drawn, model in zip(data["models"], priced, strict=True):
        assert np.sum(drawn["parts"]) == pytest.approx(model["mj_per_video"], rel=1e-3)
        assert np.shape(drawn["parts"]) == (len(report["layers"]), len(data["causes"]))
    loihi = next(model for model in data["models"] if model["title"] == models["loihi1"]["title"])
    assert dict(zip(data["causes"], loihi["stand_in"], strict=True))["MACs of graded messages"] is True
    assert {"ledger", "ledger-legend", "ledger-controls", "ledger-data"} <= set(real_page.ids)


def test_static_and_traced_counts_differ_at_borders_and_delays_alone(real: tuple[dict[str, Any], Tally]) -> None:
    layers = {layer["name"]: layer for layer in real[0]["layers"]}
    for layer in layers.values():
        if layer["expected_ops"] is not None and not layer["expected_differs_by"]:
            traced = layer["synaptic_ops"] + layer["macs"] + layer["relay_adds"]
            assert traced == pytest.approx(layer["expected_ops"]), layer["name"]
    assert layers["down3.conv"]["expected_differs_by"] == ["borders"]
    assert layers["head.local.sum"]["expected_differs_by"] == ["delays"]


def test_markdown_says_what_the_report_says(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    report = real[0]
    text = markdown(report)
    assert " ".join(text.split()) in " ".join(real_page.text.split())
    for model in report["energy"]["models"].values():
        assert model["title"] in text
        if model["mj_per_video"] is not None:
            assert typeset.energy(model["mj_per_video"]) in text
    assert "no match is claimed" in " ".join(text.split())
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, "every row has as many cells"


def test_layers_lie_in_the_chart_where_their_rate_and_energy_are(real: tuple[dict[str, Any], Tally]) -> None:
    """x: 0.1 % to 100 % over three decades; a layer is never below the line by more than its neurons allow."""
    report = real[0]
    chart = cost_chart(report, "cmos45_fp32")
    assert chart is not None
    layers = {layer["name"]: layer for layer in report["layers"]}
    for place in chart.layers:
        layer = layers[place.name]
        rate = layer["synaptic_ops"] / layer["dense_synaptic_ops"]
        assert place.x == pytest.approx(100 * (1 + np.log10(rate) / 3))
        assert 0 <= place.y <= 100
    assert chart.spikes[0].x1 == 0
    assert chart.spikes[-1].x2 == pytest.approx(100)
    assert cost_chart(report, "loihi1") is None


def test_every_layer_has_its_raster(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    report, tally = real
    pictures = [link for link in real_page.links if link.startswith("data:image/png")]
    frames = report["network"]["frames"]
    order = [layer["name"] for layer in report["layers"] if layer["name"] in tally.kept]
    assert len(order) == 22
    assert pictures[frames:] == [plot.raster(name, tally.kept[name][0]).png for name in order]


def test_page_stands_alone(real: tuple[dict[str, Any], Tally], real_page: Page) -> None:
    html = render(real[0], real[1].kept, real[1].shown_frames)
    anchors = [link for link in real_page.links if link.startswith("#")]
    assert {link[1:] for link in anchors} <= set(real_page.ids)
    assert all(link.startswith("data:") for link in set(real_page.links) - set(anchors))
    assert not {"iframe", "object", "embed", "base"} & set(real_page.tags)
    for word in ("url(", "@import", "fetch(", "XMLHttpRequest", "import("):
        assert word not in html
    assert len(html) < 3e6


def test_bit_exact_is_said_where_it_was_proven(real: tuple[dict[str, Any], Tally]) -> None:
    exact = {"bit_exact": True, "layers": 34, "spikes_compared": 1234567}
    report = {**real[0], "backend": "lava", "parity": {**real[0]["parity"], "integer_vs_lava": exact}}
    text = Page(render(report, real[1].kept, real[1].shown_frames)).text
    assert "bit-exact" in text
    assert "1,234,567 messages of 34 layers" in text


def test_network_that_is_not_ours() -> None:
    report, spikes = other_network()
    frames = np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)
    page = Page(render(report, spikes, frames))
    for said in ("One clip through 5 spiking neurons", "not run", "The prediction.", "unpriced chip"):
        assert said in page.text
    assert f"36.0{typeset.NARROW}pJ" in page.text
    assert f"0.1{typeset.NARROW}ms" in page.text, "the time step"
    assert sum(link.startswith("data:image") for link in page.links) == 2, "the input and one layer"
    assert "top-1" not in page.text.lower()


def test_frames_may_be_missing() -> None:
    page = Page(render(*other_network(), frames=None))
    assert sum(link.startswith("data:image") for link in page.links) == 1


def test_hostile_names_stay_text() -> None:
    harmless, page = Page(render(*other_network(), frames=None)), Page(render(*other_network(HOSTILE), frames=None))
    assert page.tags.count("script") == harmless.tags.count("script")
    assert page.links == harmless.links
    assert HOSTILE in page.text


def test_long_list_of_clips_is_cut_and_says_so() -> None:
    report, spikes = other_network()
    report["clips"] *= 1200
    text = Page(render(report, spikes, None)).text
    assert "The first 500 of 1,200" in text
    assert text.count("hidden.npy") < 510


def test_same_obstacle_of_several_layers_is_said_once() -> None:
    found = grouped(["a: too wide", "b: too long: 3", "c: too wide"])
    assert [(o.what, o.layers) for o in found] == [("too wide", ("a", "c")), ("too long: 3", ("b",))]


def test_nothing_is_left_where_the_page_cannot_be_made(tmp_path: Path) -> None:
    report, spikes = other_network()
    del report["energy"]
    with pytest.raises(KeyError):
        write_page(report, spikes, None, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    write_page(*other_network(), frames=None, path=tmp_path / "report.html")
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
    assert (first.cause, first.start, first.width) == ("a", 0.0, 12.5)
    assert (second.cause, second.start, second.width) == ("c", 12.5, 37.5)
