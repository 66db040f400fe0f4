"""Checks of lesson 17: each answers with one text, "right. …", "not done yet. …", or what the slip looks like.

Slips are found by value: the check computes what each common mistake would give and compares it with the answer. Time runs
from t = 0 (noise) to t = 1 (data), x_t = (1 - t) noise + t data, and guidance is v_null + g (v_text - v_null).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

FIT = "Pictures are (B, C, H, W), so what is (B,) needs three more dimensions: t[:, None, None, None]."


def endpoints(answer: Callable[..., Any]) -> str:
    """Whether `answer(x, v, t)` is the pair (noise, data) at the two ends of the line that goes through x with velocity v.

    x and v (B, C, H, W), t (B,) in [0, 1]: noise = x - t v and data = x + (1 - t) v, each (B, C, H, W).
    """
    four = torch.tensor([0.2, 0.9, 0.35, 0.6])
    return (
        _ends(
            answer, four, (3, 5, 4)
        )  # as many columns as pictures: t may then run along the wrong dimension unnoticed
        or _elsewhere(_ends(answer, torch.tensor([0.7]), (2, 3, 5)), "With a batch of one picture")
        or "right. A place and its velocity say where the line comes from and where it leads."
    )


def _ends(answer: Callable[..., Any], t: Tensor, size: tuple[int, ...]) -> str:
    """What to say of the ends found for pictures of this size (C, H, W) at the times t (B,); "" if they are right."""
    x, v = _normal(len(t), *size), _normal(len(t), *size, seed=1)
    got, slip = _call(answer, x.clone(), v.clone(), t.clone(), wanted="the pair noise, data", hint=FIT)
    if slip:
        return slip
    at = t[:, None, None, None]
    noise, data = x - at * v, x + (1 - at) * v
    if isinstance(got, Tensor):
        only = "noise" if _close(got, noise) else "data" if _close(got, data) else ""
        return f"not yet. {f'This is only the {only}; both' if only else 'Both ends'} are asked: return noise, data."
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "not yet. The answer is a pair of tensors: return noise, data."
    if any(end is None or end is ... for end in got):
        return "not done yet. Return both tensors, noise and data, and run this cell again."
    for end, name in zip(got, ("noise", "data"), strict=True):
        if slip := _misshapen(end, x.shape, f"The {name}"):
            return slip
    if _close(got[0], noise) and _close(got[1], data):
        return ""
    wide = f"t runs along the columns of a picture. {FIT[:-1]}"
    pairs = {
        "the two have changed places: the noise comes first": (data, noise),
        "both signs are turned: v points from the noise to the data": (x + at * v, x - (1 - at) * v),
        "t and 1 - t have changed places, as if time ran from data to noise; here t = 0 is the noise": (
            x - (1 - at) * v,
            x + at * v,
        ),
        "the whole v is taken: x has gone the share t of the way, and 1 - t is left": (x - v, x + v),
        wide: (x - t * v, x + (1 - t) * v),
        "all pictures get the t of the first": (x - t[0] * v, x + (1 - t[0]) * v),
    }
    for slip, ends in pairs.items():
        if all(map(_close, got, ends)):
            return f"not yet. It looks as if {slip}."
    in_noise = {
        "the sign is turned: v points away from the noise": x + at * v,
        "1 - t stands where t belongs: the noise is at t = 0": x - (1 - at) * v,
        "the whole v is taken, where the share t of it leads back": x - v,
        "the data is put in its place": data,
        wide: x - t * v,
    }
    in_data = {
        "the sign is turned: v points to the data": x - (1 - at) * v,
        "t stands where 1 - t belongs: the data is at t = 1": x + at * v,
        "the whole v is taken, where the share 1 - t of it is left": x + v,
        "the noise is put in its place": noise,
        wide: x + (1 - t) * v,
    }
    said = []
    for end, name, right, slips in (got[0], "noise", noise, in_noise), (got[1], "data", data, in_data):
        if _close(end, right):
            said.append(f"The {name} is right.")
        else:
            why = next((slip for slip, value in slips.items() if _close(end, value)), None)
            said.append(f"In the {name}, {why or _difference(end, right)}.")
    return f"{'nearly' if any('is right' in part for part in said) else 'not yet'}. {' '.join(said)}"


def guided_velocity(answer: Callable[..., Any]) -> str:
    """Whether `answer(model, x, t, text, null, g)` is v_null + g (v_text - v_null), from one call of the model.

    x (B, C, H, W), t (B,), text and null (B, T) tokens, g a number; `model(x, t, words)` is called once, on 2 B rows.
    The model is a toy: what it says of a row depends on that row's picture, time and words, and on nothing else.
    """
    return (
        _guided(answer, torch.tensor([0.15, 0.8, 0.45]), 3.0)
        or _elsewhere(_guided(answer, torch.tensor([0.6]), 1.5), "With one picture and g = 1.5")
        or "right. With and without the words, in one pass of a doubled batch."
    )


class _Toy:
    """A velocity for each row from that row's picture, time and words alone; it notes the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, words: Tensor) -> Tensor:
        n = len(x)
        if torch.as_tensor(t).shape != (n,) or words.ndim != 2 or len(words) != n:
            raise ValueError(
                f"the model got {n} pictures, t of the shape {tuple(torch.as_tensor(t).shape)} and words of the shape "
                f"{tuple(words.shape)}; each picture needs its t and its row of words: double all three, such as torch.cat([t, t])"
            )
        self.batches.append(n)
        said = (words * torch.arange(1, words.shape[1] + 1)).float().sin().sum(1)[:, None, None, None]  # (B, 1, 1, 1)
        at = t[:, None, None, None]
        return (x + 2 * at * said).tanh() * (1 + at) + said


