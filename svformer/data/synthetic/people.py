"""Pictures of the harder procedural clips: a figure in a crowded place, filmed by a moving camera.

The place is a strip of wall and floor with clutter that repeats sideways. The camera follows a figure that moves along,
with some lag, and drifts, shakes and zooms in every class. Behind the figure a loose object may swing; in front of it a
post may stand or pass. All of these, and the figure's parts, are capsules: the points within a radius of a line
segment. A person (colours, proportions) and a place belong to a group, and every class has the same ones.

Sizes suit clips of 64 x 64 pixels, on which the tiny network is good but not perfect: it confuses similar actions.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from svformer.data.synthetic.actions import ACTIONS, CLASSES, Build, Doubles, skeleton
from svformer.data.synthetic.scenes import FPS, FRAMES, HEIGHT_PX, WIDTH_PX

Array = NDArray[np.float32]

PLACE_PX = (144, 320)  # height and period of the strip
BODY_PX = (50.0, 55.0)  # smallest and largest height of a figure with its arms down
LIMB_RADIUS = 0.055  # in body heights; 2.9 pixels, which a stem of stride 4 can still detect
TRUNK_WIDTH = 1.75  # in widths of a limb
SHADE = 0.85  # brightness of the limbs on the far side
VIGOUR = (0.8, 1.1)  # factors of the swings in the table of actions
CLUTTER, LOOSE_THINGS, POSTS = (16, 28), (0, 1), (0, 1)  # smallest and largest numbers
DRIFT_PX_PER_S, ZOOM = 4.0, 0.05
SHAKE_PX, SHAKE_PICTURES = 2.45, 2.0  # deviation of white noise, and the pictures that smooth it: 0.9 pixels are left
LAG_PX = (-4.0, 16.0)  # distance that the camera falls behind, from the middle of a clip to its end


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where the camera looks, in pixels of the place, [N, (x, y)] with y down, and its zoom, [N]."""

    centre_px: Doubles
    zoom: Doubles

    def picture(self, points_px: Doubles) -> Doubles:
        """Points of the place, [N, ..., (x, y)] in pixels of the place, as pixels of the picture."""
        shape = (len(self.zoom), *[1] * (points_px.ndim - 2))
        middle = np.array([WIDTH_PX / 2, HEIGHT_PX / 2])
        return (points_px - self.centre_px.reshape(*shape, 2)) * self.zoom.reshape(*shape, 1) + middle


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The person and the place that all clips of a group share."""

    build: Build
    body_px: float
    clothes: dict[str, Doubles]  # part of the body -> RGB
    strip: Array  # [height, period, RGB]
    tempo: float  # 0 slowest, 1 fastest
    noise: float  # standard deviation, in levels of 0 .. 255


def draw_scene(seed: int, group: int) -> Scene:
    """The scene of a group; it depends on its arguments only."""
    rng = np.random.default_rng((seed, group))
    level = rng.uniform(60, 195)
    build = Build()
    varied = {field.name: getattr(build, field.name) * rng.uniform(0.93, 1.07) for field in dataclasses.fields(Build)}
    return Scene(
        build=Build(**varied),
        body_px=rng.uniform(*BODY_PX),
        clothes=_clothes(level, rng),
        strip=_strip(level, rng),
        tempo=rng.random(),
        noise=rng.uniform(2, 6),
    )


def _clothes(ground_level: float, rng: np.random.Generator) -> dict[str, Doubles]:
    """Colours that are mostly brighter, or mostly darker, than the ground."""
    side = 1 if ground_level < 128 else -1
    return {
        name: np.clip(ground_level + side * rng.uniform(75, 120) + rng.uniform(-30, 30, 3), 5, 250)
        for name in ("skin", "shirt", "sleeve", "trousers")
    }


def _strip(level: float, rng: np.random.Generator) -> Array:
    """Wall, floor, stains and clutter; seamless sideways."""
    height, width = PLACE_PX
    wall, floor = level + rng.uniform(-25, 25, (2, 3))
    strip = np.tile(wall, (height, width, 1)).astype(np.float32)
    strip[int(height * rng.uniform(0.55, 0.72)) :] = floor
    for scale, contrast in ((2.0, 6.0), (9.0, 10.0)):
        stains = ndimage.gaussian_filter(rng.standard_normal((height, width)), scale, mode="wrap")
        strip += (contrast * stains / stains.std()).astype(np.float32)[..., None]
    for _ in range(rng.integers(CLUTTER[0], CLUTTER[1] + 1)):
        ends = rng.uniform((0, 0), (width, height)) + rng.uniform(-18, 18, (2, 2))
        paint(strip[None], ends[None, None], rng.uniform(1.5, 6, 1), level + rng.uniform(-45, 45, 3))
    return strip


def draw_clip(action: str, *, seed: int, group: int, clip: int) -> NDArray[np.uint8]:
    """Render one clip, uint8 [N, height, width, 3]; deterministic in its arguments."""
    rng = np.random.default_rng((seed, group, CLASSES.index(action), clip))
    scene = draw_scene(seed, group)
    time_s = np.arange(rng.integers(FRAMES[0], FRAMES[1] + 1)) / FPS
    ends_px, way_px = figure(action, scene, time_s, rng)
    camera = camera_following(way_px, time_s, rng)
    pictures = _background(np.roll(scene.strip, rng.integers(PLACE_PX[1]), axis=1), camera)
    light = rng.normal(0, 5, 3)
    for _ in range(rng.integers(LOOSE_THINGS[0], LOOSE_THINGS[1] + 1)):
        _paint_loose_thing(pictures, camera, time_s, rng)
    _paint_figure(pictures, {name: camera.picture(ends) for name, ends in ends_px.items()}, camera.zoom, scene, rng)
    for _ in range(rng.integers(POSTS[0], POSTS[1] + 1)):
        _paint_post(pictures, camera, time_s, rng)
    pictures += light.astype(np.float32)
    pictures += rng.standard_normal((*pictures.shape[:3], 1), dtype=np.float32) * np.float32(scene.noise)
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)


def _paint_figure(
    pictures: Array, ends: dict[str, Doubles], zoom: Doubles, scene: Scene, rng: np.random.Generator
) -> None:
    """Paint the parts from the back to the front.

    The far side is random: a fixed one would distinguish a figure from its mirror image.
    """
    far, near = rng.permutation(["left", "right"])
    limb = LIMB_RADIUS * scene.body_px * zoom
    clothes = scene.clothes

    def paint_limb(upper: str, lower: str, rgb: Doubles) -> None:
        paint(pictures, np.stack([ends[upper], ends[lower]], axis=1), limb, rgb)

    paint_limb(f"{far}_arm", f"{far}_forearm", SHADE * clothes["sleeve"])
    paint_limb(f"{far}_thigh", f"{far}_shin", SHADE * clothes["trousers"])
    paint(pictures, ends["trunk"][:, None], TRUNK_WIDTH * limb, clothes["shirt"])
    paint_limb(f"{near}_thigh", f"{near}_shin", clothes["trousers"])
    crown = ends["head"][:, None, 1:].repeat(2, axis=2)  # a disc: a capsule whose ends are one point
    paint(pictures, crown, scene.build.head * scene.body_px * zoom, clothes["skin"])
    paint_limb(f"{near}_arm", f"{near}_forearm", clothes["sleeve"])


def figure(action: str, scene: Scene, time_s: Doubles, rng: np.random.Generator) -> tuple[dict[str, Doubles], Doubles]:
    """Ends of all parts, [N, 2, (x, y)] in pixels of the place with y down, and distances moved to the right, [N]."""
    what = ACTIONS[action]
    move, facing = what.move, what.facing or int(rng.choice([-1, 1]))
    tempo = np.clip(scene.tempo + rng.uniform(-0.35, 0.35), 0, 1)
    cycles_per_s = (-1 if what.reverse else 1) / np.interp(tempo, (0, 1), move.period_s)
    gone = cycles_per_s * (time_s - time_s.mean())
    parts = skeleton(move, scene.build, gone + rng.random(), held_at=rng.random(), vigour=rng.uniform(*VIGOUR))
    way_px = facing * scene.body_px * move.stride * gone
    to_pixels = np.array([facing, -1]) * scene.body_px
    feet_px = np.stack([way_px, np.full_like(way_px, PLACE_PX[0] / 2 + scene.body_px / 2)], axis=-1)
    return {name: ends * to_pixels + feet_px[:, None] for name, ends in parts.items()}, way_px


def camera_following(way_px: Doubles, time_s: Doubles, rng: np.random.Generator) -> Camera:
    """A camera that follows a figure along `way_px`, [N] pixels to the right; it moves a little in any case."""
    from_middle_s = time_s - time_s.mean()
    lag_px = rng.uniform(*LAG_PX)
    drift = from_middle_s[:, None] * rng.uniform(-1, 1, 2) * [DRIFT_PX_PER_S, 0.4 * DRIFT_PX_PER_S]
    shake = ndimage.gaussian_filter1d(rng.standard_normal((len(time_s), 2)), SHAKE_PICTURES, axis=0) * SHAKE_PX
    start = np.array([0, PLACE_PX[0] / 2]) + rng.uniform(-1, 1, 2) * [5, 3]
    centre_px = start + drift + shake
    centre_px[:, 0] += way_px * (1 - lag_px / max(way_px.max(), LAG_PX[1]))
    zoom = 1 + ZOOM * rng.uniform(-1, 1) + ZOOM * rng.uniform(-1, 1) * from_middle_s / time_s[-1]
    return Camera(centre_px=centre_px, zoom=zoom)


def _background(strip: Array, camera: Camera) -> Array:
    """The camera's pictures of the empty place, [N, height, width, 3]."""
    pictures = np.empty((len(camera.zoom), HEIGHT_PX, WIDTH_PX, 3), np.float32)
    rows = (np.arange(HEIGHT_PX) + 0.5 - HEIGHT_PX / 2) / camera.zoom[:, None] + camera.centre_px[:, 1:] - 0.5
    columns = (np.arange(WIDTH_PX) + 0.5 - WIDTH_PX / 2) / camera.zoom[:, None] + camera.centre_px[:, :1] - 0.5
    for picture, row, column in zip(pictures, rows, columns, strict=True):
        grid = np.meshgrid(row, column, indexing="ij")
        for channel in range(3):
            ndimage.map_coordinates(strip[..., channel], grid, picture[..., channel], order=1, mode="grid-wrap")
    return pictures


