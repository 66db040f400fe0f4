"""Which shapes between two shapes of the world have no name there."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from course_utils.worlds.render import distance
from course_utils.worlds.scenes import SHAPES

SHARES = 20  # steps in which the share of the second shape is tabulated
# Up to which intersection over union a form is taken for a shape: a star is known by its tips, a circle by its bulk.
_ALIKE = {"circle": 0.885, "triangle": 0.84, "star": 0.77, "cross": 0.84, "heart": 0.81, "moon": 0.83}
_ALIKE_ELSE = 0.88


@cache
def nameless() -> Tensor:
    """(8, 8, 21) bool: whether the blend of two shapes' distances, at shares 0, 1/20, ... 1 of the second, is like none of the eight.

    It is held against each shape in seven sizes at nine places.
    """
    cells = 64
    ticks = (torch.arange(cells) + 0.5) / cells * 2.6 - 1.3
    offsets = (-0.1, 0.0, 0.1)
    views = [(1 / k, x, y) for k in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2) for x in offsets for y in offsets]
    zoom, dx, dy = torch.tensor([(1.0, 0.0, 0.0), *views]).T[:, :, None, None]  # (64, 1, 1)
    u, v = (ticks[None, None, :] - dx) * zoom, (ticks[None, :, None] - dy) * zoom
    u, v = u.expand(-1, cells, -1), v.expand(-1, -1, cells)
    seen = torch.stack([distance(torch.full_like(zoom, k), u, v) for k in range(len(SHAPES))])  # (8, 64, 64, 64)
    shapes, plain = (seen < 0).float().flatten(2), seen[:, 0]
    limits = torch.tensor([_ALIKE.get(name, _ALIKE_ELSE) for name in SHAPES])
    found = torch.zeros(len(SHAPES), len(SHAPES), SHARES + 1, dtype=torch.bool)
    for k in range(SHARES + 1):
        blends = (torch.lerp(plain[:, None], plain[None], k / SHARES) < 0).float().flatten(2)
        both = torch.einsum("abp,szp->abzs", blends, shapes)
        union = blends.sum(-1)[:, :, None, None] + shapes.sum(-1).T - both
        found[:, :, k] = ((both / union).amax(2) < limits).all(-1)
    disc, star = SHAPES.index("circle"), SHAPES.index("star")
    found[disc, star, 8:11] = found[star, disc, 10:13] = True  # a disc with five dents: nobody's star
    return found
