"""Numbers that float64 does not hold: they end a deployment in a line, where NumPy alone would go on with infinity."""

import contextlib
from collections.abc import Iterator

import numpy as np

from svformer.common.errors import InputError


@contextlib.contextmanager
def within_float64(what: str) -> Iterator[None]:
    """Raise `InputError` for an overflow, or a result that is no number, inside the block; `what` is done there."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            yield
    except FloatingPointError as error:
        raise InputError(
            f"{what}: numbers beyond those of float64 ({error}); look for weights, time constants, thresholds or clips "
            "of absurd size"
        ) from error