def _guided(answer: Callable[..., Any], t: Tensor, g: float) -> str:
    """What to say of the guided velocity of pictures at the times t (B,); "" if it is right and took one pass."""
    n, toy = len(t), _Toy()
    x, text, null = _normal(n, 2, 4, 5), _tokens(n, 6), torch.tensor([2, 0, 0, 0, 0, 0]).expand(n, -1)
    hint = "torch.cat and chunk(2) both work along the first dimension."
    got, slip = _call(
        answer, toy, x.clone(), t.clone(), text.clone(), null.clone(), g, wanted="a velocity (B, C, H, W)", hint=hint
    )
    if slip:
        return slip
    batches, twice = list(toy.batches), torch.cat([x, x])
    v_null, v_text = toy(x, t, null), toy(x, t, text)
    if isinstance(got, Tensor) and got.shape == twice.shape:
        return f"not yet. The answer still has the doubled batch, {2 * n} rows for {n} pictures: chunk(2) gives the two halves."
    if isinstance(got, Tensor) and got.ndim == 4 and len(got) == 2 * n:
        return f"not yet. The shape should be {tuple(x.shape)}; yours is {tuple(got.shape)}: the halves lie along the first dimension."
    if slip := _misshapen(got, x.shape, "The velocity"):
        return slip

    def guide(start: Tensor, goal: Tensor, by: float = g) -> Tensor:
        return start + by * (goal - start)

    right = guide(v_null, v_text)
    if _close(got, right):
        if batches == [2 * n]:
            return ""
        called = " + ".join(map(str, batches)) or "no"
        return (
            f"nearly. The numbers are right, but the model was called with {called} rows. One pass is asked, with {2 * n} rows: "
            "torch.cat([x, x]), torch.cat([t, t]) and torch.cat([null, text])."
        )
    crossed = t.repeat_interleave(2)  # the times of a, a, b, b beside the pictures a, b, a, b
    null_first = toy(twice, crossed, torch.cat([null, text])).chunk(2)
    text_first = toy(twice, crossed, torch.cat([text, null])).chunk(2)
    rows = toy(twice, torch.cat([t, t]), torch.cat([null, text]))
    turned = toy(twice, torch.cat([t, t]), torch.cat([text, null]))
    alternate = "every other row is taken where the halves are needed: chunk(2), in the order of torch.cat"
    times = "pictures get each other's t: torch.cat([x, x]) goes with torch.cat([t, t]), not with repeat_interleave"
    slips = [
        (
            "null and text have changed places, in the formula or in the halves: chunk(2) gives them in the order of "
            "torch.cat, and g leads from the null to the text",
            guide(v_text, v_null),
        ),
        ("this is v_text + g (v_text - v_null), where g = 0 is no guidance; ours starts at v_null", guide(v_null, v_text, 1 + g)),
        ("v_null is missing: this is g times v_text", g * v_text),
        ("the difference is missing: g multiplies v_text - v_null, not v_text", v_null + g * v_text),
        ("v_null is not added: g (v_text - v_null) starts from it", g * (v_text - v_null)),
        ("the sign of g is turned: it leads away from the words", guide(v_null, v_text, -g)),
        ("g is not heard: this is v_text", v_text),
        ("g and the words are not heard: this is v_null", v_null),
        ("g is always 3: use the argument", guide(v_null, v_text, 3.0)),
        (times, guide(null_first[0], null_first[1])),
        (times, guide(text_first[1], text_first[0])),
        (alternate, guide(rows[::2], rows[1::2])),
        (alternate, guide(turned[1::2], turned[::2])),
    ]  # fmt: skip
    for slip, value in slips:
        if _close(got, value):
            return f"not yet. It looks as if {slip}."
    if not batches:
        return "not yet. The model was not called: it gives both velocities, model(x, t, words)."
    return f"not yet. With g = {g:g}, {_difference(got, right)}."


