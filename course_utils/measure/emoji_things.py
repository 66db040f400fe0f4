"""Drawing an emoji again: where which may lie, and the move, turn and shade with which it comes nearest. Nothing is learned.

Pictures and emoji are compared after the same slight blur, so that a picture that is a little soft is none the worse.
Lengths are in pixels of 64x64 pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.malformed import blur
from course_utils.measure.redraw import descend
from course_utils.worlds.emoji_scenes.render import TURN, cutouts
from course_utils.worlds.emoji_scenes.scenes import NAMES, RADII

PIXELS = 64
SOFT, SOFTER = 1.0, 2.0  # the blurs are Gaussians of so many pixels: to compare, and to look for what may lie where
PAD = 8  # empty pixels around an emoji
SMALL, LARGE = (PIXELS * (low + more / 2) for low, more in RADII)
MIDDLE = PIXELS * (RADII[0][0] + RADII[0][1] + RADII[1][0]) / 2  # between small and large
SIDE, EDGE = 38, 12  # of the square in which a thing is fitted; around a picture, so that the square lies inside
NOUNS_TRIED = 8
#          x, y, radius, turn, light, pale: bounds of what is tried
LOW = torch.tensor([-6.0, -6.0, 0.85 * SMALL, -1.4 * TURN, 0.6, -0.05])
HIGH = torch.tensor([6.0, 6.0, 1.15 * LARGE, 1.4 * TURN, 1.1, 0.2])
LIGHT, PALE = 0.88, 0.05  # in the middle of what is drawn


def smooth(image: Tensor, sigma: float = SOFT) -> Tensor:
    """A picture (3, P, P) with the slight blur."""
    return blur(image[None], torch.tensor([sigma]))[0]


def owner() -> Tensor:
    """The noun of each emoji, (E,)."""
    begins = cutouts()[1]
    return torch.bucketize(torch.arange(int(begins[-1])), begins[1:-1], right=True)


@cache
def textures(size: int, sigma: float) -> Tensor:
    """All emoji as the renderer draws them in one of the two sizes, blurred: (E, 4, inside + 2 PAD, inside + 2 PAD)."""
    low, more = RADII[size]
    inside = math.ceil(2 * (low + more) * PIXELS)
    small = F.pad(F.interpolate(cutouts()[0], (inside, inside), mode="bilinear", antialias=True), (PAD,) * 4)
    return blur(small, torch.full((len(small),), sigma))


def ink(
    p: Tensor, emoji: Tensor, mirror: Tensor, size: int, side: int, pixels: float = 1.0, sigma: float = SOFT
) -> Tensor:
    """Emoji (H,), perhaps mirrored (H,), in squares of `side` pixels (H, 4, side, side), colours times opacity, and opacity.

    p (H, 6): centre from the square's middle, radius, turn, light, pale. pixels: so large is a pixel of the square.
    """
    texture = textures(size, sigma)[emoji]
    around = texture.shape[-1]
    inside = around - 2 * PAD
    ticks = (torch.arange(side) - (side - 1) / 2) * pixels
    x, y, radius, turn, light, pale = p.T[:, :, None, None]
    u, v = ticks - x, ticks[:, None] - y
    u, v = turn.cos() * u + turn.sin() * v, turn.cos() * v - turn.sin() * u
    scale = inside / around / radius
    grid = torch.stack([u * mirror[:, None, None] * scale, v * scale], -1)
    found = F.grid_sample(texture, grid, align_corners=False)
    return torch.cat([found[:, :3] * light[:, None] + found[:, 3:] * pale[:, None], found[:, 3:]], 1)


@cache
def templates() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For both sizes all emoji, mirrored too and turned either way, on pixels twice as large, to be held against every place.

    Kernels (T, 8, k, k) for `look`, constants (T,), the emoji (T,) and their mirror and turn (T, 2).
    """
    found = []
    for size, radius in enumerate((SMALL, LARGE)):
        side = 2 * math.ceil((radius + SOFTER) / 2) + 1
        emoji, mirror, turn = torch.cartesian_prod(
            torch.arange(len(cutouts()[0])).float(),
            torch.tensor([-1.0, 1.0]),
            torch.tensor([-TURN / 2, TURN / 2]),
        ).T
        p = torch.stack([v.expand(len(emoji)) for v in torch.tensor([0.0, 0.0, radius, 0.0, LIGHT, PALE])], 1)
        p[:, 3] = turn
        drawn = ink(p, emoji.long(), mirror, size, side, 2.0, math.hypot(SOFT, SOFTER))
        colour, opacity = drawn[:, :3], drawn[:, 3:]
        kernels = torch.cat([2 * colour, opacity, 2 * opacity * colour, -opacity.square()], 1)
        found.append((kernels, colour.square().sum((1, 2, 3)), emoji.long(), torch.stack([mirror, turn], 1)))
    return found


@dataclass(frozen=True)
class Starts:
    """What may lie at one place: emoji (H,), mirror (H,), size and p (H, 6), of which x and y are from that place."""

    emoji: Tensor
    mirror: Tensor
    size: int
    p: Tensor


