"""Drawing a background again: the descent that fits a drawing to a picture, and the patterns of the world `shapes`.

Nothing here is learned. Colours are in opponent coordinates (lightness, red against green, yellow against blue), lengths in
pixels. `redraw_things` draws the things, and `synthesis` puts them together and judges what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from course_utils.worlds.render import rotate
from course_utils.worlds.scenes import BACKGROUNDS

PIXELS = 32
CHECKS, DOTS = BACKGROUNDS.index("checkered"), BACKGROUNDS.index("dotted")
# Lightness counts half: things are coloured and backgrounds are grey, so colour tells them apart, whatever a pattern does.
OPPONENT = torch.tensor([[0.5 / 3**0.5] * 3, [2**-0.5, -(2**-0.5), 0.0], [6**-0.5, 6**-0.5, -2 * 6**-0.5]])
SHARP, SOFT = 0.3, 0.95  # the blur of a drawing, a standard deviation; below 0.3 nothing changes any more


def descend(
    residuals: Callable[[Tensor, Tensor], Tensor], start: Tensor, low: Tensor, high: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Least squares for H hypotheses side by side: their parameters (H, P) within bounds (P,), and sums of squares (H,).

    residuals(parameters (K, P), which of the hypotheses (K,)) -> (K, M). The method of Levenberg (1944) and Marquardt
    (1963), with numerical derivatives.
    """
    p, (h, n) = start.clamp(low, high), start.shape
    nudge = (high - low).clamp(max=1.0) * 0.02
    which = torch.arange(h)
    r = residuals(p, which)
    error, damping = r.square().sum(1), torch.full((h, 1), 1e-2)
    for _ in range(steps):
        nudged = (p[:, None] + torch.diag(nudge)).flatten(0, 1)
        slope = (residuals(nudged, which.repeat_interleave(n)).unflatten(0, (h, n)) - r[:, None]) / nudge[:, None]
        hessian = slope @ slope.mT  # (H, P, P)
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        hessian = hessian + torch.diag_embed(damping * (diagonal + 1e-3 * diagonal.amax(1, keepdim=True)) + 1e-6)
        new = (p - torch.linalg.solve(hessian, slope @ r[..., None])[..., 0]).clamp(low, high)
        new_r = residuals(new, which)
        new_error = new_r.square().sum(1)
        better = (new_error < error)[:, None]
        p, r, error = torch.where(better, new, p), torch.where(better, new_r, r), torch.minimum(error, new_error)
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-5, 1e4)
    return p, error


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """(H, S, S) smoothed with Gaussians of (H,) pixels."""
    ticks = torch.arange(images.shape[-1])
    taps = (-torch.tensor([0.0, 1.0, 4.0, 9.0, torch.inf]) / (2 * sigma[:, None].square())).exp()  # none beyond three
    kernel = (taps / (2 * taps.sum(-1, keepdim=True) - 1))[:, (ticks[:, None] - ticks).abs().clamp(max=4)]
    return kernel @ images @ kernel


def noise_of(rest: Tensor) -> Tensor:
    """(C,) variances of the noise in (C, S, S): what differs from neighbour to neighbour (Immerkær 1996, with a median)."""
    mask = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])
    response = torch.nn.functional.conv2d(rest[:, None], mask[None, None]).flatten(1)
    return response.square().median(1).values / 0.4549 / 36  # 0.4549: the median of a squared normal variable


@dataclass(frozen=True)
class Ground:
    """A background: its picture (3, 32, 32) in opponent coordinates, its name, and two raw numbers.

    margin: how far the next best background is, in shares of the pattern's energy (in tone, between plain ones).
    residual: root mean square of what the picture does otherwise.
    """

    picture: Tensor
    name: str
    margin: float
    residual: float


def pattern(p: Tensor, kind: Tensor) -> Tensor:
    """(H, 1024) in [0, 1]: checks or dots with the parameters cell, tilt, phase across and down (in cells), blur (H, 5)."""
    cell, tilt, across, down, _ = p.T[:, :, None, None]
    ticks = torch.arange(PIXELS) + 0.5
    u, v = rotate(ticks[None, None], ticks[None, :, None], tilt)
    u, v = u / cell + across, v / cell + down
    checks = (0.5 + torch.sin(math.pi * u) * torch.sin(math.pi * v) * cell / 2).clamp(0, 1)
    dots = (0.5 - (((u % 1 - 0.5).square() + (v % 1 - 0.5).square()).sqrt() - 0.23) * cell).clamp(0, 1)
    return blur(torch.where((kind == CHECKS)[:, None, None], checks, dots), p[:, 4]).flatten(1)


