"""The checks of lesson 10: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks import Check, empty
from course_utils.common import CourseError

Pair = tuple[str, str]

# ------------------------------------------------------------------------------------------------ exercise 1: merging


def merged(
    parts: Sequence[str],
    pair: Pair,
    step: int = 2,
    most: int = 99,
    both_ways: bool = False,
    join: Callable[[tuple[str, ...]], Any] = "".join,
) -> list[Any]:
    """Parts with this pair of neighbours joined, from left to right; or with a slip."""
    found, i, done = [], 0, 0
    while i < len(parts):
        two = tuple(parts[i : i + 2])
        if done < most and (two == tuple(pair) or (both_ways and two == tuple(pair)[::-1])):
            found.append(join(two))
            i, done = i + step, done + 1
        else:
            found.append(parts[i])
            i += 1
    return found


def as_list(answer: Any) -> Callable[..., Any]:
    """The answer with a tuple, an array or a generator of parts as a list."""

    def observed(*given: Any) -> Any:
        value = answer(*given)
        if isinstance(value, np.ndarray) and value.dtype.kind == "U":
            return value.tolist()
        return list(value) if isinstance(value, tuple | Iterator) and not empty(value) else value

    return observed


def spelled(parts: Sequence[str], pair: Pair) -> list[str]:
    """The slip that adds texts to a list with `+=`, which takes them apart."""
    return [letter for part in merged(parts, pair) for letter in part]


def in_a_for(parts: Sequence[str], pair: Pair) -> list[str]:
    """The slip of a `for` over all pairs of neighbours: it cannot go two places on, and ends before the last part."""
    return ["".join(two) if two == tuple(pair) else two[0] for two in pairwise(parts)]


merge_pair = Check(
    lambda parts, pair: merged(parts, pair),
    [
        (["b", "a", "a", "a", "nd", "a", "a", "b", "aa"], ("a", "a")),
        (["Ġ", "re", "d", "Ġre", "d", "d", "re", "d"], ("re", "d")),
        (["x"], ("x", "y")),
    ],
    {
        "joined parts are used again: after a merge go on behind *both*": lambda p, q: merged(p, q, step=1),
        "only the first place is merged: there may be several": lambda p, q: merged(p, q, most=1),
        "it goes from right to left; of three equal parts the first two are joined": lambda p, q: [
            part[::-1] for part in merged([one[::-1] for one in p[::-1]], tuple(one[::-1] for one in q[::-1]))
        ][::-1],
        "the last part is lost where it belongs to no pair": lambda p, q: (
            merged(p, q) if tuple(p[-2:]) == q else merged(p, q)[:-1]
        ),
        "the pair is taken out, and what it makes is not put in": lambda p, q: [
            part for part in merged(p, q) if part != "".join(q)
        ],
        "the pair itself is put in; its two parts become one text": lambda p, q: merged(p, q, join=tuple),
        "the order does not matter to it: (b, a) is another pair than (a, b)": lambda p, q: merged(
            p, q, both_ways=True
        ),
        "the search runs over the text, and finds the end of one part and the next: compare whole parts": lambda p, q: (
            " ".join(p).replace(" ".join(q), "".join(q)).split()
        ),
        "this is the text itself, in one piece: return the list of parts": lambda p, q: ["".join(p)],
        "nothing is merged: compare both neighbours with the pair, as a tuple: a list never equals one": lambda p, q: (
            list(p)
        ),
        "a `for` goes one place on after each join, and never comes to the last part: walk with `while`": in_a_for,
        "a text is taken apart: `+=` and `extend` add its letters one by one; append adds the part": spelled,
    },
    todo="Return a list of parts, and run this cell again.",
    right="Each place once, from left to right, and whole parts only.",
    hint="Behind the last part there is no parts[i + 1]; the slice parts[i : i + 2] stops there by itself.",
    observe=as_list,
)

# ------------------------------------------------------------------------------------------ exercise 2: the loss


def sampling(
    true: Callable[[Tensor], Tensor] = lambda s: -F.logsigmoid(s),
    false: Callable[[Tensor], Tensor] = lambda s: -F.logsigmoid(-s).sum(-1),
    whole: Callable[[Tensor], Any] = lambda loss: loss.mean(),
) -> Callable[..., Any]:
    """The loss of exercise 2, or with one part of it changed."""

    def loss(centre: Tensor, neighbour: Tensor, negatives: Tensor) -> Any:
        scores = (negatives * centre[:, None]).sum(-1)  # (B, K)
        return whole(true((neighbour * centre).sum(-1)) + false(scores))

    return loss


def softmax_loss(centre: Tensor, neighbour: Tensor, negatives: Tensor) -> Tensor:
    """What many write instead: one choice among 1 + K, where negative sampling makes 1 + K decisions."""
    scores = torch.cat([(neighbour * centre).sum(-1)[:, None], (negatives * centre[:, None]).sum(-1)], 1)
    return -scores.log_softmax(1)[:, 0].mean()


def and_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss or, where `centre` asks for it, the loss and its gradient in all three."""

    def observed(*given: Any) -> Any:
        value = loss(*given)
        if isinstance(value, tuple | list) and len(value) == 1:
            value = value[0]
        if empty(value) or not given[0].requires_grad:
            return value
        if not (isinstance(value, Tensor) and value.requires_grad):
            return "no gradient"
        slopes = torch.autograd.grad(value.sum(), given, allow_unused=True)
        return (value, *(torch.zeros_like(x) if g is None else g for g, x in zip(slopes, given, strict=True)))

    return observed


