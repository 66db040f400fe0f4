"""Checks of lesson 04: "right" to the answer, "not done yet" to the stub, and the slip by its name."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from course_utils.classroom import checks_04 as checks


def stub(*_: object) -> None: ...


def broken(*_: object) -> None:
    raise ZeroDivisionError("division by zero")


LOG2 = math.log(2)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda log_p, n, step: -(log_p / n + math.log(step)) / LOG2, "right."),
        (lambda log_p, n, step: torch.tensor(-(log_p / n + math.log(step)) / LOG2), "right."),
        (stub, "not done yet."),
        (lambda log_p, n, step: -(log_p / n + math.log(step)), "nats per pixel"),
        (lambda log_p, n, step: -(log_p + n * math.log(step)) / LOG2, "bits per picture"),
        (lambda log_p, n, step: (log_p / n + math.log(step)) / LOG2, "the sign is turned"),
        (lambda log_p, n, step: -log_p / n / LOG2, "the step from one grey level to the next is missing"),
        (lambda log_p, n, step: -(log_p + math.log(step)) / n / LOG2, "every pixel has one"),
        (lambda log_p, n, step: -(log_p / n - math.log(step)) / LOG2, "log step has the wrong sign"),
        (lambda log_p, n, step: 7.0, "it should be 3.2885; yours is 7.0000"),
        (lambda log_p, n, step: "three", "The answer is a number"),
        (broken, "stops with ZeroDivisionError"),
    ],
)
def test_bits_per_pixel(answer: Callable, words: str) -> None:
    assert words in checks.bits_per_pixel(answer)


def stable(log_w: torch.Tensor) -> torch.Tensor:
    return shifted(log_w, log_w.max(0).values)


def shifted(log_w: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """log of the mean weight, with `by` taken out of the exponent."""
    return by + (log_w - by).exp().mean(0).log()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (stable, "right."),
        (lambda log_w: torch.logsumexp(log_w, 0) - math.log(len(log_w)), "right."),
        (stub, "not done yet."),
        (lambda log_w: stable(log_w.float()), "right."),
        (lambda log_w: log_w.exp().mean(0).log(), "it gives -inf: exp() is 0 there"),
        (lambda log_w: shifted(log_w, log_w.max()), "one maximum for all pictures: each needs its own"),
        (lambda log_w: shifted(log_w, log_w.min(0).values), "it gives inf: exp() is too large there"),
        (lambda log_w: shifted(log_w, log_w.mean(0)), "the *largest* log-weight of each picture"),
        (lambda log_w: shifted(log_w, log_w[0]), "the *largest* log-weight of each picture"),
        (lambda log_w: torch.logsumexp(log_w, 0) - math.log(4), "With 8 draws log K is still log 4"),
        (lambda log_w: torch.logsumexp(log_w.clamp(min=-900), 0) - math.log(len(log_w)), "should get -1999.83; yours"),
        (
            lambda log_w: stable(log_w) if len(log_w) == 4 else stable(log_w)[:2],
            "For 8 draws the answer still has the shape",
        ),
        (lambda log_w: log_w.mean(0), "this is the ELBO again"),
        (lambda log_w: torch.logsumexp(log_w, 0), "log K is missing"),
        (lambda log_w: torch.logsumexp(log_w, 0) + math.log(len(log_w)), "log K is added"),
        (lambda log_w: torch.logsumexp(log_w, 1) - math.log(3), "the draws are the first dimension"),
        (lambda log_w: stable(log_w).mean(), "keep them apart"),
        (lambda log_w: log_w.exp().mean(0), "without its logarithm"),
        (lambda log_w: log_w, "the answer has the shape (3,)"),
        (lambda log_w: 0 * stable(log_w), "The first picture should get"),
        (lambda log_w: 1.0, "yours is float"),
        (broken, "stops with ZeroDivisionError"),
    ],
)
def test_importance_bound(answer: Callable, words: str) -> None:
    assert words in checks.importance_bound(answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda v, sigma, beta: 0.5 * (v / (beta * sigma**2)).log().clamp(min=0), "right."),
        (stub, "not done yet."),
        (lambda v, sigma, beta: 0.5 * (v / sigma**2).log().clamp(min=0), "β is not heard"),
        (lambda v, sigma, beta: 0.5 * (v / (beta * sigma**2)).log(), "negative numbers are left"),
        (lambda v, sigma, beta: (v / (beta * sigma**2)).log().clamp(min=0), "the half is missing"),
        (lambda v, sigma, beta: 0.5 * (v.float() / (beta * sigma**2)).log().clamp(min=0), "right."),
        (lambda v, sigma, beta: 0.5 * (v / sigma**2).log(), "this is β = 1, with negative numbers left"),
        (lambda v, sigma, beta: beta * 0.5 * (v / (beta * sigma**2)).log().clamp(min=0), "the rate itself is asked"),
        (lambda v, sigma, beta: beta * 0.5 * (v / sigma**2).log().clamp(min=0), "what it changes is the noise"),
        (lambda v, sigma, beta: 0.5 * (1 + v / (beta * sigma**2)).log(), "λ is put in where w² = λ − βσ² belongs"),
        (lambda v, sigma, beta: (v - beta * sigma**2).log(), "a logarithm of a negative number"),
        (lambda v, sigma, beta: 0.5 * (v / (beta * sigma)).log().clamp(min=0), "σ where the variance"),
        (lambda v, sigma, beta: 0.5 * (beta * v / sigma**2).log().clamp(min=0), "β divides"),
        (lambda v, sigma, beta: 0.5 * (v / (beta * sigma) ** 2).log().clamp(min=0), "β is squared"),
        (lambda v, sigma, beta: 0.5 * (v / (beta * sigma**2)).log().clamp(min=0) / LOG2, "these are bits"),
        (lambda v, sigma, beta: 0 * v, "the rates are 1.0601"),
        (lambda v, sigma, beta: 1.0, "one number for each eigenvalue"),
        (broken, "stops with ZeroDivisionError"),
    ],
)
def test_rates(answer: Callable, words: str) -> None:
    assert words in checks.rates(answer)


def mended(
    *,
    noisy: float = 1.0,
    half: float = 0.5,
    rate: Callable = lambda kl: kl.sum(-1),
    picture: Callable = lambda error: error.sum(-1),
    kl_times: float = 1.0,
    whole: Callable = lambda loss: loss.mean(),
    swapped: bool = False,
) -> Callable:
    """The right answer to clinic 1, or with one part of it changed."""

    def answer(heads, decode, images, noise):
        mean, log_variance = heads.chunk(2, dim=-1)[:: -1 if swapped else 1]
        z = mean + noisy * (half * log_variance).exp() * noise
        error = F.binary_cross_entropy_with_logits(decode(z), images, reduction="none")
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        return whole(picture(error) + kl_times * rate(kl))

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (mended(), "right."),
        (stub, "not done yet."),
        (mended(kl_times=0), "the KL is missing"),
        (mended(noisy=0), "the noise is missing"),
        (mended(noisy=0, kl_times=0), "noise and KL are both missing"),
        (
            mended(noisy=0, kl_times=0, picture=lambda e: e.mean(-1)),
            "noise and KL are missing, and pixels are averaged",
        ),
        (mended(kl_times=0, picture=lambda e: e.mean(-1)), "the KL is missing, and pixels are averaged"),
        (mended(rate=lambda kl: kl.sum()), "the KL is summed over the batch as well"),
        (mended(swapped=True), "the heads are swapped"),
        (mended(kl_times=-1), "the KL has the wrong sign"),
        (mended(half=1.0), "exp(log-variance) is used as the deviation"),
        (mended(picture=lambda e: e.mean(-1)), "multiplies β by the number of pixels"),
        (mended(picture=lambda e: e.mean(-1), rate=lambda kl: kl.mean(-1)), "lose their common unit"),
        (mended(rate=lambda kl: kl.mean(-1)), "it must be summed"),
        (mended(whole=lambda loss: -loss.mean()), "turn the sign"),
        (mended(whole=lambda loss: loss.sum()), "the pictures are summed"),
        (mended(whole=lambda loss: loss), "yours has the shape (5,)"),
        (mended(whole=lambda loss: 0 * loss.sum()), "On the check's five pictures it should be"),
        (broken, "stops with ZeroDivisionError"),
    ],
)
def test_mended_loss(answer: Callable, words: str) -> None:
    assert words in checks.mended_loss(answer)


@pytest.mark.parametrize(
    ("witness", "words"),
    [
        ((-1, -150), "right. The loss is -150.0"),
        ((-0.5, -1e4), "right."),
        (None, "not done yet."),
        (-150, "a pair of numbers"),
        (("a", 1), "a pair of numbers, (pixel, logit); this is ('a', 1)"),
        ((None, -150), "a pair of numbers, (pixel, logit); this is (None, -150)"),
        ((-2, -150), "and -2 does not"),
        ((0.5, -150), "which pixels are outside?"),
        ((-1, 150), "push the logit to the other side"),
        ((-1, -20), "The side is right; go further"),
        ((-1, -math.inf), "finite"),
    ],
)
def test_no_floor(witness: object, words: str) -> None:
    assert words in checks.no_floor(witness)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.1165, "right. Only 11.7% of what the prior draws lies where such an encoder can put a mean."),
        (None, "not done yet."),
        (0.3413, "the share of one dimension"),
        (0.25, "both are positive"),
        (0.466, "the interval from -1 to 1"),
        (0.6827, "one dimension between -1 and 1"),
        (0.8835, "NOT reached"),
        (0.5, "half is right for one dimension"),
        (0.05, "a million pairs"),
        ("some", "a number between 0 and 1"),
    ],
)
def test_reached(share: object, words: str) -> None:
    assert words in checks.reached(share)
