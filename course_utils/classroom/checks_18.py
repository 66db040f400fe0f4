"""The checks of lesson 18: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from course_utils.classroom.checks import Check, empty
from course_utils.common import CourseError

plan = Check(
    lambda images, batch, accumulate, ranks: (math.ceil(images / batch), batch // (accumulate * ranks)),
    [(1_000_000, 256, 1, 1), (3_000, 128, 2, 4), (1_025, 64, 4, 2), (96, 96, 3, 1)],
    {
        "the last batch is left out: a run ends with a whole batch at or beyond its last picture": lambda i, b, a, r: (
            i // b,
            b // (a * r),
        ),
        "accumulation makes more steps: the optimiser steps once for the whole batch": lambda i, b, a, r: (
            math.ceil(i * a / b),
            b // (a * r),
        ),
        "each process makes its own steps: all share one batch, and make the same step": lambda i, b, a, r: (
            math.ceil(i / (b * r)),
            b // (a * r),
        ),
        "the processes do not share the batch: each computes 1/R of it": lambda i, b, a, r: (math.ceil(i / b), b // a),
        "accumulation is left out of the pictures at a time": lambda i, b, a, r: (math.ceil(i / b), b // r),
        "parts are multiplied where they divide": lambda i, b, a, r: (math.ceil(i / b), b * a // r),
    },
    todo="Return (steps, pictures at a time), and run this cell again.",
)


def rate(s: float, images: float, warmup: float, fraction: float, half: bool = True, late: bool = True) -> float:
    """(18.4) with a highest rate of 1."""
    if s < warmup:
        return s / warmup
    start = images * (1 - fraction)
    if s <= start:
        return 1.0
    done = (s - start) / (images - start) if late else s / images
    cosine = math.cos(math.pi * done)
    return (1 + cosine) / 2 if half else max(cosine, 0.0)


def as_schedule(answer: Any) -> Callable[..., Any]:
    """For `observe`: the answer, asked for each moment."""

    def ask(images: float, warmup: float, fraction: float, seen: list[float]) -> Any:
        found = [answer(s, images, warmup, fraction) for s in seen]
        if any(map(empty, found)):
            return None
        return torch.tensor([float(one) for one in found])

    return ask


MOMENTS = [0.0, 50.0, 99.0, 100.0, 400.0, 600.0, 700.0, 800.0, 990.0, 1000.0]
schedule = Check(
    rate,
    [
        (1000.0, 100.0, 0.4, MOMENTS),
        (1000.0, 200.0, 0.25, MOMENTS),
        (5000.0, 10.0, 1.0, [0.0, 5.0, 11.0, 2500.0, 4999.0]),
    ],
    {
        "the warm-up is missing: it rises from 0": lambda s, n, w, f: rate(s, n, 0, f),
        "the decay begins at `fraction` of the run; it takes the last `fraction` of it": lambda s, n, w, f: rate(
            s, n, w, 1 - f
        ),
        "the cosine runs from 1 to -1: add 1 and halve it": lambda s, n, w, f: rate(s, n, w, f, half=False),
        "the cosine counts from the start of the run: it is at 1 where the decay begins": lambda s, n, w, f: rate(
            s, n, w, f, late=False
        ),
        "there is no level part: the decay begins after the warm-up": lambda s, n, w, f: (
            s / w if s < w else (1 + math.cos(math.pi * (s - w) / (n - w))) / 2
        ),
        "the decay is a straight line": lambda s, n, w, f: (
            rate(s, n, w, f) if s <= n * (1 - f) else 1 - (s - n * (1 - f)) / (n * f)
        ),
    },
    observe=as_schedule,
    todo="Return a number between 0 and 1, and run this cell again.",
)


def weighted(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    """The gradient of the mean over all pictures."""
    return sum(size * gradient for size, gradient in zip(sizes, gradients, strict=True)) / sum(sizes)  # type: ignore[return-value]


UNEVEN = [torch.tensor([1.0, -2.0]), torch.tensor([4.0, 0.5]), torch.tensor([-3.0, 6.0])]
combine = Check(
    weighted,
    [(UNEVEN, [16, 16, 8]), (UNEVEN[:2], [30, 2]), ([UNEVEN[2]], [5]), (UNEVEN[1:], [8, 8])],
    {
        "the mean of the means is taken: a process with few pictures counts as much as one with many": lambda g, n: (
            torch.stack(g).mean(0)
        ),
        "gradients are added where their mean is needed": lambda g, n: torch.stack(g).sum(0),
        "the sum of the weighted gradients is not divided by the number of pictures": lambda g, n: (
            weighted(g, n) * sum(n)
        ),
        "it is divided by the number of processes; divide by that of the pictures": lambda g, n: (
            weighted(g, n) * sum(n) / len(n)
        ),
        "the weights are turned round: more pictures should count more": lambda g, n: weighted(g, [1 / k for k in n]),
    },
    todo="Return a tensor like one of the gradients, and run this cell again.",
    rtol=1e-5,
)


def strictly(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], d: float) -> dict[str, Tensor]:
    """Every name of the average, found in the weights with or without the mark of a compiled model."""
    plain = {name.removeprefix("_orig_mod."): value for name, value in weights.items()}
    if plain.keys() != average.keys():
        raise KeyError(sorted(plain.keys() ^ average.keys()))
    return {name: d * value + (1 - d) * plain[name] for name, value in average.items()}


def skipped(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], d: float) -> dict[str, Tensor]:
    """The mistake: what is not found under its name stays."""
    return {n: d * v + (1 - d) * weights[n] if n in weights else v for n, v in average.items()}


def all_skipped(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], d: float) -> dict[str, Tensor]:
    """Renamed, and still silent about what is missing."""
    return skipped(average, {n.removeprefix("_orig_mod."): v for n, v in weights.items()}, d)


def as_update(answer: Any) -> Callable[..., Any]:
    """For `observe`: the values in the order of their names, or that it refuses what does not fit."""

    def ask(average: Any, weights: Any, d: float) -> Any:
        try:
            found = answer(average, weights, d)
        except (KeyError, ValueError, AssertionError, CourseError, RuntimeError):
            return "refused"
        if empty(found):
            return None
        if not isinstance(found, Mapping):
            raise CourseError("It returns a dictionary like `average`: names and tensors.")
        if sorted(found) != sorted(average):
            raise CourseError(f"The names should be those of the average; yours are {sorted(found)}.")
        return torch.cat([found[name].reshape(-1) for name in sorted(found)])

    return ask


A = {"0.weight": torch.tensor([1.0, 2.0]), "0.bias": torch.tensor([-1.0])}
W = {"0.weight": torch.tensor([3.0, 0.0]), "0.bias": torch.tensor([5.0])}
COMPILED = {f"_orig_mod.{name}": value for name, value in W.items()}
update = Check(
    strictly,
    [
        (A, COMPILED, 0.9),
        (A, W, 0.5),
        (A, {"_orig_mod.0.weight": W["0.weight"]}, 0.9),
        (A, {**W, "1.bias": W["0.bias"]}, 0.5),
    ],
    {
        "names that begin with `_orig_mod.` are still skipped: the average stays as it began": skipped,
        "a name that is missing is skipped in silence: compare the names, and raise an error": all_skipped,
        "d and 1 - d have changed places": lambda a, w, d: strictly(a, w, 1 - d),
        "the weights replace the average: nothing is averaged": lambda a, w, d: strictly(a, w, 0.0),
    },
    observe=as_update,
    todo="Return a dictionary, and run this cell again.",
    right="It also refuses weights that lack a name or have one too many.",
    otherwise=lambda got: (
        "It should refuse weights with other names, by raising an error."
        if not isinstance(got, str)
        else "It refuses weights that fit: take `_orig_mod.` away first."
    ),
)


def order(n: int, epoch: int) -> list[int]:
    """The order of an epoch's pictures."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(epoch)).tolist()


def at(position: int, n: int) -> int:
    """The picture at a position of the endless row of epochs."""
    return order(n, position // n)[position % n]


picture_at = Check(
    at,
    [(0, 7), (6, 7), (7, 7), (23, 7), (40, 5)],
    {
        "the order begins anew after a resume: use the position within its epoch": lambda p, n: order(n, p // n)[0],
        "every epoch has the same order: its number is the seed": lambda p, n: order(n, 0)[p % n],
        "the pictures come in their own order: they are not shuffled": lambda p, n: p % n,
        "the position is the seed: within an epoch pictures come twice": lambda p, n: order(n, p)[p % n],
    },
    todo="Return the number of a picture, and run this cell again.",
)
