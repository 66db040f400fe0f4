"""Draws scenes of the world `emoji_scenes` in batches, on any device: emoji are cut out, turned, shaded and laid on a background.

Each emoji is kept as a small texture at the largest size in which it is drawn small, and one in which it is drawn large, so
that bilinear sampling hardly ever shrinks it and needs no other antialiasing. Only the square around a thing is sampled.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.worlds.emoji import emoji
from course_utils.worlds.emoji_scenes.grounds import backgrounds
from course_utils.worlds.emoji_scenes.scenes import NAMES, RADII, SIZES, UNIT, Scenes
from course_utils.worlds.emoji_scenes.words import NOUNS

TURN = math.pi / 15  # things are turned by at most this, to either side
DARKER, PALER = 0.14, 0.10  # at most so much


@cache
def cutouts() -> tuple[Tensor, Tensor]:
    """The emoji of all nouns, and where those of each noun begin: (E, 4, 64, 64) in [0, 1] and (nouns + 1,).

    Red, green and blue times opacity, and opacity. The circle around what can be seen has its centre in the middle and a radius of 32.
    """
    found = emoji()
    names = [name for noun in NAMES for name in NOUNS[noun].emoji]
    images = found.cutouts[[found.en.index(name) for name in names]]
    images[:, :3] *= images[:, 3:]
    begins = torch.tensor([0, *(len(NOUNS[noun].emoji) for noun in NAMES)]).cumsum(0)
    return torch.stack([_centred(image) for image in images]), begins


def _centred(image: Tensor) -> Tensor:
    """A cut-out (4, 64, 64) moved and scaled so that the circle around it fills the square."""
    row, column = (image[3] > 0.02).nonzero().float().T + 0.5
    y, x = (row.max() + row.min()) / 2, (column.max() + column.min()) / 2
    radius = torch.hypot(row - y, column - x).max() + 1  # so far does bilinear sampling spread a pixel
    ticks = (torch.arange(64) + 0.5 - 32) * radius / 32
    grid = torch.stack(torch.meshgrid(ticks + x, ticks + y, indexing="xy"), -1) / 32 - 1
    return F.grid_sample(image[None], grid[None], align_corners=False)[0]


@cache
def textures(size: int, pixels: int, device: torch.device | str) -> Tensor:
    """All emoji in one of the two sizes, with an empty border of a pixel: (1, 4, E * side, side) below each other."""
    low, more = RADII[size]
    inside = math.ceil(2 * (low + more) * pixels)
    small = F.interpolate(cutouts()[0], (inside, inside), mode="bilinear", antialias=True)
    return F.pad(small, (1, 1, 1, 1)).transpose(0, 1).reshape(1, 4, -1, inside + 2).to(device)


def render(scenes: Scenes, pixels: int = 64, device: torch.device | str = "cpu") -> Tensor:
    """Pictures of these scenes: (N, 3, pixels, pixels) float32 in [0, 1].

    The same scenes give the same pictures everywhere up to 1/255, with whatever others they are drawn.
    """
    if torch.device(device).type == "cpu" and len(scenes) > 128:  # what fits into the cache is drawn faster
        return torch.cat([render(scenes.select(slice(i, i + 128)), pixels) for i in range(0, len(scenes), 128)])
    return over(backgrounds(scenes, pixels, device), things(scenes, pixels, device)).clamp_(0, 1)


def over(ground: Tensor, ink: Tensor) -> Tensor:
    """Pictures (N, 3, P, P) under ink (N, 4, P, P), its colours times opacity (Porter & Duff 1984)."""
    return ground * (1 - ink[:, 3:].clamp(0, 1)) + ink[:, :3]


def things(scenes: Scenes, pixels: int = 64, device: torch.device | str = "cpu") -> Tensor:
    """The things alone: (N, 4, pixels, pixels), red, green and blue times opacity, and opacity. They are apart, so they add up."""
    canvas = torch.zeros(len(scenes), 4, pixels * pixels, device=device)
    begins = cutouts()[1].numpy()
    for size in range(len(SIZES)):
        rows, columns = np.nonzero(scenes.size == size)
        if not len(rows):
            continue
        of = lambda array: array[rows, columns]  # noqa: B023, E731
        noun = of(scenes.noun)
        number = begins[noun] + (of(scenes.choice) * (begins[noun + 1] - begins[noun]) >> 16)
        values = np.stack([of(v) for v in (scenes.x, scenes.y, scenes.radius, scenes.rotation, scenes.mirror)])
        shade = scenes.shade[rows, columns].T
        numbers = torch.from_numpy(np.concatenate([values, shade])).to(device).float() / UNIT
        ink, at = _sampled(numbers, torch.from_numpy(number).to(device), size, pixels)
        into = torch.from_numpy(rows).to(device)[:, None, None] * 4 + torch.arange(4, device=device)[:, None]
        canvas.view(-1).index_add_(0, (into * pixels * pixels + at[:, None]).flatten(), ink.flatten())
    return canvas.view(-1, 4, pixels, pixels)


def _sampled(numbers: Tensor, emoji: Tensor, size: int, pixels: int) -> tuple[Tensor, Tensor]:
    """M things of one size: ink (M, 4, Q) of the pixels of the square around each, and which pixels (M, Q) these are."""
    x, y, radius, turn, mirror, dark, pale = numbers[:, :, None, None]
    texture = textures(size, pixels, numbers.device)
    side = texture.shape[-1]
    corner = [(v * pixels - side / 2).round().clamp(0, pixels - side) for v in (x, y)]
    ticks = torch.arange(side, device=numbers.device)
    column, row = corner[0] + ticks, corner[1] + ticks[:, None]
    u, v = (column + 0.5) / pixels - x, (row + 0.5) / pixels - y  # (M, 1, side), (M, side, 1)
    angle = (2 * turn - 1) * TURN
    u, v = angle.cos() * u + angle.sin() * v, angle.cos() * v - angle.sin() * u
    scale = (side - 2) / side / radius  # the circle of this radius is the texture without its border
    u, v = (u * torch.where(mirror < 0.5, -1.0, 1.0) * scale).clamp(-1, 1), (v * scale).clamp(-1, 1)
    count = texture.shape[-2] // side
    # The outermost row of an emoji's texture is empty: half a pixel inside it nothing of its neighbours is seen.
    edge = 1 - 1 / side
    v = (v.clamp(-edge, edge) + 2 * emoji[:, None, None] + 1) / count - 1
    grid = torch.stack([u, v], -1).view(1, -1, side, 2)
    ink = F.grid_sample(texture, grid, align_corners=False)[0].view(4, len(emoji), side * side)
    light = ((1 - DARKER * dark) * (1 - PALER * pale)).view(-1, 1)
    colour = ink[:3] * light + ink[3:] * (PALER * pale).view(-1, 1)
    at = (row * pixels + column).long().view(len(emoji), side * side)
    return torch.cat([colour, ink[3:]]).transpose(0, 1), at
