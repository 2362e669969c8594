"""The clips that all tests of training share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from small_training import open_data
from svformer.data.procedural import CLASSES, generate
from svformer.data.ucf101 import Ucf101


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 classes, three groups of one clip: 24 clips train, 12 test."""
    return generate(tmp_path_factory.mktemp("procedural"), groups=3, clips_per_group=1, workers=1)


@pytest.fixture(scope="session")
def data(root: Path) -> Ucf101:
    return open_data(root)


@pytest.fixture(scope="session")
def seven_classes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 7 of the 12 classes: 14 clips train, 7 test."""
    new = tmp_path_factory.mktemp("seven")
    (new / "UCF-101").symlink_to(root / "UCF-101" if (root / "UCF-101").is_dir() else root)
    lists = new / "ucfTrainTestlist"
    lists.mkdir()
    for source in (root / "ucfTrainTestlist").iterdir():
        lines = source.read_text().splitlines()
        kept = [line for line in lines if line.split("/")[0].split()[-1] in CLASSES[:7]]
        (lists / source.name).write_text("\n".join(kept) + "\n")
    return new
