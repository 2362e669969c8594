"""Random changes of one training clip, the same for all of its frames (arXiv 2406.15034, section 4.1).

The pixel operations are Pillow's, on which the published recipe is defined (RandAugment, arXiv 1909.13719, with the
operations and strengths of timm). All random choices follow from the generator that is passed in.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from PIL.Image import Resampling, Transform
from torch import Tensor

from svformer.data.clips import MEAN, STD
from svformer.training.recipe import Augmentation, Kind

Rng = np.random.Generator
Picture = Image.Image  # mode RGB, or F: one polarity of one frame of events

GREY = (128, 128, 128)
TRIES = 10  # attempts to place a rectangle of a drawn size and shape
ERASED_AREA = (0.02, 1 / 3)  # random erasing, arXiv 1708.04896
ERASED_ASPECT = (0.3, 1 / 0.3)


def augmented(clip_TCHW: Tensor, plan: Augmentation, *, size: int, rng: Rng) -> Tensor:
    """A changed copy of a clip of pictures (uint8) or counts of events (int16), [T, C, H, W].

    The result is [T, C, size, size] where the plan crops, else as large as the clip.
    """
    pictures = _change(to_pictures(clip_TCHW, plan.kind), plan, rng)
    if plan.crop_area is not None:
        box = random_box(pictures[0].size, plan.crop_area, plan.crop_aspect, rng) or _whole(pictures[0].size)
        pictures = [p.resize((size, size), _smooth(p), box=box) for p in pictures]
    return _erased(to_clip(pictures, clip_TCHW), plan, rng)


def _change(pictures: list[Picture], plan: Augmentation, rng: Rng) -> list[Picture]:
    for change in [*rand_augment(plan, rng), *colour_jitter(plan.colour_jitter, rng)]:
        pictures = [change(picture) for picture in pictures]
    return pictures


# Pictures


def to_pictures(clip_TCHW: Tensor, kind: Kind) -> list[Picture]:
    """An RGB picture for every frame; for events one picture for every frame and polarity."""
    if kind == "video":
        return [Image.fromarray(frame) for frame in clip_TCHW.permute(0, 2, 3, 1).contiguous().numpy()]
    return [Image.fromarray(counts) for counts in clip_TCHW.flatten(0, 1).float().numpy()]


def to_clip(pictures: list[Picture], like_TCHW: Tensor) -> Tensor:
    """The pictures of `to_pictures` as a clip [T, C, H, W] of the type of `like_TCHW`."""
    arrays = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).to(like_TCHW.dtype)
    if arrays.ndim == 4:
        return arrays.permute(0, 3, 1, 2).contiguous()
    return arrays.unflatten(0, like_TCHW.shape[:2])


def _smooth(picture: Picture) -> Resampling:
    """The interpolation for a picture: nearest for events, so that counts stay whole numbers."""
    return Resampling.BILINEAR if picture.mode == "RGB" else Resampling.NEAREST


# RandAugment


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One kind of change."""

    apply: Callable[[Picture, float], Picture]  # arguments: picture and strength
    strength: Callable[[float], float] = lambda level: level  # from a level of 0 to 1
    signed: bool = False  # whether the strength is negative in half of the cases


def _affine(picture: Picture, *coefficients: float) -> Picture:
    """Every pixel (x, y) gets the value at (a x + b y + c, d x + e y + f); the coefficients are a to f."""
    fill = GREY if picture.mode == "RGB" else 0
    return picture.transform(picture.size, Transform.AFFINE, coefficients, _smooth(picture), fillcolor=fill)


def _rotate(picture: Picture, degrees: float) -> Picture:
    return picture.rotate(degrees, _smooth(picture), fillcolor=GREY if picture.mode == "RGB" else 0)


def _solarize_add(picture: Picture, added: float) -> Picture:
    table = [min(255, value + int(added)) if value < 128 else value for value in range(256)]
    return picture.point(table * 3)


def _enhance_strength(level: float) -> float:
    return 0.1 + 1.8 * level


