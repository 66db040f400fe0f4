"""Search, measured: of how many queries is the one right answer among the first k of a pool."""

from __future__ import annotations

from torch import Tensor


def ranks(scores: Tensor) -> Tensor:
    """The place, from 1, at which each query (row) finds its own answer (the column with its number), (N,) int64.

    scores: (N, N), larger is nearer. Of equal scores the own one is counted last, so that a constant score finds nothing.
    """
    own = scores.diagonal()[:, None]
    return (scores >= own).sum(1)


def recall(scores: Tensor, k: int) -> Tensor:
    """Whether each query (row) of scores (N, N) has its own answer among the first k, (N,) bool: recall@k is their mean."""
    return ranks(scores) <= k


def chance(pool: int, k: int) -> float:
    """Recall@k of an order drawn by lot, of a pool with one right answer: k / pool, at most 1."""
    return min(1.0, k / pool)


def area_under_curve(scores: Tensor, right: Tensor) -> float:
    """How often a right item has a larger score than a wrong one, ties counted half: the area under the ROC curve.

    scores: (N,); right: (N,) bool. 0.5 is chance; nan if all items are of one kind.
    """
    a, b = scores[right].double(), scores[~right].double()
    if not len(a) or not len(b):
        return float("nan")
    apart = a[:, None] - b
    return float(((apart > 0).double() + 0.5 * (apart == 0)).mean())
