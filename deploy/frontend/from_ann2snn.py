"""The converted 2-D CNN -> NIR graph: spikes of size 1, and weights that hold the scales of both of their layers.

The temporal shift delays the first channels of a layer, so neurons whose spikes are shifted are a node of their own: of
a layer `relu`, `relu.late` holds the channels that come late to the next convolution, `relu.at_once` the others. The
shortcut takes both at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import nir
import numpy as np
from torch import nn

from deploy.frontend.builder import DT_S, Builder, folded, tau_of
from deploy.frontend.standard import Values
from deploy.ir.model import STEPS_PER_FRAME
from deploy.ir.soft_reset import SubtractLIF
from svformer.baselines.ann2snn import ConvertedCnn, Rate
from svformer.baselines.tsm import SHIFTED, ResidualBlock

LATE, AT_ONCE = "late", "at_once"


def export(model: ConvertedCnn) -> nir.NIRGraph:
    """The NIR graph of a model; its metadata hold dt (seconds), T, time steps of a frame and versions."""
    return _Exporter(model).graph()


@dataclass(frozen=True, kw_only=True)
class _Spikes:
    """Channels of a layer that are a node: its name, which they are, and what a spike of them stands for."""

    node: str
    channels: slice = field(default_factory=lambda: slice(None))
    scale: float = 1.0
    part: str = ""  # LATE or AT_ONCE; empty for a whole layer


@dataclass(frozen=True, kw_only=True)
class _Feed:
    """A connection of the model, its norm folded in, and the spikes that it takes; without weights they pass as are."""

    name: str
    sources: Sequence[_Spikes]
    weight: Values | None = None  # [O, I, kh, kw]
    bias: Values | None = None  # [O]
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)

    @classmethod
    def of(cls, name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d, *sources: _Spikes) -> "_Feed":
        weight, bias = folded(conv, norm)
        assert not isinstance(conv.padding, str)
        return cls(name=name, sources=sources, weight=weight, bias=bias, stride=conv.stride, padding=conv.padding)


class _Exporter(Builder):
    model: ConvertedCnn

    def graph(self) -> nir.NIRGraph:
        model, config = self.model, self.config
        image = np.array([config.in_channels, config.image_size, config.image_size])
        pixels = _Spikes(node=self.add("input", nir.Input(image)))
        parts = self._shifting(model.relu, _Feed.of("conv", model.conv, model.norm, pixels))
        for name, block in model.blocks.named_children():
            assert isinstance(block, ResidualBlock)
            parts = self._block(f"blocks.{name}", block, parts)
        self.mean_readout(model.fc, *((part.node, part.channels) for part in parts), scale=parts[0].scale)
        metadata = {**self.metadata("ann2snn"), STEPS_PER_FRAME: config.steps_per_frame}
        return nir.NIRGraph(self.nodes, self.edges, metadata=metadata, type_check=False)

    def _block(self, name: str, block: ResidualBlock, parts: Sequence[_Spikes]) -> list[_Spikes]:
        late, at_once = parts
        wait = nir.Delay(np.full(self.shapes[late.node], block.steps * DT_S))
        delayed = replace(late, node=self.add(f"{name}.shift", wait, late.node))
        hidden = self._layer(block.relu1, _Feed.of(f"{name}.conv1", block.conv1, block.norm1, delayed, at_once))
        branch = _Feed.of(f"{name}.conv2", block.conv2, block.norm2, hidden)
        return self._shifting(block.relu2, branch, _shortcut(f"{name}.shortcut", block.shortcut, parts))

    def _shifting(self, layer: nn.Module, *feeds: _Feed) -> list[_Spikes]:
        """A layer whose first channels are shifted: two nodes."""
        weight = feeds[0].weight
        assert weight is not None
        moved = len(weight) // SHIFTED
        parts = {LATE: slice(0, moved), AT_ONCE: slice(moved, len(weight))}
        return [self._layer(layer, *feeds, channels=channels, part=part) for part, channels in parts.items()]

    def _layer(self, layer: nn.Module, *feeds: _Feed, channels: slice = slice(None), part: str = "") -> _Spikes:
        """Neurons of these channels of a layer, behind all that leads to them."""
        assert isinstance(layer, Rate)
        found = _Spikes(node="", channels=channels, scale=float(layer.scale), part=part)
        currents = [name for feed in feeds for name in self._currents(feed, found)]
        shape = self.shapes[currents[0]]
        node = SubtractLIF(
            tau=np.full(shape, tau_of(layer.fire.decay)),
            r=np.full(shape, 1 / layer.fire.decay),
            v_leak=np.zeros(shape),
            # NIR fires at v > v_threshold, the model at v >= threshold: the next number below makes them the same.
            v_threshold=np.full(shape, np.nextafter(layer.fire.threshold, 0.0)),
            v_subtract=np.ones(shape),
        )
        name = ".".join(filter(None, (self.names[layer.fire], part)))
        return replace(found, node=self.add(name, node, *currents))

    def _currents(self, feed: _Feed, to: _Spikes) -> Iterator[str]:
        """A convolution from every source of a feed to the channels `to`; the first adds the bias."""
        for number, source in enumerate(feed.sources):
            factor, name = source.scale / to.scale, ".".join(filter(None, (feed.name, source.part, to.part)))
            if feed.weight is not None and feed.bias is not None:
                weight, bias = feed.weight[to.channels, source.channels] * factor, feed.bias[to.channels] / to.scale
                shape = {"stride": feed.stride, "padding": feed.padding}
                yield self.add(name, self.conv_node(weight, bias * (number == 0), **shape), source.node)
            elif source.part == to.part:
                count = self.shapes[source.node][0]
                node = self.conv_node(np.full((count, 1, 1, 1), factor), np.zeros(count), groups=count)
                yield self.add(name, node, source.node)


def _shortcut(name: str, shortcut: nn.Module | None, parts: Sequence[_Spikes]) -> _Feed:
    """A block's shortcut: a 1x1 convolution and its norm, or every channel as it is."""
    if shortcut is None:
        return _Feed(name=name, sources=parts)
    assert isinstance(shortcut, nn.Sequential)
    conv, norm = shortcut
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return _Feed.of(name, conv, norm, *parts)
