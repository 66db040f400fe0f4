"""The checks of lesson 20: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.classroom.checks import Check


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
    [(30.2, 120.0, 100.0), (8.0, 40.0, 37.0), (12.0, 50.0, 55.0), (9.0, 30.0, 30.0)],
    {
        "seconds and milliseconds are mixed": pictures(seconds=1.0),
        "it is rounded down: after so many pictures it has not quite paid": pictures(rounded=math.floor),
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
    """For `observe`: what the function gives, and how often it has called the model."""

    def tried(model: Counted, *given: Any) -> Any:
        model.calls = 0
        found = answer(model, *given)
        return found if found is None or found is ... or isinstance(found, tuple) else (found, model.calls)

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


def two_calls(model: Any, x: Tensor, t: Tensor, text: Tensor, empty: Tensor, g: float) -> Tensor:
    """The slip that calls the model twice."""
    null = model(x, t, empty)
    return null + g * (model(x, t, text) - null)


def alternating(model: Any, x: Tensor, t: Tensor, text: Tensor, empty: Tensor, g: float) -> Tensor:
    """The slip that takes the halves in turns."""
    out = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, text]))
    return out[0::2] + g * (out[1::2] - out[0::2])


guided_once = Check(
    one_pass(),
    [
        (Counted(), random(3, 4), torch.rand(3), random(3, 5, seed=1), random(3, 5, seed=2), 3.0),
        (Counted(), random(2, 6, seed=3), torch.rand(2), random(2, 3, seed=4), random(2, 3, seed=5), 0.5),
    ],
    {
        "the model is called twice; put both into one batch": two_calls,
        "the halves are exchanged: what went in first comes out first": one_pass(order=False),
        "the halves are taken in turns; one follows the other": alternating,
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
    hint="The times go in twice, too.",
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
            weight = (old if total else 1.0) * weight + p.sum(1, keepdim=True)
            out = (old if rescale else 1.0) * out + p @ y[start : start + size]
            m = new
        return out / weight if divide else out

    return answer


def whole_table(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
    """The slip that makes the table which the exercise is to spare."""
    return (q @ k.T / math.sqrt(q.shape[1])).softmax(1) @ y


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
    """For `observe`: what the function gives, and whether something as large as the table of scores was made on the way."""

    def tried(q: Tensor, k: Tensor, y: Tensor, size: int) -> Any:
        with Largest() as largest:
            found = answer(q, k, y, size)
        table = len(q) * len(k)
        seen = largest.numbers >= table > max(k.numel(), y.numel())  # else copies of what is given are as large
        return (found, seen) if isinstance(found, Tensor) else found

    return tried


def mean_of_blocks(q: Tensor, k: Tensor, y: Tensor, size: int) -> Tensor:
    """The slip that takes a softmax inside each block, and averages."""
    blocks = range(0, len(k), size)
    parts = [torch.softmax(q @ k[i : i + size].T / math.sqrt(q.shape[1]), 1) @ y[i : i + size] for i in blocks]
    return torch.stack(parts).mean(0)


blockwise = Check(
    in_blocks(),
    [
        (random(3, 4), random(7, 4, seed=1), random(7, 5, seed=2), 3),
        (random(2, 6, seed=3, scale=30.0), random(5, 6, seed=4, scale=30.0), random(5, 2, seed=5), 2),
        (random(12, 3, seed=6), random(64, 3, seed=7), random(64, 2, seed=8), 4),
        (
            5 + random(3, 4, seed=9) / 10,
            15 + random(7, 4, seed=10) / 10,
            random(7, 3, seed=11),
            3,
        ),  # all scores near 150
    ],
    {
        "the whole table of scores is made: walk `size` keys at a time": whole_table,
        "o is not divided by l at the end": in_blocks(divide=False),
        "d is the length of a query, not of a value": in_blocks(of_value=True),
        "m' is the largest of this block; it is the largest so far": in_blocks(so_far=False),
        "m is one number for all queries; each has its own": in_blocks(own=False),
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
    observe=sparing,
)


# --------------------------------------------------------------------------------------------- 4: few shapes


def padding(
    pick: Callable[[Sequence[int], int], int] | None = None, cost: Callable[[int, int], int] = lambda up, n: up - n
) -> Callable[..., int]:
    """The answer of exercise 4, by trying all choices, or with another choice or cost."""

    def waste(lengths: Sequence[int], chosen: Sequence[int]) -> int:
        return sum(cost(min(c for c in chosen if c >= n), n) for n in lengths)

    def answer(lengths: Sequence[int], shapes: int) -> int:
        if pick is not None:
            return pick(lengths, shapes)
        known = sorted(set(lengths))
        others = known[:-1]
        tries = combinations(others, min(shapes, len(known)) - 1)
        return min(waste(lengths, (*some, known[-1])) for some in tries)

    return answer


def spread_evenly(lengths: Sequence[int], shapes: int) -> int:
    """The slip that spaces the shapes evenly up to the longest."""
    top = max(lengths)
    chosen = [-(-top * (i + 1) // shapes) for i in range(shapes)]
    return sum(min(c for c in chosen if c >= n) - n for n in lengths)


def by_count(lengths: Sequence[int], shapes: int) -> int:
    """The slip that puts as many captions into each shape."""
    ordered = sorted(lengths)
    chosen = [ordered[-(-len(ordered) * (i + 1) // shapes) - 1] for i in range(shapes)]
    return sum(min(c for c in chosen if c >= n) - n for n in lengths)


least_padding = Check(
    padding(),
    [
        ([3, 4, 4, 5, 12, 13, 30], 2),
        ([8, 8, 9, 20, 21, 21, 22, 40, 41], 3),
        ([5, 17, 6, 16], 1),
        ([2, 9, 9], 4),
    ],
    {
        "the shapes are spaced evenly": spread_evenly,
        "each shape gets as many captions": by_count,
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
        if not isinstance(found, Tensor):
            return found
        return found.float(), str(found.dtype), " and ".join(sorted(gradient.dtypes)) or "none"

    return tried


def descent(
    stored: torch.dtype = torch.float32, computed: torch.dtype = torch.bfloat16, given_back: torch.dtype | None = None
) -> Callable[..., Tensor]:
    """The training of the first clinic, with weights stored and gradients computed in these precisions."""

    def train(w: Tensor, gradient: Any, rate: float, steps: int) -> Tensor:
        w = w.to(stored)
        for _ in range(steps):
            w = w - (rate * gradient(w.to(computed)).to(stored)).to(stored)
        return w.to(given_back or stored)

    return train


master_weights = Check(
    descent(),
    [
        (torch.tensor([1.0, -2.0, 3.0]), Seen(2.0, 0.5, 3.5), 1e-3, 400),
        (torch.tensor([0.5, 8.0]), Seen(-0.25, 7.0), 5e-4, 300),
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
    },
    todo="Return the weights, and run this cell again.",
    right="The sum is kept in fp32, and the gradient works in bf16.",
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

    def tried(compiler: Compiler, *given: Any) -> Any:
        compiler.times = 0
        compiler.shapes.clear()
        found = answer(compiler, *given)
        if not isinstance(found, list | tuple) or not all(isinstance(one, Tensor) for one in found):
            return found
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
        "Return a list."
        if not isinstance(got, tuple)
        else "One program, but the pictures are others: does a batch get back the rows that it gave?"
        if got[2] == 1
        else f"{got[2]} programs were compiled, where one is enough."
    ),
    observe=compilations,
)