def attention_map(answer: Callable[..., Any]) -> str:
    """Whether `answer(q, k, mask)` is softmax(q kᵀ / √d) over the words, with exactly 0 for words that may not be looked at.

    q (B, H, N, d) of N places, k (B, H, T, d) of T words, mask (B, 1, 1, S) bool; the weights are (B, H, N, T).
    """
    q, k = _normal(2, 3, 5, 6), _normal(2, 3, 4, 6, seed=1)
    mask = torch.tensor([[True, True, True, False], [True, False, True, False]])[:, None, None]
    hint = "q @ k.mT is (B, H, N, T), and mask (B, 1, 1, S) fits it as it is."
    got, slip = _call(answer, q.clone(), k.clone(), mask.clone(), wanted="weights (B, H, N, T)", hint=hint)
    if slip:
        return slip
    heads, d, raw = q.shape[1], q.shape[3], q @ k.mT  # raw (B, H, N, T)
    if isinstance(got, Tensor) and got.shape == raw.mT.shape:
        return f"not yet. Places and words have changed places: the shape should be {tuple(raw.shape)}, from q @ k.mT."
    if slip := _misshapen(got, raw.shape, "The map of weights"):
        return slip

    def masked(scores: Tensor, keep: Tensor = mask) -> Tensor:
        return scores.masked_fill(~keep, -math.inf).softmax(-1)

    right, may = masked(raw / math.sqrt(d)), mask.expand_as(raw)
    if _close(got, right):
        if (got[~may] != 0).any():
            return f"nearly. Hidden words still get weights up to {got[~may].abs().max():.1g}; exactly 0 comes from a score of -inf."
        return _other_maps(answer)
    scales = {
        "": 1 / math.sqrt(d),
        "1/√d is missing": 1.0,
        "the scores are divided by d, where √d is needed": 1 / d,
        "the scores are multiplied by √d, where they should be divided by it": math.sqrt(d),
        "√d counts the numbers of all heads; d is the size of one head": 1 / math.sqrt(heads * d),
    }
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "": masked,
        "the mask is forgotten": lambda scores: scores.softmax(-1),
        "the mask comes after the softmax, so that rows no longer sum to 1: fill the scores before it": lambda scores: (
            scores.softmax(-1) * mask
        ),
        "the mask is inverted: mask is True where a word may be looked at": lambda scores: masked(scores, ~mask),
        "hidden scores are set to 0, and exp(0) is 1: they need -inf": lambda scores: (scores * mask).softmax(-1),
        "mask is added to the scores as 0 or 1: fill with -inf where it is False": lambda scores: (
            scores + mask
        ).softmax(-1),
        "the exponentials are not divided by their sum over the words": lambda scores: scores.exp() * mask,
    }
    over: dict[str, Callable[[Tensor], Tensor]] = {  # what these give for hidden words depends on the way of masking
        "the softmax runs over the places: each place shares its attention among the words, dim=-1": lambda scores: (
            scores.softmax(-2)
        ),
        "the softmax runs over the heads; it belongs to the words, dim=-1": lambda scores: scores.softmax(1),
        "these are scores: the softmax is missing": lambda scores: scores,
    }
    for (scale, factor), (way, weights) in product(scales.items(), over.items()):
        if _close(got[may], weights(raw * factor)[may]):
            return f"not yet. It looks as if {'; and '.join(filter(None, (way, scale)))}."
    if got.isnan().any():
        return (
            "not yet. Some weights are nan: 0 times -inf, or a row with nothing to look at. "
            "Use masked_fill(~mask, -inf) on the scores, then the softmax over the words."
        )
    if _close(got, masked(raw) / math.sqrt(d)):
        return "not yet. It looks as if √d divides the weights: it must divide the scores, before the softmax."
    for (scale, factor), (way, weights) in product(scales.items(), ways.items()):
        if _close(got, weights(raw * factor)):
            return f"not yet. It looks as if {'; and '.join(filter(None, (way, scale)))}."
    if not torch.allclose(got.double().sum(-1), torch.ones(raw.shape[:-1]).double(), atol=1e-4):
        return (
            f"not yet. The weights of each place should sum to 1; those of the first sum to {got[0, 0, 0].sum():.4f}."
        )
    return f"not yet. Of the weights, {_difference(got, right)}."


