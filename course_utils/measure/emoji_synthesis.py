"""Judge B of `emoji_scenes` reads a picture by drawing it again. Nothing in it is learned.

It finds the background, then one thing after another until none is left that would make the drawing better: every emoji in
every size is held against every place, and the best nouns there are moved, turned and shaded until they come nearest. A picture
is readable if the drawing comes near, if every other noun is clearly farther away, and if nothing is left over.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.emoji_ground import EmojiGround, fit_ground, nearer
from course_utils.measure.emoji_things import MIDDLE, PIXELS, FittedEmoji, fit_thing, look, smooth
from course_utils.measure.judge import Reading
from course_utils.measure.sizes import resized
from course_utils.measure.worlds import EMOJI_SCENES
from course_utils.worlds.emoji_scenes.scenes import NAMES, SIZES, Scene, Thing, scene_of

LEAST = ("margin", "size", "solid", "explained", "background_margin")
MOST = 4  # things looked for; a scene has at most three
LEAST_GAIN, LEAST_EXPLAINED, SURELY = 3.0, 0.5, 0.9  # of a thing: see `FittedEmoji`


@dataclass(frozen=True)
class Limits:
    """What a readable picture keeps; chosen on real and on malformed scenes, none drawn by a generator.

    those in LEAST are the least that is allowed, the others the most; `Fit.numbers` says what they are.
    """

    residual: float = 0.01
    flaw: float = 0.015
    margin: float = 1.5
    solid: float = 0.8
    explained: float = 0.85
    size: float = 0.3
    leftover: float = 4.0
    background_margin: float = 0.1
    background_residual: float = 0.75


@dataclass(frozen=True)
class Fit:
    """The drawing that comes nearest to a picture: (3, 64, 64) in [0, 1], and what it consists of."""

    picture: Tensor
    ground: EmojiGround
    things: tuple[FittedEmoji, ...]
    leftover: float

    @property
    def numbers(self) -> dict[str, float]:
        """The raw numbers that `Limits` judges: of the worst thing, where they are of things (see `FittedEmoji`).

        margin: over the residual (and 0.003). size: pixels between a radius and the middle between small and large. leftover:
        how much better the drawing would be with one more thing.
        """
        things = self.things
        return {
            "residual": max((t.residual for t in things), default=1.0),
            "flaw": max((t.flaw for t in things), default=1.0),
            "margin": min((t.margin / (t.residual + 0.003) for t in things), default=0.0),
            "explained": min((t.explained for t in things), default=0.0),
            "solid": min((t.solid for t in things), default=0.0),
            "size": min((abs(t.radius - MIDDLE) for t in things), default=0.0),
            "leftover": self.leftover,
            "background_margin": self.ground.margin,
            "background_residual": self.ground.residual,
        }

    @property
    def scene(self) -> Scene | None:
        """The scene that was drawn, readable or not; None if it has no thing or more than three."""
        if not 1 <= len(self.things) < MOST:
            return None
        things = [Thing(SIZES[t.radius > MIDDLE], NAMES[t.noun]) for t in self.things]
        return scene_of(things, [(t.x / PIXELS, t.y / PIXELS) for t in self.things], self.ground.name)

    def reading(self, limits: Limits) -> Reading:
        """The scene if every number keeps its limit; certainty is 1/2 where the worst is at its limit, 0 or 1 far from it."""
        if self.scene is None:
            return Reading(None, 0.0, EMOJI_SCENES)
        certainty, numbers = 1.0, self.numbers
        for name, limit in asdict(limits).items():
            ratio = (max(numbers[name], 0.0) / limit) ** 2
            certainty = min(certainty, ratio / (1 + ratio) if name in LEAST else 1 / (1 + ratio))
        return Reading(self.scene if certainty >= 0.5 else None, certainty, EMOJI_SCENES)


class EmojiFitter:
    """Judge B: reads pictures of the world `emoji_scenes`, one after the other, about half a second each on one core."""

    def __init__(self, limits: Limits | None = None):
        self.limits = limits or Limits()

    def read(self, images: Tensor) -> list[Reading]:
        """A reading for each of the pictures (N, 3, P, P) in [0, 1]. Raises CourseError for another shape."""
        return [fit.reading(self.limits) for fit in self.fit(images)]

    @torch.inference_mode()
    def fit(self, images: Tensor) -> list[Fit]:
        """The nearest drawing of each of the pictures (N, 3, P, P) in [0, 1], at 64x64. Raises CourseError for another shape."""
        return [_fit(image) for image in resized(images.float().cpu(), PIXELS)]


def _fit(image: Tensor) -> Fit:
    ground, sharp = fit_ground(image), smooth(image)
    first = _things(sharp, ground)
    # Once more, with the background that is seen between what was surely found.
    covered = torch.stack(
        [torch.zeros(PIXELS, PIXELS), *(t.covered for t in first.things if t.explained > SURELY)]
    ).amax(0)
    return _things(sharp, nearer(ground, image, 1 - F.max_pool2d(covered[None], 5, 1, 2)[0].clamp(0, 1)))


def _things(image: Tensor, ground: EmojiGround) -> Fit:
    canvas = smooth(ground.picture(PIXELS))
    things: list[FittedEmoji] = []
    while True:
        thing = fit_thing(image, canvas, *look(image, canvas))
        if thing.gain < LEAST_GAIN or thing.explained < LEAST_EXPLAINED or len(things) == MOST:
            return Fit(canvas.clamp(0, 1), ground, tuple(things), thing.gain)
        things.append(thing)
        canvas = thing.picture
