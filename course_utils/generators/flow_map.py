"""Students of the family `flow`: a few jumps along a flow map, each one evaluation with the guidance told, not computed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.generators.flow import FlowGenerator
from course_utils.generators.solvers import SCHEDULES, SOLVERS
from course_utils.models.flow_map import FlowMap, FlowMapConfig
from course_utils.weights import Weights, config_from, load_weights


class FlowMapGenerator(FlowGenerator):
    """Draws in as many jumps as the student was taught; the words, the autoencoder and most of the network are its teacher's.

    One that was taught no jumps, only the guided velocity, takes any number of steps and any solver.
    """

    def __init__(self, weights: Weights, device: torch.device | str = "cpu"):
        config = config_from(FlowMapConfig, weights.card["config"])
        super().__init__(load_weights(config.teacher), device)
        student = FlowMap(config)
        student.load_trained(weights.part("flow-map"))
        self.net = student.merged().eval().to(device)
        self.model = self.net.net
        self.card = {**self.card, **weights.card}
        self.taught: list[int] | None = weights.card["taught"]
        self.steps, self.guidance = weights.card["sampler"]["steps"], weights.card["sampler"]["guidance"]

    def using(self, **options: Any) -> Self:
        """Another solver or schedule for a student without jumps. Raises CourseError where there is nothing to choose."""
        if self.taught is not None or "interval" in options:
            raise CourseError(f"This student has no {' or '.join(options)} to choose; its teacher has.")
        return super().using(**options)

    def draw(self, prompts: list[str], noise: Callable[..., Tensor], steps: int, guidance: float) -> tuple[Tensor, int]:
        """Pictures (N, 3, H, W) in about [0, 1] and the number of evaluations. CourseError for steps that it was not taught."""
        if self.taught is not None and steps not in self.taught:
            known = " or ".join(map(str, self.taught))
            raise CourseError(
                f"This student draws in {known} steps, and {steps} were asked for; its teacher takes any."
            )
        config = self.net.net.config
        text = self.net.text(self.tokenizer.batch(prompts, config.text.longest).to(self.device))
        g = torch.full((len(prompts),), guidance, device=self.device)
        x, evaluations = noise(config.channels, config.size, config.size), 1
        if self.taught is None:
            solve, evaluations = SOLVERS[self.solver]
            x = solve(lambda x, t: self.net(x, t, t, g, text=text), x, SCHEDULES[self.schedule](steps))
        else:
            x = sample(lambda x, s, t: self.net(x, s, t, g, text=text), x, SCHEDULES["uniform"](steps))
        images = x if self.autoencoder is None else self.autoencoder.decode(x)
        return images / 2 + 0.5, steps * evaluations


def sample(u: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, times: Tensor) -> Tensor:
    """x(1) from x(0), in a jump x += (t - s) u(x, s, t) from each of the times (N + 1,) to the next."""
    for s, t in pairwise(times.to(x)):
        x = x + (t - s) * u(x, s.expand(len(x)), t.expand(len(x)))
    return x
