"""Judge B: reads a picture by drawing it again. Nothing here is learned.

It searches for the scene whose drawing comes nearest to the picture: first the background, then one thing after another, until
nothing coloured is left. A picture is readable if the best drawing is near, if what is left over is little, and if every
drawing with another shape, fill, colour, size or background is clearly farther away. All sizes are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.judge import Reading
from course_utils.worlds.render import _RGB, _look_up, _rotate, _table
from course_utils.worlds.scenes import BACKGROUNDS, COLOURS, FILLS, SHAPES, SIZES, Scene, Thing, place_of, relation_of

PIXELS, WINDOW = 32, 21
MOST = 4  # things looked for; a scene has at most three
BETWEEN = 0.176 * PIXELS  # the radius between small (up to 0.157) and large (from 0.195)
SOLID, OUTLINED, STRIPED = range(3)
# Lightness counts half: things are coloured and backgrounds are grey, so colour tells them apart, whatever the pattern does.
OPPONENT = torch.tensor([[0.5 / 3**0.5] * 3, [2**-0.5, -(2**-0.5), 0.0], [6**-0.5, 6**-0.5, -2 * 6**-0.5]])

#            x      y      radius              rotation        blur  tilt  phase   of a thing
LOW = torch.tensor([0.0, 0.0, 0.115 * PIXELS, -math.radians(17), 0.2, -9.0, -9.0])
HIGH = torch.tensor([32.0, 32.0, 0.24 * PIXELS, math.radians(17), 0.95, 9.0, 9.0])


def descend(residuals: Callable[[Tensor, Tensor], Tensor], start: Tensor, low: Tensor, high: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Least squares for H hypotheses side by side: (H, P) parameters within bounds and (H,) sums of squares.

    residuals(parameters (H, P), which (H,)) -> (H, M). The method of Levenberg and Marquardt with numerical derivatives.
    """
    p, (h, n) = start.clamp(low, high), start.shape
    which = torch.arange(h)
    step = (high - low).clamp(max=1.0) * 0.02
    r = residuals(p, which)
    error, damping = r.square().sum(1), torch.full((h, 1), 1e-2)
    for _ in range(steps):
        moved = (p[:, None] + torch.diag(step)).flatten(0, 1)
        slope = (residuals(moved, which.repeat_interleave(n)).unflatten(0, (h, n)) - r[:, None]) / step[:, None]  # (H, P, M)
        hessian = slope @ slope.mT
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        hessian = hessian + torch.diag_embed(damping * diagonal + 1e-4)
        new = (p - torch.linalg.solve(hessian, slope @ r[..., None])[..., 0]).clamp(low, high)
        new_r = residuals(new, which)
        new_error = new_r.square().sum(1)
        better = new_error < error
        p, r = torch.where(better[:, None], new, p), torch.where(better[:, None], new_r, r)
        error = torch.where(better, new_error, error)
        damping = torch.where(better[:, None], damping / 4, damping * 6).clamp(1e-5, 1e4)
    return p, error


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """(..., S, S) smoothed with a Gaussian of (...) pixels."""
    ticks = torch.arange(images.shape[-1])
    taps = (-torch.tensor([0.0, 1.0, 4.0, 9.0, torch.inf]) / (2 * sigma[..., None].square())).exp()  # nothing beyond three
    taps = taps / (2 * taps.sum(-1, keepdim=True) - 1)
    kernel = taps[..., (ticks[:, None] - ticks).abs().clamp(max=4)]
    return kernel @ images @ kernel


# ------------------------------------------------------------------------------------------------------------- the models