@cache
def _harmonics() -> tuple[Tensor, Tensor, Tensor]:
    """A constant and the four first waves of the patterns with all cells and tilts: (G, 5, 1024), kinds (G,), (G, 2)."""
    tilts = torch.arange(24) * math.pi / 48
    rows = [(CHECKS, c, t) for c in torch.arange(4.6, 7.1, 0.3) for t in tilts]
    rows += [(DOTS, c, t) for c in torch.arange(5.8, 8.4, 0.3) for t in tilts]
    kind, cell, tilt = torch.tensor(rows).T
    ticks = torch.arange(PIXELS) + 0.5
    u, v = rotate(ticks[None, None], ticks[None, :, None], tilt[:, None, None])
    turn = (torch.where(kind == CHECKS, math.pi, 2 * math.pi) / cell)[:, None, None]
    u, v = u * turn, v * turn
    checks = torch.stack([u.sin() * v.sin(), u.sin() * v.cos(), u.cos() * v.sin(), u.cos() * v.cos()], 1)
    dots = torch.stack([u.cos(), -u.sin(), v.cos(), -v.sin()], 1)
    waves = torch.where((kind == CHECKS)[:, None, None, None], checks, dots)
    return torch.cat([torch.ones_like(waves[:, :1]), waves], 1).flatten(2), kind, torch.stack([cell, tilt], 1)


def _starts(light: Tensor, w: Tensor, each: int = 5) -> tuple[Tensor, Tensor]:
    """Where to begin: the cells and tilts whose first waves explain most, with the phases of these waves."""
    waves, kind, grid = _harmonics()
    along = (waves * w) @ light
    parts = torch.linalg.solve((waves * w) @ waves.mT + 1e-3 * torch.eye(5), along)
    explained = (parts * along).sum(1)
    best = torch.cat([torch.where(kind == k, explained, -1.0).topk(each).indices for k in (CHECKS, DOTS)])
    a = parts[best, 1:].unflatten(1, (2, 2))
    # Dots: each row is one wave. Checks: sin(u + a) sin(v + b) is a matrix of rank one, the product of two waves.
    left, _, right = torch.linalg.svd(a)
    checks = torch.stack([torch.atan2(m[:, 1], m[:, 0]) for m in (left[:, :, 0], right[:, 0])], 1) / math.pi
    dots = torch.atan2(a[..., 1], a[..., 0]) / (2 * math.pi)
    phase = torch.where((kind[best] == CHECKS)[:, None], checks, dots)
    start = torch.cat([grid[best], phase, torch.full((2 * each, 1), 0.5)], 1)
    return torch.cat([start, start + torch.tensor([0, 0, 0.5, 0.5, 0])]), kind[best].repeat(2)  # dark dots, light dots


def fit_ground(y: Tensor, weight: Tensor) -> Ground:
    """The background of a picture y (3, 32, 32), in opponent coordinates, seen where weight (32, 32) is one."""
    w, total = weight.flatten(), weight.sum()
    plain = (y * weight).sum((1, 2)) / total
    light = (y[0] - plain[0]).flatten()
    flat, picture = (light.square() * w).sum(), plain[:, None, None].expand_as(y).clone()

    def drawn(p: Tensor, kind: Tensor, w: Tensor) -> Tensor:
        """The pattern in its best two tones, (H, 1024)."""
        ink, total = pattern(p, kind), w.sum(-1, keepdim=True)
        ink = ink - (ink * w).sum(1, keepdim=True) / total
        change = (ink * w * light).sum(1, keepdim=True) / (ink.square() * w).sum(1, keepdim=True).clamp_min(1e-3)
        return (light * w).sum(-1, keepdim=True) / total + ink * change

    low, high = torch.tensor([4.2, -0.2, -9, -9, SHARP]), torch.tensor([8.6, 1.8, 9, 9, SOFT])
    p, kind = _starts(light, w)
    for steps, keep in ((3, 2), (6, 1)):
        p, error = descend(lambda p, i, k=kind: (light - drawn(p, k[i], w)) * w.sqrt(), p, low, high, steps)  # type: ignore
        best = [torch.where(kind == k, error, torch.inf).topk(keep, largest=False).indices for k in (CHECKS, DOTS)]
        p, kind = p[torch.cat(best)], kind[torch.cat(best)]
    # Patterns may bend: each corner of the picture has parameters of its own, and they are blended in between.
    ramp = (torch.arange(PIXELS) + 0.5) / PIXELS
    tents = torch.stack([a[:, None] * b for a in (1 - ramp, ramp) for b in (1 - ramp, ramp)]).flatten(1)  # sum to one
    near, kind = (tents * w).repeat(2, 1), kind.repeat_interleave(4)
    p, _ = descend(
        lambda p, i: (light - drawn(p, kind[i], near[i])) * near[i].sqrt(), p.repeat_interleave(4, 0), low, high, 6
    )
    tones = (drawn(p, kind, near).unflatten(0, (2, 4)) * tents).sum(1)  # of checks, of dots
    checks, dots = ((light - tones).square() * w).sum(1)
    least = torch.minimum(checks, dots)
    patterned = float((flat - least) / (flat + total * 0.01**2))  # a variance of 0.01² is grain, not a pattern
    if patterned > 0.4:
        picture[0] += tones[int(dots < checks)].view_as(picture[0])
        margin = min(patterned - 0.4, float((checks - dots).abs() / flat))
        return Ground(picture, BACKGROUNDS[DOTS if dots < checks else CHECKS], margin, float(least / total) ** 0.5)
    tone = float(plain[0] / OPPONENT[0].sum())
    name = "black" if tone < 0.29 else "grey" if tone < 0.75 else "white"
    margin = min(0.4 - patterned, abs(tone - 0.29), abs(tone - 0.75))
    return Ground(picture, name, margin, float(flat / total) ** 0.5)
