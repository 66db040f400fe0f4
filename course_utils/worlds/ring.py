"""The world `ring`: eight narrow Gaussians on a circle, the usual test of whether a generator forgets a part of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MODES, RADIUS, SIGMA = 8, 2.0, 0.1


def centres(modes: int = MODES, radius: float = RADIUS) -> Tensor:
    """The middles of the modes, (modes, 2), counter-clockwise from (radius, 0)."""
    angle = 2 * math.pi * torch.arange(modes) / modes
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def ring(n: int, generator: torch.Generator | None = None, *, sigma: float = SIGMA) -> Tensor:
    """n points (n, 2): a mode by chance, all alike, and normal noise of deviation sigma around its centre."""
    mode = torch.randint(MODES, (n,), generator=generator)
    return centres()[mode] + sigma * torch.randn(n, 2, generator=generator)
