"""The checks of lesson 20: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.classroom.checks import Check, empty
from course_utils.common import CourseError


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normal numbers that are the same each time."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------- 1: when it has paid


def pictures(
    seconds: float = 1000.0,
    rounded: Callable[[float], float] = math.ceil,
    never: Any = math.inf,
    least: Callable[[float, float], float] = lambda plain, compiled: plain - compiled,
) -> Callable[..., Any]:
    """The answer of exercise 1, or with one part of it changed."""

    def answer(compile_s: float, plain_ms: float, compiled_ms: float) -> Any:
        saved = least(plain_ms, compiled_ms)
        if plain_ms <= compiled_ms and never is not None:
            return never
        return rounded(seconds * compile_s / saved) if saved else math.inf

    return answer


paid_off = Check(
    pictures(),
    # the first is exact in seconds as in milliseconds; the next two have a remainder above and below one half
    [(32.0, 125.0, 62.5), (8.0, 40.0, 37.0), (8.0, 40.0, 34.0), (12.0, 50.0, 55.0), (9.0, 30.0, 30.0)],
    {
        "seconds and milliseconds are mixed": pictures(seconds=1.0),
        "seconds are divided by 1,000; a second is 1,000 milliseconds": pictures(seconds=1 / 1000),
        "it is rounded down: after so many pictures it has not quite paid": pictures(rounded=math.floor),
        "it is rounded to the nearest; with a remainder it takes one picture more": pictures(rounded=round),
        "one picture is added always; without a remainder it has paid already": pictures(
            rounded=lambda n: math.floor(n) + 1
        ),
        "the saving has the wrong sign: it is the plain time less the compiled one": lambda compile_s, plain_ms, compiled_ms: (
            pictures()(-compile_s, plain_ms, compiled_ms)
        ),
        "a compiler that gains nothing divides by zero: as fast as before never pays, too": lambda *given: (
            math.inf if given[2] > given[1] else math.ceil(1000 * given[0] / (given[1] - given[2]))
        ),
        "it is not rounded: the answer is a whole number of pictures": pictures(rounded=float),
        "a compiler that gains nothing pays after a negative number of pictures; it never does: math.inf": pictures(
            never=None
        ),
        "a compiler that gains nothing has paid at once; it never does: math.inf": pictures(never=0),
        "the cost is divided by the time of a picture, not by what a picture saves": pictures(
            least=lambda plain, compiled: plain
        ),
        "the cost is divided by the compiled time, not by what a picture saves": pictures(
            least=lambda plain, compiled: compiled
        ),
    },
    todo="Return a number, and run this cell again.",
    right="It also says that a compiler that gains nothing never pays.",
    rtol=1e-9,
    atol=0,
)


# ------------------------------------------------------------------------------------------- 2: guidance in one pass


class Counted:
    """A model that counts how often it is called: each picture moves by what its time and its text make of it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        self.calls += 1
        return torch.tanh(x * text.mean(1, keepdim=True) + t[:, None] + text.sum(1, keepdim=True) / 3)


def counted(answer: Any) -> Callable[..., Any]:
    """For `observe`: what the function gives, if it has called the model once."""

    def tried(model: Counted, *given: Any) -> Any:
        model.calls = 0
        found = answer(model, *given)
        if empty(found):
            return found
        if model.calls != 1:
            raise CourseError(f"The model is called {model.calls} times; put both into one batch, and call it once.")
        if isinstance(found, tuple):
            raise CourseError("Return one tensor, made of both halves, not the halves.")
        return found

    return tried


def one_pass(
    order: bool = True,
    mix: Callable[[Tensor, Tensor, float], Tensor] = lambda null, with_text, g: null + g * (with_text - null),
) -> Callable[..., Tensor]:
    """The answer of exercise 2, or with one part of it changed."""

    def answer(model: Any, x: Tensor, t: Tensor, text: Tensor, empty: Tensor, g: float) -> Tensor:
        out = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, text]))
        null, with_text = out.chunk(2) if order else out.chunk(2)[::-1]
        return mix(null, with_text, g)

    return answer


def side_by_side(model: Any, x: Tensor, t: Tensor, text: Tensor, empty: Tensor, g: float) -> Tensor:
    """The slip that makes each picture wider instead of making more of them."""
    null, with_text = model(torch.cat([x, x], 1), t, torch.cat([empty, text], 1)).chunk(2, 1)
    return null + g * (with_text - null)


