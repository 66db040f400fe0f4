"""The checks of lesson 12: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import eq
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check
from course_utils.common import CourseError


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
        "padding is counted, too: the mask is not used": pooled(torch.ones_like),
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
        "the sum is divided by the number of texts: divide by each text's own number of tokens": pooled(divide=lambda total, there: total / len(there)),
        "all sums are divided by the tokens of the whole batch: each text has its own number": pooled(divide=lambda total, there: total / there.sum()),
        "the mean is taken over all texts together; each has its own": lambda context, mask: context[mask].mean(0).expand(len(mask), -1),
        "the first vector is taken; the mean is asked": lambda context, mask: context[:, 0],
        "the last vector of each text is taken; the mean is asked": lambda context, mask: context[torch.arange(len(mask)), mask.sum(1) - 1],
        "the last token of each text is left out": lambda context, mask: torch.stack([row[: int(n) - 1].mean(0) for row, n in zip(context, mask.sum(1), strict=True)]),
        "the sum is divided by one less than the number of tokens": pooled(divide=lambda total, there: total / (there.sum(1, keepdim=True) - 1).clamp_min(1)),
        "the sum is divided by the square root of the number of tokens": pooled(divide=lambda total, there: total / there.sum(1, keepdim=True).sqrt()),
        "the mean is divided by its own length; the mean itself is asked": lambda context, mask: F.normalize(pooled()(context, mask), dim=1),
        "the largest number of each column is taken; the mean is asked": lambda context, mask: (
            context.masked_fill(~mask[..., None], -torch.inf).amax(1)
        ),
    },
    todo="Return a tensor (B, C), and run this cell again.",
    right="A caption's vector no longer depends on its neighbours' lengths.",
    hint="mask holds True and False: mask.to(context.dtype) makes numbers of it, and mask[..., None] is (B, T, 1).",
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
        "the rows of the table are not divided by their lengths, so long ones win: the cosine is asked": looked_up(lambda q, t: q @ t.T),
        "the rows of the table are divided by the squares of their lengths, so short ones win": looked_up(lambda q, t: q @ (t / t.square().sum(1, keepdim=True)).T),
        "columns are divided by their lengths; each row has its own, dim=1": looked_up(lambda q, t: F.normalize(q, dim=0) @ F.normalize(t, dim=0).T),
        "the distance between the ends is taken: the cosine asks for directions alone": looked_up(lambda q, t: -torch.cdist(q, t)),
        "the farthest row is taken: a large cosine is near": looked_up(pick=lambda scores: scores.argmin(1)),
        "each row of the table looks for a query: it is the other way round": looked_up(pick=lambda scores: scores.argmax(0)),
        "the sign of the cosine is dropped: opposite directions are not near": looked_up(
            lambda q, t: (F.normalize(q, dim=-1) @ F.normalize(t, dim=-1).T).abs()
        ),
        "these are the largest cosines; the numbers of their rows are asked": looked_up(pick=lambda scores: scores.amax(1)),
        "these are all the cosines; the number of the largest in each row is asked, argmax(1)": looked_up(pick=lambda scores: scores),
        "the rows are counted from 1; the first is number 0": looked_up(pick=lambda scores: scores.argmax(1) + 1),
    },
    todo="Return whole numbers (N,), and run this cell again.",
    right="A long vector is no nearer than a short one of the same direction.",
    hint="queries @ table.T is (N, M): a row for each query, a column for each row of the table.",
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


def doubled(requests: Sequence[int], most: int) -> int:
    """The slip that appends each request, whether its text is there or not."""
    order: list[int] = []
    hits = 0
    for one in requests:
        hits += one in order
        order = [*order, one][-most:]
    return hits


def emptied(requests: Sequence[int], most: int) -> int:
    """The slip that begins anew when the cache is full."""
    there: set[int] = set()
    hits = 0
    for one in requests:
        hits += one in there
        if one not in there and len(there) >= most:
            there.clear()
        there.add(one)
    return hits


def rarest(requests: Sequence[int], most: int) -> int:
    """The slip that drops what was asked for most rarely; of several what came first."""
    uses: dict[int, int] = {}
    hits = 0
    for one in requests:
        hits += one in uses
        if one not in uses and len(uses) >= most:
            del uses[min(uses, key=lambda text: uses[text])]
        uses[one] = uses.get(one, 0) + 1
    return hits


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
        "there is room for one text fewer than `most`, or a full cache drops one before it looks whether the new text is there": kept(room=-1),
        "the whole cache is emptied when it is full: one text makes room": emptied,
        "the text used most rarely is dropped: it should be the one used longest ago": rarest,
        "a hit puts its text in a second time, which takes another's place": doubled,
        "the different texts are counted; of each all requests but the first may be hits": lambda requests, most: len(set(requests)),
        "only a text asked for twice in a row counts as a hit": lambda requests, most: sum(map(eq, requests, requests[1:])),
        "the first request for a text is a hit, too: it must be read": lambda requests, most: len(requests),
        "misses are counted; hits are asked": kept(misses=True),
        "this is the share; the count is asked": lambda requests, most: kept()(requests, most) / len(requests),
    },
    todo="Return one whole number, and run this cell again.",
    right="So many calls of the encoder are saved.",
)  # fmt: skip

# ------------------------------------------------------------------------------------- clinic 1: two networks, one name


def networks(features: int, classes: int, seed: int) -> tuple[Callable[..., Any], ...]:
    """A language model, a generator and a classifier to try a path with; each refuses what is not for it."""
    table, paint = drawn(40, features, seed=seed), drawn(features, 3, seed=seed + 1)
    weights = drawn(3, classes, seed=seed + 2)

    def language_model(tokens: Any) -> Tensor:
        if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.is_floating_point():
            raise CourseError(f"The language model got {form(tokens)}; it takes tokens, whole numbers (B, T).")
        return table[tokens].cumsum(1).mean(1)

    def generator(noise: Any, vectors: Any) -> Tensor:
        if not isinstance(noise, Tensor) or noise.ndim != 4 or noise.shape[1] != 3:
            raise CourseError(f"The generator got {form(noise)} first; it takes noise (B, 3, H, W), then vectors.")
        if not isinstance(vectors, Tensor) or vectors.shape != (len(noise), features):
            raise CourseError(
                f"The generator got {form(vectors)} for a caption; it takes the language model's vectors (B, C)."
            )
        return (noise + (vectors @ paint)[..., None, None]).tanh()

    def classifier(pictures: Any) -> Tensor:
        if not isinstance(pictures, Tensor) or pictures.ndim != 4 or pictures.shape[1] != 3:
            raise CourseError(f"The classifier got {form(pictures)}; it takes pictures (B, 3, H, W).")
        return pictures.mean((2, 3)) @ weights

    for network in (language_model, generator, classifier):
        network.__qualname__ = network.__name__  # Python's own messages then call it as the reader does
    return language_model, generator, classifier


def form(value: Any) -> str:
    """What a network got, in a few words."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"


