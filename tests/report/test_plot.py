"""Pictures: every function draws into the axes that it is given, and what it draws is the data."""

import io
import itertools
import re
from collections.abc import Callable, Iterator
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from deploy import lower
from deploy.gates.agreement import Agreement
from deploy.ir.plan import Plan
from deploy.report import charts as deploy_plot
from deploy.report import graphs as plot_graph
from deploy.report.graph_layout import COLUMNS, folded, laid_out, placed, split_name
from hardware import OpCounts, load_chip, price
from hardware.causes import PARTS
from svformer.common.errors import InputError
from svformer.evaluation.curve import Point, read_curve, write_curve
from svformer.evaluation.recording import MembraneTrace
from svformer.pictures import plot
from svformer.pictures.animation import play
from svformer.pictures.palette import BLUE, BRIGHTER, CAUSES, DARKER, INK, ORANGE, SERIES, VERMILLION
from svformer.pictures.pixels import event_pixels, frame_pixels
from svformer.pictures.plot import draw_curve

SPIKES = np.zeros((3, 2, 2, 2), np.uint8)  # [T, C, H, W]
SPIKES[0, 0, 0, 0] = SPIKES[2] = 1
FRAMES = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
PLAN = Plan(depths={"input": 0, "a": 1, "b": 2}, connections=(), lags=(), frames=4)
TRACE = MembraneTrace(
    current=np.array([3.0, 0.0, 1.0]).reshape(3, 1, 1, 1, 1),
    potential=np.array([1.5, 0.0, 0.5]).reshape(3, 1, 1, 1, 1),
    spikes=np.array([1, 0, 0], np.uint8).reshape(3, 1, 1, 1, 1),
    threshold=1.0,
    decay=0.5,
)
POINTS = [Point(epoch=i, step=3 * i, lr=0.1, loss=1.0 / i, train_top1=0.2 * i, seconds=1.5) for i in (1, 2)]
COUNTS = {"a": OpCounts(synaptic_ops=100, neuron_updates=10), "b": OpCounts(macs=20, neuron_updates=5)}
PRICED = {name: price(counts, load_chip("cmos45_fp32")) for name, counts in COUNTS.items()}

DRAWN: dict[str, Callable[[Axes | None], Axes]] = {
    "film": lambda ax: plot.film(FRAMES, ax),
    "raster": lambda ax: plot.raster(SPIKES, ax),
    "rate": lambda ax: plot.rate(SPIKES, ax),
    "rate_map": lambda ax: plot.rate_map({"a": SPIKES, "b": SPIKES}, ax),
    "membrane": lambda ax: plot.membrane(TRACE, (0, 0, 0), ax),
    "attention": lambda ax: plot.attention(np.eye(3), ax, row=1),
    "positions": lambda ax: plot.positions(np.eye(2), ax, frame_HW3=FRAMES[0]),
    "curve": lambda ax: plot.curve(POINTS, ax),
    "scores": lambda ax: plot.scores(np.array([0.5, 2.0, -1.0]), ["x", "y", "z"], ax),
    "pipeline": lambda ax: deploy_plot.pipeline(PLAN, ax),
    "difference": lambda ax: deploy_plot.difference(SPIKES.reshape(3, -1), SPIKES.reshape(3, -1), ax),
    "agreement": lambda ax: deploy_plot.agreement({"a": Agreement(compared=8, different=2, layers=1)}, ax),
    "pairs": lambda ax: deploy_plot.pairs({"a": (0.1, 0.1), "b": (0.2, 0.3)}, ("one", "other"), ax),
    "operations": lambda ax: deploy_plot.operations(COUNTS, ax),
    "energy_bars": lambda ax: deploy_plot.energy_bars(PRICED, ax),
    "ledger": lambda ax: deploy_plot.ledger({"first": 1.0, "second": 2.5}, ax, target=4.0),
    "cores": lambda ax: deploy_plot.cores({"chip": {"a": 2, "b": 1}}, ax),
}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def images(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in ax.images if isinstance(image, AxesImage)]


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_axes_are_taken_and_given(draw: Callable[[Axes | None], Axes], ax: Axes) -> None:
    assert draw(ax) is ax
    assert ax.has_data()
    new = draw(None)
    assert new is not ax
    new.figure.canvas.draw()


