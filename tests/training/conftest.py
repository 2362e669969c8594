"""The clips that all tests of training share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from small_training import open_data
from svformer.data.procedural import generate
from svformer.data.ucf101 import Ucf101


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several threads, and their number may change the last bit."""
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
