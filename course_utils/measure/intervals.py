"""Intervals: no number of the course stands without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval for a share of `right` out of `n` (Wilson 1927): honest near 0 and 1, where ±√(p(1-p)/n) is not."""
    if n == 0:
        return 0.0, 1.0
    p, w = right / n, z * z / n
    middle, half = (p + w / 2) / (1 + w), z / (1 + w) * math.sqrt(p * (1 - p) / n + w / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    statistic: Callable[[Tensor], float], n: int, rounds: int = 100, seed: int = 0, centre: float | None = None
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(index)` over `rounds` draws of n indices with replacement (Efron 1979).

    centre: the statistic of all items, for one that repeated items push away from it, as they do a Fréchet distance: the
    interval is moved so that the mean of the draws lies there.
    """
    generator = torch.Generator().manual_seed(seed)
    values = sorted(statistic(torch.randint(n, (n,), generator=generator)) for _ in range(rounds))
    shift = 0.0 if centre is None else centre - sum(values) / rounds
    return values[int(0.025 * (rounds - 1))] + shift, values[math.ceil(0.975 * (rounds - 1))] + shift


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], rounds: int = 2_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of a - b over the same items, with its 95 % percentile interval."""
    difference = torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
    low, high = bootstrap(lambda index: float(difference[index].mean()), len(difference), rounds, seed)
    return float(difference.mean()), low, high
