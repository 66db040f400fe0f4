"""Distillation in one frame. Every method here teaches one object, the flow map, by a target that it should answer with:

    u(x, s, t)   the mean velocity from s to t along the path through x: (t - s) u = ∫ v dτ, so x_t = x_s + (t - s) u

    guidance     t = s:  the teacher's guided velocity                                    (Meng et al. 2023)
    no guidance  t = s:  the same with the line data - noise in place of v_text, no teacher (Chen et al. 2025)
    reflow       the chord of the teacher's path between two times                         (Liu et al. 2023; Yan et al. 2024: in pieces)
    shortcut     half of two jumps over half of the way                                    (Frans et al. 2025)
    mean flow    v + (t - s) du/ds, the derivative along the path                           (Geng et al. 2025)
    consistency  a step of the teacher, and from there the student to t                     (Song et al. 2023; Kim et al. 2024)

and a finish that has no target but a direction: distribution matching (Yin et al. 2024), its guidance and its matching apart (Liu et al. 2025).
Targets carry no gradient. `u` and `v` are functions of x and times alone; what is drawn is bound before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.generators.solvers import Solver, Velocity, euler

Map = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x, s (B,), t (B,)) -> mean velocity
WIDTH = (
    5e-3  # of the finite difference in time; features of s that turn faster than that are averaged over, not followed
)


def column(t: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, …), to multiply with x."""
    return t.view(-1, *[1] * (x.ndim - 1))


# ------------------------------------------------------------------------------------------------------- targets


@torch.no_grad()
def guided_line(u_null: Tensor, line: Tensor, guidance: Tensor) -> Tensor:
    """Training without guidance: u_null + g (line - u_null), whose mean over the lines through x is the guided velocity.

    line: data - noise of one picture and its caption; u_null: the student's answer without words at g = 1.
    """
    return u_null + column(guidance, line) * (line - u_null)


@torch.no_grad()
def shortcut(u: Map, x: Tensor, s: Tensor, t: Tensor, least: float = 0.0) -> Tensor:
    """(u(x, s, m) + u(x_m, m, t)) / 2 with m in the middle: two jumps are one.

    Halves shorter than `least`, which nobody teaches, are taken with the velocity, u at s = t.
    """
    half = (t - s) / 2
    told = half * (half >= least)
    first = u(x, s, s + told)
    return (first + u(x + column(half, x) * first, s + half, s + half + told)) / 2


@torch.no_grad()
def mean_flow(u: Map, v: Velocity, x: Tensor, s: Tensor, t: Tensor, width: float = WIDTH) -> Tensor:
    """v(x, s) + (t - s) du/ds, where d/ds = ∂/∂s + v · ∇ goes along the path at fixed t.

    It follows from (t - s) u = ∫ v dτ, differentiated by s: -u + (t - s) du/ds = -v. Fused attention has no forward mode, so du/ds is a central difference,
    with an error of width² and one of rounding / width.
    """
    velocity = v(x, s)
    ahead = u(x + width * velocity, s + width, t)
    behind = u(x - width * velocity, s - width, t)
    return velocity + column(t - s, x) * (ahead - behind) / (2 * width)


