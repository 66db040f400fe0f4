"""The checks of lesson 17: for each exercise the right answer, inputs to try, and the slips with what is said of them.

Time runs from t = 0 (noise) to t = 1 (data), x_t = (1 - t) noise + t data, and guidance is v_null + g (v_text - v_null).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.classroom.checks import Check, empty
from course_utils.common import CourseError

FIT = "Pictures are (B, C, H, W), so what is (B,) needs three more dimensions: t[:, None, None, None]."


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of this shape, always the same for a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(170 + seed))


def tokens(n: int, length: int) -> Tensor:
    """Captions (n, length): tokens from 10 to 59, so that none is a token of the null."""
    return torch.randint(10, 60, (n, length), generator=torch.Generator().manual_seed(17))


def high(t: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1)."""
    return t[:, None, None, None]


def guide(v_null: Tensor, v_text: Tensor, g: float) -> Tensor:
    """The guided velocity v_null + g (v_text - v_null)."""
    return v_null + g * (v_text - v_null)


@dataclass
class Toy:
    """A velocity for each row from that row's picture, time and words alone; `rows`: it may be called once, with so many."""

    rows: int | None = None
    calls: int = 0

    def __call__(self, x: Tensor, t: Tensor, words: Tensor) -> Tensor:
        n, self.calls = len(x), self.calls + 1
        if torch.as_tensor(t).shape != (n,) or words.ndim != 2 or len(words) != n:
            raise ValueError(
                f"the model got {n} pictures, t of the shape {tuple(torch.as_tensor(t).shape)} and words of the shape "
                f"{tuple(words.shape)}; each picture needs its t and its row of words: double all three, such as torch.cat([t, t])"
            )
        if self.rows and (self.calls > 1 or n != self.rows):
            raise CourseError(
                f"The numbers are right, but one call of the model is asked, with {self.rows} rows for {self.rows // 2} pictures: "
                "torch.cat([x, x]), torch.cat([t, t]) and torch.cat([null, text])."
            )
        said = high((words * torch.arange(1, words.shape[1] + 1)).float().sin().sum(1))
        return (x + 2 * high(t) * said).tanh() * (1 + high(t)) + said


def guided(
    combine: Callable = guide,
    order: int = 1,
    halves: Callable = lambda v: v.chunk(2),
    double_t: Callable = lambda t: torch.cat([t, t]),
) -> Callable[..., Any]:
    """The right answer, or with one part of it changed; order -1 puts the text before the null."""

    def answer(model: Callable, x: Tensor, t: Tensor, text: Tensor, null: Tensor, g: float) -> Any:
        return combine(*halves(model(torch.cat([x, x]), double_t(t), torch.cat([null, text][::order]))), g)

    return answer


def asked(model: Toy, t: list[float], size: tuple[int, ...], g: float) -> tuple[Any, ...]:
    """The arguments of exercise 1: as many pictures (C, H, W) and captions as times."""
    null = torch.tensor([2, 0, 0, 0, 0, 0]).expand(len(t), -1)
    return model, normal(len(t), *size), torch.tensor(t), tokens(len(t), 6), null, g