def _other_maps(answer: Callable[..., Any]) -> str:
    """What to say of a map that is right once: other sizes follow, and scores that are too large for exp()."""
    k, mask = _normal(1, 2, 7, 8, seed=1), torch.tensor([True] * 5 + [False] * 2)[None, None, None]
    for size in (1, 300):
        q = size * _normal(1, 2, 4, 8)
        got, slip = _call(answer, q.clone(), k.clone(), mask.clone(), wanted="weights (B, H, N, T)")
        right = (q @ k.mT / math.sqrt(8)).masked_fill(~mask, -math.inf).softmax(-1)
        if slip := slip or _misshapen(got, right.shape, "The map of weights"):
            return _elsewhere(slip, "With one picture, 2 heads, 4 places, 7 words and d = 8")
        if not _close(got, right, 1e-3) and size == 1:
            return (
                "nearly. With other sizes, d = 8 and 7 words, the weights are wrong: take the sizes from the tensors."
            )
        if not _close(got, right, 1e-3):
            return (
                "nearly. With scores in the hundreds the weights are wrong: exp() is too large there, or nothing is left to "
                "divide by. Fill the scores with -inf, and use torch.softmax, which takes the largest of each row out first."
            )
    return "right. Each place shares a weight of 1 among the words that it may see."