def alternating(model: Any, x: Tensor, t: Tensor, text: Tensor, empty: Tensor, g: float) -> Tensor:
    """The slip that takes the halves in turns."""
    out = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, text]))
    return out[0::2] + g * (out[1::2] - out[0::2])


guided_once = Check(
    one_pass(),
    [
        (Counted(), random(3, 4), random(3, seed=6).sigmoid(), random(3, 5, seed=1), random(3, 5, seed=2), 3.0),
        (Counted(), random(2, 6, seed=3), random(2, seed=7).sigmoid(), random(2, 3, seed=4), random(2, 3, seed=5), 0.5),
    ],
    {
        "the halves are exchanged: what went in first comes out first": one_pass(order=False),
        "the halves are taken in turns; one follows the other": alternating,
        "they are put side by side; a batch grows along its first dimension": side_by_side,
        "the texts are mixed; what is mixed is what the model gives": lambda model, x, t, text, empty, g: model(
            x, t, empty + g * (text - empty)
        ),
        "the pass without text is left out": lambda model, x, t, text, empty, g: model(x, t, text),
        "g multiplies the pass with text alone; it multiplies the difference": one_pass(
            mix=lambda null, with_text, g: null + g * with_text
        ),
        "it starts from the pass with text: it starts from the one without": one_pass(
            mix=lambda null, with_text, g: with_text + g * (with_text - null)
        ),
        "the difference has the wrong sign": one_pass(mix=lambda null, with_text, g: null + g * (null - with_text)),
    },
    todo="Return a tensor, and run this cell again.",
    right="One pass, of a doubled batch.",
    hint="Pictures, times and texts go in with 2 B rows each.",
    observe=counted,
)


# ------------------------------------------------------------------------------------------- 3: attention in blocks


