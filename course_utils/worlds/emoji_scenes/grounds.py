"""The backgrounds of the world `emoji_scenes`, drawn by code: each with its own horizon, tints and details."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, UNIT, Scenes

Colour = tuple[float, float, float]
DOTS = 16  # stars, snowflakes


class Canvas:
    """M backgrounds of one kind: x, y (1, P, P) in [0, 1]; free (M, 8) and details (M, 32), both in [0, 1], vary them."""

    def __init__(self, free: Tensor, details: Tensor, pixels: int):
        ticks = (torch.arange(pixels, device=free.device) + 0.5) / pixels
        self.x, self.y, self.pixels = ticks[None, None, :], ticks[None, :, None], pixels
        self.free, self.details = free.T[:, :, None, None], details

    def colour(self, low: Colour, high: Colour, share: Tensor) -> Tensor:
        """A colour between two, (M, 3, ...), at a share (M, ...)."""
        return torch.stack([a + (b - a) * share for a, b in zip(low, high, strict=True)], 1)

    def below(self, height: Tensor) -> Tensor:
        """How much of each pixel lies below a height, (M, P, P)."""
        return (0.5 + (self.y - height) * self.pixels).clamp(0, 1)

    def waves(self, size: float) -> Tensor:
        """A line of soft hills, (M, 1, P), between -size and size."""
        a, b = self.free[4:6]
        return size / 2 * ((self.x * 7 + 6.3 * a).sin() + (self.x * 13 + 6.3 * b).sin())

    def dots(self, radius: float) -> Tensor:
        """DOTS round dots of this radius anywhere, (M, P, P)."""
        at = self.details[:, :, None, None]  # (M, 2 * DOTS, 1, 1)
        reach = (-0.5 * ((self.x - at[:, :DOTS]) / radius).square()).exp()  # (M, DOTS, 1, P)
        down = (-0.5 * ((self.y - at[:, DOTS:]) / radius).square()).exp()  # (M, DOTS, P, 1)
        return torch.einsum("mdxp,mdqx->mqp", reach, down).clamp(0, 1)


def over(under: Tensor, colour: Tensor, share: Tensor) -> Tensor:
    """A colour (M, 3, ...) laid over a picture (M, 3, P, P) where `share` (M, P, P) says."""
    return torch.lerp(under, colour.expand_as(under), share[:, None])


def meadow(c: Canvas) -> Tensor:
    """A blue sky over grass."""
    sky = c.colour((0.45, 0.72, 0.95), (0.80, 0.92, 1.00), c.y * 0.9 + 0.3 * c.free[0])
    grass = c.colour((0.36, 0.66, 0.25), (0.62, 0.82, 0.40), 0.7 * c.free[1] + 0.4 * (1 - c.y))
    return over(sky, grass, c.below(0.42 + 0.22 * c.free[2] + c.waves(0.04)))


def night(c: Canvas) -> Tensor:
    """Stars in a dark sky over a darker hill."""
    sky = c.colour((0.04, 0.05, 0.18), (0.16, 0.18, 0.42), c.y * 0.7 + 0.4 * c.free[0])
    sky = over(sky, c.colour((0.95,) * 3, (1.0, 0.98, 0.8), c.free[1]), 0.9 * c.dots(0.008))
    hill = c.colour((0.02, 0.05, 0.07), (0.06, 0.12, 0.15), c.free[3])
    return over(sky, hill, c.below(0.62 + 0.22 * c.free[2] + c.waves(0.05)))


def beach(c: Canvas) -> Tensor:
    """Sky, sea and sand."""
    sky = c.colour((0.60, 0.83, 0.97), (0.85, 0.94, 1.00), c.y * 1.5 + 0.2 * c.free[0])
    horizon = 0.28 + 0.14 * c.free[1]
    sea = c.colour((0.10, 0.48, 0.75), (0.25, 0.70, 0.82), 1.5 * (c.y - 0.3) + 0.5 * c.free[2])
    sand = c.colour((0.88, 0.76, 0.52), (0.97, 0.89, 0.70), c.free[3])
    shore = horizon + 0.12 + 0.14 * c.free[6] + (0.4 * c.free[7] - 0.2) * (c.x - 0.5) + c.waves(0.02)
    return over(over(sky, sea, c.below(horizon)), sand, c.below(shore))


def snow(c: Canvas) -> Tensor:
    """A pale sky over white hills, in falling snow."""
    sky = c.colour((0.62, 0.70, 0.82), (0.80, 0.85, 0.92), c.y + 0.4 * c.free[0] - 0.2)
    white = c.colour((0.88, 0.92, 0.97), (1.0, 1.0, 1.0), 0.5 * c.free[1] + 0.6 * (1 - c.y))
    found = over(sky, white, c.below(0.45 + 0.22 * c.free[2] + c.waves(0.05)))
    return over(found, c.colour((1.0,) * 3, (1.0,) * 3, c.free[3]), c.dots(0.012))


def sunset(c: Canvas) -> Tensor:
    """A sky from purple to orange over dark ground."""
    high = c.colour((0.40, 0.20, 0.48), (0.62, 0.32, 0.52), c.free[0])
    low = c.colour((0.98, 0.52, 0.22), (1.0, 0.72, 0.35), c.free[1])
    horizon = 0.60 + 0.20 * c.free[2]
    sky = torch.lerp(high, low, (c.y / horizon).clamp(0, 1)[:, None]).expand(-1, -1, -1, c.pixels)
    ground = c.colour((0.22, 0.10, 0.20), (0.36, 0.18, 0.24), c.free[3])
    return over(sky, ground, c.below(horizon + c.waves(0.02)))


def forest(c: Canvas) -> Tensor:
    """Dark trunks before dark green, on mossy ground."""
    leaves = c.colour((0.10, 0.27, 0.16), (0.22, 0.42, 0.24), 0.6 * c.free[0] + 0.5 * c.y)
    wave = (c.x * (34 + 14 * c.free[1]) + 6.3 * c.free[2]).sin() + 0.5 * (c.x * 17 + 6.3 * c.free[3]).sin()
    trunks = (0.5 + 2.0 * (wave - 0.75)).clamp(0, 1).expand(-1, c.pixels, -1)
    found = over(
        leaves.expand(-1, -1, -1, c.pixels), c.colour((0.20, 0.13, 0.08), (0.30, 0.21, 0.13), c.free[6]), trunks
    )
    moss = c.colour((0.20, 0.30, 0.12), (0.36, 0.44, 0.20), c.free[7])
    return over(found, moss, c.below(0.70 + 0.14 * c.free[5] + c.waves(0.02)))


def city(c: Canvas) -> Tensor:
    """Grey houses with windows along a street."""
    sky = c.colour((0.70, 0.76, 0.84), (0.88, 0.90, 0.93), c.y + 0.3 * c.free[0])
    column = c.x * 6 + c.free[1]  # seven houses, of which one is cut
    house = column.floor().long().expand(-1, 1, -1)  # (M, 1, P)
    top, tone = (v.gather(1, house.flatten(1)).view_as(house) for v in c.details[:, :14].split(7, 1))
    walls = c.colour((0.42, 0.45, 0.52), (0.64, 0.62, 0.64), tone)
    across, down = (column * 4 * math.pi).sin(), (c.y * (44 + 12 * c.free[2]) + 6.3 * c.free[3]).sin()
    window = (2 * across).clamp(0, 1) * (2 * down).clamp(0, 1)
    lit = c.colour((0.86, 0.82, 0.62), (0.95, 0.93, 0.80), c.free[6])
    houses = over(walls.expand(-1, -1, c.pixels, -1), lit, 0.55 * window)
    found = over(sky.expand(-1, -1, -1, c.pixels), houses, c.below(0.12 + 0.42 * top))
    street = c.colour((0.36, 0.36, 0.38), (0.50, 0.50, 0.52), c.free[7])
    return over(found, street, c.below(0.74 + 0.12 * c.free[5]).expand(-1, -1, c.pixels))


def room(c: Canvas) -> Tensor:
    """A wall in a pale tint over a wooden floor."""
    hue = 2 * math.pi * c.free[0]
    tint = torch.stack([0.86 + 0.08 * (hue + shift).cos() for shift in (0.0, 2.1, 4.2)], 1)
    boards = (c.x * (26 + 12 * c.free[1]) + 6.3 * c.free[2]).sin().expand(-1, c.pixels, -1)
    floor = c.colour((0.55, 0.36, 0.20), (0.72, 0.52, 0.32), c.free[3] + 0.12 * boards)
    edge = 0.62 + 0.20 * c.free[5]
    wall = over(
        tint.expand(-1, -1, c.pixels, c.pixels), torch.ones_like(tint), c.below(edge - 0.04).expand(-1, -1, c.pixels)
    )
    return over(wall, floor, c.below(edge).expand(-1, -1, c.pixels))


DRAWN: dict[str, Callable[[Canvas], Tensor]] = {
    f.__name__: f for f in (meadow, night, beach, snow, sunset, forest, city, room)
}


def details(texture: Tensor) -> Tensor:
    """(M, 2 * DOTS) in [0, 1] from an integer hash of (texture, number): equal on every device."""
    h = (texture[:, None] + torch.arange(1, 2 * DOTS + 1, device=texture.device) * 0x9E3779B1) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = ((h ^ (h >> shift)) * factor) & 0xFFFFFFFF
    return (h ^ (h >> 16)).float() / 2**32


def backgrounds(scenes: Scenes, pixels: int, device: torch.device | str) -> Tensor:
    """The backgrounds of these scenes alone: (N, 3, pixels, pixels) in [0, 1]."""
    images = torch.empty(len(scenes), 3, pixels, pixels, device=device)
    for i, name in enumerate(BACKGROUNDS):
        rows = np.flatnonzero(scenes.background == i)
        if len(rows):
            free, texture = (torch.from_numpy(v[rows]).to(device) for v in (scenes.surface, scenes.texture))
            images[torch.from_numpy(rows).to(device)] = DRAWN[name](
                Canvas(free.float() / UNIT, details(texture), pixels)
            )
    return images.clamp_(0, 1)