def path(
    start: Callable[[Tensor], Tensor] = lambda noise: noise,
    seen: Callable[[Tensor, Tensor], Tensor] = lambda pictures, noise: pictures,
    label: Callable[[Tensor], Tensor] = lambda scores: scores.argmax(1),
    order: int = 1,
) -> Callable[..., Any]:
    """Pictures of the captions and their classes, or with one part changed."""

    def answer(
        tokens: Tensor, noise: Tensor, language_model: Callable, generator: Callable, classifier: Callable
    ) -> Any:
        pictures = generator(start(noise), language_model(tokens))
        return (pictures, label(classifier(seen(pictures, noise))))[::order]

    return answer


def some_tokens(n: int, longest: int, seed: int) -> Tensor:
    """Whole numbers (n, longest)."""
    return torch.randint(40, (n, longest), generator=torch.Generator().manual_seed(seed))


drawn_and_labelled = Check(
    path(),
    [
        (some_tokens(5, 4, 21), drawn(5, 3, 6, 4, seed=22), *networks(7, 4, 23)),
        (some_tokens(4, 6, 31), drawn(4, 3, 2, 2, seed=32), *networks(3, 6, 33)),
    ],
    {
        "the classifier looks at the noise; it should look at the pictures": path(seen=lambda pictures, noise: noise),
        "pictures and classes have changed places": path(order=-1),
        "these are scores; the class is the number of the largest, argmax(1)": path(label=lambda scores: scores),
        "these are the largest scores; the class is the *number* of the largest": path(label=lambda scores: scores.amax(1)),
        "the class with the smallest score is taken": path(label=lambda scores: scores.argmin(1)),
        "the largest score is looked for among the captions; among the classes it is argmax(1)": path(label=lambda scores: scores.argmax(0)),
        "classes are counted from 1; the first is number 0": path(label=lambda scores: scores.argmax(1) + 1),
        "the generator starts from nothing: give it the noise": path(start=torch.zeros_like),
        "the noise is returned, not what the generator made of it": lambda tokens, noise, m, g, c: (noise, path()(tokens, noise, m, g, c)[1]),
        "the pictures alone are returned; their classes are asked, too": lambda *given: path()(*given)[0],
        "the classes alone are returned; the pictures are asked, too": lambda *given: path()(*given)[1],
        "every caption gets the first one's class": path(label=lambda scores: scores.argmax(1)[:1].expand(len(scores))),
    },
    todo="Return two things, pictures and classes, and run this cell again.",
    right="Each network has its own name, and gets what it was made for.",
    hint="A reshaped row of features is no picture: only the generator gives pictures.",
)  # fmt: skip

# ---------------------------------------------------------------------- clinic 2: a decoder asked for its first vector


def state(at: Callable[[Tensor], Tensor] = lambda mask: mask.sum(1) - 1) -> Callable[..., Tensor]:
    """The vector at one place of each text, or at a wrong one."""
    return lambda context, mask: context[torch.arange(len(mask)), at(mask)]


last_state = Check(
    state(),
    [(drawn(3, 6, 4, seed=7), lengths(6, 4, 6, 2)), (drawn(5, 4, 2, seed=8, scale=5), lengths(4, 1, 3, 4, 2, 3))],
    {
        "the first vector is taken: it has read one token": state(lambda mask: 0 * mask.sum(1)),
        "the last column is taken, which is padding in short texts": state(lambda mask: 0 * mask.sum(1) - 1),
        "padding is set to 0 and the last column taken, which is padding in short texts": lambda context, mask: (context * mask[..., None])[:, -1],
        "the largest number of each column is taken; the last vector is asked": lambda context, mask: (
            context.masked_fill(~mask[..., None], -torch.inf).amax(1)
        ),
        "the place after the last token is taken: count from 0": state(lambda mask: mask.sum(1).clamp_max(mask.shape[1] - 1)),
        "the last token but one is taken": state(lambda mask: (mask.sum(1) - 2).clamp_min(0)),
        "the mean is taken; here the last vector is asked": pooled(),
    },
    todo="Return a tensor (B, C), and run this cell again.",
    right="It has read the whole text.",
    hint="The last of n tokens is number n - 1; context[rows, places] with two rows of whole numbers (B,) takes one vector from each text.",
)  # fmt: skip
