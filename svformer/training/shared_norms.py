"""A network with norm statistics for every time step becomes one with a single set; `svformer.fold_time` says how."""

import copy
import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from svformer.common.errors import InputError
from svformer.common.terminal import track
from svformer.model.layers import TimeNorm, gain_and_shift
from svformer.model.svformer import SVFormer


class Moments:
    """Mean and variance, by channel, of a norm's input x and of the output y that is wanted, summed over batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sums_4C = torch.zeros((), dtype=torch.float64)  # sums of x, x^2, y, y^2 over clips, time, positions

    def add(self, x_TBCHW: Tensor, y_TBCHW: Tensor) -> None:
        """Add one batch, summed in float64."""
        x, y = x_TBCHW.double(), y_TBCHW.double()
        self.count += x[:, :, 0].numel()
        self.sums_4C = self.sums_4C + torch.stack([s.sum((0, 1, 3, 4)) for s in (x, x.square(), y, y.square())])

    def shared_norm(self, per_step: TimeNorm) -> TimeNorm:
        """A norm with one set of statistics in place of `per_step`: its output has the mean and variance of y.

        Its running statistics are those of x, so that training continues from the folded network.
        """
        mean, square, wanted_mean, wanted_square = self.sums_4C / self.count
        variance, wanted_variance = square - mean.square(), wanted_square - wanted_mean.square()
        norm = TimeNorm(per_step.channels, frames=1, mode="shared").to(per_step.weight)
        state = {
            "running_mean": mean,
            "running_var": variance,
            "weight": _gain(per_step, variance, wanted_variance) * (variance + norm.eps).sqrt(),
            "bias": wanted_mean,
            "num_batches_tracked": per_step.state_dict()["num_batches_tracked"],
        }
        norm.load_state_dict(state)
        return norm.eval()


def _gain(per_step: TimeNorm, variance: Tensor, wanted_variance: Tensor) -> Tensor:
    """The gain of each channel, [C]: the ratio of the standard deviations, within the range over the time steps."""
    gains_TC = gain_and_shift(per_step, torch.float64)[0].detach().unflatten(0, (-1, per_step.channels))
    tiny = torch.finfo(torch.float64).tiny  # for a channel that never moves, where any ratio would do
    ratio = (wanted_variance.clamp(min=0) / variance.clamp(min=tiny)).sqrt()
    return (ratio * gains_TC.mean(0).sign()).clamp(gains_TC.amin(0), gains_TC.amax(0))


class PairedNorm(nn.Module):
    """Both norms side by side: the first half of a batch goes through the per-step norm, the second through the shared.

    All other layers of the two networks are alike, so a batch of pairs runs both networks together. Until it is
    fitted, the shared norm is the per-step norm.
    """

    def __init__(self, per_step: TimeNorm) -> None:
        super().__init__()
        self.per_step = self.shared = per_step
        self.moments: Moments | None = None

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        reference, folded = x_TBCHW.chunk(2, dim=1)
        target = self.per_step(reference)
        if self.moments is not None:
            self.moments.add(folded, target)
        return torch.cat([target, self.shared(folded)], dim=1)

    def fit(self, unit: nn.Module, currents: Iterable[Tensor]) -> None:
        """Fit the shared norm: run `unit`, the block that holds this norm, on all batches and take the moments here."""
        self.moments = Moments()
        for current in currents:
            unit(current)
        self.shared, self.moments = self.moments.shared_norm(self.per_step), None


@torch.no_grad()
def fold(per_step: SVFormer, batches: Iterable[Tensor]) -> SVFormer:
    """The network with shared norms that is closest to `per_step`, from normalised clips [B, C, T, H, W] in batches.

    The blocks are fitted from front to back. The currents of every clip between two blocks are kept for both networks
    (1.6 MB a clip with the tiny preset, 51 MB with ucf101), so that a block runs once for each of its norms and once
    more. Raises `InputError` without clips.
    """
    paired = copy.deepcopy(per_step).eval()
    norms = {name: PairedNorm(norm) for name, norm in paired.named_modules() if isinstance(norm, TimeNorm)}
    for name, norm in norms.items():
        paired.set_submodule(name, norm)
    currents = [torch.cat([batch, batch]).permute(2, 0, 1, 3, 4) for batch in batches]
    if not currents:
        raise InputError("no clips to take statistics from; allowed: 1 or more")
    for unit in track(_trunk(paired), "fold"):
        _fit(unit, currents)
        for i, current in enumerate(currents):
            currents[i] = unit(current)
        if unit is paired.down3:
            _fit(paired.localpath, currents)
    folded = SVFormer(dataclasses.replace(per_step.config, norm="shared")).to(per_step.stem.conv.weight)
    shared = {f"{name}.{key}": t for name, norm in norms.items() for key, t in norm.shared.state_dict().items()}
    folded.load_state_dict(per_step.state_dict() | shared)
    return folded.eval()


def _trunk(model: SVFormer) -> list[nn.Module]:
    """The blocks in the order of `SVFormer.forward`, without the local path and the head."""
    early = (model.stem, *model.stage1, model.down2, *model.stage2, model.down3)
    return [*early, *model.stage3, model.down4, *model.stage4]


def _fit(unit: nn.Module, currents: list[Tensor]) -> None:
    for norm in _in_order_of_execution(unit, currents[0]):
        norm.fit(unit, currents)


def _in_order_of_execution(unit: nn.Module, current: Tensor) -> list[PairedNorm]:
    called: list[PairedNorm] = []
    norms = [norm for norm in unit.modules() if isinstance(norm, PairedNorm)]
    handles = [norm.register_forward_hook(lambda module, *_: called.append(module)) for norm in norms]
    unit(current[:, [0, -1]])  # one clip of each network
    for handle in handles:
        handle.remove()
    return called
