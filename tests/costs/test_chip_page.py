"""docs/chip_files.md has every key of a chip file, and its smallest file is one."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from hardware import load_chip
from hardware.anchor import Anchor
from hardware.chip import Chip, Energy, Limits, Mesh, Traits
from hardware.figures import EnergyFigure, Kind
from hardware.unit_costs import Barrier, UnitCost, UnitCosts

PAGE = (Path(__file__).parents[2] / "docs" / "chip_files.md").read_text("utf-8")
CODE = set(re.findall(r"`([^`]+)`", PAGE.replace("```", "")))
WORDS = set(re.findall(r"\w+", " ".join(CODE)))


@pytest.mark.parametrize(
    "model", [Chip, Energy, Limits, Traits, Mesh, Anchor, UnitCosts, UnitCost, Barrier, EnergyFigure]
)
def test_every_key_is_on_the_page(model: type[BaseModel]) -> None:
    assert set(model.model_fields) <= WORDS


def test_every_kind_and_every_unit_is_on_the_page() -> None:
    units = {unit for model in (Energy, Limits, Traits, Mesh) for unit in units_of(model)}
    assert {"pJ", "pJ/bit", "cores/chip", "axons/convolution"} <= units, "the test finds units"
    assert units | set(get_args(Kind)) <= CODE


def units_of(model: type[BaseModel]) -> set[str]:
    """Texts that a `unit` in a model may be."""
    found: set[str] = set()
    for field in model.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel) and "unit" in part.model_fields:
                found |= set(get_args(part.model_fields["unit"].annotation))
    return found


def parts(annotation: Any) -> list[Any]:
    """The types that a union, or a value, is of."""
    return [annotation] if get_origin(annotation) in (None, Literal) else list(get_args(annotation))


def test_the_smallest_file_is_a_chip(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    chip = load_chip(file)
    assert chip.name == "mine"
    assert chip.limits is not None
    assert chip.limits.neurons.value == 512
    without_energy = yaml.safe_load(text)
    del without_energy["energy"]
    file.write_text(yaml.safe_dump(without_energy), encoding="utf-8")
    with pytest.raises(ValueError, match="energy"):
        load_chip(file)
