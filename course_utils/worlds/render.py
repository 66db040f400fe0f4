"""Draws scenes of the world `shapes`: antialiased, in batches, on any device, with signed distance functions.

A signed distance function tells for each point how far the nearest border of a shape is: negative inside, positive
outside. Turning that distance into "how much of this pixel is covered" is one clamp, which is all that antialiasing
needs. Every shape is a polygon whose distances are tabulated once; drawing is then a look-up per pixel and object.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.counters import mix_32
from course_utils.worlds.scenes import BACKGROUNDS, FILLS, SHAPES, UNIT, Scenes

_REACH = 1.3  # the table covers [-1.3, 1.3]² in units of the object's radius
_TABLE = 128

#                 red                 orange              yellow              green
_RGB = np.array([(0.88, 0.07, 0.10), (1.00, 0.52, 0.02), (1.00, 0.90, 0.10), (0.10, 0.62, 0.16),
                 (0.05, 0.80, 0.85), (0.10, 0.24, 0.88), (0.50, 0.13, 0.68), (1.00, 0.52, 0.74)])  # fmt: skip
#                 cyan                blue                purple              pink


def colours(device: torch.device | str = "cpu") -> Tensor:
    """The eight colours, (8, 3) float32 in [0, 1]: what full light on an object shows."""
    return torch.from_numpy(_RGB).to(device).float()


def _polygon(shape: str) -> np.ndarray:
    """Corners (V, 2) of a shape inside the unit disc, y downwards."""
    turn = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    if shape == "circle":
        return 0.92 * np.stack([np.cos(turn), np.sin(turn)], 1)
    if shape == "square":
        return 0.78 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    if shape == "triangle":
        angle = -math.pi / 2 + np.arange(3) * 2 * math.pi / 3
        return np.stack([np.cos(angle), np.sin(angle) + 0.12], 1) * 1.03
    if shape == "star":
        angle = -math.pi / 2 + np.arange(10) * math.pi / 5
        return np.stack([np.cos(angle), np.sin(angle) + 0.05], 1) * np.where(np.arange(10) % 2, 0.5, 1.06)[:, None]
    if shape == "cross":
        a, b = 0.36, 0.96
        return np.array([(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)])  # fmt: skip
    if shape == "heart":
        x, y = (
            np.sin(turn) ** 3,
            (13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)) / 16,
        )
        return np.stack([0.98 * x, -0.98 * y - 0.1], 1)
    if shape == "moon":  # a disc of radius 1 without the disc of radius `r` around (d, 0), moved to the middle
        d, r = 0.78, 0.78
        meet = (1 - r**2 + d**2) / (2 * d)
        outer, inner = math.acos(meet), math.acos((meet - d) / r)
        out, back = np.linspace(outer, 2 * math.pi - outer, 40), np.linspace(2 * math.pi - inner, inner, 40)
        ends = [np.stack([np.cos(out), np.sin(out)], 1), np.stack([d + r * np.cos(back), r * np.sin(back)], 1)[1:-1]]
        return np.concatenate(ends) + (0.15, 0)
    if shape == "diamond":
        return np.array([(0, -1.02), (0.68, 0), (0, 1.02), (-0.68, 0)])
    raise ValueError(f"No shape is called {shape!r}; there are {', '.join(SHAPES)}.")


def polygon_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Signed distance (negative inside) of points (P, 2) from the polygon with these corners (V, 2), in their units."""
    along = np.roll(corners, -1, 0) - corners  # (V, 2)
    away = points[:, None] - corners  # (P, V, 2)
    share = np.clip((away * along).sum(-1) / (along**2).sum(-1), 0, 1)
    distance = np.linalg.norm(away - share[..., None] * along, axis=-1).min(1)
    above, next_above = (
        away[..., 1] >= 0,
        np.roll(away[..., 1], -1, 1) >= 0,
    )  # an edge is crossed by the ray to the right ...
    turns = along[:, 0] * away[..., 1] - along[:, 1] * away[..., 0]
    crossed = (above & ~next_above & (turns > 0)) | (
        ~above & next_above & (turns < 0)
    )  # ... an odd number of times inside
    return np.where(crossed.sum(1) % 2, -distance, distance)


