"""The checks of lesson 13: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check, as_function
from course_utils.common import CourseError


def drawn(*shape: int, seed: int) -> Tensor:
    """Normal numbers of this shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(n: int, features: int, seed: int) -> Tensor:
    """Rows (N, F) of length 1."""
    return F.normalize(drawn(n, features, seed=seed), dim=1)


# ------------------------------------------------------------------------------------------ exercise 1: recall at k


def found_by(
    pool: Callable[[Tensor], Tensor] = lambda s: s,
    beaten: Callable[[Tensor, Tensor], Tensor] = lambda s, own: (s >= own).sum(1),
    within: Callable[[Tensor, int], Tensor] = lambda rank, k: rank <= k,
) -> Callable[..., Tensor]:
    """The share of rows that find their own column among the first k, or with one part changed."""

    def answer(scores: Tensor, k: int) -> Tensor:
        s = pool(scores)
        return within(beaten(s, s.diagonal()[:, None]), k).double().mean()

    return answer


def in_order(scores: Tensor, k: int) -> Tensor:
    """The slip of a sort, which lets the place decide among equal scores: here the first comes first."""
    found = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return (found == torch.arange(len(scores))[:, None]).any(1).double().mean()


TIES = torch.tensor([[3.0, 1, 2, 0], [5, 4, 1, 6], [2, 2, 2, 2], [0, 0, 0, 0]])
ALL_ALIKE = torch.zeros(5, 5)  # whichever columns a sort puts first: they are the own ones of some rows
recall_at_k = Check(
    found_by(),
    [(drawn(31, 31, seed=1), 6), (ALL_ALIKE, 2), (TIES, 1), (drawn(12, 12, seed=2), 5)],
    {
        "columns are searched, not rows: each row is a query": found_by(lambda s: s.T),
        "the smallest scores are taken: larger is nearer": found_by(lambda s: -s),
        "the first answer counts as place 0, so k + 1 places are searched": found_by(within=lambda rank, k: rank - 1 <= k),
        "one place too few is searched: the k-th place counts": found_by(within=lambda rank, k: rank < k),
        "equal scores count as a find: a score that is always the same would find everything": found_by(
            beaten=lambda s, own: (s > own).sum(1) + 1
        ),
        "the order of the columns decides among equal scores, as in a sort: the own one counts as the last": in_order,
        "the own scores lie as a row, and each column is compared with its own: diagonal()[:, None] stands beside every row": found_by(
            beaten=lambda s, own: (s >= own.T).sum(1)
        ),
        "the sum runs down the columns: a rank counts along its row": found_by(beaten=lambda s, own: (s >= own).sum(0)),
        "this is a percentage: a share lies between 0 and 1": lambda s, k: 100 * found_by()(s, k),
        "the finds are divided by k: the share is one of the N rows": lambda s, k: found_by()(s, k) * len(s) / k,
        "recall@1 is taken whatever k is": found_by(within=lambda rank, k: rank <= 1),
        "this is the count of finds; the share is asked": lambda s, k: found_by()(s, k) * len(s),
        "this is the share that is missed": lambda s, k: 1 - found_by()(s, k),
    },
    todo="Return one number, the share of the rows, and run this cell again.",
    right="A score that is always the same finds nothing, as it should.",
    hint="Scores are (N, N); True and False become numbers with .double().",
)  # fmt: skip

# ------------------------------------------------------------------------------- exercise 2: the loss, with its gradient


def symmetric(
    logits: Callable[[Tensor, Tensor, Any], Tensor] = lambda a, b, s: s * a @ b.T,
    ways: Callable[[Tensor, Tensor], Tensor] = lambda one, other: (one + other) / 2,
    over: str = "mean",
) -> Callable[..., Tensor]:
    """The symmetric contrastive loss, or with one part changed."""

    def answer(a: Tensor, b: Tensor, scale: Any) -> Tensor:
        table = logits(a, b, scale)
        own = torch.arange(len(table))
        return ways(F.cross_entropy(table, own, reduction=over), F.cross_entropy(table.T, own, reduction=over))

    return answer