guided_velocity = Check(
    guided(),
    [
        asked(Toy(), [0.15, 0.8, 0.45], (2, 4, 5), 3.0),
        asked(Toy(), [0.6], (3, 2, 4), 1.5),
        asked(Toy(), [0.3, 0.7], (2, 4, 5), 0.4),
        asked(Toy(), [0.9, 0.1], (1, 3, 3), -2.0),
        asked(Toy(rows=4), [0.3, 0.7], (2, 4, 5), 2.0),
    ],
    {
        "null and text have changed places, in the formula or in the halves: chunk(2) gives them in the order of torch.cat": guided(order=-1),
        "this is v_text + g (v_text - v_null), where g = 0 is no guidance; ours starts at v_null": guided(lambda null, text, g: text + g * (text - null)),
        "v_null is missing: this is g times v_text": guided(lambda null, text, g: g * text),
        "the difference is missing: g multiplies v_text - v_null, not v_text": guided(lambda null, text, g: null + g * text),
        "v_null is not added: g (v_text - v_null) starts from it": guided(lambda null, text, g: g * (text - null)),
        "the sign of g is turned: it leads away from the words": guided(lambda null, text, g: guide(null, text, -g)),
        "g is not heard: this is v_text": guided(lambda null, text, g: text),
        "g and the words are not heard: this is v_null": guided(lambda null, text, g: null),
        "g is always 3: use the argument": guided(lambda null, text, g: guide(null, text, 3.0)),
        "g below 1 is raised to 1; g = 0 is the model without words": guided(lambda null, text, g: guide(null, text, max(g, 1))),
        "g below 0 is raised to 0; it leads away from the words": guided(lambda null, text, g: guide(null, text, max(g, 0))),
        "pictures get each other's t: torch.cat([x, x]) goes with torch.cat([t, t]), not with repeat_interleave": guided(double_t=lambda t: t.repeat_interleave(2)),
        "every other row is taken where the halves are needed: chunk(2), in the order of torch.cat": guided(halves=lambda v: (v[::2], v[1::2])),
        "the answer still has the doubled batch: chunk(2) gives the two halves": guided(lambda v, g: g * v, halves=lambda v: (v,)),
        "the halves are cut along the channels; they lie along the first dimension": guided(halves=lambda v: v.chunk(2, 1)),
        "the model was not called: it gives both velocities, model(x, t, words)": lambda model, x, *_: 0 * x,
    },
    todo="Return a velocity (B, C, H, W), and run this cell again.",
    right="With and without the words, in one pass of a doubled batch.",
    hint="torch.cat and chunk(2) both work along the first dimension.",
)  # fmt: skip


def hide(scores: Tensor, mask: Tensor, value: float = -math.inf) -> Tensor:
    """Scores with `value` where `mask` is False."""
    return scores.masked_fill(~mask, value)


def renormalised(weights: Tensor) -> Tensor:
    """Weights divided by their sum over the words."""
    return weights / weights.sum(-1, keepdim=True)


def attend(
    weights: Callable = lambda scores, mask: hide(scores, mask).softmax(-1),
    scale: Callable = lambda q: q.shape[-1] ** -0.5,
) -> Callable[..., Any]:
    """The right answer, or with another way from scores and mask to weights, or another scale of the scores."""
    return lambda q, k, mask: weights(q @ k.mT * scale(q), mask)


WAYS: dict[str, Callable] = {
    "the mask is forgotten": lambda s, mask: s.softmax(-1),
    "the mask comes after the softmax, so that rows no longer sum to 1: fill the scores before it": lambda s, mask: s.softmax(-1) * mask,
    "the mask is inverted: mask is True where a word may be looked at": lambda s, mask: hide(s, ~mask).softmax(-1),
    "hidden scores are set to 0, and exp(0) is 1: they need -inf": lambda s, mask: (s * mask).softmax(-1),
    "mask is added to the scores as 0 or 1: fill with -inf where it is False": lambda s, mask: (s + mask).softmax(-1),
    "the exponentials are not divided by their sum over the words": lambda s, mask: s.exp() * mask,
    "the softmax runs over the places: each place shares its attention among the words, dim=-1": lambda s, mask: s.softmax(-2),
    "the softmax runs over the places, dim=-2, and over masked scores: it belongs to the words, dim=-1": lambda s, mask: hide(s, mask).softmax(-2),
    "the softmax runs over the heads; it belongs to the words, dim=-1": lambda s, mask: hide(s, mask).softmax(1),
    "these are masked scores: the softmax is missing": hide,
    "these are scores: mask and softmax are missing": lambda s, mask: s,
}  # fmt: skip

KEPT = torch.tensor([[True, True, True, False], [True, False, True, False]])[:, None, None]  # (B, 1, 1, T)
FIVE = torch.tensor([True] * 5 + [False] * 2)[None, None, None]