def _paint_loose_thing(pictures: Array, camera: Camera, time_s: Doubles, rng: np.random.Generator) -> None:
    """A short bar somewhere behind the figure that swings and turns."""
    place = camera.centre_px.mean(axis=0) + rng.uniform((-44, -34), (44, 20))
    swing = 2 * np.pi * (time_s / rng.uniform(0.8, 2.5) + rng.random())[:, None]
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-1.5, 1.5) * np.sin(swing)
    centre = place + rng.uniform(-8, 8, 2) * np.sin(swing + rng.uniform(0, 6))
    along = rng.uniform(2, 9) * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    ends = camera.picture(np.stack([centre - along, centre + along], axis=1))
    paint(pictures, ends[:, None], rng.uniform(1.5, 4) * camera.zoom, rng.uniform(20, 235, 3))


def _paint_post(pictures: Array, camera: Camera, time_s: Doubles, rng: np.random.Generator) -> None:
    """An upright post that passes between the camera and the figure."""
    speed = rng.uniform(-25, 25)
    x = rng.uniform(0, WIDTH_PX) + speed * (time_s - time_s.mean())
    top, bottom = np.sort(rng.uniform((-20, 40), (60, 100)))
    ends = np.stack([np.stack([x, np.full_like(x, y)], axis=-1) for y in (top, bottom)], axis=1)
    paint(pictures, ends[:, None], rng.uniform(2, 4.5) * camera.zoom, rng.uniform(20, 235, 3))


