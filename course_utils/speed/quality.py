"""What a rung of the speed ladder costs in quality: what judges and features say of its pictures, paired with those of the start."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from course_utils.generators import Generator
from course_utils.measure.fidelity import Features, frechet_distance, mean_pairwise_distance
from course_utils.measure.intervals import bootstrap, paired_bootstrap, wilson
from course_utils.measure.judge import Judge
from course_utils.measure.quality import GROUPS, Prompt, prompts_of
from course_utils.measure.synthesis import SceneFitter
from course_utils.speed.kept import Kept
from course_utils.speed.rungs import NAIVE_STEPS
from course_utils.worlds.captions import caption
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, fitting, scenes

AT_ONCE = 32  # pictures of a drawing


@dataclass(frozen=True)
class Asked:
    """What all rungs draw: prompts in turns from three groups, and for diversity a few captions, each `copies` times."""

    prompts: list[Prompt]
    captions: list[str]
    copies: int
    real: Tensor  # features of real scenes
    floor: float  # Fréchet distance of as many other real scenes as there are prompts
    spread: Tensor  # (captions,) mean distance of real scenes that fit a caption


def asked_of(features: Features, n: int, captions: int, copies: int = 4, seed: int = SEEDS["test"]) -> Asked:
    """n prompts (n/3 of each group), `captions` captions, and the real scenes that they are held against."""
    groups = [prompts_of(group, -(-n // 3), seed) for group in GROUPS[:3]]
    prompts = [prompt for row in zip(*groups, strict=True) for prompt in row][:n]
    varied = scenes(seed, 30_000_000, captions, split="train").scenes
    texts = [caption(s, language=("en", "zh")[i % 2], seed=i) for i, s in enumerate(varied)]
    real = features(render(scenes(seed, 20_000_000, 2000, split="train")))
    others = features(render(scenes(seed, 10_000_000, n, split="train")))
    fit = torch.stack([features(render(fitting(s, seed + i, copies))) for i, s in enumerate(varied)])
    return Asked(prompts, texts, copies, real, frechet_distance(others, real), mean_pairwise_distance(fit))


class Readers:
    """Both judges and the features. A picture that was read before, number by number as a PNG holds it, is not read again."""

    def __init__(self, judge: Judge, features: Features, fitter: SceneFitter | None, sample: int):
        self.judge, self.features, self.fitter, self.sample = judge, features, fitter, sample
        self.known: dict[bytes, Any] = {}

    def second(self, pictures: Tensor) -> list[Any]:
        """Judge B's readings of the first `sample` pictures (uint8)."""
        if self.fitter is None:
            return []
        for picture in pictures[: self.sample]:
            if (key := picture.numpy().tobytes()) not in self.known:
                self.known[key] = self.fitter.read(picture[None].float() / 255)[0]
        return [self.known[picture.numpy().tobytes()] for picture in pictures[: self.sample]]


def look(draw: Callable[..., Tensor], asked: Asked, readers: Readers) -> dict[str, Any]:
    """Draws what is asked with `draw(prompts, seed)`, and says what judges and features find in each picture."""
    pictures = (draw([p.text for p in asked.prompts]) * 255).round().byte()
    texts = [text for text in asked.captions for _ in range(asked.copies)]
    varied = (draw(texts, seed=1) * 255).round().byte()
    return {
        "right": [r.shows(p.asked) for r, p in zip(readers.judge.read(pictures / 255), asked.prompts, strict=True)],
        "second": [r.shows(p.asked) for r, p in zip(readers.second(pictures), asked.prompts, strict=False)],
        "features": readers.features(pictures / 255),
        "diversity": mean_pairwise_distance(readers.features(varied / 255).unflatten(0, (-1, asked.copies))),
    }


def compare(mine: dict[str, Any], start: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """Accuracy, fidelity and diversity of a rung, with intervals, and their differences from the start, paired by prompt and noise."""
    n, real = len(mine["right"]), asked.spread
    found: dict[str, Any] = {
        "accuracy": sum(mine["right"]) / n,
        "fidelity": frechet_distance(mine["features"], asked.real),
        "diversity": float(mine["diversity"].mean() / real.mean()),
        "pictures": n,
        "fidelity_floor": asked.floor,
    }
    fidelity = lambda one, index: frechet_distance(one["features"][index], asked.real)  # noqa: E731
    diversity = lambda one, index: float(one["diversity"][index].mean() / real[index].mean())  # noqa: E731
    intervals: dict[str, Sequence[float]] = {"accuracy": wilson(sum(mine["right"]), n)}
    intervals["fidelity"] = bootstrap(lambda i: fidelity(mine, i), n, 40, centre=found["fidelity"])
    intervals["diversity"] = bootstrap(lambda i: diversity(mine, i), len(real), 400)
    intervals["accuracy_difference"] = paired_bootstrap(mine["right"], start["right"])
    apart = found["fidelity"] - frechet_distance(start["features"], asked.real)
    low, high = bootstrap(lambda i: fidelity(mine, i) - fidelity(start, i), n, 40, centre=apart)
    intervals["fidelity_difference"] = (apart, low, high)
    apart = found["diversity"] - float(start["diversity"].mean() / real.mean())
    intervals["diversity_difference"] = (
        apart,
        *bootstrap(lambda i: diversity(mine, i) - diversity(start, i), len(real), 400),
    )
    if mine["second"]:
        found["accuracy_b"] = sum(mine["second"]) / len(mine["second"])
        found["pictures_b"] = len(mine["second"])
        intervals["accuracy_b"] = wilson(sum(mine["second"]), len(mine["second"]))
        intervals["accuracy_b_difference"] = paired_bootstrap(mine["second"], start["second"])
    return {**found, "intervals": intervals}


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
