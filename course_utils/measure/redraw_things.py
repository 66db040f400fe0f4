"""Drawing a thing again: where it is, and which shape, fill, colour and pose make a drawing most like the picture there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.redraw import OPPONENT, PIXELS, SHARP, SOFT, blur, descend
from course_utils.worlds.render import colours, distance, rotate
from course_utils.worlds.scenes import COLOURS, FILLS, SHAPES, SIZES, Thing

SOLID, OUTLINED, STRIPED = range(len(FILLS))
BETWEEN = 0.176 * PIXELS  # radii: small things reach to 0.157, large ones begin at 0.195
ALIKE = 0.015  # drawings that differ by so small a share of a thing's energy look alike
_TURN = math.radians(17)
#    of a thing:       x      y      radius          rotation blur  tilt and phase of the stripes
LOW = torch.tensor([0.0, 0.0, 0.115 * PIXELS, -_TURN, SHARP, -9.0, -9.0])
HIGH = torch.tensor([32.0, 32.0, 0.240 * PIXELS, _TURN, SOFT, 9.0, 9.0])

Hypotheses = tuple[Tensor, Tensor, Tensor]  # parameters (H, 7), shapes (H,), fills (H,)
Rounds = tuple[tuple[int, int], ...]


@cache
def palette() -> Tensor:
    """(8, 49, 3): what each named colour may look like."""
    light, pale = torch.linspace(0.86, 1, 7)[:, None, None, None], torch.linspace(0, 0.1, 7)[:, None, None]
    rgb = colours() * light * (1 - pale) + pale  # (7, 7, 8, 3)
    return rgb.permute(2, 0, 1, 3).flatten(1, 2) @ OPPONENT.T


def cover(p: Tensor, shape: Tensor, fill: Tensor, corner: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How much things cover of each pixel, and how much paint is there (less on dark stripes): two (H, size, size).

    p: (H, 7), or (H, 5) where nothing is striped; corner: of the window, (2,). It draws what `render` draws, with a blur.
    """
    x, y, radius, rotation = p.T[:4, :, None, None]
    ticks = torch.arange(size) + 0.5
    u, v = rotate(ticks[None, None] + corner[0] - x, ticks[None, :, None] + corner[1] - y, rotation)
    away = distance(shape[:, None, None].float(), u / radius, v / radius) * radius
    half = 0.042 * PIXELS / 2
    away = torch.where((fill == OUTLINED)[:, None, None], (away + half).abs() - half, away)
    covered = (0.5 - away).clamp(0, 1)
    if p.shape[1] == 5:
        covered = blur(covered, p[:, 4])
        return covered, covered
    along, _ = rotate(u, v, p[:, 5, None, None])
    wave = torch.cos(2 * math.pi * (along / (0.125 * PIXELS) + p[:, 6, None, None]))
    dark = 0.68 * (0.5 + wave * 0.125 * PIXELS / 4).clamp(0, 1) * (fill == STRIPED)[:, None, None]
    return blur(covered, p[:, 4]), blur(covered * (1 - dark), p[:, 4])


@cache
def templates() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Things to look for: covers (T, 19, 19), parameters (T, 5), shapes and fills (T,); 15 of each shape, fill and size."""
    radii, turns = (0.135, 0.145, 0.155, 0.2, 0.21, 0.22), (-12, -6, 0, 6, 12)
    rows = [(s, f, r, a) for s in range(len(SHAPES)) for f in (SOLID, OUTLINED) for r in radii for a in turns]
    shape, fill = torch.tensor([row[:2] for row in rows]).T
    p = torch.tensor([[9.5, 9.5, r * PIXELS, math.radians(a), 0.5] for _, _, r, a in rows])
    return cover(p, shape, fill, torch.zeros(2), 19)[0], p, shape, fill


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
    hypotheses: Hypotheses

    def over(self, canvas: Tensor) -> Tensor:
        """A canvas (3, 32, 32) with the thing on it."""
        return canvas * (1 - self.covered) + self.painted


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

    def __init__(self, y: Tensor, canvas: Tensor, centre: Tensor, reach: float):
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
    window = _Window(y, canvas, starts[0][:, :2].mean(0), reach)
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
    y: Tensor, canvas: Tensor, starts: Hypotheses, centre: Tensor, reach: float, noise: Tensor, rounds: Rounds
) -> FittedThing:
    """The thing that makes a canvas (3, 32, 32) most like the picture y within `reach` of `centre`: of 24 hypotheses the best.

    noise: variances (3,). rounds: how many of the hypotheses, the best, descend how many steps.
    """
    window = _Window(y, canvas, centre, reach)
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
