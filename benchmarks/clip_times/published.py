"""Networks with random weights whose neurons fire at the rates of the published one, and their integer forms."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.clips.files import shipped
from deploy.clips.read import known_range, load
from deploy.clips.source import InputFormat
from deploy.frontend.from_svformer import export
from deploy.ir.integer import IntNetwork
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import quantize
from svformer.assets import CALIBRATION_CLIPS
from svformer.config import SVFormerConfig
from svformer.model.neurons import PLIF
from svformer.model.svformer import SVFormer

DEFAULT_RATE = 0.12  # of a layer that the published table does not have
MERGED = "cmos45_fp32"  # the form of convolutions in a row that the published times are of


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model, the clip [1, T, C, H, W] that its rates are those of, and what an input value can be."""

    model: SVFormer  # float64, as it is exported
    frames: NDArray[Any]
    input_range: tuple[float, float] | None

    def integers(self, merge: str) -> IntNetwork:
        """The integer network, with convolutions in a row merged as `--merge` says."""
        network = lower(export(self.model), merge=read_merge(merge))
        return quantize(network, self.frames, search=False, input_range=self.input_range)


def published_network(config: SVFormerConfig) -> Published:
    """Random weights, published rates on the first of the clips that the project ships."""
    source = shipped(CALIBRATION_CLIPS)[0]
    frames = load(source, InputFormat.of(config))[np.newaxis]
    model = calibrated_model(config, torch.from_numpy(frames).transpose(1, 2))
    return Published(model=model.double(), frames=frames, input_range=known_range([source]))


def published(field_name: str) -> dict[str, float]:
    """A column of the published table, for its neuron layers."""
    table = resources.files("hardware").joinpath("data", "svformer_ucf101_layers.csv").read_text("utf-8")
    rows = csv.DictReader(table.splitlines())
    return {row["layer"]: float(row[field_name]) for row in rows if row["kind"] == "plif"}


def calibrated_model(config: SVFormerConfig, clip_BCTHW: Tensor) -> SVFormer:
    """Random weights, norms fitted to the clip, published time constants, and thresholds that give published rates."""
    torch.manual_seed(0)
    model = SVFormer(config)
    rates, taus = published("spike_rate"), published("plif_tau")
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = 1.0
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, PLIF):
            nn.init.constant_(module.p.w, -float(np.log(taus.get(name, 2.0) - 1)))
            handles.append(module.register_forward_pre_hook(fit_threshold(rates.get(name, DEFAULT_RATE))))
    with torch.no_grad():
        model.train()(clip_BCTHW.repeat(2, 1, 1, 1, 1))  # a norm over a single value has no variance
    for handle in handles:
        handle.remove()
    return model.eval()


def fit_threshold(rate: float) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that sets the threshold of a neuron layer so that it fires at this rate for what it gets first."""

    def fit(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, PLIF)
        current = inputs[0][:, :1]
        low, high = 0.0, float(current.max()) + 1.0
        for _ in range(12):
            module.p.v_th = (low + high) / 2
            fires_more = float(module(current).mean()) > rate
            low, high = (module.p.v_th, high) if fires_more else (low, module.p.v_th)

    # The hook calls the module: without its hooks, or it would call itself.
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        hooks, module._forward_pre_hooks = module._forward_pre_hooks, type(module._forward_pre_hooks)()
        fit(module, inputs)
        module._forward_pre_hooks = hooks

    return hook
