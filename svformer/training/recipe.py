"""The recipe of a training run: one frozen value, a preset for every geometry, and options that override a preset."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from svformer.common.errors import InputError

Schedule = Literal["one_cycle", "cosine"]
Precision = Literal["fp32", "bf16"]
Kind = Literal["video", "events"]

SOURCE_OVER_CROP = 256 / 224  # pictures are read larger than the network's input, so that a crop enlarges less


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of a training clip; one draw holds for all of its frames.

    The defaults are those of the paper: RandAugment "rand-m5-n2-mstd0.25" in the notation of timm. Clips of events get
    operations that move pixels, and none that change colours.
    """

    kind: Kind = "video"
    crop_area: tuple[float, float] | None = (0.08, 1.0)  # share of the picture that a crop covers; None: no crop
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width over height
    operations: int = 2  # RandAugment applies this number in a row, each with probability 1/2
    magnitude: float = 5.0  # mean strength of an operation, from 0 to 10
    magnitude_std: float = 0.25  # its standard deviation
    colour_jitter: float = 0.4  # brightness, contrast and saturation times 1 - 0.4 to 1 + 0.4
    erasing: float = 0.25  # probability that a rectangle is filled with noise; with events, that it is emptied

    def source_size(self, image_size: int) -> int:
        """Short side of the pictures that crops of `image_size` are taken from, in pixels."""
        return image_size if self.crop_area is None else round(SOURCE_OVER_CROP * image_size)


AUGMENTATIONS = {
    "none": None,
    "video": Augmentation(),
    "events": Augmentation(kind="events", crop_area=None, colour_jitter=0.0),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; the defaults are those of the tiny preset, found in trials (AdamW with one cycle).

    No field depends on the machine: any number of processes gives the same result, up to rounding. Raises `InputError`
    for values outside the ranges below.
    """

    epochs: int = 40
    batch_size: int = 32  # clips of one optimiser step, all processes together
    peak_lr: float = 4e-3  # highest learning rate of the schedule
    weight_decay: float = 0.02  # 1-D parameters have none
    schedule: Schedule = "one_cycle"
    warm_up: float = 0.2  # share of the steps with a rising rate
    floor_lr: float = 1e-6  # first and last rate of the cosine schedule
    gradient_norm: float = 5.0  # longer gradients are shortened to this norm
    seed: int = 6666  # decides weights, order, crops and augmentation
    label_smoothing: float = 0.0  # share of a target that is spread over all classes, from 0 to below 1
    mixup: float = 0.0  # alpha of the beta distribution of the shares; 0: no mixup
    cutmix: float = 0.0  # alpha of CutMix; 0: none; where mixup is set, too, a coin chooses for every step
    repeats: int = 1  # samples of one clip in a batch, each augmented independently
    augmentation: Augmentation | None = None
    precision: Precision = "fp32"  # bf16: convolutions and products; norms, currents and potentials stay in fp32
    ema: float = 0.0  # decay of the running mean of the weights, which is then the result; 0: the weights themselves
    accumulate: int = 1  # parts of a batch, one after the other; every part has its own norm statistics

    def __post_init__(self) -> None:
        for holds, rule in self._rules():
            if not holds:
                raise InputError(rule)

    def _rules(self) -> list[tuple[bool, str]]:
        shares = {"warm_up": self.warm_up, "label_smoothing": self.label_smoothing, "ema": self.ema}
        positive = {"peak_lr": self.peak_lr, "gradient_norm": self.gradient_norm}
        not_negative = {"weight_decay": self.weight_decay, "mixup": self.mixup, "cutmix": self.cutmix}
        return [
            (
                self.epochs >= 1 and self.batch_size >= 1,
                f"{self.epochs} epochs with batches of {self.batch_size}; allowed: 1 or more of both",
            ),
            (self.seed >= 0, f"seed {self.seed}; allowed: 0 or more"),
            (
                self.repeats >= 1 and self.accumulate >= 1,
                f"repeats {self.repeats}, accumulate {self.accumulate}; allowed: 1 or more of both",
            ),
            *((value > 0, f"{name} {value}; allowed: above 0") for name, value in positive.items()),
            *((value >= 0, f"{name} {value}; allowed: 0 (none) or more") for name, value in not_negative.items()),
            *((0 <= value < 1, f"{name} {value}; allowed: from 0 to below 1") for name, value in shares.items()),
        ]

    @property
    def mixes(self) -> bool:
        """Whether clips of a batch are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def clips_together(self) -> int:
        """Clips that one process must hold together, since they are mixed with each other."""
        return 2 if self.mixes else 1


# From scratch, as published for UCF101 (arXiv 2406.15034 and the authors' logs); the gradient norm is not published.
_PAPER = Recipe(
    epochs=600,
    batch_size=64,
    peak_lr=6e-3,
    weight_decay=0.05,
    schedule="cosine",
    warm_up=30 / 600,
    gradient_norm=1.0,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    repeats=2,
    augmentation=AUGMENTATIONS["video"],
)

RECIPES = {
    "tiny": Recipe(),
    "chip": Recipe(),
    "ucf101": _PAPER,
    "ntu60": _PAPER,  # no recipe is published for this set and the next
    "dvs128_gesture": dataclasses.replace(_PAPER, augmentation=AUGMENTATIONS["events"]),
    "nmnist": Recipe(),
}


def fine_tuning(recipe: Recipe) -> Recipe:
    """The recipe that fine-tunes a trained network (`--qat`): a fifth of the epochs at a quarter of the rate."""
    return dataclasses.replace(recipe, epochs=max(1, recipe.epochs // 5), peak_lr=recipe.peak_lr / 4)


FINE_TUNING = fine_tuning(RECIPES["tiny"])


def preset_recipe(preset: str, *, qat: bool) -> Recipe:
    """The recipe of a preset, or that of fine-tuning its trained network."""
    return fine_tuning(RECIPES[preset]) if qat else RECIPES[preset]


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that override single values of the preset's recipe."""
    group = parser.add_argument_group("recipe (defaults: the preset's)")
    group.add_argument("--epochs", type=int)
    group.add_argument("--batch-size", type=int, help="clips of one step, all processes together")
    group.add_argument("--lr", type=float, dest="peak_lr", help="the highest of the schedule")
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--gradient-norm", type=float, help="longer gradients are shortened to it")
    group.add_argument("--seed", type=int, help="of weights, order, crops and augmentation")
    group.add_argument("--augmentation", choices=AUGMENTATIONS, help="events: no change of colours")
    group.add_argument("--label-smoothing", type=float)
    group.add_argument("--mixup", type=float, help="alpha; 0: none")
    group.add_argument("--cutmix", type=float, help="alpha; 0: none")
    group.add_argument("--repeats", type=int, help="samples of one clip in a batch")
    group.add_argument("--ema", type=float, help="decay of a running mean of the weights, such as 0.9999; 0: none")
    group.add_argument("--precision", choices=get_args(Precision))
    group.add_argument("--accumulate", type=int, help="parts of a batch, one after the other: less memory")


RECIPE_OPTIONS = tuple(field.name for field in dataclasses.fields(Recipe))


def overridden(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """The recipe with every option of `add_recipe_arguments` that was given; None stands for one that was not."""
    given = {name: options[name] for name in RECIPE_OPTIONS if options.get(name) is not None}
    if "augmentation" in given:
        given["augmentation"] = AUGMENTATIONS[given["augmentation"]]
    return dataclasses.replace(recipe, **given)
