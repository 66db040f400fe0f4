"""The checks of lesson 04: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check, reading
from course_utils.common import CourseError

LOG2, log = math.log(2), math.log

bits_per_pixel = Check(
    lambda log_density, pixels, step: -(log_density / pixels + log(step)) / LOG2,
    # the last density is so high that density times step is above 1, and the bits fall below 0
    [(-12.8, 64, 1 / 8), (21.0, 30, 1 / 16), (90.0, 12, 1 / 4)],
    {
        "these are nats per pixel: one bit is log 2 = 0.693 nats": lambda p, n, s: -(p / n + log(s)),
        "nats are multiplied by log 2: one bit is 0.693 nats, so divide": lambda p, n, s: -(p / n + log(s)) * LOG2,
        "these are bits per picture: divide by the number of pixels": lambda p, n, s: -(p + n * log(s)) / LOG2,
        "the log-density is that of the whole picture: divide it by the pixels": lambda p, n, s: -(p + log(s)) / LOG2,
        "the sign is turned: what is likely needs few bits": lambda p, n, s: (p / n + log(s)) / LOG2,
        "the step is missing: a probability is a density times a width": lambda p, n, s: -p / n / LOG2,
        "the step counts once, but every pixel has one": lambda p, n, s: -(p + log(s)) / n / LOG2,
        "log step has the wrong sign: a finer step makes a level less probable": lambda p, n, s: (
            (log(s) - p / n) / LOG2
        ),
        "the step is always 1/8: use the argument": lambda p, n, s: 3 - p / n / LOG2,
        "there are always 64 pixels: use the argument": lambda p, n, s: -(p / 64 + log(s)) / LOG2,
        "abs() stands where a minus belongs": lambda p, n, s: abs(p / n + log(s)) / LOG2,
    },
    todo="Return a number, and run this cell again.",
    rtol=1e-3,  # 0.693 will do for log 2
)


def shifted(log_w: Tensor, by: Tensor) -> Tensor:
    """log of the mean weight over K, with `by` taken out of the exponent."""
    return by + (log_w - by).exp().mean(0).log()


MILD = torch.tensor([[0.1, -2.0, 1.2], [-0.7, 0.4, -1.5], [1.9, -0.3, 0.8], [0.2, 1.1, -0.6]])
# As far from 0 as pictures are; the first and the last draws weigh nothing, so no draw but the largest can be taken out.
FAR = torch.cat([MILD[:2] - 3000, MILD, MILD[2:] - 3000]) - torch.tensor([2000.0, 1000.0, 4000.0])

importance_bound = Check(
    lambda log_weights: log_weights.logsumexp(0) - log(len(log_weights)),
    [(MILD,), (FAR,), (1500 + MILD[:2].repeat(1, 2),)],
    {
        "the mean of the logarithms is taken, which is the ELBO again; take the mean inside": lambda w: w.mean(0),
        "the weights are summed where their mean is needed: log K is missing": lambda w: w.logsumexp(0),
        "log K is added where it should be taken away": lambda w: w.logsumexp(0) + log(len(w)),
        "K divides outside the logarithm; inside it, it becomes minus log K": lambda w: w.logsumexp(0) / len(w),
        "log B is taken away; the mean is over the K draws": lambda w: w.logsumexp(0) - log(w.shape[1]),
        "the mean goes along the pictures: the draws come first, (K, B)": lambda w: w.logsumexp(1) - log(w.shape[1]),
        "this is one number for all pictures: keep them apart, (B,)": lambda w: w.logsumexp(0).mean() - log(len(w)),
        "the logarithm of the mean weight is missing": lambda w: w.exp().mean(0),
        "K is always 4: take it from the shape of the log-weights": lambda w: w.logsumexp(0) - log(4),
        "exp() gives 0 around -2000: take the largest out first, or use torch.logsumexp": lambda w: (
            w.exp().mean(0).log()
        ),
        "one maximum is taken out for all pictures: each needs its own": lambda w: shifted(w, w.max()),
        "exp() gives inf: what is taken out must be the *largest* of each picture": lambda w: shifted(
            w, w.min(0).values
        ),
    },
    todo="Return a tensor with one number for each picture, and run this cell again.",
    right="It also holds where the weights themselves are too small for a float.",
    rtol=1e-5,
)


def water(lambdas: Tensor, noise: float) -> Tensor:
    """The rate of each direction above this noise."""
    return 0.5 * (lambdas / noise).log().clamp(min=0)


rates = Check(
    lambda eigenvalues, sigma, beta: water(eigenvalues, beta * sigma**2),
    [(torch.tensor([1.5, 4.0, 0.05, 0.6, 0.2]), 0.4, 3.0), (torch.tensor([0.1, 2.5, 0.7]), 0.9, 0.6)],
    {
        "β is not heard: it makes the noise β σ²": lambda v, s, b: water(v, s**2),
        "negative numbers are left: such a direction falls silent, with rate 0": lambda v, s, b: (v / b / s**2).log() / 2,
        "this is β = 1, with negative numbers left": lambda v, s, b: (v / s**2).log() / 2,
        "the rate is multiplied by β; the rate itself is asked": lambda v, s, b: b * water(v, b * s**2),
        "the rate is multiplied by β; what β changes is the noise, β σ²": lambda v, s, b: b * water(v, s**2),
        "λ is put in where w² = λ − βσ² belongs": lambda v, s, b: (1 + v / b / s**2).log() / 2,
        "the half is missing: it is the logarithm of a deviation, not of a variance": lambda v, s, b: 2 * water(v, b * s**2),
        "σ stands where the variance σ² is needed": lambda v, s, b: water(v, b * s),
        "β divides where it should multiply: a larger β is like more noise": lambda v, s, b: water(v, s**2 / b),
        "β is squared: it multiplies σ², not σ": lambda v, s, b: water(v, (b * s) ** 2),
        "these are bits; the course counts nats": lambda v, s, b: water(v, b * s**2) / LOG2,
        "log of a negative number is taken, nan: below the noise the rate is 0": lambda v, s, b: (v - b * s**2).log(),
        "σ is always 0.4: use the argument": lambda v, s, b: water(v, b * 0.4**2),
        "the rates are sorted; keep the order of the eigenvalues": lambda v, s, b: water(v, b * s**2).sort(descending=True)[0],
    },
    todo="Return one number of nats for each eigenvalue, and run this cell again.",
    right="Directions with an eigenvalue below β σ² say nothing.",
)  # fmt: skip


def vae_loss(
    z: Callable = lambda mean, log_variance, noise: mean + (0.5 * log_variance).exp() * noise,
    picture: Callable = lambda error: error.sum(-1),
    rate: Callable = lambda kl: kl.sum(-1),
    whole: Callable = lambda loss: loss.mean(),
    order: int = 1,
) -> Callable[..., Any]:
    """The loss of clinic 1, or with one part of it changed; order -1 takes the log-variances first."""

    def loss(heads: Tensor, decode: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor) -> Any:
        mean, log_variance = heads.chunk(2, -1)[::order]
        error = F.binary_cross_entropy_with_logits(decode(z(mean, log_variance, noise)), images, reduction="none")
        return whole(picture(error) + rate(0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)))

    return loss


def and_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss or, where `heads` asks for it, the loss and its gradient in them."""

    def observed(heads: Tensor, *rest: Any) -> Any:
        value = loss(heads, *rest)
        if heads.requires_grad and not (isinstance(value, Tensor) and value.requires_grad):
            return "no gradient"
        return (value, torch.autograd.grad(value.sum(), heads)[0]) if heads.requires_grad else value

    return observed


