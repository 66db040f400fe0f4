"""What a network of diffusion or flow matching may answer with, and the roads of other libraries: all conversions live here.

On the course's straight road x = t data + (1 - t) noise, t = 0 noise and t = 1 data, four answers say the same thing:

    data       E[data | x]                 what the place will become
    noise      E[noise | x]                what is to be taken away
    velocity   E[data - noise | x]         where to go
    score      ∇ log p_t(x)                where it gets more likely: -noise / (1 - t)

Denoising diffusion models (Ho, Jain & Abbeel 2020) go another road, y = √ᾱ data + √(1 - ᾱ) noise with ᾱ from 1 (data) to 0.
Divided by √ᾱ + √(1 - ᾱ), y lies on the straight road at the time t = √ᾱ / (√ᾱ + √(1 - ᾱ)): only the clock and a scale differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from course_utils.common import CourseError

Kind = Literal["data", "noise", "velocity", "score"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def convert(value: Tensor, x: Tensor, t: Tensor, source: Kind, target: Kind, floor: float = 0.0) -> Tensor:
    """An answer of the kind `source` at the place x as one of the kind `target`.

    Args:
        value, x: (B, ...), of one shape.
        t: (B,), 0 noise, 1 data.
        floor: every division by t or 1 - t is held at this smallest denominator, as Li & He (2025) do with 0.05. With 0,
            what cannot be said is inf or nan: nothing but the data at t = 0 where the noise is given, and so on.

    Raises CourseError for a kind that there is not.
    """
    for kind in (source, target):
        if kind not in KINDS:
            raise CourseError(f"There is no answer of the kind {kind!r}; choose from {', '.join(KINDS)}.")
    if source == target:
        return value
    t = t.view(-1, *[1] * (x.ndim - 1))
    behind, ahead = t.clamp_min(floor), (1 - t).clamp_min(floor)
    velocity = {
        "velocity": lambda: value,
        "data": lambda: (value - x) / ahead,
        "noise": lambda: (x - value) / behind,
        "score": lambda: (x + (1 - t) * value) / behind,
    }[source]()
    return {
        "velocity": lambda: velocity,
        "data": lambda: x + (1 - t) * velocity,
        "noise": lambda: x - t * velocity,
        "score": lambda: (t * velocity - x) / ahead,
    }[target]()


def straight_time(alpha_bar: Tensor) -> Tensor:
    """The course's time t of a diffusion model's ᾱ, elementwise: √ᾱ / (√ᾱ + √(1 - ᾱ))."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return signal / (signal + noise)


def road_scale(alpha_bar: Tensor) -> Tensor:
    """By what a diffusion model's y is divided to lie on the straight road: √ᾱ + √(1 - ᾱ), between 1 and √2."""
    return alpha_bar.sqrt() + (1 - alpha_bar).sqrt()


def from_diffusion(
    noise_of: Callable[[Tensor, int], Tensor], alpha_bars: Tensor, floor: float = 0.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity(x, t (B,)) of a model noise_of(y, k) that tells the noise of y at the index k: 0 data, K noise.

    alpha_bars (K + 1,): ᾱ_0 = 1 down to ᾱ_K. All of a batch are at one time, as in a sampler, and the model is asked at the
    index whose time is nearest. Source: Song, Meng & Ermon 2021, section 4.3, on the straight road.
    """
    times, scales = straight_time(alpha_bars), road_scale(alpha_bars)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        k = int((times - t[0]).abs().argmin())
        return convert(noise_of(x * scales[k], k), x, t, "noise", "velocity", floor)

    return velocity
