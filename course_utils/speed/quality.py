"""The fair start of the speed ladder: the fewest plain steps that are as good as the naive start's many."""

from __future__ import annotations

import math
from functools import partial

from course_utils.generators import Generator
from course_utils.measure.judge import Judge
from course_utils.measure.kept import Kept
from course_utils.measure.quality import GROUPS, prompts_of
from course_utils.speed.rungs import NAIVE_STEPS
from course_utils.worlds.scenes import SEEDS

AT_ONCE = 32  # pictures of a drawing
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 25)


def fewest_steps(
    generator: Generator,
    judge: Judge,
    n: int = 96,
    naive: int = NAIVE_STEPS,
    within: float = 0.01,
    kept: Kept | None = None,
) -> tuple[int, dict[int, float]]:
    """The fewest of STEPS whose caption accuracy, on n validation prompts, is at most `within` below that of `naive` steps (in whole prompts, rounded up).

    More steps than the fewest need not be good enough, too: chance plays with n prompts. So it counts from the top: all that lie between must be
    good enough as well. Returns the steps, and the accuracy of each number that was tried.
    """
    groups = [prompts_of(group, -(-n // 3), SEEDS["validation"]) for group in GROUPS[:3]]
    prompts = [prompt for row in zip(*groups, strict=True) for prompt in row][:n]
    tried: dict[int, float] = {}

    def share(steps: int) -> float:
        drawn = generator([p.text for p in prompts], steps=steps, batch_size=AT_ONCE).images
        return sum(r.shows(p.asked) for r, p in zip(judge.read(drawn), prompts, strict=True)) / n

    fewest, kept = naive, kept or Kept()
    for steps in (naive, *(k for k in STEPS[::-1] if k < naive)):
        tried[steps] = kept(f"{steps} steps", partial(share, steps))
        if round(n * (tried[naive] - tried[steps])) > math.ceil(n * within):
            break
        fewest = steps
    return fewest, tried