def test_time_steps_are_counted_from_1_and_a_step_wide(ax: Axes) -> None:
    for draw in (plot.raster, plot.rate):
        assert draw(SPIKES, ax).get_xlim() == (0.5, 3.5)
    assert plot.film(FRAMES, ax).images[-1].get_extent()[:2] == [0.5, 3.5]


def test_a_raster_shows_the_spikes(ax: Axes) -> None:
    (picture,) = images(plot.raster(SPIKES, ax))
    assert picture.tolist() == (255 * SPIKES.reshape(3, 8).T).tolist()


def test_rates_are_shares_of_the_neurons(ax: Axes) -> None:
    assert [bar.get_height() for bar in plot.rate(SPIKES, ax).patches] == [1 / 8, 0, 1]


def test_a_rate_map_has_a_row_for_every_layer(ax: Axes) -> None:
    (mesh,) = plot.rate_map({"a": SPIKES, "b": 1 - SPIKES}, ax).collections
    assert np.asarray(mesh.get_array()).tolist() == [[1 / 8, 0, 1], [7 / 8, 1, 0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_pictures_of_a_clip_share_the_time_axis() -> None:
    axes = plot.aligned({"frames": FRAMES}, {"a": SPIKES, "b": SPIKES})
    assert [ax.get_ylabel().split("\n")[0] for ax in axes] == ["frames", "a", "b"]
    assert {ax.get_xlim() for ax in axes} == {(0.5, 3.5)}
    axes[0].set_xlim(0, 2)
    assert axes[-1].get_xlim() == (0, 2)


def test_a_membrane_falls_to_0_after_its_spike(ax: Axes) -> None:
    path, at_steps, fired, threshold, _ = plot.membrane(TRACE, (0, 0, 0), ax).lines
    assert list(path.get_ydata()) == [1.5, 0, 0, 0, 0.5, 0.5]  # each potential, then what the reset leaves
    assert list(at_steps.get_ydata()) == [1.5, 0, 0.5]
    assert (list(fired.get_xdata()), list(fired.get_ydata())) == ([1], [1.5])
    assert set(threshold.get_ydata()) == {1.0}
    assert [bar.get_height() for bar in ax.patches] == [3, 0, 1]


def test_attention_frames_the_row_that_q_chooses(ax: Axes) -> None:
    amounts = np.arange(9).reshape(3, 3)
    (picture,) = images(plot.attention(amounts, ax, row=1))
    assert (picture == amounts).all()
    (frame,) = ax.patches
    assert (frame.get_xy(), frame.get_width()) == ((-0.5, 0.5), 3)


def test_positions_are_shaded_by_their_amount(ax: Axes) -> None:
    ground, shade = images(plot.positions(np.array([[0, 2], [4, 0]]), ax, frame_HW3=FRAMES[0], colour="#ff0000"))
    assert ground.shape == (4, 4)
    assert shade[..., 3].tolist() == [[0, 0.4], [0.8, 0]]
    assert shade[0, 0, :3].tolist() == [1, 0, 0]


def test_the_pipeline_is_a_diagonal(ax: Axes) -> None:
    deploy_plot.pipeline(PLAN, ax, clips=2)
    first, second = ([*map(int, line.get_xdata())] for line in ax.lines)
    assert (first, second) == ([1, 2, 3], [5, 6, 7])  # clip 2 follows 4 frames later, without a pause
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([3.8] * 6)


def test_differences_have_a_colour_for_either_side(ax: Axes) -> None:
    first, second = np.array([[0, 1, 0, 1]]), np.array([[0, 0, 1, 1]])
    deploy_plot.difference(first, second, ax)
    colours = [to_hex(c) for c in ax.images[0].cmap(ax.images[0].norm(np.asarray(ax.images[0].get_array())))[:, 0]]
    assert colours == ["#ffffff", ORANGE, BLUE, INK]


def test_disagreement_is_in_percent(ax: Axes) -> None:
    deploy_plot.agreement({"a": Agreement(compared=8, different=2), "b": Agreement(compared=8)}, ax)
    assert [bar.get_width() for bar in ax.patches] == [25, 0]


def test_energy_is_stacked_by_cause_and_adds_up(ax: Axes) -> None:
    """100 additions of 0.9 pJ; 20 multiply-accumulates of 4.6 pJ."""
    deploy_plot.energy_bars(PRICED, ax)
    bars = {to_hex(bar.get_facecolor()): bar for bar in ax.patches if bar.get_width()}
    assert bars[colour_of("synaptic_ops")].get_width() == pytest.approx(90e-6)
    assert bars[colour_of("graded_macs")].get_width() == pytest.approx(92e-6)
    total_uj = sum(bar.get_width() for bar in ax.patches)
    assert total_uj == pytest.approx(sum(energy.total_pj for energy in PRICED.values()) / 1e6)


def test_what_stands_in_is_hatched(ax: Axes) -> None:
    """Loihi 1 has no figure for graded messages."""
    energy = price(OpCounts(synaptic_ops=10, macs=10), load_chip("loihi1"))
    deploy_plot.energy_bars({"all": energy}, ax)
    hatched = {to_hex(bar.get_facecolor()) for bar in ax.patches if bar.get_hatch()}
    assert colour_of("graded_macs") in hatched
    assert colour_of("synaptic_ops") not in hatched


def test_memory_is_one_part() -> None:
    energy = price(OpCounts(weight_bits_read=1000, synaptic_ops=10), load_chip("cmos45_int8_sram"))
    parts = deploy_plot.by_part_uj(energy)
    assert sum(parts.values()) == pytest.approx(energy.total_pj / 1e6)
    assert parts["memory"] > 0
    assert "weight_reads" not in parts


def test_every_cause_has_a_colour_of_its_own() -> None:
    """Parts of a bar are apart; the report's style sheet has a class for each."""
    colours = [CAUSES[part.colour] for part in PARTS.values()]
    assert len(set(colours)) == len(PARTS) == len(CAUSES)
    style = resources.files("deploy.report").joinpath("templates", "style.css").read_text("utf-8")
    assert all(f".c{part.colour} {{ fill: var(--c{part.colour}); }}" in style for part in PARTS.values())


def test_operations_are_drawn_by_cause(ax: Axes) -> None:
    """100 additions and 10 updates of a, 20 multiply-accumulates and 5 updates of b; what never occurs has no label."""
    deploy_plot.operations(COUNTS, ax)
    assert sum(bar.get_width() for bar in ax.patches) == 135
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["synaptic operations", "MACs of graded messages", "neuron updates"]


def colour_of(part: str) -> str:
    return CAUSES[PARTS[part].colour]


def test_a_ledger_goes_on_where_it_was(ax: Axes) -> None:
    deploy_plot.ledger({"first": 1.0, "second": 2.5}, ax, target=4.0)
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 1.0), (1.0, 2.5)]
    assert set(ax.lines[0].get_xdata()) == {4.0}
    assert ax.get_xlim()[1] > 4


