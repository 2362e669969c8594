"""What a training step sees: augmentation, mixing, order and shares of a batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from svformer import InputError
from svformer.data.clip_dataset import ClipDataset
from svformer.data.clips import COUNTS, Sampling
from svformer.training.augment import (
    COLOURING,
    ERASED_AREA,
    MOVING,
    OPERATIONS,
    Operation,
    augmented,
    colour_jitter,
    rand_augment,
    random_box,
    to_clip,
    to_pictures,
)
from svformer.training.checks import check_shares
from svformer.training.mixing import Mix, draw_mix, mixed
from svformer.training.recipe import AUGMENTATIONS, Augmentation, Kind, Recipe
from svformer.training.samples import Key, Samples, epoch_loader, epoch_order, shares

VIDEO = AUGMENTATIONS["video"]
EVENTS = AUGMENTATIONS["events"]
NOTHING = Augmentation(crop_area=None, operations=0, colour_jitter=0.0, erasing=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(frames: int = 3, height: int = 40, width: int = 40, seed: int = 0) -> Tensor:
    pixels = rng(seed).integers(0, 256, size=(frames, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def events(frames: int = 3, size: int = 40) -> Tensor:
    return torch.from_numpy(rng().poisson(0.2, size=(frames, 2, size, size))).to(COUNTS)


# A clip


@pytest.mark.parametrize(("clip", "kind"), [(noise(height=5, width=7), "video"), (events(size=6), "events")])
def test_pictures_and_back(clip: Tensor, kind: Kind) -> None:
    assert torch.equal(to_clip(to_pictures(clip, kind), clip), clip)


@pytest.mark.parametrize(("plan", "clip"), [(VIDEO, noise()), (EVENTS, events(size=32))])
def test_an_augmented_clip_has_the_type_and_size_of_the_network(plan: Augmentation, clip: Tensor) -> None:
    assert plan is not None
    seen = [augmented(clip, plan, size=32, rng=rng(seed)) for seed in range(20)]
    assert {(s.dtype, tuple(s.shape)) for s in seen} == {(clip.dtype, (3, clip.shape[1], 32, 32))}
    assert len({s.numpy().tobytes() for s in seen}) > 5  # draws differ
    again = augmented(clip, plan, size=32, rng=rng(7))
    assert torch.equal(again, seen[7])


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    assert VIDEO is not None
    still = noise(frames=1).expand(4, 3, 40, 40)
    plan = Augmentation(erasing=0.0)
    for seed in range(30):
        frames = augmented(still, plan, size=32, rng=rng(seed))
        assert torch.equal(frames, frames[:1].expand_as(frames))


def test_events_stay_whole_and_are_never_more_than_before() -> None:
    assert EVENTS is not None
    clip = events()
    for seed in range(30):
        seen = augmented(clip, EVENTS, size=40, rng=rng(seed))
        assert seen.dtype == COUNTS
        assert set(seen.unique().tolist()) <= set(clip.unique().tolist())  # no new numbers: nothing is interpolated


def test_nothing_changes_nothing() -> None:
    clip = noise()
    assert torch.equal(augmented(clip, NOTHING, size=40, rng=rng()), clip)


# Operations


def grey(value: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (value, value, value))


def at_level(operation: Operation, level: float, picture: Image.Image) -> Image.Image:
    return operation.apply(picture, operation.strength(level))


@pytest.mark.parametrize(
    ("name", "level", "before", "after"),
    [
        ("invert", 0.5, 40, 255 - 40),
        ("posterize", 0.5, 0b10111111, 0b10000000),  # 4 x 0.5 = 2 bits are kept
        ("solarize", 0.5, 100, 100),  # 256 x 0.5 = 128: darker pixels stay
        ("solarize", 0.5, 200, 55),
        ("solarize_add", 0.5, 100, 155),  # 110 x 0.5 = 55 is added to what is darker than 128
        ("solarize_add", 0.5, 200, 200),
        ("brightness", 1.0, 100, 190),  # 0.1 + 1.8
        ("brightness", 0.5, 100, 100),  # the middle of the scale changes nothing
        ("auto_contrast", 0.5, 100, 100),  # one value has no contrast
    ],
)
def test_operations_by_hand(name: str, level: float, before: int, after: int) -> None:
    assert at_level(COLOURING[name], level, grey(before)).getpixel((1, 1)) == (after, after, after)


@pytest.mark.parametrize("name", [*MOVING, *COLOURING])
def test_every_operation_works_and_keeps_the_size(name: str) -> None:
    picture = to_pictures(noise(frames=1), "video")[0]
    for level in (0.0, 0.3, 1.0):
        changed = at_level({**MOVING, **COLOURING}[name], max(level, 0.25) if name == "posterize" else level, picture)
        assert (changed.size, changed.mode) == (picture.size, "RGB")


def test_moving_by_hand() -> None:
    """One bright pixel at (2, 2) of 10 x 10, in a picture of events."""
    counts = np.zeros((10, 10), dtype=np.float32)
    counts[2, 2] = 3

    def where(picture: Image.Image) -> list[list[int]]:
        return np.argwhere(np.asarray(picture) == 3).tolist()

    picture = Image.fromarray(counts)
    assert where(MOVING["translate_x"].apply(picture, -0.3)) == [[2, 5]]  # y, x: 3 pixels to the right
    assert where(MOVING["translate_y"].apply(picture, -0.3)) == [[5, 2]]
    assert where(MOVING["translate_x"].apply(picture, 0.3)) == []  # out of the picture, and no event comes in
    assert where(MOVING["rotate"].apply(picture, 90)) == [[7, 2]]  # anticlockwise


def test_rand_augment_draws_two_and_does_half() -> None:
    done = [len(rand_augment(Augmentation(), rng(seed))) for seed in range(400)]
    # 0, 1, 2 with probability 1/4, 1/2, 1/4; five standard deviations of 400 draws are 43 to 50
    assert [done.count(n) for n in range(3)] == pytest.approx([100, 200, 100], abs=50)


def test_events_are_moved_only() -> None:
    assert OPERATIONS["events"].keys() == {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}
    assert len(OPERATIONS["video"]) == 15


def test_jitter_takes_three_factors_within_its_width() -> None:
    assert colour_jitter(0.0, rng()) == []
    values = []
    for seed in range(100):
        picture = grey(100)
        for change in colour_jitter(0.4, rng(seed)):
            picture = change(picture)
        values.append(picture.getpixel((0, 0))[0])  # type: ignore[index]
    # of a grey picture only the brightness changes: 60 to 140
    assert min(values) >= 60
    assert max(values) <= 140
    assert max(values) - min(values) > 60


# Rectangles


@given(
    width=st.integers(1, 60), height=st.integers(1, 60), low=st.floats(0.05, 1), high=st.floats(0.05, 1),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_boxes_lie_in_the_picture_with_about_their_area(
    width: int, height: int, low: float, high: float, seed: int
) -> None:
    low, high = sorted((low, high))
    box = random_box((width, height), (low, high), (0.5, 2.0), rng(seed))
    if box is None:
        return
    left, top, right, bottom = box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    sides = (right - left, bottom - top)
    # Sides are rounded to whole pixels.
    assert (sides[0] + 0.5) * (sides[1] + 0.5) >= low * width * height
    assert (sides[0] - 0.5) * (sides[1] - 0.5) <= high * width * height


def test_a_box_that_cannot_fit_is_none_and_the_largest_square_is_taken() -> None:
    assert random_box((100, 1), (0.5, 0.5), (1.0, 1.0), rng()) is None
    strip = torch.zeros(1, 3, 4, 20, dtype=torch.uint8)
    strip[..., 8:12] = 200  # the 4 x 4 in the middle
    plan = Augmentation(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), operations=0, colour_jitter=0, erasing=0)
    seen = augmented(strip, plan, size=8, rng=rng())
    assert seen[..., 1:-1].unique().tolist() == [200]  # at the border the neighbours outside shine in


def test_a_hole_is_noise_of_the_pixels_mean_and_spread() -> None:
    plan = Augmentation(crop_area=None, operations=0, colour_jitter=0.0, erasing=1.0)
    white = torch.full((2, 3, 100, 100), 255, dtype=torch.uint8)
    seen = augmented(white, plan, size=100, rng=rng(1))
    hole = seen.ne(255).any(1)
    share = hole[0].double().mean()
    assert ERASED_AREA[0] * 0.9 <= share <= ERASED_AREA[1]
    rows, columns = hole[0].any(1), hole[0].any(0)
    assert rows.sum() * columns.sum() == pytest.approx(float(hole[0].sum()), rel=0.02)  # one rectangle
    inside = seen[:, :, rows][..., columns].double()
    # mean 0.45 and deviation 0.225 of 255, cut off at two deviations below and 2.4 above: a little less spread
    assert inside.mean() == pytest.approx(0.45 * 255, rel=0.05)
    assert inside.std() == pytest.approx(0.225 * 255, rel=0.1)
    assert not torch.equal(seen[0], seen[1])  # the place is the same in all frames, the noise is not


def test_a_hole_in_events_is_empty() -> None:
    plan = Augmentation(kind="events", crop_area=None, operations=0, colour_jitter=0.0, erasing=1.0)
    seen = augmented(torch.ones(2, 2, 40, 40, dtype=COUNTS), plan, size=40, rng=rng(1))
    assert seen.unique().tolist() == [0, 1]
    assert torch.equal(seen[0], seen[1])


# Mixing


def test_mixup_by_hand() -> None:
    clips = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None, None, None, None].expand(4, 3, 2, 5, 5)
    batch, targets = mixed(clips, torch.tensor([0, 1, 2, 0]), Mix(share=0.75, box=None), classes=3, group=4)
    # The first is mixed with the last: 0.75 x 1 + 0.25 x 8, and so on.
    assert batch[:, 0, 0, 0, 0].tolist() == [2.75, 2.5, 3.5, 6.25]
    assert targets.tolist() == [[1, 0, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [1, 0, 0]]


def test_groups_are_mixed_on_their_own() -> None:
    clips = torch.arange(6.0)[:, None, None, None, None].expand(6, 1, 1, 1, 1)
    batch, _ = mixed(clips, torch.zeros(6, dtype=torch.int64), Mix(share=0.0, box=None), classes=2, group=2)
    assert batch.flatten().tolist() == [1, 0, 3, 2, 5, 4]


def test_cutmix_by_hand() -> None:
    clips = torch.tensor([1.0, 5.0])[:, None, None, None, None].expand(2, 1, 3, 4, 4)
    mix = Mix(share=0.75, box=(slice(0, 2), slice(1, 3)))
    batch, targets = mixed(clips, torch.tensor([0, 1]), mix, classes=2, group=2)
    expected = [[1, 5, 5, 1], [1, 5, 5, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert all(batch[0, 0, frame].tolist() == expected for frame in range(3))
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert clips[0].unique().tolist() == [1]  # what was given is as before


@given(seed=st.integers(0, 10_000), size=st.integers(8, 224))
def test_the_share_of_a_cut_is_what_is_left_of_the_picture(seed: int, size: int) -> None:
    mix = draw_mix(Recipe(cutmix=1.0), size, rng(seed))
    assert mix.box is not None
    image = torch.zeros(size, size)
    image[mix.box] = 1
    assert 0 <= mix.share <= 1
    assert mix.share == pytest.approx(1 - float(image.mean()), abs=1e-6)


def test_the_coin_between_mixup_and_cutmix_is_fair() -> None:
    both = Recipe(mixup=0.8, cutmix=1.0)
    cuts = sum(draw_mix(both, 32, rng(seed)).box is not None for seed in range(400))
    assert cuts == pytest.approx(200, abs=50)  # five standard deviations
    assert all(draw_mix(Recipe(mixup=0.8), 32, rng(seed)).box is None for seed in range(20))


# Samples


class Fake:
    channels, path = 3, Path("none.avi")

    def __init__(self, label: int) -> None:
        self.label, self.name = label, str(label)

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float = 0.5) -> Tensor:
        return torch.full((sampling.frames, 3, size, size), self.label, dtype=torch.uint8)


class Fakes(ClipDataset):
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        return clip_TCHW + torch.tensor(100 * rng.random()).to(torch.uint8)


def fakes(clips: int) -> Fakes:
    names = [str(i) for i in range(clips)]
    return Fakes(names, [Fake(i) for i in range(clips)], train=True, size=8, sampling=Sampling(frames=2))


def loaded(recipe: Recipe, *, clips: int = 12, epoch: int = 0, **options: int) -> list[tuple[Tensor, Tensor]]:
    defaults = {"first_step": 0, "processes": 1, "rank": 0, "workers": 0}
    samples = Samples(fakes(clips), recipe, size=8)
    return list(epoch_loader(samples, epoch, pin_memory=False, **{**defaults, **options}))


def labels(parts: Sequence[tuple[Tensor, Tensor]]) -> list[list[int]]:
    return [part.tolist() for _, part in parts]


PLAN = Augmentation(crop_area=None)
REPEATED = Recipe(batch_size=4, repeats=2, augmentation=PLAN)


def test_repeats_of_a_clip_stand_side_by_side_and_differ() -> None:
    parts = loaded(REPEATED)
    assert [clips.shape for clips, _ in parts] == [(8, 2, 3, 8, 8)] * 3
    for clips, found in parts:
        assert torch.equal(found[::2], found[1::2])
        assert sum(not torch.equal(a, b) for a, b in zip(clips[::2], clips[1::2], strict=True)) >= 2
    assert sorted(label for part in labels(parts) for label in part) == sorted([*range(12), *range(12)])


def test_without_augmentation_repeats_are_views_of_the_clip() -> None:
    (clips, found), *_ = loaded(Recipe(batch_size=4, repeats=3))
    assert clips.shape == (12, 2, 3, 8, 8)
    added = clips[:, 0, 0, 0, 0].int() - found  # by `random_view`
    assert ((added >= 0) & (added <= 100)).all()
    assert len(set(added.tolist())) > 6
    assert found.tolist() == [label for label in found[::3].tolist() for _ in range(3)]


def test_clips_follow_from_seed_and_epoch_alone() -> None:
    whole = loaded(REPEATED, epoch=3)
    resumed = loaded(REPEATED, epoch=3, first_step=1)
    workers = loaded(REPEATED, epoch=3, workers=2)
    for expected, found in [*zip(whole[1:], resumed, strict=True), *zip(whole, workers, strict=True)]:
        assert torch.equal(expected[0], found[0])
        assert torch.equal(expected[1], found[1])
    assert labels(loaded(REPEATED, epoch=4)) != labels(whole)
    other_seed = loaded(Recipe(batch_size=4, repeats=2, augmentation=PLAN, seed=1), epoch=3)
    assert labels(other_seed) != labels(whole)


@given(processes=st.integers(1, 4), accumulate=st.integers(1, 3), each=st.integers(1, 3), steps=st.integers(1, 3))
def test_processes_and_parts_share_a_batch(processes: int, accumulate: int, each: int, steps: int) -> None:
    batch = list(range(processes * accumulate * each))
    taken = [shares(batch, parts=accumulate, processes=processes, rank=rank) for rank in range(processes)]
    for part in range(accumulate):  # all processes together hold a run of the batch, in order
        together = [index for parts in taken for index in parts[part]]
        start = part * processes * each
        assert together == batch[start : start + processes * each]


def test_a_clip_is_augmented_anew_in_every_epoch() -> None:
    recipe = Recipe(batch_size=4, augmentation=Augmentation(crop_area=None, operations=0, erasing=0.0))
    samples = Samples(fakes(12), recipe, size=8)  # its own random views stay those of epoch 0
    seen = [samples[Key(epoch, 11)][0] for epoch in (0, 1, 0)]
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_a_last_batch_that_is_not_full_is_left_out() -> None:
    assert len(loaded(Recipe(batch_size=5), clips=12)) == 2
    parts = loaded(Recipe(batch_size=4, accumulate=2), clips=9, processes=2, rank=1)
    order = epoch_order(9, Recipe.seed)
    # Rank 1 has the second half of each of the two parts: clips 1, 3 and 5, 7 of the order.
    assert labels(parts) == [[order[1]], [order[3]], [order[5]], [order[7]]]


def test_the_order_is_that_of_a_shuffling_loader() -> None:
    """What the network that ships was trained with."""
    generator = torch.Generator().manual_seed(6666)
    loader = torch.utils.data.DataLoader(range(30), batch_size=30, shuffle=True, generator=generator)  # type: ignore[arg-type, var-annotated]
    assert epoch_order(30, 6666) == next(iter(loader)).tolist()


def test_the_seed_that_ships_keeps_its_crops_and_others_have_their_own() -> None:
    seeds = {seed: Samples(fakes(2), Recipe(seed=seed), size=8).data.seed for seed in (6666, 0, 1)}
    assert seeds[6666] == 0
    assert len(set(seeds.values())) == 3


@pytest.mark.parametrize(
    ("recipe", "processes"),
    [
        (Recipe(batch_size=8), 4),
        (Recipe(batch_size=8, accumulate=2), 4),
        (Recipe(batch_size=8, mixup=1.0), 4),
        (Recipe(batch_size=2), 1),
    ],
)
def test_batches_that_can_be_shared(recipe: Recipe, processes: int) -> None:
    check_shares(recipe, processes)


@pytest.mark.parametrize(
    ("recipe", "processes", "message"),
    [
        (Recipe(batch_size=8), 3, "8 clips is divided by 3 processes x 1 accumulated parts; allowed: a multiple of 3"),
        (Recipe(batch_size=8, mixup=1.0), 8, "parts and mixes its clips in pairs; allowed: a multiple of 16"),
        (Recipe(batch_size=4, accumulate=4), 1, "parts of one clip have no norm statistics"),
        (Recipe(batch_size=1), 1, "parts of one clip"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(recipe: Recipe, processes: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_shares(recipe, processes)
    check_shares(Recipe(batch_size=1, repeats=2), 1)  # two samples of one clip have
