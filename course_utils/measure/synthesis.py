"""Judge B reads a picture by drawing it again. Nothing in it is learned.

It searches for the scene whose drawing comes nearest to the picture: the background, then one thing after another until
nothing coloured is left, each tried in every shape, fill and colour. A picture is readable if the best drawing comes near,
if little is left over, and if every drawing with another shape, fill, colour, size or background is clearly farther away.
Lengths are in pixels, colours in the opponent coordinates of `redraw`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.common import CourseError
from course_utils.measure.judge import Reading
from course_utils.measure.redraw import (
    OPPONENT,
    PIXELS,
    SHARP,
    SOFT,
    STRIPED,
    Ground,
    cover,
    descend,
    fit_ground,
    noise_of,
    palette,
    templates,
)
from course_utils.worlds.scenes import COLOURS, FILLS, SHAPES, SIZES, Scene, Thing, place_of, relation_of

MOST = 4  # things looked for; a scene has at most three
BETWEEN = 0.176 * PIXELS  # radii: small things reach to 0.157, large ones begin at 0.195
FAINTEST = 0.5  # what the best template must explain, in squared colour, to be a thing
ALIKE = 0.015  # drawings that differ by so small a share of a thing's energy look alike
_TURN = math.radians(17)
#    of a thing:       x      y      radius          rotation blur  tilt and phase of the stripes
LOW = torch.tensor([0.0, 0.0, 0.115 * PIXELS, -_TURN, SHARP, -9.0, -9.0])
HIGH = torch.tensor([32.0, 32.0, 0.240 * PIXELS, _TURN, SOFT, 9.0, 9.0])


@dataclass(frozen=True)
class Limits:
    """What a readable picture keeps; chosen on real and on malformed scenes, none drawn by a generator.

    margin, size and background_margin are the least that is allowed, the others the most. Their meanings stand with
    `Fit.numbers`, which has the same names.
    """

    residual: float = 0.13
    doubt: float = 0.22
    margin: float = 0.6
    colour: float = 0.5
    size: float = 0.15
    leftover: float = 1.0
    background_margin: float = 0.03
    background_residual: float = 0.08


@dataclass(frozen=True)
class FittedThing:
    """A thing as it was drawn again: its words, parameters (7,), cover (32, 32) and paint (3, 32, 32), and how well it fits.

    residual: what the picture does otherwise, as a share of the thing's energy. margin: how much larger that share is with
    the next shape or fill. doubt: how far the picture is on the way from this drawing to one with another shape or fill: 0
    at this one, 1/2 in the middle. colour: the distance to the named colour over that to the next. hypotheses: parameters,
    shapes and fills of all that was tried.
    """

    thing: Thing
    p: Tensor
    covered: Tensor
    painted: Tensor
    residual: float
    doubt: float
    margin: float
    colour: float
    hypotheses: tuple[Tensor, Tensor, Tensor]

    def over(self, canvas: Tensor) -> Tensor:
        return canvas * (1 - self.covered) + self.painted


@dataclass(frozen=True)
class Fit:
    """The drawing that comes nearest to a picture: (3, 32, 32) in [0, 1], and what it consists of."""

    picture: Tensor
    ground: Ground
    things: tuple[FittedThing, ...]
    leftover: float

    @property
    def numbers(self) -> dict[str, float]:
        """The raw numbers that `Limits` judges.

        residual, doubt and colour: the worst thing's (see `FittedThing`). margin: the least of a thing's margin over its
        residual (and 0.003, for grain). size: pixels between a radius and the border of small and large. leftover: colour
        outside the things, in pixels of a contrast of 0.4 within 5x5. background_margin, background_residual: see `Ground`.
        """
        return {
            "residual": max((t.residual for t in self.things), default=1.0),
            "doubt": max((t.doubt for t in self.things), default=1.0),
            "margin": min((t.margin / (t.residual + 0.003) for t in self.things), default=0.0),
            "colour": max((t.colour for t in self.things), default=1.0),
            "size": min((abs(float(t.p[2]) - BETWEEN) for t in self.things), default=0.0),
            "leftover": self.leftover,
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
        certainty = 1.0
        for name, limit in asdict(limits).items():
            ratio = (self.numbers[name] / limit) ** 2
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
        things.append(fit_thing(y, canvas, with_stripes(y, canvas, starts, reach), reach, torch.zeros(3), ((24, 4),)))
        canvas = things[-1].over(canvas)
    noise = noise_of(y - canvas)
    # Once more, now that everything else is known.
    bare = (
        F.max_pool2d(sum((t.covered for t in things), torch.zeros_like(bare, dtype=y.dtype))[None], 3, 1, 1)[0] < 0.02
    )
    ground = fit_ground(y, bare + 1e-3)
    for i, thing in enumerate(things):
        canvas = ground.picture
        for other in things[:i] + things[i + 1 :]:
            canvas = other.over(canvas)
        things[i] = fit_thing(y, canvas, thing.hypotheses, float(thing.p[2]) + 3, noise, ((12, 5), (6, 6)))
    canvas = ground.picture
    for thing in things:
        canvas = thing.over(canvas)
    rest = ((y - canvas)[1:].square().sum(0) - noise[1:].sum()) * bare
    leftover = max(0.0, 25 * float(F.avg_pool2d(rest[None], 5, 1).max())) / 0.4**2
    picture = torch.einsum("ab,bij->aij", torch.linalg.inv(OPPONENT), canvas).clamp(0, 1)
    return Fit(picture, ground, tuple(things), leftover)


Hypotheses = tuple[Tensor, Tensor, Tensor]  # parameters (H, 7), shapes (H,), fills (H,)


def look(rest: Tensor, things: list[FittedThing]) -> tuple[Hypotheses, float, float]:
    """Where the next thing is, in what is not explained yet (3, 32, 32): starts, how far the thing reaches, what it explains."""
    bank, p, shape, fill = templates()
    hits = F.conv2d(rest[1:, None], bank[:, None], padding=bank.shape[-1] // 2)  # (2, T, 32, 32)
    gain = hits.square().sum(0) / bank.square().sum((1, 2))[:, None, None]
    ticks = torch.arange(PIXELS) + 0.5
    for x, y, radius in (thing.p[:3] for thing in things):
        gain *= (ticks - x).square() + (ticks[:, None] - y).square() > (radius + 3).square()
    at = int(gain.amax(0).argmax())
    top, left = max(at // PIXELS - 2, 0), max(at % PIXELS - 2, 0)
    near = gain[:, top : at // PIXELS + 3, left : at % PIXELS + 3]
    value, place = near.flatten(1).max(1)
    best = value.view(-1, 15).argmax(1) + torch.arange(0, len(bank), 15)  # of each shape, fill and size
    xy = torch.stack([left + place[best] % near.shape[2], top + place[best] // near.shape[2]], 1) + 0.5
    start = torch.cat([xy, p[best, 2:], torch.zeros(len(best), 2)], 1)
    return (start, shape[best], fill[best]), float(p[value.argmax(), 2]) + 2.5, float(value.max())


class _Window:
    """A thing's surroundings: what the picture shows there, what lies below the thing, which pixels count."""

    def __init__(self, y: Tensor, canvas: Tensor, p: Tensor, reach: float):
        centre = p[:, :2].mean(0)
        self.size = size = 2 * math.ceil(reach) + 1
        self.corner = (centre - size / 2).round()
        left, top = (int(v) + size for v in self.corner)
        ticks = torch.arange(size) + 0.5
        (x, y0) = ticks + self.corner[0] - centre[0], ticks + self.corner[1] - centre[1]
        self.target, self.below, inside = (
            F.pad(t, (size,) * 4)[:, top : top + size, left : left + size]
            for t in (y, canvas, torch.ones(1, PIXELS, PIXELS))
        )
        self.weight = inside[0] * (x.square() + y0[:, None].square() < reach**2)

    def fitted(self, p: Tensor, shape: Tensor, fill: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What hypotheses leave (H, 3·size²) in their best paint (H, 3), and how much paint each took (H,)."""
        covered, painted = cover(p, shape, fill, self.corner, self.size)
        wanted = self.target - (1 - covered[:, None]) * self.below
        ink = (painted.square() * self.weight).sum((1, 2)).clamp_min(1e-3)
        paint = torch.einsum("hij,hcij->hc", painted * self.weight, wanted) / ink[:, None]
        return ((wanted - painted[:, None] * paint[..., None, None]) * self.weight).flatten(1), paint, ink

    def settle(self, hypotheses: Hypotheses, steps: int) -> tuple[Tensor, Tensor]:
        """Parameters and errors after a descent; what has no stripes has two parameters less."""
        p, shape, fill = hypotheses
        p, error = p.clone(), torch.zeros(len(p))
        for some, n in ((fill != STRIPED, 5), (fill == STRIPED, 7)):
            if some.any():
                low = LOW[:n].clone()
                low[2] = BETWEEN if n == 7 else low[2]  # small stripes cannot be seen
                residuals = lambda p, i, s=shape[some], f=fill[some]: self.fitted(p, s[i], f[i])[0]  # noqa: E731
                p[some, :n], error[some] = descend(residuals, p[some, :n], low, HIGH[:n], steps)
        return p, error


def with_stripes(y: Tensor, canvas: Tensor, starts: Hypotheses, reach: float) -> Hypotheses:
    """24 hypotheses, one of each shape and fill: the better size, and the stripes that suit the large solid thing best."""
    window = _Window(y, canvas, starts[0], reach)
    p, error = window.settle(starts, 3)
    large = torch.arange(1, len(p), 4)  # starts come as solid small, solid large, outlined small, outlined large
    stripes = torch.cartesian_prod(torch.arange(18) * math.pi / 18, torch.arange(6) / 6)
    tried = torch.cat([p[large, None, :5].expand(-1, len(stripes), -1), stripes.expand(len(large), -1, -1)], 2)
    shape = starts[1][large]
    every = shape.repeat_interleave(len(stripes))
    fits = window.fitted(tried.flatten(0, 1), every, torch.full_like(every, STRIPED))[0].square().sum(1)
    striped = tried[torch.arange(len(large)), fits.view(len(large), -1).argmin(1)]
    better = p.view(-1, 2, 7)[torch.arange(len(p) // 2), error.view(-1, 2).argmin(1)].view(-1, 2, 7)  # (8, 2 fills, 7)
    together = torch.cat([better, striped[:, None]], 1).flatten(0, 1)
    return together, shape.repeat_interleave(len(FILLS)), torch.arange(len(FILLS)).repeat(len(SHAPES))


def fit_thing(
    y: Tensor, canvas: Tensor, starts: Hypotheses, reach: float, noise: Tensor, rounds: tuple[tuple[int, int], ...]
) -> FittedThing:
    """The thing that makes a canvas (3, 32, 32) most like the picture y there: of each shape, fill and colour, the best.

    noise: variances (3,). rounds: how many of the hypotheses, the best, descend how many steps.
    """
    window = _Window(y, canvas, starts[0], reach)
    p, shape, fill = (part.clone() for part in starts)
    for few, steps in rounds:
        best = window.fitted(p, shape, fill)[0].square().sum(1).topk(few, largest=False).indices
        p[best], _ = window.settle((p[best], shape[best], fill[best]), steps)
    rest, paint, ink = window.fitted(p, shape, fill)
    error = rest.square().sum(1)
    away = (paint[:, None, None] - palette()).square().sum(3).amin(2)  # from each colour's nearest shade, (24, 8)
    table = (error[:, None] + ink[:, None] * away).view(len(SHAPES), len(FILLS), len(COLOURS))
    at = [int(v) for v in torch.unravel_index(table.argmin(), table.shape)]
    grain = float(noise.sum() * window.weight.sum())
    signal = max(float(((window.target - window.below) * window.weight).square().sum()) - grain, 1e-3)
    rivals = [table.transpose(0, axis).flatten(1).amin(1).topk(2, largest=False).values for axis in (0, 1)]
    margin = float(min(next_best - best for best, next_best in rivals)) / signal
    i = at[0] * len(FILLS) + at[1]
    way = rest[i] - rest  # from this drawing to each of the others
    far = (way @ rest[i, :, None])[:, 0] / (way.square().sum(1) + ALIKE * signal)
    doubt = float(far[torch.arange(len(far)) != i].max())
    covered, painted = (c[0] for c in cover(p[i, None], shape[i, None], fill[i, None], torch.zeros(2), PIXELS))
    thing = Thing(SIZES[int(p[i, 2] > BETWEEN)], FILLS[at[1]], COLOURS[at[2]], SHAPES[at[0]])
    residual = max(0.0, float(error[i]) - grain) / signal
    nearest = away[i].sqrt().topk(2, largest=False).values
    return FittedThing(
        thing=thing,
        p=p[i],
        covered=covered,
        painted=painted * paint[i, :, None, None],
        residual=residual,
        doubt=max(0.0, doubt),
        margin=margin,
        colour=float(nearest[0] / nearest[1]),
        hypotheses=(p, shape, fill),
    )