def batch(b: int, d: int, p: int, gradient: bool) -> tuple[Any, ...]:
    """Heads (B, 2 D), a linear decoder, images (B, P) and noise (B, D)."""
    sizes, seeded = ((b, 2 * d), (d, p), (b, p), (b, d)), torch.Generator().manual_seed(p)
    heads, matrix, images, noise = (torch.randn(size, generator=seeded) for size in sizes)
    return heads.requires_grad_(gradient), lambda z: z @ matrix, images.sigmoid(), noise


mended_loss = Check(
    vae_loss(),
    [batch(5, 3, 7, False), batch(3, 2, 9, True)],
    {
        "the KL is missing: nothing keeps the codes where the prior draws them": vae_loss(rate=lambda kl: 0),
        "the noise is missing: z must be drawn, not set to the mean": vae_loss(lambda m, v, e: m),
        "noise and KL are both missing: this is still a plain autoencoder": vae_loss(lambda m, v, e: m, rate=lambda kl: 0),
        "noise and KL are missing, and pixels are averaged: this is still the broken loss": vae_loss(lambda m, v, e: m, lambda e: e.mean(-1), lambda kl: 0),
        "the KL is missing, and pixels are averaged: sum them, then add the KL": vae_loss(picture=lambda e: e.mean(-1), rate=lambda kl: 0),
        "the noise is drawn anew: use the `noise` that is given": vae_loss(lambda m, v, e: m + (0.5 * v).exp() * torch.randn_like(m)),
        "the KL is summed over the batch as well: sum over latents, take the mean over pictures": vae_loss(rate=lambda kl: kl.sum()),
        "the heads are swapped: the means come first, then the log-variances": vae_loss(order=-1),
        "the KL has the wrong sign: codes are paid for running away": vae_loss(rate=lambda kl: -kl.sum(-1)),
        "exp(log-variance) is used as the deviation; it is the variance: take half of the logarithm": vae_loss(lambda m, v, e: m + v.exp() * e),
        "the log-variance itself is used as the deviation, which is exp of half of it": vae_loss(lambda m, v, e: m + v * e),
        "pixels are averaged and latents are summed: that multiplies β by the number of pixels": vae_loss(picture=lambda e: e.mean(-1)),
        "pixels and latents are averaged, over different numbers: the terms lose their common unit": vae_loss(picture=lambda e: e.mean(-1), rate=lambda kl: kl.mean(-1)),
        "the latents' KL is averaged; it must be summed": vae_loss(rate=lambda kl: kl.mean(-1)),
        "this is the ELBO itself: a loss is what gets smaller, so turn the sign": vae_loss(whole=lambda loss: -loss.mean()),
        "the pictures are summed: take their mean, so that the loss does not depend on the batch": vae_loss(whole=lambda loss: loss.sum()),
        "each picture has its own loss: take the mean over them": vae_loss(whole=lambda loss: loss),
        "no gradient comes through: .item(), .detach() and no_grad cut it off, and nothing is learned": vae_loss(whole=lambda loss: loss.mean().item()),
        "the code is detached: the decoder's error must reach the encoder through z": vae_loss(lambda m, v, e: (m + (0.5 * v).exp() * e).detach()),
        "the KL is detached: its gradient is what pulls the codes to the prior": vae_loss(rate=lambda kl: kl.sum(-1).detach()),
    },
    todo="Return one number, the loss, and run this cell again.",
    observe=and_gradient,
)  # fmt: skip