# Graphs


def test_every_node_of_a_graph_is_drawn_once(exported, ax: Axes) -> None:
    """SMALL has 4 frames: 2 x 3 delays and 2 x 4 convolutions of the readout are drawn as one each."""
    plot_graph.nir_graph(exported.graph, ax)
    drawn = sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() not in ("None", None))
    assert drawn == len(exported.graph.nodes) - 2 * (3 - 1) - 2 * (4 - 1)
    texts = [text.get_text() for text in ax.texts]
    assert sum(text.startswith("delay* x3") for text in texts) == 2
    assert sum(text.startswith("conv* x4") for text in texts) == 2


def test_a_network_is_drawn_with_what_its_connections_do(exported, ax: Axes) -> None:
    lowered = lower(exported.graph)
    plot_graph.network(lowered, ax)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"Input", "Relay", "Lif", "Convolution", "Identity", "Attention"} == set(legend)


def test_numbered_layers_in_a_row_stay_apart(ax: Axes) -> None:
    """As other frameworks name them: 0 -> 1 -> 2 -> 3, and a loop."""
    kinds = dict.fromkeys("0123", "LIF")
    edges = [("0", "1", ""), ("1", "2", ""), ("2", "3", ""), ("3", "1", "")]
    assert list(folded(kinds, edges)[0]) == ["0", "1", "2", "3"]
    plot_graph.draw(laid_out(kinds, edges), ax)
    (nodes,) = (line for line in ax.lines if line.get_marker() == "o")
    assert list(nodes.get_xdata()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "block", "last"),
    [
        ("conv", "", "conv"),
        ("blocks.0.mlp.lif", "blocks.0.mlp", "lif"),
        ("blocks.0.q.lif+blocks.0.k.lif+blocks.0.v.lif", "blocks.0", "lif"),
        ("q_lif+k_lif", "", "q_lif+k_lif"),
        ("a.0.q.lif+b.0.k.lif", "", "lif"),
    ],
)
def test_a_layer_that_is_several_stands_in_the_block_of_all(name: str, block: str, last: str) -> None:
    assert split_name(name) == (block, last)