MOVING = {
    "rotate": Operation(apply=_rotate, strength=lambda level: 30 * level, signed=True),
    "shear_x": Operation(apply=lambda p, s: _affine(p, 1, s, 0, 0, 1, 0), strength=lambda x: 0.3 * x, signed=True),
    "shear_y": Operation(apply=lambda p, s: _affine(p, 1, 0, 0, s, 1, 0), strength=lambda x: 0.3 * x, signed=True),
    "translate_x": Operation(
        apply=lambda p, s: _affine(p, 1, 0, s * p.width, 0, 1, 0), strength=lambda x: 0.45 * x, signed=True
    ),
    "translate_y": Operation(
        apply=lambda p, s: _affine(p, 1, 0, 0, 0, 1, s * p.height), strength=lambda x: 0.45 * x, signed=True
    ),
}
COLOURING = {
    "auto_contrast": Operation(apply=lambda p, _: ImageOps.autocontrast(p)),
    "equalize": Operation(apply=lambda p, _: ImageOps.equalize(p)),
    "invert": Operation(apply=lambda p, _: ImageOps.invert(p)),
    "posterize": Operation(apply=lambda p, s: ImageOps.posterize(p, int(s)), strength=lambda level: 4 * level),
    "solarize": Operation(apply=lambda p, s: ImageOps.solarize(p, int(s)), strength=lambda level: 256 * level),
    "solarize_add": Operation(apply=_solarize_add, strength=lambda level: 110 * level),
    "colour": Operation(apply=lambda p, s: ImageEnhance.Color(p).enhance(s), strength=_enhance_strength),
    "contrast": Operation(apply=lambda p, s: ImageEnhance.Contrast(p).enhance(s), strength=_enhance_strength),
    "brightness": Operation(apply=lambda p, s: ImageEnhance.Brightness(p).enhance(s), strength=_enhance_strength),
    "sharpness": Operation(apply=lambda p, s: ImageEnhance.Sharpness(p).enhance(s), strength=_enhance_strength),
}
OPERATIONS: dict[Kind, dict[str, Operation]] = {"video": {**COLOURING, **MOVING}, "events": MOVING}

Change = Callable[[Picture], Picture]


def rand_augment(plan: Augmentation, rng: Rng) -> list[Change]:
    """Operations drawn with replacement, each kept with probability 1/2; each has its own level."""
    names = rng.choice(list(OPERATIONS[plan.kind]), size=plan.operations)
    return [_drawn(OPERATIONS[plan.kind][name], plan, rng) for name in names if rng.random() < 0.5]


def _drawn(operation: Operation, plan: Augmentation, rng: Rng) -> Change:
    level = min(10.0, max(0.0, rng.normal(plan.magnitude, plan.magnitude_std))) / 10
    sign = -1 if operation.signed and rng.random() < 0.5 else 1
    strength = sign * operation.strength(level)
    return lambda picture: operation.apply(picture, strength)


def colour_jitter(width: float, rng: Rng) -> list[Change]:
    """Brightness, contrast and saturation in random order, each times 1 - width to 1 + width."""
    if width == 0:
        return []
    names = rng.permutation(["brightness", "contrast", "colour"])
    factors = rng.uniform(1 - width, 1 + width, size=3)
    return [_with_strength(COLOURING[name], factor) for name, factor in zip(names, factors, strict=True)]


def _with_strength(operation: Operation, strength: float) -> Change:
    return lambda picture: operation.apply(picture, strength)


# Rectangles

Box = tuple[int, int, int, int]  # left, top, right, bottom


def random_box(
    picture_size: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float], rng: Rng
) -> Box | None:
    """A rectangle whose share of the picture's area and whose aspect (width over height) lie in the given ranges.

    Aspects are drawn on a logarithmic scale. `picture_size` is (width, height). None where none of ten drawn rectangles
    fits into the picture.
    """
    width, height = picture_size
    for _ in range(TRIES):
        pixels = width * height * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    return None


def _whole(picture_size: tuple[int, int]) -> Box:
    """The largest square in the middle."""
    width, height = picture_size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _erased(clip_TCHW: Tensor, plan: Augmentation, rng: Rng) -> Tensor:
    """The clip with one rectangle erased, with the plan's probability, in place.

    Pixels become noise of the mean and standard deviation of pixels, counts of events become 0.
    """
    if rng.random() >= plan.erasing:
        return clip_TCHW
    height, width = clip_TCHW.shape[2:]
    box = random_box((width, height), ERASED_AREA, ERASED_ASPECT, rng)
    if box is None:
        return clip_TCHW
    left, top, right, bottom = box
    hole = clip_TCHW[..., top:bottom, left:right]
    if plan.kind == "events":
        hole.zero_()
    else:
        noise = 255 * rng.normal(MEAN, STD, size=tuple(hole.shape))
        hole.copy_(torch.from_numpy(noise.round().clip(0, 255).astype(np.uint8)))
    return clip_TCHW
