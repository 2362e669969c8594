"""What the rules of all operations share while a traced graph is walked: the draft, time, and whole signals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from deploy.frontend.traced.axes import BEHIND_MEAN, Axis, Dim, Refused, new_dim
from deploy.frontend.traced.draft import Border, Conv, Draft
from deploy.frontend.traced.known import Kind
from deploy.frontend.traced.pairing import common_image, paired, with_repeated
from deploy.frontend.traced.products import closed
from deploy.frontend.traced.signals import (
    Image,
    Padded,
    Potential,
    Product,
    Signal,
    Steps,
    StepSum,
    Value,
    fresh,
)
from deploy.frontend.traced.spreading import permuted, spread


@dataclass(frozen=True, kw_only=True)
class At:
    """Where an operation stands: what its nodes are called by, and the shape of the tensor that it gives."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor of the model lies in the output of a node."""

    node: str
    dims: tuple[Dim, ...]
    image: Image
    channels: tuple[int, int] | None = None  # of a node that holds several layers: from, to
    step: int | None = None
    levels: tuple[tuple[str, ...], float] = ((), 1.0)  # of neurons of several: the spikes of each, and their factor
    hears: str = ""  # the node in front of a neuron layer, while the graph is walked


@dataclass(kw_only=True)
class Walk:
    """The state of a walk through a traced graph."""

    draft: Draft
    neurons: Mapping[str, tuple[nn.Module, Kind]]
    total_calls: Mapping[str, int]
    clips: Axis | None  # None: a single clip
    time: Axis | None  # None: one time step, or not known yet
    steps: int | None  # time steps of a clip; None: not known yet
    timed_input: bool  # whether the input has an axis of time
    calls: dict[str, int] = field(default_factory=dict)
    layers: dict[str, Place] = field(default_factory=dict)

    @property
    def shared(self) -> tuple[Axis, ...]:
        """Axes that all values have in common."""
        return tuple(axis for axis in (self.time, self.clips) if axis is not None)

    def same_at_every_step(self, s: Signal) -> bool:
        """Whether a signal depends on nothing but an image that the model repeats."""
        return not self.timed_input and not self.timed(s) and s.step is None and not s.averaged

    def timed(self, value: Signal | Product) -> bool:
        """Whether one of the dimensions runs over time."""
        return self.time is not None and any(self.time in dim for dim in value.dims)

    def grown(self, s: Signal, size: int) -> Dim:
        """The dimension along which a signal repeats itself `size` times: time, where time has no axis yet."""
        if size > 1 and self.same_at_every_step(s) and self.steps in (None, size):
            self.steps = size
            self.time = self.time or Axis(size, "time")
            return (self.time,)
        return new_dim(size)

    def whole(self, value: Value, name: str) -> Signal:
        """A signal that is its node's output, with all axes of its tensor; raises `Refused` for what is none."""
        s = self.scaled(self.signal(value, name), name)
        return self.spread(s, with_repeated(s), name) if s.repeated else s

    def signal(self, value: Value, name: str) -> Signal:
        """The signal that a value is."""
        match value:
            case Signal():
                return value
            case Product():
                return closed(self, value, name)
            case Padded():
                return self._bordered(value, name)
            case Steps():
                found = [step for step, _ in value.filled]
                raise Refused(f"a tensor of {value.size} time steps that a loop fills has only {found} here")
            case StepSum():
                raise Refused(f"a sum over the time steps {sorted(value.steps)}; allowed: over all {self.steps}")
            case Potential():
                raise Refused(f"the potential of {value.neuron} is used; allowed: its spikes alone leave a neuron")
        raise Refused("a part of a border is read; allowed: to write it")

    def scaled(self, s: Signal, name: str) -> Signal:
        """The signal as its node's output: what was picked, multiplied or added becomes a node."""
        if s.exact:
            return s
        spiking = s.node in self.draft.spiking and (s.gain, s.shift) == (1, 0)
        if s.picked is None:
            node = self.draft.channelwise(f"{name}.scale", s.node, s.gain, s.shift)
        else:
            matrix = np.eye(self.draft.shapes[s.node][0])[list(s.picked)] * s.gain
            conv = Conv(weight=matrix[:, :, None, None], bias=np.full(len(matrix), s.shift))
            node = self.draft.conv(f"{name}.part", conv, s.node)
        if spiking:
            self.draft.spiking.add(node)
        return replace(s, node=node, gain=1.0, shift=0.0, picked=None)

    def spread(self, s: Signal, image: Image, name: str) -> Signal:
        """A whole signal with these axes, see `deploy.frontend.traced.spreading`."""
        return replace(s, node=spread(self.draft, name, s.node, s.image, image), image=image)

    def aligned(self, x: Signal, y: Signal, name: str) -> tuple[Signal, Signal]:
        """Two signals with the same dimensions and images; each repeated along what only the other has."""
        x, y = paired(x, fresh(y, but=self.shared))
        x, y = self.scaled(x, name), self.scaled(y, name)
        image = common_image(x.image, y.image)
        if image is not None:
            return self.spread(x, image, name), self.spread(y, image, name)
        if len(y.image.axes) > len(x.image.axes):  # the one that may have to be permuted is the smaller one
            y, x = self._fitted(y, x, name)
            return x, y
        return self._fitted(x, y, name)

    def _fitted(self, x: Signal, y: Signal, name: str) -> tuple[Signal, Signal]:
        """Both with the axes of both, in the places of x; what only y has become channels behind those of x."""
        of_x, of_y = set(x.image.axes), set(y.image.axes)
        more = tuple(axis for axis in y.image.axes if axis not in of_x)
        image = replace(x.image, channels=x.image.channels + more)
        rows, columns = (part if set(part) <= of_y else () for part in image.parts[1:])
        rest = tuple(axis for axis in image.axes if axis in of_y and axis not in (*rows, *columns))
        y = self.arranged(y, Image(channels=rest, rows=rows, columns=columns), name)
        if not set(rest) <= set(image.channels):  # some pixels, repeated along the others before they are pixels
            y = self.spread(y, replace(y.image, channels=rest + tuple(a for a in image.axes if a not in of_y)), name)
            y = self.arranged(y, image, name)
        return self.spread(x, image, name), self.spread(y, image, name)

    def arranged(self, s: Signal, image: Image, name: str) -> Signal:
        """A whole signal whose axes are in these places: permuted, where more than the order of channels differs."""
        if s.image.parts[1:] == image.parts[1:]:
            return self.spread(s, image, name)
        return replace(s, node=permuted(self.draft, name, s.node, s.image, image), image=image)

    def together(self, x: Signal, y: Signal) -> tuple[int | None, bool]:
        """Step and average of what two signals make; raises `Refused` where their time steps differ."""
        timed = [s for s in (x, y) if not self.same_at_every_step(s)]
        if len({s.averaged for s in timed}) > 1:
            raise Refused(f"a mean or a sum over time meets the frames, of which some come before it; {BEHIND_MEAN}")
        if len({s.step for s in timed}) > 1:
            raise Refused(
                "signals of different time steps meet; allowed: those of one step, sums over all; a neuron of your own "
                "has to be said: neurons={ItsClass: ..}"
            )
        return (timed[0].step, timed[0].averaged) if timed else (None, False)

    def _bordered(self, padded: Padded, name: str) -> Signal:
        s, width = padded.signal, padded.width
        channels, rows, columns = self.draft.shapes[s.node]
        sides = {(dim, end) for dim, end, _ in padded.written}
        values = {values for _, _, values in padded.written} or {(padded.value,) * channels}
        if len(values) > 1 or len(sides) not in (0, 4):
            raise Refused("a border that is not written alike on all four sides; allowed: one value for each channel")
        shape = (channels, rows + 2 * width, columns + 2 * width)
        border = Border(width=width, values=np.array(values.pop()))
        return self.image(s, self.draft.add(f"{name}.pad", border, s.node, shape=shape), len(s.dims) - 3)

    def image(self, s: Signal, node: str, lead: int) -> Signal:
        """A node's output [C, H, W] as a tensor that has these behind the first `lead` dimensions of s."""
        image = Image.new(self.draft.shapes[node])
        dims = (*s.dims[:lead], *image.parts[: len(s.dims) - lead])
        return replace(s, node=node, dims=dims, image=image, gain=1.0, shift=0.0, picked=None)

    def as_image(self, value: Value, name: str, what: str) -> tuple[Signal, int]:
        """A whole signal whose last three dimensions are channels, rows and columns, and the number of the others."""
        s = self.whole(value, name)
        lead = len(s.dims) - 3
        self.require_lead(s.dims[:lead], what)
        return self.arranged(s, self._image_of(s.dims[lead:], what), name), lead

    def as_planes(self, value: Value, name: str, what: str) -> Signal:
        """A whole signal whose last two dimensions are rows and columns; all other places are channels."""
        s = self.whole(value, name)
        if s.dims[-2:] == (s.image.rows, s.image.columns):
            return s
        channels = tuple(axis for dim in s.dims[:-2] for axis in dim if axis.kind == "place")
        return self.arranged(s, self._image_of((channels, *s.dims[-2:]), what), name)

    def _image_of(self, dims: tuple[Dim, ...], what: str) -> Image:
        if any(axis.kind != "place" for dim in dims for axis in dim):
            raise Refused(f"{what} over dimensions that are not those of an image; allowed: [.., C, H, W]")
        channels, rows, columns = dims
        return Image(channels=channels, rows=rows, columns=columns)

    def require_lead(self, dims: tuple[Dim, ...], what: str) -> None:
        """Raise `Refused` unless the first dimensions are time and clips."""
        if any(axis.kind == "place" for dim in dims for axis in dim):
            raise Refused(f"{what} whose batch holds channels or pixels; allowed: time and clips alone")

    def ordered(self, s: Signal, channels: Dim, name: str) -> Signal:
        """A whole signal whose channels, all of them, lie in this order."""
        return self.spread(s, replace(s.image, channels=channels), name)
