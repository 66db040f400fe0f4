"""The checks of lesson 06: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check, empty, reading
from course_utils.common import CourseError

LOG2, log = math.log(2), math.log


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) in nats of two lists of chances (K,), where q is not 0 unless p is."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()


def to_mean(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || (p + q) / 2)."""
    return kl(p, (p + q) / 2)


def chances(*counts: float) -> Tensor:
    """Counts as chances that add up to 1."""
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


def plain_logs(p: Tensor, q: Tensor) -> Tensor:
    """The right formula by p.log(), which gives 0 · (-inf) = nan where a chance is 0."""
    m = (p + q) / 2
    return 0.5 * ((p * (p / m).log()).sum() + (q * (q / m).log()).sum())


jensen_shannon = Check(
    lambda p, q: 0.5 * to_mean(p, q) + 0.5 * to_mean(q, p),
    # the second pair has zeros, at different places
    [(chances(5, 3, 2, 6), chances(1, 4, 4, 1)), (chances(2, 0, 5), chances(0, 3, 1))],
    {
        "the halves before the two KLs are missing": lambda p, q: to_mean(p, q) + to_mean(q, p),
        "only one of the two KLs to the mixture is there": lambda p, q: to_mean(p, q),
        "this is half of one KL: the other, from q to the mixture, is missing": lambda p, q: to_mean(p, q) / 2,
        "the KL of p and q themselves is taken; both are compared with their mixture m": kl,
        "the mean of KL(p, q) and KL(q, p) is taken; both are compared with their mixture m": lambda p, q: (kl(p, q) + kl(q, p)) / 2,
        "the mixture is p + q, without the half: it must add up to 1": lambda p, q: (kl(p, p + q) + kl(q, p + q)) / 2,
        "the arguments are swapped: it is KL(p || m), not KL(m || p)": lambda p, q: (kl((p + q) / 2, p) + kl((p + q) / 2, q)) / 2,
        "these are bits; the course counts nats": lambda p, q: (to_mean(p, q) + to_mean(q, p)) / 2 / LOG2,
        "this is the value of the game, V = −log 4 + 2 JS; JS itself is asked": lambda p, q: -log(4) + to_mean(p, q) + to_mean(q, p),
        "the mean over the K outcomes is taken; they are summed": lambda p, q: (to_mean(p, q) + to_mean(q, p)) / 2 / len(p),
        "0 · log 0 has become nan: such a term counts nothing; torch.xlogy knows that": plain_logs,
    },
    todo="Return one number, and run this cell again.",
    right="It is 0 for equal chances, and log 2 = 0.693 where the two have nothing in common.",
    rtol=1e-5,
)  # fmt: skip

MILD = torch.tensor([0.3, -1.2, 2.0, 0.7, -0.4])
WILD = torch.tensor([150.0, -3.0, 0.5])  # where sigmoid is 0 or 1 in a float, log(sigmoid) is -inf


def losses(
    real: Callable[[Tensor], Any] = lambda logits: F.softplus(-logits),
    fake: Callable[[Tensor], Any] = F.softplus,
    generator: Callable[[Tensor], Any] = lambda logits: F.softplus(-logits),
    over: Callable[[Any], Any] = lambda each: each.mean(),
    share: float = 1,
    order: int = 1,
) -> Callable[..., Any]:
    """The pair of losses, or with one part changed; order -1 swaps real and fake."""

    def answer(real_logits: Tensor, fake_logits: Tensor) -> Any:
        a, b = (real_logits, fake_logits)[::order]
        return share * (over(real(a)) + over(fake(b))), over(generator(b))

    return answer


two_losses = Check(
    losses(),
    [(MILD, 0.5 - MILD.flip(0)), (WILD, torch.tensor([-150.0, 2.0, -0.7]))],
    {
        "the generator has the saturating loss, E[log(1 − D)]: it should be −E[log D]": losses(generator=lambda v: -F.softplus(v)),
        "the generator's loss has the wrong sign: it would *minimise* log D(G(z)), and flee the data": losses(generator=F.logsigmoid),
        "the discriminator's loss has the wrong sign: it makes V large, so its loss is −V": losses(real=F.logsigmoid, fake=lambda v: -F.softplus(v)),
        "the mean of the two cross-entropies is taken; −V is their sum": losses(share=0.5),
        "the targets are swapped: real ones have target 1, generated ones 0": losses(real=F.softplus, fake=lambda v: F.softplus(-v)),
        "real and fake logits are swapped": losses(order=-1),
        "the fake half of the discriminator's loss has target 1, too: there it is 0": losses(fake=lambda v: F.softplus(-v)),
        "only the real half of the discriminator's loss is there": losses(fake=lambda v: 0 * v),
        "only the fake half of the discriminator's loss is there": losses(real=lambda v: 0 * v),
        "the generator is judged by real pictures: it learns from the fake logits": lambda r, f: (losses()(r, f)[0], F.softplus(-r).mean()),
        "the batch is summed: take means, so that the loss does not depend on its size": losses(over=lambda each: each.sum()),
        "each picture has its own loss: take the mean over them": losses(over=lambda each: each),
        "a sigmoid is taken before a loss that takes one itself": lambda r, f: losses()(r.sigmoid(), f.sigmoid()),
        "log(0) = −inf: far out sigmoid is exactly 0 or 1 in a float; use softplus or logsigmoid of the logit": losses(lambda v: -v.sigmoid().log(), lambda v: -(1 - v.sigmoid()).log(), lambda v: -v.sigmoid().log()),
    },
    todo="Return the pair of losses, and run this cell again.",
    right="They also hold where the sigmoid itself is 0 or 1 in a float.",
)  # fmt: skip


