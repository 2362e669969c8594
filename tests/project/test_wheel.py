"""A wheel of the project: all of its packages, what they read, and two commands; nothing else."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("svformer", "deploy", "hardware")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from what git has, by the set-up's own build tool, without a network."""
    if {"setuptools", "pip"} - packages_distributions().keys():
        pytest.skip("setuptools or pip is not there")
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, sources / name)
    command = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(built)]
    done = subprocess.run([sys.executable, *command, str(sources)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = built.glob("*.whl")
    return zipfile.ZipFile(file)


def tracked() -> list[str]:
    """Files of the packages, and what builds them; skips where there is no git."""
    names = ("pyproject.toml", "README.md", "LICENSE", *PACKAGES)
    found = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("the folder is no repository of git")
    return [name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_file_of_the_packages_is_in_it_and_no_other(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if not name.endswith("/")}
    packaged = {name for name in inside if ".dist-info/" not in name}
    assert packaged == {name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}


def test_it_has_the_commands_and_they_are_there(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    assert dict(parser["console_scripts"]) == {
        "svformer-run": "deploy.run_lava:command",
        "svformer-export": "deploy.export_nir:command",
    }
    for target in parser["console_scripts"].values():
        module, function = target.split(":")
        assert f"def {function}(" in wheel.read(f"{module.replace('.', '/')}.py").decode()
