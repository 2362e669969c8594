"""The pins cover what pyproject.toml asks for, so that two set-ups give the same versions."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
GROUPS = {"runtime": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def pins(name: str) -> dict[str, str]:
    """Library -> version, from a file of exact pins."""
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    texts = [text for line in lines if (text := line.partition("#")[0].strip())]
    requirements = [Requirement(text) for text in texts]
    assert all(len(r.specifier) == 1 and str(r.specifier).startswith("==") for r in requirements)
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


@pytest.mark.parametrize("group", GROUPS)
def test_every_requirement_is_pinned_to_a_version_it_allows(group: str) -> None:
    constraints = pins("constraints.txt")
    for requirement in map(Requirement, GROUPS[group]):
        name = canonicalize_name(requirement.name)
        assert name in constraints, f"{name} has no pin: run make lock"
        assert requirement.specifier.contains(constraints[name]), f"{requirement}: run make lock"


def test_what_is_installed_without_requirements_stands_in_one_file_only() -> None:
    without_deps = pins("without-deps.txt")
    assert set(without_deps) == {"lava-nc", "lava-dl", "norse", "tonic"}
    assert not set(without_deps) & set(pins("constraints.txt"))