def mean_flow_jvp(u: Map, v: Velocity, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """The same with the derivative by forward mode, where the network has one: what `mean_flow` is held against."""
    velocity = v(x, s)
    along = (velocity, torch.ones_like(s), torch.zeros_like(t))
    slope = torch.func.jvp(u, (x, s, t), along)[1]
    return (velocity + column(t - s, x) * slope).detach()


@torch.no_grad()
def consistency(u: Map, v: Velocity, x: Tensor, s: Tensor, t: Tensor, step: float) -> Tensor:
    """((m - s) v(x, s) + (t - m) u(x_m, m, t)) / (t - s) with m = s + step, or t if that is nearer, and v at s = t.

    The teacher goes first, x_m = x + (m - s) v, and the student from there: what all of it fulfils is the path of Euler steps of that length. To first
    order in the step this is u, moved the share (m - s) / (t - s) of the way to the target of `mean_flow`; nothing is divided by the step.
    """
    m, velocity = torch.minimum(s + step, t), v(x, s)
    share = column(torch.where(t > s, (m - s) / (t - s), 1.0), x)
    return share * velocity + (1 - share) * u(x + column(m - s, x) * velocity, m, t)


@torch.no_grad()
def path(velocity: Velocity, noise: Tensor, steps: int, pieces: int, solve: Solver = euler) -> Tensor:
    """Where the teacher's path is at 0, 1/K, …, 1: (K + 1, B, …). `pieces` K must divide `steps`, and `solve` ask once a step."""
    asked: list[Tensor] = []

    def watched(x: Tensor, t: Tensor) -> Tensor:
        asked.append(x)
        return velocity(x, t)

    end = solve(watched, noise, steps)
    return torch.stack([*asked[:: steps // pieces], end])


@torch.no_grad()
def reflow(points: Tensor, each: int, generator: torch.Generator) -> dict[str, Tensor]:
    """`each` examples of every path (K + 1, B, …): x, s, t and target, (each · B, …).

    The first K are at the beginnings of the K pieces, which is where a student of K steps will be asked; the others anywhere on the chords, whose constant
    velocity is the target.
    """
    pieces, n, device = len(points) - 1, points.shape[1], points.device
    k = torch.arange(each, device=device)[:, None].expand(each, n)
    piece = torch.where(k < pieces, k, torch.randint(pieces, (each, n), generator=generator, device=device))
    share = torch.rand(each, n, generator=generator, device=device) * (k >= pieces)
    rows = torch.arange(n, device=device)
    start, end = points[piece, rows], points[piece + 1, rows]  # (each, B, …)
    between = share.view(each, n, *[1] * (points.ndim - 2))
    found = {
        "x": start + between * (end - start),
        "s": (piece + share) / pieces,
        "t": (piece + 1.0) / pieces,
        "target": (end - start) * pieces,
    }
    return {name: value.flatten(0, 1).to(points.dtype) for name, value in found.items()}


@torch.no_grad()
def jumps(points: Tensor, each: int, counts: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
    """As `reflow`, for one student of several numbers of steps: an example is one of the N jumps of N steps, N drawn from `counts`, all by chance.

    Each count must divide K. Every example is on a path, where a student of N steps will be asked.
    """
    pieces, n, device = len(points) - 1, points.shape[1], points.device
    drawn = torch.randint(len(counts), (each, n), generator=generator, device=device)
    count = torch.tensor(counts, device=device)[drawn]
    jump = (torch.rand(each, n, generator=generator, device=device) * count).long()
    rows = torch.arange(n, device=device)
    start, end = (points[(jump + i) * pieces // count, rows] for i in (0, 1))  # (each, B, …)
    target = (end - start) * count.view(each, n, *[1] * (points.ndim - 2))
    found = {"x": start, "s": jump / count, "t": (jump + 1) / count, "target": target}
    return {name: value.flatten(0, 1).to(points.dtype) for name, value in found.items()}


# ---------------------------------------------------------------------------------------------------------- loss


def regression(answer: Tensor, target: Tensor, adaptive: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error, and for the log its raw value and the cosine between answer and target.

    adaptive: each example weighs 1 / (its error + 0.001), as Geng et al. (2025) do. That loss is about 1 whatever is learned: so the raw error is
    logged. (Where the target itself is rough, as that of mean flow is, even the raw error can grow while the student gets better.)
    A cosine below 0 is a student that goes the other way.
    """
    error = (answer - target.detach()).square().flatten(1).mean(1)
    weight = 1 / (error.detach() + 1e-3) if adaptive else torch.ones_like(error)
    cosine = F.cosine_similarity(answer.detach().flatten(1), target.flatten(1)).mean()
    return (weight * error).mean(), {"error": error.detach().mean(), "cosine": cosine}


def distribution_matching(
    drawn: Tensor, v_text: Tensor, v_null: Tensor, v_fake: Tensor, x: Tensor, t: Tensor, guidance: Tensor, parts: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss whose gradient moves `drawn` to where the teacher finds more of its pictures than the student makes.

    x: `drawn` with noise at the time t, where v_text, v_null are the teacher's velocities and v_fake that of the student's pictures (all without
    gradient). The move is the sum of two parts, "matching": v_text - v_fake, the difference of two scores, without guidance; and "guidance":
    (g - 1) (v_text - v_null); times (1 - t), over the mean distance of `drawn` from the teacher's own answer. parts: "both", or one of the two.
    """
    matching = v_text - v_fake
    guiding = column(guidance - 1, x) * (v_text - v_null)
    move = {"both": matching + guiding, "matching": matching, "guidance": guiding}[parts]
    left = column(1 - t, x)
    scale = (drawn.detach() - (x + left * v_text)).abs().flatten(1).mean(1).clamp_min(1e-3)
    goal = (drawn + left * move / column(scale, x)).detach()
    loss = (drawn - goal).square().mean() / 2
    return loss, {"matching": (left * matching).square().mean(), "guiding": (left * guiding).square().mean()}


# ------------------------------------------------------------------------------------------------------- teacher


class Teacher:
    """A teacher's two velocities, with and without words, in one pass of a doubled batch; its text serves the student, too."""

    @torch.no_grad()
    def __init__(self, model: Any, tokens: Tensor, empty: Tensor):
        width = max(tokens.shape[1], empty.shape[1])
        both = [F.pad(part, (0, width - part.shape[1])) for part in (empty, tokens)]
        self.model, self.both = model, model.text(torch.cat(both))
        self.null, self.text = (self._half(i) for i in (0, 1))

    def _half(self, i: int) -> Any:
        parts = [part.chunk(2)[i] for part in self.both]
        return type(self.both)(*parts) if hasattr(self.both, "_fields") else tuple(parts)

    @torch.no_grad()
    def parts(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """v_text and v_null, each (B, …)."""
        v_null, v_text = self.model(torch.cat([x, x]), torch.cat([t, t]), text=self.both).chunk(2)
        return v_text, v_null

    def guided(self, guidance: Tensor) -> Velocity:
        """The velocity with guidance (B,)."""

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            v_text, v_null = self.parts(x, t)
            return v_null + column(guidance, x) * (v_text - v_null)

        return velocity