def cross_entropy(witness: Any) -> float:
    """Binary cross-entropy of one (pixel, logit). CourseError if this is none."""
    try:
        pixel, logit = map(float, witness)
    except (TypeError, ValueError, RuntimeError):
        raise CourseError(f"A witness is a pair of numbers, (pixel, logit); this is {witness!r}.") from None
    if not math.isfinite(logit):
        raise CourseError("Choose a finite logit.")
    return F.softplus(torch.tensor(logit, dtype=torch.float64)).item() - pixel * logit


def signs(witness: Any) -> list[int]:
    """Whether the loss is below -100, and if not, whether the pixel and the logit are negative; 2 and 0 if it is outside."""
    deep, (pixel, logit) = cross_entropy(witness) < -100, map(float, witness)
    return [2, 0, 0] if not -1 <= pixel <= 1 else [1, 1, 1] if deep else [0, pixel < 0, pixel < 0 and logit < 0]


no_floor = Check(
    (-1.0, -150.0),
    slips={
        "the pixel lies outside [-1, 1], where the pictures are": (-2.0, -150.0),
        "the pixel lies in [0, 1], and there the loss never falls below 0: which pixels are outside?": (0.5, -150.0),
        "the logit goes to the wrong side: the pixel is negative": (-1.0, 150.0),
        "the side is right, and the logit does not go far enough": (-1.0, -20.0),
    },
    todo="Write a pair (pixel, logit), and run this cell again.",
    right=lambda witness: (
        f"The loss is {cross_entropy(witness):.1f} there, and a larger logit of that sign makes it smaller still."
    ),
    observe=reading(signs),
)

ONE = 0.5 * math.erf(1 / math.sqrt(2))  # the share of one standard normal number between 0 and 1

reached = Check(
    ONE**2,
    slips={
        "this is the share of one dimension; both must hit": ONE,
        "this is where both are positive: they must also be below 1": 0.25,
        "this is the interval from -1 to 1; a sigmoid gives 0 to 1": (2 * ONE) ** 2,
        "this is one dimension between -1 and 1": 2 * ONE,
        "this is the share that is NOT reached": 1 - ONE**2,
        "this is a percentage: a share lies between 0 and 1": 100 * ONE**2,
        "half is right for one dimension without the upper end; count both ends and both dimensions": 0.5,
    },
    todo="Write a number between 0 and 1, and run this cell again.",
    right=f"Only {ONE**2:.1%} of what the prior draws lies where such an encoder can put a mean.",
    otherwise=lambda share: "Draw a million pairs from the prior and count those with both numbers between 0 and 1.",
    rtol=5e-3,
    atol=6e-3,
)
