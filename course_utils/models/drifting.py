"""Drifting (Deng et al. 2026, arXiv:2602.04770): samples move towards data and away from each other, and a generator follows.

With a Gaussian kernel of width h, the drift at x is h² times the difference of two scores: that of the data's density and that
of the samples' density, each smoothed by N(0, h²) (Lai et al. 2026, arXiv:2603.07514).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kernel_mean(x: Tensor, points: Tensor, width: float) -> Tensor:
    """The mean of points (M, P) weighted by exp(-|x - y|² / 2 width²), for each x (N, P); (N, P)."""
    squares = (x[:, None] - points).square().sum(-1)  # (N, M)
    return torch.softmax(-squares / (2 * width**2), dim=1) @ points


def drift(x: Tensor, data: Tensor, samples: Tensor, width: float) -> Tensor:
    """Where each x (N, P) is drawn: the kernel mean of data (M, P) minus that of samples (K, P); (N, P).

    It is zero everywhere if both are the same points. A sample must not be among those that push it: its own distance, 0,
    would outweigh all others.
    """
    return kernel_mean(x, data, width) - kernel_mean(x, samples, width)


def drifting_loss(x: Tensor, data: Tensor, samples: Tensor, width: float) -> Tensor:
    """Mean squared distance of generated x (N, P) to where they drift; no gradient goes through the drift."""
    target = x.detach() + drift(x.detach(), data, samples.detach(), width)
    return F.mse_loss(x, target)
