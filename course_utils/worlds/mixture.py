"""The world `mixture`: points from a few Gaussians of one width. Every question of lesson 16 has an exact answer there.

On the road x = t data + (1 - t) noise the crowd at time t is again a mixture: means t m_i, variance t² s² + (1 - t)².
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Points (N, D) around `means` (M, D), all M equally often, with the standard deviation `sigma` in each direction.

    Times are numbers or tensors (N,); what comes back has the dtype of the means.
    """

    means: Tensor
    sigma: float

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points (n, D)."""
        which = torch.randint(len(self.means), (n,), generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[which] + self.sigma * noise

    def log_parts(self, x: Tensor, t: Tensor | float) -> Tensor:
        """log p_t(x | mean i) for points x (N, D): (N, M)."""
        t = self._column(x, t)
        variance = t**2 * self.sigma**2 + (1 - t) ** 2  # (N, 1)
        apart = (x[:, None] - t[..., None] * self.means).square().sum(-1)  # (N, M)
        return -0.5 * apart / variance - 0.5 * x.shape[1] * torch.log(2 * math.pi * variance)

    def log_density(self, x: Tensor, t: Tensor | float) -> Tensor:
        """log p_t(x), (N,)."""
        return self.log_parts(x, t).logsumexp(1) - math.log(len(self.means))

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        """E[data | x_t = x], (N, D): each mean's own answer, weighted by how probable that mean is here."""
        weights, t = self.log_parts(x, t).softmax(1), self._column(x, t)
        slope = t * self.sigma**2 / (t**2 * self.sigma**2 + (1 - t) ** 2)
        return weights @ self.means + slope * (x - t * (weights @ self.means))

    def velocity(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The marginal velocity E[data - noise | x_t = x], (N, D)."""
        weights, t = self.log_parts(x, t).softmax(1), self._column(x, t)
        slope = (t * self.sigma**2 - (1 - t)) / (t**2 * self.sigma**2 + (1 - t) ** 2)
        return weights @ self.means + slope * (x - t * (weights @ self.means))

    def score(self, x: Tensor, t: Tensor | float) -> Tensor:
        """∇ log p_t(x), (N, D)."""
        weights, t = self.log_parts(x, t).softmax(1), self._column(x, t)
        return (t * (weights @ self.means) - x) / (t**2 * self.sigma**2 + (1 - t) ** 2)

    def _column(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Times as (N, 1) or (1, 1)."""
        return torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1, 1)
