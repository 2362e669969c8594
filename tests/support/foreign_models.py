"""Small spiking models as other people write them, with norms that are not trivial, and an input for each."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import foreign_neurons as foreign

T, CLIPS = 4, 2


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model in evaluation mode, clips as it takes them, and what their axes are."""

    model: nn.Module
    x: Tensor
    axes: str


def ready(model: nn.Module, x: Tensor, axes: str) -> Model:
    """Float64, norms with the statistics of a first run, gains and shifts, so that all layers fire."""
    generator = torch.Generator().manual_seed(0)
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 1.0, 2.5, generator=generator)
            nn.init.normal_(module.bias, 0.6, 0.6, generator=generator)
    with torch.no_grad():
        model.train()(x)
    for module in model.modules():
        if isinstance(module, foreign.BaseNode):
            module.reset()
    return Model(model=model.eval(), x=x, axes=axes)


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class PerFrame(nn.Module):
    """A layer of one frame for all frames [T, B, ..] at once: time goes into the batch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def conv_norm(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
    return PerFrame(nn.Sequential(conv, nn.BatchNorm2d(outputs)))


class Shortcuts(nn.Module):
    """An image for all time steps, max pool of spikes, joins of spikes (+, AND, NOT AND), mean over pixels and time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lif = conv_norm(3, 4), foreign.LIFNode(tau=1.5)
        self.pool = PerFrame(nn.MaxPool2d(3, stride=2, padding=1))
        self.conv1, self.if1 = conv_norm(4, 4), foreign.IFNode()
        self.conv2, self.plif2 = conv_norm(4, 4, groups=2), foreign.ParametricLIFNode(w=0.3)
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(self.lif(self.stem(image.unsqueeze(0).repeat(T, 1, 1, 1, 1))))
        y = self.if1(self.conv1(x))
        z = self.plif2(self.conv2(x + y))
        joined = z * y + (1 - z) * x
        return self.head(joined.flatten(3).mean(3).mean(0))


class Attention(nn.Module):
    """Events [B, T, 2, H, W], two heads of q (k^T v) over tokens, neurons of the old library, a membrane shortcut."""

    def __init__(self, *, joint_time: bool = False, wide: int = 1) -> None:
        super().__init__()
        self.joint_time, self.wide = joint_time, wide
        self.stem, self.first = conv_norm(2, 8), foreign.MultiStepLIFNode()
        self.q, self.k, self.v = (nn.Linear(8, 8 * n) for n in (1, 1, wide))
        self.norm = nn.BatchNorm1d(8)
        self.q_lif, self.k_lif, self.v_lif = (foreign.MultiStepLIFNode(v_threshold=0.3) for _ in range(3))
        self.lif, self.out = foreign.MultiStepLIFNode(v_threshold=0.5), nn.Linear(8 * wide, 8)
        self.last, self.head = foreign.MultiStepLIFNode(v_threshold=0.4), nn.Linear(8, 3)

    def heads(self, x: Tensor, linear: nn.Module, neurons: nn.Module) -> Tensor:
        y = neurons(3.0 * linear(x))  # [T, B, N, C]
        y = y.unflatten(3, (2, -1)).transpose(2, 3)
        return y.permute(1, 2, 0, 3, 4).flatten(2, 3) if self.joint_time else y

    def forward(self, events: Tensor) -> Tensor:
        x = self.stem(events.transpose(0, 1))
        steps, clips, _, rows, columns = x.shape
        tokens = self.first(x).flatten(3).transpose(2, 3)
        tokens = self.norm(tokens.flatten(0, 1).transpose(1, 2)).transpose(1, 2).reshape(tokens.shape)
        q, k, v = (
            self.heads(tokens, linear, neurons)
            for linear, neurons in ((self.q, self.q_lif), (self.k, self.k_lif), (self.v, self.v_lif))
        )
        y = q @ k.transpose(-2, -1) * 0.125 @ v
        if self.joint_time:
            y = y.unflatten(2, (steps, -1)).permute(2, 0, 1, 3, 4)
        y = self.out(self.lif(y.transpose(2, 3).flatten(3)))
        x = x + y.transpose(2, 3).reshape(steps, clips, 8, rows, columns)
        return self.head(self.last(x).mean((3, 4))).mean(0)


