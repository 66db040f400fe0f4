"""The checks of lesson 16: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_utils.classroom.checks import Check
from course_utils.common import CourseError


def some(*shape: int, seed: int = 0) -> Tensor:
    """Numbers to try an answer with."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def high(t: Tensor) -> Tensor:
    """(B,) made to fit (B, C, H, W)."""
    return t[:, None, None, None]


TIMES = torch.tensor([0.15, 0.4, 0.85], dtype=torch.float64)

to_velocity = Check(
    lambda noise, x, t: (x - noise) / high(t),
    [
        (some(3, 2, 4, 4), some(3, 2, 4, 4, seed=1), TIMES),
        (some(2, 1, 2, 2), some(2, 1, 2, 2, seed=1), TIMES[1:]),
        (some(4, 1, 2, 2), some(4, 1, 2, 2, seed=1), torch.tensor([0.6, 0.01, 0.97, 0.03], dtype=torch.float64)),
    ],
    {
        "the sign is turned: the velocity points away from the noise": lambda e, x, t: (e - x) / high(t),
        "it is divided by 1 - t: that is the way that is left, and from the noise you have come t": lambda e, x, t: (x - e) / (1 - high(t)),
        "the division is missing: x - noise is the way covered in the time t, not the speed": lambda e, x, t: x - e,
        "it is multiplied by t where it must be divided": lambda e, x, t: (x - e) * high(t),
        "this is the data": lambda e, x, t: (x - (1 - high(t)) * e) / high(t),
        "the noise counts (1 - t) times: x - (1 - t) noise is t times the data": lambda e, x, t: x - (1 - high(t)) * e,
        "this is the score, -noise / (1 - t)": lambda e, x, t: -e / (1 - high(t)),
        "every picture gets the t of the first: each has its own": lambda e, x, t: (x - e) / t[0],
        "t is held at 0.05 or more, which this page does for networks only: the velocity has t itself, however small": lambda e, x, t: (x - e) / high(t).clamp_min(0.05),
        "x is taken for the data": lambda e, x, t: x - e * high(t),
    },
    todo="Return a tensor of the shape of x, and run this cell again.",
    right="At t = 0 it has no answer: there x is the noise, and tells nothing of the data.",
    hint="Each picture has its own t: t[:, None, None, None] makes (B,) fit (B, C, H, W).",
    rtol=1e-6,
)  # fmt: skip


def bent(x: Tensor, t: Tensor) -> Tensor:
    """A velocity that depends on place and time."""
    return torch.sin(2 * x) - x * t[:, None] ** 2


def other(x: Tensor, t: Tensor) -> Tensor:
    """Another one."""
    return x * x - torch.cos(5 * t)[:, None]


def heun(second: Callable = lambda f, x, v, t, n: f(x + (n - t)[:, None] * v, n), mean: float = 2.0) -> Callable:
    """A step of Heun's method, or with another look ahead."""

    def step(velocity: Callable, x: Tensor, t: Tensor, following: Tensor) -> Tensor:
        first = velocity(x, t)
        return x + (following - t)[:, None] * (first + second(velocity, x, first, t, following)) / mean

    return step


def euler_step(velocity: Callable, x: Tensor, t: Tensor, n: Tensor) -> Tensor:
    """A step of Euler's method."""
    return x + (n - t)[:, None] * velocity(x, t)


def midpoint(velocity: Callable, x: Tensor, t: Tensor, n: Tensor) -> Tensor:
    """A step of the midpoint method."""
    half = (t + n) / 2
    return x + (n - t)[:, None] * velocity(x + (half - t)[:, None] * velocity(x, t), half)


def watched(answer: Callable) -> Callable:
    """The answer, refused if it changes the x that it is given, or finds the right place with other than two evaluations."""

    def observed(velocity: Callable, x: Tensor, t: Tensor, following: Tensor) -> Any:
        before, times = x.clone(), []

        def counted(x: Tensor, t: Tensor) -> Tensor:
            times.append(t)
            return velocity(x, t)

        ahead = answer(counted, x, t, following)
        if not torch.equal(x, before):
            raise CourseError(
                "It changes the x that it was given, and whoever called still needs it: write x = x + …, not x += …."
            )
        if len(times) != 2 and heun_step.same(ahead, heun()(velocity, before, t, following)):
            raise CourseError(
                f"The place is right, but the velocity is asked {len(times)} times, and each time is a pass of a network: "
                "keep velocity(x, t) in a variable, and two are enough."
            )
        return ahead

    return observed


