"""Training of a quantised network by what the same network says in real numbers, and by the clips' classes if known.

The network computes with whole numbers, bit for bit as it is deployed (`deploy.torch_network.trained`), so nothing is
rounded after the training, and what was measured in it is what runs. The loss is that of knowledge distillation
(Hinton et al., arXiv 1503.02531): the divergence of its class probabilities from those in real numbers, and the cross
entropy of the classes of clips that have one; the squared difference where there is one result alone.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deploy.ir.integer import IntNetwork
from deploy.passes.bounds import prove
from deploy.torch_network.network import IntegerNetwork
from deploy.torch_network.trained import TrainedNetwork
from deploy.tuning.examples import Examples
from deploy.tuning.outcome import Epoch, Tuned, TuningOptions
from deploy.tuning.unfinished import Unfinished, resumed
from svformer.common.errors import InputError

TEMPERATURE = 2.0  # of the class probabilities that are compared
SMOOTHING = 0.1  # of the classes
KEPT_BACK = 0.1  # share of the clips that choose the best epoch and are not trained on
FEWEST = 20  # clips from which on some are kept back
WARM_UP = 0.1  # share of the steps in which the learning rate rises
GRADIENT_NORM = 1.0  # longer gradients are shortened to it


def tuned(
    network: IntNetwork,
    clips: Examples,
    options: TuningOptions,
    *,
    weight_bits: int,
    on_step: Callable[[float], None] = lambda epochs: None,
    unfinished: Path | None = None,
) -> tuple[IntNetwork, Tuned]:
    """Train weights and biases of a network on clips; the epoch with the smallest loss is taken, or none of them.

    `on_step` hears how many epochs are done. After each of them what was reached is kept in the file `unfinished`, and
    a tuning that finds its file there goes on, to the same integers; whoever named it removes it. An epoch after which
    a register could overflow in the worst case is not taken. Scales, exponents, thresholds and leaks stay.
    Raises `InputError` for what has no form in torch.
    """
    trained, checked = _split(clips, options.seed)
    apart = checked is not trained
    steps = options.epochs * math.ceil(len(trained) / options.batch)
    progress = resumed(lambda: _begun(TrainedNetwork(network, weight_bits=weight_bits), options, steps), unfinished)
    module, found = progress.module, progress.epochs
    if not found:
        found.append(_checked(0, module, checked, options.batch))
    for epoch in range(len(found), options.epochs + 1):
        for done, places in _batches(len(trained), options.batch, progress.order):
            _learn(progress, trained[places])
            on_step(epoch - 1 + done)
        found.append(_checked(epoch, module, checked, options.batch))
        if found[-1].loss < found[progress.best].loss and _proven(module.integers()):
            progress.take_best()
        if unfinished is not None:
            progress.write(unfinished)
    outcome = Tuned(clips=len(trained), checked=len(checked), apart=apart, best=found[progress.best], epochs=found)
    if progress.best_state is None:
        return network, outcome
    module.load_state_dict(progress.best_state)
    return module.integers(), outcome


def _begun(module: TrainedNetwork, options: TuningOptions, steps: int) -> Unfinished:
    if not list(module.parameters()):
        raise InputError("--tune: the network has no weights to train; leave it out")
    optimiser = torch.optim.AdamW(module.parameters(), lr=options.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, steps + 1, pct_start=WARM_UP)
    order = np.random.default_rng(options.seed)
    return Unfinished(module=module, optimiser=optimiser, schedule=schedule, order=order, epochs=[])


def _learn(progress: Unfinished, clips: Examples) -> None:
    """One step of the training."""
    loss = _loss(progress.module, clips)
    progress.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(progress.module.parameters(), GRADIENT_NORM)
    progress.optimiser.step()
    progress.schedule.step()


def _split(clips: Examples, seed: int) -> tuple[Examples, Examples]:
    """Clips to train on, and clips to choose the best epoch by: the same where there are few."""
    if len(clips) < FEWEST:
        return clips, clips
    order = np.random.default_rng(seed).permutation(len(clips))
    back = round(KEPT_BACK * len(clips))
    return clips[order[back:]], clips[order[:back]]


def _batches(count: int, size: int, order: np.random.Generator) -> Iterator[tuple[float, np.ndarray]]:
    """Places of the clips of every batch in random order, with the share of the clips that is then done."""
    places = order.permutation(count)
    for first in range(0, count, size):
        chosen = places[first : first + size]
        yield (first + len(chosen)) / count, chosen


def _loss(module: IntegerNetwork, clips: Examples) -> Tensor:
    sent, wanted, classes = clips.tensors()
    return loss_of(module.results(sent), wanted, classes)


def loss_of(found: Tensor, wanted: Tensor, classes: Tensor) -> Tensor:
    """How far results [N, K] are from those wanted, and from classes [N] (-1: not known); the mean over the clips."""
    if wanted.shape[1] == 1:
        return F.mse_loss(found, wanted)
    likely, wanted_likely = (F.log_softmax(results / TEMPERATURE, dim=1) for results in (found, wanted))
    divergence = F.kl_div(likely, wanted_likely, log_target=True, reduction="batchmean") * TEMPERATURE**2
    errors = F.cross_entropy(found, classes, ignore_index=-1, label_smoothing=SMOOTHING, reduction="sum")
    return divergence + errors / len(found)


@torch.no_grad()
def _checked(number: int, module: IntegerNetwork, clips: Examples, batch: int) -> Epoch:
    parts = [clips[np.arange(first, min(first + batch, len(clips)))] for first in range(0, len(clips), batch)]
    found = torch.cat([module.results(part.tensors()[0]) for part in parts])
    _, wanted, classes = clips.tensors()
    predicted, known = found.argmax(1), classes >= 0
    right = (predicted == classes)[known].double().mean()
    return Epoch(
        number=number,
        same=float((predicted == wanted.argmax(1)).double().mean()),
        right=float(right) if known.any() else None,
        loss=float(loss_of(found, wanted, classes)),
    )


def _proven(network: IntNetwork) -> bool:
    """Whether no register can overflow."""
    try:
        prove(network)
    except InputError:
        return False
    return True