def interval_guidance(answer: Callable[..., Any]) -> str:
    """Whether `answer(v_null, v_text, t, g, low, high)` guides by g where low <= t < high, and gives v_text elsewhere.

    v_null and v_text (B, C, H, W), t (B,): each picture has its own time. A sampler starts at t = 0, so `low` itself belongs to the interval.
    """
    five = torch.tensor([0.1, 0.3, 0.5, 0.9, 0.7])
    edges = torch.tensor([0.25, 0.625, 0.5, 0.125, 0.875, 0.3125])  # sums of powers of two: equal means equal
    return (
        _within(answer, five, (2, 3, 5), 3.0, 0.2, 0.6)  # as many columns as pictures, as in `endpoints`
        or _elsewhere(_within(answer, torch.tensor([0.8, 0.5, 0.95]), (2, 3, 4), 1.5, 0.7, 0.9), "With g = 1.5")
        or _elsewhere(_within(answer, torch.tensor([0.8]), (2, 3, 4), 1.5, 0.7, 0.9), "With a batch of one picture")
        or _elsewhere(_within(answer, edges, (2, 3, 4), 2.0, 0.25, 0.625), "At t = low and at t = high")
        or "right. Guided inside the interval, the model as it is outside; there one pass would do."
    )


def _within(answer: Callable[..., Any], t: Tensor, size: tuple[int, ...], g: float, low: float, high: float) -> str:
    """What to say of velocities of this size (C, H, W) at the times t (B,); "" if they are right."""
    v_null, v_text = _normal(len(t), *size), _normal(len(t), *size, seed=1)
    got, slip = _call(
        answer, v_null.clone(), v_text.clone(), t.clone(), g, low, high, wanted="a velocity (B, C, H, W)", hint=FIT
    )
    if slip:
        return slip
    if slip := _misshapen(got, v_text.shape, "The velocity"):
        return slip
    inside = (low <= t) & (t < high)  # (B,)
    guided = v_null + g * (v_text - v_null)
    right = torch.where(inside[:, None, None, None], guided, v_text)
    if _close(got, right):
        return ""
    if len(t) == size[-1] and _close(got, torch.where(inside, guided, v_text)):
        return f"not yet. It looks as if the decision runs along the columns of a picture. {FIT}"
    when = {
        "": inside,
        "the interval is inverted: g belongs between low and high": ~inside,
        "every picture is guided by g: either the interval is not heard, or one decision is made for the whole batch, and each "
        "picture has its own t": torch.ones_like(inside),
        "no picture is guided by g: either the interval is not heard, or one decision is made for the whole batch, and each "
        "picture has its own t": torch.zeros_like(inside),
        "low is not heard": t < high,
        "high is not heard": t >= low,
        "time runs backwards: t is 0 at the noise": (low <= 1 - t) & (1 - t < high),
    }
    inner = {
        "": guided,
        "null and text have changed places inside the interval": v_text + g * (v_null - v_text),
        "inside the interval g is added to v_text; ours starts at v_null": v_text + g * (v_text - v_null),
        "inside the interval v_null is missing": g * v_text,
        "inside the interval v_null is not added": g * (v_text - v_null),
    }
    outer = {
        "": v_text,
        "outside the interval it is v_null (g = 0), which is deaf to the words: no guidance is g = 1, v_text": v_null,
        "outside the interval it is 0: the picture stands still there, where v_text should lead it on": torch.zeros_like(v_text),
    }  # fmt: skip
    for (a, rows), (b, one), (c, other) in product(when.items(), inner.items(), outer.items()):
        if _close(got, torch.where(rows[:, None, None, None], one, other)):
            return f"not yet. It looks as if {'; and '.join(filter(None, (a, b, c)))}."
    wrong = next(i for i in range(len(t)) if not _close(got[i], right[i]))
    side = "inside" if inside[wrong] else "outside"
    return f"not yet. The picture at t = {t[wrong]:g}, {side} the interval from {low:g} to {high:g}, is wrong."


