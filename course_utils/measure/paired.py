"""Several ways to draw the same prompts from the same noise: what judges and features say of each picture, and the paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.measure.fidelity import Features, frechet_distance, mean_pairwise_distance
from course_utils.measure.intervals import bootstrap, paired_bootstrap, wilson
from course_utils.measure.judge import Judge, Reading
from course_utils.measure.quality import COUNTS, GROUPS, Prompt, prompts_of, shown_parts
from course_utils.measure.worlds import SHAPES, Measured


@dataclass(frozen=True)
class Asked:
    """What all draw: prompts in turns from some groups, and for diversity a few captions, each `copies` times."""

    prompts: list[Prompt]
    groups: tuple[str, ...]
    captions: list[str]
    copies: int
    real: Tensor  # features of real scenes
    floor: float  # Fréchet distance of as many other real scenes as there are prompts in the groups of COUNTS
    spread: Tensor  # (captions,) mean distance of real scenes that fit a caption

    def rows(self, *groups: str) -> list[int]:
        """The numbers of the prompts of these groups."""
        return [i for i in range(len(self.prompts)) if self.groups[i % len(self.groups)] in groups]


def asked_of(
    features: Features,
    n: int,
    captions: int,
    copies: int = 4,
    seed: int | None = None,
    *,
    groups: Sequence[str] = GROUPS[:3],
    of: Measured = SHAPES,
    side: int = 32,
) -> Asked:
    """n prompts in turns from the groups, `captions` captions, and the real scenes of `side` pixels that they are held against.

    seed: the list of scenes (default: the world's "test").
    """
    seed = of.seeds["test"] if seed is None else seed
    columns = [prompts_of(group, -(-n // len(groups)), seed, of) for group in groups]
    prompts = [prompt for row in zip(*columns, strict=True) for prompt in row][:n]
    varied = of.scenes(seed, 30_000_000, captions, split="train").scenes
    texts = [of.caption(s, language=("en", "zh")[i % 2], seed=i) for i, s in enumerate(varied)]
    real = features(of.render(of.scenes(seed, 20_000_000, 2000, split="train"), side))
    plain = sum(groups[i % len(groups)] in COUNTS for i in range(n))
    others = features(of.render(of.scenes(seed, 10_000_000, plain, split="train"), side))
    fit = torch.stack([features(of.render(of.fitting(s, seed + i, copies), side)) for i, s in enumerate(varied)])
    floor, spread = frechet_distance(others, real), mean_pairwise_distance(fit)
    return Asked(prompts, tuple(groups), texts, copies, real, floor, spread)


class Readers:
    """Both judges and the features. B reads no picture twice: it knows those that are the same number by number, as a PNG holds them."""

    def __init__(self, judge: Judge, features: Features, fitter: Any = None, sample: int = 0):
        self.judge, self.features, self.fitter, self.sample = judge, features, fitter, sample
        self.known: dict[bytes, Any] = {}

    def first(self, pictures: Tensor) -> tuple[list[Reading], list[bool]]:
        """What judge A most likely sees in each of the pictures (uint8), and whether it is sure enough of it."""
        readings = Judge(self.judge.network, 0.0, self.judge.of).read(pictures / 255)
        return readings, [reading.certainty >= self.judge.certain for reading in readings]

    def second(self, pictures: Tensor) -> list[Any]:
        """Judge B's readings of the first `sample` pictures (uint8)."""
        if self.fitter is None:
            return []
        for picture in pictures[: self.sample]:
            if (key := picture.numpy().tobytes()) not in self.known:
                self.known[key] = self.fitter.read(picture[None].float() / 255)[0]
        return [self.known[picture.numpy().tobytes()] for picture in pictures[: self.sample]]


def look(draw: Callable[..., Tensor], asked: Asked, readers: Readers) -> dict[str, Any]:
    """Draws what is asked with `draw(prompts, seed)`, and says what judges and features find in each picture.

    sure, right: whether judge A is sure what it shows, and that it is what was asked for; parts: `shown_parts` of what A most likely sees, however
    unsure it is; second: `right` of judge B, for the first pictures; features (N, D); diversity (captions,).
    """
    pictures = (draw([p.text for p in asked.prompts]) * 255).round().byte()
    texts = [text for text in asked.captions for _ in range(asked.copies)]
    varied = (draw(texts, seed=1) * 255).round().byte()
    readings, sure = readers.first(pictures)
    read = list(zip(readings, asked.prompts, strict=True))
    return {
        "sure": sure,
        "right": [known and r.shows(p.asked) for known, (r, p) in zip(sure, read, strict=True)],
        "parts": [shown_parts(r, p.asked) for r, p in read],
        "second": [r.shows(p.asked) for r, p in zip(readers.second(pictures), asked.prompts, strict=False)],
        "features": readers.features(pictures / 255),
        "diversity": mean_pairwise_distance(readers.features(varied / 255).unflatten(0, (-1, asked.copies))),
    }


def compare(mine: dict[str, Any], start: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """Accuracy, fidelity and diversity of one, with intervals, and their differences from the start, paired by prompt and noise."""
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