attention_map = Check(
    attend(),
    # The last scores are in the hundreds, of both signs: too large for exp().
    [
        (normal(2, 3, 5, 6), normal(2, 3, 4, 6, seed=1), KEPT),
        (normal(1, 2, 4, 8), normal(1, 2, 7, 8, seed=1), FIVE),
        (900 * normal(1, 2, 9, 8, seed=2), normal(1, 2, 7, 8, seed=1), FIVE),
    ],
    {way: attend(weights) for way, weights in WAYS.items()}
    | {f"{way}; and 1/√d is missing": attend(weights, lambda q: 1.0) for way, weights in WAYS.items()}
    | {
        "1/√d is missing": attend(scale=lambda q: 1.0),
        "the scores are divided by d, where √d is needed": attend(scale=lambda q: 1 / q.shape[-1]),
        "the scores are multiplied by √d, where they should be divided by it": attend(scale=lambda q: q.shape[-1] ** 0.5),
        "√d counts the numbers of all heads; d is the size of one head": attend(scale=lambda q: (q.shape[1] * q.shape[-1]) ** -0.5),
        "d is always 6: take it from the shape of q": attend(scale=lambda q: 6**-0.5),
        "√d divides the weights: it must divide the scores, before the softmax": lambda q, k, mask: attend(scale=lambda q: 1.0)(q, k, mask) * q.shape[-1] ** -0.5,
        "places and words have changed places: the shape comes from q @ k.mT": lambda q, k, mask: (k @ q.mT / q.shape[-1] ** 0.5).softmax(-1),
        "0 times -inf is taken, which is nan: use masked_fill(~mask, -inf) on the scores": attend(lambda s, mask: (s + (~mask).float() * -math.inf).softmax(-1)),
        "hidden words still get a weight where all scores are low: exactly 0 comes from a score of -inf": attend(lambda s, mask: hide(s, mask, -20).softmax(-1)),
        "exp() is too large for scores in the hundreds: torch.softmax takes the largest out first": attend(lambda s, mask: renormalised(s.exp() * mask)),
        "the mask comes after the softmax, and where a hidden word took all the weight, nothing is left to divide by": attend(lambda s, mask: renormalised(s.softmax(-1) * mask)),
    },
    todo="Return weights (B, H, N, T), and run this cell again.",
    right="Each place shares a weight of 1 among the words that it may see.",
    hint="q @ k.mT is (B, H, N, T), and mask (B, 1, 1, T) fits it as it is.",
    atol=1e-3,
)  # fmt: skip


def window(
    inside: Callable = lambda t, low, high: (low <= t) & (t < high),
    inner: Callable = guide,
    outer: Callable = lambda null, text: text,
    fit: Callable = high,
) -> Callable[..., Any]:
    """The right answer, or with one part of it changed."""

    def answer(v_null: Tensor, v_text: Tensor, t: Tensor, g: float, low: float, high: float) -> Any:
        return torch.where(fit(inside(t, low, high)), inner(v_null, v_text, g), outer(v_null, v_text))

    return answer


def moving(t: list[float], size: tuple[int, ...], g: float, low: float, high: float) -> tuple[Any, ...]:
    """The arguments of exercise 3: velocities of as many pictures (C, H, W) as times."""
    return normal(len(t), *size), normal(len(t), *size, seed=1), torch.tensor(t), g, low, high


def with_if(v_null: Tensor, v_text: Tensor, t: Tensor, g: float, low: float, high: float) -> Tensor:
    """Guidance in an interval with one decision for the whole batch, which PyTorch refuses."""
    return guide(v_null, v_text, g) if low <= t < high else v_text


