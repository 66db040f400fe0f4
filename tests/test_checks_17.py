"""Checks of lesson 17: "right" to the answer, "not done yet" to the stub, and the slip by its name."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from course_utils.classroom import checks_17 as checks


def stub(*_: object) -> None: ...


def dots(*_: object) -> object:
    return ...


def broken(*_: object) -> None:
    raise ZeroDivisionError("division by zero")


def starts_as_it_should(said: str) -> bool:
    return said.startswith(("right. ", "not done yet. ", "not yet. ", "nearly. "))


def high(t: Tensor) -> Tensor:
    """t (B,) as (B, 1, 1, 1)."""
    return t[:, None, None, None]


# ------------------------------------------------------------------------------------------------------ endpoints


def ends(noise: Callable = lambda x, v, t: x - t * v, data: Callable = lambda x, v, t: x + (1 - t) * v) -> Callable:
    """The right answer to exercise 1, or with one end of it changed; each end gets t (B, 1, 1, 1)."""
    return lambda x, v, t: (noise(x, v, high(t)), data(x, v, high(t)))


def raw(fit: Callable) -> Callable:
    """The right formula with t as `fit` shapes it."""
    return lambda x, v, t: (x - fit(t) * v, x + (1 - fit(t)) * v)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ends(), "right. "),
        (lambda x, v, t: list(ends()(x.double(), v, t)), "right. "),
        (raw(lambda t: t.view(-1, 1, 1, 1)), "right. "),
        (lambda x, v, t: (x - high(t) * v, x - high(t) * v + v), "right. "),
        (stub, "not done yet. "),
        (dots, "not done yet. "),
        (lambda x, v, t: (None, None), "not done yet. Return both"),
        (lambda x, v, t: (x - high(t) * v, ...), "not done yet. Return both"),
        (lambda x, v, t: ends()(x, v, t)[::-1], "changed places: the noise comes first"),
        (lambda x, v, t: ends()(x, -v, t), "both signs are turned"),
        (lambda x, v, t: ends()(x, -v, 1 - t), "changed places: the noise comes first"),
        (lambda x, v, t: ends()(x, v, 1 - t)[::-1], "both signs are turned"),
        (lambda x, v, t: ends()(x, v, 1 - t), "t and 1 - t have changed places, as if time ran from data to noise"),
        (lambda x, v, t: (x - v, x + v), "the whole v is taken: x has gone the share t"),
        (raw(lambda t: t), "t runs along the columns of a picture"),
        (raw(lambda t: t), "t[:, None, None, None]"),
        (raw(lambda t: t[:, None]), "stops with RuntimeError"),
        (raw(lambda t: t[:, None]), "needs three more dimensions: t[:, None, None, None]"),
        (raw(lambda t: t[:, None, None]), "t[:, None, None, None]"),
        (raw(lambda t: t[0]), "all pictures get the t of the first"),
        (ends(noise=lambda x, v, t: x + t * v), "nearly. In the noise, the sign is turned"),
        (ends(data=lambda x, v, t: x - (1 - t) * v), "nearly. The noise is right. In the data, the sign is turned"),
        (ends(noise=lambda x, v, t: x - (1 - t) * v), "In the noise, 1 - t stands where t belongs"),
        (ends(data=lambda x, v, t: x + t * v), "In the data, t stands where 1 - t belongs"),
        (ends(noise=lambda x, v, t: x - v), "In the noise, the whole v is taken"),
        (ends(data=lambda x, v, t: x + v), "In the data, the whole v is taken"),
        (ends(noise=lambda x, v, t: x + (1 - t) * v), "In the noise, the data is put in its place. The data is right."),
        (ends(data=lambda x, v, t: x - t * v), "In the data, the noise is put in its place"),
        (lambda x, v, t: (x - t * v, x + (1 - high(t)) * v), "In the noise, t runs along the columns"),
        (lambda x, v, t: (x - high(t) * v, x + (1 - t) * v), "In the data, t runs along the columns"),
        (
            ends(lambda x, v, t: x - v, lambda x, v, t: x - (1 - t) * v),
            "not yet. In the noise, the whole v is taken, where the share t of it leads back. In the data, the sign",
        ),
        (ends(data=lambda x, v, t: 0 * x), "nearly. The noise is right. In the data, the number at [0, 0, 0, 0] should be"),
        (ends(lambda x, v, t: 0 * x, lambda x, v, t: 0 * x), "not yet. In the noise, the number at [0, 0, 0, 0]"),
        (lambda x, v, t: x - high(t) * v, "This is only the noise; both are asked"),
        (lambda x, v, t: x + (1 - high(t)) * v, "This is only the data; both are asked"),
        (lambda x, v, t: x, "not yet. Both ends are asked"),
        (lambda x, v, t: torch.stack(ends()(x, v, t)), "Both ends are asked"),
        (lambda x, v, t: (x, v, t), "a pair of tensors"),
        (lambda x, v, t: 1.0, "a pair of tensors"),
        (lambda x, v, t: (1.0, 2.0), "The noise should be a tensor of the shape (4, 3, 5, 4); yours is float"),
        (lambda x, v, t: (x - high(t) * v, x[0]), "The data should have the shape (4, 3, 5, 4); yours has (3, 5, 4)"),
        (raw(lambda t: t.view(4, 1, 1, 1)), "nearly. With a batch of one picture: your function stops with RuntimeError"),
        (lambda x, v, t: ends()(x, v, torch.tensor([0.2, 0.9, 0.35, 0.6])), "nearly. With a batch of one picture"),
        (broken, "not yet. Your function stops with ZeroDivisionError: division by zero"),
        (lambda x: x, "not yet. Your function stops with TypeError"),
    ],
)  # fmt: skip
def test_endpoints(answer: Callable, words: str) -> None:
    said = checks.endpoints(answer)
    assert words in said and starts_as_it_should(said)


# ------------------------------------------------------------------------------------------------ guided_velocity


def formula(null: Tensor, told: Tensor, g: float) -> Tensor:
    return null + g * (told - null)


def both(
    combine: Callable = formula,
    order: int = 1,
    halves: Callable = lambda v: v.chunk(2),
    double_x: Callable = lambda x: torch.cat([x, x]),
    double_t: Callable = lambda t: torch.cat([t, t]),
) -> Callable:
    """The right answer to exercise 2, or with one part of it changed; order -1 puts the text before the null."""

    def answer(model, x, t, text, null, g):
        v = model(double_x(x), double_t(t), torch.cat([null, text][::order]))
        return combine(*halves(v), g)

    return answer


def interleaved(model, x, t, text, null, g):
    """Right in another order of rows: null and text of a picture lie side by side."""
    words = torch.stack([null, text], 1).flatten(0, 1)
    v = model(x.repeat_interleave(2, 0), t.repeat_interleave(2), words)
    return formula(v[::2], v[1::2], g)


def two_calls(combine: Callable = formula) -> Callable:
    return lambda model, x, t, text, null, g: combine(model(x, t, null), model(x, t, text), g)


def one_by_one(model, x, t, text, null, g):
    rows = [slice(i, i + 1) for i in range(len(x))]
    return torch.cat([both()(model, x[i], t[i], text[i], null[i], g) for i in rows])


def three_times(model, x, t, text, null, g):
    v = model(x.repeat(3, 1, 1, 1), t.repeat(3), torch.cat([null, text, text]))
    return formula(*v.chunk(3)[:2], g)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (both(), "right. "),
        (both(lambda told, null, g: formula(null, told, g), order=-1), "right. "),
        (both(lambda null, told, g: g * told + (1 - g) * null), "right. "),
        (both(lambda null, told, g: told + (g - 1) * (told - null)), "right. "),
        (both(double_x=lambda x: x.repeat(2, 1, 1, 1), double_t=lambda t: t.repeat(2)), "right. "),
        (interleaved, "right. "),
        (stub, "not done yet. "),
        (dots, "not done yet. "),
        (two_calls(), "nearly. The numbers are right, but the model was called with 3 + 3 rows. One pass is asked, with 6"),
        (one_by_one, "nearly. The numbers are right, but the model was called with 2 + 2 + 2 rows"),
        (three_times, "nearly. The numbers are right, but the model was called with 9 rows"),
        (both(lambda null, told, g: formula(told, null, g)), "null and text have changed places"),
        (both(order=-1), "null and text have changed places, in the formula or in the halves"),
        (both(lambda null, told, g: g * null + (1 - g) * told), "null and text have changed places"),
        (two_calls(lambda null, told, g: formula(told, null, g)), "null and text have changed places"),
        (both(lambda null, told, g: told + g * (told - null)), "where g = 0 is no guidance"),
        (both(lambda null, told, g: (1 + g) * told - g * null), "where g = 0 is no guidance"),
        (both(lambda null, told, g: g * told), "v_null is missing"),
        (both(lambda null, told, g: null + g * told), "the difference is missing"),
        (both(lambda null, told, g: g * (told - null)), "v_null is not added"),
        (both(lambda null, told, g: null - g * (told - null)), "the sign of g is turned"),
        (both(lambda null, told, g: told), "g is not heard: this is v_text"),
        (lambda model, x, t, text, null, g: model(x, t, text), "g is not heard: this is v_text"),
        (both(lambda null, told, g: null), "this is v_null"),
        (both(lambda null, told, g: formula(null, told, 3)), "nearly. With one picture and g = 1.5: it looks as if g is always 3"),
        (both(double_t=lambda t: t), "Your function stops with ValueError: the model got 6 pictures, t of the shape (3,)"),
        (both(double_t=lambda t: t), "torch.cat([t, t])"),
        (both(double_x=lambda x: x), "ValueError: the model got 3 pictures, t of the shape (6,)"),
        (both(double_t=lambda t: 0.5), "t of the shape ()"),
        (both(double_t=lambda t: t.repeat_interleave(2)), "pictures get each other's t"),
        (both(lambda told, null, g: formula(null, told, g), -1, double_t=lambda t: t.repeat_interleave(2)), "pictures get each other's t"),
        (both(halves=lambda v: (v[::2], v[1::2])), "every other row is taken"),
        (both(halves=lambda v: (v[1::2], v[::2]), order=-1), "every other row is taken"),
        (both(lambda v, g: g * v, halves=lambda v: (v,)), "The answer still has the doubled batch, 6 rows for 3 pictures"),
        (both(halves=lambda v: v.chunk(2, 1)), "yours is (6, 1, 4, 5): the halves lie along the first dimension"),
        (both(halves=lambda v: v.chunk(2, -1)), "stops with RuntimeError"),
        (both(halves=lambda v: v.chunk(2, -1)), "chunk(2) both work along the first dimension"),
        (lambda model, x, t, text, null, g: 0 * x, "The model was not called"),
        (both(lambda null, told, g: 0 * null), "With g = 3, the number at [0, 0, 0, 0] should be"),
        (both(lambda null, told, g: formula(null, told, g)[0]), "The velocity should have the shape (3, 2, 4, 5); yours has (2, 4, 5)"),
        (lambda *_: "fast", "yours is str"),
        (broken, "not yet. Your function stops with ZeroDivisionError"),
    ],
)  # fmt: skip
def test_guided_velocity(answer: Callable, words: str) -> None:
    said = checks.guided_velocity(answer)
    assert words in said and starts_as_it_should(said)


# -------------------------------------------------------------------------------------------------- attention_map


def hide(scores: Tensor, mask: Tensor, value: float = -math.inf) -> Tensor:
    return scores.masked_fill(~mask, value)


def attend(scale: Callable = lambda q: q.shape[-1] ** -0.5, weights: Callable | None = None) -> Callable:
    """The right answer to exercise 3, or with another scale, or another way from scores and mask to weights."""
    weights = weights or (lambda scores, mask: hide(scores, mask).softmax(-1))
    return lambda q, k, mask: weights(q @ k.mT * scale(q), mask)


def by_hand(scores: Tensor, mask: Tensor) -> Tensor:
    scores = hide(scores, mask)
    weights = (scores - scores.max(-1, keepdim=True).values).exp()
    return weights / weights.sum(-1, keepdim=True)


def overflowing(scores: Tensor, mask: Tensor) -> Tensor:
    weights = scores.exp() * mask
    return weights / weights.sum(-1, keepdim=True)


def after(scores: Tensor, mask: Tensor) -> Tensor:
    weights = scores.softmax(-1) * mask
    return weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (attend(), "right. "),
        (attend(weights=by_hand), "right. "),
        (attend(weights=lambda s, mask: hide(s, mask, -1e9).softmax(-1)), "right. "),
        (lambda q, k, mask: attend()(q.double(), k.double(), mask), "right. "),
        (lambda q, k, mask: hide(torch.einsum("bhnd,bhsd->bhns", q / q.shape[-1] ** 0.5, k), mask).softmax(-1), "right. "),
        (stub, "not done yet. "),
        (dots, "not done yet. "),
        (attend(scale=lambda q: 1), "1/√d is missing"),
        (attend(scale=lambda q: 1 / q.shape[-1]), "the scores are divided by d, where √d"),
        (attend(scale=lambda q: q.shape[-1] ** 0.5), "multiplied by √d"),
        (attend(scale=lambda q: (q.shape[1] * q.shape[-1]) ** -0.5), "√d counts the numbers of all heads"),
        (attend(weights=lambda s, mask: hide(s, mask).softmax(-2)), "the softmax runs over the places"),
        (attend(weights=lambda s, mask: s.softmax(-2)), "the softmax runs over the places"),
        (attend(weights=lambda s, mask: s.softmax(-2) * mask), "the softmax runs over the places"),
        (attend(weights=lambda s, mask: hide(s, mask).softmax(1)), "the softmax runs over the heads"),
        (attend(weights=hide), "the softmax is missing"),
        (attend(weights=lambda s, mask: s.softmax(-1)), "the mask is forgotten"),
        (attend(lambda q: 1, lambda s, mask: s.softmax(-1)), "the mask is forgotten; and 1/√d is missing"),
        (attend(weights=lambda s, mask: s.softmax(-1) * mask), "rows no longer sum to 1"),
        (attend(weights=lambda s, mask: hide(s, ~mask).softmax(-1)), "the mask is inverted"),
        (attend(weights=lambda s, mask: (s * mask).softmax(-1)), "hidden scores are set to 0"),
        (attend(weights=lambda s, mask: (s + mask).softmax(-1)), "mask is added to the scores"),
        (attend(weights=lambda s, mask: (hide(s, mask)).exp()), "not divided by their sum"),
        (attend(lambda q: 1, lambda s, mask: hide(s, mask).softmax(-1) / 6**0.5), "√d divides the weights"),
        (attend(weights=lambda s, mask: (s + (~mask).float() * -math.inf).softmax(-1)), "Some weights are nan"),
        (attend(weights=lambda s, mask: hide(s, torch.zeros_like(mask)).softmax(-1)), "a row with nothing to look at"),
        (attend(weights=lambda s, mask: hide(s, mask, -20).softmax(-1)), "nearly. Hidden words still get weights up to"),
        (attend(weights=overflowing), "nearly. With scores in the hundreds"),
        (attend(weights=after), "nearly. With scores in the hundreds"),
        (attend(scale=lambda q: 6**-0.5), "nearly. With other sizes, d = 8 and 7 words"),
        (attend(weights=lambda s, mask: hide(s, mask.view(2, 1, 1, 4)).softmax(-1)), "nearly. With one picture, 2 heads"),
        (lambda q, k, mask: (k @ q.mT).softmax(-1), "Places and words have changed places"),
        (lambda q, k, mask: q @ k, "stops with RuntimeError"),
        (lambda q, k, mask: q @ k, "q @ k.mT is (B, H, N, T)"),
        (attend(weights=lambda s, mask: 0 * s), "should sum to 1; those of the first sum to 0.0000"),
        (attend(weights=lambda s, mask: mask / mask.sum(-1, keepdim=True) + 0 * s), "Of the weights, the number at [0, 0, 0, 0]"),
        (attend(weights=lambda s, mask: hide(s, mask).softmax(-1)[:, 0]), "The map of weights should have the shape (2, 3, 5, 4)"),
        (lambda *_: [1.0], "yours is list"),
        (broken, "not yet. Your function stops with ZeroDivisionError"),
    ],
)  # fmt: skip
def test_attention_map(answer: Callable, words: str) -> None:
    said = checks.attention_map(answer)
    assert words in said and starts_as_it_should(said)


# ---------------------------------------------------------------------------------------------- interval_guidance


def window(
    inside: Callable = lambda t, low, high: (low <= t) & (t < high),
    inner: Callable = formula,
    outer: Callable = lambda null, told: told,
    shape: Callable = high,
) -> Callable:
    """The right answer to exercise 4, or with one part of it changed."""

    def answer(v_null, v_text, t, g, low, high):
        return torch.where(shape(inside(t, low, high)), inner(v_null, v_text, g), outer(v_null, v_text))

    return answer


def whole_batch(decide: Callable) -> Callable:
    """One decision for all pictures, from `decide` of what holds for each."""
    return window(lambda t, low, high: decide((low <= t) & (t < high)).expand(len(t)))


def with_if(v_null, v_text, t, g, low, high):
    return formula(v_null, v_text, g) if low <= t < high else v_text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (window(), "right. "),
        (window(lambda t, low, high: (low < t) & (t <= high)), "nearly. At t = low and at t = high: the picture at t = 0.25, inside"),
        (window(lambda t, low, high: (low <= t) & (t <= high)), "nearly. At t = low and at t = high: the picture at t = 0.625, outside"),
        (lambda n, v, t, g, low, up: formula(n, v, high(torch.where((t >= low) & (t < up), g, 1.0))), "right. "),
        (lambda n, v, t, g, low, up: torch.cat([with_if(n[i, None], v[i, None], t[i], g, low, up) for i in range(len(t))]), "right. "),
        (stub, "not done yet. "),
        (dots, "not done yet. "),
        (window(outer=lambda null, told: null), "outside the interval it is v_null"),
        (window(outer=lambda null, told: 0 * told), "outside the interval it is 0"),
        (whole_batch(torch.any), "every picture is guided by g: either the interval is not heard, or one decision"),
        (window(lambda t, low, high: t >= 0), "every picture is guided by g"),
        (whole_batch(torch.all), "no picture is guided by g: either the interval is not heard, or one decision"),
        (whole_batch(lambda rows: rows[0]), "no picture is guided by g"),
        (lambda v_null, v_text, t, g, low, high: v_text, "no picture is guided by g"),
        (lambda v_null, v_text, t, g, low, high: v_null, "no picture is guided by g"),
        (window(lambda t, low, high: (t < low) | (t >= high)), "the interval is inverted"),
        (window(lambda t, low, high: t < high), "low is not heard"),
        (window(lambda t, low, high: t >= low), "high is not heard"),
        (window(lambda t, low, high: (low <= 1 - t) & (1 - t < high)), "time runs backwards"),
        (window(inner=lambda null, told, g: formula(told, null, g)), "null and text have changed places inside"),
        (window(inner=lambda null, told, g: told + g * (told - null)), "g is added to v_text; ours starts at v_null"),
        (window(inner=lambda null, told, g: g * told), "inside the interval v_null is missing"),
        (window(inner=lambda null, told, g: g * (told - null)), "inside the interval v_null is not added"),
        (window(lambda t, low, high: t < high, outer=lambda null, told: null), "low is not heard; and outside the interval it is v_null"),
        (window(shape=lambda rows: rows), "the decision runs along the columns of a picture"),
        (window(shape=lambda rows: rows), "t[:, None, None, None]"),
        (window(shape=lambda rows: rows[:, None]), "stops with RuntimeError"),
        (window(shape=lambda rows: rows[:, None]), "t[:, None, None, None]"),
        (with_if, "stops with RuntimeError"),
        (with_if, "torch.where decides for each picture"),
        (window(inner=lambda null, told, g: formula(null, told, 3)), "nearly. With g = 1.5: the picture at t = 0.8"),
        (window(lambda t, low, high: (t >= 0.2) & (t < 0.6)), "nearly. With g = 1.5: the picture at t = 0.8, inside the interval from 0.7"),
        (window(shape=lambda rows: high(rows.squeeze())), "nearly. With a batch of one picture: your function stops with IndexError"),
        (window(inner=lambda null, told, g: 0 * null), "The picture at t = 0.3, inside the interval from 0.2 to 0.6, is wrong"),
        (window(outer=lambda null, told: 5 * told), "The picture at t = 0.1, outside the interval from 0.2 to 0.6, is wrong"),
        (lambda v_null, v_text, *_: v_text[0], "The velocity should have the shape (5, 2, 3, 5); yours has (2, 3, 5)"),
        (lambda *_: True, "yours is bool"),
        (broken, "not yet. Your function stops with ZeroDivisionError"),
    ],
)  # fmt: skip
def test_interval_guidance(answer: Callable, words: str) -> None:
    said = checks.interval_guidance(answer)
    assert words in said and starts_as_it_should(said)


# -------------------------------------------------------------------------------------------------------- dropped


def drop(chosen: Callable, put: Callable = lambda null, words: null) -> Callable:
    """Rows or tokens where `chosen(words, share, generator)` is True become null."""
    return lambda words, null, share, generator: torch.where(chosen(words, share, generator), put(null, words), words)


def chance(*shape: int) -> Callable:
    """Uniform numbers below share, of this shape; -1 stands for the number of rows."""
    return lambda words, share, generator: (
        torch.rand([len(words) if n < 0 else n for n in shape], generator=generator) < share
    )


def in_place(words, null, share, generator):
    words[torch.rand(len(words), generator=generator) < share] = null
    return words


def on_a_copy(words, null, share, generator):
    return in_place(words.clone(), null, share, generator)


def spoils_null(words, null, share, generator):
    new = on_a_copy(words, null, share, generator)
    null.zero_()
    return new


def exactly(words, null, share, generator):
    new = words.clone()
    new[torch.randperm(len(words), generator=generator)[: round(share * len(words))]] = null
    return new


def rows_from(start: int) -> Callable:
    """The first or, with start -1, the last rows, as many as the share says."""

    def chosen(words, share, generator):
        rows = torch.arange(len(words))[:, None]
        return (rows if start == 0 else len(words) - 1 - rows) < share * len(words)

    return drop(chosen)


def anew(words, share, generator):
    return torch.rand(len(words), 1, generator=torch.Generator().manual_seed(generator.initial_seed())) < share


def own_seed(words, share, generator):
    return torch.rand(len(words), 1, generator=torch.Generator().manual_seed(0)) < share


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (drop(chance(-1, 1)), "right. "),
        (on_a_copy, "right. "),
        (drop(lambda w, share, gen: torch.bernoulli(torch.full((len(w), 1), share), generator=gen).bool()), "right. "),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) > 1 - share), "right. "),
        (stub, "not done yet. "),
        (dots, "not done yet. "),
        (in_place, "changes its input in place"),
        (spoils_null, "changes its input in place"),
        (drop(chance(-1, 6)), "Single tokens are replaced"),
        (drop(chance(6)), "Single tokens are replaced"),
        (drop(chance(1)), "All rows are replaced or none: one chance for the whole batch"),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) > share), "the share is kept, where it should be dropped"),
        (rows_from(0), "always the first rows"),
        (rows_from(-1), "always the last rows"),
        (drop(lambda w, share, gen: (torch.arange(len(w)) % round(1 / share) == 0)[:, None]), "different seeds give the same rows"),
        (drop(own_seed), "different seeds give the same rows"),
        (drop(lambda w, share, gen: torch.rand(len(w), 1) < share), "the same seed give different rows"),
        (drop(lambda w, share, gen: torch.rand(len(w), 1) < share), "generator=generator"),
        (drop(anew), "Two calls with one generator give the same rows"),
        (exactly, "nearly. Of 4000 rows it is exactly 2000 each time"),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) < 0.1), "With share 0.5 it replaces 10."),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) < share**2), "With share 0.1 it replaces 1."),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) < min(max(share, 0.01), 0.99)), "nearly. With share 0 it replaces"),
        (drop(lambda w, share, gen: torch.rand(len(w), 1, generator=gen) < min(share, 0.99)), "nearly. With share 1 it replaces"),
        (lambda words, null, share, generator: words, "No row is replaced"),
        (lambda words, null, share, generator: null.expand_as(words), "Every row is replaced"),
        (drop(chance(-1, 1), lambda null, words: torch.zeros_like(words)), "becomes [0, 0, 0, 0, 0, 0]"),
        (drop(chance(-1, 1), lambda null, words: null.flip(0)), "Each row is either as it was or null, [3, 7, 1, 5, 2, 4]"),
        (drop(chance(-1)), "stops with RuntimeError"),
        (drop(chance(-1)), "One chance for each row has the shape (B, 1)"),
        (lambda words, null, share, generator: drop(chance(-1, 1))(words, null, share, generator).float(), "Tokens are torch.int64"),
        (lambda words, null, share, generator: words[torch.rand(len(words), generator=generator) >= share], "The new words should have the shape (4000, 6)"),
        (lambda words, null, share, generator: words.tolist(), "yours is list"),
        (lambda words, null, share, generator: drop(chance(-1, 1))(words, null, share, generator) if share in (0.1, 0.5) else 1 / 0, "stops with ZeroDivisionError"),
        (broken, "not yet. Your function stops with ZeroDivisionError"),
    ],
)  # fmt: skip
def test_dropped(answer: Callable, words: str) -> None:
    said = checks.dropped(answer)
    assert words in said and starts_as_it_should(said)


# --------------------------------------------------------------------------------------------------- paper_weight


@pytest.mark.parametrize(
    ("w", "words"),
    [
        (2, "right. "),
        (2.0, "right. "),
        (torch.tensor(2), "right. "),
        (None, "not done yet. "),
        (..., "not done yet. "),
        (3, "taken to be the same number"),
        (4, "1 is added, where it should be taken away"),
        (-2, "the sign is turned"),
        (1 / 3, "the inverse of the other"),
        (0.33, "the inverse of the other"),
        (1.5, "g is halved"),
        (0, "guidance is off"),
        (5, "With w = 5 the paper has 6 v_text and -5 v_null"),
        (math.nan, "a finite number"),
        (math.inf, "a finite number"),
        ("two", "one number; this is 'two'"),
        ((1, 2), "one number; this is (1, 2)"),
        (torch.ones(2), "one number; this is tensor"),
    ],
)
def test_paper_weight(w: object, words: str) -> None:
    said = checks.paper_weight(w)
    assert words in said and starts_as_it_should(said)


# -------------------------------------------------------------------------------------------------------- the rest


CHECKS = [
    (checks.endpoints, ends()),
    (checks.guided_velocity, both()),
    (checks.attention_map, attend()),
    (checks.interval_guidance, window()),
    (checks.dropped, on_a_copy),
]


@pytest.mark.parametrize(("check", "answer"), CHECKS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_check_says_the_same_again_and_leaves_the_reader_s_randomness_alone(
    check: Callable, answer: Callable
) -> None:
    before = torch.get_rng_state()
    assert check(answer) == check(answer)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("check", "answer"), CHECKS[:4], ids=lambda one: getattr(one, "__name__", ""))
def test_an_answer_that_changes_its_inputs_is_not_judged_by_them(check: Callable, answer: Callable) -> None:
    def careless(*arguments):
        got = answer(*arguments)
        for one in arguments:
            if isinstance(one, Tensor):
                one.zero_()
        return got

    assert check(careless).startswith("right. ")
