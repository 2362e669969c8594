"""What torch.save wrote, in files of strangers: numbers alone, and no more memory than the file fills."""

import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.room import COPIES, require_room


def load_tensors(path: Path) -> Any:
    """What a file holds, tensors on the CPU; no code of it is executed.

    Raises `ValueError`, whatever is wrong with the file; `InputError` where its tensors, which may say that they are
    larger than what is stored, do not fit into the memory.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                require_room(path, COPIES * sum(member.file_size for member in archive.infolist()))
        # A sparse tensor with places outside itself would be written to memory that is not its own.
        with torch.sparse.check_sparse_tensor_invariants(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old forms of tensors, which are read all the same
            found = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises errors of many kinds: KeyError, IndexError, ...
        raise ValueError(type(error).__name__) from error
    require_room(path, COPIES * sum(tensor.numel() * tensor.element_size() for tensor in _tensors(found)))
    return found


def _tensors(found: Any) -> Iterator[Tensor]:
    """All tensors, in whatever lists and dictionaries; those without values raise `ValueError`."""
    if isinstance(found, Tensor):
        if found.device.type != "cpu":
            raise ValueError(f"a tensor of device {found.device}, without values")
        yield found
    elif isinstance(found, dict | list | tuple):
        for item in found.values() if isinstance(found, dict) else found:
            yield from _tensors(item)