def with_gradient(right: Callable[..., Tensor], learned: int) -> Callable[[Any], Callable[..., Any]]:
    """For `observe`: a loss as it is; CourseError where its number is right and its gradient in what is learned is not.

    right: the right loss; learned: how many of its first arguments have a gradient.
    """

    def observe(answer: Any) -> Callable[..., Any]:
        names = list(inspect.signature(right).parameters)[:learned]

        def observed(*given: Any) -> Any:
            leaves = [one.requires_grad_() for one in given[:learned]]
            # copies, which an answer may write into
            loss = as_function(answer)(*(one.clone() for one in leaves), *given[learned:])
            if isinstance(loss, tuple | list) and len(loss) == 1:
                loss = loss[0]
            wanted = right(*leaves, *given[learned:])
            try:
                number = torch.as_tensor(loss).detach().double()
            except (TypeError, ValueError, RuntimeError):  # no number, which is said elsewhere
                return loss
            if number.numel() != 1 or not torch.allclose(number.reshape(()), wanted.detach().double(), 1e-4, 1e-5):
                return loss
            for name, leaf in zip(names, leaves, strict=True):
                (slope,) = torch.autograd.grad(wanted, leaf, retain_graph=True)
                got = None
                if isinstance(loss, Tensor) and loss.requires_grad:
                    (got,) = torch.autograd.grad(loss.sum(), leaf, retain_graph=True, allow_unused=True)
                if got is None or not torch.allclose(got, slope, 1e-4, 1e-5):
                    what = "none" if got is None else "a wrong one"
                    across = slope - (slope * leaf).sum(1, keepdim=True) * leaf
                    if got is not None and torch.allclose(got, across, 1e-4, 1e-5):
                        continue  # normalised once more, which leaves vectors of length 1 as they are
                    raise CourseError(
                        f"The number is right, but the loss should have a gradient in {name}, and has {what}: what is learned "
                        "needs one, so compute it from tensors, without .item(), float(), .detach() or NumPy."
                    )
            return loss

        return observed

    return observe


both_ways = Check(
    symmetric(),
    [(vectors(5, 8, 3), vectors(5, 8, 4), 2.0), (vectors(9, 4, 5), vectors(9, 4, 6), 14.0)],
    {
        "only the rows are classified: each picture chooses a caption; captions choose pictures, too": symmetric(ways=lambda one, other: one),
        "only the columns are classified": symmetric(ways=lambda one, other: other),
        "the two losses are added; their mean is asked": symmetric(ways=lambda one, other: one + other),
        "the scale is missing": symmetric(lambda a, b, s: a @ b.T),
        "cosines are divided by the scale: the scale is 1 / temperature": symmetric(lambda a, b, s: a @ b.T / s),
        "the sum over the batch is taken; the mean is asked": symmetric(over="sum"),
        "a is compared with itself: b is missing": symmetric(lambda a, b, s: s * a @ a.T),
        "softmax is applied before cross_entropy, which has one inside": symmetric(lambda a, b, s: (s * a @ b.T).softmax(1)),
        "a and b are multiplied number by number; cosines of all pairs are a @ b.T": lambda a, b, s: (
            F.cross_entropy(s * a * b, torch.arange(len(a)))
        ),
        "softmax is applied, along each way, before cross_entropy, which has one inside": lambda a, b, s: (
            symmetric(lambda a, b, s: (s * a @ b.T).softmax(1), lambda one, other: one)(a, b, s)
            + symmetric(lambda a, b, s: (s * a @ b.T).softmax(0), lambda one, other: other)(a, b, s)
        )
        / 2,
        "the scale goes through exp: it is given as s, not as log s": lambda a, b, s: symmetric()(a, b, math.exp(s)),
        "it is divided by B once more: cross_entropy takes the mean itself": lambda a, b, s: symmetric()(a, b, s) / len(a),
        "every row is asked for caption 0: the right class of row i is i": lambda a, b, s: F.cross_entropy(
            s * a @ b.T, torch.zeros(len(a), dtype=torch.long)
        ),
        "cosines are squared": symmetric(lambda a, b, s: s * (a @ b.T).square()),
        "the sign is wrong: a loss is minus a log-probability": lambda a, b, s: -symmetric()(a, b, s),
    },
    todo="Return one number, and run this cell again.",
    right="Its gradient reaches both encoders.",
    hint="a and b are (B, F): a @ b.T is a table (B, B), a row for each of a.",
    observe=with_gradient(symmetric(), 2),
)  # fmt: skip

# ----------------------------------------------------------------------------------- exercise 3: each pair by itself


