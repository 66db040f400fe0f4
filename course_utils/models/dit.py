"""A transformer that learns to turn noise into pictures, told by words: flow matching in latents or in pixels.

Config, block, model, loss. Time runs from t = 0 (noise) to t = 1 (data), on the straight line x_t = (1 - t) noise + t data,
whose velocity is data - noise (Lipman et al. 2023; Liu et al. 2023). The block is that of PixArt-α (Chen et al. 2024): the
transformer of DiT (Peebles & Xie 2023) with cross attention to the words, and one modulation shared by all blocks (adaLN-single). As
in Stable Diffusion 3 (Esser et al. 2024) the pooled text joins the time in it. Nothing here knows what the pictures show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.language.tokenizer import EMPTY, PAD
from course_utils.models.layers import Attention, sincos, sincos_2d
from course_utils.models.text_encoder import Text, TextEncoder, TextEncoderConfig


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the text-to-image model."""

    channels: int = 8
    size: int = 8  # height and width of the latents (or of the picture)
    patch: int = 2
    width: int = 160
    depth: int = 6
    heads: int = 5
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    predict: Literal["velocity", "data"] = "velocity"  # what the network's output is; `DiT` always returns a velocity

    @property
    def patches(self) -> int:
        return (self.size // self.patch) ** 2


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},  # 3.6 M weights: what a laptop trains
    "full": {  # 29 M: what a GPU is for
        "width": 384,
        "depth": 10,
        "heads": 6,
        "text": TextEncoderConfig(width=256, depth=6, heads=4),
    },
}


class Block(nn.Module):
    """Patches look at each other, then at the words, then each is changed alone; modulated by `shift`, `scale` and `gate`."""

    def __init__(self, config: DiTConfig):
        super().__init__()
        d = config.width
        self.modulation = nn.Parameter(torch.randn(6, d) / d**0.5)  # what this block adds to the shared modulation
        self.norm1 = nn.LayerNorm(d, elementwise_affine=False)
        self.attention = Attention(d, config.heads)
        self.cross = Attention(d, config.heads, config.text.width)
        self.norm2 = nn.LayerNorm(d, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU("tanh"), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, text: Text, modulation: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.modulation).chunk(6, 1)  # each (B, 1, D)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        x = x + self.cross(x, text.context, text.mask)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """velocity = model(x_t, t, tokens): x_t (B, C, S, S), t (B,) in [0, 1], tokens (B, T) -> (B, C, S, S).

    In a flow map (`models/flow_map.py`) t is (B, K): the time and what else is told beside it.
    """

    pos_embed: Tensor

    def __init__(self, config: DiTConfig | None = None):
        super().__init__()
        self.config = config = config or DiTConfig()
        d, values = config.width, config.channels * config.patch**2
        self.text = TextEncoder(config.text)
        self.patch_in = nn.Linear(values, d)
        self.register_buffer("pos_embed", sincos_2d(config.size // config.patch, d), persistent=False)
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.pooled = nn.Linear(config.text.width, d)
        self.modulation = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(d, elementwise_affine=False)
        self.modulation_out = nn.Linear(d, 2 * d)
        self.patch_out = nn.Linear(d, values)
        for layer in (self.modulation, self.modulation_out, self.patch_out):  # adaLN-zero: at first the velocity is 0
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for block in self.blocks:
            nn.init.zeros_(block.cross.out.weight)  # type: ignore[union-attr, arg-type]

    def forward(self, x: Tensor, t: Tensor, tokens: Tensor | None = None, text: Text | None = None) -> Tensor:
        """`text` is what `self.text` made of the tokens; it does not depend on t, so a sampler computes it once."""
        if text is None:
            text = self.text(tokens)
        cond = F.silu(self.time(sincos(1000 * t, 256).to(x.dtype)) + self.pooled(text.pooled))  # (B, D)
        modulation = self.modulation(cond).unflatten(1, (6, -1))
        h = self.patch_in(patchify(x, self.config.patch)) + self.pos_embed  # (B, N, D)
        for block in self.blocks:
            h = block(h, text, modulation)
        shift, scale = self.modulation_out(cond)[:, None].chunk(2, -1)
        out = unpatchify(self.patch_out(self.norm_out(h) * (1 + scale) + shift), self.config.patch)
        if self.config.predict == "velocity":
            return out
        # (x1 - x_t) / (1 - t); near t = 1 the denominator is held, as Li & He (2025) do
        return (out - x) / (1 - t.view(len(t), -1)[:, :1, None, None]).clamp_min(0.05)


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, S, S) to (B, N, C * patch²): the picture as a row of patches."""
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def unpatchify(x: Tensor, patch: int) -> Tensor:
    """The way back from `patchify`, for square pictures."""
    side = math.isqrt(x.shape[1])
    return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, (side, side)), patch)


def drop_captions(tokens: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Replaces this share of the captions (B, T) by the empty one, so that the model also learns to draw without words.

    Classifier-free guidance starts from there (Ho & Salimans 2022).
    """
    empty = torch.full_like(tokens, PAD)
    empty[:, 0] = EMPTY
    dropped = torch.rand(len(tokens), 1, device=tokens.device, generator=generator) < share
    return torch.where(dropped, empty, tokens)


def flow_loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of the velocity at random times: E |v(x_t, t, text) - (data - noise)|², per number.

    batch: data (B, C, S, S) of about unit variance; tokens (B, T).
    t is logit-normal (Esser et al. 2024, section 3.1) and leans towards the noise, where a picture decides how many objects it
    has and where they are.
    """
    data = batch["data"]
    noise = torch.randn_like(data)
    t = (1.2 * torch.randn(len(data), device=data.device) - 0.8).sigmoid()
    at = t[:, None, None, None]
    velocity = model((1 - at) * noise + at * data, t, batch["tokens"])
    return (velocity - (data - noise)).square().mean(), {}


@torch.no_grad()
def attention_maps(model: DiT, x: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
    """How much each patch looks at each word: weights (depth, B, H, N, T), in each block and head; they sum to 1 over the T words.

    x (B, C, S, S), t (B,), tokens (B, T), as for the model. Words that fill up a short row have weight 0.
    """
    found: list[Tensor] = []

    def note(layer: Attention, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        h, context, mask = inputs
        q, k, _ = layer.project(h, context)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        found.append(scores.masked_fill(~mask[:, None, None], -math.inf).softmax(-1))

    hooks = [block.cross.register_forward_hook(note) for block in model.blocks]  # type: ignore[union-attr]
    try:
        model(x, t, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found)
