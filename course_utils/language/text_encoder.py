"""A small transformer that reads a caption: tokens in, one vector per token out. It is trained with the generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.language.tokenizer import PAD


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the text encoder."""

    vocabulary: int = 768
    longest: int = 64  # tokens
    width: int = 128
    depth: int = 2
    heads: int = 4


class Attention(nn.Module):
    """Multi-head attention of x (B, T, D) to itself, or to `source` (B, S, C) where one is given.

    `seen` (B, 1, 1, S) is True where a source token may be looked at.
    """

    def __init__(self, width: int, heads: int, source_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(source_width or width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, hd)
        kv = self.kv(x if source is None else source).unflatten(-1, (2, self.heads, -1))  # (B, S, 2, H, hd)
        k, v = kv.permute(2, 0, 3, 1, 4)  # each (B, H, S, hd)
        return self.out(attend(q, k, v, seen).transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
    """Scaled dot-product attention: q (B, H, T, D), k and v (B, H, S, D), seen (B, 1, 1, S) or None -> (B, H, T, D).

    In bfloat16 on a CPU it is written out: with heads as small as ours, the backward pass of PyTorch's fused kernel takes
    4 to 9 times as long there. Everywhere else the fused kernel is used.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    return scores.softmax(-1).to(v.dtype) @ v


class TextBlock(nn.Module):
    """Words look at each other, then think alone (a pre-norm transformer block)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), seen=seen)
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Tokens (B, T) to vectors (B, T, width) and a mask `seen` (B, 1, 1, T) that is False at padding."""

    def __init__(self, config: TextEncoderConfig | None = None):
        super().__init__()
        self.config = config = config or TextEncoderConfig()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(0.02 * torch.randn(config.longest, config.width))
        self.blocks = nn.ModuleList(TextBlock(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        seen = (tokens != PAD)[:, None, None, :]
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x), seen