class Loop(nn.Module):
    """A loop over time: states passed by hand, an image or frames, spikes and potentials returned."""

    def __init__(self, reset: str, *, frames: bool) -> None:
        super().__init__()
        self.frames = frames
        self.fc1, self.lif1 = nn.Linear(6, 12), foreign.Leaky(0.75, reset_mechanism=reset)
        self.fc2, self.lif2 = nn.Linear(12, 3), foreign.Leaky(0.5, reset_mechanism=reset)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2, spikes, potentials = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for t in range(T):
            spike, mem1 = self.lif1(4 * self.fc1(x[t] if self.frames else x), mem1)
            spike, mem2 = self.lif2(0.3 + 4 * self.fc2(spike), mem2)
            spikes.append(spike)
            potentials.append(mem2)
        return torch.stack(spikes), torch.stack(potentials)


class Counting(nn.Module):
    """Single-step neurons in a loop whose outputs are summed up; a buffer that the loop fills."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.neuron = nn.Linear(6, 12), foreign.LIFNode(step_mode="s", v_threshold=0.3)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.zeros(T, len(x), 12, dtype=x.dtype)
        total = 0.0
        for t in range(T):
            kept[t] = self.neuron(2 * self.fc(x))
            total = total + self.head(kept[t])
        return total / T


class Bordered(nn.Module):
    """RepConv: the border of a padded image holds what the norm in front makes of a zero; then a depthwise 3x3."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.neuron, self.last = foreign.IFNode(), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(self.norm(self.first(x.flatten(0, 1))), [1, 1, 1, 1])
        zero = self.norm.bias - self.norm.running_mean * self.norm.weight / torch.sqrt(
            self.norm.running_var + self.norm.eps
        )
        border = zero.view(1, -1, 1, 1)
        y[:, :, :1, :] = y[:, :, -1:, :] = y[:, :, :, :1] = y[:, :, :, -1:] = border
        spikes = self.neuron(self.second(y).unflatten(0, x.shape[:2]))
        return self.last(F.pad(spikes.flatten(0, 1), [1, 1, 1, 1])).unflatten(0, x.shape[:2])


class Parts(nn.Module):
    """Channels taken apart and put together, a max pool of currents, a position embedding, a conv over the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lif = conv_norm(2, 6), foreign.LIFNode()
        self.pool = nn.MaxPool2d(2)
        self.position = nn.Parameter(images(6, 4, 4) - 0.5)
        self.norm3d, self.last = nn.BatchNorm3d(8), foreign.IFNode(v_reset=None)
        self.readout, self.head = nn.Conv3d(8, 5, (T, 4, 4)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = self.pool(y.flatten(0, 1)).unflatten(0, y.shape[:2]) + self.position
        a, b = self.lif(y).split((2, 4), dim=2)
        y = torch.cat([b.flip(2), a, a[:, :, [1, 0]]], dim=2)
        y = self.norm3d(y.permute(1, 2, 0, 3, 4))
        y = self.last(y.permute(2, 0, 1, 3, 4)).permute(1, 2, 0, 3, 4)
        return self.head(self.readout(y).flatten(1))


class Recurrent(nn.Module):
    """A loop over frames of neurons that hear their own spikes: all of them, an image of them, each itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first = nn.Conv2d(2, 3, 3, padding=1), foreign.RLeaky(nn.Conv2d(3, 3, 3, padding=1), 0.5)
        self.fc, self.second = nn.Linear(48, 12), foreign.RLeaky(nn.Linear(12, 12), 0.75)
        self.third, self.head = foreign.RLeaky(foreign.Own(-0.4), 0.5), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        states = [[torch.zeros(len(x[0]), *shape, dtype=x.dtype)] * 2 for shape in ((3, 4, 4), (12,), (12,))]
        outputs = []
        for frame in x:
            states[0] = list(self.first(4 * self.conv(frame), *states[0]))
            states[1] = list(self.second(4 * self.fc(states[0][0].flatten(1)), *states[1]))
            states[2] = list(self.third(1.5 * states[1][0], *states[2]))
            outputs.append(self.head(states[2][0]))
        return torch.stack(outputs)


