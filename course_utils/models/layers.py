"""Parts that several families of models share: attention, positions, the features of a time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of x (B, N, D) to itself, or to `context` (B, T, C) where one is given (Vaswani et al. 2017).

    `mask` (B, T) is True where a vector of the context (or of x itself) may be looked at. Queries and keys are normalised, so that
    no score grows without bound (Henry et al. 2020; Esser et al. 2024, section 5.3.2).
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(context_width or width, 2 * width, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x, x if context is None else context)
        mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))

    def project(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, N, hd) of x; keys and values (B, H, T, hd) of the context."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.q_norm(q), self.k_norm(k), v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √hd) v: q (B, H, N, hd), k and v (B, H, T, hd), mask (B, 1, 1, T) or None -> (B, H, N, hd).

    In bfloat16 on a CPU it is written out: with heads as small as ours, the backward pass of PyTorch's fused kernel takes
    4 to 9 times as long there. Everywhere else the fused kernel is used.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1).to(v.dtype) @ v


def sincos(positions: Tensor, width: int, longest: float = 10_000) -> Tensor:
    """Cosines and sines (..., width) of positions (...), at frequencies from 1 down to 1 / longest (Vaswani et al. 2017)."""
    frequency = torch.exp(-math.log(longest) * torch.arange(width // 2, device=positions.device) / (width // 2))
    # in double precision where positions are: a derivative by differences needs it
    angle = positions.to(torch.promote_types(positions.dtype, torch.float32))[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def sincos_2d(side: int, width: int) -> Tensor:
    """Where each of side² patches is, (side², width): half of the numbers speak of the row, half of the column, as in ViT and DiT."""
    line = sincos(torch.arange(side), width // 2, 100)  # (side, width / 2)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)
