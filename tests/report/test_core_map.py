"""The map of cores: every core a cell of its chip, as full as its neurons, in the colours of its stages."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy.report.charts import core_map as chart
from deploy.report.core_map import COLOURS, OTHERS, core_map
from deploy.report.network import fitted_chips
from deploy.report.placement import placed
from hardware import ConvGeometry, Incoming, LayerResources, load_chip

LOIHI_2 = load_chip("loihi2")


def layer(name: str, neurons: int) -> LayerResources:
    return LayerResources(name=name, shape=(neurons, 1, 1), inputs=(), outgoing=0)


def test_two_stages_share_a_cell() -> None:
    """Of 4096 neurons 1024 are the stem's and 2048 the head's: a quarter and a half of the cell, from the ground up."""
    found = core_map(placed([layer("stem.conv", 1024), layer("head.sum", 2048)], LOIHI_2))
    assert found is not None
    (chip,) = found.chips
    (cell,) = chip.cells
    stem, head = cell.fillings
    assert (stem.height / cell.height, head.height / cell.height) == pytest.approx((0.25, 0.5))
    assert stem.y + stem.height == pytest.approx(cell.y + cell.height)
    assert head.y + head.height == pytest.approx(stem.y)
    assert found.stages == {"stem": 0, "head": 1}
    assert len(chip.free) == found.columns * found.rows - 1 == 127
    assert "stem.conv: 1,024 neurons" in cell.title
    assert "neurons 75.0" in cell.title


def test_the_smallest_of_many_stages_share_a_colour() -> None:
    found = core_map(placed([layer(f"stage{n}", 100 + n) for n in range(COLOURS + 2)], LOIHI_2))
    assert found is not None
    assert list(found.stages) == [*(f"stage{n}" for n in range(2, COLOURS + 2)), OTHERS]
    assert sorted(found.stages.values()) == list(range(COLOURS + 1))


def test_a_chip_without_a_mesh_has_no_map() -> None:
    summary = placed([layer("stem", 10)], LOIHI_2.model_copy(update={"mesh": None}))
    assert (core_map(summary), summary.map[0].column, summary.traffic) == (None, None, None)
    with pytest.raises(ValueError, match="no mesh"):
        chart(summary)


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_every_core_of_a_run_is_drawn_inside_its_chip(shipped_run: Any, name: str) -> None:
    placement = shipped_run.report.fit[name].placement
    found = core_map(placement)
    assert found is not None
    cells = [cell for chip in found.chips for cell in chip.cells]
    assert len(cells) == placement.cores
    assert len({(cell.x, cell.y) for cell in cells}) == len(cells)
    for cell in cells:
        assert 0 < cell.x < cell.x + cell.width < found.columns
        assert 0 < cell.y < cell.y + cell.height < found.rows
        assert sum(part.height for part in cell.fillings) <= cell.height * (1 + 1e-9)
    assert len(chart(placement).patches) >= len(cells)
    assert placement.traffic.sent >= placement.traffic.between_cores > 0


def test_what_no_core_holds_is_an_obstacle() -> None:
    """The rule of a core for each layer does not see it."""
    geometry = ConvGeometry(in_shape=(100_000, 1, 1), out_channels=1, kernel=(1, 1))
    head = LayerResources(name="head", shape=(1, 1, 1), inputs=(Incoming(source="in", geometry=geometry),), outgoing=0)
    deployment: Any = SimpleNamespace(resources=[head])
    found = fitted_chips(deployment, [LOIHI_2])["loihi2"]
    assert found.placement is None
    assert found.unplaced is not None
    assert found.unplaced.startswith("head: one neuron takes 800,000 of the synapse memory")
    assert found.obstacles[-1] == found.unplaced