class Levels(nn.Module):
    """E-SpikeFormer: neurons of five levels, attention of them with v twice as wide, all in either order."""

    def __init__(self, *, keys_first: bool) -> None:
        super().__init__()
        self.keys_first = keys_first
        self.stem, self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)), foreign.MultiSpike()
        self.q, self.k, self.v = (
            nn.Sequential(nn.Conv2d(8, 8 * wide, 1, bias=False), nn.BatchNorm2d(8 * wide)) for wide in (1, 1, 2)
        )
        self.q_spike, self.k_spike, self.v_spike = (foreign.MultiSpike() for _ in range(3))
        self.spike, self.proj = foreign.MultiSpike(), nn.Conv2d(16, 8, 1)
        self.last, self.head = foreign.MultiSpike(norm=1), nn.Linear(8, 3)

    def heads(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2).unflatten(2, (2, -1)).transpose(1, 2)  # [B, heads, N, C]

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        s = self.first(x)
        q, k, v = self.q_spike(self.q(s)), self.k_spike(self.k(s)), self.v_spike(self.v(s))
        q, k, v = self.heads(q), self.heads(k), self.heads(v)
        y = q @ (k.transpose(2, 3) @ v) if self.keys_first else q @ k.transpose(2, 3) @ v
        y = (y * 0.5).transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:])
        x = x + self.proj(self.spike(y))
        return self.head(self.last(x.mean((2, 3))))


class Dual(nn.Module):
    """SpikingResformer's DSSA: products of currents of patches with spikes, and a mask of currents."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.stem, self.entry = conv_norm(2, 8), foreign.LIFNode()
        self.pairs = PerFrame(nn.Sequential(nn.Conv2d(8, 16, patch, patch, bias=False), nn.BatchNorm2d(16)))
        self.between, self.out = foreign.LIFNode(v_threshold=2.0), foreign.LIFNode(v_threshold=2.0)
        self.gate, self.last, self.head = conv_norm(8, 8), foreign.IFNode(), nn.Linear(8, 3)
        self.register_buffer("rate", torch.full((1, 1, 2, 1, 1), 0.2))

    def forward(self, frames: Tensor) -> Tensor:
        current = self.stem(frames)
        x = self.entry(current)
        first, second = self.pairs(x).unflatten(2, (2, -1)).flatten(4).split(4, dim=3)  # [T, B, heads, C, patches]
        tokens = x.unflatten(2, (2, -1)).flatten(4)
        y = self.between(first.transpose(3, 4) @ tokens * (1 / torch.sqrt(self.rate * 4)))
        y = self.out((second @ y * 0.5).flatten(2, 3).unflatten(3, x.shape[3:]))
        return self.head(self.last(self.gate(x) * y + current * (1 - x)).mean((3, 4))).mean(0)


def models() -> dict[str, Model]:
    """All of them, by name."""
    torch.manual_seed(0)
    events = (images(CLIPS, T, 2, 6, 6) > 0.6).double()
    frames = images(T, CLIPS, 2, 8, 8)
    return {
        "shortcuts": ready(Shortcuts(), images(CLIPS, 3, 8, 8), "BCHW"),
        "attention": ready(Attention(), events, "BTCHW"),
        "loop over an image": ready(Loop("zero", frames=False), images(CLIPS, 6), "BN"),
        "loop over frames": ready(Loop("subtract", frames=True), images(T, CLIPS, 6), "TBN"),
        "counting": ready(Counting(), images(CLIPS, 6), "BN"),
        "bordered": ready(Bordered(), frames, "TBCHW"),
        "recurrent": ready(Recurrent(), frames[..., :4, :4], "TBCHW"),
        "levels": ready(Levels(keys_first=False), images(CLIPS, 3, 4, 4), "BCHW"),
        "levels, keys first": ready(Levels(keys_first=True), images(CLIPS, 3, 4, 4), "BCHW"),
        "wide": ready(Attention(wide=2), events, "BTCHW"),
        "dual": ready(Dual(2), frames, "TBCHW"),
        "dual, pixel by pixel": ready(Dual(1), frames[..., :4, :4], "TBCHW"),
        "parts": ready(Parts(), frames, "TBCHW"),
    }