def pairwise(
    logits: Callable[[Tensor, Tensor, float, float], Tensor] = lambda a, b, s, bias: s * a @ b.T + bias,
    sign: Callable[[Tensor], Tensor] = lambda eye: 2 * eye - 1,
    over: Callable[[Tensor], Tensor] = lambda each: each.sum(1).mean(),
) -> Callable[..., Tensor]:
    """The sigmoid loss of SigLIP, or with one part changed."""

    def answer(a: Tensor, b: Tensor, scale: float, bias: float) -> Tensor:
        return over(-F.logsigmoid(sign(torch.eye(len(a), dtype=a.dtype)) * logits(a, b, scale, bias)))

    return answer


def far_out(a: Tensor, b: Tensor, scale: float, bias: float, floor: float = 0.0) -> Tensor:
    """The slip that takes the logarithm of σ, or of σ plus a small number."""
    chances = ((2 * torch.eye(len(a), dtype=a.dtype) - 1) * (scale * a @ b.T + bias)).sigmoid()
    return -(chances + floor).log().sum(1).mean()


sigmoid_loss = Check(
    pairwise(),
    [
        (vectors(4, 6, 7), vectors(4, 6, 8), 10.0, -3.0),
        (vectors(7, 3, 9), vectors(7, 3, 10), 4.0, 1.5),
        (vectors(5, 2, 11).float(), vectors(5, 2, 12).float(), 120.0, 10.0),  # σ is 0 in a float
    ],
    {
        "all B² pairs are averaged: the paper divides by B only": pairwise(over=lambda each: each.mean()),
        "all B² pairs are summed: divide by B": pairwise(over=lambda each: each.sum()),
        "the whole sign is turned: a loss is what gets smaller": lambda a, b, s, bias: -pairwise()(a, b, s, bias),
        "y stands outside of log σ; it turns the logit inside": lambda a, b, s, bias: (
            -((2 * torch.eye(len(a), dtype=a.dtype) - 1) * F.logsigmoid(s * a @ b.T + bias)).sum(1).mean()
        ),
        "the logarithm is missing: minus log σ, not minus σ": lambda a, b, s, bias: (
            -((2 * torch.eye(len(a), dtype=a.dtype) - 1) * (s * a @ b.T + bias)).sigmoid().sum(1).mean()
        ),
        "σ is held above a small number: far out the loss is then cut off; use F.logsigmoid": lambda a, b, s, bias: far_out(
            a, b, s, bias, 1e-8
        ),
        "own pairs have the sign 0: it is 2 times the identity, minus 1": pairwise(sign=lambda eye: eye - 1),
        "this is a softmax over the batch: each pair is a question of its own": lambda a, b, s, bias: symmetric()(a, b, s),
        "this is a softmax over each row: each pair is a question of its own": lambda a, b, s, bias: symmetric(
            ways=lambda one, other: one
        )(a, b, s),
        "the targets are -1 and 1: binary_cross_entropy takes 0 and 1": lambda a, b, s, bias: F.binary_cross_entropy_with_logits(
            s * a @ b.T + bias, 2 * torch.eye(len(a), dtype=a.dtype) - 1, reduction="sum"
        )
        / len(a),
        "the bias is missing": pairwise(lambda a, b, s, bias: s * a @ b.T),
        "the bias stands outside of y: it belongs to the logit, which y turns": lambda a, b, s, bias: pairwise(
            lambda a, b, s, _: s * a @ b.T + bias * (2 * torch.eye(len(a), dtype=a.dtype) - 1)
        )(a, b, s, bias),
        "the bias is taken off; it is added": pairwise(lambda a, b, s, bias: s * a @ b.T - bias),
        "σ underflows far out, and its logarithm is inf: use F.logsigmoid": far_out,
        "the bias is inside the scale": pairwise(lambda a, b, s, bias: s * (a @ b.T + bias)),
        "the scale is missing": pairwise(lambda a, b, s, bias: a @ b.T + bias),
        "the signs are swapped: own pairs are +1, all others -1": pairwise(sign=lambda eye: 1 - 2 * eye),
        "other pairs have the sign 0 instead of -1: they cost log 2, whatever is learned": pairwise(sign=lambda eye: eye),
        "other pairs are treated as own ones: all signs are +1": pairwise(sign=torch.ones_like),
        "only own pairs are counted: nothing pushes the others apart": pairwise(over=lambda each: each.diagonal().mean()),
    },
    todo="Return one number, and run this cell again.",
    right="Each pair is a question of its own, so a batch can be cut in pieces.",
    hint="a and b are (B, F): a @ b.T is a table (B, B), a row for each of a.",
    observe=with_gradient(pairwise(), 2),
)  # fmt: skip

