"""Which device to compute on, for every command line tool that takes `--device`."""

import torch

from svformer.common.errors import InputError
from svformer.common.terminal import counted


def choose_device(name: str | None, *, local_rank: int = 0) -> torch.device:
    """The named device, or without a name a GPU where torch finds one, else the processor.

    The processes of one machine take one GPU each, by their number `local_rank`. Raises `InputError` for a device that
    torch does not find.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"--device {name}: torch knows no such device; allowed: cpu, cuda, cuda:N") from error
    if device.type == "cpu":
        return device
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    index = local_rank % max(gpus, 1) if device.index is None else device.index
    if index >= gpus:
        raise InputError(f"--device {name}: torch finds {counted(gpus, 'GPU')} here; allowed: {_allowed(gpus)}")
    return torch.device("cuda", index)


def _allowed(gpus: int) -> str:
    if gpus == 0:
        return "cpu"
    return "cpu, or cuda:0" if gpus == 1 else f"cpu, or cuda:0 to cuda:{gpus - 1}"
