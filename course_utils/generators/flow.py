"""The family `flow`: follows the learned velocity from noise (t = 0) to a picture (t = 1), guided by the words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.generators.base import Generator
from course_utils.generators.solvers import SCHEDULES, SOLVERS, Velocity, euler, heun
from course_utils.language.tokenizer import Tokenizer
from course_utils.models import build
from course_utils.models.autoencoder import Autoencoder
from course_utils.weights import Weights, load_weights, weights_folder

__all__ = ["SOLVERS", "FlowGenerator", "Velocity", "euler", "guided", "heun", "load_autoencoder"]


def guided(model: Any, tokens: Tensor, empty: Tensor, guidance: float) -> Velocity:
    """v = v_null + g (v_text - v_null) (Ho & Salimans 2022), with and without the words in one pass of a doubled batch.

    g = 1 is the model as it is and g = 0 the model without words: both need half the work. The captions are encoded once.
    """
    if guidance in (0.0, 1.0):
        text = model.text(tokens if guidance else empty)
        return lambda x, t: model(x, t, text=text)
    width = max(tokens.shape[1], empty.shape[1])
    both = torch.cat([nn.functional.pad(part, (0, width - part.shape[1])) for part in (empty, tokens)])
    text = model.text(both)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        v_null, v_text = model(torch.cat([x, x]), torch.cat([t, t]), text=text).chunk(2)
        return v_null + guidance * (v_text - v_null)

    return velocity


class FlowGenerator(Generator):
    """Flow matching in the latents of an autoencoder, or in pixels where the weights hold none."""

    def __init__(self, weights: Weights, device: torch.device | str = "cpu"):
        super().__init__(weights.card, device)
        self.model = build(weights, weights.card["kind"], weights.card["config"]).to(device)
        self.tokenizer = Tokenizer(weights.card["tokenizer"])
        self.autoencoder = None
        if "autoencoder" in weights.card:
            self.autoencoder = build(weights, "autoencoder", weights.card["autoencoder"]).to(device)
        self.side = self.model.config.size * (1 if self.autoencoder is None else 4)
        sampler = weights.card.get("sampler", {})
        self.steps, self.guidance = sampler.get("steps", 16), sampler.get("guidance", 2.0)
        self.solver, self.schedule = sampler.get("solver", "euler"), sampler.get("schedule", "uniform")
        self.interval: tuple[float, float] | None = None
        self.guided = guided

    def using(
        self, *, solver: str | None = None, schedule: str | None = None, interval: tuple[float, float] | None = None
    ) -> Self:
        """The same generator with another sampler; what is left out stays. The weights are shared.

        solver: a name of SOLVERS. schedule: a name of SCHEDULES. interval: guides at times low <= t < high only, and takes the model as it is
        elsewhere (Kynkäänniemi et al. 2024). Raises CourseError for names that there are not, and for an interval that is none.
        """
        for what, name, known in (("solver", solver, [*SOLVERS]), ("schedule", schedule, [*SCHEDULES])):
            if name is not None and name not in known:
                raise CourseError(f"There is no {what} {name!r}; choose from {', '.join(known)}.")
        if interval is not None and not 0 <= interval[0] < interval[1]:
            raise CourseError(f"The interval is {interval!r}; give two rising times, such as (0.25, 0.75).")
        found = copy.copy(self)
        found.solver, found.schedule = solver or self.solver, schedule or self.schedule
        found.interval = interval or self.interval
        return found

    def unread(self, prompt: str) -> str:
        """The end of the prompt beyond the tokens that the text encoder reads."""
        return self.tokenizer.decode(self.tokenizer.encode(prompt)[self.model.config.text.longest :])

    def draw(self, prompts: list[str], noise: Callable[..., Tensor], steps: int, guidance: float) -> tuple[Tensor, int]:
        """Pictures (N, 3, H, W) in about [0, 1] and the number of passes of the model."""
        config = self.model.config
        tokens = self.tokenizer.batch(prompts, config.text.longest).to(self.device)
        empty = self.tokenizer.batch([""] * len(prompts), 1).to(self.device)
        both = self.guided(self.model, tokens, empty, guidance)
        words = self.guided(self.model, tokens, empty, 1.0) if self.interval else both
        double, passes = 1 if guidance in (0.0, 1.0) else 2, 0

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal passes
            inside = self.interval is None or self.interval[0] <= float(t[0]) < self.interval[1]
            passes += double if inside else 1
            return (both if inside else words)(x, t)

        solve, _ = SOLVERS[self.solver]
        x = solve(velocity, noise(config.channels, config.size, config.size), SCHEDULES[self.schedule](steps))
        images = x if self.autoencoder is None else self.autoencoder.decode(x)
        return images / 2 + 0.5, passes


def load_autoencoder(name: str = "autoencoder-shapes") -> Autoencoder:
    """The autoencoder on its own; where it is not stored so, the one inside the generator of the same world, `flow-…`."""
    world = name.removeprefix("autoencoder-")
    for found in (name, f"flow-{world}"):
        try:
            weights_folder(found)
        except CourseError:
            continue
        weights = load_weights(found)
        config = weights.card.get("config" if weights.card.get("kind") == "autoencoder" else "autoencoder")
        if config is not None:
            return build(weights, "autoencoder", config)
    of, _, size = world.partition("-")
    options = ("" if of == "shapes" else f" --world {of}") + (f" --size {size}" if size else "")
    raise CourseError(
        f"There is no autoencoder called {name!r} and none in `flow-{world}`; train one first: "
        f"`python -m course_utils train autoencoder{options}`."
    )
