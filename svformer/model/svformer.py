"""SVFormer from clip to logits."""

from collections import OrderedDict

from torch import Tensor, nn

from svformer.config import SVFormerConfig
from svformer.model.blocks import Down, GlobalBlock, Head, LocalBlock, LocalPath, Stem
from svformer.model.network import Network


def _stage(block: type[LocalBlock] | type[GlobalBlock], index: int, config: SVFormerConfig) -> nn.Sequential:
    width, depth = config.embed_dims[index], config.depths[index]
    return nn.Sequential(OrderedDict((f"block{i}", block(width, config)) for i in range(depth)))


class SVFormer(Network):
    """Spiking video transformer: clip [B, C, T, H, W] -> logits [B, K] (arXiv 2406.15034, figure 2).

    The clip is normalised (`svformer.data.clips.normalise`), float32 or float64 as the weights; one frame is one time
    step. Raises `InputError` for a clip of another geometry than `config`.
    """

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__(config)
        widths = config.embed_dims
        self.stem = Stem(config)
        self.stage1 = _stage(LocalBlock, 0, config)
        self.down2 = Down(widths[0], widths[1], config)
        self.stage2 = _stage(LocalBlock, 1, config)
        self.down3 = Down(widths[1], widths[2], config)
        self.stage3 = _stage(GlobalBlock, 2, config)
        self.down4 = Down(widths[2], widths[3], config)
        self.stage4 = _stage(GlobalBlock, 3, config)
        self.localpath = LocalPath(config)
        self.head = Head(config)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """Logits [B, K]; inside, all signals are [T, B, C, H, W]."""
        x = self.stem(self.frames_first(clip_BCTHW))
        x = self.down2(self.stage1(x))
        x = self.down3(self.stage2(x))
        local = self.localpath(x)
        x = self.down4(self.stage3(x))
        return self.head(local, self.stage4(x))
