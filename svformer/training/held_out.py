"""Accuracy on held-out clips while a run is under way: every process takes its share of them."""

import torch
from torch.utils.data import Subset

from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation.accuracy import count_right
from svformer.evaluation.views import Views
from svformer.training.trainer import Trainer

MOST_AT_ONCE = 32  # clips


def evaluation_batch_size(trainer: Trainer) -> int:
    """Clips that a process evaluates at once: no more than it trains with, so that they fit into its memory."""
    return min(MOST_AT_ONCE, trainer.clips_at_once * trainer.recipe.repeats)


def held_out_top1(trainer: Trainer, held_out: ClipDataset) -> float:
    """The share of held-out clips, from 0 to 1, that the network of this moment recognises (one view each).

    All processes call it and get the same share. Training is left as it was: the next epoch sets the mode of the
    network, and no random number of the program is drawn.
    """
    processes = trainer.processes
    share = Subset(Views(held_out, (1, 1)), range(processes.rank, len(held_out), processes.count))
    right, clips = count_right(trainer.result, share, batch_size=evaluation_batch_size(trainer))
    counts = torch.tensor([right, clips], dtype=torch.float64, device=processes.device)
    right_in_all, clips_in_all = processes.total(counts).tolist()
    return right_in_all / clips_in_all
