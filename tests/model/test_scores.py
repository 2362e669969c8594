"""Scores over views and shares of right predictions, by hand."""

import numpy as np
import pytest
import torch

from svformer.evaluation.scores import is_right, mean_scores, top_share
from svformer.evaluation.spike_counter import SpikeCounter


def test_scores_are_softmax_averaged_over_views() -> None:
    """(0, ln 3) gives 1/4 and 3/4, (0, 0) gives 1/2 and 1/2: their mean is 3/8 and 5/8."""
    logits_VK = np.array([[0, np.log(3)], [0, 0]])
    np.testing.assert_allclose(mean_scores(logits_VK), [3 / 8, 5 / 8])
    np.testing.assert_allclose(mean_scores(np.stack([logits_VK, logits_VK[::-1]])), [[3 / 8, 5 / 8]] * 2)


def test_one_sure_view_outweighs_two_unsure_ones() -> None:
    """Two views lean to class 0 by 0.1 (0.525), one is for class 1 (0.95): 1.1 of 3 for class 0."""
    logits_VK = np.array([[0.1, 0], [0.1, 0], [0, 3]])
    assert mean_scores(logits_VK).argmax() == 1


def test_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(mean_scores(np.array([[1e4, 1e4], [-1e4, 1e4]])), [1 / 4, 3 / 4])


def test_the_share_of_right_clips() -> None:
    scores = [[3, 2, 1], [1, 2, 3], [2, 2, 1], [2, 2, 1]]  # best 0, 2, 0 (a tie), 0; second 1, 1, 1, 1
    assert is_right(np.array(scores), [0, 0, 0, 1]).tolist() == [True, False, True, False]
    assert top_share(np.array(scores), [0, 0, 0, 1]) == 2 / 4
    assert top_share(np.array(scores), [0, 0, 0, 1], best=2) == 3 / 4
    assert top_share(np.array(scores), [0, 0, 0, 1], best=3) == 1


def test_scores_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of 2 clips, labels of 1"):
        top_share(np.zeros((2, 3)), [0])
    with pytest.raises(ValueError, match="no clips"):
        top_share(np.zeros((0, 3)), [])


def test_spikes_add_up_over_batches() -> None:
    """Layer a: 1 of 4, then 3 of 4: 4 of 8. Layer b: 0 of 2. Together 4 of 10."""
    counter = SpikeCounter()
    counter.add("a", torch.tensor([1, 0, 0, 0]))
    counter.add("a", torch.tensor([[True, True], [True, False]]))
    counter.add("b", torch.zeros(2, 1))
    assert counter.rates() == {"a": 1 / 2, "b": 0}
    assert counter.rate() == 4 / 10