def vectors(b: int, k: int, d: int, scale: float, gradient: bool) -> tuple[Tensor, ...]:
    """Centres (B, D), neighbours (B, D) and negatives (B, K, D)."""
    seeded = torch.Generator().manual_seed(b)
    rows = [scale * torch.randn(size, generator=seeded) for size in ((b, d), (b, d), (b, k, d))]
    return tuple(row.requires_grad_(gradient) for row in rows)


sampling_loss = Check(
    sampling(),
    [vectors(5, 3, 4, 1.0, False), vectors(3, 2, 6, 1.0, True), vectors(6, 4, 5, 12.0, False)],
    {
        "the negatives are missing: all words may then lie on one spot": sampling(false=lambda s: 0 * s.sum(-1)),
        "the true neighbours are missing: only the drawn words are pushed away": sampling(true=lambda s: 0 * s),
        "the sign of the negatives' scores is not turned: they should be told from true ones": sampling(
            false=lambda s: -F.logsigmoid(s).sum(-1)
        ),
        "the negatives are averaged: (10.5) has a sum over K": sampling(false=lambda s: -F.logsigmoid(-s).mean(-1)),
        "the whole sign is turned: a loss is what gets smaller": sampling(whole=lambda loss: -loss.mean()),
        "it is averaged over all 1 + K scores: (10.5) adds them, and only pairs are averaged": lambda c, n, w: (
            sampling()(c, n, w) / (1 + w.shape[1])
        ),
        "the drawn words are compared with the neighbour; (10.5) compares both kinds with the centre": lambda c, n, w: (
            -F.logsigmoid((n * c).sum(-1)) - F.logsigmoid(-(w * n[:, None]).sum(-1)).sum(-1)
        ).mean(),
        "it is summed over the batch: take the mean": sampling(whole=lambda loss: loss.sum()),
        "each pair has its own loss: take the mean over them": sampling(whole=lambda loss: loss),
        "the logarithm is missing: minus log σ, not minus σ": sampling(
            lambda s: -s.sigmoid(), lambda s: -(-s).sigmoid().sum(-1)
        ),
        "the sigmoid is missing: a score is no chance": sampling(lambda s: -s, lambda s: s.sum(-1)),
        "the negatives are summed before the sigmoid: each is a decision of its own": sampling(
            false=lambda s: -F.logsigmoid(-s.sum(-1))
        ),
        "this is a softmax over 1 + K words: negative sampling makes 1 + K separate decisions": softmax_loss,
        "the negatives are taken off: both parts of (10.5) have a minus before the logarithm": sampling(
            false=lambda s: F.logsigmoid(-s).sum(-1)
        ),
        "1 - log σ(s) stands for the drawn words; it is log(1 - σ(s)), and that is log σ(-s)": sampling(
            false=lambda s: -(1 - F.logsigmoid(s)).sum(-1)
        ),
        "the true neighbour counts once for each drawn word: sum over K before you add": lambda c, n, w: sampling(
            lambda s: -w.shape[1] * F.logsigmoid(s)
        )(c, n, w),
        "each centre meets all neighbours of the batch: multiply row by row, and sum over D": lambda c, n, w: (
            sampling(true=lambda s: 0 * s)(c, n, w) - F.logsigmoid(n @ c.T).mean()
        ),
        "the products are summed over the batch, not over D: a row is a pair": lambda c, n, w: (
            sampling(true=lambda s: 0 * s)(c, n, w) - F.logsigmoid((n * c).sum(0)).mean()
        ),
        "no gradient comes through: .item(), .detach(), no_grad and NumPy cut it off": sampling(
            whole=lambda loss: loss.mean().item()
        ),
        "σ underflows far out, and its logarithm is inf: use F.logsigmoid": sampling(
            lambda s: -s.sigmoid().log(), lambda s: -(-s).sigmoid().log().sum(-1)
        ),
        "σ is held above a small number: far out the loss is then cut off; use F.logsigmoid": sampling(
            lambda s: -(s.sigmoid() + 1e-9).log(), lambda s: -((-s).sigmoid() + 1e-9).log().sum(-1)
        ),
    },
    todo="Return one number, the loss, and run this cell again.",
    right="Also far out, where σ itself is 0 in a float.",
    hint="centre is (B, D), negatives (B, K, D): centre[:, None] fits them.",
    observe=and_gradient,
)