def by_first(velocity: Callable, x: Tensor, t: Tensor, following: Tensor) -> Tensor:
    """A step of Heun's method with the length of the first row's step in every row."""
    length, first = (following - t)[0], velocity(x, t)
    return x + length * (first + velocity(x + length * first, following)) / 2


heun_step = Check(
    heun(),
    [
        (bent, some(3, 2), torch.tensor([0.2, 0.1, 0.4]).double(), torch.tensor([0.5, 0.25, 0.9]).double()),
        (other, some(4, 1, seed=2), torch.tensor([0.6, 0.3, 0.0, 0.5]).double(), torch.tensor([0.7, 0.5, 0.4, 0.9]).double()),
    ],
    {
        "this is Euler's step: look ahead, and take the mean of both velocities": euler_step,
        "the second velocity is asked at the old place: first take Euler's step, then ask there": heun(lambda f, x, v, t, n: f(x, n)),
        "the second velocity is asked at the old time: it belongs to the following one": heun(lambda f, x, v, t, n: f(x + (n - t)[:, None] * v, t)),
        "both velocities are added; their *mean* is needed": heun(mean=1.0),
        "only the velocity ahead is used; take the mean of both": lambda f, x, t, n: x + (n - t)[:, None] * f(euler_step(f, x, t, n), n),
        "the look ahead goes by the velocity itself, not by velocity times the length of the step": heun(lambda f, x, v, t, n: f(x + v, n)),
        "the step has the length of the following time; it is following - t": lambda f, x, t, n: x + n[:, None] * (f(x, t) + f(euler_step(f, x, t, n), n)) / 2,
        "the mean is taken, but the step's length is missing": lambda f, x, t, n: x + (f(x, t) + f(euler_step(f, x, t, n), n)) / 2,
        "every row takes the step of the first: each has its own length, (following - t)[:, None]": by_first,
        "the mean starts from the place ahead: it starts from x": lambda f, x, t, n: euler_step(f, x, t, n) + (n - t)[:, None] * (f(x, t) + f(euler_step(f, x, t, n), n)) / 2,
        "this is the midpoint method, of order 2 as well; Heun's takes the mean of both ends": midpoint,
    },
    todo="Return the place at the following time, and run this cell again.",
    right="Two evaluations, and order 2.",
    hint="x is (N, D) and times are (N,): (following - t)[:, None] fits.",
    observe=watched,
    rtol=1e-6,
)  # fmt: skip


def ddim(
    noise_of_goal: Callable = lambda then: (1 - then).sqrt(),
    goal: Callable = torch.sqrt,
    noise_of_start: Callable = lambda now: (1 - now).sqrt(),
) -> Callable:
    """A step of DDIM, or with another mixture at one of its ends."""

    def step(y: Tensor, noise: Tensor, now: Tensor, then: Tensor) -> Tensor:
        data = (y - noise_of_start(now) * noise) / now.sqrt()
        return goal(then) * data + noise_of_goal(then) * noise

    return step


def swapped_root(alpha_bar: Tensor) -> Tensor:
    """What is easily written for √(1 - ᾱ)."""
    return 1 - alpha_bar.sqrt()