def dropped(answer: Callable[..., Any]) -> str:
    """Clinic 1: whether `answer(words, null, share, generator)` replaces each row of words by null with this probability.

    words (B, T) and null (T,) are tokens, share is in [0, 1], and the chance comes from `generator`, for each row on its own.
    The answer is a new tensor (B, T); words stays as it was.
    """
    drawn = {}
    for share in (0.5, 0.1):
        found = [_dropped_rows(answer, share, _seeded(seed)) for seed in range(6)]
        if slip := next((slip for _, slip in found if slip), ""):
            return slip
        drawn[share] = torch.stack([rows for rows, _ in found])  # (seeds, B)
    rows = drawn[0.5]
    n, counts = rows.shape[1], rows.sum(1)
    if not rows.any():
        return "not yet. No row is replaced, and half of them should be with share 0.5."
    if rows.all():
        return "not yet. Every row is replaced, and half of them should be with share 0.5."
    if ((counts == 0) | (counts == n)).all():
        return "not yet. All rows are replaced or none: one chance for the whole batch. Each row needs its own."
    if (rows[:, :-1].int() >= rows[:, 1:].int()).all():
        return "not yet. It is always the first rows that are replaced: each row should have the same chance."
    if (rows[:, :-1].int() <= rows[:, 1:].int()).all():
        return "not yet. It is always the last rows that are replaced: each row should have the same chance."
    for share in (0.1, 0.5):
        rate = drawn[share].double().mean().item()
        if abs(rate - (1 - share)) < 0.02 < abs(rate - share):
            return f"not yet. With share {share} it replaces {rate:.0%}: the share is kept, where it should be dropped."
        if abs(rate - share) >= 0.02:
            return f"not yet. With share {share} it replaces {rate:.1%} of the rows."
    if (rows == rows[0]).all():
        return "not yet. Generators with different seeds give the same rows: let `generator` draw them."
    generator = _seeded(0)
    first, second = (_dropped_rows(answer, 0.5, generator)[0] for _ in range(2))
    if not torch.equal(first, rows[0]):
        return (
            "not yet. Two generators with the same seed give different rows, so nobody can repeat this run: "
            "hand yours on, torch.rand(..., generator=generator)."
        )
    if torch.equal(first, second):
        return "not yet. Two calls with one generator give the same rows: draw from it, do not start it anew."
    if (counts == counts[0]).all():
        return f"nearly. Of {n} rows it is exactly {counts[0]} each time: let each row have its own chance, torch.rand(len(words), 1)."
    for share, wanted in ((0.0, 0), (1.0, n)):
        some, slip = _dropped_rows(answer, share, _seeded(0))
        if slip or some.sum() != wanted:
            return slip or f"nearly. With share {share:g} it replaces {some.sum()} of {n} rows; it should be {wanted}."
    return "right. With share 0.1, about one caption in ten teaches the model to draw without words."


def _dropped_rows(answer: Callable[..., Any], share: float, generator: torch.Generator) -> tuple[Tensor, str]:
    """Which of 4000 rows were replaced, (B,) bool, and "" or what is wrong with the answer."""
    words, null, nothing = _tokens(4000, 6), torch.tensor([3, 7, 1, 5, 2, 4]), torch.zeros(0)
    given, given_null = words.clone(), null.clone()
    hint = "One chance for each row has the shape (B, 1): torch.rand(len(words), 1, ...)."
    got, slip = _call(answer, given, given_null, share, generator, wanted="new words (B, T)", hint=hint)
    if slip:
        return nothing, slip
    if not torch.equal(given, words) or not torch.equal(given_null, null):
        return nothing, (
            "not yet. It changes its input in place, and the data set would lose its captions for good: "
            "use torch.where, or words.clone() first."
        )
    if slip := _misshapen(got, words.shape, "The new words"):
        return nothing, slip
    if got.dtype != words.dtype:
        return nothing, f"not yet. Tokens are {words.dtype}, as in words; yours are {got.dtype}."
    replaced, kept = got == null, got == words  # (B, T)
    whole, odd = replaced.all(1), ~(replaced | kept).all(1)
    if odd.any():
        row = int(odd.nonzero()[0])
        return nothing, (
            f"not yet. Each row is either as it was or null, {null.tolist()}; "
            f"row {row}, {words[row].tolist()}, becomes {got[row].tolist()}."
        )
    if not (whole | kept.all(1)).all():
        return nothing, (
            "not yet. Single tokens are replaced, and captions with holes are left: one chance for each row, "
            "of the shape (B, 1), replaces it whole or not at all."
        )
    return whole, ""


