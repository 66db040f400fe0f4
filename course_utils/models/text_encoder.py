"""What reads captions inside a generator: a small transformer that learns with it, or one layer behind an encoder that does not.

Config, block, encoder; `FrozenText`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.language.encoders import Text
from course_utils.language.tokenizer import EMPTY, PAD
from course_utils.models.layers import Attention, sincos


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the text encoder."""

    vocabulary: int = 768
    longest: int = 64  # tokens
    width: int = 128
    depth: int = 4
    heads: int = 4


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


class FrozenText(nn.Module):
    """Stands where a generator's own text encoder would: captions that a frozen encoder (`language/encoders.py`) has read, by their numbers.

    "Tokens" are (B, 1): EMPTY, or what `numbers` gives. One linear layer brings the encoder's C numbers to `width`; it and the vector of
    the empty caption are all that learns. Before it the vectors are moved and scaled, all of them alike, by the mean and the spread
    of `captions`; so encoders with small and large numbers begin alike.
    """

    context: Tensor
    mask: Tensor
    pooled: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, captions: Text, width: int):
        super().__init__()
        vectors = captions.context[captions.mask]  # (all tokens, C)
        self.register_buffer("centre", vectors.mean(0))
        self.register_buffer("spread", (vectors - vectors.mean(0)).square().mean().sqrt())
        self.hear(captions)
        self.layer = nn.Linear(vectors.shape[1], width)
        self.empty = nn.Parameter(torch.randn(width))

    def hear(self, captions: Text) -> None:
        """From now on these are the captions: number k of `numbers` is row k."""
        for name, value in captions._asdict().items():
            self.register_buffer(name, value.to(self.centre.device), persistent=False)

    @staticmethod
    def numbers(rows: Tensor) -> Tensor:
        """What stands for these rows (B,) of the captions, (B, 1)."""
        return rows[:, None] + EMPTY + 1

    def forward(self, tokens: Tensor) -> Text:
        empty, rows = tokens == EMPTY, (tokens[:, 0] - EMPTY - 1).clamp_min(0)  # (B, 1), (B,)
        context, pooled = (self.layer((x[rows] - self.centre) / self.spread) for x in (self.context, self.pooled))
        first = torch.arange(self.mask.shape[1], device=tokens.device) == 0
        return Text(
            torch.where(empty[..., None], self.empty, context),
            torch.where(empty, first, self.mask[rows]),
            torch.where(empty, self.empty, pooled),
        )
