"""The easy procedural clips: 12 motions of one object, drawn so that no single picture shows the class.

The world is a torus whose period is the picture's height, so any square crop shows the object exactly once, wherever
it is. Every motion is centred near the middle of the picture (drifts pass it half-way through); phase and orientation
are uniform for every class, and sizes are distributed as those of Pulse. Turning left means anticlockwise for the
viewer.

Periods and speeds suit clips of 16 pictures 4/30 s apart: swings take 0.9 to 1.6 s, orbits and eights 1.2 to 2.4 s,
drifts cross 0.5 to 1.2 heights in 2 s. Rotation in place is not among the classes: the tiny network, whose stem has a
stride of 4 pixels, distinguished its directions no better than by chance.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

WIDTH_PX, HEIGHT_PX, FPS = 96, 72, 25
FRAMES = (64, 80)  # smallest and largest number of pictures in a clip
SWING_PERIOD_S, TURN_PERIOD_S = (1.6, 0.9), (2.4, 1.2)  # at the slowest and the fastest tempo
DRIFT_HEIGHTS_PER_S = (0.25, 0.6)
REACH_PX = (15.0, 19.0)  # amplitude of swings and radius of orbits
SPREAD_PX = 6.0  # largest distance of the start from the centre of the picture, on either axis
RADIUS_PX = (13.0, 15.0)  # with SIZE_SWING and a clip's variation of 3 %: diameters of 25 to 55 % of the height
SIZE_SWING = 0.28  # Pulse's radius goes from 72 % to 128 % of the scene's


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One kind of motion: direction of a swing or drift (x right, y down), orbit (+1 left, -1 right), eight, size."""

    swing: tuple[float, float] = (0.0, 0.0)
    drift: tuple[float, float] = (0.0, 0.0)
    orbit: int = 0
    eight: bool = False
    pulse: bool = False


MOTIONS = {
    "Bob": Motion(swing=(0.0, 1.0)),
    "DownhillSway": Motion(swing=(0.71, 0.71)),  # along the diagonal that falls to the right
    "DriftDown": Motion(drift=(0.0, 1.0)),
    "DriftLeft": Motion(drift=(-1.0, 0.0)),
    "DriftRight": Motion(drift=(1.0, 0.0)),
    "DriftUp": Motion(drift=(0.0, -1.0)),
    "FigureEight": Motion(eight=True),
    "OrbitLeft": Motion(orbit=1),
    "OrbitRight": Motion(orbit=-1),
    "Pulse": Motion(pulse=True),
    "Sway": Motion(swing=(1.0, 0.0)),
    "UphillSway": Motion(swing=(0.71, -0.71)),
}
CLASSES = tuple(MOTIONS)


# Shapes: signed distances (negative inside) in units of the shape's radius; none has a rotational symmetry.
def _disc(x: Array, y: Array, centre_x: float, radius: float) -> Array:
    return np.asarray(np.hypot(x - np.float32(centre_x), y) - radius, np.float32)


def _box(x: Array, y: Array, centre: tuple[float, float], half: tuple[float, float]) -> Array:
    x_out, y_out = np.abs(x - centre[0]) - half[0], np.abs(y - centre[1]) - half[1]
    return np.asarray(np.maximum(x_out, y_out), np.float32)


