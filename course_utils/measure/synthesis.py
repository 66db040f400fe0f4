"""Judge B reads a picture by drawing it again. Nothing in it is learned.

It searches for the scene whose drawing comes nearest to the picture: the background, then one thing after another until
nothing coloured is left, each tried in every shape, fill and colour. A picture is readable if the best drawing comes near,
if little is left over, and if every drawing with another shape, fill, colour, size or background is clearly farther away.
Lengths are in pixels, colours in the opponent coordinates of `redraw`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.common import CourseError
from course_utils.measure.judge import Reading
from course_utils.measure.redraw import OPPONENT, PIXELS, Ground, fit_ground, noise_of
from course_utils.measure.redraw_things import BETWEEN, FittedThing, fit_thing, look, with_stripes
from course_utils.worlds.scenes import Scene, place_of, relation_of

MOST = 4  # things looked for; a scene has at most three
FAINTEST = 0.5  # what the best template must explain, in squared colour, to be a thing


@dataclass(frozen=True)
class Limits:
    """What a readable picture keeps; chosen on real and on malformed scenes, none drawn by a generator.

    margin, size and background_margin are the least that is allowed, the others the most. Their meanings stand with
    `Fit.numbers`, which has the same names.
    """

    residual: float = 0.13
    doubt: float = 0.22
    margin: float = 0.6
    colour: float = 0.25
    size: float = 0.15
    leftover: float = 1.0
    flaw: float = 1.5
    overlap: float = 2.0
    background_margin: float = 0.03
    background_residual: float = 0.08


@dataclass(frozen=True)
class Fit:
    """The drawing that comes nearest to a picture: (3, 32, 32) in [0, 1], and what it consists of."""

    picture: Tensor
    ground: Ground
    things: tuple[FittedThing, ...]
    leftover: float
    flaw: float
    overlap: float

    @property
    def numbers(self) -> dict[str, float]:
        """The raw numbers that `Limits` judges.

        residual, doubt and colour: the worst thing's (see `FittedThing`). margin: the least of a thing's margin over its
        residual (and 0.003, for grain). size: pixels between a radius and the border of small and large. leftover: colour
        outside the things, in pixels of a contrast of 0.4 within 5x5. flaw: pixels of a thing that are wrong within 3x3.
        overlap: pixels that two things cover. background_margin, background_residual: see `Ground`.
        """
        return {
            "residual": max((t.residual for t in self.things), default=1.0),
            "doubt": max((t.doubt for t in self.things), default=1.0),
            "margin": min((t.margin / (t.residual + 0.003) for t in self.things), default=0.0),
            "colour": max((t.colour for t in self.things), default=1.0),
            "size": min((abs(float(t.p[2]) - BETWEEN) for t in self.things), default=0.0),
            "leftover": self.leftover,
            "flaw": self.flaw,
            "overlap": self.overlap,
            "background_margin": self.ground.margin,
            "background_residual": self.ground.residual,
        }

    @property
    def scene(self) -> Scene | None:
        """The scene that was drawn, readable or not; None if it has no thing or more than three."""
        things, place, relation = [t.thing for t in self.things], None, None
        if not 1 <= len(things) < MOST:
            return None
        at = [(float(t.p[0]) / PIXELS, float(t.p[1]) / PIXELS) for t in self.things]
        if len(things) == 1:
            place = place_of(*at[0])
        if len(things) == 2:
            relation, swapped = relation_of(at[1][0] - at[0][0], at[1][1] - at[0][1])
            things = things[::-1] if swapped else things
        return Scene(tuple(things), place, relation, self.ground.name)

    def reading(self, limits: Limits) -> Reading:
        """The scene if every number keeps its limit; certainty is 1/2 where the worst is at its limit, 0 or 1 far from it."""
        if self.scene is None:
            return Reading(None, 0.0)
        certainty, numbers = 1.0, self.numbers
        for name, limit in asdict(limits).items():
            ratio = (numbers[name] / limit) ** 2
            least = name in ("margin", "size", "background_margin")
            certainty = min(certainty, ratio / (1 + ratio) if least else 1 / (1 + ratio))
        return Reading(self.scene if certainty >= 0.5 else None, certainty)


class SceneFitter:
    """Judge B: reads pictures of the world `shapes` at 32x32, one after the other, about half a second each on one core.

    Small striped things, which cannot be seen at this size, are not looked for.
    """

    def __init__(self, limits: Limits | None = None):
        self.limits = limits or Limits()

    def read(self, images: Tensor) -> list[Reading]:
        """A reading for each of the pictures (N, 3, 32, 32) in [0, 1]. Raises CourseError for another shape."""
        return [fit.reading(self.limits) for fit in self.fit(images)]

    @torch.inference_mode()
    def fit(self, images: Tensor) -> list[Fit]:
        """The nearest drawing of each of the pictures (N, 3, 32, 32) in [0, 1]. Raises CourseError for another shape."""
        if images.shape[1:] != (3, PIXELS, PIXELS):
            raise CourseError(f"These pictures are {tuple(images.shape)}: give (N, 3, {PIXELS}, {PIXELS}) in [0, 1].")
        return [_fit(image) for image in images.float().cpu()]


def _fit(image: Tensor) -> Fit:
    y = torch.einsum("ab,bij->aij", OPPONENT, image)
    colour = y[1:] - y[1:].flatten(1).median(1).values[:, None, None]
    bare = F.max_pool2d(colour.square().sum(0, keepdim=True).sqrt(), 3, 1, 1)[0] < 0.08
    canvas = fit_ground(y, bare + 1e-3).picture
    things: list[FittedThing] = []
    for _ in range(MOST):
        starts, reach, gain = look(y - canvas, things)
        if gain < FAINTEST:
            break
        starts = with_stripes(y, canvas, starts, reach)
        things.append(fit_thing(y, canvas, starts, starts[0][:, :2].mean(0), reach, torch.zeros(3), ((24, 4),)))
        canvas = things[-1].over(canvas)
    noise = noise_of(y - canvas)
    # Once more, now that everything else is known.
    crowd = sum((thing.covered for thing in things), torch.zeros(PIXELS, PIXELS))
    bare = F.max_pool2d(crowd[None], 3, 1, 1)[0] < 0.02
    ground = fit_ground(y, bare + 1e-3)
    for i, thing in enumerate(things):
        canvas = ground.picture
        for other in things[:i] + things[i + 1 :]:
            canvas = other.over(canvas)
        things[i] = fit_thing(y, canvas, thing.hypotheses, thing.p[:2], float(thing.p[2]) + 3, noise, ((12, 5), (6, 6)))
    canvas = ground.picture
    for thing in things:
        canvas = thing.over(canvas)
    rest = (y - canvas).square() - noise[:, None, None]
    leftover = most(rest[1:].sum(0) * bare, 5) / 0.4**2
    flaw = 0.0
    for thing in things:
        ink = thing.covered.square().sum()
        contrast = (thing.painted - thing.covered * ground.picture).square().sum() / ink
        flaw = max(flaw, most(rest.sum(0) * (thing.covered > 0.02), 3) / max(float(contrast), 0.01))
    crowd = sum((thing.covered for thing in things), torch.zeros(PIXELS, PIXELS))
    overlap = float((crowd - 1).clamp_min(0).sum())
    picture = torch.einsum("ab,bij->aij", torch.linalg.inv(OPPONENT), canvas).clamp(0, 1)
    return Fit(picture, ground, tuple(things), leftover, flaw, overlap)


def most(errors: Tensor, size: int) -> float:
    """The largest sum of errors (32, 32) in any square of this size, at least 0."""
    return max(0.0, size**2 * float(F.avg_pool2d(errors[None], size, 1).max()))