# ------------------------------------------------------------------------------- exercise 3: what it would converge to


def optimum(
    power: Callable[[float], float] = lambda power: power,
    axis: int = 0,
    negatives: Callable[[float], float] = lambda k: k,
    read: Callable[[Tensor], Tensor] = torch.log,
    centre: Callable[[Tensor], Tensor] = lambda counts: counts.sum(1, keepdim=True),
    noise: Callable[[Tensor], Tensor] = lambda weights: weights / weights.sum(),
) -> Callable[[Tensor, int, float], Tensor]:
    """The scores of (10.7), or with one part of them changed."""

    def scores(counts: Tensor, k: int, alpha: float) -> Tensor:
        counts = counts.double()
        drawn = noise(counts.sum(axis) ** power(alpha))  # (V,)
        return read(counts / (negatives(k) * centre(counts) * drawn))

    return scores


SKEW = torch.tensor([[3.0, 5.0, 2.0], [1.0, 4.0, 9.0], [7.0, 2.0, 6.0]])
LARGER = torch.tensor([[2.0, 9, 1, 4], [5, 3, 8, 2], [1, 1, 2, 6], [4, 7, 3, 11]])

best_scores = Check(
    optimum(),
    [(SKEW, 5, 0.75), (LARGER, 2, 1.0)],
    {
        "log K is missing: the optimum is shifted down by it": optimum(negatives=lambda k: 1),
        "K divides where it should multiply": optimum(negatives=lambda k: 1 / k),
        "the power is not heard: negatives are drawn by frequency to the power of α": optimum(power=lambda a: 1.0),
        "the negatives are drawn evenly here; their chance is a power of the frequency": optimum(power=lambda a: 0.0),
        "the noise comes from the rows: negatives take a neighbour's place, a column's": optimum(axis=1),
        "the count of the centre word is missing: N_c is the sum of its row": optimum(
            centre=lambda counts: torch.ones(len(counts), 1)
        ),
        "columns are summed for N_c: a centre word is a row": optimum(centre=lambda counts: counts.sum(0)[:, None]),
        "the row's sum N_c stands beside its columns: keep it as a column, (V, 1)": optimum(
            centre=lambda counts: counts.sum(1)
        ),
        "the power is taken after the sum is divided out, so the chances of the noise do not sum to 1": lambda n, k, a: (
            optimum(noise=lambda w: w)(n, k, a) + a * n.double().sum().log()
        ),
        "rows and columns are exchanged: rows are centre words": lambda n, k, a: optimum()(n, k, a).T,
        "the total stands where the row's sum N_c belongs": optimum(centre=lambda counts: counts.sum()),
        "the weights of the noise are no chances yet: divide them by their sum": optimum(noise=lambda w: w),
        "the logarithm is missing": optimum(read=lambda ratio: ratio),
        "the ratio is turned over: the sign is wrong": optimum(read=lambda ratio: -ratio.log()),
        "these are bits: the logarithm is the natural one": optimum(read=torch.log2),
        "K is always 5: use the argument": optimum(negatives=lambda k: 5),
        "K itself is taken off; it is log K": lambda n, k, a: optimum(negatives=lambda k: 1)(n, k, a) - k,
        "log K is missing, and so is the power α: this is the plain pointwise mutual information": optimum(
            power=lambda a: 1.0, negatives=lambda k: 1
        ),
        "negative scores are set to 0; they may well be negative": optimum(read=lambda r: r.log().clamp(min=0)),
    },
    todo="Return a score for each pair of words, (V, V), and run this cell again.",
    right="So word2vec does what counting does, without ever making the table.",
)

