"""The 20 actions of a jointed figure in the harder procedural clips, most of them with a similar second action.

A figure is a flat puppet: trunk, head, arms and legs of two parts each. Right and left are those of the viewer. Every
joint swings (or spins) in a cycle whose phase is random, so an action is a small table of joints. The actions of a
family share their poses and differ in properties that a single picture does not show, or hardly shows:

- Wave*: both forearms are up; which of them moves, and whether together or alternately;
- Windmill*: the direction in which the arms turn (left is anticlockwise for the viewer);
- JumpingJack, CrossJack: whether the arms go up while the legs go apart or while they close;
- Walk*, Back*: walking backwards to the left is walking to the right in reverse, pose for pose;
- Walk*, Run*, March: stride, tempo, and whether the figure moves along (the camera follows, so the ground shows it);
- Punch*: both fists at once or in turn; Squat, Jump: whether the crouch ends in the air.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Joint:
    """The angle of a joint over a cycle, in degrees, positive to the right.

    The angle of a trunk is measured from upright, that of a shoulder or hip from the hanging limb, that of an elbow or
    knee from the straight limb. A joint that is `held` keeps the angle of one random phase.
    """

    mean: float = 0.0
    swing: float = 0.0
    at: float = 0.0  # phase, in cycles
    spins: int = 0  # whole turns in a cycle, anticlockwise for the viewer
    held: bool = False

    def later(self, cycles: float = 0.5) -> "Joint":
        """The same joint with a later phase."""
        return dataclasses.replace(self, at=self.at + cycles)

    def mirrored(self) -> "Joint":
        """The joint of the mirror image."""
        return dataclasses.replace(self, mean=-self.mean, swing=-self.swing, spins=-self.spins)

    def hold(self) -> "Joint":
        """The joint, held at a random phase."""
        return dataclasses.replace(self, held=True)

    def angle(self, cycles: Doubles, *, held_at: float = 0.0, vigour: float = 1.0) -> Doubles:
        """The angle in radians, [N], at times [N] in cycles; `vigour` scales the swing."""
        phase = (np.full_like(cycles, held_at) if self.held else cycles) + self.at
        swing = vigour * self.swing * np.sin(2 * np.pi * phase)
        return np.asarray(np.deg2rad(self.mean + swing + 360 * self.spins * phase))


STILL = Joint()


class Limb(NamedTuple):
    """An arm (shoulder, elbow) or a leg (hip, knee)."""

    root: Joint = STILL
    bend: Joint = STILL

    def later(self, cycles: float = 0.5) -> "Limb":
        """The same limb with a later phase."""
        return Limb(self.root.later(cycles), self.bend.later(cycles))

    def mirrored(self) -> "Limb":
        """The limb of the mirror image."""
        return Limb(self.root.mirrored(), self.bend.mirrored())

    def hold(self) -> "Limb":
        """The limb with both joints held at a random phase."""
        return Limb(self.root.hold(), self.bend.hold())


_HANGING = Limb(Joint(mean=10))
_HANGING_LEFT = _HANGING.mirrored()


@dataclass(frozen=True, kw_only=True)
class Move:
    """One cycle of a figure that faces right; periods are in seconds, at the slowest and the fastest tempo."""

    period_s: tuple[float, float]
    left_arm: Limb = _HANGING_LEFT
    right_arm: Limb = _HANGING
    left_leg: Limb = _HANGING_LEFT
    right_leg: Limb = _HANGING
    lean: Joint = STILL
    hop: float = 0.0  # height of the jump in the first half of the cycle, in body heights
    stride: float = 0.0  # distance that the figure moves in a cycle, in body heights


@dataclass(frozen=True, kw_only=True)
class Action:
    """A move with its direction: facing right (+1), left (-1, the mirror image) or a random side (0).

    `reverse` plays the move backwards in time.
    """

    move: Move
    facing: int = 0
    reverse: bool = False


_WAVING = Limb(Joint(mean=100, swing=14), Joint(mean=46, swing=50))
_WAVE = Move(period_s=(1.2, 0.75), left_arm=_WAVING.mirrored().hold(), right_arm=_WAVING)
_WAVE_TOGETHER = dataclasses.replace(_WAVE, left_arm=_WAVING.mirrored())
_WAVE_PARALLEL = dataclasses.replace(_WAVE, left_arm=_WAVING.mirrored().later())

_SPINNING = Limb(Joint(spins=1))
_WINDMILL = Move(period_s=(2.0, 1.2), left_arm=_SPINNING, right_arm=_SPINNING)

_RAISED = Limb(Joint(mean=85, swing=65))
_SPREAD = Limb(Joint(mean=20, swing=17))
_JACK = Move(
    period_s=(1.4, 0.9),
    left_arm=_RAISED.mirrored(),
    right_arm=_RAISED,
    left_leg=_SPREAD.mirrored(),
    right_leg=_SPREAD,
)
_CROSS_JACK = dataclasses.replace(_JACK, left_leg=_SPREAD.mirrored().later(), right_leg=_SPREAD.later())


def _gait(*, period_s: tuple[float, float], hip: Joint, knee: Joint, arms: float, elbow: float, stride: float) -> Move:
    """Legs half a cycle apart, each arm with the opposite leg; knees bend while their leg comes forward."""
    leg, arm = Limb(hip, knee), Limb(Joint(swing=arms), Joint(mean=elbow))
    return Move(
        period_s=period_s,
        left_arm=arm,
        right_arm=arm.later(),
        left_leg=leg.later(),
        right_leg=leg,
        stride=stride,
        lean=Joint(mean=5 if stride else 0),
    )


_WALK = _gait(
    period_s=(1.3, 0.95),
    hip=Joint(swing=30),
    knee=Joint(mean=-22, swing=22, at=-0.25),
    arms=28,
    elbow=12,
    stride=0.75,
)
_RUN = _gait(
    period_s=(0.85, 0.65),
    hip=Joint(mean=6, swing=44),
    knee=Joint(mean=-48, swing=42, at=-0.25),
    arms=48,
    elbow=75,
    stride=1.2,
)
_MARCH = _gait(
    period_s=(1.3, 0.95),
    hip=Joint(mean=38, swing=42),
    knee=Joint(mean=-48, swing=-48),
    arms=28,
    elbow=12,
    stride=0,
)

_PUNCHING = Limb(Joint(mean=62, swing=24), Joint(mean=68, swing=-62))
_PUNCH_TOGETHER = Move(period_s=(1.3, 0.85), left_arm=_PUNCHING, right_arm=_PUNCHING)
_PUNCH_IN_TURN = dataclasses.replace(_PUNCH_TOGETHER, left_arm=_PUNCHING.later())

_CROUCHING = Limb(Joint(mean=34, swing=-28), Joint(mean=-52, swing=50))  # half a cycle after the jump
_REACHING = Limb(Joint(mean=60, swing=20))
_SQUAT = Move(
    period_s=(1.7, 1.1),
    left_arm=_REACHING.mirrored(),
    right_arm=_REACHING,
    left_leg=_CROUCHING.mirrored(),
    right_leg=_CROUCHING,
)
_JUMP = dataclasses.replace(_SQUAT, hop=0.2)
_BOW = Move(period_s=(1.9, 1.3), lean=Joint(mean=36, swing=40))

ACTIONS = {
    "BackLeft": Action(move=_WALK, facing=1, reverse=True),
    "BackRight": Action(move=_WALK, facing=-1, reverse=True),
    "Bow": Action(move=_BOW),
    "CrossJack": Action(move=_CROSS_JACK),
    "Jump": Action(move=_JUMP),
    "JumpingJack": Action(move=_JACK),
    "March": Action(move=_MARCH),
    "PunchInTurn": Action(move=_PUNCH_IN_TURN),
    "PunchTogether": Action(move=_PUNCH_TOGETHER),
    "RunLeft": Action(move=_RUN, facing=-1),
    "RunRight": Action(move=_RUN, facing=1),
    "Squat": Action(move=_SQUAT),
    "WalkLeft": Action(move=_WALK, facing=-1),
    "WalkRight": Action(move=_WALK, facing=1),
    "WaveInTurn": Action(move=_WAVE_PARALLEL),
    "WaveLeft": Action(move=_WAVE, facing=-1),
    "WaveRight": Action(move=_WAVE, facing=1),
    "WaveTogether": Action(move=_WAVE_TOGETHER),
    "WindmillLeft": Action(move=_WINDMILL, facing=1),
    "WindmillRight": Action(move=_WINDMILL, facing=-1),
}
CLASSES = tuple(ACTIONS)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Proportions of a figure, in body heights."""

    trunk: float = 0.32
    arm: float = 0.18  # each of its two parts
    leg: float = 0.22  # each of its two parts
    shoulder: float = 0.10  # distance from the middle
    hip: float = 0.055
    head: float = 0.085  # radius


