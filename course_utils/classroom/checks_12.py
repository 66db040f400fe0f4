"""The checks of lesson 12: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    """Normal numbers of this shape."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lengths(longest: int, *each: int) -> Tensor:
    """The mask (B, T) of rows with so many tokens."""
    return torch.arange(longest) < torch.tensor(each)[:, None]


# ---------------------------------------------------------------------------------------- exercise 1: the mean of a text


def pooled(
    there: Callable[[Tensor], Tensor] = lambda mask: mask,
    divide: Callable[[Tensor, Tensor], Tensor] = lambda total, there: total / there.sum(1, keepdim=True),
) -> Callable[..., Tensor]:
    """The mean of the vectors that are there, or with one part changed."""

    def answer(context: Tensor, mask: Tensor) -> Tensor:
        kept = there(mask).to(context.dtype)
        return divide((context * kept[..., None]).sum(1), kept)

    return answer


mean_pool = Check(
    pooled(),
    [(drawn(3, 5, 4, seed=1), lengths(5, 5, 2, 3)), (drawn(4, 7, 3, seed=2, scale=9), lengths(7, 1, 7, 4, 2))],
    {
        "padding is counted too: the mask is not used": pooled(torch.ones_like),
        "the sum is divided by the longest text's number of tokens: divide by each text's own": pooled(
            divide=lambda total, there: total / there.shape[1]
        ),
        "this is the sum; the mean is asked": pooled(divide=lambda total, _: total),
        "padding is averaged and tokens are left out: the mask is True where a token is": lambda context, mask: (
            (context * ~mask[..., None]).sum(1) / (~mask).sum(1, keepdim=True).clamp_min(1)
        ),
        "all texts are divided by the same number, the mean length": pooled(
            divide=lambda total, there: total / there.sum(1).mean()
        ),
        "the mean is taken over all texts together; each has its own": lambda context, mask: context[mask].mean(0).expand(len(mask), -1),
        "the first vector is taken; the mean is asked": lambda context, mask: context[:, 0],
        "the largest number of each column is taken; the mean is asked": lambda context, mask: (
            context.masked_fill(~mask[..., None], -torch.inf).amax(1)
        ),
    },
    todo="Return a tensor (B, C), and run this cell again.",
    right="A caption's vector no longer depends on its neighbours' lengths.",
)  # fmt: skip

# -------------------------------------------------------------------------------------- exercise 2: the nearest meaning


def looked_up(
    score: Callable[[Tensor, Tensor], Tensor] = lambda q, t: F.normalize(q, dim=-1) @ F.normalize(t, dim=-1).T,
    pick: Callable[[Tensor], Tensor] = lambda scores: scores.argmax(1),
) -> Callable[..., Tensor]:
    """For each query the row of the table with the largest cosine, or with one part changed."""
    return lambda queries, table: pick(score(queries, table))


def rows(n: int, m: int, features: int, seed: int) -> tuple[Tensor, Tensor]:
    """Queries (n, C) and a table (m, C) whose rows have very different lengths."""
    stretch = torch.linspace(0.2, 6, m, dtype=torch.float64)[
        torch.randperm(m, generator=torch.Generator().manual_seed(seed))
    ]
    return drawn(n, features, seed=seed), drawn(m, features, seed=seed + 1) * stretch[:, None]


nearest = Check(
    looked_up(),
    [rows(9, 6, 3, 3), rows(14, 11, 4, 5)],
    {
        "the scalar product is taken undivided, which long vectors win: the cosine is asked": looked_up(lambda q, t: q @ t.T),
        "the distance between the ends is taken: the cosine asks for directions alone": looked_up(lambda q, t: -torch.cdist(q, t)),
        "the farthest row is taken: a large cosine is near": looked_up(pick=lambda scores: scores.argmin(1)),
        "each row of the table looks for a query: it is the other way round": looked_up(pick=lambda scores: scores.argmax(0)),
        "the sign of the cosine is dropped: opposite directions are not near": looked_up(
            lambda q, t: (F.normalize(q, dim=-1) @ F.normalize(t, dim=-1).T).abs()
        ),
        "these are the cosines; the numbers of the rows are asked": looked_up(pick=lambda scores: scores.amax(1)),
    },
    todo="Return whole numbers (N,), and run this cell again.",
    right="Divided by its length, a frequent word is no nearer than a rare one.",
)  # fmt: skip

# ----------------------------------------------------------------------------------------- exercise 3: a cache that is full


def kept(
    touch: bool = True, drop: Callable[[list[int]], int] = lambda order: 0, room: int = 0, misses: bool = False
) -> Callable[..., int]:
    """How many requests are answered by a cache that drops what was used longest ago, or with one part changed."""

    def answer(requests: Sequence[int], most: int) -> int:
        order: list[int] = []  # what was used longest ago stands first
        hits = 0
        for one in requests:
            if one in order:
                hits += 1
                if touch:
                    order.remove(one)
                    order.append(one)
                continue
            if len(order) >= most + room:
                order.pop(drop(order))
            order.append(one)
        return len(requests) - hits if misses else hits

    return answer


REQUESTS = [1, 2, 3, 1, 4, 1, 2, 5, 1, 3, 2, 1, 4, 2, 1, 6, 1, 2, 2, 3]
OTHERS = [7, 7, 8, 9, 7, 10, 8, 7, 9, 7, 11, 8, 7, 10, 9, 8, 7, 12, 7, 9, 8, 7, 13, 8]
cache_hits = Check(
    kept(),
    [(REQUESTS, 3), (OTHERS, 4), (REQUESTS, 2)],
    {
        "nothing is ever dropped: there is room for `most` texts": lambda requests, most: len(requests) - len(set(requests)),
        "the text that came in first is dropped, even if it was used since: a hit must move its text to the end": kept(touch=False),
        "the text used last is dropped: it should be the one used longest ago": kept(drop=lambda order: len(order) - 1),
        "there is room for one text more than `most`": kept(room=1),
        "there is room for one text fewer than `most`": kept(room=-1),
        "misses are counted; hits are asked": kept(misses=True),
        "this is the share; the count is asked": lambda requests, most: kept()(requests, most) / len(requests),
    },
    todo="Return one whole number, and run this cell again.",
    right="So many calls of the encoder are saved.",
)  # fmt: skip

# ------------------------------------------------------------------------ clinic: a decoder asked for its first vector


def state(at: Callable[[Tensor], Tensor] = lambda mask: mask.sum(1) - 1) -> Callable[..., Tensor]:
    """The vector at one place of each text, or at a wrong one."""
    return lambda context, mask: context[torch.arange(len(mask)), at(mask)]


last_state = Check(
    state(),
    [(drawn(3, 6, 4, seed=7), lengths(6, 4, 6, 2)), (drawn(5, 4, 2, seed=8, scale=5), lengths(4, 1, 3, 4, 2, 3))],
    {
        "the first vector is taken: it has read one token": state(lambda mask: 0 * mask.sum(1)),
        "the last column is taken, which is padding in short texts": state(lambda mask: 0 * mask.sum(1) - 1),
        "the place after the last token is taken: count from 0": state(lambda mask: mask.sum(1).clamp_max(mask.shape[1] - 1)),
        "the last token but one is taken": state(lambda mask: (mask.sum(1) - 2).clamp_min(0)),
        "the mean is taken; here the last vector is asked": pooled(),
    },
    todo="Return a tensor (B, C), and run this cell again.",
    right="It has read the whole text.",
)  # fmt: skip
