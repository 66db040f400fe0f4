"""The model of the weights `flow-shapes` as they ship today: kept so that they can draw, and used by nothing else.

It is not the model that the course teaches (`models/dit.py`). Its text encoder was trained on the grammar's parse of each caption, its
patches on what they show, and both answers steer the drawing (`summary`, `believed`): captions become a layout, and the layout is
painted. That needs a world with a grammar and labels, learns nothing about wording, and cannot be trained here any more. It goes
when weights of the plain model draw as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.language.tokenizer import PAD
from course_utils.models.dit import patchify, unpatchify
from course_utils.models.layers import attend, sincos


@dataclass(frozen=True)
class LayoutTextConfig:
    """Sizes of the text encoder."""

    vocabulary: int = 768
    longest: int = 64  # tokens
    registers: int = 8  # vectors of its own that it puts before the tokens; in them it gathers what the caption says
    summary: int = 200  # numbers that sum the caption up: while it learns to read they are its answers
    width: int = 96
    depth: int = 4
    heads: int = 4


@dataclass(frozen=True)
class LayoutDiTConfig:
    """Sizes of the text-to-image model."""

    channels: int = 8
    size: int = 8  # height and width of the latents (or of the picture)
    patch: int = 2
    convolutions: int = 112  # channels of the convolutions around the transformer; 0: none, a plain DiT
    conv_depth: tuple[int, int] = (2, 3)  # their blocks before and after it
    width: int = 160
    depth: int = 5
    heads: int = 5
    text: LayoutTextConfig = field(default_factory=LayoutTextConfig)
    labels: tuple[
        int, ...
    ] = ()  # what each patch was asked in training: how many sizes, fills, ... of the thing that it shows
    drop_caption: float = 0.1  # share of captions that training replaced by the empty one

    @property
    def patches(self) -> int:
        return (self.size // self.patch) ** 2


class LayoutAttention(nn.Module):
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


class LayoutTextBlock(nn.Module):
    """Words look at each other, then think alone (a pre-norm transformer block)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = LayoutAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), seen=seen)
        return x + self.mlp(self.norm2(x))


class LayoutTextEncoder(nn.Module):
    """Tokens (B, T) to vectors (B, R + T, width), the R registers first; their mask `seen` (B, 1, 1, R + T), False at padding; and a
    summary (B, summary), of which each register gives its part: what the caption says as a whole, of each of three things, at each of four edges.

    Before the transformer a convolution shows each token its three neighbours on both sides.
    """

    def __init__(self, config: LayoutTextConfig | None = None):
        super().__init__()
        self.config = config = config or LayoutTextConfig()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(torch.zeros(config.longest, config.width))
        self.near = nn.Conv1d(config.width, config.width, 7, padding=3)
        self.registers = nn.Parameter(torch.randn(config.registers, config.width))
        self.blocks = nn.ModuleList(LayoutTextBlock(config.width, config.heads) for _ in range(config.depth))
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