def paint(pictures: Array, ends_px: Doubles, radius_px: Doubles, rgb: Doubles) -> None:
    """Paint capsules over pictures [N, height, width, 3] as one surface; ends [N, capsules, 2, (x, y)], radius [N]."""
    window = _window(ends_px, float(radius_px.max()) + 1, pictures.shape[1:3])
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) + np.float32(0.5) for part in window)
    cover = np.zeros((len(pictures), len(rows), len(columns)), np.float32)
    radius = radius_px.astype(np.float32)[:, None, None]
    for start, end in ends_px.astype(np.float32).transpose(1, 2, 3, 0)[..., None, None]:
        x, y = columns - start[0], rows[:, None] - start[1]
        along, down = end - start
        share = np.clip((x * along + y * down) / np.maximum(along**2 + down**2, np.float32(1e-6)), 0, 1)
        np.maximum(cover, radius + np.float32(0.5) - np.hypot(x - share * along, y - share * down), out=cover)
    seen = pictures[:, *window]
    seen += np.minimum(cover, 1)[..., None] * (rgb.astype(np.float32) - seen)


def _window(ends_px: Doubles, margin_px: float, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the picture that capsules with these ends can touch at any time."""
    low, high = ends_px.min(axis=(0, 1, 2)) - margin_px, ends_px.max(axis=(0, 1, 2)) + margin_px
    left, top, right, bottom = np.rint(np.clip([*low, *high], 0, [size[1], size[0]] * 2)).astype(int).tolist()
    return slice(top, bottom), slice(left, right)