def skeleton(
    move: Move, build: Build, cycles: Doubles, *, held_at: float = 0.0, vigour: float = 1.0
) -> dict[str, Doubles]:
    """Both ends of every part of a figure that faces right, [N, 2 ends, (x, y)] in body heights, y up.

    x counts from the hips; the lower foot stands on the ground, y = 0, unless the move hops.
    """

    def angle(joint: Joint) -> Doubles:
        return joint.angle(cycles, held_at=held_at, vigour=vigour)

    def from_start(start: Doubles, direction: Doubles, length: float) -> Doubles:
        return np.stack([start, start + length * np.stack([np.sin(direction), -np.cos(direction)], axis=-1)], axis=1)

    up = np.pi - angle(move.lean)
    hips = np.zeros((len(cycles), 2))
    parts = {"trunk": from_start(hips, up, build.trunk)}
    neck = parts["trunk"][:, 1]
    parts["head"] = from_start(neck, up, 1.3 * build.head)
    to_shoulder = build.shoulder * np.stack([-np.cos(up), -np.sin(up)], axis=-1)
    to_hip = np.array([build.hip, 0])
    for upper, lower, limb, start, length in (
        ("right_arm", "right_forearm", move.right_arm, neck + to_shoulder, build.arm),
        ("left_arm", "left_forearm", move.left_arm, neck - to_shoulder, build.arm),
        ("right_thigh", "right_shin", move.right_leg, hips + to_hip, build.leg),
        ("left_thigh", "left_shin", move.left_leg, hips - to_hip, build.leg),
    ):
        parts[upper] = from_start(start, angle(limb.root), length)
        parts[lower] = from_start(parts[upper][:, 1], angle(limb.root) + angle(limb.bend), length)
    lower_foot = np.minimum(parts["right_shin"], parts["left_shin"])[:, 1, 1]
    rise = move.hop * np.maximum(0, np.sin(2 * np.pi * cycles)) - lower_foot
    return {name: ends + rise[:, None, None] * np.array([0, 1]) for name, ends in parts.items()}