# ------------------------------------------------------------------------------------ clinic: duplicates in the batch


def masked(
    hide: Callable[[Tensor, Tensor], Tensor] = lambda same, own: same & ~own,
    with_value: float = -math.inf,
    ways: Callable[[Tensor, Tensor], Tensor] = lambda one, other: (one + other) / 2,
) -> Callable[..., Tensor]:
    """The loss without what fits though the batch does not say so, or with one part changed."""

    def answer(logits: Tensor, scenes: Tensor) -> Tensor:
        same = scenes[:, None] == scenes
        own = torch.eye(len(scenes), dtype=torch.bool)
        table = logits.masked_fill(hide(same, own), with_value)
        right = torch.arange(len(scenes))
        return ways(F.cross_entropy(table, right), F.cross_entropy(table.T, right))

    return answer


def first_only(logits: Tensor, scenes: Tensor) -> Tensor:
    """The loss of the batch without later copies of a scene."""
    kept = [i for i, scene in enumerate(scenes.tolist()) if scene not in scenes[:i].tolist()]
    return masked()(logits[kept][:, kept], scenes[kept])


def shared(logits: Tensor, scenes: Tensor) -> Tensor:
    """The loss that asks for all that fit, in equal shares."""
    wanted = (scenes[:, None] == scenes).to(logits)
    wanted = wanted / wanted.sum(1, keepdim=True)
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


mended_duplicates = Check(
    masked(),
    [
        (3 * drawn(5, 5, seed=11), torch.tensor([4, 7, 4, 2, 9])),
        (2 * drawn(8, 8, seed=12), torch.tensor([1, 1, 0, 3, 0, 1, 5, 6])),
        (4 * drawn(6, 6, seed=13) - 30, torch.tensor([2, 2, 5, 0, 5, 2])),  # all far below 0
    ],
    {
        "nothing is masked": masked(lambda same, own: same & False),
        "the own pair is masked, too: then no answer is right": masked(lambda same, own: same, with_value=-1e9),
        "the own pair is masked, too: spare the diagonal": masked(lambda same, own: same),
        "a large negative number is written where logits may be lower still: take -inf": masked(with_value=-10.0),
        "copies count as right answers, which share the probability; they should count as none": shared,
        "copies are added to the right answer: they should count as none": lambda logits, scenes: (
            -sum((logits.softmax(way) * (scenes[:, None] == scenes)).sum(way).log().mean() for way in (0, 1)) / 2
        ),
        "a mask is multiplied by infinity: 0 times inf is nan; use masked_fill or torch.where": lambda logits, scenes: (
            masked()(logits + (scenes[:, None] == scenes) * ~torch.eye(len(scenes), dtype=torch.bool) * -math.inf, scenes)
        ),
        "the whole sign is turned: cross_entropy has its minus already": masked(ways=lambda one, other: -(one + other) / 2),
        "only the rows are masked; the columns choose, too": lambda logits, scenes: (
            masked(ways=lambda one, other: one)(logits, scenes) + F.cross_entropy(logits.T, torch.arange(len(logits)))
        )
        / 2,
        "logits are set to 0: softmax gives 0 a share, too; -inf has none": masked(with_value=0.0),
        "everything but the duplicates is masked": masked(lambda same, own: ~same & ~own),
        "only the rows are classified": masked(ways=lambda one, other: one),
        "the two losses are added; their mean is asked": masked(ways=lambda one, other: one + other),
        "later copies are dropped from the batch: their own pairs still teach something": first_only,
        "only copies after a scene's first are masked, above the diagonal; below it they are negatives still": masked(
            lambda same, own: same & ~own & torch.ones_like(same).triu()
        ),
    },
    todo="Return one number, and run this cell again.",
    right="A scene is no longer pushed away from its own description.",
    hint="logits are (B, B); the right class of row i is i, its place in the batch, and not its scene.",
    observe=with_gradient(masked(), 1),
)  # fmt: skip
