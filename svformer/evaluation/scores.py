"""Predictions from logits: scores averaged over the views of a clip, and the share of right predictions.

NumPy alone, so that evaluation in PyTorch and the reports of a deployment share one definition.
Legend: N clips, V views, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_scores(logits_VK: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax over the classes, averaged over the views (arXiv 2406.15034, section 4.1): [..., V, K] -> [..., K]."""
    logits = logits_VK.astype(np.float64)
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray((scores / scores.sum(axis=-1, keepdims=True)).mean(axis=-2))


def is_right(scores_NK: NDArray[Any], labels_N: Sequence[int] | NDArray[Any], *, best: int = 1) -> NDArray[np.bool_]:
    """Whether each clip's label is among its `best` largest scores, [N]; of equal scores the first class goes first.

    The scores may be logits. Raises `ValueError` where scores and labels differ in number.
    """
    if len(scores_NK) != len(labels_N):
        raise ValueError(f"scores of {len(scores_NK)} clips, labels of {len(labels_N)}; expected as many of both")
    ranked = np.argsort(-np.asarray(scores_NK), axis=1, kind="stable")[:, :best]
    return np.asarray((ranked == np.asarray(labels_N)[:, None]).any(axis=1))


def top_share(scores_NK: NDArray[Any], labels_N: Sequence[int] | NDArray[Any], *, best: int = 1) -> float:
    """The share of clips, from 0 to 1, that are right by `is_right`; raises `ValueError` without clips."""
    if not len(labels_N):
        raise ValueError("no clips, so no share of them; give at least one")
    return float(is_right(scores_NK, labels_N, best=best).mean())
