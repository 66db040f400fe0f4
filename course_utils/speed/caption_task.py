"""What the second ladder learns, and when its clock stops: kinds of scenes of `shapes`, a small generator, an exam by judge A.

Pictures, latents, captions and what REPA is told are made once and kept, so no clock counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor

from course_utils.counters import Dice
from course_utils.generators.flow import euler, guided, load_autoencoder
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.measure.fidelity import Features
from course_utils.measure.judge import Judge
from course_utils.models.dit import DiT, DiTConfig, drop_captions
from course_utils.models.text_encoder import TextEncoderConfig
from course_utils.speed.faster_training import feature_map
from course_utils.worlds.captions import Parts, caption, restrict
from course_utils.worlds.render import render
from course_utils.worlds.scenes import (
    BACKGROUNDS,
    COLOURS,
    FILLS,
    HELD_OUT_COMBINATIONS,
    PLACES,
    SEEDS,
    SHAPES,
    SIZES,
    Scene,
    Scenes,
    Thing,
    fitting,
)

LONGEST = 32  # tokens of a caption
DROP_CAPTION = 0.1  # share of captions that are left out, so that guidance has a start


@dataclass(frozen=True)
class Task:
    """One thing in each picture: of which kinds, how large the network is, how it is trained if no rung says otherwise, and its exam.

    A caption says the shape and the place, and whatever else there is a choice of.
    """

    name: str
    sizes: tuple[str, ...] = ("large",)
    fills: tuple[str, ...] = ("solid",)
    colours: tuple[str, ...] = COLOURS
    shapes: tuple[str, ...] = ("circle",)
    backgrounds: tuple[str, ...] = ("white",)
    pictures: int = 64  # of each kind
    width: int = 64
    depth: int = 4
    batch_size: int = 32
    learning_rate: float = 3e-3
    warmup_images: int = 800
    ema_half_life_images: int = 1_600
    target: float = 0.8  # the clock stops at this share of prompts
    certain: float | None = 0.0  # how sure the judge must be: 0 takes its best guess, None is its own threshold
    prompts: int = 72
    every: int = 1_024  # images between two exams
    most: int = 15_360  # images after which a run gives up
    steps: int = 6
    guidance: float = 2.0

    @property
    def kinds(self) -> tuple[Scene, ...]:
        """The scenes as far as words can name them; where in its place a thing lies, its exact size, turn and shade vary."""
        things = (Thing(*names) for names in product(self.sizes, self.fills, self.colours, self.shapes))
        good = [t for t in things if (t.colour, t.shape) not in HELD_OUT_COMBINATIONS]
        good = [t for t in good if (t.size, t.fill) != ("small", "striped")]
        return tuple(Scene((t,), place, background=b) for t, place, b in product(good, PLACES, self.backgrounds))

    @property
    def said(self) -> Parts:
        """What a detailed caption says; all of it is asked for."""
        size, fill, colour, background = (len(v) > 1 for v in (self.sizes, self.fills, self.colours, self.backgrounds))
        return Parts(((size, fill, colour, True),), background=background)


TASKS = {
    "circles": Task("circles"),
    "one": Task(
        "one",
        sizes=SIZES,
        fills=FILLS,
        shapes=SHAPES,
        backgrounds=BACKGROUNDS,
        target=0.5,
        certain=None,
        pictures=8,
        width=256,
        learning_rate=2e-3,
        depth=8,
        batch_size=128,
        warmup_images=12_800,
        ema_half_life_images=12_800,
        prompts=500,
        every=25_600,
        most=1_500_000,
        steps=12,
    ),
}


class Course:
    """The data of a task on a device, and its exam."""

    def __init__(self, task: Task, device: torch.device | str = "cpu"):
        self.task, self.device = task, torch.device(device)
        self.kinds = task.kinds
        self.autoencoder = load_autoencoder().to(self.device)
        self.judge, self.features = Judge.load(), Features.load().network.to(self.device)
        self.scenes = self.drawn(self.kinds, task.pictures, SEEDS["flow"])
        self.latents = self.encoded(self.scenes)
        every = [kind for kind in self.kinds for _ in range(task.pictures)]
        detailed = [caption(kind, task.said, synonyms="plain") for kind in every]
        short = [caption(kind, shortened(task.said, i), synonyms="plain") for i, kind in enumerate(every)]
        self.tokenizer = Tokenizer.train((detailed + short)[:: max(1, len(every) // 5_000)], 400)
        self.tokens = {name: self.read(texts) for name, texts in (("detailed", detailed), ("short", short))}
        rng = np.random.default_rng(SEEDS["validation"])
        self.examined = [self.kinds[i] for i in rng.integers(len(self.kinds), size=task.prompts)]
        self.asked = [restrict(kind, task.said) for kind in self.examined]
        self.prompts = [caption(kind, task.said, synonyms="plain") for kind in self.examined]
        rng_noise = torch.Generator().manual_seed(SEEDS["validation"])
        self.noise = torch.randn(task.prompts, *self.latents.shape[1:], generator=rng_noise).to(self.device)

    @staticmethod
    def drawn(kinds: Sequence[Scene], n: int, seed: int) -> Scenes:
        """n scenes of each kind, the kinds one after another."""
        return Scenes.join(*(fitting(kind, seed + 1000 * i, n) for i, kind in enumerate(kinds)))

    @torch.no_grad()
    def encoded(self, scenes: Scenes) -> Tensor:
        """Latents of scenes."""
        parts = (scenes.select(slice(i, i + 256)) for i in range(0, len(scenes), 256))
        return torch.cat([self.autoencoder.encode(render(part, device=self.device) * 2 - 1) for part in parts])

    def read(self, texts: Sequence[str]) -> Tensor:
        """Tokens (N, T) on the device."""
        tokens = self.tokenizer.batch(list(texts), LONGEST, LONGEST)
        return tokens[:, : int((tokens != PAD).sum(1).max())].to(self.device)

    @cached_property
    def maps(self) -> Tensor:
        """What the course's self-supervised network sees of each picture, (N, 16, F), each of its features with mean 0 and variance 1."""
        parts = (self.scenes.select(slice(i, i + 256)) for i in range(0, len(self.scenes), 256))
        maps = torch.cat([feature_map(self.features, render(part, device=self.device)) for part in parts])
        return (maps - maps.mean((0, 1))) / (maps.std((0, 1)) + 1e-5)

    def network(self, seed: int) -> DiT:
        """A fresh generator."""
        torch.manual_seed(seed)
        task, (_, channels, size, _) = self.task, self.latents.shape
        heads = task.width // 32
        text = TextEncoderConfig(len(self.tokenizer), LONGEST, task.width // 2, task.depth // 2, heads // 2)
        return DiT(DiTConfig(channels, size, width=task.width, depth=task.depth, heads=heads, text=text))

    def batch(self, rows: Tensor, generator: torch.Generator, captions: str = "detailed") -> dict[str, Tensor]:
        """Data and tokens of these pictures, some captions left out."""
        tokens = drop_captions(self.tokens[captions][rows], DROP_CAPTION, generator)
        return {"data": self.latents[rows], "tokens": tokens, "rows": rows}

    @torch.no_grad()
    def draw(self, model: DiT) -> Tensor:
        """Pictures (N, 3, 32, 32) in [0, 1] of the validation prompts, from noise that is the same every time."""
        tokens, empty = self.read(self.prompts), self.read([""] * len(self.prompts))
        velocity = guided(model, tokens, empty, self.task.guidance)
        latents = euler(velocity, self.noise, self.task.steps)
        return (self.autoencoder.decode(latents) / 2 + 0.5).clamp(0, 1).cpu()

    def accuracy(self, images: Tensor) -> tuple[float, float]:
        """The share of pictures of the validation prompts in which judge A reads all that was asked; and that of which it is sure.

        The first takes readings of the task's certainty, the second of the judge's own.
        """
        readings = Judge(self.judge.network, 0.0).read(images)
        right = [(r.certainty, r.shows(a)) for r, a in zip(readings, self.asked, strict=True)]
        own = self.judge.certain
        limits = (own if self.task.certain is None else self.task.certain, own)
        return tuple(sum(good and sure >= limit for sure, good in right) / len(right) for limit in limits)  # type: ignore[return-value]

    def ceiling(self) -> tuple[float, float]:
        """`accuracy` of real pictures after the round trip: no generator in these latents can do better."""
        real = Scenes.join(*(fitting(kind, SEEDS["validation"] + i, 1) for i, kind in enumerate(self.examined)))
        with torch.no_grad():
            return self.accuracy((self.autoencoder.decode(self.encoded(real)) / 2 + 0.5).clamp(0, 1).cpu())


def shortened(parts: Parts, seed: int) -> Parts:
    """A caption that says the shape, and each other thing that `parts` says with probability one half."""
    dice = Dice(seed, salt=18)
    half = lambda said: said and dice.chance(50)  # noqa: E731
    size, fill, colour, shape = parts.things[0]
    return Parts(((half(size), half(fill), half(colour), shape),), half(parts.place), False, half(parts.background))