def look(image: Tensor, canvas: Tensor) -> tuple[list[Starts], tuple[int, int]]:
    """The best nouns, of both sizes, at the place where a thing would make a drawing (3, 64, 64) better by most; and that place.

    With an emoji's colours c (times opacity) and its opacity α, and with D = I - B, what is left is Σ (D - (c - αB))²: by
    expanding the square that is a convolution for all places.
    """
    small, ground = (F.avg_pool2d(smooth(v, SOFTER), 2) for v in (image, canvas))
    wrong = small - ground
    both = -2 * (wrong * ground).sum(0, keepdim=True)
    given = torch.cat([wrong, both, ground, ground.square().sum(0, keepdim=True)])[None]
    gains = []
    for kernels, constant, _, _ in templates():
        gains.append(F.conv2d(given, kernels, padding=kernels.shape[-1] // 2)[0] - constant[:, None, None])
    size = int(gains[1].max() > gains[0].max())
    place = int(gains[size].amax(0).argmax())
    row, column = place // small.shape[-1], place % small.shape[-1]
    nouns = owner()
    found = []
    rows, columns = (slice(max(v - 2, 0), v + 3) for v in (row, column))
    for k, (_, _, emoji, views) in enumerate(templates()):
        near = gains[k][:, rows, columns]
        best, at = near.flatten(1).max(1)
        of_nouns = torch.full((len(NAMES),), -torch.inf).scatter_reduce(0, nouns[emoji], best, "amax")
        tried = [int((best - 1e9 * (nouns[emoji] != n)).argmax()) for n in of_nouns.topk(NOUNS_TRIED).indices.tolist()]
        p = torch.empty(len(tried), 6)
        p[:, 0] = 2.0 * (at[tried] % near.shape[2] + columns.start - column)
        p[:, 1] = 2.0 * (at[tried] // near.shape[2] + rows.start - row)
        p[:, 2], p[:, 3], p[:, 4], p[:, 5] = (SMALL, LARGE)[k], views[tried, 1], LIGHT, PALE
        found.append(Starts(emoji[tried], views[tried, 0], k, p))
    return found, (2 * column + 1, 2 * row + 1)


@dataclass(frozen=True)
class FittedEmoji:
    """An emoji as it was drawn: noun, centre, radius; what it covers (64, 64), and the drawing with it (3, 64, 64).

    gain: by how much it makes the drawing better, in squared colour; explained: which share of what was wrong that is. residual: mean squared difference under it; flaw: the same in the worst 5x5 of it; solid: how much of its contrast with the
    background is there; margin: by how much more the best other noun differs, in the same units as residual.
    """

    noun: int
    x: float
    y: float
    radius: float
    gain: float
    explained: float
    residual: float
    flaw: float
    solid: float
    margin: float
    covered: Tensor
    picture: Tensor


def fit_thing(image: Tensor, canvas: Tensor, starts: list[Starts], place: tuple[int, int]) -> FittedEmoji:
    """The nearest drawing of one more thing on a drawing (3, 64, 64), from these starts."""
    around = lambda x: F.pad(x[None], (EDGE + SIDE // 2,) * 4, mode="replicate")[0]  # noqa: E731
    wide = torch.cat([around(image), around(canvas)])
    inside = F.pad(torch.ones(1, PIXELS, PIXELS), (EDGE + SIDE // 2,) * 4)
    column, row = place
    left, top = column + EDGE, row + EDGE  # the square's middle is pixel (column, row)'s corner
    square = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
    there, ground = wide[square].split(3)
    weight = inside[square]

    def fitted(start: Starts, steps: int) -> tuple[Tensor, Tensor]:
        def rest(p: Tensor, which: Tensor) -> Tensor:
            drawn = ink(p, start.emoji[which], start.mirror[which], start.size, SIDE)
            return ((ground * (1 - drawn[:, 3:]) + drawn[:, :3] - there) * weight).flatten(1)

        return descend(rest, start.p, LOW, HIGH, steps)

    nearer = []
    for start in starts:
        p, error = fitted(start, 3)
        best = error.argsort()[:3]
        nearer.append(Starts(start.emoji[best], start.mirror[best], start.size, p[best]))
    results = []
    for start in nearer:
        p, error = fitted(start, 6)
        results += [(float(e), start, k, p[k]) for k, e in enumerate(error)]
    results.sort(key=lambda r: r[0])
    lowest, start, k, p = results[0]
    noun = owner()[start.emoji]
    other = next((e for e, s, j, _ in results if owner()[s.emoji[j]] != noun[k]), lowest)
    drawn = ink(p[None], start.emoji[k : k + 1], start.mirror[k : k + 1], start.size, SIDE)[0]
    opacity = drawn[3] * weight[0]
    area = opacity.sum().clamp_min(1e-3)
    difference = (ground * (1 - drawn[3:]) + drawn[:3] - there).square().sum(0)
    contrast = drawn[:3] - ground * drawn[3:]  # what the thing changes
    solid = ((there - ground) * contrast).sum() / contrast.square().sum().clamp_min(1e-6)
    covered, picture = torch.zeros(wide.shape[1:]), wide[3:].clone()
    covered[square[1:]] = opacity
    picture[square] = ground * (1 - drawn[3:]) + drawn[:3]
    middle = slice(EDGE + SIDE // 2, EDGE + SIDE // 2 + PIXELS)
    return FittedEmoji(
        noun=int(noun[k]),
        x=column + float(p[0]),
        y=row + float(p[1]),
        radius=float(p[2]),
        gain=float(((ground - there).square() * weight).sum()) - lowest,
        explained=1
        - float((difference * opacity).sum() / ((ground - there).square().sum(0) * opacity).sum().clamp_min(1e-6)),
        residual=float((difference * opacity).sum() / area),
        flaw=float(F.avg_pool2d((difference * opacity)[None], 5, 1).max()),
        solid=float(solid),
        margin=(other - lowest) / float(area),
        covered=covered[middle, middle],
        picture=picture[:, middle, middle],
    )