def _cone(x: Array, y: Array, tip_x: float, slope: float) -> Array:
    """The points within `slope` of the x axis, left of the tip."""
    return np.asarray((np.abs(y) - slope * (tip_x - x)) / np.float32(np.hypot(1, slope)), np.float32)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "wedge": lambda x, y: np.maximum(_disc(x, y, 0, 0.95), -_cone(-x, y, 0, 0.8)),
    "half_disc": lambda x, y: np.maximum(_disc(x, y, -0.25, 1), -0.25 - x),
    "triangle": lambda x, y: np.maximum(_cone(x, y, 1, 0.42), -0.75 - x),
    "drop": lambda x, y: np.minimum(_disc(x, y, -0.35, 0.62), np.maximum(_cone(x, y, 1, 0.52), -0.1 - x)),
    "hammer": lambda x, y: np.minimum(_box(x, y, (0.6, 0), (0.3, 0.75)), _box(x, y, (-0.3, 0), (0.6, 0.24))),
    "angle": lambda x, y: np.minimum(_box(x, y, (-0.4, 0), (0.3, 0.8)), _box(x, y, (0.1, 0.5), (0.7, 0.3))),
    "two_discs": lambda x, y: np.minimum(_disc(x, y, -0.35, 0.64), _disc(x, y, 0.6, 0.38)),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The object and the ground that all clips of a group share; levels are 0 .. 255, tempo is 0 (slowest) to 1."""

    shape: str
    radius_px: float
    tempo: float
    object_rgb: Doubles
    ground_rgb: Doubles
    slope_rgb: Doubles  # [2, 3]: change of the ground from the centre to the right and to the lower edge
    clutter: Doubles  # [pieces, (shape, x, y, radius in pixels, angle, contrast in levels)]
    noise: float

    def varied(self, rng: np.random.Generator) -> "Scene":
        """The scene in one of its clips: a slightly different camera, light and tempo."""
        light = rng.normal(0, 4, 3)
        clutter = self.clutter.copy()
        clutter[:, 1:3] += rng.uniform(-6, 6, 2)
        return dataclasses.replace(
            self,
            radius_px=self.radius_px * rng.uniform(0.97, 1.03),
            tempo=float(np.clip(self.tempo + rng.uniform(-0.2, 0.2), 0, 1)),
            object_rgb=self.object_rgb + light,
            ground_rgb=self.ground_rgb + light,
            clutter=clutter,
        )


def draw_scene(seed: int, group: int) -> Scene:
    """The scene of a group; it depends on its arguments only, so every class has the same scenes."""
    rng = np.random.default_rng((seed, group))
    object_level, ground_level = rng.uniform(175, 215), rng.uniform(55, 95)
    if rng.random() < 0.5:
        object_level, ground_level = ground_level, object_level
    pieces = int(rng.integers(4, 8))
    low, high = [0, 0, 0, 5, 0, 10], [len(SHAPES), WIDTH_PX, HEIGHT_PX, 11, 2 * np.pi, 28]
    clutter = rng.uniform(low, high, (pieces, 6))
    clutter[:, 5] *= rng.choice([-1, 1], pieces)
    return Scene(
        shape=str(rng.choice(list(SHAPES))),
        radius_px=rng.uniform(*RADIUS_PX),
        tempo=rng.random(),
        object_rgb=object_level + rng.uniform(-30, 30, 3),
        ground_rgb=ground_level + rng.uniform(-25, 25, 3),
        slope_rgb=rng.uniform(-18, 18, (2, 3)),
        clutter=clutter,
        noise=rng.uniform(2, 7),
    )


def draw_clip(action: str, *, seed: int, group: int, clip: int) -> NDArray[np.uint8]:
    """Render one clip, uint8 [N, height, width, 3]; deterministic in its arguments."""
    rng = np.random.default_rng((seed, group, CLASSES.index(action), clip))
    scene = draw_scene(seed, group).varied(rng)
    time_s = np.arange(rng.integers(FRAMES[0], FRAMES[1] + 1)) / FPS
    x_px, y_px, angle, size = trajectory(MOTIONS[action], time_s, scene.tempo, rng)
    cover = _cover(scene.shape, x_px, y_px, scene.radius_px * size, angle, period_px=HEIGHT_PX)[..., None]
    ground = _ground(scene)
    noise = rng.standard_normal(cover.shape, dtype=np.float32) * np.float32(scene.noise)
    levels = ground + cover * (scene.object_rgb.astype(np.float32) - ground) + noise
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def trajectory(
    motion: Motion, time_s: Doubles, tempo: float, rng: np.random.Generator
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """X and y in pixels, angle in radians and relative size, each [N], at times [N] in seconds."""
    start_x, start_y = np.array([WIDTH_PX / 2, HEIGHT_PX / 2]) + rng.uniform(-SPREAD_PX, SPREAD_PX, 2)
    angle, phase, size_phase = rng.uniform(0, 2 * np.pi, 3)
    reach_px = rng.uniform(*REACH_PX)
    from_middle_s = time_s - time_s.mean()  # drifts pass their start half-way through
    drifted_px = from_middle_s * HEIGHT_PX * np.interp(tempo, (0, 1), DRIFT_HEIGHTS_PER_S)
    swing = 2 * np.pi * time_s / np.interp(tempo, (0, 1), SWING_PERIOD_S)
    turn = 2 * np.pi * time_s / np.interp(tempo, (0, 1), TURN_PERIOD_S)
    wave_px, orbit_px = reach_px * np.sin(swing + phase), reach_px * abs(motion.orbit)
    orbit = phase + motion.orbit * turn
    eight_px = reach_px * motion.eight * np.stack([np.sin(phase + turn), 0.6 * np.sin(2 * (phase + turn))])
    x_px = start_x + motion.swing[0] * wave_px + motion.drift[0] * drifted_px + orbit_px * np.cos(orbit) + eight_px[0]
    y_px = start_y + motion.swing[1] * wave_px + motion.drift[1] * drifted_px - orbit_px * np.sin(orbit) + eight_px[1]
    size = 1 + SIZE_SWING * np.sin(size_phase + motion.pulse * swing)
    return x_px, y_px, np.full_like(time_s, angle), size


def _cover(shape: str, x_px: Doubles, y_px: Doubles, radius_px: Doubles, angle: Doubles, *, period_px: int) -> Array:
    """Share of each pixel that the shape covers, [N, height, width]; the world repeats every `period_px`."""
    x, y, radius, turn = np.stack([x_px, y_px, radius_px, angle]).astype(np.float32)[..., None, None]
    across = _wrapped(np.arange(WIDTH_PX, dtype=np.float32) + np.float32(0.5) - x, period_px)
    down = _wrapped(np.arange(HEIGHT_PX, dtype=np.float32)[:, None] + np.float32(0.5) - y, period_px)
    cos, sin = np.cos(turn) / radius, np.sin(turn) / radius
    distance = SHAPES[shape](across * cos - down * sin, -across * sin - down * cos)  # y up within the shape
    return np.asarray(np.clip(0.5 - distance * radius, 0, 1), np.float32)


def _wrapped(offset_px: Array, period_px: int) -> Array:
    """Offset to the nearest copy, from minus half a period to half a period."""
    half = np.float32(period_px / 2)
    return np.asarray(np.mod(offset_px + half, np.float32(period_px)) - half, np.float32)


def _ground(scene: Scene) -> Array:
    """The static background [height, width, 3]: a gradient and some shapes in pale contrast."""
    x, y = np.linspace(-1, 1, WIDTH_PX)[:, None], np.linspace(-1, 1, HEIGHT_PX)[:, None, None]
    levels = scene.ground_rgb + x * scene.slope_rgb[0] + y * scene.slope_rgb[1]
    for kind, *place, contrast in scene.clutter:
        x_px, y_px, radius_px, angle = np.array(place)[:, None]
        shape = list(SHAPES)[int(kind)]
        cover = _cover(shape, x_px, y_px, radius_px, angle, period_px=4 * WIDTH_PX)  # never seen twice
        levels = levels + contrast * cover[0, ..., None]
    return np.asarray(levels, np.float32)
