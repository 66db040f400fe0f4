"""Whose colour lies where: a reading of pairs that needs no judge, so that even a blurred mean can be read.

Of two things one is left of or above the other, so each belongs to one half of the picture. On white, the colour of a half is
what its mean lacks to white; it is compared with the colours of the corner (`worlds.corner`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.worlds import corner
from course_utils.worlds.render import render
from course_utils.worlds.scenes import Scene

OWN, OTHER, NEITHER = range(3)


def owners(images: Tensor, asked: Sequence[Scene]) -> Tensor:
    """For each half of pictures (N, 3, H, W) in [0, 1], whose colour it has: (N, 2) of OWN, OTHER, NEITHER.

    asked: N scenes of two things of different colours. The first half is the left or upper one, where the first thing belongs.
    """
    palette = torch.stack([ink(_real(colour).mean(0)) for colour in corner.COLOURS])  # (4, 3)
    rows = []
    for image, scene in zip(images, asked, strict=True):
        halves = image.split(image.shape[-1] // 2, dim=2 if scene.relation == "left of" else 1)
        nearest = [corner.COLOURS[int((palette @ ink(half)).argmax())] for half in halves]
        own = [str(thing.colour) for thing in scene.things]
        rows.append([_owner(*colours) for colours in zip(nearest, own, own[::-1], strict=True)])
    return torch.tensor(rows)


def colours(images: Tensor) -> list[str]:
    """For each picture (N, 3, H, W) in [0, 1] of single things on white, the colour of the corner that is nearest to its own."""
    palette = torch.stack([ink(_real(colour).mean(0)) for colour in corner.COLOURS])  # (4, 3)
    return [corner.COLOURS[int((palette @ ink(image)).argmax())] for image in images]


def ink(image: Tensor) -> Tensor:
    """The direction (3,) of what a picture (3, H, W) lacks to white."""
    return F.normalize((1 - image).mean((1, 2)), dim=0)


def _owner(nearest: str, own: str, other: str) -> int:
    return OWN if nearest == own else OTHER if nearest == other else NEITHER


def _real(colour: str) -> Tensor:
    """Real pictures of single things of a colour."""
    kinds = [kind for kind in corner.ONES if kind.things[0].colour == colour]
    return render(corner.draw(kinds, 8, 70_000))
