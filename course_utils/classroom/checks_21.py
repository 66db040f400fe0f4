"""The checks of lesson 21: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_utils.classroom.checks import Check


def counted(
    inside: Callable[[float, float, float], bool] = lambda t, low, high: low <= t < high,
    when: Callable[[int, int], float] = lambda k, steps: k / steps,
    guided: int = 2,
    other: int = 1,
) -> Callable[[int, float, float], int]:
    """The answer of exercise 1, or with one part of it changed."""
    return lambda steps, low, high: sum(guided if inside(when(k, steps), low, high) else other for k in range(steps))


passes = Check(
    counted(),
    [(8, 0.25, 0.75), (7, 0.0, 0.3), (12, 0.5, 2.0)],
    {
        "guided steps cost one pass: with and without words are two": counted(guided=1),
        "steps outside of the interval cost nothing: there the model runs with the words": counted(other=0),
        "every step is guided": counted(lambda t, low, high: True),
        "the step that begins at `high` is guided; the interval ends before it": counted(
            lambda t, low, high: low <= t <= high
        ),
        "the step that begins at `low` is not guided; the interval begins with it": counted(
            lambda t, low, high: low < t < high
        ),
        "a step counts by the time where it ends; the velocity is asked where it begins": counted(
            when=lambda k, steps: (k + 1) / steps
        ),
        "guidance is outside of the interval and none inside": counted(guided=1, other=2),
        "the times are k / (N - 1): N steps begin at k / N": counted(when=lambda k, steps: k / (steps - 1)),
        "the guided steps are counted from the length of the interval: count the steps that begin in it": (
            lambda steps, low, high: steps + int((high - low) * steps)
        ),
    },
    todo="Return a whole number, and run this cell again.",
    rtol=1e-9,
    atol=1e-9,
)


def lam(t: float) -> float:
    """λ = log(t / (1 - t))."""
    return math.log(t / (1 - t))


def continued(
    clock: Callable[[float], float] = lam,
    half: float = 2.0,
    turn: bool = False,
    swap: bool = False,
    first: bool = False,
    weight: Callable[[float, float], float] = lambda s, t: (t - s) / (1 - s),
) -> Callable[..., Tensor]:
    """The answer of exercise 2, or with one part of it changed."""

    def answer(x: Tensor, data: Tensor, before: Tensor, times: tuple[float, float, float]) -> Tensor:
        r, s, t = times
        step, length = clock(t) - clock(s), clock(s) - clock(r)
        share = (length / step if turn else step / length) / half
        if swap:
            data, before = before, data
        ahead = data if first else data + share * (data - before)
        return x + weight(s, t) * (ahead - x)

    return answer


dpm_step = Check(
    continued(),
    [
        (torch.tensor([0.3, -1.0]), torch.tensor([1.0, 0.5]), torch.tensor([0.4, 0.9]), (0.25, 0.5, 0.75)),
        (
            torch.tensor([2.0, 0.1, -0.7]),
            torch.tensor([1.5, 0.0, -1.0]),
            torch.tensor([1.1, 0.3, -0.2]),
            (0.1, 0.3, 0.4),
        ),
        (torch.tensor([-0.6]), torch.tensor([0.8]), torch.tensor([1.4]), (0.5, 0.6, 0.9)),
    ],
    {
        "the data are not continued: that is Euler's step": continued(first=True),
        "the lengths are taken in t; the line is straight in λ": continued(clock=lambda t: t),
        "the factor 1/2 is missing: the mean over the step is what is needed": continued(half=1.0),
        "the ratio of the lengths is upside down": continued(turn=True),
        "the data of this step and the one before are exchanged": continued(swap=True),
        "λ is log t alone; the noise gets less, too": continued(clock=math.log),
        "the step is t - s; on the way to the data it is (t - s) / (1 - s)": continued(weight=lambda s, t: t - s),
        "the step is divided by 1 - t; what is left of the way at its beginning is 1 - s": continued(
            weight=lambda s, t: (t - s) / (1 - t)
        ),
        "this is D-bar; go the share (t - s) / (1 - s) of the way to it": continued(weight=lambda s, t: 1.0),
        "the difference of the data has the wrong sign: it goes on from `before` to `data`": continued(half=-2.0),
    },
    todo="Return a tensor, and run this cell again.",
)


def bent(x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """A map that is none: it depends on everything."""
    return (1 + s)[:, None] * x.sin() + (t * t)[:, None] - 0.3 * x


def turned(x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """Another one."""
    return x.flip(-1) * (t - 2 * s)[:, None] + 1


def halves(
    middle: Callable[[Tensor, Tensor], Tensor] = lambda s, t: (s + t) / 2,
    move: bool = True,
    mean: float = 2.0,
    whole: bool = False,
    again: bool = False,
    untimed: bool = False,
    place_alone: bool = False,
) -> Callable[..., Tensor]:
    """The answer of exercise 3, or with one part of it changed."""

    def answer(u: Any, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        m = middle(s, t)
        first = u(x, s, m)
        way = 1.0 if untimed else (t - s if whole else m - s)[:, None]
        place = x + way * first if move else x
        second = u(place, s, m) if again else u(place, m, t)
        return place + (t - m)[:, None] * second if place_alone else (first + second) / mean

    return answer


PLACES = torch.tensor([[0.2, -0.4], [1.0, 0.3], [-0.8, 0.9]])
shortcut_target = Check(
    halves(),
    [
        (bent, PLACES, torch.tensor([0.0, 0.25, 0.5]), torch.tensor([0.5, 0.5, 1.0])),
        (turned, PLACES[:2], torch.tensor([0.1, 0.6]), torch.tensor([0.9, 0.7])),
        (bent, 2 * PLACES[1:], torch.tensor([0.3, 0.0]), torch.tensor([0.4, 1.0])),
    ],
    {
        "the second jump starts at x; it starts where the first one has landed": halves(move=False),
        "the first jump goes the whole way before the second begins": halves(whole=True),
        "the two velocities are added; over twice the way the mean counts": halves(mean=1.0),
        "the second jump is asked from s to the middle again; it goes from the middle to t": halves(again=True),
        "the middle is (t - s) / 2, which is a length, not a time": halves(lambda s, t: (t - s) / 2),
        "this is one jump, u(x, s, t)": lambda u, x, s, t: u(x, s, t),
        "x_m is x_s plus half the way times u: the time is missing": halves(untimed=True),
        "this is where the jumps land; the target is the velocity, (x_t - x_s) / (t - s)": halves(place_alone=True),
    },
    todo="Return a tensor (B, 2), and run this cell again.",
)


def sloped(
    sign: float = 1.0,
    both: bool = True,
    along: bool = True,
    way: bool = True,
    fixed: bool = True,
    half: float = 2.0,
    own: bool = False,
    when_late: bool = False,
) -> Callable[..., Tensor]:
    """The answer of exercise 4, or with one part of it changed."""

    def answer(u: Any, v: Any, x: Tensor, s: Tensor, t: Tensor, eta: float) -> Tensor:
        velocity = v(x, t if when_late else s)
        move = eta * (u(x, s, t) if own else velocity) if along else 0
        ends = (t, t) if fixed else (t + eta, t - eta)
        low = u(x - move, s - eta, ends[1]) if both else u(x, s, t)
        slope = (u(x + move, s + eta, ends[0]) - low) / (half * eta)
        return velocity + sign * ((t - s)[:, None] if way else 1) * slope

    return answer


def pull(x: Tensor, s: Tensor) -> Tensor:
    """A velocity."""
    return 1 - x * (1 + s)[:, None]


mean_flow_target = Check(
    sloped(),
    [
        (
            bent,
            pull,
            PLACES.double(),
            torch.tensor([0.1, 0.25, 0.5]).double(),
            torch.tensor([0.5, 0.75, 1.0]).double(),
            1e-3,
        ),
        (turned, pull, PLACES[:2].double(), torch.tensor([0.2, 0.6]).double(), torch.tensor([0.9, 0.7]).double(), 2e-3),
        (bent, pull, -PLACES[1:].double(), torch.tensor([0.3, 0.0]).double(), torch.tensor([0.4, 1.0]).double(), 5e-4),
    ],
    {
        "the derivative has the wrong sign: s moves towards t": sloped(sign=-1.0),
        "x stands still while s moves; it goes along with the velocity": sloped(along=False),
        "the derivative is not multiplied by t - s": sloped(way=False),
        "t moves with s; it is held": sloped(fixed=False),
        "the difference spans 2η and is divided by η": sloped(half=1.0),
        "the difference is one-sided and still divided by 2η": sloped(both=False),
        "the difference is one-sided, which is off by order η: (21.10) looks ahead and behind": sloped(
            both=False, half=1.0
        ),
        "x moves with u; it moves with the teacher's v": sloped(own=True),
        "the velocity is taken at t; the path is walked at s": sloped(when_late=True),
        "this is the velocity alone, the target at s = t": lambda u, v, x, s, t, eta: v(x, s),
    },
    todo="Return a tensor (B, 2), and run this cell again.",
    rtol=1e-5,
    atol=1e-7,
)


def wind(x: Tensor, tau: Tensor) -> Tensor:
    """A velocity of a library whose time runs from 0 (data) to 1 (noise)."""
    return (2 + tau)[:, None] * x - tau[:, None] ** 2


def breeze(x: Tensor, tau: Tensor) -> Tensor:
    """Another one."""
    return x.cos() + 3 * tau[:, None]


direction = Check(
    lambda theirs, x, t: -theirs(x, 1 - t),
    [
        (wind, PLACES, torch.tensor([0.1, 0.8, 0.3])),
        (breeze, PLACES[:2], torch.tensor([0.9, 0.4])),
        (wind, -PLACES[:1], torch.tensor([0.7])),
    ],
    {
        "the sign is missing: dx/dt = -dx/dτ, so the student walks away from the data": lambda v, x, t: v(x, 1 - t),
        "their time is missing: τ = 1 - t": lambda v, x, t: -v(x, t),
        "both are missing": lambda v, x, t: v(x, t),
        "x is turned instead of the velocity": lambda v, x, t: v(-x, 1 - t),
    },
    todo="Return a tensor (B, 2), and run this cell again.",
)

logged = Check(
    lambda errors: ((errors / (errors + 0.001)).mean(), errors.mean()),
    [
        (torch.tensor([0.5, 2.0, 0.1]),),
        (torch.tensor([0.003, 0.0005]),),
        (torch.tensor([30.0, 0.02, 4.0, 1.0]),),
    ],
    {
        "the weighted loss is logged: it is about 1 whatever is learned": lambda e: (
            (e / (e + 0.001)).mean(),
            (e / (e + 0.001)).mean(),
        ),
        "nothing is weighted: the loss is the raw error": lambda e: (e.mean(), e.mean()),
        "the two are exchanged: first the loss, then what is logged": lambda e: (e.mean(), (e / (e + 0.001)).mean()),
        "the mean is taken before the weights; each example has its own": lambda e: (
            e.mean() / (e.mean() + 0.001),
            e.mean(),
        ),
        "the sum is logged; the mean is asked": lambda e: ((e / (e + 0.001)).mean(), e.sum()),
    },
    todo="Return the loss and what is logged, and run this cell again.",
)
