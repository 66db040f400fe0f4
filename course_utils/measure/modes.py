"""Counting modes where they are known: which are covered, and how many points lie near one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """`shares` (M,): of all points, those near each mode. `covered`: modes with a share of at least the least. `near`: the sum."""

    shares: Tensor
    covered: int
    near: float


def modes(points: Tensor, centres: Tensor, radius: float, least: float = 0.01) -> Modes:
    """Counts points (N, P) within `radius` of their nearest centre, of centres (M, P).

    A mode is covered if at least the share `least` of all points is near it: a stray point covers nothing.
    """
    distance, nearest = torch.cdist(points, centres).min(1)
    counts = torch.bincount(nearest[distance <= radius], minlength=len(centres))
    shares = counts / len(points)
    return Modes(shares, int((shares >= least).sum()), float(shares.sum()))