interval_guidance = Check(
    window(),
    # A sampler starts at t = 0, so `low` itself belongs to the interval; sums of powers of two are exact.
    [
        moving([0.1, 0.3, 0.5, 0.9, 0.7], (2, 3, 5), 3.0, 0.2, 0.6),
        moving([0.8, 0.5, 0.95], (2, 3, 4), -1.5, 0.7, 0.9),
        moving([0.8], (2, 3, 4), 0.5, 0.7, 0.9),
        moving([0.25, 0.625, 0.5, 0.125, 0.875, 0.3125], (2, 3, 4), 2.0, 0.25, 0.625),
    ],
    {
        "the interval is inverted: g belongs between low and high": window(lambda t, low, high: (t < low) | (t >= high)),
        "every picture is guided by g: either the interval is not heard, or one decision is made for the whole batch": window(lambda t, low, high: t >= 0),
        "no picture is guided by g: either the interval is not heard, or one decision is made for the whole batch": lambda null, text, *_: text,
        "an `if` decides once for the whole batch; torch.where decides for each picture": with_if,
        f"the decision runs along the columns of a picture. {FIT[:-1]}": window(fit=lambda rows: rows),
        "low is not heard": window(lambda t, low, high: t < high),
        "high is not heard": window(lambda t, low, high: t >= low),
        "t = low is left out; it belongs to the interval": window(lambda t, low, high: (low < t) & (t < high)),
        "t = high is taken in; it lies outside": window(lambda t, low, high: (low <= t) & (t <= high)),
        "time runs backwards: t is 0 at the noise": window(lambda t, low, high: (low <= 1 - t) & (1 - t < high)),
        "null and text have changed places inside the interval": window(inner=lambda null, text, g: guide(text, null, g)),
        "inside the interval g is added to v_text; ours starts at v_null": window(inner=lambda null, text, g: text + g * (text - null)),
        "inside the interval v_null is missing": window(inner=lambda null, text, g: g * text),
        "inside the interval v_null is not added": window(inner=lambda null, text, g: g * (text - null)),
        "outside the interval it is v_null (g = 0), which is deaf to the words: no guidance is g = 1, v_text": window(outer=lambda null, text: null),
        "outside the interval it is 0: the picture stands still there, where v_text should lead it on": window(outer=lambda null, text: 0 * text),
    },
    todo="Return a velocity (B, C, H, W), and run this cell again.",
    right="Guided inside the interval, the model as it is outside; there one pass would do.",
    hint=FIT,
)  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    """A generator that starts at `seed`."""
    return torch.Generator().manual_seed(seed)


def fate(answer: Callable[..., Any]) -> Callable[..., Any]:
    """What becomes of the rows, in a sentence: the first thing that is wrong, or "As asked."."""

    def observed(words: Tensor, null: Tensor, share: float) -> str | None:
        first, runs = seeded(0), []
        for generator in (first, first, *map(seeded, range(7))):
            given, given_null = words.clone(), null.clone()
            new = answer(given, given_null, share, generator)
            if empty(new):
                return None
            if not (torch.equal(given, words) and torch.equal(given_null, null)):
                return "It changes its input."
            if not isinstance(new, Tensor) or new.shape != words.shape or new.dtype != words.dtype:
                return f"Return tokens like words, a tensor {tuple(words.shape)} of {words.dtype}."
            if not (new == null).logical_or(new == words).all():
                return f"Each row is as it was or null, {null.tolist()}; one of yours is neither."
            runs.append((new == null).all(1))
            if not (runs[-1] | (new == words).all(1)).all():
                return "Single tokens are replaced."
        rows = torch.stack(runs[2:])  # (seeds, B)
        rate, counts, chance = rows.double().mean().item(), rows.sum(1), 0 < share < 1
        steps = rows[:, 1:].int() - rows[:, :-1].int()
        wrong = {
            "No row is replaced.": share > 0 and not rows.any(),
            "Every row is replaced.": share < 1 and rows.all(),
            "Two generators with the same seed give different rows.": not torch.equal(runs[0], runs[2]),
            "All rows are replaced or none.": chance and ((counts == 0) | (counts == len(words))).all(),
            "It is always the rows at one end.": chance and ((steps >= 0).all() or (steps <= 0).all()),
            "Other seeds give the same rows.": chance and (rows == rows[0]).all(),
            "A second call gives the same rows.": chance and torch.equal(runs[0], runs[1]),
            "It is always the same number of rows.": chance and (counts == counts[0]).all(),
            f"With share {share:g} it replaces {rate:.0%} of the rows.": abs(rate - share) > (0.02 if chance else 0),
        }
        return next((what for what, there in wrong.items() if there), "As asked.")

    return observed