def in_blocks(
    rescale: bool = True,
    total: bool = True,
    highest: bool = True,
    root: Callable[[int], float] = math.sqrt,
    rest: bool = True,
    divide: bool = True,
    of_value: bool = False,
    own: bool = True,
    so_far: bool = True,
    all_rows: bool = False,
    turn: float = 1.0,
) -> Callable[..., Tensor]:
    """The answer of exercise 3, or with one part of it changed."""

    def answer(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
        m = torch.full((len(q), 1), -math.inf if highest else 0.0)
        weight, out = torch.zeros(len(q), 1), torch.zeros(len(q), y.shape[1])
        last = len(k) if rest else len(k) // size * size
        for start in range(0, last, size):
            a = q @ k[start : start + size].T / root((y if of_value else q).shape[1])
            largest = a.amax(1, keepdim=True) if own else a.max()
            new = (torch.maximum(m, largest) if so_far else largest) if highest else m
            old = torch.exp(turn * (m - new))
            p = torch.exp(a - new)
            weight = (old if total else 1.0) * weight + (p.sum() if all_rows else p.sum(1, keepdim=True))
            out = (old if rescale else 1.0) * out + p @ y[start : start + size]
            m = new
        return out / weight if divide else out

    return answer


def whole_table(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
    """The slip that makes the table which the exercise is to spare."""
    return (q @ k.T / math.sqrt(q.shape[1])).softmax(1) @ y


def last_block(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
    """The slip that starts anew with each block."""
    first = (len(k) - 1) // size * size
    return whole_table(q, k[first:], y[first:], size)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that is computed while it lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out._base is None and not any(out is one for one in args):
            self.numbers = max(self.numbers, out.numel())
        return out


def sparing(answer: Any) -> Callable[..., Any]:
    """For `observe`: what the function gives, if it holds the scores of `size` keys at a time and not of more."""

    def tried(q: Tensor, k: Tensor, y: Tensor, size: int) -> Any:
        with Largest() as largest:
            found = answer(q, k, y, size)
        if empty(found):
            return found
        if not isinstance(found, Tensor):
            raise CourseError(
                f"Return a tensor (Q, V), computed with torch; this is of the type {type(found).__name__}."
            )
        # copies of what is given are as large, and so are products of a block before they are summed
        least = max(k.numel(), y.numel(), len(q) * size * max(q.shape[1], y.shape[1]))
        if largest.numbers >= len(q) * len(k) > least:
            raise CourseError("The whole table of scores is made: walk through the keys, `size` at a time.")
        if largest.numbers > least:
            raise CourseError(
                f"A tensor of {largest.numbers} numbers is made; the scores of `size` keys are {len(q) * size}. "
                "Take `size` keys at a time, and keep m, l and o alone."
            )
        return found

    return tried


def mean_of_blocks(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
    """The slip that takes a softmax inside each block, and averages."""
    blocks = range(0, len(k), size)
    parts = [torch.softmax(q @ k[i : i + size].T / math.sqrt(q.shape[1]), 1) @ y[i : i + size] for i in blocks]
    return sum(parts[1:], parts[0]) / len(parts)


blockwise = Check(
    in_blocks(),
    [
        (random(3, 4), random(7, 4, seed=1), random(7, 5, seed=2), 3),
        (random(2, 6, seed=3, scale=30.0), random(5, 6, seed=4, scale=30.0), random(5, 2, seed=5), 2),
        (random(24, 3, seed=6), random(64, 3, seed=7), random(64, 2, seed=8), 4),
        (
            5 + random(3, 4, seed=9) / 10,
            15 + random(7, 4, seed=10) / 10,
            random(7, 3, seed=11),
            3,
        ),  # all scores near 150
    ],
    {
        "o is not divided by l at the end": in_blocks(divide=False),
        "d is the length of a query, not of a value": in_blocks(of_value=True),
        "m' is the largest of this block; it is the largest so far": in_blocks(so_far=False),
        "m is one number for all queries; each has its own": in_blocks(own=False),
        "l is one number for all queries; each has its own": in_blocks(all_rows=True),
        "only the last block is left: what was summed so far must stay": last_block,
        "the factor is e^(m - m'), not e^(m' - m)": in_blocks(turn=-1.0),
        "the output so far is not rescaled when a larger score comes": in_blocks(rescale=False),
        "the sum of the weights so far is not rescaled when a larger score comes": in_blocks(total=False),
        "neither the output nor the sum so far is rescaled when a larger score comes": in_blocks(
            rescale=False, total=False
        ),
        "the largest score is not taken off before exp: with large scores that is inf / inf": in_blocks(highest=False),
        "the scores are not divided by the root of d": in_blocks(root=lambda d: 1.0),
        "the scores are divided by d, not by its root": in_blocks(root=float),
        "the last block is left out where it is not full": in_blocks(rest=False),
        "each block has a softmax of its own: the sum must go over all blocks": mean_of_blocks,
    },
    todo="Return a tensor, and run this cell again.",
    right="It survives scores in the hundreds, too, and never holds their table.",
    hint="m and l need a row for each query, (Q, 1): keepdim=True keeps it.",
    observe=sparing,
)


# --------------------------------------------------------------------------------------------- 4: few shapes


def padding(
    pick: Callable[[Collection[int], int], int] | None = None, cost: Callable[[int, int], int] = lambda up, n: up - n
) -> Callable[..., int]:
    """The answer of exercise 4, by trying all choices, or with another choice or cost."""

    def waste(lengths: Collection[int], chosen: Sequence[int]) -> int:
        return sum(cost(min(c for c in chosen if c >= n), n) for n in lengths)

    def answer(lengths: Collection[int], shapes: int) -> int:
        if pick is not None:
            return pick(lengths, shapes)
        known = sorted(set(lengths))
        others = known[:-1]
        tries = combinations(others, min(shapes, len(known)) - 1)
        return min(waste(lengths, (*some, known[-1])) for some in tries)

    return answer


def padding_to(lengths: Sequence[int], chosen: Sequence[int]) -> int:
    """The padding up to the shortest of these shapes that holds each length."""
    return sum(min(c for c in chosen if c >= n) - n for n in lengths)


def spread_evenly(lengths: Sequence[int], shapes: int) -> int:
    """The slip that spaces the shapes evenly up to the longest."""
    top = max(lengths)
    chosen = [-(-top * (i + 1) // shapes) for i in range(shapes)]
    return padding_to(lengths, chosen)


def by_count(lengths: Sequence[int], shapes: int) -> int:
    """The slip that puts as many captions into each shape."""
    ordered = sorted(lengths)
    chosen = [ordered[-(-len(ordered) * (i + 1) // shapes) - 1] for i in range(shapes)]
    return padding_to(lengths, chosen)


def nearest_shape(lengths: Sequence[int], shapes: int) -> int:
    """The slip that also takes a shape which is too short."""
    tries = combinations(sorted(set(lengths)), min(shapes, len(set(lengths))))
    return min(sum(min(abs(c - n) for c in chosen) for n in lengths) for chosen in tries)


def one_by_one(lengths: Sequence[int], shapes: int) -> int:
    """The slip that adds the best length to those that it has, and never goes back."""
    chosen = [max(lengths)]
    while len(chosen) < shapes:
        chosen.append(min(sorted(set(lengths)), key=lambda more: padding_to(lengths, (*chosen, more))))
    return padding_to(lengths, chosen)


least_padding = Check(
    padding(),
    [
        ([3, 4, 4, 5, 12, 13, 30], 2),
        ([8, 8, 9, 20, 21, 21, 22, 40, 41], 3),
        ([5, 17, 6, 16], 1),
        ([2, 9, 9], 4),
        ([10, 21, 23, 25, 28, 28, 28, 30], 3),
    ],
    {
        "the shapes are spaced evenly": spread_evenly,
        "each shape gets as many captions": by_count,
        "one length after the other is chosen; the best two together may be others": one_by_one,
        "each length is counted once; each caption counts": lambda lengths, shapes: padding()(set(lengths), shapes),
        "the longest comes on top of the `shapes`; it is one of them": lambda lengths, shapes: padding()(
            lengths, shapes + 1
        ),
        "one shape fewer is chosen than there may be": lambda lengths, shapes: padding()(lengths, max(1, shapes - 1)),
        "there are fewer different lengths than `shapes`: choose *at most* so many": lambda lengths, shapes: min(
            padding_to(lengths, (*some, max(lengths))) for some in combinations(sorted(set(lengths))[:-1], shapes - 1)
        ),
        "the longest is not among the shapes, so that none holds it": lambda lengths, shapes: min(
            padding_to(lengths, some) for some in combinations(sorted(set(lengths)), shapes)
        ),
        "the nearest shape is taken; it must hold the caption": nearest_shape,
        "the mean is given; the sum of the padding is asked": lambda lengths, shapes: (
            padding()(lengths, shapes) / len(lengths)
        ),
        "everything is padded to the longest": padding(lambda lengths, shapes: sum(max(lengths) - n for n in lengths)),
        "the numbers of padded captions are counted; the sum of the padding is asked": padding(
            cost=lambda up, n: int(up > n)
        ),
        "all tokens are counted; the padding alone is asked": padding(cost=lambda up, n: up),
    },
    todo="Return a number, and run this cell again.",
)


# ---------------------------------------------------------------------------------------------------- the clinics


class Seen:
    """A gradient that pulls weights to `target`, in the precision of the weights that it gets, which it remembers."""

    def __init__(self, *target: float):
        self.target, self.dtypes = torch.tensor(target), set[str]()

    def __call__(self, w: Tensor) -> Tensor:
        self.dtypes.add(str(w.dtype))
        return w - self.target.to(w.dtype)


def watched(answer: Any) -> Callable[..., Any]:
    """For `observe`: the weights in fp32, their precision, and that in which gradients were taken."""

    def tried(w: Tensor, gradient: Seen, *given: Any) -> Any:
        gradient.dtypes.clear()
        found = answer(w, gradient, *given)
        if empty(found):
            return found
        if not isinstance(found, Tensor):
            raise CourseError(f"Return the weights, a tensor like w; this is of the type {type(found).__name__}.")
        return found.float(), str(found.dtype), " and ".join(sorted(gradient.dtypes)) or "none"

    return tried


def descent(
    stored: torch.dtype = torch.float32,
    computed: torch.dtype = torch.bfloat16,
    given_back: torch.dtype | None = None,
    stale: bool = False,
    sign: float = 1.0,
) -> Callable[..., Tensor]:
    """The training of the first clinic, with weights stored and gradients computed in these precisions."""

    def train(w: Tensor, gradient: Any, rate: float, steps: int) -> Tensor:
        w = first = w.to(stored)
        for _ in range(steps):
            copied = (first if stale else w).to(computed)
            w = w - (sign * rate * gradient(copied).to(stored)).to(stored)
        return w.to(given_back or stored)

    return train


master_weights = Check(
    descent(),
    [
        (torch.tensor([1.0, -2.0, 3.0]), Seen(2.0, 0.5, 3.5), 1e-3, 400),
        (torch.tensor([0.5, 8.0]), Seen(-0.25, 7.0), 5e-4, 300),
        (torch.tensor([1.5, -4.0, 2.0]), Seen(1.0, -3.0, 2.5), 0.25, 6),
    ],
    {
        "the weights are stored in bf16: small updates vanish": descent(stored=torch.bfloat16),
        "each step starts from weights in bf16, whatever is returned at the end: small updates have vanished": descent(
            stored=torch.bfloat16, given_back=torch.float32
        ),
        "gradients are computed in fp32, and nothing is gained: give `gradient` a copy in bf16": descent(
            computed=torch.float32
        ),
        "the weights are given back in bf16: what was kept so carefully is rounded away": descent(
            given_back=torch.bfloat16
        ),
        "the copy in bf16 is made once, before the loop: each step needs a copy of the weights as they are then": descent(
            stale=True
        ),
        "one step is taken, not `steps`": lambda w, gradient, rate, steps: descent()(w, gradient, rate, 1),
        "it goes up the gradient; w - rate * gradient goes down": descent(sign=-1.0),
    },
    todo="Return the weights, and run this cell again.",
    right="The sum is kept in fp32, and the gradient works in bf16.",
    otherwise=lambda got: (
        f"Return the weights in fp32; yours are {got[1]}."
        if got[1] != "torch.float32"
        else f"`gradient` got weights of the type {got[2]}; give it bfloat16 each time."
        if got[2] != "torch.bfloat16"
        else "The number formats are right, and the weights are not: take `steps` steps of w - rate * gradient(w)."
    ),
    observe=watched,
    rtol=2e-3,  # rate * gradient may be in bf16, too: that is off by a small part of a small part, the slips by tenths
)


class Compiler:
    """Counts how often it is asked to compile, and for how many shapes what it compiled was called."""

    def __init__(self) -> None:
        self.times, self.shapes = 0, set[tuple[int, ...]]()

    def __call__(self, model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        self.times += 1

        def compiled(x: Tensor) -> Tensor:
            self.shapes.add((self.times, *x.shape))
            return model(x)

        return compiled


def compilations(answer: Any) -> Callable[..., Any]:
    """For `observe`: all pictures in one tensor, and how many programs had to be compiled."""

    def tried(compiler: Compiler, model: Any, batches: Sequence[Tensor]) -> Any:
        compiler.times = 0
        compiler.shapes.clear()
        found = answer(compiler, model, batches)
        if empty(found):
            return found
        if not isinstance(found, list | tuple) or not all(isinstance(one, Tensor) for one in found):
            kind = type(found).__name__ + (f" of {type(found[0]).__name__}" if isinstance(found, list) else "")
            raise CourseError(f"Return a list of tensors, one for each batch; this is of the type {kind}.")
        if len(found) != len(batches):
            raise CourseError(f"{len(batches)} batches went in, and {len(found)} came out.")
        if any(one.shape[1:] != x.shape[1:] for one, x in zip(found, batches, strict=True)):
            raise CourseError("What comes out has another shape than what went in: only rows are padded, and cut.")
        return torch.cat(found), [len(one) for one in found], len(compiler.shapes)

    return tried


def square(x: Tensor) -> Tensor:
    """A model for the clinic: each row on its own."""
    return x * x + x.sum(1, keepdim=True)


def drawing(pad: bool = True, cut: bool = True) -> Callable[..., list[Tensor]]:
    """The drawing of the second clinic, or with one part of it left out."""

    def draw(compiler: Any, model: Any, batches: Sequence[Tensor]) -> list[Tensor]:
        most, fast, found = max(map(len, batches)), compiler(model), []
        for x in batches:
            full = torch.cat([x, x.new_zeros(most - len(x), *x.shape[1:])]) if pad else x
            out = fast(full)
            found.append(out[: len(x)] if cut else out)
        return found

    return draw


def in_the_loop(compiler: Any, model: Any, batches: Sequence[Tensor]) -> list[Tensor]:
    """The broken drawing."""
    return [compiler(model)(x) for x in batches]


compiled_once = Check(
    drawing(),
    [
        (Compiler(), square, [random(4, 3), random(4, 3, seed=1), random(2, 3, seed=2)]),
        (Compiler(), square, [random(1, 2, seed=3), random(5, 2, seed=4), random(3, 2, seed=5)]),
    ],
    {
        "it compiles in the loop: compile once, before it, and pad to one shape": in_the_loop,
        "it compiles once, and each new shape is compiled anew: pad to one shape": drawing(pad=False),
        "the padding is given back, too: cut it off": drawing(cut=False),
    },
    todo="Return a list of tensors, and run this cell again.",
    right="One program, whatever comes.",
    otherwise=lambda got: (
        "One program, but the pictures are others: does a batch get back the rows that it gave?"
        if got[2] == 1
        else f"{got[2]} programs were compiled, where one is enough."
    ),
    observe=compilations,
)
