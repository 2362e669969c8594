"""What all networks of this package share: their configuration, and the clip that they take."""

from torch import Tensor, nn

from svformer.common.errors import InputError
from svformer.config import SVFormerConfig


class Network(nn.Module):
    """A network from a normalised clip [B, C, T, H, W] to logits [B, K], of the sizes that its configuration says."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        self.config = config

    def frames_first(self, clip_BCTHW: Tensor) -> Tensor:
        """The clip as [T, B, C, H, W]; raises `InputError` for one of another geometry than `config`."""
        c = self.config
        expected = (c.in_channels, c.frames, c.image_size, c.image_size)
        if clip_BCTHW.ndim != 5 or tuple(clip_BCTHW.shape[1:]) != expected:
            wanted = "[B, " + ", ".join(map(str, expected)) + "]"
            raise InputError(f"clip has shape {list(clip_BCTHW.shape)}, this model takes {wanted} (B, C, T, H, W)")
        return clip_BCTHW.permute(2, 0, 1, 3, 4)
