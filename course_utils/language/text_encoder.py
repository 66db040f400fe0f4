"""A small transformer that reads a caption: tokens in; out comes a vector for each token, and a summary of the whole caption.

For the world `shapes` it learns to read first (`models/reader.py`) and then stays as it is; elsewhere it is trained with the generator.
"""

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
    registers: int = 8  # vectors of its own that it puts before the tokens; in them it gathers what the caption says
    summary: int = 200  # numbers that sum the caption up: while it learns to read they are its answers
    width: int = 96
    depth: int = 4
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


def positions(longest: int, width: int) -> Tensor:
    """Cosines and sines (longest, width) of each token's number (Vaswani et al. 2017), as loud as the words' own vectors.

    With small random numbers in their place the encoder hears which words there are but not which stand together.
    """
    frequency = torch.exp(-math.log(1000) * torch.arange(width // 2) / (width // 2))
    angle = torch.arange(longest)[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


class TextEncoder(nn.Module):
    """Tokens (B, T) to vectors (B, R + T, width), the R registers first; their mask `seen` (B, 1, 1, R + T), False at padding; and a
    summary (B, summary), of which each register gives its part: what the caption says as a whole, of each of three things, at each of four edges.

    Before the transformer a convolution shows each token its three neighbours on both sides: it is there that words belong
    together, and attention alone takes thousands of steps to find out.
    """

    def __init__(self, config: TextEncoderConfig | None = None):
        super().__init__()
        self.config = config = config or TextEncoderConfig()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(positions(config.longest, config.width))
        self.near = nn.Conv1d(config.width, config.width, 7, padding=3)
        self.registers = nn.Parameter(torch.randn(config.registers, config.width))
        self.blocks = nn.ModuleList(TextBlock(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        # A convolution in as many groups as there are registers is a matrix for each of them.
        self.summary = nn.Conv1d(config.registers * config.width, config.summary, 1, groups=config.registers)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        there = tokens != PAD  # (B, T)
        x = (self.embed(tokens) + self.position[: tokens.shape[1]]) * there[..., None]
        x = x + self.near(x.transpose(1, 2)).transpose(1, 2)
        x = torch.cat([self.registers.expand(len(x), -1, -1), x], 1)
        seen = F.pad(there, (self.config.registers, 0), value=True)[:, None, None, :]
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x)
        return x, seen, self.summary(x[:, : self.config.registers].flatten(1)[..., None])[..., 0]
