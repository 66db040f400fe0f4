"""The family `flow`: follows the learned velocity from noise (t = 0) to a picture (t = 1), guided by the words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.generators.base import Generator
from course_utils.language.text_encoder import TextEncoder, TextEncoderConfig
from course_utils.language.tokenizer import Tokenizer
from course_utils.models.autoencoder import Autoencoder, AutoencoderConfig
from course_utils.models.dit import DiT, DiTConfig
from course_utils.weights import Weights, config_from, load_weights, weights_folder

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, t (B,)) -> dx/dt


def euler(velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """x(1) from x(0) by `steps` equal steps x += v Δt; error of order Δt, one evaluation a step."""
    times = torch.linspace(0, 1, steps + 1, device=x.device)
    for t, following in pairwise(times):
        x = x + (following - t) * velocity(x, t.expand(len(x)))
    return x


def heun(velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """x(1) from x(0) by the trapezoidal rule with an Euler step as predictor; error of order Δt², two evaluations a step."""
    times = torch.linspace(0, 1, steps + 1, device=x.device)
    for t, following in pairwise(times):
        here = velocity(x, t.expand(len(x)))
        there = velocity(x + (following - t) * here, following.expand(len(x)))
        x = x + (following - t) * (here + there) / 2
    return x


SOLVERS = {"euler": (euler, 1), "heun": (heun, 2)}  # and evaluations for each step


def guided(model: DiT, tokens: Tensor, empty: Tensor, guidance: float) -> Velocity:
    """v = v_null + g (v_text - v_null) (Ho & Salimans 2022), with and without the words in one pass of a doubled batch.

    g = 1 is the model as it is and g = 0 the model without words: both need half the work.
    """
    if guidance in (0.0, 1.0):
        text = model.read(tokens if guidance else empty)
        return lambda x, t: model(x, t, text=text)
    width = max(tokens.shape[1], empty.shape[1])
    both = torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in (empty, tokens)])
    text = model.read(both)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        null, told = model(torch.cat([x, x]), torch.cat([t, t]), text=text).chunk(2)
        return null + guidance * (told - null)

    return velocity


class FlowGenerator(Generator):
    """Flow matching in the latents of an autoencoder, or in pixels where the weights hold none."""

    def __init__(self, weights: Weights, device: torch.device | str = "cpu"):
        super().__init__(weights.card, device)
        self.model = DiT(config_from(DiTConfig, weights.card["config"]))
        self.model.load_state_dict(weights.part("flow"))
        self.model.to(device).eval()
        self.tokenizer = Tokenizer(weights.card["tokenizer"])
        self.autoencoder = None
        if "autoencoder" in weights.card:
            self.autoencoder = build_autoencoder(weights.card["autoencoder"], weights).to(device)
        sampler = weights.card.get("sampler", {})
        self.steps, self.guidance = sampler.get("steps", 16), sampler.get("guidance", 2.0)
        self.solver = sampler.get("solver", "euler")

    def unread(self, prompt: str) -> str:
        """The end of the prompt beyond the tokens that the text encoder reads."""
        return self.tokenizer.decode(self.tokenizer.encode(prompt)[self.model.config.text.longest :])

    def draw(self, prompts: list[str], noise: Callable[..., Tensor], steps: int, guidance: float) -> tuple[Tensor, int]:
        """Pictures (N, 3, H, W) in about [0, 1] and the number of passes of the model."""
        config = self.model.config
        tokens = self.tokenizer.batch(prompts, config.text.longest).to(self.device)
        empty = self.tokenizer.batch([""] * len(prompts), 1).to(self.device)
        solve, evaluations = SOLVERS[self.solver]
        velocity = guided(self.model, tokens, empty, guidance)
        x = solve(velocity, noise(config.channels, config.size, config.size), steps)
        images = x if self.autoencoder is None else self.autoencoder.decode(x)
        return images / 2 + 0.5, steps * evaluations * (1 if guidance in (0.0, 1.0) else 2)


def build_autoencoder(config: dict[str, Any], weights: Weights) -> Autoencoder:
    """The autoencoder that a card describes, with the weights' own values, in eval mode."""
    found = Autoencoder(config_from(AutoencoderConfig, config))
    found.load_state_dict(weights.part("autoencoder"))
    return found.eval()


def load_reader(name: str = "reader-shapes") -> tuple[Tokenizer, TextEncoder]:
    """The tokenizer and the text encoder that learned to read; where they are not stored so, those inside `flow-shapes`."""
    for found, kind in ((name, "reader"), ("flow-shapes", "flow")):
        try:
            weights_folder(found)
        except CourseError:
            continue
        weights = load_weights(found, kind)
        text = TextEncoder(config_from(TextEncoderConfig, weights.card["config"]["text"]))
        start = "text."
        text.load_state_dict({k[len(start) :]: v for k, v in weights.part(kind).items() if k.startswith(start)})
        return Tokenizer(weights.card["tokenizer"]), text.eval()
    raise CourseError(
        f"There is no reader called {name!r} and no `flow-shapes`; train one first: `python -m course_utils train reader`."
    )


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
            return build_autoencoder(config, weights)
    raise CourseError(
        f"There is no autoencoder called {name!r} and none in `flow-{world}`; train one first: "
        "`python -m course_utils train autoencoder" + ("" if world == "shapes" else f" --world {world}") + "`."
    )
