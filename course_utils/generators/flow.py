"""The family `flow`: follows the learned velocity from noise (t = 0) to a picture (t = 1), guided by the words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.generators.base import Generator
from course_utils.language.tokenizer import Tokenizer
from course_utils.models import build
from course_utils.models.autoencoder import Autoencoder
from course_utils.weights import Weights, load_weights, weights_folder

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, t (B,)) -> dx/dt


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


def _times(steps: int | Tensor, x: Tensor) -> Tensor:
    if isinstance(steps, Tensor):
        return steps.to(x)
    return torch.linspace(0, 1, steps + 1, device=x.device, dtype=x.dtype)


SOLVERS = {"euler": (euler, 1), "heun": (heun, 2)}  # and evaluations for each step


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
        self.solver = sampler.get("solver", "euler")
        self.guided = guided

    def unread(self, prompt: str) -> str:
        """The end of the prompt beyond the tokens that the text encoder reads."""
        return self.tokenizer.decode(self.tokenizer.encode(prompt)[self.model.config.text.longest :])

    def draw(self, prompts: list[str], noise: Callable[..., Tensor], steps: int, guidance: float) -> tuple[Tensor, int]:
        """Pictures (N, 3, H, W) in about [0, 1] and the number of passes of the model."""
        config = self.model.config
        tokens = self.tokenizer.batch(prompts, config.text.longest).to(self.device)
        empty = self.tokenizer.batch([""] * len(prompts), 1).to(self.device)
        solve, evaluations = SOLVERS[self.solver]
        velocity = self.guided(self.model, tokens, empty, guidance)
        x = solve(velocity, noise(config.channels, config.size, config.size), steps)
        images = x if self.autoencoder is None else self.autoencoder.decode(x)
        return images / 2 + 0.5, steps * evaluations * (1 if guidance in (0.0, 1.0) else 2)


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