@cache
def _table(device: torch.device | str) -> Tensor:
    """Distances of all shapes, one below the other: (1, 1, 8 * 128, 128) float32, in units of the radius."""
    ticks = (np.arange(_TABLE) + 0.5) / _TABLE * 2 * _REACH - _REACH
    points = np.stack(np.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(-1, 2)
    tables = [polygon_distance(points, _polygon(shape)).reshape(_TABLE, _TABLE) for shape in SHAPES]
    return torch.from_numpy(np.concatenate(tables).astype(np.float32))[None, None].to(device)


@dataclass
class Layer:
    """One object in each of M pictures of P by P pixels, before it is painted. Whoever alters it before alters the object.

    pictures (M,) and `number` say whose object it is; shape, colour (M, 1, 1) are indices; u, v (M, P, P) are the pixels as
    seen from the object, and radius (M, 1, 1) its size, in units of the picture's width. The rest is painted: distance
    (M, P, P) from the border, in pixels; outlined (M, 1, 1), whether only the border is; dark (M, P, P), the share of dark
    stripe; paint (M, 3, 1, 1), the colour; opacity (M, 1, 1).
    """

    pictures: Tensor
    number: int
    shape: Tensor
    colour: Tensor
    u: Tensor
    v: Tensor
    radius: Tensor
    distance: Tensor
    outlined: Tensor
    dark: Tensor
    paint: Tensor
    opacity: Tensor

    @property
    def radius_pixels(self) -> Tensor:
        """The radius in pixels, (M, 1, 1)."""
        return self.radius * self.u.shape[-1]

    def form(self, shape: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Distances (M, P, P) in pixels from the border of another shape (M, 1, 1) of this size, seen from (u, v)."""
        return distance(shape, u / self.radius, v / self.radius) * self.radius * u.shape[-1]

    def cover(self) -> Tensor:
        """How much of each pixel the object covers, (M, P, P) in [0, 1]."""
        stroke = max(0.042 * self.u.shape[-1], 1.0)  # 1.3 pixels at 32x32
        distance = torch.where(self.outlined, (self.distance + stroke / 2).abs() - stroke / 2, self.distance)
        return (0.5 - distance).clamp(0, 1)


def render(
    scenes: Scenes,
    pixels: int = 32,
    device: torch.device | str = "cpu",
    change: Callable[[Layer], None] | None = None,
) -> Tensor:
    """Pictures of these scenes: (N, 3, pixels, pixels) float32 in [0, 1].

    The same scenes give the same pictures everywhere up to 1/255 (the scenes are exact; trigonometry and sums round).
    change: alters each layer of objects before it is painted, for pictures of what is not in the vocabulary.
    """
    # What fits into the cache is drawn six times faster.
    if torch.device(device).type == "cpu" and len(scenes) > 128 and change is None:
        return torch.cat([render(scenes.select(slice(i, i + 128)), pixels) for i in range(0, len(scenes), 128)])
    move = lambda array: torch.from_numpy(array).to(device, non_blocking=True)  # noqa: E731  # a GPU is not waited for
    on = lambda array, scale=1.0: move(array).float().mul(scale)  # noqa: E731
    ticks = (torch.arange(pixels, device=device) + 0.5) / pixels
    x, y = ticks[None, None, :], ticks[None, :, None]
    images = _background(scenes, x, y, pixels, on)
    for number in range(int(scenes.count.max(initial=1))):
        rows = np.flatnonzero(scenes.count > number)
        if not len(rows):
            continue
        here = move(rows)
        layer = _layer(scenes.select(rows), here, number, x, y, pixels, on)
        if change is not None:
            change(layer)
        paint = layer.paint * (1 - 0.68 * layer.dark[:, None])
        images[here] = torch.lerp(images[here], paint, (layer.cover() * layer.opacity)[:, None])
    grain = _noise(move(scenes.noise), pixels)
    return (images + grain[:, None]).clamp_(0, 1)


def _layer(things: Scenes, pictures: Tensor, j: int, x: Tensor, y: Tensor, pixels: int, on) -> Layer:
    """Object j of each of these scenes."""
    column = lambda array, scale=1.0: on(array[:, j], scale)[:, None, None]  # noqa: E731
    u, v = rotate(
        x - column(things.x, 1 / UNIT),
        y - column(things.y, 1 / UNIT),
        column(things.rotation, math.pi / 6 / UNIT) - math.pi / 12,
    )
    tilt = on(things.stripes[:, j, 0], math.pi / UNIT)[:, None, None]
    along, _ = rotate(u, v, tilt)
    wave = torch.cos(2 * math.pi * (along / 0.125 + on(things.stripes[:, j, 1], 1 / UNIT)[:, None, None]))
    dark = (0.5 + wave * 0.125 * pixels / 4).clamp(0, 1) * (column(things.fill) == FILLS.index("striped"))
    light = 1.0 - 0.14 * on(things.shade[:, j, 0], 1 / UNIT)[:, None]
    pale = 0.10 * on(things.shade[:, j, 1], 1 / UNIT)[:, None]
    paint = on(_RGB[things.colour[:, j]]) * light * (1 - pale) + pale
    layer = Layer(
        pictures=pictures,
        number=j,
        shape=column(things.shape),
        colour=column(things.colour),
        u=u,
        v=v,
        radius=column(things.radius, 1 / UNIT),
        distance=u,
        outlined=column(things.fill) == FILLS.index("outlined"),
        dark=dark,
        paint=paint[:, :, None, None],
        opacity=torch.ones_like(tilt),
    )
    layer.distance = layer.form(layer.shape, u, v)
    return layer


def rotate(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Points (x, y) as seen from axes that are turned by `angle`, in radians."""
    cos, sin = angle.cos(), angle.sin()
    return cos * x + sin * y, cos * y - sin * x


def distance(shape: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Signed distances (N, P, P) of points (u, v) (N, P, P) from shapes number (N, 1, 1), all in units of the radius."""
    table = _table(u.device)
    half = 1 - 1 / _TABLE  # the centre of the outermost cell
    row = (v / _REACH).clamp(-half, half) / len(SHAPES) + (2 * shape + 1) / len(SHAPES) - 1
    grid = torch.stack([(u / _REACH).clamp(-half, half), row], -1).reshape(1, -1, u.shape[-1], 2)
    return F.grid_sample(table, grid, align_corners=False, padding_mode="border").reshape(u.shape)


def _background(scenes: Scenes, x: Tensor, y: Tensor, pixels: int, on) -> Tensor:
    """(N, 3, pixels, pixels): a plain tone, or a pattern of two tones with free phase, scale and tilt."""
    level, contrast, sign, across, down, scale, tilt, tint = on(scenes.surface, 1 / UNIT).T[:, :, None, None]
    kind = on(scenes.background)[:, None, None]
    is_kind = lambda name: kind == BACKGROUNDS.index(name)  # noqa: E731
    plain = torch.where(
        is_kind("white"), 0.90 + 0.10 * level, torch.where(is_kind("black"), 0.02 + 0.12 * level, 0.42 + 0.2 * level)
    )
    u, v = rotate(x, y, tilt * math.pi / 2)
    cell = 0.14 + 0.08 * scale
    product = torch.sin(math.pi * (u / cell + 2 * across)) * torch.sin(math.pi * (v / cell + 2 * down))
    checks = (0.5 + product * cell * pixels / 2).clamp(0, 1)
    step = 0.18 + 0.08 * scale
    near_u, near_v = (step * ((w / step + phase) % 1 - 0.5) for w, phase in ((u, across), (v, down)))
    dots = (0.5 - ((near_u**2 + near_v**2).sqrt() - 0.23 * step) * pixels).clamp(0, 1)
    pattern = torch.where(is_kind("checkered"), checks, dots)
    change = (0.2 + 0.12 * contrast) * torch.where(sign < 0.5, -1.0, 1.0)
    patterned = 0.36 + 0.3 * level + change * (pattern - 0.5)
    tone = torch.where(is_kind("checkered") | is_kind("dotted"), patterned, plain.expand_as(patterned))
    warm = 0.025 * (2 * tint - 1)
    return torch.stack([tone + warm, tone, tone - warm], 1)


def _noise(seed: Tensor, pixels: int) -> Tensor:
    """Uniform grain in ±0.02, (N, pixels, pixels), from a 32-bit integer hash of (seed, pixel): equal on every device."""
    h = (seed[:, None] + torch.arange(pixels * pixels, device=seed.device) * 0x9E3779B1) & 0xFFFFFFFF
    return (mix_32(h).float() / 2**32 * 0.04 - 0.02).reshape(-1, pixels, pixels)
