"""Checks of lesson 04: each answers with one text, "right. …", "not done yet. …", or what the slip looks like.

Slips are found by value: the check computes what each common mistake would give and compares it with the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STEP = 1 / 8  # from one of the 17 grey levels of `digits` to the next, in [-1, 1]


def bits_per_pixel(answer: Callable[..., Any]) -> str:
    """Whether `answer(log_density, pixels, step)` turns nats per picture into bits per pixel."""
    log_density, pixels = -12.8, 64
    got, slip = _number(answer, log_density, pixels, STEP)
    if slip:
        return slip
    nats = -(log_density / pixels + math.log(STEP))
    return _verdict(
        got,
        nats / math.log(2),
        {
            "these are nats per pixel: one bit is log 2 = 0.693 nats": nats,
            "these are bits per picture: divide by the number of pixels": nats * pixels / math.log(2),
            "the sign is turned: what is likely needs few bits": -nats / math.log(2),
            "the step from one grey level to the next is missing: a density times a width is a probability": -log_density
            / pixels
            / math.log(2),
            "the step counts once, but every pixel has one": -(log_density + math.log(STEP)) / pixels / math.log(2),
            "log step has the wrong sign: a finer step makes each level less probable": -(
                log_density / pixels - math.log(STEP)
            )
            / math.log(2),
        },
        f"For log p = {log_density}, {pixels} pixels and step {STEP}",
    )


def importance_bound(answer: Callable[..., Any]) -> str:
    """Whether `answer(log_weights)` is the importance-weighted bound (B,) of log-weights (K, B), also where exp is too small.

    Besides mild log-weights it gets far ones, of other sizes for each picture and with draws 3000 nats apart: what takes out
    anything but each picture's largest, or a fixed K, is seen there.
    """
    mild = torch.tensor([[0.1, -2.0, 1.2], [-0.7, 0.4, -1.5], [1.9, -0.3, 0.8], [0.2, 1.1, -0.6]], dtype=torch.float64)
    shift = torch.tensor([-2000.0, -1000.0, -4000.0], dtype=torch.float64)
    apart = torch.cat([mild + shift - 3000, mild + shift])  # the first half weighs nothing beside the second
    try:
        got, far = answer(mild.clone()), answer(apart.clone())
    except Exception as error:
        return f"not yet. Your function stops with {type(error).__name__}: {error}"
    if got is None or got is ...:
        return "not done yet. Return a tensor with one number for each picture, and run this cell again."
    if not isinstance(got, Tensor):
        return f"not yet. The answer is a tensor with one number for each picture; yours is {type(got).__name__}."
    k, right = len(mild), torch.logsumexp(mild, 0) - math.log(len(mild))
    across = torch.logsumexp(mild, 1) - math.log(mild.shape[1])
    slips = {
        "the mean of the logarithms: this is the ELBO again; the mean must be taken inside the logarithm": mild.mean(0),
        "a sum of the weights where their mean is needed: log K is missing": right + math.log(k),
        "log K is added where it should be taken away": right + 2 * math.log(k),
        "mean and sum along the pictures: the draws are the first dimension, (K, B)": across,
        "one number for all pictures: keep them apart, (B,)": right.mean(),
        "the mean weight without its logarithm": mild.exp().mean(0),
    }
    if got.shape == right.shape and torch.allclose(got.double(), right, rtol=1e-5, atol=1e-5):
        return _far_weights(far, right + shift - math.log(2), k)
    for slip, value in slips.items():
        if got.shape == value.shape and torch.allclose(got.double(), value, rtol=1e-5, atol=1e-5):
            return f"not yet. It looks like {slip}."
    if got.shape != right.shape:
        return f"not yet. For log-weights {tuple(mild.shape)} the answer has the shape {tuple(right.shape)}; yours has {tuple(got.shape)}."
    return f"not yet. The first picture should get {right[0]:.4f}; yours gets {got.flatten()[0]:.4f}."


def _far_weights(far: Any, wanted: Tensor, k: int) -> str:
    """What to say of an answer that is right for mild log-weights: `far` are its numbers for twice `k` far ones."""
    if not isinstance(far, Tensor) or far.shape != wanted.shape:
        return f"not yet. For {2 * k} draws the answer still has the shape {tuple(wanted.shape)}."
    far = far.double()
    if torch.allclose(far, wanted, rtol=1e-6):  # loose enough for float32
        return "right. It also holds where the weights themselves are too small for a float."
    finite, start = far.isfinite(), "nearly. With log-weights around -2000, usual for pictures, it gives "
    if finite.all():
        if torch.allclose(far, wanted + math.log(2), rtol=1e-6):
            return f"nearly. With {2 * k} draws log K is still log {k}: take K from the shape of the log-weights."
        return f"nearly. With log-weights far from 0 the first picture should get {wanted[0]:.2f}; yours gets {far[0]:.2f}."
    if finite.any():
        return f"{start}{far[~finite][0].item():g}: one maximum for all pictures: each needs its own."
    if far[0] == -math.inf:
        return f"{start}-inf: exp() is 0 there. Take the largest out first, or use torch.logsumexp."
    return f"{start}{far[0].item():g}: exp() is too large there. What has to be taken out is the *largest* log-weight of each picture."


def rates(answer: Callable[..., Any]) -> str:
    """Whether `answer(eigenvalues, sigma, beta)` is the KL of each direction of the best linear VAE."""
    eigenvalues, sigma, beta = torch.tensor([4.0, 1.5, 0.6, 0.2, 0.05], dtype=torch.float64), 0.4, 3.0

    def right(lambdas: Tensor, noise: float) -> Tensor:
        return 0.5 * (lambdas / noise).log().clamp(min=0)

    try:
        got = answer(eigenvalues.clone(), sigma, beta)
    except Exception as error:
        return f"not yet. Your function stops with {type(error).__name__}: {error}"
    if got is None or got is ...:
        return "not done yet. Return one number of nats for each eigenvalue, and run this cell again."
    if not isinstance(got, Tensor) or got.shape != eigenvalues.shape:
        return "not yet. The answer is a tensor with one number for each eigenvalue."
    if got.isnan().any():
        return (
            "not yet. Some rates are nan: a logarithm of a negative number. Directions below the noise have the rate 0."
        )
    noise = beta * sigma**2
    slips = {
        "β is not heard: it makes the noise β σ²": right(eigenvalues, sigma**2),
        "negative numbers are left: no KL is below 0, so such a direction is switched off": 0.5
        * (eigenvalues / noise).log(),
        "this is β = 1, with negative numbers left": 0.5 * (eigenvalues / sigma**2).log(),
        "β is multiplied to the rate; the rate itself is asked": beta * right(eigenvalues, noise),
        "β is multiplied to the rate; what it changes is the noise, β σ²": beta * right(eigenvalues, sigma**2),
        "λ is put in where w² = λ − βσ² belongs": 0.5 * (1 + eigenvalues / noise).log(),
        "the half is missing: it is the logarithm of a deviation, not of a variance": 2 * right(eigenvalues, noise),
        "σ where the variance σ² is needed": right(eigenvalues, beta * sigma),
        "β divides where it should multiply: a larger β is like more noise": right(eigenvalues, sigma**2 / beta),
        "β is squared: it multiplies σ², not σ": right(eigenvalues, (beta * sigma) ** 2),
        "these are bits; the course counts nats": right(eigenvalues, noise) / math.log(2),
    }
    if torch.allclose(got.double(), right(eigenvalues, noise), rtol=1e-5, atol=1e-6):
        return "right. Directions with an eigenvalue below β σ² say nothing."
    for slip, value in slips.items():
        if torch.allclose(got.double(), value, rtol=1e-5, atol=1e-6):
            return f"not yet. It looks as if {slip}."
    wanted = ", ".join(f"{v:.4f}" for v in right(eigenvalues, noise).tolist())
    return f"not yet. For eigenvalues {eigenvalues.tolist()}, sigma {sigma} and beta {beta} the rates are {wanted}."


def mended_loss(answer: Callable[..., Any]) -> str:
    """Clinic 1: whether `answer(heads, decode, images, noise)` is minus the mean ELBO of a Bernoulli VAE.

    heads (B, 2 D) are the means and then the log-variances, images (B, P) in [0, 1], noise (B, D).
    """
    seeded = torch.Generator().manual_seed(4)
    heads, noise = (torch.randn(5, n, generator=seeded, dtype=torch.float64) for n in (6, 3))
    images = torch.rand(5, 7, generator=seeded, dtype=torch.float64)
    matrix = torch.randn(3, 7, generator=seeded, dtype=torch.float64)

    def decode(z: Tensor) -> Tensor:
        return z @ matrix

    try:
        got = answer(heads.clone(), decode, images.clone(), noise.clone())
    except Exception as error:
        return f"not yet. Your function stops with {type(error).__name__}: {error}"
    if got is None or got is ...:
        return "not done yet. Return one number, the loss, and run this cell again."
    mean, log_variance = heads.chunk(2, -1)
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)

    def error_of(z: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(decode(z), images, reduction="none")

    z = mean + (0.5 * log_variance).exp() * noise
    rec, total = error_of(z).sum(-1).mean(), kl.sum(-1).mean()
    variance_as_deviation = error_of(mean + log_variance.exp() * noise).sum(-1).mean()
    swapped = error_of(log_variance + (0.5 * mean).exp() * noise).sum(-1).mean()
    swapped_kl = 0.5 * (log_variance**2 + mean.exp() - 1 - mean).sum(-1).mean()
    slips = {
        "the KL is missing: nothing keeps the codes where the prior draws them": rec,
        "the noise is missing: z must be drawn, not set to the mean": error_of(mean).sum(-1).mean() + total,
        "noise and KL are both missing: this is still a plain autoencoder": error_of(mean).sum(-1).mean(),
        "noise and KL are missing, and pixels are averaged: this is still the broken loss": error_of(mean).mean(),
        "the KL is missing, and pixels are averaged: sum them, then add the KL": error_of(z).mean(),
        "the KL is summed over the batch as well: sum over latents, take the mean over pictures": rec + kl.sum(),
        "the heads are swapped: the means come first, then the log-variances": swapped + swapped_kl,
        "the KL has the wrong sign: codes are paid for running away": rec - total,
        "exp(log-variance) is used as the deviation; it is the variance: take half of the logarithm": variance_as_deviation
        + total,
        "pixels are averaged and latents are summed: that multiplies β by the number of pixels": error_of(z).mean()
        + total,
        "pixels and latents are both averaged, over different numbers: the two terms lose their common unit": error_of(
            z
        ).mean()
        + kl.mean(),
        "the latents' KL is averaged; it must be summed": rec + kl.mean(),
        "this is the ELBO itself: a loss is what gets smaller, so turn the sign": -(rec + total),
        "the pictures are summed: take their mean, so that the loss does not depend on the batch": 5 * (rec + total),
    }
    return _verdict(torch.as_tensor(got).double(), rec + total, slips, "On the check's five pictures")


def no_floor(witness: Any) -> str:
    """Clinic 2: whether (pixel, logit), with a pixel in [-1, 1], makes binary cross-entropy fall below -100."""
    if witness is None or witness is ...:
        return "not done yet. Write a pair (pixel, logit), and run this cell again."
    if not isinstance(witness, (tuple, list)) or len(witness) != 2:
        return "not yet. A witness is a pair of numbers, (pixel, logit)."
    try:
        pixel, logit = (float(value) for value in witness)
    except (TypeError, ValueError):
        return f"not yet. A witness is a pair of numbers, (pixel, logit); this is {witness!r}."
    if not -1 <= pixel <= 1:
        return f"not yet. The pictures lie in [-1, 1], and {pixel:g} does not."
    if not math.isfinite(logit):
        return "not yet. Choose a finite logit."
    loss = F.softplus(torch.tensor(logit, dtype=torch.float64)).item() - pixel * logit
    if loss < -100:
        return f"right. The loss is {loss:.1f} there, and a larger logit of that sign makes it smaller still."
    if pixel >= 0:
        return (
            f"not yet. The loss is {loss:.1f}. For pixels in [0, 1] it never falls below 0: which pixels are outside?"
        )
    if logit >= 0:
        return f"not yet. The loss is {loss:.1f}. The pixel is negative, so push the logit to the other side."
    return f"not yet. The loss is {loss:.1f}. The side is right; go further."


def reached(share: Any) -> str:
    """Clinic 3: which share of a standard normal prior in two dimensions lies where both numbers are in (0, 1)."""
    if share is None or share is ...:
        return "not done yet. Write a number between 0 and 1, and run this cell again."
    one = 0.5 * math.erf(1 / math.sqrt(2))  # of one dimension, between 0 and 1
    slips = {
        "this is the share of one dimension; both must hit": one,
        "this is where both are positive: they must also be below 1": 0.25,
        "this is the interval from -1 to 1; a sigmoid gives 0 to 1": (2 * one) ** 2,
        "this is one dimension between -1 and 1": 2 * one,
        "this is the share that is NOT reached": 1 - one**2,
        "half is right for one dimension without the upper end; count both ends and both dimensions": 0.5,
    }
    try:
        got = torch.tensor(float(share), dtype=torch.float64)
    except (TypeError, ValueError):
        return f"not yet. A share is a number between 0 and 1; this is {share!r}."
    if abs(got - one**2) < 0.006:
        return f"right. Only {one**2:.1%} of what the prior draws lies where such an encoder can put a mean."
    for slip, value in slips.items():
        if abs(got - value) < 0.006:
            return f"not yet. It looks as if {slip}."
    return "not yet. Draw a million pairs from the prior and count those with both numbers between 0 and 1."


def _number(answer: Callable[..., Any], *arguments: float) -> tuple[Tensor, str]:
    """What a function of numbers returns, and "" or what is wrong with it."""
    try:
        got = answer(*arguments)
    except Exception as error:
        return torch.tensor(0.0), f"not yet. Your function stops with {type(error).__name__}: {error}"
    if got is None or got is ...:
        return torch.tensor(0.0), "not done yet. Return a number, and run this cell again."
    try:
        return torch.tensor(float(got), dtype=torch.float64), ""
    except (TypeError, ValueError):
        return torch.tensor(0.0), f"not yet. The answer is a number; yours is {got!r}."


def _verdict(got: Tensor, right: Any, slips: Mapping[str, Any], where: str) -> str:
    """One sentence about a number: right, a slip by its name, or how far off."""
    if got.numel() != 1:
        return f"not yet. The answer is one number; yours has the shape {tuple(got.shape)}."
    value = got.item()
    if math.isclose(value, float(right), rel_tol=1e-5, abs_tol=1e-8):
        return "right."
    for slip, wrong in slips.items():
        if math.isclose(value, float(wrong), rel_tol=1e-5, abs_tol=1e-8):
            return f"not yet. It looks as if {slip}."
    return f"not yet. {where} it should be {float(right):.4f}; yours is {value:.4f}."