def cover(p: Tensor, shape: Tensor, fill: Tensor, corner: Tensor, size: int = WINDOW) -> tuple[Tensor, Tensor]:
    """How much of each pixel a thing covers, and how much paint is there (less on dark stripes): two (H, size, size)."""
    x, y, radius, rotation = p.T[:4, :, None, None]
    ticks = torch.arange(size) + 0.5
    u, v = _rotate(ticks[None, None] + corner[0] - x, ticks[None, :, None] + corner[1] - y, rotation)
    distance = _look_up(_table(), u / radius, v / radius, shape[:, None, None].float()) * radius
    stroke = 0.042 * PIXELS / 2
    distance = torch.where((fill == OUTLINED)[:, None, None], (distance + stroke).abs() - stroke, distance)
    covered = (0.5 - distance).clamp(0, 1)
    if p.shape[1] == 5:
        covered = blur(covered, p[:, 4])
        return covered, covered
    along, _ = _rotate(u, v, p[:, 5, None, None])
    wave = torch.cos(2 * math.pi * (along / (0.125 * PIXELS) + p[:, 6, None, None]))
    dark = 0.68 * (0.5 + wave * 0.125 * PIXELS / 4).clamp(0, 1) * (fill == STRIPED)[:, None, None]
    return blur(covered, p[:, 4]), blur(covered * (1 - dark), p[:, 4])


def pattern(p: Tensor, kind: Tensor) -> Tensor:
    """(H, 32, 32) in [0, 1]: checks (kind 3) or dots (kind 4) with parameters cell, tilt, phase across, phase down, blur."""
    cell, tilt, across, down, _ = p.T[:, :, None, None]
    ticks = torch.arange(PIXELS) + 0.5
    u, v = _rotate(ticks[None, None], ticks[None, :, None], tilt)
    u, v = u / cell + across, v / cell + down
    checks = (0.5 + torch.sin(math.pi * u) * torch.sin(math.pi * v) * cell / 2).clamp(0, 1)
    near = (u % 1 - 0.5).square() + (v % 1 - 0.5).square()
    dots = (0.5 - (near.sqrt() - 0.23) * cell).clamp(0, 1)
    return blur(torch.where((kind == 3)[:, None, None], checks, dots), p[:, 4])


@cache
def palette() -> Tensor:
    """(8, 49, 3): what each named colour may look like, in opponent coordinates."""
    light, pale = torch.linspace(0.86, 1, 7)[:, None, None, None], torch.linspace(0, 0.1, 7)[:, None, None]
    rgb = torch.from_numpy(_RGB).float() * light * (1 - pale) + pale
    return rgb.permute(2, 0, 1, 3).flatten(1, 2) @ OPPONENT.T