def ddpm_mean(y: Tensor, noise: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """The mean of DDPM's draw, (16.18)."""
    data, alpha = (y - (1 - now).sqrt() * noise) / now.sqrt(), now / then
    return (then.sqrt() * (1 - alpha) * data + alpha.sqrt() * (1 - then) * y) / (1 - now)


def bar(value: float) -> Tensor:
    """An ᾱ, (1,)."""
    return torch.tensor([value], dtype=torch.float64)


ddim_step = Check(
    ddim(),
    [
        (some(5, 2), some(5, 2, seed=1), bar(0.3), bar(0.6)),
        (some(2, 1, 3, 3), some(2, 1, 3, 3, seed=1), bar(0.05), bar(1.0)),
    ],
    {
        "roots are missing at the goal: signal and noise are √ᾱ and √(1 - ᾱ)": ddim(lambda then: 1 - then, lambda then: then),
        "the noise of the goal is missing: this is √ᾱ_j times the data alone": ddim(lambda then: 0 * then),
        "the data come back whatever the goal: mix noise in again, for ᾱ_j": ddim(lambda then: 0 * then, lambda then: 1.0),
        "the goal's noise has no root: its factor is √(1 - ᾱ_j)": ddim(lambda then: 1 - then),
        "now and then are exchanged": lambda y, e, now, then: ddim()(y, e, then, now),
        "the data are divided by ᾱ_k; its root is the factor of the data in y": lambda y, e, now, then: (then.sqrt() / now) * (y - (1 - now).sqrt() * e) + (1 - then).sqrt() * e,
        "the division by √ᾱ_k is missing: what is left after taking the noise away is √ᾱ_k times the data": lambda y, e, now, then: then.sqrt() * (y - (1 - now).sqrt() * e) + (1 - then).sqrt() * e,
        "the noise that is taken away has no root: its factor in y is √(1 - ᾱ_k)": lambda y, e, now, then: then.sqrt() * (y - (1 - now) * e) / now.sqrt() + (1 - then).sqrt() * e,
        "the noise has no root at either end: its factors are √(1 - ᾱ_k) and √(1 - ᾱ_j)": ddim(lambda then: 1 - then, noise_of_start=lambda now: 1 - now),
        "1 - √ᾱ is written for √(1 - ᾱ): first take 1 - ᾱ, then the root": ddim(swapped_root, noise_of_start=swapped_root),
        "1 - √ᾱ_k is written for √(1 - ᾱ_k), where noise is taken away": ddim(noise_of_start=swapped_root),
        "1 - √ᾱ_j is written for √(1 - ᾱ_j), where noise is mixed in again": ddim(swapped_root),
        "this is the mean of DDPM's draw, (16.18): DDIM mixes the model's data and noise anew, (16.17)": ddpm_mean,
        "fresh noise is drawn: DDIM goes on with the noise that the model told": lambda y, e, now, then: ddim()(y, e, now, then) + (1 - then).sqrt() * (torch.randn_like(e) - e),
        "the straight road's factors are used, ᾱ and 1 - ᾱ": lambda y, e, now, then: then * (y - (1 - now) * e) / now + (1 - then) * e,
    },
    todo="Return a tensor of the shape of y, and run this cell again.",
    right="With ᾱ_j = 1 it gives the data, so the last step of DDIM is the model's answer itself.",
    rtol=1e-6,
)  # fmt: skip


def answer(
    spread: Callable = lambda t, s: t**2 * s**2 + (1 - t) ** 2,
    prior: Callable = torch.log,
    norm: Callable = lambda variance, d: 0.5 * d * variance.log(),
    slope: Callable = lambda t, s, variance: t * s**2 / variance,
    centre: Callable = lambda t, m: t * m,
    line_centre: Callable | None = None,
    half: float = 0.5,
    dim: int = 1,
) -> Callable:
    """E[x1 | x_t] of a mixture, or with one part of it changed."""

    def best(x: Tensor, t: float, means: Tensor, sigmas: Tensor, weights: Tensor) -> Tensor:
        variance = spread(t, sigmas)  # (M,)
        off = x[:, None] - centre(t, means)  # (N, M, D)
        w = (prior(weights) - norm(variance, x.shape[1]) - half * off.square().sum(-1) / variance).softmax(dim)
        along = x[:, None] - (line_centre or centre)(t, means)
        each = means + slope(t, sigmas, variance)[:, None] * along
        return (w[..., None] * each).sum(1)

    return best


WIDE = (torch.tensor([0.3, 0.9, 0.5]).double(), torch.tensor([0.2, 0.5, 0.3]).double())

mixture_answer = Check(
    answer(),
    [
        (some(5, 2), 0.4, some(3, 2, seed=1), *WIDE),
        (some(4, 1), 0.8, some(2, 1, seed=3), WIDE[0][:2], WIDE[1][:2] / WIDE[1][:2].sum()),
    ],
    {
        "the weights of the mixture are not heard: a mean that is rare must count less": answer(prior=lambda w: 0 * w),
        "the density's normaliser is missing: a wide Gaussian is lower at its middle": answer(norm=lambda v, d: 0 * v),
        "the normaliser counts one dimension: in D it is D/2 times the log of the variance": answer(norm=lambda v, d: 0.5 * v.log()),
        "the normaliser has D times the log of the variance; half of it is needed": answer(norm=lambda v, d: d * v.log()),
        "the means themselves are averaged: within a Gaussian the place x says more": answer(slope=lambda t, s, v: 0 * s),
        "the noise is missing in the variance of x_t, t² s² + (1 - t)²": answer(lambda t, s: t**2 * s**2),
        "the variance of x_t is added by roots: variances add, t² s² + (1 - t)²": answer(lambda t, s: (t * s + 1 - t) ** 2),
        "the data's own spread is missing in the variance of x_t": answer(lambda t, s: (1 - t) ** 2 + 0 * s),
        "x is compared with the means; at time t they lie at t times the mean": answer(centre=lambda t, m: m),
        "the slope is that of the velocity; for the data it is t s² over the variance": answer(slope=lambda t, s, v: (t * s**2 - (1 - t)) / v),
        "the slope has t²: the covariance of x1 and x_t is t s²": answer(slope=lambda t, s, v: t**2 * s**2 / v),
        "w is the softmax of (16.7), which is for one s and equal weights: the logarithm takes in log π_i and the normaliser, -D/2 log(variance), too": answer(prior=lambda w: 0 * w, norm=lambda v, d: 0 * v),
        "the softmax runs over the points: each point shares a weight of 1 among the M Gaussians, so it is dim 1 of (N, M)": answer(dim=0),
        "sigma is not squared, in variance and slope: both have s²": answer(lambda t, s: t**2 * s + (1 - t) ** 2, slope=lambda t, s, v: t * s / v),
        "sigma is not squared in the variance of x_t, t² s² + (1 - t)²": answer(lambda t, s: t**2 * s + (1 - t) ** 2),
        "sigma is not squared in the slope: the covariance of x1 and x_t is t s²": answer(slope=lambda t, s, v: t * s / v),
        "the ½ of the exponent is missing: a Gaussian has the squared distance over *twice* the variance": answer(half=1.0),
        "both ½ are missing, of the exponent and of the normaliser": answer(half=1.0, norm=lambda v, d: d * v.log()),
        "the weights are right, but the line of regression starts from x - m_i; at time t it is x - t m_i": answer(line_centre=lambda t, m: m),
        "the line of regression is right, but the weights measure x - m_i; at time t it is x - t m_i": answer(centre=lambda t, m: m, line_centre=lambda t, m: t * m),
        "the mixture's weights go in without their logarithm": answer(prior=lambda w: w),
    },
    todo="Return a tensor (N, D), and run this cell again.",
    right="With sigmas of 0 and equal weights this is (16.3).",
    hint="x is (N, D) and means are (M, D): x[:, None] - t * means is (N, M, D), and what is (M,) needs [:, None] to fit it.",
    rtol=1e-6,
)  # fmt: skip


def noising(
    factors: Callable = lambda b, k: b[:k], spread: Callable = lambda b: (1 - b).sqrt(), mean: Callable = torch.sqrt
) -> Callable:
    """y_k, or with one part of it changed."""

    def noised(x1: Tensor, betas: Tensor, k: int, noise: Tensor) -> Tensor:
        alpha_bar = (1 - factors(betas, k)).prod()
        return mean(alpha_bar) * x1 + spread(alpha_bar) * noise

    return noised


BETAS = torch.tensor([0.1, 0.25, 0.05, 0.4, 0.3], dtype=torch.float64)

mended_noising = Check(
    noising(),
    [
        (some(4, 3), BETAS, 3, some(4, 3, seed=1)),
        (some(2, 1), BETAS[1:], 1, some(2, 1, seed=1)),
        (some(3, 2), BETAS, 0, some(3, 2, seed=1)),
    ],
    {
        "the product has one factor too many: β_1 … β_k are betas[0] … betas[k - 1]": noising(lambda b, k: b[: k + 1]),
        "the product has one factor too few: betas[:k] ends with β_k": noising(lambda b, k: b[: max(k - 1, 0)]),
        "the product is right, and the root is still taken twice: 1 - ᾱ is the variance, and noise is multiplied by *its* root": noising(spread=lambda b: (1 - b) ** 0.25),
        "both mistakes are still there": noising(lambda b, k: b[: k + 1], lambda b: (1 - b) ** 0.25),
        "the noise is multiplied by the variance; its root is needed": noising(spread=lambda b: 1 - b),
        "the data are multiplied by ᾱ; its root is needed": noising(mean=lambda b: b),
        "all factors are taken, whatever k": noising(lambda b, k: b),
        "[k - 1] of cumprod is meant: right from k = 1 on, but at k = 0 it is [-1], the last; (1 - betas[:k]).prod() is 1 there": noising(lambda b, k: b[:k] if k else b),
        "the product starts with β_2: betas[0] is β_1, so betas[:k] are the first k": noising(lambda b, k: b[1 : k + 1]),
        "only β_k is used; the noise of all steps adds up": lambda x, b, k, e: (1 - b[k - 1]).sqrt() * x + b[k - 1].sqrt() * e,
        "the βs are added: 1 - β is multiplied": lambda x, b, k, e: (1 - b[:k].sum()).clamp(min=0).sqrt() * x + b[:k].sum().clamp(max=1).sqrt() * e,
    },
    todo="Return y_k, a tensor of the shape of x1, and run this cell again.",
    right="At k = 0 nothing is added, and unit variance stays unit variance at every k.",
    rtol=1e-6,
)  # fmt: skip


def deviation(t: float, s: float) -> float:
    """The standard deviation of x_t."""
    return math.sqrt((1 - t) ** 2 + t**2 * s**2)


def with_tensors(answer: Callable) -> Callable:
    """The answer, given tensors for numbers: those suit math.sqrt and torch.sqrt alike."""
    return lambda *numbers: answer(*(torch.tensor(number, dtype=torch.float64) for number in numbers))


noise_deviation = Check(
    lambda t, s: (1 - t) / deviation(t, s),
    [(0.3, 0.4), (0.5, 1.0), (0.9, 1.5)],
    {
        "this is 1, the deviation of the noise itself; the mean of what it may be varies less": lambda t, s: 1.0,
        "this is always 0.7: it depends on t and s": lambda t, s: math.sqrt(0.5),
        "this is the variance: take its root": lambda t, s: (1 - t) ** 2 / deviation(t, s) ** 2,
        "this is the deviation of what the answer *misses*, which is also the part of the data in x_t": lambda t, s: t * s / deviation(t, s),
        "this is the slope of the regression; multiply by the deviation of x_t": lambda t, s: (1 - t) / deviation(t, s) ** 2,
        "this is 1 - t, the covariance of ε and x_t: divide it by the deviation of x_t": lambda t, s: 1 - t,
        "this is √(1 - t), which is right at t = ½ and s = 1 only by chance: divide the covariance, 1 - t, by the deviation of x_t": lambda t, s: (1 - t) ** 0.5,
        "s is not heard": lambda t, s: (1 - t) / deviation(t, 1.0),
        "this is the deviation of x_t": deviation,
        "t runs the other way here: at t = 0 all is noise, and the answer must be 1": lambda t, s: t / math.sqrt(t**2 + (1 - t) ** 2 * s**2),
        "deviations are added where variances add": lambda t, s: (1 - t) / (1 - t + t * s),
    },
    todo="Return one number, and run this cell again.",
    right="At t = 0 it is 1, and it falls to 0 at t = 1, where nothing of the noise is left to be seen.",
    observe=with_tensors,
    rtol=1e-4,
)  # fmt: skip