# ---------------------------------------------------------------------------------------- clinic 1: the last layer

MEANING = (
    "a value leaves [-1, 1]",
    "no output gives black, -1",
    "no output gives white, 1 in all channels at once",
    "a pixel changes when the output of another place does",
    "a channel changes when the output of another does",
    "the gradient is zero where outputs are large",
    "a larger output should give a brighter pixel",
)


def properties(head: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """What a last layer does with outputs (B, 3, H, W), as seven numbers 0 or 1, in the order of MEANING: 1 is good."""

    def observed(outputs: Tensor) -> Any:
        def pictures(values: Tensor) -> Tensor:
            found = head(values)
            if not isinstance(found, Tensor) or found.shape != values.shape or not found.is_floating_point():
                said = f"a {type(found).__name__}"
                if isinstance(found, Tensor):
                    said = f"a tensor {tuple(found.shape)} of {found.dtype}"
                raise CourseError(f"Return pictures like the outputs, a tensor {tuple(values.shape)}; this is {said}.")
            return found.detach() if not values.requires_grad else found

        first = head(outputs.clone())
        if empty(first):
            return first
        usual = pictures(outputs.clone())
        wide = pictures(8 * outputs)
        low, high = pictures(torch.full_like(outputs, -1e3)), pictures(torch.full_like(outputs, 1e3))
        place, channel = outputs.clone(), outputs.clone()
        place[:, :, 0, 0] += 3
        channel[:, 0] += 3
        by_place, by_channel = pictures(place), pictures(channel)
        ramp = outputs.clone().requires_grad_()
        shown = pictures(3 * ramp)
        if not shown.requires_grad:
            raise CourseError(
                "No gradient comes through: .detach(), .item() and no_grad cut it off, and nothing is learned."
            )
        slope = torch.autograd.grad(shown.sum(), ramp)[0]
        zero = torch.isclose(slope, torch.zeros_like(slope), atol=1e-12)
        within = all(one.abs().max() <= 1 + 1e-6 for one in (usual, wide, low, high))
        others = torch.ones_like(outputs, dtype=torch.bool)
        others[:, :, 0, 0] = False
        return torch.tensor(
            [
                within,
                bool((low < -0.99).all()),
                bool((high > 0.99).all()),
                torch.allclose(by_place[others], usual[others], atol=1e-9),
                torch.allclose(by_channel[:, 1:], usual[:, 1:], atol=1e-9),
                not zero.any(),
                bool((by_place[:, :, 0, 0] > usual[:, :, 0, 0]).all()),
            ]
        ).double()

    return observed


def outputs_of(b: int, h: int, w: int) -> Tensor:
    """A network's outputs (B, 3, H, W), of both signs, some beyond 1."""
    return 1.2 * torch.randn(b, 3, h, w, generator=torch.Generator().manual_seed(h), dtype=torch.float64)


def stretched(x: Tensor) -> Tensor:
    """Each picture stretched so that its darkest value is -1 and its brightest 1."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return 2 * (x - low) / (high - low).clamp_min(1e-9) - 1


picture_head = Check(
    torch.tanh,
    [(outputs_of(2, 4, 4),), (outputs_of(3, 3, 5),)],
    {
        "a softmax still shares out one sum among all values": lambda x: x.flatten(1).softmax(1).view_as(x),
        "a softmax over the places of each channel shares out one sum": lambda x: x.flatten(2).softmax(2).view_as(x),
        "a softmax over the channels is left: white is then 1/3 in each": lambda x: x.softmax(1),
        "this is [0, 1], as a sigmoid gives; models of this course work in [-1, 1]": torch.sigmoid,
        "there is no gradient where it cuts off or makes steps: a pixel that is too bright never comes back": (
            lambda x: x.clamp(-1, 1)
        ),
        "the outputs are left as they are: that may work, but this loss was promised values in [-1, 1]": lambda x: (
            1 * x
        ),
        "a ReLU has neither an upper end nor a gradient below 0": torch.relu,
        "each picture is stretched to its own darkest and brightest value, so every pixel depends on all": stretched,
        "a larger output is not always brighter: the sign is turned, or the function comes back, as a sine does": (
            lambda x: -torch.tanh(x)
        ),
    },
    todo="Return pictures (B, 3, H, W), and run this cell again.",
    right="Each pixel is free of the others, and both ends can be reached.",
    observe=properties,
    otherwise=lambda found: f"Something is wrong with it: {MEANING[[bool(x) for x in found].index(False)]}.",
)

# ------------------------------------------------------------------------------------------------ clinic 2: ties


def in_words(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The pair that an answer gives as one text; anything else as it is."""

    def observed(counts: dict[Pair, int]) -> Any:
        pair = answer(counts)
        two = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        return " + ".join(pair) if two else pair

    return observed


steady_pair = Check(
    lambda counts: min(counts, key=lambda pair: (-counts[pair], pair)),
    [
        ({("a", "b"): 2, ("q", "z"): 7, ("c", "z"): 7, ("m", "n"): 1, ("c", "i"): 7, ("r", "e"): 7, ("k", "l"): 7},),
        ({("x", "y"): 5, ("b", "e"): 5, ("b", "c"): 5, ("ba", "d"): 5, ("a", "z"): 1},),
    ],
    {
        "of equal pairs the first in the dictionary is taken: that is the order of the texts": lambda counts: max(
            counts, key=counts.__getitem__
        ),
        "of equal pairs the last in the dictionary is taken: that is the order of the texts": lambda counts: max(
            reversed(counts), key=counts.__getitem__
        ),
        "of equal pairs the largest is taken; the library takes the smallest": lambda counts: max(
            counts, key=lambda pair: (counts[pair], pair)
        ),
        "of equal pairs only the left parts are compared: the right ones decide where these are equal": lambda counts: (
            min(counts, key=lambda pair: (-counts[pair], pair[0]))
        ),
        "of equal pairs the right parts decide: Python compares the left ones first": lambda counts: min(
            counts, key=lambda pair: (-counts[pair], pair[::-1])
        ),
        "the two parts are joined before they are compared; a pair is compared part by part": lambda counts: min(
            counts, key=lambda pair: (-counts[pair], "".join(pair))
        ),
        "this is a pair with its count: return the pair alone": lambda counts: min(
            counts.items(), key=lambda item: (-item[1], item[0])
        ),
        "the smallest pair is taken, however rare it is: the count comes first": lambda counts: min(counts),
        "the rarest pair is taken: the count should be the largest": lambda counts: min(
            counts, key=lambda pair: (counts[pair], pair)
        ),
    },
    todo="Return a pair, and run this cell again.",
    right="Whatever the order of the texts, the merges are the same.",
    observe=in_words,
    otherwise=lambda pair: f"Return a pair of texts, a key of `counts`; yours, {str(pair)[:40]}, is not the right one.",
)