@cache
def templates() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Things to look for: covers (T, 19, 19), their parameters (T, 7), shapes and fills (T,)."""
    radii, turns = (0.135, 0.145, 0.155, 0.2, 0.21, 0.22), (-12, -6, 0, 6, 12)
    rows = [(s, f, r, a) for s in range(len(SHAPES)) for f in (SOLID, OUTLINED) for r in radii for a in turns]
    shape, fill = torch.tensor([r[:2] for r in rows]).T
    p = torch.tensor([[9.5, 9.5, r * PIXELS, math.radians(a), 0.5, 0, 0] for _, _, r, a in rows])
    return cover(p, shape, fill, torch.zeros(2), 19)[0], p, shape, fill


# --------------------------------------------------------------------------------------------------------- the background


@dataclass(frozen=True)
class Ground:
    """A background: its picture (3, 32, 32) in opponent coordinates, its name, how clearly it has it and how well it fits."""

    picture: Tensor
    name: str
    margin: float
    residual: float


@cache
def waves() -> tuple[Tensor, Tensor, Tensor]:
    """First harmonics of both patterns for all cells and tilts: (G, 5, 1024), kinds (G,), cells and tilts (G, 2)."""
    rows = [(k, c, t) for k in (3, 4) for c in torch.linspace(4.6, 8.2, 13) for t in torch.arange(24) * math.pi / 48]
    rows = [r for r in rows if (r[0] == 3 and r[1] < 7.1) or (r[0] == 4 and r[1] > 5.7)]
    kind, cell, tilt = (torch.tensor([float(r[i]) for r in rows]) for i in range(3))
    ticks = torch.arange(PIXELS) + 0.5
    u, v = _rotate(ticks[None, None], ticks[None, :, None], tilt[:, None, None])
    turn = torch.where(kind == 3, math.pi, 2 * math.pi) / cell
    u, v = u * turn[:, None, None], v * turn[:, None, None]
    checks = [u.sin() * v.sin(), u.sin() * v.cos(), u.cos() * v.sin(), u.cos() * v.cos()]
    dots = [u.cos(), -u.sin(), v.cos(), -v.sin()]
    basis = torch.where((kind == 3)[:, None, None, None], torch.stack(checks, 1), torch.stack(dots, 1))
    return torch.cat([torch.ones_like(basis[:, :1]), basis], 1).flatten(2), kind, torch.stack([cell, tilt], 1)


def fit_ground(y: Tensor, weight: Tensor) -> Ground:
    """The background of a picture y (3, 32, 32), in opponent coordinates, from the pixels that count (32, 32)."""
    w, total = weight.flatten(), weight.sum()
    plain = (y * weight).sum((1, 2)) / total
    light = (y[0] - plain[0]).flatten()
    basis, kind, grid = waves()
    gram, along = (basis * w) @ basis.mT, (basis * w) @ light
    parts = torch.linalg.solve(gram + 1e-3 * torch.eye(5), along)
    explained = (parts * along).sum(1)
    best = torch.cat([torch.where(kind == k, explained, -1.0).topk(5).indices for k in (3, 4)])
    k, a = kind[best], parts[best, 1:].unflatten(1, (2, 2))
    u, _, vh = torch.linalg.svd(a)
    phase = torch.where((k == 3)[:, None], torch.atan2(torch.stack([u[:, 1, 0], vh[:, 0, 1]], 1), torch.stack([u[:, 0, 0], vh[:, 0, 0]], 1)) / math.pi,
                        torch.atan2(a[..., 1], a[..., 0]) / (2 * math.pi))  # fmt: skip
    start = torch.cat([grid[best], phase, torch.full((10, 1), 0.5)], 1)
    start = torch.cat([start, start + torch.tensor([0, 0, 0.5, 0.5, 0])])
    k = k.repeat(2)

    def drawn(p: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        ink = pattern(p, k[which]).flatten(1)
        ink = ink - (ink * w).sum(1, keepdim=True) / total
        change = (ink * w * light).sum(1, keepdim=True) / (ink.square() * w).sum(1, keepdim=True).clamp_min(1e-3)
        return ink * change, light

    low, high = torch.tensor([4.2, -0.2, -9, -9, 0.2]), torch.tensor([8.6, 1.8, 9, 9, 0.95])
    residuals = lambda p, which: (light - drawn(p, which)[0]) * w.sqrt()  # noqa: E731
    p, error = descend(residuals, start, low, high, 3)
    keep = torch.cat([torch.where(k == kk, error, 1e9).topk(2, largest=False).indices for kk in (3, 4)])
    k = k[keep]
    p, error = descend(residuals, p[keep], low, high, 8)
    flat = (light.square() * w).sum()
    checks, dots = error[k == 3].min(), error[k == 4].min()
    patterned = (flat - torch.minimum(checks, dots)) / (flat + total * 0.01**2)  # a variance of 0.01² is grain, no pattern
    picture = plain[:, None, None].expand(3, PIXELS, PIXELS).clone()
    if patterned > 0.4:
        i = int(error.argmin())
        picture[0] += drawn(p[i : i + 1], torch.tensor([i]))[0].view(PIXELS, PIXELS)
        margin = min(float(patterned - 0.4), float((checks - dots).abs() / flat))
        return Ground(picture, BACKGROUNDS[int(k[i])], margin, float(error[i] / total) ** 0.5)
    tone = float(plain[0]) / 0.5 / 3**0.5
    name = "black" if tone < 0.29 else "grey" if tone < 0.75 else "white"
    margin = min(0.4 - float(patterned), abs(tone - 0.29), abs(tone - 0.75))
    return Ground(picture, name, margin, float(flat / total) ** 0.5)


# ------------------------------------------------------------------------------------------------------------- the things


@dataclass(frozen=True)
class Found:
    """The best thing for a place: parameters, kind, paint, and how much worse everything else is, in shares of its energy."""

    p: Tensor
    thing: Thing
    covered: Tensor  # (32, 32)
    painted: Tensor  # (3, 32, 32)
    residual: float
    margins: dict[str, float]
    hypotheses: tuple[Tensor, Tensor, Tensor]  # parameters, shapes, fills: where a second round begins

    def over(self, canvas: Tensor) -> Tensor:
        return canvas * (1 - self.covered) + self.painted


def look(rest: Tensor, things: list[Found]) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Where the next thing is, in what was not explained yet (3, 32, 32): starts for all shapes and fills, and its gain."""
    bank, p, shape, fill = templates()
    hits = F.conv2d(rest[1:, None], bank[:, None], padding=9)  # (2, T, 32, 32)
    gain = hits.square().sum(0) / bank.square().sum((1, 2))[:, None, None]
    ticks = torch.arange(PIXELS) + 0.5
    for thing in things:
        x, y, radius = thing.p[:3]
        gain = gain * ((ticks - x).square() + (ticks[:, None] - y).square() > (radius + 3).square())
    at = int(gain.amax(0).argmax())
    row, column = at // PIXELS, at % PIXELS
    strength = float(gain[:, row, column].max())
    near = gain[:, max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
    value, place = near.flatten(1).max(1)
    best = value.view(-1, 15).argmax(1) + torch.arange(0, len(bank), 15)  # one for each shape, fill and size
    y, x = max(row - 2, 0) + place[best] // near.shape[2] + 0.5, max(column - 2, 0) + place[best] % near.shape[2] + 0.5
    return torch.cat([torch.stack([x, y], 1), p[best, 2:]], 1), shape[best], fill[best], value, strength


def fit_thing(y: Tensor, canvas: Tensor, starts: tuple[Tensor, Tensor, Tensor], reach: float | None, noise: float) -> Found:
    """The best thing on a canvas (3, 32, 32): of all starts, a descent; of each shape and fill, the best."""
    p, shape, fill = starts
    centre = p[:, :2].mean(0)
    corner = (centre - WINDOW / 2).round()
    left, top = (int(v) + WINDOW for v in corner)
    cut = lambda t: F.pad(t, (WINDOW,) * 4)[..., top : top + WINDOW, left : left + WINDOW]  # noqa: E731
    target, below, weight = cut(y), cut(canvas), cut(torch.ones(PIXELS, PIXELS))
    if reach is not None:
        ticks = torch.arange(WINDOW) + 0.5
        weight = weight * ((ticks + corner[0] - centre[0]).square() + (ticks[:, None] + corner[1] - centre[1]).square() < reach**2)

    def fitted(p: Tensor, shape: Tensor, fill: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        covered, painted = cover(p, shape, fill, corner)
        wanted = target - (1 - covered[:, None]) * below
        ink = (painted.square() * weight).sum((1, 2)).clamp_min(1e-3)
        paint = torch.einsum("hij,hcij->hc", painted * weight, wanted) / ink[:, None]
        return ((wanted - painted[:, None] * paint[..., None, None]) * weight).flatten(1), paint, ink

    def settle(p: Tensor, shape: Tensor, fill: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        p, error = p.clone(), torch.zeros(len(p))
        for some, n in ((fill != STRIPED, 5), (fill == STRIPED, 7)):
            if some.any():
                s, f, low = shape[some], fill[some], LOW[:n].clone()
                if n == 7:
                    low[2] = BETWEEN  # stripes on small things cannot be seen at this size
                p[some, :n], error[some] = descend(lambda p, i, s=s, f=f: fitted(p, s[i], f[i])[0], p[some, :n], low, HIGH[:n], steps)
        return p, error

    if reach is not None:  # the first round: stripes are found on the best poses of solid things
        base, base_error = settle(p, shape, fill, 3)
        large = ((fill == SOLID) & (p[:, 2] > BETWEEN)).nonzero()[:, 0]
        turns = torch.cartesian_prod(torch.arange(12) * math.pi / 12, torch.arange(6) / 6)
        tried = base[large].repeat_interleave(len(turns), 0)
        tried[:, 5:] = turns.repeat(len(large), 1)
        s = shape[large].repeat_interleave(len(turns))
        error = fitted(tried, s, torch.full_like(s, STRIPED))[0].square().sum(1).view(len(large), -1)
        best = error.argmin(1) + torch.arange(len(large)) * len(turns)
        keep = base_error.view(-1, 2).argmin(1) + torch.arange(0, len(p), 2)
        p = torch.cat([base[keep], tried[best]])
        shape, fill = torch.cat([shape[keep], s[best]]), torch.cat([fill[keep], torch.full_like(best, STRIPED)])
        order = (3 * shape + fill).argsort()
        p, shape, fill = p[order], shape[order], fill[order]
    p, error = settle(p, shape, fill, 5)
    _, paint, ink = fitted(p, shape, fill)
    away = (paint[:, None, None] - palette()).square().sum(3).min(2).values  # (24, 8)
    energy = error[:, None] + ink[:, None] * away
    signal = float(((target - below) * weight).square().sum())
    table = energy.view(8, 3, 8)
    best = int(table.argmin())
    s, f, c = best // 24, best // 8 % 3, best % 8
    i = 3 * s + f
    least = float(table.min())
    other = lambda dim, index: float(table.index_select(dim, torch.tensor([j for j in range(table.shape[dim]) if j != index])).min())  # noqa: E731
    margins = {"shape": (other(0, s) - least) / signal, "fill": (other(1, f) - least) / signal, "colour": (other(2, c) - least) / signal}
    margins["size"] = abs(float(p[i, 2]) - BETWEEN)
    thing = Thing(SIZES[int(p[i, 2] > BETWEEN)], FILLS[f], COLOURS[c], SHAPES[s])
    whole, painted = cover(p[i : i + 1], shape[i : i + 1], fill[i : i + 1], torch.zeros(2), PIXELS)
    residual = max(0.0, least - noise * float(weight.sum())) / signal
    return Found(p[i], thing, whole[0], painted * paint[i][:, None, None], residual, margins, (p, shape, fill))


@dataclass(frozen=True)
class Fit:
    picture: Tensor
    ground: Ground
    things: tuple[Found, ...]
    leftover: float


FOUND = 0.5


@torch.inference_mode()
def fit(image: Tensor) -> Fit:
    y = torch.einsum("ab,bij->aij", OPPONENT, image)
    colour = (y[1:] - y[1:].flatten(1).median(1).values[:, None, None]).square().sum(0).sqrt()
    weight = (F.max_pool2d(colour[None, None], 3, 1, 1)[0, 0] < 0.08).float()
    ground = fit_ground(y, weight + 1e-3)
    things: list[Found] = []
    canvas = ground.picture
    for _ in range(MOST):
        p, shape, fill, value, strength = look(y - canvas, things)
        if strength < FOUND:
            break
        bank = templates()
        reach = float(bank[1][value.argmax(), 2]) + 2.5
        things.append(fit_thing(y, canvas, (p, shape, fill), reach, 0.0))
        canvas = things[-1].over(canvas)
    if things:
        covered = torch.stack([t.covered for t in things]).sum(0)
        ground = fit_ground(y, (F.max_pool2d(covered[None], 3, 1, 1)[0] < 0.02) + 1e-3)
    for i, thing in enumerate(things):
        canvas = ground.picture
        for other in things[:i] + things[i + 1 :]:
            canvas = other.over(canvas)
        things[i] = fit_thing(y, canvas, thing.hypotheses, None, 0.0)
    canvas = ground.picture
    for thing in things:
        canvas = thing.over(canvas)
    rest = (y - canvas)[1:].square().sum(0)
    leftover = float(F.avg_pool2d(rest[None], 5, 1).max()) * 25 / 0.4**2
    return Fit(torch.einsum("ab,bij->aij", torch.linalg.inv(OPPONENT), canvas), ground, tuple(things), leftover)


def scene_of(f: Fit) -> Scene | None:
    if not 1 <= len(f.things) <= 3:
        return None
    ts, place, relation = [t.thing for t in f.things], None, None
    at = [t.p[:2] / PIXELS for t in f.things]
    if len(ts) == 1:
        place = place_of(float(at[0][0]), float(at[0][1]))
    if len(ts) == 2:
        relation, swapped = relation_of(*(at[1] - at[0]).tolist())
        ts = ts[::-1] if swapped else ts
    return Scene(tuple(ts), place, relation, f.ground.name)
