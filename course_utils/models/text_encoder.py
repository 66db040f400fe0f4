"""A small transformer that reads a caption; it learns together with the generator that it belongs to.

Config, block, encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_utils.language.tokenizer import PAD
from course_utils.models.layers import Attention, sincos


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the text encoder."""

    vocabulary: int = 768
    longest: int = 64  # tokens
    width: int = 128
    depth: int = 4
    heads: int = 4


class Text(NamedTuple):
    """What a generator hears of captions: `context` (B, T, C), a vector for each token; `mask` (B, T), False at padding; `pooled` (B, C), their mean."""

    context: Tensor
    mask: Tensor
    pooled: Tensor


class TextBlock(nn.Module):
    """Words look at each other, then each is changed alone: a pre-norm transformer block."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Tokens (B, T) to `Text`: a bidirectional transformer, and the mean of what it makes of the tokens."""

    pos_embed: Tensor

    def __init__(self, config: TextEncoderConfig | None = None):
        super().__init__()
        self.config = config = config or TextEncoderConfig()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.register_buffer("pos_embed", sincos(torch.arange(config.longest), config.width, 100), persistent=False)
        self.blocks = nn.ModuleList(TextBlock(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Text:
        mask = tokens != PAD  # (B, T)
        x = self.embed(tokens) + self.pos_embed[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        context = self.norm(x)
        pooled = (context * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return Text(context, mask, pooled)
