"""Layers cut into parts that a core can hold.

A part is some channels in a row, at some positions in a row. A kernel is stored in every core that has a part of its
layer, as far as the channels of this part need it: so many positions in a core save memory, many channels save
messages. Of all ways to cut a layer into equal parts and a rest, that with the fewest full cores and the smallest rest
is taken; the rest is cut in the same way.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hardware.chip import Chip, Limits
from hardware.demand import capacity, demand
from hardware.errors import ChipError
from hardware.resources import LayerResources
from hardware.sharing import Part


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A part of a layer, and what it takes of every limit of a core."""

    layer: LayerResources
    part: Part
    asked: dict[str, int]


def cut(layer: LayerResources, chip: Chip, limits: Limits) -> list[Slice]:
    """Parts that hold every neuron of the layer once; raises ChipError where not even one neuron fits into a core."""
    channels, height, width = layer.shape
    whole = Part(first_channel=0, channels=channels, first_position=0, positions=height * width)
    return list(_Cutter(layer, chip, capacity(limits)).cut(whole))


@dataclass(frozen=True)
class _Cutter:
    """One layer that is cut for the cores of one chip."""

    layer: LayerResources
    chip: Chip
    held: dict[str, int]

    def cut(self, region: Part) -> Iterator[Slice]:
        """Parts of a region, those of equal size first."""
        if not region.neurons:
            return
        asked = self._asked(region.channels, region.positions, self._groups(region))
        if self._fill(asked) <= 1:
            yield Slice(layer=self.layer, part=region, asked=asked)
            return
        channels, positions = self._size(region)
        inner = region.channels // channels * channels
        side = region.positions // positions * positions
        for c in range(0, inner, channels):
            for p in range(0, side, positions):
                yield from self.cut(_inside(region, c, channels, p, positions))
        yield from self.cut(_inside(region, 0, inner, side, region.positions - side))
        yield from self.cut(_inside(region, inner, region.channels - inner, 0, region.positions))

    def _size(self, region: Part) -> tuple[int, int]:
        """Channels and positions of the equal parts of a region."""
        best, fewest = (0, 0), float("inf")
        equal = {-(-region.channels // n) for n in range(1, region.channels + 1)}
        most = {self._most_channels(region.channels, positions) for positions in (1, region.positions)} - {0}
        for channels in sorted(equal | most, reverse=True):
            groups = self._most_groups(region, channels)
            positions = self._most_positions(channels, region.positions, groups)
            if positions and (cores := self._cores(region, channels, positions)) < fewest:
                best, fewest = (channels, positions), cores
        if not best[0]:
            self._refuse()
        return best

    def _cores(self, region: Part, channels: int, positions: int) -> float:
        """Full cores of equal parts, and the share of a core that the two rests fill."""
        rows, channels_left = divmod(region.channels, channels)
        columns, positions_left = divmod(region.positions, positions)
        rests = ((region.channels - channels_left, positions_left), (channels_left, region.positions))
        return rows * columns + sum(self._fill(self._asked(c, p, 1)) for c, p in rests if c and p)

    def _most_positions(self, channels: int, limit: int, groups: int) -> int:
        """The most positions at which so many channels fit into a core."""
        return _largest(limit, lambda positions: self._fill(self._asked(channels, positions, groups)) <= 1)

    def _most_channels(self, limit: int, positions: int) -> int:
        """The most channels that fit into a core at so many positions, were all of one group."""
        return _largest(limit, lambda channels: self._fill(self._asked(channels, positions, 1)) <= 1)

    def _most_groups(self, region: Part, channels: int) -> int:
        starts = range(0, region.channels, channels)
        return max(self._groups(_inside(region, c, min(channels, region.channels - c), 0, 1)) for c in starts)

    def _groups(self, part: Part) -> int:
        """Sets of decay and threshold among the channels of a part."""
        of_channels = self.layer.channel_groups[part.first_channel : part.first_channel + part.channels]
        return len({group for groups in of_channels for group in groups}) or 1

    def _asked(self, channels: int, positions: int, groups: int) -> dict[str, int]:
        return demand(self.layer, self.chip, channels=channels, positions=positions, groups=groups)

    def _fill(self, asked: dict[str, int]) -> float:
        """The share of a core that the scarcest limit asks for."""
        return max(asked[limit] / held for limit, held in self.held.items())

    def _refuse(self) -> None:
        asked = self._asked(1, 1, 1)
        limit = max(self.held, key=lambda name: asked[name] / self.held[name])
        words = limit.replace("_", " ")
        raise ChipError(
            f"{self.layer.name}: one neuron takes {asked[limit]:,} of the {words} of a core, {self.chip.title} has "
            f"{self.held[limit]:,}"
        )


def _largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `limit` that fits, 0 where none does; all below a number that fits have to fit."""
    return bisect_left(range(1, limit + 1), True, key=lambda number: not fits(number))


def _inside(region: Part, channel: int, channels: int, position: int, positions: int) -> Part:
    return replace(
        region,
        first_channel=region.first_channel + channel,
        channels=channels,
        first_position=region.first_position + position,
        positions=positions,
    )
