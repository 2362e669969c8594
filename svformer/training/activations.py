"""Less memory for more work: the activations of a block are computed again in the backward pass instead of stored."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from svformer.model.blocks import Down, GlobalBlock, LocalBlock, LocalPath, Stem

RECOMPUTED = (Stem, Down, LocalBlock, GlobalBlock, LocalPath)


def recompute_activations(model: nn.Module) -> None:
    """Make every block of a model store its input only, in place; results stay the same, bit for bit."""
    for block in model.modules():
        if isinstance(block, RECOMPUTED):
            setattr(block, "forward", functools.partial(_forward, block, block.forward))  # noqa: B010 (mypy allows no assignment to a method)


def _forward(block: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _statistics_kept(block)

    return checkpoint(forward, x, use_reentrant=False, context_fn=contexts)


@contextlib.contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Keep the second pass over a batch from updating running statistics and from counting the batch again."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
