"""What lessons use to hold a result against another: `agree` where both must be equal, `near` where one is an average of draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def agree(what: str, ours: Any, reference: Any, tolerance: float) -> None:
    """Prints the largest difference of two results (numbers or tensors, broadcast); AssertionError if it is over the tolerance.

    Printed is its first digit with the power of ten, such as 2e-16: it says whether what is left is rounding. It differs from
    machine to machine, so `tests/lessons.py` compares all of the line but that.
    """
    difference = torch.as_tensor(ours - reference).abs().max().item()
    assert difference <= tolerance, f"{what}: they differ by {difference}"
    found = f"{difference:.0e}" if difference else "0"
    print(f"{what}: largest difference {found}, allowed {tolerance:.0e}")


def near(what: str, draws: Tensor, truth: Any) -> None:
    """Prints mean and standard error of independent draws (N,); AssertionError unless the truth is within four of them."""
    mean, error = draws.mean().item(), (draws.std() / len(draws) ** 0.5).item()
    truth = float(truth)
    off = abs(mean - truth) / error
    assert off < 4, f"{what}: {off:.1f} standard errors off"
    print(f"{what}: {mean:.4f} ± {error:.4f}, truth {truth:.4f}, {off:.1f} standard errors away")
