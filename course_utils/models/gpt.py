"""A language model: a transformer that says of each token how likely it is after those before it (Radford et al. 2018, 2019).

Config, parts, model, loss, sampler. A caption is a row of tokens t_1 … t_n; the model reads BEGIN, t_1 … t_n and says at each of
these n + 1 places what comes next: t_1 … t_n, END. So p(caption) = p(t_1 | BEGIN) p(t_2 | BEGIN, t_1) … p(END | BEGIN, t_1 … t_n).

Letters: B rows, T tokens of a row, D width, H heads, hd = D / H, V size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.language.tokenizer import EMPTY, PAD
from course_utils.models.layers import attend, sincos
from course_utils.models.text_encoder import Text

BEGIN, END = EMPTY, PAD  # nothing has been said yet; nothing is said any more


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT. Raises CourseError if the heads do not fit."""

    vocabulary: int = 768
    longest: int = 64  # places that it can read, BEGIN included
    width: int = 128
    depth: int = 4
    heads: int = 4
    positions: Literal["rotary", "learned", "sinusoidal", "none"] = "rotary"

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads) or self.positions not in ("rotary", "learned", "sinusoidal", "none"):
            raise CourseError(
                "GPTConfig needs a width that its heads can share in pairs of numbers, and positions rotary, learned, sinusoidal "
                f"or none; it got {self.width}, {self.heads} and {self.positions!r}."
            )


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Turns x (..., T, hd) by angles that grow with positions (T,): number i and number i + hd / 2 are a pair in a plane.

    The product of a query at m and a key at n then depends on m - n alone (RoPE: Su et al. 2021, equation 16).
    """
    cos, sin = sincos(positions, x.shape[-1]).to(x.dtype).chunk(2, -1)  # each (T, hd / 2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class SelfAttention(nn.Module):
    """Each place looks at the places that `mask` (T, T) allows, in several heads (Vaswani et al. 2017)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads, self.rotary = config.heads, config.positions == "rotary"
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, hd) of x (B, T, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.rotary:
            positions = torch.arange(x.shape[1], device=x.device)
            q, k = rotate(q, positions), rotate(k, positions)
        return q, k, v

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.out(attend(*self.project(x), mask).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Places look at each other, then each is changed alone; both add to what is there (pre-norm)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        d = config.width
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = SelfAttention(config)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU("tanh"), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """logits = model(tokens): (B, T) to (B, T, V), at each place those of the token that comes after it."""

    mask: Tensor
    pos_embed: Tensor | nn.Parameter | None

    def __init__(self, config: GPTConfig | None = None):
        super().__init__()
        self.config = config = config or GPTConfig()
        self.embed = nn.Embedding(config.vocabulary, config.width)  # also the last layer
        if config.positions == "learned":
            self.pos_embed = nn.Parameter(torch.empty(config.longest, config.width))
        else:
            table = sincos(torch.arange(config.longest), config.width) if config.positions == "sinusoidal" else None
            self.register_buffer("pos_embed", table, persistent=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        causal = torch.ones(config.longest, config.longest, dtype=torch.bool).tril()  # row t: what place t may look at
        self.register_buffer("mask", causal, persistent=False)
        for name, p in self.named_parameters():
            if p.ndim > 1:  # as in GPT-2 the more blocks add to the stream, the less each does at first
                added = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(p, std=(config.width * (2 * config.depth if added else 1)) ** -0.5)

    def states(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) to the vectors (B, T, D) from which the next ones are told. CourseError for more than `longest`."""
        n = tokens.shape[1]
        if n > self.config.longest:
            raise CourseError(f"The row has {n} tokens, and this GPT reads {self.config.longest}; shorten it.")
        x = self.embed(tokens)
        if self.pos_embed is not None:
            x = x + self.pos_embed[:n]
        for block in self.blocks:
            x = block(x, self.mask[:n, :n])
        return self.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(self.states(tokens), self.embed.weight)

    def encode(self, tokens: Tensor) -> Text:
        """What a generator hears of captions (B, T), as a `Tokenizer` gives them: a language model as a text encoder.

        A place has read only what stands before it: the vector of a word does not know the words after it.
        """
        context, mask = self.states(begun(tokens))[:, 1:], tokens != PAD
        return Text(context, mask, (context * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def begun(tokens: Tensor) -> Tensor:
    """Captions (B, T) with BEGIN before each, (B, T + 1)."""
    return F.pad(tokens, (1, 0), value=BEGIN)


def surprise(model: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """-log p of each token and of the end, in nats, (B, T + 1), and where there is one: captions (B, T), filled up with PAD."""
    inputs, targets = begun(tokens), F.pad(tokens, (0, 1), value=END)  # at each place what is read, and what comes next
    nats = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten(), reduction="none").view_as(targets)
    there = inputs != PAD  # what comes after a token that is there: the next one, or the first PAD, which is the end
    return nats * there, there


def gpt_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean -log p of a token, in nats: the logarithm of the perplexity. batch: tokens (B, T)."""
    nats, there = surprise(model, batch["tokens"])
    return nats.sum() / there.sum(), {}


def chances(logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Probabilities (..., V) of the next token: softmax(logits / temperature), cut down to its head, and scaled to sum to 1.

    top_k keeps the k most likely tokens (Fan et al. 2018); top_p keeps the fewest, the most likely first, that together have at
    least this probability (nucleus sampling: Holtzman et al. 2020). Raises CourseError for what cannot be.
    """
    if not (temperature > 0 and (top_k is None or top_k >= 1) and 0 < top_p <= 1):
        raise CourseError(
            f"temperature is {temperature}, top_k {top_k}, top_p {top_p}; they must be above 0, 1 or more, and in (0, 1]. "
            "For the likeliest token alone take top_k=1."
        )
    p, order = (logits.float() / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(p.shape[-1], device=p.device)
    before = p.cumsum(-1) - p  # what the likelier ones have together
    p = p.where((before < top_p) & (rank < (top_k or p.shape[-1])), 0)
    return torch.zeros_like(p).scatter(-1, order, p / p.sum(-1, keepdim=True))


@torch.no_grad()
def sample(
    model: GPT,
    start: Tensor,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Tensor:
    """Goes on from `start` (B, T) token by token until all rows have ended or are full: (B, T'), with PAD after the end."""
    tokens = start
    ended = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    while tokens.shape[1] < model.config.longest and not ended.all():
        p = chances(model(tokens)[:, -1], temperature, top_k, top_p)
        following = torch.multinomial(p, 1, generator=generator).squeeze(1).masked_fill(ended, PAD)
        ended = ended | (following == END)
        tokens = torch.cat([tokens, following[:, None]], 1)
    return tokens
