"""A transformer that learns to turn noise into pictures, told by words: flow matching in latents (or in pixels).

Config, parts, model, loss. Time runs from t = 0 (noise) to t = 1 (data), on the straight line x_t = (1 - t) noise + t data,
whose velocity is data - noise (Lipman et al. 2023; Liu et al. 2023). The transformer cuts x_t into patches, as DiT does
(Peebles & Xie 2023); time, the text's summary and the place of the patch steer its norms, and every patch looks at every word by cross attention.
Around it stand a few convolutions: they need not learn for each place anew what a star looks like, and so the model needs
fewer pictures to learn from than without them (`convolutions=0`). In the middle each patch may be asked what it shows (`labels`);
what it believes steers how it is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.language.text_encoder import Attention, TextEncoder, TextEncoderConfig
from course_utils.language.tokenizer import EMPTY, PAD


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the text-to-image model."""

    channels: int = 8
    size: int = 8  # height and width of the latents (or of the picture)
    patch: int = 2
    convolutions: int = 112  # channels of the convolutions around the transformer; 0: none, a plain DiT
    conv_depth: tuple[int, int] = (2, 3)  # their blocks before and after it
    width: int = 160
    depth: int = 5
    heads: int = 5
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    labels: tuple[
        int, ...
    ] = ()  # what each patch is asked in training: how many sizes, fills, ... of the thing that it shows
    drop_caption: float = (
        0.1  # share of captions replaced by the empty one, so that guidance has something to guide from
    )

    @property
    def patches(self) -> int:
        return (self.size // self.patch) ** 2


def time_features(t: Tensor, width: int) -> Tensor:
    """Cosines and sines (B, width) of 1000 t at geometrically spaced frequencies, in float32 (Vaswani et al. 2017)."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angle = 1000 * t.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


def positions(side: int, width: int) -> Tensor:
    """Where each of side² patches is, (side², width): half of the numbers speak of the row, half of the column.

    Cosines and sines, as in ViT and DiT (Peebles & Xie 2023); their amplitude of one is as large as what the patches bring. With small
    random numbers in their place, noisy patches drown them, and the model is deaf to places for hundreds of thousands of images.
    """
    angle = math.pi * (torch.arange(side) + 0.5) / side  # (side,)
    waves = angle[:, None] * torch.arange(1, width // 4 + 1) / 2  # from a quarter of a turn across the picture on
    line = torch.cat([waves.cos(), waves.sin()], 1)  # (side, width / 2)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


class Block(nn.Module):
    """Patches look at each other, then at the words, then think alone; shift, scale and gate come from time and text."""

    def __init__(self, config: DiTConfig):
        super().__init__()
        d = config.width
        self.steer = nn.Parameter(torch.zeros(6, d))  # what this block adds to the steering that all blocks share
        self.norm1 = nn.LayerNorm(d, elementwise_affine=False)
        self.attention = Attention(d, config.heads)
        self.norm2 = nn.LayerNorm(d)
        self.cross = Attention(d, config.heads, config.text.width)
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
        for layer in (self.conv2, self.steer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        side = math.isqrt(told.shape[1])  # told (B, N, D), or (B, 1, D) for the whole picture
        steer = self.steer(told).transpose(1, 2).unflatten(2, (side, side))  # (B, 2C, n, n)
        scale, shift = F.interpolate(steer, x.shape[2:]).chunk(2, 1)
        return x + self.conv2(F.silu(self.conv1(F.silu(x)) * (1 + scale) + shift))


class DiT(nn.Module):
    """velocity = model(x_t, t, tokens): x_t (B, C, S, S), t (B,) in [0, 1], tokens (B, T) -> (B, C, S, S)."""

    def __init__(self, config: DiTConfig | None = None):
        super().__init__()
        self.config = config = config or DiTConfig()
        c = config.convolutions
        d, values = config.width, (c or config.channels) * config.patch**2
        self.text = TextEncoder(config.text)
        if c:
            self.conv_in = nn.Conv2d(config.channels, c, 3, padding=1)
            self.conv_out = nn.Conv2d(c, config.channels, 3, padding=1)
            self.before = nn.ModuleList(ConvBlock(c, d) for _ in range(config.conv_depth[0]))
            self.after = nn.ModuleList(ConvBlock(c, d) for _ in range(config.conv_depth[1]))
            nn.init.zeros_(self.conv_out.weight)
            nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.patch_in = nn.Linear(values, d)
        self.position = nn.Parameter(positions(config.size // config.patch, d))
        self.where = nn.Parameter(positions(config.size // config.patch, d))
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.summary = nn.Linear(config.text.summary, d)
        self.mix = nn.Linear(d, d)
        nn.init.normal_(
            self.summary.weight, std=1.7 * config.text.summary**-0.5
        )  # loud: what to draw at a place is a product of
        nn.init.normal_(self.mix.weight, std=1.2 * d**-0.5)  # place and words, and quiet inputs hardly multiply
        self.steer = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        if config.labels:
            self.label = nn.Linear(d, 1 + sum(config.labels))
            self.believed = nn.Linear(1 + sum(config.labels), 2 * d, bias=False)
            nn.init.zeros_(self.believed.weight)
        self.norm_out = nn.LayerNorm(d, elementwise_affine=False)
        self.steer_out = nn.Linear(d, 2 * d)
        self.patch_out = nn.Linear(d, values)
        for block in self.blocks:  # at first every branch that is not gated by `steer` adds nothing
            nn.init.zeros_(block.cross.out.weight)  # type: ignore[union-attr, arg-type]
        for layer in (self.steer, self.steer_out, self.patch_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The caption's vectors, mask and summary; they do not depend on t, so a sampler computes them once."""
        return self.text(tokens)

    def forward(
        self, x: Tensor, t: Tensor, tokens: Tensor | None = None, text: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Tensor:
        return self.velocity_and_labels(x, t, tokens, text)[0]

    def velocity_and_labels(
        self, x: Tensor, t: Tensor, tokens: Tensor | None = None, text: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The velocity, and what each patch says it shows: logits (B, N, 1 + sum of labels), the first for "a thing"; or None."""
        words, seen, summary = self.read(tokens) if text is None else text  # type: ignore[arg-type]
        time = self.time(time_features(t, 256).to(x.dtype))
        told = (time + self.summary(F.layer_norm(summary, summary.shape[1:])))[:, None]  # (B, 1, D), the whole picture
        here = self.mix(F.silu(told * (1 + self.where)))  # (B, N, D), each patch
        steer = self.steer(F.silu(here)).unflatten(2, (6, -1))  # (B, N, 6, D)
        if self.config.convolutions:
            x = self.conv_in(x)  # (B, C', S, S)
            for block in self.before:
                x = block(x, F.silu(told))
        h = self.patch_in(patchify(x, self.config.patch)) + self.position  # (B, N, D)
        said = None
        for i, block in enumerate(self.blocks):
            h = block(h, words, seen, steer)
            if self.config.labels and i == (len(self.blocks) - 1) // 2:  # in the middle
                said = self.label(F.layer_norm(h, h.shape[2:]))
                one, other = self.believed(beliefs(said.detach(), self.config.labels).to(h.dtype)).chunk(2, -1)
                here, told = here + one, told + other
                steer = self.steer(F.silu(here)).unflatten(2, (6, -1))
        shift, scale = self.steer_out(F.silu(here)).chunk(2, -1)
        out = unpatchify(self.patch_out(self.norm_out(h) * (1 + scale) + shift), self.config.patch)
        if self.config.convolutions:
            out = out + x
            for block in self.after:
                out = block(out, F.silu(told))
            out = self.conv_out(F.silu(out))
        return out, said


@torch.no_grad()
def attention_maps(model: DiT, x: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
    """How much each patch looks at each word: weights (depth, B, H, N, S), in each block and head; they sum to 1 over the S words.

    x (B, C, S, S), t (B,), tokens (B, T), as for the model. Of the S = R + T words the first R are the text encoder's registers; words that
    fill up a short row have weight 0.
    """
    found: list[Tensor] = []

    def note(layer: Attention, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        h, words, seen = inputs
        q = layer.q(h).unflatten(-1, (layer.heads, -1)).transpose(1, 2)  # (B, H, N, hd)
        k = layer.kv(words).unflatten(-1, (2, layer.heads, -1))[:, :, 0].transpose(1, 2)  # (B, H, S, hd)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        found.append(scores.masked_fill(~seen, -math.inf).softmax(-1))

    hooks = [block.cross.register_forward_hook(note) for block in model.blocks]  # type: ignore[union-attr]
    try:
        model(x, t, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found)


def beliefs(said: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Probabilities from the logits (B, N, 1 + sum(labels)): that a patch shows a thing, and that it shows one of each kind."""
    thing = said[..., :1].float().sigmoid()
    kinds = [logits.float().softmax(-1) * thing for logits in said[..., 1:].split(labels, -1)]
    return torch.cat([thing, *kinds], -1)


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, S, S) to (B, N, C * patch²): the picture as a row of patches."""
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def unpatchify(x: Tensor, patch: int) -> Tensor:
    """The way back from `patchify`, for square pictures."""
    side = math.isqrt(x.shape[1])
    return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, (side, side)), patch)


def drop_captions(tokens: Tensor, share: float) -> Tensor:
    """Replaces this share of the captions (B, T) by the empty one."""
    empty = torch.full_like(tokens, PAD)
    empty[:, 0] = EMPTY
    return torch.where(torch.rand(len(tokens), 1, device=tokens.device) < share, empty, tokens)


def flow_loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of the velocity at random times, E |v(x_t, t, text) - (data - noise)|² per number, and LABEL_SHARE of `label_loss`.

    batch: data (B, C, S, S) of about unit variance; tokens (B, T); where the model has labels, `things` (B, N, labels).
    t is logit-normal (Esser et al. 2024, section 3.1) and leans towards the noise, where a picture decides how many objects it
    has and where they are: with t centred on one half, a model that could finish a picture from t = 0.6 still began it with too
    many objects.
    """
    data, tokens = batch["data"], batch["tokens"]
    noise = torch.randn_like(data)
    t = (1.2 * torch.randn(len(data), device=data.device) - 0.8).sigmoid()
    at = t[:, None, None, None]
    tokens = drop_captions(tokens, model.config.drop_caption)  # type: ignore[union-attr, arg-type]
    velocity, said = model.velocity_and_labels((1 - at) * noise + at * data, t, tokens)  # type: ignore[operator]
    error = (velocity - (data - noise)).square().mean()
    if said is None or "things" not in batch:  # such as weights from `shapes` that go on in another world
        return error, {}
    asked = label_loss(said, batch["things"], model.config.labels)  # type: ignore[union-attr, arg-type]
    return error + LABEL_SHARE * asked, {"velocity": error.detach(), "labels": asked.detach()}


LABEL_SHARE = 0.1


def label_loss(said: Tensor, things: Tensor, labels: tuple[int, ...]) -> Tensor:
    """How badly patches say what they show: cross-entropies of "a thing" or none, and of its size, fill, colour and shape.

    The squared error hardly changes with the shape of a small thing, so what words say of it is learned last; asked outright,
    patches learn in thousands of images which words speak of them, and what is drawn next to that knowledge follows. (In the
    spirit of Yu et al. 2025, who align a diffusion transformer with features of a pretrained encoder.)

    said: logits (B, N, 1 + sum(labels)); things (B, N, len(labels)): indices, -1 where a patch shows no thing.
    """
    said, shown = said.float(), things[..., 0] >= 0
    loss = F.binary_cross_entropy_with_logits(said[..., 0], shown.float())
    for logits, right in zip(said[..., 1:].split(labels, -1), things.unbind(-1), strict=True):
        loss = loss + F.cross_entropy(
            logits.flatten(0, 1), right.flatten(), ignore_index=-1, reduction="sum"
        ) / shown.sum().clamp_min(1)
    return loss
