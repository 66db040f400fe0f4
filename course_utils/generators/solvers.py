"""Solvers of dx/dt = v(x, t) from t = 0 (noise) to t = 1 (data), and the times between which they step.

A solver is `solve(velocity, x, steps) -> x(1)`; `steps` are so many equal ones, or rising times (N + 1,) from 0 to 1, which a name in
SCHEDULES makes. DPM-Solver++ is written for the straight road x = t data + (1 - t) noise, where the velocity says what the data are:
data = x + (1 - t) v; its clock is λ = log(t / (1 - t)), the logarithm of signal over noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, t (B,)) -> dx/dt
Solver = Callable[[Velocity, Tensor, "int | Tensor"], Tensor]


def euler(velocity: Velocity, x: Tensor, steps: int | Tensor) -> Tensor:
    """x(1) from x(0) by steps x += v Δt: so many equal ones, or from one to the next of the rising times `steps` (N + 1,).

    Error of order Δt, one evaluation a step.
    """
    for t, following in pairwise(_times(steps, x)):
        x = x + (following - t) * velocity(x, t.expand(len(x)))
    return x


def heun(velocity: Velocity, x: Tensor, steps: int | Tensor) -> Tensor:
    """The same by the trapezoidal rule with an Euler step as predictor; error of order Δt², two evaluations a step."""
    for t, following in pairwise(_times(steps, x)):
        first = velocity(x, t.expand(len(x)))
        second = velocity(x + (following - t) * first, following.expand(len(x)))
        x = x + (following - t) * (first + second) / 2
    return x


def adams(velocity: Velocity, x: Tensor, steps: int | Tensor) -> Tensor:
    """The same with the velocity continued on a straight line from the last two (Adams & Bashforth); order Δt², one evaluation a step.

    The first step is Euler's.
    """
    before = None
    length = torch.ones(())
    for t, following in pairwise(_times(steps, x)):
        v, step = velocity(x, t.expand(len(x))), following - t
        x = x + step * (v if before is None else v + step / (2 * length) * (v - before))
        before, length = v, step
    return x


def dpm(velocity: Velocity, x: Tensor, steps: int | Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): the data as the velocity tells them, continued on a straight line in λ.

    One evaluation a step, order Δt² up to a logarithm. Where λ is infinite, at the first two steps and the last, nothing can be continued in λ,
    and the step is Euler's.
    """
    times = _times(steps, x)
    lengths = torch.logit(times).diff().tolist()  # h, in λ
    before, length = x, math.inf
    for (t, following), step in zip(pairwise(times), lengths, strict=True):
        data = x + (1 - t) * velocity(x, t.expand(len(x)))
        ahead = data + step / (2 * length) * (data - before) if math.isfinite(step) else data
        x = x + (following - t) / (1 - t) * (ahead - x)
        before, length = data, step
    return x


SOLVERS: dict[str, tuple[Solver, int]] = {  # and evaluations for each step
    "euler": (euler, 1),
    "heun": (heun, 2),
    "adams": (adams, 1),
    "dpm++": (dpm, 1),
}


def uniform(steps: int) -> Tensor:
    """Equal steps."""
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def shifted(steps: int, factor: float = 3.0) -> Tensor:
    """More steps near the noise: the noise level 1 - t becomes f (1 - t) / (1 + (f - 1) (1 - t)) (Esser et al. 2024, equation 23)."""
    level = 1 - uniform(steps)
    return 1 - factor * level / (1 + (factor - 1) * level)


def cosine(steps: int) -> Tensor:
    """The schedule of Nichol & Dhariwal (2021) without its offset, on the straight road: √ᾱ = sin(πu/2), so t = sin / (sin + cos)."""
    angle = uniform(steps) * math.pi / 2
    return angle.sin() / (angle.sin() + angle.cos())


def karras(steps: int, low: float = 0.002, high: float = 80.0, power: float = 7.0) -> Tensor:
    """Levels noise / signal = (1 - t) / t, equal in their seventh root (Karras et al. 2022, equation 5), most of them near the data.

    The first level, `high`, counts as pure noise.
    """
    if steps == 1:
        return uniform(1)
    levels = torch.linspace(high ** (1 / power), low ** (1 / power), steps, dtype=torch.float64) ** power
    times = torch.cat([1 / (1 + levels), torch.ones(1, dtype=torch.float64)])
    times[0] = 0
    return times


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "uniform": uniform,
    "shifted": shifted,
    "cosine": cosine,
    "karras": karras,
}


def _times(steps: int | Tensor, x: Tensor) -> Tensor:
    return (steps if isinstance(steps, Tensor) else uniform(steps)).to(x)