class LayoutBlock(nn.Module):
    """Patches look at each other, then at the words, then think alone; shift, scale and gate come from time and text."""

    def __init__(self, config: LayoutDiTConfig):
        super().__init__()
        d = config.width
        self.steer = nn.Parameter(torch.zeros(6, d))  # what this block adds to the steering that all blocks share
        self.norm1 = nn.LayerNorm(d, elementwise_affine=False)
        self.attention = LayoutAttention(d, config.heads)
        self.norm2 = nn.LayerNorm(d)
        self.cross = LayoutAttention(d, config.heads, config.text.width)
        self.norm3 = nn.LayerNorm(d, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU("tanh"), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, words: Tensor, seen: Tensor, steer: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (steer + self.steer).unbind(2)  # each (B, N, D)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        x = x + self.cross(self.norm2(x), words, seen)
        return x + gate2 * self.mlp(self.norm3(x) * (1 + scale2) + shift2)


class ConvBlock(nn.Module):
    """x + conv(silu(conv(silu(x)) scaled and shifted by what each patch is told)); at first it adds nothing."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.steer = nn.Linear(width, 2 * channels)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        side = math.isqrt(told.shape[1])  # told (B, N, D), or (B, 1, D) for the whole picture
        steer = self.steer(told).transpose(1, 2).unflatten(2, (side, side))  # (B, 2C, n, n)
        scale, shift = F.interpolate(steer, x.shape[2:]).chunk(2, 1)
        return x + self.conv2(F.silu(self.conv1(F.silu(x)) * (1 + scale) + shift))


class LayoutDiT(nn.Module):
    """velocity = model(x_t, t, tokens): x_t (B, C, S, S), t (B,) in [0, 1], tokens (B, T) -> (B, C, S, S)."""

    def __init__(self, config: LayoutDiTConfig | None = None):
        super().__init__()
        self.config = config = config or LayoutDiTConfig()
        c = config.convolutions
        d, values = config.width, (c or config.channels) * config.patch**2
        self.text = LayoutTextEncoder(config.text)
        if c:
            self.conv_in = nn.Conv2d(config.channels, c, 3, padding=1)
            self.conv_out = nn.Conv2d(c, config.channels, 3, padding=1)
            self.before = nn.ModuleList(ConvBlock(c, d) for _ in range(config.conv_depth[0]))
            self.after = nn.ModuleList(ConvBlock(c, d) for _ in range(config.conv_depth[1]))
        self.patch_in = nn.Linear(values, d)
        self.position = nn.Parameter(torch.zeros(config.patches, d))
        self.where = nn.Parameter(torch.zeros(config.patches, d))
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.summary = nn.Linear(config.text.summary, d)
        self.mix = nn.Linear(d, d)
        self.steer = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(LayoutBlock(config) for _ in range(config.depth))
        if config.labels:
            self.label = nn.Linear(d, 1 + sum(config.labels))
            self.believed = nn.Linear(1 + sum(config.labels), 2 * d, bias=False)
        self.norm_out = nn.LayerNorm(d, elementwise_affine=False)
        self.steer_out = nn.Linear(d, 2 * d)
        self.patch_out = nn.Linear(d, values)

    def forward(
        self, x: Tensor, t: Tensor, tokens: Tensor | None = None, text: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Tensor:
        words, seen, summary = self.text(tokens) if text is None else text
        time = self.time(sincos(1000 * t, 256).to(x.dtype))
        told = (time + self.summary(F.layer_norm(summary, summary.shape[1:])))[:, None]  # (B, 1, D), the whole picture
        here = self.mix(F.silu(told * (1 + self.where)))  # (B, N, D), each patch
        steer = self.steer(F.silu(here)).unflatten(2, (6, -1))  # (B, N, 6, D)
        if self.config.convolutions:
            x = self.conv_in(x)  # (B, C', S, S)
            for block in self.before:
                x = block(x, F.silu(told))
        h = self.patch_in(patchify(x, self.config.patch)) + self.position  # (B, N, D)
        for i, block in enumerate(self.blocks):
            h = block(h, words, seen, steer)
            if self.config.labels and i == (len(self.blocks) - 1) // 2:  # in the middle
                said = self.label(F.layer_norm(h, h.shape[2:]))
                one, other = self.believed(beliefs(said, self.config.labels).to(h.dtype)).chunk(2, -1)
                here, told = here + one, told + other
                steer = self.steer(F.silu(here)).unflatten(2, (6, -1))
        shift, scale = self.steer_out(F.silu(here)).chunk(2, -1)
        out = unpatchify(self.patch_out(self.norm_out(h) * (1 + scale) + shift), self.config.patch)
        if self.config.convolutions:
            out = out + x
            for block in self.after:
                out = block(out, F.silu(told))
            out = self.conv_out(F.silu(out))
        return out


def beliefs(said: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Probabilities from the logits (B, N, 1 + sum(labels)): that a patch shows a thing, and that it shows one of each kind."""
    thing = said[..., :1].float().sigmoid()
    kinds = [logits.float().softmax(-1) * thing for logits in said[..., 1:].split(labels, -1)]
    return torch.cat([thing, *kinds], -1)