def paper_weight(answer: Any) -> str:
    """Clinic 2: which w in (1 + w) v_text - w v_null, as Ho and Salimans (2022) write it, is our g = 3."""
    if answer is None or answer is ...:
        return "not done yet. Write a number, and run this cell again."
    try:
        w = float(answer)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return f"not yet. The weight w is one number; this is {answer!r}."
    if not math.isfinite(w):
        return f"not yet. The weight w is a finite number; this is {w:g}."
    slips = {
        "it is taken to be the same number; but w = 0 is no guidance there, and g = 1 is none here": 3.0,
        "1 is added, where it should be taken away": 4.0,
        "the sign is turned: both g and w grow with the guidance": -2.0,
        "one is taken to be the inverse of the other; they differ by a sum, not by a factor": 1 / 3,
        "g is halved; the two differ by a sum, not by a factor": 1.5,
        "guidance is off: w = 0 is the model as it is, our g = 1": 0.0,
    }
    if math.isclose(w, 2, rel_tol=1e-6):
        return "right. v_text (1 + w) - w v_null is v_null + (1 + w) (v_text - v_null), so g = 1 + w."
    for slip, value in slips.items():
        if abs(w - value) < 0.005:
            return f"not yet. It looks as if {slip}."
    return f"not yet. With w = {w:g} the paper has {1 + w:g} v_text and {-w:g} v_null; what does g = 3 have of each?"


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of this shape, always the same."""
    return torch.randn(shape, generator=_seeded(170 + seed))


def _tokens(n: int, length: int) -> Tensor:
    """Captions (n, length): tokens from 10 to 59, so that none is a token of the null."""
    return torch.randint(10, 60, (n, length), generator=_seeded(17))


def _close(got: Tensor, wanted: Tensor, slack: float = 1e-5) -> bool:
    return got.shape == wanted.shape and torch.allclose(got.double(), wanted.double(), rtol=1e-4, atol=slack)


def _difference(got: Tensor, right: Tensor) -> str:
    """Where an answer of the right shape first differs."""
    where = tuple((~torch.isclose(got.double(), right.double(), rtol=1e-4, atol=1e-5)).nonzero()[0].tolist())
    return f"the number at {list(where)} should be {right[where].item():.4f}; yours is {got[where].item():.4f}"


def _call(answer: Callable[..., Any], *arguments: Any, wanted: str, hint: str = "") -> tuple[Any, str]:
    """What a function returns, and "" or what is wrong with it; `hint` goes with errors about sizes and shapes."""
    try:
        got = answer(*arguments)
    except Exception as error:
        text = f"not yet. Your function stops with {type(error).__name__}: {error}"
        if "more than one value is ambiguous" in str(error):
            return None, f"{text.rstrip('.')}. An `if` decides once; torch.where decides for each picture."
        sizes = isinstance(error, RuntimeError) and ("size" in str(error).lower() or "shape" in str(error))
        return None, f"{text.rstrip('.')}. {hint}" if sizes and hint else text
    if got is None or got is ...:
        return None, f"not done yet. Return {wanted}, and run this cell again."
    return got, ""


def _misshapen(got: Any, shape: tuple[int, ...], what: str) -> str:
    """What to say if this is no tensor of numbers of this shape; "" if it is."""
    if not isinstance(got, Tensor):
        return f"not yet. {what} should be a tensor of the shape {tuple(shape)}; yours is {type(got).__name__}."
    if got.shape != shape:
        return f"not yet. {what} should have the shape {tuple(shape)}; yours has {tuple(got.shape)}."
    return ""


def _elsewhere(said: str, where: str) -> str:
    """The same text about a second trial, after a first that was right; "" stays ""."""
    what = said.partition(". ")[2]
    return said and f"nearly. {where}: {what[0].lower()}{what[1:]}"
