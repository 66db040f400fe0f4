"""Drawing a background of `emoji_scenes` again: the nearest of many that were drawn, then made nearer by descent.

Nothing here is learned. What lies on the background is unknown, so differences beyond TYPICAL count hardly more than that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.redraw import descend
from course_utils.worlds.emoji_scenes.grounds import DRAWN, Canvas
from course_utils.worlds.emoji_scenes.grounds import details as details_of
from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, UNIT, scenes

PIXELS = 32  # of the pictures that are compared here
TYPICAL = 0.06  # difference between a background and the nearest one that is drawn
EACH = 384  # backgrounds of each kind that are drawn beforehand
SEED = 1_402


@dataclass(frozen=True)
class EmojiGround:
    """The background that was found: its name, how it is drawn at any size, and two raw numbers.

    margin: how much worse the best of another kind is, residual: the mean difference, both between 0 and 1.
    """

    name: str
    free: Tensor
    details: Tensor
    margin: float
    residual: float

    def picture(self, pixels: int) -> Tensor:
        """(3, pixels, pixels) in [0, 1]."""
        return DRAWN[self.name](Canvas(self.free[None], self.details[None], pixels))[0].clamp(0, 1)


def robust(rest: Tensor) -> Tensor:
    """Differences (..., 3, P, P) to numbers whose squares (Geman & McClure 1987) are at most 1: (..., P, P)."""
    square = rest.square().sum(-3)
    return (square / (square + TYPICAL**2)).clamp_min(1e-12).sqrt()


@cache
def library() -> tuple[Tensor, Tensor, Tensor]:
    """Backgrounds of all kinds (8 * EACH, 3, 16, 16), and what they were drawn from: (8 * EACH, 8) and (8 * EACH, 32)."""
    batch = scenes(SEED, 0, len(BACKGROUNDS) * EACH)
    free = torch.from_numpy(batch.surface).float() / UNIT
    more = details_of(torch.from_numpy(batch.texture))
    parts = [slice(i * EACH, (i + 1) * EACH) for i in range(len(BACKGROUNDS))]
    images = [DRAWN[name](Canvas(free[p], more[p], PIXELS)) for name, p in zip(BACKGROUNDS, parts, strict=True)]
    return F.avg_pool2d(torch.cat(images).clamp(0, 1), 2), free, more


def fit_ground(image: Tensor) -> EmojiGround:
    """The background of a picture (3, 64, 64), which may be anything where something lies on it."""
    small = F.avg_pool2d(image, 2)
    images, free, more = library()
    error = (robust(F.avg_pool2d(small, 2) - images).square()).mean((1, 2))
    error = error.unflatten(0, (len(BACKGROUNDS), EACH))
    found: list[EmojiGround] = []
    for turn, kind in enumerate(error.amin(1).argsort()[:2].tolist()):
        starts = kind * EACH + error[kind].argsort()[: 3 if turn else 8]
        name, ground_free, ground_more = BACKGROUNDS[kind], free[starts], more[starts]
        if name == "city":
            ground_free, ground_more = houses(small, ground_free[0], ground_more[0])

        def rest(p: Tensor, which: Tensor, name: str = name, more: Tensor = ground_more) -> Tensor:
            drawn = DRAWN[name](Canvas(p, more[which], PIXELS))
            return (robust(small - drawn)).flatten(1)

        p, left = descend(rest, ground_free, torch.zeros(8), torch.ones(8), 4 if turn else 10)
        best = int(left.argmin())
        share = float(left[best]) / PIXELS**2
        found.append(EmojiGround(name, p[best], ground_more[best], 0.0, share))
    first, second = sorted(found, key=lambda ground: ground.residual)
    return replace(first, margin=second.residual - first.residual)


def nearer(ground: EmojiGround, image: Tensor, bare: Tensor) -> EmojiGround:
    """The same background drawn nearer to a picture (3, 64, 64), where nothing lies on it: `bare` (64, 64) in [0, 1]."""
    small, weight = F.avg_pool2d(image, 2), F.avg_pool2d(bare[None], 2)[0]
    images, free, more = library()
    kind = BACKGROUNDS.index(ground.name)
    mine = slice(kind * EACH, (kind + 1) * EACH)
    away = (F.avg_pool2d(small, 2) - images[mine]).square().sum(1) * F.avg_pool2d(weight[None], 2)[0]
    starts = kind * EACH + away.sum((1, 2)).argsort()[:3]
    p = torch.cat([ground.free[None], free[starts]])
    details = torch.cat([ground.details[None], ground.details.expand(3, -1) if ground.name == "city" else more[starts]])

    def rest(p: Tensor, which: Tensor) -> Tensor:
        drawn = DRAWN[ground.name](Canvas(p, details[which], PIXELS))
        return ((small - drawn) * weight.sqrt()).flatten(1)

    p, left = descend(rest, p, torch.zeros(8), torch.ones(8), 8)
    best = int(left.argmin())
    return replace(ground, free=p[best], details=details[best])


def houses(small: Tensor, free: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Where the houses of a city stand and how high and how dark each is, by trying: free (1, 8), details (1, 32)."""
    phases, tops, tones = torch.linspace(0.04, 0.96, 8), torch.linspace(0, 1, 15), torch.tensor([0.15, 0.5, 0.85])
    grid = torch.cartesian_prod(phases, tops, tones)  # (360, 3)
    tried = free.repeat(len(grid), 1)
    tried[:, 1] = grid[:, 0]
    drawn = DRAWN["city"](Canvas(tried, grid[:, 1:].repeat_interleave(7, 1), PIXELS))
    columns = ((robust(small - drawn).square()).sum(1)).unflatten(0, (len(phases), -1))  # (8, 45, 32)
    ticks = (torch.arange(PIXELS) + 0.5) / PIXELS
    best, chosen = np.inf, (free, more)
    for k, phase in enumerate(phases.tolist()):
        house = (ticks * 6 + phase).floor().long()
        each = torch.zeros(columns.shape[1], 7).index_add_(1, house, columns[k])
        values, which = each.min(0)
        if float(values.sum()) < best:
            best, new_free, new_more = float(values.sum()), free.clone(), more.clone()
            new_free[1] = phase
            new_more[:7], new_more[7:14] = grid[which, 1], grid[which, 2]
            chosen = new_free, new_more
    return chosen[0][None], chosen[1][None]