def test_what_comes_later_stands_further_right_or_below() -> None:
    order = [f"n{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(2 * COLUMNS + 3)]
    edges = [(a, b, "") for a, b in itertools.pairwise(order)]
    places = placed(order, [*edges, (order[-1], order[0], "")])  # a loop leads back
    reading_order = [(place.row, place.column) for place in places.values()]
    assert reading_order == sorted(reading_order)
    assert max(place.column for place in places.values()) < COLUMNS
    assert {place.lane for place in places.values()} == {0}


def test_a_branch_stands_below_the_longest_way() -> None:
    places = placed(["in", "a", "b", "side", "out"], [
        ("in", "a", ""), ("a", "b", ""), ("b", "out", ""), ("in", "side", ""), ("side", "out", ""),
    ])  # fmt: skip
    assert places["side"].lane == 1
    assert places["side"].y < places["a"].y
    assert places["side"].column == places["a"].column == 1


# Frames, films, colours


def test_bytes_are_pixels_and_normalised_frames_become_them_again() -> None:
    pixels_TCHW = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    from svformer.data.clips import normalise

    expected = np.moveaxis(pixels_TCHW.numpy(), 1, -1)
    assert (frame_pixels(pixels_TCHW.numpy()) == expected).all()
    assert (frame_pixels(normalise(pixels_TCHW).numpy()) == expected).all()


def test_events_have_a_colour_for_each_polarity() -> None:
    counts = np.zeros((1, 2, 1, 3), np.int16)
    counts[0, 0, 0, 0] = counts[0, 1, 0, 1] = 4
    darker, brighter, nothing = (to_hex(pixel / 255) for pixel in event_pixels(counts)[0, 0])
    assert (darker, brighter, nothing) == (DARKER, BRIGHTER, "#ffffff")


def test_a_film_has_a_picture_for_every_frame() -> None:
    content = play(FRAMES, {"a": SPIKES}, step_ms=250)
    with Image.open(io.BytesIO(content)) as film:
        assert (film.format, film.n_frames, film.info["duration"], film.info["loop"]) == ("PNG", 3, 250, 0)


def test_a_curve_is_read_back(tmp_path) -> None:
    write_curve(POINTS, tmp_path)
    assert read_curve(tmp_path / "curve.csv") == POINTS
    with pytest.raises(InputError, match="not a training curve"):
        read_curve(tmp_path / "curve.png")


def test_a_curve_is_drawn_without_a_screen(tmp_path) -> None:
    draw_curve(POINTS, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (720, 384)
    assert plt.get_fignums() == []


def test_colours_stay_apart_for_the_colour_blind() -> None:
    """Red and green cones missing (Machado et al. 2009, severity 1.0): no two series come near each other."""
    missing = {
        "none": np.eye(3),
        "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    for matrix in missing.values():
        seen = [_lab(np.clip(np.array(matrix) @ _linear(colour), 0, 1)) for colour in SERIES]
        distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(distances) > 10  # CIE 1976; 2.3 is just noticeable


def _linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ rgb / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_same_spike_colour_everywhere(ax: Axes) -> None:
    plot.membrane(TRACE, (0, 0, 0), ax)
    assert to_hex(ax.lines[2].get_color()) == VERMILLION


def test_the_report_has_the_same_colours() -> None:
    style = resources.files("deploy.report").joinpath("templates", "style.css").read_text("utf-8")
    light = style.split("@media")[0]
    assert tuple(re.findall(r"--c\d: (#\w+);", light)) == CAUSES
