"""The 2-D CNN of `tsm` as a spiking network: each ReLU becomes neurons whose firing rate stands for its activation.

A frame stays for several time steps, in which rates build up. The scale of a layer's spikes is balanced on calibration
clips (Rueckauer et al., 2017, doi 10.3389/fnins.2017.00682). ReLU forgets a negative current at once, a neuron that
integrates owes it: in a video the debt of one frame silences the next ones. So the neurons leak, with a time constant
of two frames and two time steps.
"""

import dataclasses
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from svformer.baselines.tsm import TemporalShift
from svformer.config import CONVERTED, SVFormerConfig
from svformer.model.neurons import PLIF, SubtractiveLIF

QUANTILE = 0.999  # of a layer's activations: larger ones saturate, and a scale for the largest would leave few spikes


class Rate(nn.Module):
    """`relu(x)` over time steps, as spikes of size `scale`, one at most in a time step."""

    scale: Tensor

    def __init__(self, *, tau: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.fire = SubtractiveLIF(tau=tau)

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.fire(x / self.scale) * self.scale
        return spikes


class ConvertedCnn(TemporalShift):
    """`TemporalShift` with `Rate` for every ReLU, its other parameters as they were trained: logits [B, K].

    Channels of the frame before are those of `steps_per_frame` time steps ago.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        layers = [(parent, name) for parent in self.modules() for name, child in parent.named_children()]
        for parent, name in layers:
            if isinstance(getattr(parent, name), PLIF):
                setattr(parent, name, Rate(tau=2 * (config.steps_per_frame + 1)))

    def frames_first(self, clip_BCTHW: Tensor) -> Tensor:
        """The clip as [T, B, C, H, W], every frame repeated; raises `InputError` as that of all networks."""
        return super().frames_first(clip_BCTHW).repeat_interleave(self.config.steps_per_frame, dim=0)


def converted(model: TemporalShift, batches: Iterable[Tensor], *, steps_per_frame: int) -> ConvertedCnn:
    """The spiking network of a trained one, in evaluation mode; `batches` are calibration clips [B, C, T, H, W].

    A layer's scale is the quantile `QUANTILE` of its activations, the mean of all batches.
    """
    scales = _quantiles(model.eval(), batches)
    spiking = ConvertedCnn(
        dataclasses.replace(
            model.config,
            model=CONVERTED,
            activation="spiking",
            attention_order="kv_first",
            steps_per_frame=steps_per_frame,
        )
    )
    spiking.load_state_dict({**model.state_dict(), **{f"{name}.scale": scale for name, scale in scales.items()}})
    return spiking.eval()


@torch.no_grad()
def _quantiles(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """The quantile of every ReLU's activations, by its name."""
    found: dict[str, list[Tensor]] = {name: [] for name, module in model.named_modules() if isinstance(module, nn.ReLU)}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            place = math.ceil(QUANTILE * output.numel())
            found[name].append(output.flatten().kthvalue(place).values)

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in found]
    for batch in batches:
        model(batch)
    for handle in handles:
        handle.remove()
    return {
        name: torch.stack(values).mean().clamp(min=torch.finfo(torch.float32).tiny) for name, values in found.items()
    }
