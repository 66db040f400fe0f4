"""The checks of lesson 11: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check

BEGIN, PAD = 1, 0  # the page's own: language/tokenizer.py


def some(*shape: int, seed: int = 0) -> Tensor:
    """Numbers to try an answer with: float32, as on the page, so that an answer may mix in its own tensors."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------ exercise 1: perplexity

LOG_P = -some(3, 5).abs() - 0.1
THERE = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.bool)


def of_rows(log_p: Tensor, there: Tensor) -> Tensor:
    """Each row's own perplexity."""
    return (-(log_p * there).sum(1) / there.sum(1)).exp()


def perplexity(mean: Callable[..., Any], power: Callable = torch.exp) -> Callable[..., Any]:
    """Perplexities per token and per character from a mean of -log p over so many of them, or with another step changed."""
    return lambda log_p, there, characters: (
        power(mean(log_p, there, there.sum())),
        power(mean(log_p, there, characters)),
    )


def per(p: Tensor, t: Tensor, n: Any) -> Tensor:
    """-log p of what is there, per so many."""
    return -(p * t).sum() / n


perplexities = Check(
    perplexity(per),
    [(LOG_P, THERE, 31), (3 * LOG_P[:2, :4], THERE[1:, :4], 9), (LOG_P[:1, :3] / 2, THERE[:1, :3], 14)],
    {
        "exp is missing: this is the mean surprise in nats": perplexity(per, lambda x: x),
        "the sign is turned: log p is negative, and a perplexity at least 1": perplexity(per, lambda x: (-x).exp()),
        "2 is raised to nats: with the natural logarithm it is exp": perplexity(per, lambda x: 2**x),
        "padding counts among the tokens: divide by there.sum()": lambda p, t, c: (per(p, t, t.numel()).exp(), per(p, t, c).exp()),
        "padding is summed and counted: take only what is there": lambda p, t, c: ((-p.mean()).exp(), (-p.sum() / c).exp()),
        "padding is summed, too: take only what is there": perplexity(lambda p, t, n: -p.sum() / n),
        "each row has its own perplexity, and their mean is taken: sum over all tokens first, then divide": lambda p, t, c: (of_rows(p, t).mean(), per(p, t, c).exp()),
        "the rows' mean surprises are averaged: long captions have more tokens, and count for more": lambda p, t, c: ((-(p * t).sum(1) / t.sum(1)).mean().exp(), per(p, t, c).exp()),
        "the two are exchanged: per token comes first": lambda p, t, c: perplexity(per)(p, t, c)[::-1],
        "the perplexity per token is divided by the characters of a token; its *logarithm* must be": lambda p, t, c: (per(p, t, t.sum()).exp(), per(p, t, t.sum()).exp() * t.sum() / c),
        "both are per token: the second divides the same sum by the characters": lambda p, t, c: (per(p, t, t.sum()).exp(),) * 2,
        "exp comes before the mean: the mean surprise first, then exp": lambda p, t, c: ((-p[t]).exp().mean(), (-p[t]).exp().sum() / c),
        "the sum is divided by the number of captions: divide by the tokens that are there": lambda p, t, c: (per(p, t, len(p)).exp(), per(p, t, c).exp()),
        "the whole sum is in the exponent, and divided afterwards: divide first, then exp": lambda p, t, c: ((-p[t].sum()).exp() / t.sum(), (-p[t].sum()).exp() / c),
        "for the characters the mean is divided once more: the *sum* is divided by them": lambda p, t, c: (per(p, t, t.sum()).exp(), (per(p, t, t.sum()) / c).exp()),
        "padding is taken, and the tokens are left out: there is True at tokens": lambda p, t, c: perplexity(per)(p, ~t, c),
        "the probabilities are averaged, not their logarithms": lambda p, t, c: (1 / p[t].exp().mean(), per(p, t, c).exp()),
    },
    todo="Return a pair of numbers, and run this cell again.",
    right="Per character, models with other tokenizers can be compared, too.",
    hint="log_p and there have the shape (B, T): log_p[there] is a flat row of what counts.",
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2: nucleus


def cut(
    keep: Callable[[Tensor, float], Tensor] = lambda p, top: p.cumsum(-1) - p < top,
    scale: Callable[[Tensor], Tensor] = lambda p: p / p.sum(-1, keepdim=True),
    warm: Callable[[Tensor, float], Tensor] = lambda x, t: x / t,
    back: bool = True,
) -> Callable[..., Any]:
    """Nucleus sampling's probabilities, or with one part of it changed."""

    def answer(logits: Tensor, temperature: float, top_p: float) -> Tensor:
        p, order = warm(logits, temperature).softmax(-1).sort(-1, descending=True)
        p = scale(p * keep(p, top_p))
        return torch.zeros_like(p).scatter(-1, order, p) if back else p

    return answer


def risen(logits: Tensor, top_p: float) -> Tensor:
    """The slip that begins with the least likely token."""
    p, order = logits.softmax(-1).sort(-1)
    p = p * (p.cumsum(-1) - p < top_p)
    return torch.zeros_like(p).scatter(-1, order, p / p.sum())


nucleus = Check(
    cut(),
    [(some(7, seed=5), 0.7, 0.8), (3 * some(9, seed=1), 1.6, 0.55), (some(4, seed=2), 1.0, 1.0), (3 * some(5, seed=3), 0.9, 0.2)],
    {
        "nothing is scaled: what is kept must sum to 1": cut(scale=lambda p: p),
        "the token with which the sum reaches top_p is left out: it belongs to the nucleus": cut(keep=lambda p, top: p.cumsum(-1) <= top + 1e-12),
        "the probabilities are still sorted: put each back to its token": cut(back=False),
        "each probability is compared with top_p; it is their sum that is": cut(keep=lambda p, top: p >= top),
        "what is less likely than 1 - top_p is dropped; the nucleus goes by a sum": cut(keep=lambda p, top: p >= 1 - top),
        "the temperature is not heard": cut(warm=lambda x, t: x),
        "the logits are multiplied by the temperature: divide": cut(warm=lambda x, t: x * t),
        "the temperature divides the probabilities; it divides the logits": cut(warm=lambda x, t: x.softmax(-1) / t),
        "the head is chosen before the temperature is heard: divide the logits first": lambda x, t, top: (x / t).masked_fill(cut()(x, 1.0, top) == 0, -math.inf).softmax(-1),
        "the tail is kept, and the nucleus dropped": cut(keep=lambda p, top: p.cumsum(-1) - p >= top),
        "softmax is taken a second time of what is left, which gives the dropped tokens a chance again": cut(scale=lambda p: p.softmax(-1)),
        "one token too many is kept: what stands *before* a token must be below top_p": cut(keep=lambda p, top: (p.cumsum(-1) - 2 * p < top)),
        "nothing is cut off: all tokens keep their probabilities": cut(keep=lambda p, top: torch.ones_like(p)),
        "the least likely come first: sort with descending=True": lambda x, t, top: risen(x / t, top),
        "the places are read, not written: scatter puts each back, p[order] mixes them again": lambda x, t, top: cut(back=False)(x, t, top)[(x / t).argsort(descending=True)],
        "the head ends at 1 - top_p: keep tokens until their sum reaches top_p itself": cut(keep=lambda p, top: p.cumsum(-1) - p < 1 - top),
        "top_p is taken for a share of the vocabulary; it is a sum of probabilities": cut(keep=lambda p, top: torch.arange(len(p)) < top * len(p)),
    },
    todo="Return the probabilities, one for each token, and run this cell again.",
    right="Flat or steep, the head has about the same weight, and another number of tokens.",
    hint="logits (V,): sort gives values and their old places, and scatter puts them back.",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------ exercise 3: RoPE


def turned(
    rate: Callable[[Tensor, int], Tensor] = lambda i, d: 10_000.0 ** (-2 * i / d),
    pair: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: x.chunk(2, -1),
    turn: Callable = lambda a, b, cos, sin: torch.cat([a * cos - b * sin, a * sin + b * cos], -1),
    at: Callable[[Tensor], Tensor] = lambda positions: positions,
) -> Callable[..., Any]:
    """RoPE, or with one part of it changed."""

    def answer(x: Tensor, positions: Tensor) -> Tensor:
        d = x.shape[-1]
        angle = at(positions).to(x.dtype)[:, None] * rate(torch.arange(d // 2, dtype=x.dtype), d)
        return turn(*pair(x), angle.cos(), angle.sin())

    return answer


def interleaved(a: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Neighbours as pairs, put back as neighbours."""
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def neighbours(x: Tensor) -> tuple[Tensor, ...]:
    """Numbers 2i and 2i + 1."""
    return x[..., ::2], x[..., 1::2]


rotated = Check(
    turned(),
    [(some(3, 4), torch.tensor([0, 1, 2])), (some(2, 5, 6, seed=1), torch.tensor([7, 8, 9, 10, 40])), (some(2, 2, seed=2), torch.tensor([3, 1]))],
    {
        "nothing is turned: x comes back as it was": turned(turn=lambda a, b, c, s: torch.cat([a, b], -1)),
        "it turns the other way: the sine has the other sign": turned(turn=lambda a, b, c, s: torch.cat([a * c + b * s, b * c - a * s], -1)),
        "neighbours are the pairs here; the page pairs number i with number i + d/2": turned(pair=neighbours, turn=interleaved),
        "neighbours are the pairs here, put one half behind the other; the page pairs number i with number i + d/2": turned(pair=neighbours),
        "i is counted from 1: the first pair has the rate 1": turned(rate=lambda i, d: 10_000.0 ** (-2 * (i + 1) / d)),
        "the angles are taken for degrees: cos and sin take radians": turned(at=lambda p: torch.deg2rad(p.float())),
        "all pairs turn equally fast: each has its own rate": turned(rate=lambda i, d: torch.ones_like(i)),
        "the exponent is -i/d; it is -2i/d": turned(rate=lambda i, d: 10_000.0 ** (-i / d)),
        "the rates grow with i: the exponent is negative": turned(rate=lambda i, d: 10_000.0 ** (2 * i / d)),
        "the places are counted from 0; use the positions that are given": turned(at=lambda p: torch.arange(len(p))),
        "the places are counted from 1; position 0 is not turned at all": turned(at=lambda p: p + 1),
        "sin and cos are exchanged: at angle 0 nothing may move": turned(turn=lambda a, b, c, s: torch.cat([a * s - b * c, a * c + b * s], -1)),
        "both halves are multiplied by the cosine alone: that is no rotation": turned(turn=lambda a, b, c, s: torch.cat([a * c, b * c], -1)),
        "the turned halves are woven together: number i stays at i, its partner at i + d/2": turned(turn=interleaved),
        "the halves change places: a stays in front": turned(turn=lambda a, b, c, s: torch.cat([a * s + b * c, a * c - b * s], -1)),
        "the second half uses the first after it was turned: keep the old one": turned(turn=lambda a, b, c, s: torch.cat([a * c - b * s, (a * c - b * s) * s + b * c], -1)),
        "the position's code is added; RoPE turns, it adds nothing": turned(turn=lambda a, b, c, s: torch.cat([a + c, b + s], -1)),
    },
    todo="Return a tensor of the shape of x, and run this cell again.",
    right="Lengths stay, and a product of two turned vectors knows only their distance.",
    hint="The angles have the shape (T, d/2): they fit a and b, (..., T, d/2).",
    rtol=1e-5,
)  # fmt: skip


# ---------------------------------------------------------------------------------------- clinic 1: mixing the positions


def causal(
    scale: Callable[[int], float] = math.sqrt,
    mask: Callable[[int], Tensor] = lambda n: torch.ones(n, n).tril().bool(),
    soften: Callable[[Tensor, Tensor], Tensor] = lambda s, m: s.masked_fill(~m, -math.inf).softmax(-1),
    say: Callable[[Tensor, Tensor], Tensor] = lambda v, x: v,
    order: int = 1,
) -> Callable[..., Any]:
    """Causal attention of x (B, T, D) to itself with one head, or with one part of it changed."""

    def answer(x: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor) -> Tensor:
        q, k = (x @ W_Q, x @ W_K)[::order]
        scores = q @ k.mT / scale(q.shape[-1])
        return soften(scores, mask(x.shape[1])) @ say(x @ W_V, x)

    return answer


def matrices(width: int, d: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """W_Q, W_K and W_V, (D, d) each."""
    return tuple(some(width, d, seed=seed + i) for i in range(3))  # type: ignore[return-value]


mixed = Check(
    causal(),
    [(some(2, 4, 3), *matrices(3, 2, 1)), (some(3, 5, 2, seed=4), *matrices(2, 5, 5)), (some(1, 3, 6, seed=8), *matrices(6, 6, 9))],
    {
        "the mask is missing: each place sees the future, and training by such a model is cheating": causal(mask=lambda n: torch.ones(n, n).bool()),
        "the mask is upside down: places look at what comes after them": causal(mask=lambda n: torch.ones(n, n).triu().bool()),
        "no place may look at itself, so the first has nowhere to look: let the diagonal in": causal(mask=lambda n: torch.ones(n, n).tril(-1).bool()),
        "the scores are not divided by √d": causal(scale=lambda d: 1.0),
        "the scores are divided by d; it is √d": causal(scale=float),
        "the scores are divided by √T; queries have d numbers": lambda x, q, k, v: causal(scale=lambda _: math.sqrt(x.shape[1]))(x, q, k, v),
        "what may be seen is masked, and the rest is left: turn the mask round": causal(mask=lambda n: torch.ones(n, n).triu(1).bool()),
        "a mask is multiplied by infinity: 0 times inf is nan; use masked_fill or torch.where": causal(soften=lambda s, m: (s + (~m) * -math.inf).softmax(-1)),
        "the scores are divided by √D; queries have d numbers": lambda x, q, k, v: causal(scale=lambda _: math.sqrt(x.shape[-1]))(x, q, k, v),
        "the mask comes after the softmax, so the weights no longer sum to 1: put -inf into the scores before": causal(soften=lambda s, m: s.softmax(-1) * m),
        "masked scores are 0, and exp(0) is 1: they must be -inf": causal(soften=lambda s, m: (s * m).softmax(-1)),
        "softmax runs over the queries: each row, over its keys, must sum to 1": causal(soften=lambda s, m: s.masked_fill(~m, -math.inf).softmax(-2)),
        "queries and keys are exchanged": causal(order=-1),
        "x itself is mixed: the values are x W_V": causal(say=lambda v, x: x),
        "there is no softmax: weights are positive and sum to 1": causal(soften=lambda s, m: s * m),
        "all earlier places weigh the same; the scores are not heard": causal(soften=lambda s, m: m.to(s) / m.sum(-1, keepdim=True)),
    },
    todo="Return a tensor (B, T, d), and run this cell again.",
    right="Now what a place holds depends on those before it, and on none after it.",
    hint="q @ k.mT is (B, T, T): row t holds what place t thinks of every place.",
    rtol=1e-5,
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- clinic 2: the shift


def loss_of(
    inputs: Callable[[Tensor], Tensor] = lambda t: F.pad(t, (1, 0), value=BEGIN),
    targets: Callable[[Tensor], Tensor] = lambda t: F.pad(t, (0, 1), value=PAD),
    there: Callable[[Tensor, Tensor], Tensor] = lambda read, wanted: read != PAD,
    mean: Callable[[Tensor, Tensor], Any] = lambda nats, there: (nats * there).sum() / there.sum(),
) -> Callable[..., Any]:
    """The loss of a language model, or with one part of it changed."""

    def answer(model: Callable[[Tensor], Tensor], tokens: Tensor) -> Any:
        read, wanted = inputs(tokens), targets(tokens)
        nats = F.cross_entropy(model(read).mT, wanted, reduction="none")
        return mean(nats, there(read, wanted))

    return answer


def reader(vocabulary: int, seed: int) -> Callable[[Tensor], Tensor]:
    """A causal model to try a loss with: its logits (B, T, V) depend on the tokens read so far."""
    table = (2 * some(vocabulary, vocabulary, seed=seed)).requires_grad_()
    return lambda tokens: table[tokens].cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None] ** 0.5


def with_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, or the words "no gradient" where its number has none."""

    def observed(*given: Any) -> Any:
        value = loss(*given)
        if isinstance(value, tuple | list) and len(value) == 1:
            value = value[0]
        number = isinstance(value, float | Tensor | np.ndarray | np.generic)
        return value if not number or getattr(value, "requires_grad", False) else "no gradient"

    return observed


ROWS = torch.tensor([[4, 2, 5, 3], [3, 3, 0, 0], [2, 6, 4, 0]])

shifted_loss = Check(
    loss_of(),
    [(reader(7, 0), ROWS), (reader(9, 1), torch.tensor([[8, 2, 2, 7, 5, 0], [6, 0, 0, 0, 0, 0]])), (reader(5, 2), ROWS[:1].clamp(max=4))],
    {
        "targets are not shifted: the model is asked for the token that it has just read": loss_of(lambda t: t, lambda t: t),
        "targets are not shifted, though BEGIN is there: place t must be asked for token t + 1": loss_of(targets=lambda t: F.pad(t, (1, 0), value=BEGIN)),
        "targets are not shifted, and padding counts: this is still the broken loss": loss_of(lambda t: t, lambda t: t, lambda r, w: torch.ones_like(w)),
        "padding counts: only what comes after a token that is there does": loss_of(there=lambda r, w: torch.ones_like(w)),
        "the end is never learned: the first PAD after a caption is what comes after its last token": loss_of(there=lambda r, w: w != PAD),
        "the first token is never learned: BEGIN goes before each row": loss_of(lambda t: t, lambda t: F.pad(t[:, 1:], (0, 1), value=PAD)),
        "the first token and the end are never learned: BEGIN goes before each row, the end after it": loss_of(lambda t: t[:, :-1], lambda t: t[:, 1:], lambda r, w: w != PAD),
        "the shift goes the wrong way: the model is asked for what came before": loss_of(lambda t: F.pad(t, (0, 1), value=PAD), lambda t: F.pad(t, (1, 0), value=BEGIN)),
        "BEGIN and the end are missing, and padding counts: BEGIN goes before each row, the end after it": loss_of(lambda t: t[:, :-1], lambda t: t[:, 1:], lambda r, w: torch.ones_like(w)),
        "what follows BEGIN does not count: the first token, too, is asked for": loss_of(there=lambda r, w: (r != PAD) & (r != BEGIN)),
        "the row is rolled round, so that a full row ends with BEGIN: its end is PAD": loss_of(targets=lambda t: F.pad(t, (1, 0), value=BEGIN).roll(-1, 1)),
        "softmax is taken before cross_entropy, which has one inside": lambda model, t: loss_of()(lambda read: model(read).softmax(-1), t),
        "the surprises are summed and divided by the captions: divide by the tokens and ends": loss_of(mean=lambda n, t: (n * t).sum() / len(n)),
        "this is the perplexity, exp of the loss": loss_of(mean=lambda n, t: ((n * t).sum() / t.sum()).exp()),
        "the sign is turned: cross_entropy has its minus already": loss_of(mean=lambda n, t: -(n * t).sum() / t.sum()),
        "the surprises are summed: take their mean over the tokens": loss_of(mean=lambda n, t: (n * t).sum()),
        "each caption's mean is taken first: then a token of a short caption counts for more": loss_of(mean=lambda n, t: ((n * t).sum(1) / t.sum(1)).mean()),
        "the masked surprises are averaged over all places: divide by the number that count": loss_of(mean=lambda n, t: (n * t).mean()),
        "no gradient comes through: .item(), .detach(), no_grad and NumPy cut it off": loss_of(mean=lambda n, t: ((n * t).sum() / t.sum()).item()),
        "the row starts with PAD, and the end is never learned: BEGIN comes first, and a PAD is the end": loss_of(lambda t: F.pad(t, (1, 0), value=PAD), there=lambda r, w: w != PAD),
        "the row starts with PAD; the model reads BEGIN first": loss_of(lambda t: F.pad(t, (1, 0), value=PAD), there=lambda r, w: F.pad(r[:, 1:], (1, 0), value=1) != PAD),
    },
    todo="Return one number, the loss, and run this cell again.",
    right="Every token is asked for once, and the end, too; padding never.",
    hint="F.pad(tokens, (1, 0), value=BEGIN) puts BEGIN before each row; cross_entropy wants (B, V, T) and (B, T).",
    observe=with_gradient,
)  # fmt: skip
