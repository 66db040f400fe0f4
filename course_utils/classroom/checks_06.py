"""The checks of lesson 06: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check, as_function, empty, reading
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
# In a float32, 1 - sigmoid is 0 from a logit of about 17 on; from about 89 on exp is inf, and sigmoid is 0 at -104.
WILD = torch.tensor([150.0, -3.0, 0.5]), torch.tensor([-150.0, 30.0, 2.0, -0.7])
WILDER = torch.tensor([-150.0, 2.5]), torch.tensor([150.0, 40.0, -1.3])


def differentiated(value: Any, logits: Tensor) -> Tensor | None:
    """The gradient of a loss in the logits, 0 where they are not part of it; None if the loss has none at all."""
    if not (isinstance(value, Tensor) and value.requires_grad):
        return None
    return torch.autograd.grad(value.sum(), logits, retain_graph=True, materialize_grads=True)[0]


def stop_if_cut_off(answer: Callable[..., Any], reference: Callable[..., Any], *logits: Tensor) -> None:
    """Raises CourseError if losses are right for these logits squeezed to ±5, and finite but wrong as they are."""

    def numbers(loss: Callable[..., Any], near: bool) -> Tensor:
        given = [one.detach().clamp(-5, 5) if near else one.detach() for one in logits]
        return torch.stack([torch.as_tensor(one).double().mean() for one in loss(*given)])

    far, wanted = numbers(answer, False), numbers(reference, False)
    if not far.isfinite().all() or torch.allclose(far, wanted, 1e-4):
        return
    if torch.allclose(numbers(answer, True), numbers(reference, True), 1e-4):
        raise CourseError(
            "Far out the loss is cut off: a clamp, a small number added inside the logarithm, or F.binary_cross_entropy, which "
            "stops at 100, hides −inf, and with it the gradient. Take softplus or logsigmoid of the logit: they need no guard."
        )


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


def log1p_exp(logits: Tensor) -> Tensor:
    """Softplus as it is written in (6.5): exp gives inf far out."""
    return (1 + logits.exp()).log()


def with_both_gradients(answer: Any) -> Callable[..., Any]:
    """The pair of losses; CourseError where they are right and their gradients are not."""

    def observed(real_logits: Tensor, fake_logits: Tensor) -> Any:
        given = real_logits.requires_grad_(), fake_logits.requires_grad_()
        pair, wanted = as_function(answer)(*given), losses()(*given)
        try:
            numbers = [torch.as_tensor(one).detach().double() for one in pair]
        except (TypeError, ValueError, RuntimeError):  # not a pair of numbers, which is said elsewhere
            return pair
        if len(numbers) != 2:
            return pair
        stop_if_cut_off(answer, losses(), *given)
        if not all(map(two_losses.same, numbers, wanted)):
            return pair
        for name, loss, right in zip(("discriminator", "generator"), pair, wanted, strict=True):
            for side, logits in zip(("real", "fake"), given, strict=True):
                got, gradient = differentiated(loss, logits), differentiated(right, logits)
                if got is None:
                    raise CourseError(
                        f"The numbers are right, but no gradient comes through the {name}'s loss: return a tensor made from "
                        "the logits, without .item(), float() or .detach()."
                    )
                if not two_losses.same(got, gradient):
                    what = "none" if not got.any() else "a wrong one"
                    raise CourseError(
                        f"The numbers are right, but the {name}'s loss should have a gradient in the {side} logits, and has "
                        f"{what}: it learns by it. What D's turn detaches is the picture, D(fake.detach()), not the logit."
                    )
        return pair

    return observed


two_losses = Check(
    losses(),
    [(MILD, 0.5 - MILD.flip(0)), WILD, WILDER],
    {
        "the two are right, in the other order: the discriminator's comes first": lambda r, f: losses()(r, f)[::-1],
        "the generator's loss is −E[log(1 − D)], which teaches it to look made: it should be −E[log D]": losses(generator=F.softplus),
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
        "log(0) = −inf: from a logit of about 17 on sigmoid is exactly 1 in a float, and 1 − sigmoid is 0; use softplus or logsigmoid of the logit": losses(lambda v: -v.sigmoid().log(), lambda v: -(1 - v.sigmoid()).log(), lambda v: -v.sigmoid().log()),
        "exp overflows: exp(150) is inf in a float, so log(1 + exp) is inf, and sigmoid, 1/(1 + exp), is 0 with log −inf; use softplus or logsigmoid, which know that": losses(lambda v: log1p_exp(-v), log1p_exp, lambda v: log1p_exp(-v)),
    },
    todo="Return the pair of losses, and run this cell again.",
    right="They also hold where the sigmoid itself is 0 or 1 in a float.",
    observe=with_both_gradients,
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


def kernel_sum(x: Tensor, points: Tensor, h: float) -> Tensor:
    """The sum of points times kernel, not divided by the sum of the kernel."""
    return torch.exp(-(x[:, None] - points).square().sum(-1) / (2 * h**2)) @ points


def one_softmax(x: Tensor, data: Tensor, samples: Tensor, h: float) -> Tensor:
    """The drift if data and samples share one softmax."""
    points = torch.cat([data, samples])
    weights = torch.softmax(-(x[:, None] - points).square().sum(-1) / (2 * h**2), 1)
    return weights[:, : len(data)] @ data - weights[:, len(data) :] @ samples


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
        "the kernel is not divided by its sum over the points: their weights must add up to 1": difference(kernel_sum),
        "the kernel is averaged over the points, and not divided by its own mean, which stands below in (6.11)": difference(lambda x, y, h: kernel_sum(x, y, h) / len(y)),
        "one softmax runs over data and samples together: each of the two means has weights that add up to 1": one_softmax,
        "the squared distance is a mean over the coordinates; it is their sum": difference(lambda x, y, h: kernel_mean(x, y, 2 * h**2 * y.shape[1])),
        "brackets are missing: / 2 * h**2 divides by 2 and multiplies by h²; write / (2 * h**2)": difference(lambda x, y, h: kernel_mean(x, y, 2 / h**2)),
        "the minus in the exponent is missing: the farthest points weigh most": difference(lambda x, y, h: kernel_mean(x, y, -2 * h**2)),
        "x is added: that is where it drifts to; the drift alone is asked": lambda x, p, q, h: x + right_mean(x, p, h) - right_mean(x, q, h),
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
        gradient = differentiated(value, logits)
        if gradient is None:
            raise CourseError("No gradient comes through to the logits: return a tensor made from them.")
        stop_if_cut_off(lambda v: [loss(v)], lambda v: [F.softplus(-v).mean()], logits)
        return value, gradient

    return observed


mended_generator = Check(
    lambda logits: F.softplus(-logits).mean(),
    [(MILD,), (torch.tensor([-4.0, -0.5]),), (torch.tensor([-250.0, -120.0, 3.0]),)],
    {
        "it is still E[log D(G(z))], made small: the samples flee to where D is sure that they are fake": lambda v: F.logsigmoid(v).mean(),
        "it is E[log(1 − D)], which the first paper begins with: right in sign, but it stalls where D is sure; −E[log D] is asked": lambda v: -F.softplus(v).mean(),
        "it is −E[log(1 − D)]: its sign turns twice, and the samples flee": lambda v: F.softplus(v).mean(),
        "it is −E[D]: the logarithm is missing": lambda v: -v.sigmoid().mean(),
        "it is −E[logit]: that is another game, without a sigmoid": lambda v: -v.mean(),
        "the batch is summed: take the mean": lambda v: F.softplus(-v).sum(),
        "it overflows: far out exp(−ℓ) is inf in a float, sigmoid is 0 and its logarithm −inf; use softplus or logsigmoid of the logit": lambda v: -v.sigmoid().log().mean(),
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


FIRST = {  # at D = 0.2: the derivative of log D by D, and what else it may be
    5.0: "",
    -5.0: "the first is that of −log D; log D itself is asked",
    -0.8: "the first is D − 1, as in the tutorial; the derivative of log D by D is 1/D",
    0.8: "the first is that of log D by the logit, 1 − D; by D itself it is 1/D",
    0.2: "the first is D; the derivative of log D by D is 1/D",
}
SECOND = {  # the derivative of -log D by the logit
    -0.8: "",
    0.8: "the second has the sign of log D; the loss is −log D",
    -5.0: "the second is that of −log D by D; by the *logit* the chain rule adds D (1 − D)",
    5.0: "the second is that of log D by D; the loss is −log D, and by the *logit* the chain rule adds D (1 − D)",
    0.2: "the second is that of −log(1 − D) by the logit, which is D",
    -0.2: "the second is that of log(1 − D) by the logit, which is −D",
}
SWAPPED = (-0.8, 5.0)


def of_derivatives(got: tuple[float, float]) -> str:
    """What is right of a pair of derivatives, and how to find the rest."""
    first, second = (abs(one - right) < 0.005 for one, right in zip(got, (5, -0.8), strict=True))
    ways = "d = torch.tensor(0.2, requires_grad=True)", "l = torch.tensor(0.2).logit().requires_grad_()"
    said = [
        "The first is right." if first else f"For the first let autograd tell: {ways[0]}; d.log().backward(); d.grad.",
        "The second is right."
        if second
        else f"For the second, by l: {ways[1]}; (-F.logsigmoid(l)).backward(); l.grad.",
    ]
    return " ".join(said)


derivatives = Check(
    (5.0, -0.8),
    slips={"both are right, in the other order": SWAPPED}
    | {
        "; and ".join(filter(None, (of_first, of_second))): (first, second)
        for first, of_first in FIRST.items()
        for second, of_second in SECOND.items()
        if (of_first or of_second) and (first, second) != SWAPPED
    },
    todo="Write the pair of numbers, and run this cell again.",
    right="1/D and D − 1: the second is the first times −D (1 − D), by the chain rule.",
    otherwise=of_derivatives,
    observe=reading(pair_of_numbers),
    rtol=1e-3,
)

at_rest = Check(
    (log(4), LOG2),
    slips={
        "0 is the loss of one who always wins; at rest D is 1/2, and nobody does": (0.0, 0.0),
        "loss D has the wrong sign: it is −V, a sum of two −log ½": (-log(4), LOG2),
        "loss G has the wrong sign: it is −log D, and the logarithm of a chance is negative": (log(4), -LOG2),
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


def with_tensor(answer: Any) -> Callable[..., Any]:
    """Hands over the number as a tensor, which torch.exp and math.exp both take."""
    return lambda loss_g: as_function(answer)(torch.tensor(loss_g, dtype=torch.float64))


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
    right=lambda answer: f"For Loss_G = 0.1375 it is {float(with_tensor(answer)(0.1375)):.2f}, and the tutorial printed 0.0671.",
    observe=with_tensor,
    rtol=1e-3,
)  # fmt: skip