def drop(chosen: Callable) -> Callable[..., Any]:
    """Rows or tokens where `chosen(n, share, generator)` is True become null."""
    return lambda words, null, share, generator: torch.where(chosen(len(words), share, generator), null, words)


def in_place(words: Tensor, null: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replaces rows, each by its own chance, in `words` itself."""
    words[torch.rand(len(words), generator=generator) < share] = null
    return words


def exactly(words: Tensor, null: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replaces rows by chance, but always the same number of them."""
    rows = torch.randperm(len(words), generator=generator)[: round(share * len(words))]
    return words.index_put((rows,), null)


dropped = Check(
    drop(lambda n, share, generator: torch.rand(n, 1, generator=generator) < share),
    [
        (tokens(4000, 6), torch.tensor([3, 7, 1, 5, 2, 4]), 0.5),
        (tokens(4500, 3), torch.tensor([2, 0, 0]), 0.1),
        (tokens(50, 3), torch.tensor([2, 0, 0]), 0.0),
        (tokens(50, 3), torch.tensor([2, 0, 0]), 1.0),
    ],
    {
        "it changes its input in place, and the data set would lose its captions for good: use torch.where, or words.clone()": in_place,
        "single tokens are replaced, and captions with holes are left: one chance for each row, of the shape (B, 1)": (
            lambda words, null, share, generator: torch.where(torch.rand(words.shape, generator=generator) < share, null, words)
        ),
        "all rows are replaced or none: one chance for the whole batch. Each row needs its own": drop(lambda n, share, gen: torch.rand(1, generator=gen) < share),
        "the share is kept, where it should be dropped": drop(lambda n, share, gen: torch.rand(n, 1, generator=gen) > share),
        "the share is always 0.5: use the argument": drop(lambda n, share, gen: torch.rand(n, 1, generator=gen) < 0.5),
        "it is always the first or the last rows that are replaced: each should have the same chance": drop(lambda n, share, gen: torch.arange(n)[:, None] < share * n),
        "generators with different seeds give the same rows: let `generator` draw them": drop(lambda n, share, gen: torch.rand(n, 1, generator=seeded(0)) < share),
        "two generators with the same seed give different rows, so nobody can repeat this run: hand yours on, torch.rand(..., generator=generator)": drop(lambda n, share, gen: torch.rand(n, 1) < share),
        "two calls with one generator give the same rows: draw from it, do not start it anew": drop(lambda n, share, gen: torch.rand(n, 1, generator=seeded(gen.initial_seed())) < share),
        "it is the same number of rows each time: let each row have its own chance, torch.rand(len(words), 1)": exactly,
    },
    todo="Return new words (B, T), and run this cell again.",
    right="With share 0.1, about one caption in ten teaches the model to draw without words.",
    hint="One chance for each row has the shape (B, 1): torch.rand(len(words), 1, ...).",
    otherwise=str,
    observe=fate,
)  # fmt: skip

paper_weight = Check(
    2.0,
    slips={
        "it is taken to be the same number; but w = 0 is no guidance there, and g = 1 is none here": 3.0,
        "1 is added, where it should be taken away": 4.0,
        "the sign is turned: both g and w grow with the guidance": -2.0,
        "one is taken to be the inverse of the other; they differ by a sum, not by a factor": 1 / 3,
        "g is halved; the two differ by a sum, not by a factor": 1.5,
        "guidance is off: w = 0 is the model as it is, our g = 1": 0.0,
    },
    todo="Write a number, and run this cell again.",
    right="v_text (1 + w) - w v_null is v_null + (1 + w) (v_text - v_null), so g = 1 + w.",
    otherwise=lambda w: (
        f"With w = {float(w):g} the paper has {1 + float(w):g} v_text and {-float(w):g} v_null; what does g = 3 have of each?"
    ),
    atol=5e-3,
)