def kernel_mean(x: Tensor, points: Tensor, scale: float, dim: int = 1, power: int = 2) -> Tensor:
    """The mean of points weighted by exp(-distance^power / scale)."""
    distance = (x[:, None] - points).square().sum(-1)
    return torch.softmax(-(distance if power == 2 else distance.sqrt()) / scale, dim) @ points


def difference(mean: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    """What is drawn by the data minus what is pushed by the samples."""
    return lambda x, data, samples, h: mean(x, data, h) - mean(x, samples, h)


def unnormalised(x: Tensor, points: Tensor, h: float) -> Tensor:
    """The sum of displacements times kernel, not divided by the sum of the kernel."""
    apart = points - x[:, None]
    return (torch.exp(-apart.square().sum(-1, keepdim=True) / (2 * h**2)) * apart).mean(1)


def cloud(n: int, seed: int, dims: int = 2) -> Tensor:
    """n random points (n, dims)."""
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


right_mean = lambda x, points, h: kernel_mean(x, points, 2 * h**2)  # noqa: E731

drifted = Check(
    difference(right_mean),
    [(cloud(4, 0), cloud(6, 1), cloud(5, 2), 0.7), (cloud(3, 3, 3), 2 + cloud(7, 4, 3), cloud(4, 5, 3), 1.6)],
    {
        "the sign is turned: x is pushed from the data and drawn to the samples": lambda x, p, q, h: right_mean(x, q, h) - right_mean(x, p, h),
        "only the pull of the data is there; the samples push": lambda x, p, q, h: right_mean(x, p, h) - x,
        "only the kernel mean of the data is returned: take that of the samples away": lambda x, p, q, h: right_mean(x, p, h),
        "x is taken away once more; it cancels between the two means": lambda x, p, q, h: right_mean(x, p, h) - right_mean(x, q, h) - x,
        "pull and push are added; the push has a minus": lambda x, p, q, h: right_mean(x, p, h) + right_mean(x, q, h) - 2 * x,
        "the kernel is exp(−d²/h²): it is 2 h² below": difference(lambda x, y, h: kernel_mean(x, y, h**2)),
        "the kernel is exp(−d²/2h): the width is squared": difference(lambda x, y, h: kernel_mean(x, y, 2 * h)),
        "the kernel is exp(−d²/2), without the width": difference(lambda x, y, h: kernel_mean(x, y, 2)),
        "the distance is not squared: that is the Laplace kernel, or its cousin": difference(lambda x, y, h: kernel_mean(x, y, 2 * h**2, power=1)),
        "the kernel is exp(−d/h), the Laplace kernel of the paper; a Gaussian is asked": difference(lambda x, y, h: kernel_mean(x, y, h, power=1)),
        "the weights add up to 1 over the x; they must do so over the points": difference(lambda x, y, h: kernel_mean(x, y, 2 * h**2, dim=0)),
        "the weights do not add up to 1: divide by the sum of the kernel": difference(unnormalised),
        "it is divided by h²: that is the difference of the scores; the drift is h² times it": lambda x, p, q, h: (right_mean(x, p, h) - right_mean(x, q, h)) / h**2,
        "the weights are equal: the kernel is missing": lambda x, p, q, h: (p.mean(0) - q.mean(0)).expand(len(x), -1),
    },
    todo="Return one displacement for each x, and run this cell again.",
    right="Where data and samples are the same points, nothing drifts.",
    hint="x[:, None] - points has the shape (N, M, P): each x against each point.",
    rtol=1e-5,
    atol=1e-7,
)  # fmt: skip


def with_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, and its gradient in the logits."""

    def observed(logits: Tensor) -> Any:
        logits = logits.clone().requires_grad_()
        value = loss(logits)
        if empty(value):
            return value
        if not (isinstance(value, Tensor) and value.requires_grad):
            raise CourseError("No gradient comes through to the logits: return a tensor made from them.")
        return value, torch.autograd.grad(value.sum(), logits)[0]

    return observed


mended_generator = Check(
    lambda logits: F.softplus(-logits).mean(),
    [(MILD,), (WILD[1:] - 1,)],
    {
        "it is still E[log D(G(z))], made small: the samples flee to where D is sure that they are fake": lambda v: F.logsigmoid(v).mean(),
        "it is E[log(1 − D)], which the first paper begins with: right in sign, but it stalls where D is sure; −E[log D] is asked": lambda v: -F.softplus(v).mean(),
        "it is −E[log(1 − D)]: its sign turns twice, and the samples flee": lambda v: F.softplus(v).mean(),
        "it is −E[D]: the logarithm is missing": lambda v: -v.sigmoid().mean(),
        "it is −E[logit]: that is another game, without a sigmoid": lambda v: -v.mean(),
        "the batch is summed: take the mean": lambda v: F.softplus(-v).sum(),
    },
    todo="Return one number, the generator's loss, and run this cell again.",
    right="Its gradient pulls hardest where D is sure that a sample is fake.",
    observe=with_gradient,
)  # fmt: skip


def pair_of_numbers(answer: Any) -> tuple[float, ...]:
    """An answer of two numbers as floats. CourseError if it is none."""
    try:
        numbers = tuple(float(number) for number in answer)
    except (TypeError, ValueError, RuntimeError):
        raise CourseError(f"The answer is a pair of numbers; this is {answer!r}.") from None
    if len(numbers) != 2:
        raise CourseError(f"The answer is a pair of numbers; this has {len(numbers)}.")
    return numbers


derivatives = Check(
    (5.0, -0.8),
    slips={
        "both are right, in the other order": (-0.8, 5.0),
        "the second has the sign of log D; the loss is −log D": (5.0, 0.8),
        "the first is that of −log D; the first that is asked is of log D itself": (-5.0, -0.8),
        "the tutorial's (D − 1) stands in both places; by D itself the derivative is 1/D": (-0.8, -0.8),
        "the first is D − 1, as in the tutorial; the derivative of log D by D is 1/D": (-0.8, -5.0),
        "the second is that of −log D by D; by the *logit* the chain rule adds D (1 − D)": (5.0, -5.0),
        "the second is that of −log(1 − D) by the logit, which is D": (5.0, 0.2),
        "the second is that of log(1 − D) by the logit, which is −D": (5.0, -0.2),
    },
    todo="Write the pair of numbers, and run this cell again.",
    right="1/D and D − 1: the second is the first times −D (1 − D), by the chain rule.",
    otherwise=lambda got: "Let autograd tell: d = torch.tensor(0.2, requires_grad=True); d.log().backward(); d.grad.",
    observe=reading(pair_of_numbers),
    rtol=1e-3,
)

at_rest = Check(
    (log(4), LOG2),
    slips={
        "the losses are given for D = 0.9, or for no loss at all; at rest D is 1/2": (0.0, 0.0),
        "this is a game that the discriminator has won: at rest D is 1/2": (-2 * log(0.9), -log(0.1)),
        "this is a game that the generator has won: at rest D is 1/2": (-log(0.1) - log(0.9), -log(0.9)),
        "the discriminator's loss is the *sum* of two cross-entropies here": (LOG2, LOG2),
        "the two are swapped": (LOG2, log(4)),
        "these are the values of V and of log(1 − D); the losses are −V and −log D": (-log(4), -LOG2),
        "these are chances, not losses: a loss is −log of one": (0.5, 0.5),
        "these are bits: the logarithms are natural": (2.0, 1.0),
    },
    todo="Write the pair of numbers, and run this cell again.",
    right="log 4 = 1.386 and log 2 = 0.693: losses of a good game look like those of a coin.",
    otherwise=lambda got: "At rest D(x) = D(G(z)) = 1/2 everywhere: put that into −V and into −E[log D(G(z))].",
    observe=reading(pair_of_numbers),
    rtol=5e-3,
)


least_loss = Check(
    lambda loss_g: -0.5 * log(1 - math.exp(-loss_g)),
    [(0.1375,), (0.9,), (2.5,)],
    {
        "this is the sum of the two cross-entropies; this log prints their mean": lambda g: -log(1 - math.exp(-g)),
        "this is the least mean of D(G(z)); go on to the loss": lambda g: math.exp(-g),
        "this is 1 − E[D(G(z))]; take −log of it, and half of that": lambda g: 1 - math.exp(-g),
        "the discriminator's loss on samples has log(1 − D), not log D": lambda g: g / 2,
        "D(G(z)) is taken for 1 − Loss_G; it is at least exp(−Loss_G)": lambda g: -0.5 * log(abs(g)),
        "the sign is turned: a cross-entropy is never negative": lambda g: 0.5 * log(1 - math.exp(-g)),
        "the logarithm has base 2; these losses are in nats": lambda g: -0.5 * math.log2(1 - math.exp(-g)),
        "the real half is taken at rest, log 2, and added; it may be as low as 0": lambda g: 0.5 * (LOG2 - log(1 - math.exp(-g))),
        "it is 1.03 whatever the log says: use the argument": lambda g: -0.5 * log(1 - math.exp(-0.1375)),
    },
    todo="Return one number, and run this cell again.",
    right=lambda answer: f"For Loss_G = 0.1375 it is {float(answer(0.1375)):.2f}, and the tutorial printed 0.0671.",
    rtol=1e-3,
)  # fmt: skip
